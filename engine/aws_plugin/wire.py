"""Values as they travel between the engine and a plugin, to and from plain Python.

Secrets are unwrapped (the plugin does not accept secrets, so the engine marks them again itself), unknown values become
`UNKNOWN`, whole numbers become `int`. It knows nothing of AWS.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from google.protobuf import struct_pb2
from pulumi.runtime.rpc import UNKNOWN as UNKNOWN_ON_THE_WIRE

Value: TypeAlias = Any
"""A property's value: JSON, or UNKNOWN somewhere in it."""

Props = dict[str, Value]
"""Properties of a resource by wire name (camelCase)."""

DEFAULTS_KEY: Final = "__defaults"
"""Where inputs remember which of them the plugin chose. The official plugin has it in every nested object, too, where
it means nothing here: it is dropped when it is read."""

_SIGNATURE = "4dabf18193072939515e22adb298388d"  # the key that marks a special object, sdk/go/common/resource/sig
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a protocol constant, not a password
_RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"


class _Unknown:
    """A value that is not known before something else was created."""

    def __repr__(self) -> str:
        return "<unknown>"

    def __deepcopy__(self, memo: object) -> _Unknown:
        return self


UNKNOWN: Final = _Unknown()
"""The one unknown value; compare with `is`."""


def decode(message: struct_pb2.Struct) -> Props:
    """The properties in a request; a property that is null counts as not given."""
    decoded = {key: _decode(value) for key, value in message.fields.items()}
    return {key: value for key, value in decoded.items() if value is not None}


def encode(props: Props) -> struct_pb2.Struct:
    """The properties for an answer; what is None is left out."""
    message = struct_pb2.Struct()
    message.update({key: _encode(value) for key, value in props.items() if value is not None})
    return message


def has_unknown(value: object) -> bool:
    """Whether a value is unknown, or has an unknown value somewhere inside."""
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN


def _decode(value: struct_pb2.Value) -> Value:  # noqa: PLR0911 - JSON has seven forms
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value in UNKNOWN_SENTINELS else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_decode(item) for item in value.list_value.values]
    if kind == "struct_value":
        fields = value.struct_value.fields
        special = fields[_SIGNATURE].string_value if _SIGNATURE in fields else ""
        if special == _SECRET:
            return _decode(fields["value"])
        if special == _OUTPUT:
            return _decode(fields["value"]) if "value" in fields else UNKNOWN
        if special == _RESOURCE:
            return _decode(fields["id"]) or UNKNOWN
        return {
            key: _decode(item)
            for key, item in fields.items()
            if key != DEFAULTS_KEY and item.WhichOneof("kind") != "null_value"
        }
    return None


UNKNOWN_SENTINELS = frozenset(
    {
        UNKNOWN_ON_THE_WIRE,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool, number, array, asset, archive and object have their own:
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # sdk/go/common/resource/plugin/rpc.go
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
"""Strings that stand for an unknown value of some type."""


def _encode(value: Value) -> Value:
    if value is UNKNOWN:
        return UNKNOWN_ON_THE_WIRE
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_encode(item) for item in value]
    return value
