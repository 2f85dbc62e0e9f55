"""What the plugin does with a resource, the same for every type: check, diff, create, read, update, delete.

It works on plain Python values and on the tables of the kinds; it knows neither gRPC nor any AWS service.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from engine.aws_plugin import compare, schema
from engine.aws_plugin.convert import NotImplementedHereError
from engine.aws_plugin.kind import Call, Clients, Kind, OperationError, one_line
from engine.aws_plugin.wire import DEFAULTS_KEY, UNKNOWN, Props, has_unknown


class PartialError(OperationError):
    """A create failed half-way and could not be cleaned up: the engine is told what is left, and will delete it."""

    def __init__(self, message: str, resource_id: str, inputs: Props) -> None:
        super().__init__(message)
        self.resource_id = resource_id
        self.inputs = inputs


@dataclass(frozen=True)
class PropertyChange:
    """One changed path."""

    change: compare.Change
    replace: bool


@dataclass(frozen=True)
class Diff:
    """What differs between a resource and what is wanted of it."""

    changes: dict[str, PropertyChange]
    names: frozenset[str]
    """The inputs that changed, by top-level name."""
    delete_before_replace: bool = False

    @property
    def replaces(self) -> list[str]:
        """The paths that make a new resource."""
        return [path for path, change in self.changes.items() if change.replace]


def fill(kind: Kind, props: Props, clients: Clients | None, region: str | None = None) -> Props:
    """Inputs with the type's defaults, its region and all its tags: what the resource is meant to be."""
    filled = {key: value for key, value in props.items() if key != DEFAULTS_KEY}
    for name, default in kind.defaults.items():
        head, _, rest = name.partition(".")
        if not rest:
            filled.setdefault(head, default)
        elif isinstance(filled.get(head), dict):
            filled[head] = {rest: default, **filled[head]}
        elif isinstance(filled.get(head), list):
            filled[head] = [{rest: default, **item} if isinstance(item, dict) else item for item in filled[head]]
    if "region" in kind.schema.inputs and region:
        filled.setdefault("region", region)
    if "tagsAll" in kind.schema.outputs:
        tags, defaults = filled.get("tags"), clients.default_tags if clients else {}
        filled["tagsAll"] = UNKNOWN if tags is UNKNOWN else {**defaults, **(tags or {})}
    return filled


def diff(kind: Kind, old: Props, new: Props, old_inputs: Props, ignored: list[str], clients: Clients | None) -> Diff:
    """How the wanted inputs differ from the state. Only what was once given can be taken back (see `compare`)."""
    wanted = compare.keep_ignored(fill(kind, new, clients), old, ignored)
    before = fill(kind, old_inputs, clients)
    changes: dict[str, PropertyChange] = {}
    names: set[str] = set()
    for name, prop in kind.schema.inputs.items():
        if name == "region" and name not in new:
            continue
        for path, change in _property_changes(kind, name, prop.type, old, wanted, before):
            replace = name == "region" or kind.replaces(name, old, wanted)
            changes[path] = PropertyChange(change, replace)
            names.add(name)
    if "tagsAll" in wanted and not names & {"tags"} and not _ignored(ignored, "tags"):
        for path, change in compare.differences(
            old.get("tagsAll") or {},
            wanted["tagsAll"],
            None,
            schema.MapType(schema.ScalarType("str")),
            kind.rules,
            "tagsAll",
            "tagsAll",
        ):
            changes[path] = PropertyChange(change, replace=False)
            names.add("tagsAll")
    found = Diff(changes, frozenset(names))
    return Diff(changes, found.names, bool(found.replaces) and _delete_first(kind, old, new))


def _ignored(ignored: list[str], name: str) -> bool:
    return any(compare.split(path)[0] == name for path in ignored)


def _property_changes(
    kind: Kind, name: str, kind_type: schema.Type, old: Props, wanted: Props, before: Props
) -> Iterator[tuple[str, compare.Change]]:
    want, have = wanted.get(name), old.get(name)
    if want is None:
        # What AWS decides where nothing is given stays as AWS decided it, also after it was given once.
        if name not in kind.computed and not compare.is_zero(have):
            yield name, "delete"
        return
    if have is None and compare.is_zero(want):
        return
    yield from compare.differences(have, want, before.get(name), kind_type, kind.rules, name, name)


def _delete_first(kind: Kind, old: Props, new: Props) -> bool:
    """Whether the old resource must go before the new one comes: it does if both would have the same given name."""
    if kind.delete_before_replace:
        return True
    if kind.name_length is None or "name" in (new.get(DEFAULTS_KEY) or []):
        return False
    return bool(new.get("name")) and new.get("name") == old.get("name")


def create(kind: Kind, inputs: Props, call: Call, name: str, *, preview: bool) -> tuple[str, Props]:
    """Make a resource; returns its id and state. In a preview nothing is done, and what AWS decides is unknown.

    A failure half-way takes away what was made; the error raised is always the first one.
    """
    filled = fill(kind, inputs, call.clients, call.region)
    if preview:
        unknown = {key: UNKNOWN for key in kind.schema.outputs if key in kind.computed and key not in filled}
        return "", {**unknown, **filled}
    with _told(f"creating {kind.noun} ({name})"):
        try:
            resource_id = kind.create(call, filled)
            observed = kind.read(call, resource_id, filled)
            if observed is None:
                message = f"{resource_id} cannot be found right after it was made"
                raise OperationError(message)
        except Exception as first:
            if call.made is not None:
                try:
                    kind.delete(Call(call.clients, call.region, kind.timeout), call.made, filled)
                except Exception as second:  # noqa: BLE001 - the first error is the one to tell
                    note = f"creating {kind.noun} ({name}): {one_line(first)}; {call.made} is left"
                    message = f"{note} because it could not be deleted: {one_line(second)}"
                    raise PartialError(message, call.made, inputs) from first
            raise
    return resource_id, _state(kind, resource_id, filled, observed, call)


def read(kind: Kind, resource_id: str, state: Props, inputs: Props, call: Call) -> tuple[str, Props, Props]:
    """What is there now: id, state and the inputs that lead to it. An empty id if it is gone.

    Without state and inputs it is an import: the inputs are then what a program would have to say, without nested
    objects, where only a program can know what it wants to say. The id may then name a region: `ID@us-west-2`.
    """
    elsewhere = re.fullmatch(r"(.+)@([a-z]+(?:-[a-z]+)+-\d)", resource_id) if not state else None
    if elsewhere is not None and "region" in kind.schema.inputs:
        resource_id, call.region = elsewhere.groups()
    with _told(f"reading {kind.noun} ({resource_id})"):
        known = {**fill(kind, inputs, call.clients), **state}
        observed = kind.read(call, resource_id, known if state else {})
    if observed is None:
        return "", {}, {}
    new_id = str(observed.pop("id", resource_id))
    resource_id = resource_id if state else new_id
    filled = fill(kind, inputs, call.clients, call.region)
    new_state = _state(kind, new_id, filled, observed, call)
    return resource_id, new_state, _inputs_of(kind, inputs, filled, new_state, imported=not state)


def _inputs_of(kind: Kind, inputs: Props, filled: Props, state: Props, *, imported: bool) -> Props:
    found: Props = {}
    for name, prop in kind.schema.inputs.items():
        value = state.get(name)
        if name in inputs:
            if value is not None:
                agrees = compare.matches(filled[name], value, prop.type, kind.rules, name)
                found[name] = inputs[name] if agrees else value
            continue
        if name not in kind.supported or name == "region" or compare.is_zero(value):
            continue
        if imported:
            wanted = not _nested(prop.type) and value != kind.defaults.get(name)
        else:
            wanted = name not in kind.computed and value != filled.get(name)
        if wanted:
            found[name] = value
    if DEFAULTS_KEY in inputs:
        found[DEFAULTS_KEY] = inputs[DEFAULTS_KEY]
    return found


def _nested(kind: schema.Type) -> bool:
    return isinstance(kind, schema.ObjectType) or (isinstance(kind, schema.ListType) and _nested(kind.item))


def update(
    kind: Kind,
    resource_id: str,
    old: Props,
    new: Props,
    old_inputs: Props,
    ignored: list[str],
    call: Call,
    *,
    preview: bool,
) -> Props:
    """Change a resource in place; returns its new state."""
    found = diff(kind, old, new, old_inputs, ignored, call.clients)
    wanted = compare.keep_ignored(fill(kind, new, call.clients, call.region), old, ignored)
    given = dict(wanted)
    for name in kind.computed:
        if name not in wanted and name in old:
            wanted[name] = old[name]
    if preview:
        moved = dict.fromkeys(kind.moves(found.names), UNKNOWN)
        kept = {key: value for key, value in old.items() if key not in kind.schema.inputs}
        return {**kept, **wanted, **moved}
    with _told(f"updating {kind.noun} ({resource_id})"):
        kind.update(call, resource_id, old, wanted, found.names)
        observed = kind.read(call, resource_id, {**old, **wanted})
        if observed is None:
            message = "it is gone: run `pulumi refresh`"
            raise OperationError(message)
    return _state(kind, resource_id, given, observed, call)


def delete(kind: Kind, resource_id: str, state: Props, call: Call) -> None:
    """Take a resource away; one that is gone is no error."""
    with _told(f"deleting {kind.noun} ({resource_id})"):
        kind.delete(call, resource_id, state)


def _seen(observed: Props, clients: Clients) -> Props:
    """What is observed without the ignored tags, which are a map or, of an auto scaling group, a list."""
    seen = dict(observed)

    def is_ignored(key: str) -> bool:
        return key in clients.ignored_tags or key.startswith(clients.ignored_prefixes)

    for name in ("tags", "tagsAll"):
        tags: Any = observed.get(name)
        if isinstance(tags, dict):
            seen[name] = {key: value for key, value in tags.items() if not is_ignored(key)}
        elif isinstance(tags, list):
            seen[name] = [tag for tag in tags if not is_ignored(tag["key"])]
    return seen


def _state(kind: Kind, resource_id: str, given: Props, observed: Props, call: Call) -> Props:
    """The state: what was given as it was given where AWS agrees, and what AWS says for the rest."""
    state: Props = {}
    tags = given.get("tags")
    observed = _seen(observed, call.clients)
    if "tagsAll" in observed:
        defaults = call.clients.default_tags
        own = {
            key: value
            for key, value in observed["tagsAll"].items()
            if key in (tags or {}) or defaults.get(key) != value
        }
        observed = {**observed, "tags": own}
    types = {**kind.schema.outputs, **kind.schema.inputs}
    for name, prop in types.items():
        value: Any = given.get(name)
        if name in given and name in observed:
            agrees = compare.matches(value, observed[name], prop.type, kind.rules, name)
            value = value if agrees else observed[name]
        elif name not in given:
            value = observed.get(name)
        if value is not None and not has_unknown(value):
            state[name] = compare.in_order(value) if name in kind.rules.json else value
    if "region" in kind.schema.inputs:
        state["region"] = call.region
    state["id"] = observed.get("id", resource_id)
    return state


@contextmanager
def _told(doing: str) -> Iterator[None]:
    """Whatever goes wrong inside is one line that says what was being done."""
    try:
        yield
    except PartialError:
        raise
    except (ClientError, BotoCoreError, OperationError, NotImplementedHereError) as error:
        message = f"{doing}: {one_line(error)}"
        raise OperationError(message) from error
