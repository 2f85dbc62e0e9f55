"""Whether two values of a property say the same to AWS, and if not, in which paths they differ.

It compares what was given with what is (`matches`), and reports changes path by path for the engine (`differences`).
Order counts unless the kind says that a list is a set; AWS's zero values count as absent. It decides nothing about
replacement.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from engine.aws_plugin import schema
from engine.aws_plugin.wire import UNKNOWN, Value

Change = Literal["add", "delete", "update"]


@dataclass(frozen=True)
class Rules:
    """How one resource type's values compare: which dotted paths are sets, hold a policy, ignore case, are names in DNS
    or name a KMS key.
    """

    sets: frozenset[str] = frozenset()
    json: frozenset[str] = frozenset()
    caseless: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()


def domain(name: str) -> str:
    """A name in DNS as it is compared: without its last dot, in small letters."""
    return name.lower().removesuffix(".")


def is_zero(value: Value) -> bool:
    """Whether a value is as good as absent (None, empty, false, 0)."""
    return value is None or (value is not UNKNOWN and value in ("", [], {}, 0))


def matches(given: Value, actual: Value, kind: schema.Type, rules: Rules, path: str) -> bool:
    """Whether everything that was given is so; what an object has beyond it does not count, AWS fills objects up."""
    if given is UNKNOWN or actual is UNKNOWN:
        return False
    if is_zero(given) and is_zero(actual):
        return True
    if isinstance(kind, schema.ObjectType) and isinstance(given, dict) and isinstance(actual, dict):
        properties = kind.properties()
        return all(
            matches(item, actual.get(key), properties[key].type, rules, f"{path}.{key}")
            for key, item in given.items()
            if key in properties
        )
    if isinstance(kind, schema.MapType) and isinstance(given, dict) and isinstance(actual, dict):
        return given == actual
    if isinstance(kind, schema.ListType) and isinstance(given, list) and isinstance(actual, list):
        return _list_matches(given, actual, kind.item, rules, path)
    return _scalar_matches(_plain(given, kind), _plain(actual, kind), rules, path)


def _plain(value: Value, kind: schema.Type) -> Value:
    """A scalar as its type has it: the official plugin's state has some whole numbers and flags as strings."""
    if not isinstance(kind, schema.ScalarType):
        return value
    if kind.name == "int" and isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    if kind.name == "bool" and value in {"true", "false"}:
        return value == "true"
    if kind.name == "str" and isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


def in_order(document: Value) -> Value:
    """A JSON document without spaces and with its keys in order, as the official plugin keeps it in the state."""
    try:
        return json.dumps(json.loads(document), separators=(",", ":"), sort_keys=True)
    except (TypeError, ValueError):
        return document


def same_document(one: str, other: str) -> bool:
    """Whether two policies say the same to IAM, which gives lists back in another order, and one value without a list.

    As the official plugin compares them (awspolicyequivalence).
    """
    try:
        return bool(_unordered(json.loads(one)) == _unordered(json.loads(other)))
    except ValueError:
        return one == other


def _unordered(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: _unordered(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_unordered(item) for item in value]
        return items[0] if len(items) == 1 else sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    account = re.fullmatch(r"arn:[a-z-]+:iam::(\d{12}):root", value) if isinstance(value, str) else None
    return account[1] if account else value


def _list_matches(given: list[Value], actual: list[Value], kind: schema.Type, rules: Rules, path: str) -> bool:
    if len(given) != len(actual):
        return False
    if path not in rules.sets:
        return all(matches(one, other, kind, rules, path) for one, other in zip(given, actual, strict=True))
    rest = list(actual)
    for one in given:
        position = next((index for index, other in enumerate(rest) if matches(one, other, kind, rules, path)), None)
        if position is None:
            return False
        del rest[position]
    return True


def _scalar_matches(given: Value, actual: Value, rules: Rules, path: str) -> bool:
    if path in rules.json and isinstance(given, str) and isinstance(actual, str):
        return same_document(given, actual)
    if path in rules.keys and isinstance(given, str) and isinstance(actual, str):
        return given.rpartition(":key/")[2] == actual.rpartition(":key/")[2]
    if path in rules.caseless and isinstance(given, str) and isinstance(actual, str):
        return given.lower() == actual.lower()
    if path in rules.domains and isinstance(given, str) and isinstance(actual, str):
        return domain(given) == domain(actual)
    return bool(given == actual)


def differences(
    old: Value,
    new: Value,
    given_before: Value,
    kind: schema.Type,
    rules: Rules,
    path: str,
    shown: str,
) -> Iterator[tuple[str, Change]]:
    """The paths in which `new` (what is wanted) differs from `old` (what is), each with the kind of change.

    `given_before` is what the program gave last time: only what was given can be taken back, everything else of an
    object is AWS's own. `path` has no indexes (for `rules`), `shown` has them (for the engine).
    """
    if isinstance(kind, schema.ObjectType) and isinstance(old, dict) and isinstance(new, dict):
        before = given_before if isinstance(given_before, dict) else {}
        for key, prop in kind.properties().items():
            if key in new or (key in before and not is_zero(before[key])):
                yield from differences(
                    old.get(key), new.get(key), before.get(key), prop.type, rules, f"{path}.{key}", join(shown, key)
                )
        return
    if isinstance(kind, schema.MapType) and isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            if old.get(key) != new.get(key) or new.get(key) is UNKNOWN:
                yield join(shown, key), _change(old.get(key), new.get(key))
        return
    if isinstance(kind, schema.ListType) and isinstance(old, list) and isinstance(new, list):
        before_list = given_before if isinstance(given_before, list) else []
        yield from _list_differences(old, new, before_list, kind.item, rules, path, shown)
        return
    if not matches(new, old, kind, rules, path):
        yield shown, _change(old, new)


def _list_differences(
    old: list[Value], new: list[Value], before: list[Value], kind: schema.Type, rules: Rules, path: str, shown: str
) -> Iterator[tuple[str, Change]]:
    if path in rules.sets and len(old) > 0:
        yield from _set_differences(old, new, before, kind, rules, path, shown)
        return
    for index in range(max(len(old), len(new))):
        here = f"{shown}[{index}]"
        if index >= len(new):
            yield here, "delete"
        elif index >= len(old):
            yield here, "add"
        else:
            earlier = before[index] if index < len(before) else None
            yield from differences(old[index], new[index], earlier, kind, rules, path, here)


def _set_differences(
    old: list[Value], new: list[Value], before: list[Value], kind: schema.Type, rules: Rules, path: str, shown: str
) -> Iterator[tuple[str, Change]]:
    left = list(range(len(old)))
    changed = False
    for index, item in enumerate(new):
        found = next((i for i in left if matches(item, old[i], kind, rules, path)), None)
        if found is None:
            changed = True
            yield f"{shown}[{index}]", "update" if index < len(old) else "add"
        else:
            left.remove(found)
    if len(new) < len(old):
        yield from ((f"{shown}[{index}]", "delete") for index in left)
    elif not changed and before and _canonical(before) != _canonical(new):
        yield shown, "update"  # each item is covered by what is there, yet something that was given is given no more


def _canonical(value: Value) -> str:
    if isinstance(value, list):
        return "[" + ",".join(sorted(_canonical(item) for item in value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_canonical(item)}" for key, item in sorted(value.items())) + "}"
    return repr(value)


def _change(old: Value, new: Value) -> Change:
    if new is None:
        return "delete"
    return "add" if old is None else "update"


def join(path: str, key: str) -> str:
    """A property path one key deeper, quoted where the engine needs it."""
    return f"{path}.{key}" if re.fullmatch(r"\w+", key) else f'{path}["{key}"]'


def split(path: str) -> list[str | int]:
    """The keys and indexes of a property path as `ignoreChanges` has them."""
    found: list[str | int] = []
    for quoted, index, name in re.findall(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+|\*)\]|([^.\[\]]+)', path):
        found.append(quoted if quoted else (int(index) if index.isdigit() else "*") if index else name)
    return found


def keep_ignored(new: dict[str, Value], old: dict[str, Value], ignored: list[str]) -> dict[str, Value]:
    """The wanted properties with every ignored path put to what it is now: no change of it is ever seen or made."""
    result = copy.deepcopy(new)
    for path in ignored:
        _keep(result, old, split(path))
    return result


def _keep(new: Value, old: Value, keys: list[str | int]) -> None:
    first, rest = keys[0], keys[1:]
    if first == "*" and isinstance(new, list):
        for index in range(len(new)):
            _keep(new, old, [index, *rest])
        return
    if isinstance(new, dict) and isinstance(old, dict) and isinstance(first, str):
        if rest and first in new and first in old:
            _keep(new[first], old[first], rest)
        elif not rest and first in old:
            new[first] = old[first]
        elif not rest:
            new.pop(first, None)
    elif isinstance(new, list) and isinstance(old, list) and isinstance(first, int) and first < min(len(new), len(old)):
        if rest:
            _keep(new[first], old[first], rest)
        else:
            new[first] = old[first]
