"""Whether inputs are what the installed SDK says, and the automatic name.

Every finding has the path of its property. It decides nothing about values that AWS alone can judge.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping

from engine.aws_plugin import schema
from engine.aws_plugin.compare import join
from engine.aws_plugin.kind import Kind
from engine.aws_plugin.wire import DEFAULTS_KEY, UNKNOWN, Props, Value

Failure = tuple[str, str]
_RANDOM_DIGITS = 7


def type_failures(
    props: Props, known: Mapping[str, schema.Property], *, implemented: frozenset[str], what: str
) -> Iterator[Failure]:
    """Unknown, missing and ill-typed properties of a resource or of the provider itself."""
    for name, value in props.items():
        if name not in known:
            yield name, f"{what} has no property {name}"
        elif name not in implemented:
            yield name, f"the stand-in for the AWS plugin does not implement {name} of {what}; the official plugin does"
        else:
            yield from _value_failures(value, known[name].type, name)
    for name, prop in known.items():
        if prop.required and name not in props:
            yield name, f"{what} needs {name}"


def _value_failures(value: Value, kind: schema.Type, path: str) -> Iterator[Failure]:  # noqa: C901, PLR0912 - one branch a type
    if value is UNKNOWN or value is None:
        return
    if isinstance(kind, schema.ListType):
        if not isinstance(value, list):
            yield path, f"expected a list, got {_name(value)}"
            return
        for index, item in enumerate(value):
            yield from _value_failures(item, kind.item, f"{path}[{index}]")
    elif isinstance(kind, schema.MapType):
        if not isinstance(value, dict):
            yield path, f"expected a map, got {_name(value)}"
            return
        for key, item in value.items():
            yield from _value_failures(item, kind.item, join(path, key))
    elif isinstance(kind, schema.ObjectType):
        if not isinstance(value, dict):
            yield path, f"expected an object, got {_name(value)}"
            return
        properties = kind.properties()
        for key, item in value.items():
            if key not in properties:
                yield join(path, key), f"there is no such property: {path} has {', '.join(sorted(properties))}"
            else:
                yield from _value_failures(item, properties[key].type, join(path, key))
        for key, prop in properties.items():
            if prop.required and key not in value:
                yield join(path, key), f"{path} needs {key}"
    elif not _is_scalar(value, kind.name):
        yield path, f"expected {_WORDS[kind.name]}, got {_name(value)}"


_WORDS = {"str": "a string", "int": "a whole number", "float": "a number", "bool": "true or false", "any": "a value"}


def _is_scalar(value: object, name: schema.Scalar) -> bool:
    if name == "any":
        return True
    if name == "str":
        return isinstance(value, str)
    if name == "bool":
        return isinstance(value, bool)
    if name == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the string {value!r}"
    return "a list" if isinstance(value, list) else "an object"


def resource_failures(kind: Kind, props: Props) -> list[Failure]:
    """All that is wrong with a resource's inputs; conditions between properties only once each is right for itself."""
    found = list(type_failures(props, kind.schema.inputs, implemented=kind.supported, what=kind.type_name))
    if "name" in kind.supported and props.get("name") and props.get("namePrefix"):
        found.append(("namePrefix", "not together with name"))
    return found or list(kind.validate(props))


def document_failures(props: Props, name: str) -> Iterator[Failure]:
    """A policy is a JSON object."""
    text = props.get(name)
    if text is None or text is UNKNOWN:
        return
    try:
        good = isinstance(json.loads(text), dict)
    except ValueError:
        good = False
    if not good:
        yield name, "it is not a JSON object"


def range_failures(props: Props, name: str, least: int, most: int) -> Iterator[Failure]:
    """A number, if it is given, is between two others, or one of them."""
    value = props.get(name)
    if value is not None and value is not UNKNOWN and not least <= value <= most:
        yield name, f"expected {least} to {most}, got {value}"


def with_name(
    kind: Kind, resource_name: str, props: Props, old: Props, seed: bytes, proposed: tuple[str, str] | None
) -> tuple[Props, list[Failure]]:
    """The inputs with a name: the given one, the one chosen before, or `<resource name>-<7 hex digits>`.

    The digits come from the engine's seed, so that a preview and its update agree. `proposed` is the engine's own wish
    (`pulumi:autonaming`): its mode and the name.
    """
    if kind.name_length is None or props.get("name") or props.get("namePrefix"):
        return props, []
    if old.get("name") and "name" in (old.get(DEFAULTS_KEY) or []):
        return {**props, "name": old["name"], DEFAULTS_KEY: ["name"]}, []
    mode, wish = proposed or ("", "")
    if mode == "disable":
        return props, [("name", "missing, and automatic names are switched off (pulumi:autonaming)")]
    digits = hashlib.sha256(seed + resource_name.encode()).hexdigest() if seed else secrets.token_hex(16)
    name = wish or f"{resource_name}-{digits[:_RANDOM_DIGITS]}"
    if len(name) > kind.name_length:
        reason = f"the automatic name {name!r} is longer than {kind.name_length} characters: give a name or namePrefix"
        return props, [("name", reason)]
    return {**props, "name": name, DEFAULTS_KEY: ["name"]}, []
