"""A request, read: which operation of which service, with its parameters as botocore's model has them.

Decides nothing about rights. The body is put back for whoever reads it next; that of a block is left unread.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from botocore.exceptions import BotoCoreError
from botocore.model import OperationNotFoundError
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException

from localcloud.faults import calls

if TYPE_CHECKING:
    from collections.abc import Mapping
    from wsgiref.types import WSGIEnvironment

    from localcloud.moto_state import Moto

_UNREAD: Final = frozenset({"PutSnapshotBlock", "PutObject", "UploadPart"})
"""Their bodies are data."""
_UNREADABLE: Final = (
    *(BotoCoreError, OperationNotFoundError, HTTPException),
    *(LookupError, ValueError, TypeError, AttributeError, NotImplementedError),
)

_JSON: Final[dict[str, tuple[type, ...]]] = {
    "blob": (str,),
    "boolean": (bool,),
    "double": (int, float),
    "integer": (int,),
    "list": (list,),
    "long": (int,),
    "map": (dict,),
    "string": (str,),
    "structure": (dict,),
}


@dataclass(frozen=True)
class Asked:
    """What a request asks for, in botocore's names of the service and the operation."""

    call: calls.Call
    region: str
    account: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def service(self) -> str:
        """As botocore names it."""
        return self.call.service

    @property
    def operation(self) -> str:
        """As botocore names it."""
        return self.call.operation

    def values(self, path: str) -> list[str]:
        """Every value at a path such as `Tags.ResourceId`, which goes through lists; paths may be joined by commas."""
        return [value for one in path.split(",") for value in _walk(self.parameters, one.split("."))]

    def value(self, path: str) -> str:
        """The first value at a path; empty if there is none."""
        return next(iter(self.values(path)), "")


def read(environ: WSGIEnvironment, *, region: str, account: str) -> Asked:
    """Read a request. What cannot be read has no parameters: the service itself will refuse it."""
    call = calls.identify(environ)
    try:
        if str(_model(call.service).protocol).startswith("rest"):
            return _of_path(call, environ, region, account)
        return Asked(call, region, account, _of_body(call, environ))
    except _UNREADABLE:
        return Asked(call, region, account)


def contradicts(environ: WSGIEnvironment, call: calls.Call) -> bool:
    """Whether a request could be read in two ways: what is judged here must be what the service does.

    Moto takes an operation and parameters from the form, the query and `X-Amz-Target`, whichever it finds first, and in
    every protocol. Clients of AWS use one of them, and each name once.
    """
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    query = [name for name, _ in parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)]
    query = [name for name in query if not name.startswith("X-Amz-")]  # a presigned request's
    target, form = bool(environ.get("HTTP_X_AMZ_TARGET")), kind == calls.FORM
    body = [name for name, _ in parse_qsl(call.form, keep_blank_values=True)]
    if call.service == "s3":
        return target
    if _is_rest(call.service):
        return target or form or kind.startswith("multipart/") or "Action" in [*query, *body]
    if target:
        return bool(query) or form or kind.startswith("multipart/") or "Action" in body
    if not form and int(environ.get("CONTENT_LENGTH") or 0):
        return True
    return bool(query and body) or len({*query, *body}) < len(query) + len(body)


def _is_rest(service: str) -> bool:
    try:
        return str(_model(service).protocol).startswith("rest")
    except (BotoCoreError, LookupError, ValueError, TypeError):
        return False


def _of_body(call: calls.Call, environ: WSGIEnvironment) -> Mapping[str, Any]:
    model = _model(call.service).operation_model(call.operation)
    if call.service == "kms" and call.form and not well_typed(model.input_shape, json.loads(call.form)):
        raise TypeError(call.operation)
    pairs = parse_qsl(call.form or environ.get("QUERY_STRING", ""), keep_blank_values=True)
    parsed: Mapping[str, Any] = PROTOCOL_PARSERS[call.protocol](model).parse(
        {"values": dict(pairs) if call.protocol != "json" else {}, "body": call.form}
    )
    return parsed


def well_typed(shape: Moto, value: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether a JSON value is of a shape's type, all through; null is none, but in lists and maps."""
    kind = shape.type_name
    if kind in _JSON and not (isinstance(value, _JSON[kind]) and isinstance(value, bool) == (kind == "boolean")):
        return False
    if kind == "structure":
        found = {name: value[name] for name in shape.members if value.get(name) is not None}
        return all(well_typed(shape.members[name], one) for name, one in found.items())
    if kind in {"list", "map"}:
        inner, values = (shape.member, value) if kind == "list" else (shape.value, value.values())
        return all(well_typed(inner, one) for one in values)
    return True


def _of_path(call: calls.Call, environ: WSGIEnvironment, region: str, account: str) -> Asked:
    request = Request(dict(environ))
    operation, labels = _router(call.service).match(request)
    protocol = str(_model(call.service).protocol)
    body = b"" if operation.name in _UNREAD else _body(environ)
    parsed = PROTOCOL_PARSERS[protocol](operation).parse(
        {
            "method": request.method,
            "values": MultiDict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)),
            "headers": request.headers,
            "body": body,
            "url_path": request.path,
            "url_params": labels,
        }
    )
    named = calls.Call(call.service, operation.name, protocol, body.decode(errors="replace"))
    return Asked(named, region, account, parsed)


def _body(environ: WSGIEnvironment) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = BytesIO(body)
    return body


@functools.cache
def _model(service: str) -> Moto:
    return get_service_model(service)


@functools.cache
def _router(service: str) -> Moto:
    return get_service_router(service)


def _walk(value: object, path: list[str]) -> list[str]:
    if isinstance(value, list):
        return [found for one in value for found in _walk(one, path)]
    if not path:
        return [] if value is None else [value.decode() if isinstance(value, bytes) else str(value)]
    return _walk(value[path[0]], path[1:]) if isinstance(value, dict) and value.get(path[0]) is not None else []
