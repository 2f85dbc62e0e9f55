"""Nested properties to AWS API parameters and back, driven by botocore's service model and the SDK's types.

`deleteOnTermination: "true"` becomes `DeleteOnTermination: True` because the API's shape is a boolean; the way back
gives the string again because the SDK's type is one. A property that the API does not have is an error, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from engine.aws_plugin import schema
from engine.aws_plugin.wire import Props, Value

Shape: TypeAlias = Any
"""A shape of botocore's service model."""

Renames = Mapping[str, str]
"""Names in the API by property name, where capitals alone do not tell (`securityGroups` → `Groups`)."""


class NotImplementedHereError(ValueError):
    """The official plugin knows this property, the stand-in does not; the message names its path."""


def to_api(value: Value, shape: Shape, renames: Renames, path: str = "") -> Value:
    """A property's value as the API parameter of this botocore shape.

    Raises NotImplementedHereError for a property that the API's structure does not have.
    """
    if shape.type_name == "structure" and isinstance(value, dict):
        members = {name.lower(): name for name in shape.members}
        result = {}
        for key, item in value.items():
            if item is None or item in ("", [], {}):
                continue  # the zero value is how Terraform says "not given"
            name = members.get(renames.get(key, key).lower())
            inner = f"{path}.{key}" if path else key
            if name is None:
                message = f"{inner}: the stand-in for the AWS plugin does not implement it; the official plugin does"
                raise NotImplementedHereError(message)
            result[name] = to_api(item, shape.members[name], renames, inner)
        return result
    if shape.type_name == "list":
        if isinstance(value, dict) and "Key" in getattr(shape.member, "members", {}):
            return tag_list(value)
        items = value if isinstance(value, list) else [value]
        return [to_api(item, shape.member, renames, path) for item in items]
    return _scalar(value, shape.type_name)


def _scalar(value: Value, type_name: str) -> Value:
    if type_name == "boolean" and isinstance(value, str):
        return value.lower() == "true"
    if type_name in {"integer", "long"} and isinstance(value, str):
        return int(value)
    if type_name in {"double", "float"} and not isinstance(value, bool):
        return float(value)
    if type_name == "string" and not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


def from_api(value: Value, kind: schema.Type, renames: Renames) -> Value:  # noqa: C901, PLR0911 - one branch a type
    """What the API answered, as a value of the SDK's type; None where the answer has nothing of it."""
    if value is None:
        return None
    if isinstance(kind, schema.ObjectType):
        if isinstance(value, list):  # the API has a list where the SDK has at most one
            value = value[0] if value else {}
        by_name = {name.lower(): item for name, item in value.items()}
        result = {}
        for name, prop in kind.properties().items():
            item = from_api(by_name.get(renames.get(name, name).lower()), prop.type, renames)
            if item is not None and item not in ([], {}):
                result[name] = item
        return result or None
    if isinstance(kind, schema.ListType):
        items = value if isinstance(value, list) else [value]
        return [from_api(item, kind.item, renames) for item in items]
    if isinstance(kind, schema.MapType):
        return tag_map(value) if isinstance(value, list) else dict(value)
    if kind.name == "str":
        return str(value).lower() if isinstance(value, bool) else str(value)
    if kind.name == "bool":
        return value if isinstance(value, bool) else str(value).lower() == "true"
    if kind.name == "int":
        return int(value)
    return value


def tag_list(tags: Mapping[str, str] | None) -> list[dict[str, str]]:
    """Tags as most AWS APIs want them."""
    return [{"Key": key, "Value": value} for key, value in (tags or {}).items()]


def tag_map(tags: list[dict[str, str]] | None) -> dict[str, str]:
    """Tags as properties; what AWS itself put there (`aws:…`) is left out, as the official plugin does."""
    return {tag["Key"]: tag.get("Value", "") for tag in tags or [] if not tag["Key"].startswith("aws:")}


def tag_changes(old: Props, new: Props) -> tuple[list[str], dict[str, str]]:
    """What brings a resource's tags from old to new: the keys to remove, and the tags to write."""
    before, after = old.get("tagsAll") or {}, new.get("tagsAll") or {}
    removed = [key for key in before if key not in after]
    return removed, {key: value for key, value in after.items() if before.get(key) != value}
