"""Signature Version 4: who a request says it is from, and whether its signature was made with that key's secret.

Decides nothing about rights. Botocore computes what the signature must be. Source: IAM user guide, "AWS Signature
Version 4 for API requests".
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

CLOCKS: Final = 300
"""Seconds that the clocks of the signer and of AWS may differ (IAM user guide, "AWS Signature Version 4")."""

_SIGNATURE: Final = re.compile(r"(?<=[?&])X-Amz-Signature=[^&]*&?|&X-Amz-Signature=[^&]*$")
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
    expires: int = 0
    """Seconds that a presigned request lasts."""

    @property
    def header(self) -> str:
        """The same as a header says it."""
        scope = "/".join((self.key, self.date, self.region, self.service, "aws4_request"))
        headers = ";".join(self.headers)
        return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={headers}, Signature={self.signature}"


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
    presigned, expires = "X-Amz-Credential" in query, query.get("X-Amz-Expires", "")
    return Signed(
        key,
        date,
        region,
        service,
        tuple(headers.split(";")),
        signature,
        timestamp,
        token,
        presigned,
        int(expires) if expires.isdecimal() else 0,
    )


def genuine(signed: Signed, secret: str, environ: WSGIEnvironment) -> bool:
    """Whether the signature was made with this secret, for this very request. Reads the body, and puts it back."""
    headers = {name: _header(environ, name) for name in signed.headers}
    body = b""
    if "HTTP_X_AMZ_CONTENT_SHA256" in environ:
        headers.setdefault("x-amz-content-sha256", environ["HTTP_X_AMZ_CONTENT_SHA256"])
    else:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
    path = environ.get("RAW_URI") or environ["PATH_INFO"]
    if signed.presigned:
        path = _SIGNATURE.sub("", path)
    request = AWSRequest(
        method=environ["REQUEST_METHOD"], url=f"http://{headers.get('host', '')}{path}", data=body, headers=headers
    )
    request.context["timestamp"] = signed.timestamp
    of_s3 = signed.service == "s3"
    kind: Any = S3SigV4Auth if of_s3 else SigV4Auth
    if signed.presigned:
        kind = S3SigV4QueryAuth if of_s3 else SigV4QueryAuth
    signer = kind(Credentials(signed.key, secret), signed.service, signed.region)
    wanted = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return hmac.compare_digest(wanted, signed.signature)


def timely(signed: Signed, now: datetime) -> bool:
    """Whether a signature is of now, and not one that was overheard: IAM user guide, "When is a request denied"."""
    try:
        made = datetime.strptime(signed.timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return -CLOCKS <= (now - made).total_seconds() <= (signed.expires if signed.presigned else CLOCKS)


def _header(environ: WSGIEnvironment, name: str) -> str:
    key = name.upper().replace("-", "_")
    value: str = environ.get(key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}", "")
    return value
