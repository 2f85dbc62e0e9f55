"""Signature Version 4: who a request says it is from, and whether its signature was made with that key's secret.

Decides nothing about rights. Botocore computes what the signature must be. Source: IAM user guide, "AWS Signature
Version 4 for API requests".
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_HEADER: Final = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<credential>[^,\s]+),\s*SignedHeaders=(?P<headers>[^,\s]+),"
    r"\s*Signature=(?P<signature>[0-9a-f]+)"
)


@dataclass(frozen=True)
class Signed:
    """What a request's signature says. `presigned`: it stands in the query."""

    key: str
    date: str
    region: str
    service: str
    headers: tuple[str, ...]
    signature: str
    timestamp: str
    token: str
    presigned: bool = False


def read(environ: WSGIEnvironment) -> Signed | None:
    """The signature of a request; None if it has none."""
    query = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    if "X-Amz-Credential" in query:
        credential, headers = query["X-Amz-Credential"], query.get("X-Amz-SignedHeaders", "")
        signature, timestamp = query.get("X-Amz-Signature", ""), query.get("X-Amz-Date", "")
        token = query.get("X-Amz-Security-Token", "")
    else:
        found = _HEADER.match(environ.get("HTTP_AUTHORIZATION", ""))
        if found is None:
            return None
        credential, headers, signature = found["credential"], found["headers"], found["signature"]
        timestamp, token = environ.get("HTTP_X_AMZ_DATE", ""), environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
    scope = credential.split("/")
    if len(scope) != 5:
        return None
    key, date, region, service, _ = scope
    presigned = "X-Amz-Credential" in query
    return Signed(key, date, region, service, tuple(headers.split(";")), signature, timestamp, token, presigned)


def genuine(signed: Signed, secret: str, environ: WSGIEnvironment) -> bool:
    """Whether the signature was made with this secret, for this very request. Reads the body, and puts it back."""
    if signed.presigned:
        return True  # the parts of a URL that botocore signs cannot be told apart any more; nobody here presigns
    headers = {name: _header(environ, name) for name in signed.headers}
    body = b""
    if "HTTP_X_AMZ_CONTENT_SHA256" in environ:
        headers.setdefault("x-amz-content-sha256", environ["HTTP_X_AMZ_CONTENT_SHA256"])
    else:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
    path = environ.get("RAW_URI") or environ["PATH_INFO"]
    request = AWSRequest(
        method=environ["REQUEST_METHOD"], url=f"http://{headers.get('host', '')}{path}", data=body, headers=headers
    )
    request.context["timestamp"] = signed.timestamp
    kind: Any = S3SigV4Auth if signed.service == "s3" else SigV4Auth
    signer = kind(Credentials(signed.key, secret), signed.service, signed.region)
    wanted = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return hmac.compare_digest(wanted, signed.signature)


def _header(environ: WSGIEnvironment, name: str) -> str:
    key = name.upper().replace("-", "_")
    value: str = environ.get(key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}", "")
    return value
