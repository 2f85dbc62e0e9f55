"""Refuses what a service's own model refuses: lengths, ranges, patterns, enumerations, missing members; and bad tags.

Decides from botocore's models, which are AWS's own, so that no limit has to be written down here. Moto parses a request
with them and checks hardly any. What a model does not say (which names are taken, what excludes what) is in the module
of its subject. Clients check less than this: botocore sends a name that is too long.

Rules of tags come from the EC2 API reference (Tag, CreateTags) and the tagging pages of the other services: 50 a
resource, no key twice, none that begins with `aws:`; EC2 takes keys of 127 characters, all others of 128.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Final

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import get_service_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

MAX_TAGS: Final = 50
MAX_EC2_KEY: Final = 127
MAX_EC2_VALUE: Final = 256

_UNCHECKED: Final = frozenset({"InstanceType"})
"""Enumerations that lists of a client's age: EC2 has instance types that no model names yet."""

_OWN_WORDS: Final = frozenset({("ec2", "Name")})
"""What has an error code of its own: the name of an AMI (see `images`)."""

_TOO_MANY: Final = {"elbv2": "TooManyTags", "ec2": "TagLimitExceeded", "sns": "TagLimitExceeded"}
_TWICE: Final = {"elbv2": "DuplicateTagKeys", "iam": "InvalidInput"}
_INVALID: Final = {"ec2": "InvalidParameterValue", "kms": "ValidationException", "sns": "InvalidParameter"}

SERVICES: Final = frozenset({"autoscaling", "ec2", "elbv2", "iam", "sns"})
"""Those whose requests are checked here. CloudWatch has words of its own for most of it (see `cloudwatch`)."""

_call_action = BaseResponse.call_action


def patch(patches: Patches) -> None:
    """Check every request that moto parses by its model."""
    patches.methods(BaseResponse, call_action)


class Refused(ServiceException):  # type: ignore[misc] # moto ships no types
    """A request that the service's model does not allow. Not in moto's package: it takes the package for a service."""


def call_action(self: Moto) -> Moto:
    """AWS checks a request against its model before anything else; moto only reads it."""
    refused = _refusal(self)
    if refused is None:
        return _call_action(self)
    status, headers, body = self.serialized(ActionResult(refused))
    return (status, *self._enrich_response(headers, body))


def _refusal(response: Moto) -> Refused | None:
    service = response.boto3_service_name
    if service not in SERVICES or not response._get_action():
        return None
    shape = get_service_model(service).operation_model(response._get_action()).input_shape
    if shape is None:
        return None
    return next(problems(service, shape, response.params), None)


def problems(service: str, shape: Moto, value: Any, path: str = "", where: str = "") -> Iterator[Refused]:  # noqa: ANN401 - whatever was asked for
    """What a service refuses in a parsed parameter. `path` is as AWS's messages have it, `where` the member's name."""
    if shape.type_name == "structure" and isinstance(value, dict):
        yield from _members(service, shape, value, path)
    elif shape.type_name == "list" and isinstance(value, list):
        yield from _size(service, shape, len(value), value, path, where)
        if _holds_tags(shape):
            yield from _tags(service, value)
        for index, item in enumerate(value, 1):
            yield from problems(service, shape.member, item, f"{path}.{index}.member", where)
    elif shape.type_name == "string" and isinstance(value, str):
        yield from _text(service, shape, value, path, where)
    elif shape.type_name == "blob" and isinstance(value, bytes):
        yield from _size(service, shape, len(value), None, path, where)
    elif isinstance(value, int | float):
        yield from _size(service, shape, value, value, path, where)


def _members(service: str, shape: Moto, value: dict[str, Any], path: str) -> Iterator[Refused]:
    for name, member in shape.members.items():
        here = _step(path, name)
        if value.get(name) is not None:
            yield from problems(service, member, value[name], here, name)
        elif name in shape.required_members:
            yield _missing(service, here, name)


def _step(path: str, name: str) -> str:
    name = name[0].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _missing(service: str, path: str, name: str) -> Refused:
    if service == "ec2":
        return Refused("MissingParameter", f"The request must contain the parameter {name}")
    return _broken(service, "null", path, name, "Member must not be null")


def _broken(service: str, value: object, path: str, where: str, rule: str) -> Refused:
    if service == "ec2":
        return Refused(_INVALID["ec2"], f"Value ({value}) for parameter {where} is invalid. {rule}")
    shown = "" if value is None else f" '{value}'"  # a secret is not repeated
    return Refused(
        _INVALID.get(service, "ValidationError"),
        f"1 validation error detected: Value{shown} at '{path}' failed to satisfy constraint: {rule}",
    )


def _size(service: str, shape: Moto, size: float, value: object, path: str, where: str) -> Iterator[Refused]:
    """A number's value, or the length of a text or a list, against `min` and `max`."""
    words = "value" if isinstance(value, int | float) else "length"
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield _broken(service, value, path, where, f"Member must have {words} greater than or equal to {least}")
    if most is not None and size > most:
        yield _broken(service, value, path, where, f"Member must have {words} less than or equal to {most}")


def _text(service: str, shape: Moto, value: str, path: str, where: str) -> Iterator[Refused]:
    if (service, where) in _OWN_WORDS:
        return
    yield from _size(service, shape, len(value), value, path, where)
    known = shape.metadata.get("enum")
    if known and shape.name not in _UNCHECKED and value not in known:
        yield _broken(service, value, path, where, f"Member must satisfy enum value set: [{', '.join(known)}]")
    pattern = shape.metadata.get("pattern")
    if pattern and not _compiled(pattern).fullmatch(value):
        yield _broken(service, value, path, where, f"Member must satisfy regular expression pattern: {pattern}")


_JAVA: Final = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF",  # a pair of surrogates is one character here
}


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of AWS's models, which are Java's, as Python has it."""
    for java, python in _JAVA.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern)


def _holds_tags(shape: Moto) -> bool:
    members = getattr(shape.member, "members", {})
    return "tag" in shape.name.lower() and {"Key", "Value"} <= set(members)


def _tags(service: str, tags: list[dict[str, Any]]) -> Iterator[Refused]:
    invalid = _INVALID.get(service, "ValidationError")
    keys = [str(tag.get("Key") or "") for tag in tags]
    seen: set[tuple[Any, str]] = set()
    for tag, key in zip(tags, keys, strict=True):
        named = (tag.get("ResourceId"), key.lower() if service == "iam" else key)  # IAM's keys ignore case
        if named in seen:
            yield Refused(_TWICE.get(service, invalid), f"Duplicate tag key '{key}' specified.")
        seen.add(named)
    if len(tags) > MAX_TAGS:
        yield Refused(_TOO_MANY.get(service, invalid), f"A resource has at most {MAX_TAGS} tags")
    for tag, key in zip(tags, keys, strict=True):
        if key.lower().startswith("aws:"):
            yield Refused(invalid, f"Tag keys starting with 'aws:' are reserved for internal use: {key}")
        if service == "ec2" and not 1 <= len(key) <= MAX_EC2_KEY:
            yield Refused(invalid, f"Tag key must have 1 to {MAX_EC2_KEY} characters, not {len(key)}")
        if service == "ec2" and len(tag.get("Value") or "") > MAX_EC2_VALUE:
            yield Refused(invalid, f"Tag value exceeds the maximum length of {MAX_EC2_VALUE} characters")
