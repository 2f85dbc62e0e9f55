"""Reads what `pulumi preview --json` prints: which resources change, what the rollouts will do, what was said.

It keeps what a reviewer is shown, and no other input of a resource: what is not kept cannot be published.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.moments import Hook, Moment, Otherwise, Pause
from fleetswap.domain.rollout.strategy import Step, Strategy

ROLLOUT = "pulumi-python:dynamic/fleetswap:Rollout"
DISK_IMAGE = "pulumi-python:dynamic/fleetswap:DiskImage"

SAME = "same"


class Change(StrEnum):
    """What becomes of a resource."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"


OPERATIONS = {
    "create": Change.CREATE,
    "import": Change.CREATE,
    "update": Change.UPDATE,
    "replace": Change.REPLACE,
    "delete": Change.DELETE,
    "discard": Change.DELETE,
}
"""Of the engine's steps (`StepOp` of Pulumi's `pkg/resource/deploy`) those that a reviewer counts: `create-replacement`
and `delete-replaced` are how a `replace` is done, `same`, `read` and `refresh` change nothing."""


@dataclass(frozen=True)
class Resource:
    """A resource that changes. `parents` are the types above it, `reasons` the inputs that differ."""

    change: Change
    kind: str
    name: str
    parents: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Swap:
    """What a rollout will do. `trusted` is a release that was live before: its rollout has no canary, no pauses, and
    only the hooks at the end.

    Times are seconds; `phases` are those that the last rollout had, and `moves` how often it moved weights.
    """

    service: str
    region: str
    before: str
    after: str
    steps: tuple[Step, ...]
    standby: str = ""
    trusted: bool = False
    hooks: tuple[Hook, ...] = ()
    pauses: tuple[Pause, ...] = ()
    warm: float = 0.0
    deadline: float = 0.0
    convergence: float = 0.0
    data_deadline: float = 0.0
    phases: tuple[tuple[str, float], ...] = ()
    moves: int = 1
    image: str = ""
    """ID of the AMI of the release that has the traffic now."""


@dataclass(frozen=True)
class Image:
    """An image that is built and uploaded, and what it changes by package, as far as the preview says it."""

    release: str
    identity: str
    changes: tuple[str, ...]


class Severity(StrEnum):
    """How important a message of the engine, the program or a policy is."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Message:
    """What was said in the preview."""

    severity: Severity
    text: str


@dataclass(frozen=True)
class Preview:
    """A preview of one stack. `stack` is PROJECT/STACK; `unchanged` counts resources."""

    stack: str
    resources: tuple[Resource, ...] = ()
    unchanged: int = 0
    swaps: tuple[Swap, ...] = ()
    images: tuple[Image, ...] = ()
    messages: tuple[Message, ...] = ()

    def said(self, severity: Severity) -> tuple[str, ...]:
        """The messages of this severity, each once."""
        return tuple(dict.fromkeys(each.text for each in self.messages if each.severity is severity))

    @property
    def failed(self) -> bool:
        """Whether the preview ended with an error, and so does not show everything."""
        return bool(self.said(Severity.ERROR))


def read(text: str, where: str) -> Preview:
    """The preview that `pulumi preview --json` printed. `InputError` if it is none; `where` names it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({error}): give what `pulumi preview --json` prints") from error
    steps = found.get("steps") if isinstance(found, dict) else None
    if found == {}:
        raise InputError(f"{where}: nothing in it: `pulumi preview` failed before it began, and says why on stderr")
    if not isinstance(steps, list) or not all(isinstance(each, dict) and "urn" in each for each in steps):
        raise InputError(f"{where}: no `steps` in it: give what `pulumi preview --json` prints")
    try:
        return _preview(found, steps)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: not what `pulumi preview --json` prints: {error!r}") from error


def _preview(found: Mapping[str, Any], steps: list[dict[str, Any]]) -> Preview:
    urns = [_Urn(str(each["urn"])) for each in steps]
    changed = [
        Resource(OPERATIONS[each["op"]], urn.kind, urn.name, urn.parents, tuple(each.get("diffReasons") or ()))
        for each, urn in zip(steps, urns, strict=True)
        if each["op"] in OPERATIONS
    ]
    return Preview(
        stack=urns[0].stack if urns else "",
        resources=tuple(changed),
        unchanged=int((found.get("changeSummary") or {}).get(SAME, 0)),
        swaps=tuple(_swaps(steps, urns)),
        images=tuple(
            Image(_inputs(each)["release"], _inputs(each)["identity"], tuple(_inputs(each).get("changes") or ()))
            for each, urn in zip(steps, urns, strict=True)
            if urn.kind == DISK_IMAGE and each["op"] == "create" and urn.region is None
        ),
        messages=tuple(_message(each) for each in found.get("diagnostics") or ()),
    )


class _Urn:
    """`urn:pulumi:STACK::PROJECT::TYPE$TYPE::NAME` (Pulumi, "Resource names")."""

    def __init__(self, urn: str) -> None:
        scheme, project, types, self.name = urn.split("::", 3)
        *parents, self.kind = types.split("$")
        self.parents = tuple(parents)
        self.stack = f"{project}/{scheme.rpartition(':')[2]}"

    @property
    def region(self) -> str | None:
        """The Region that a resource stands in, if it is not the stack's own: the type of the component says it."""
        for each in self.parents:
            if each.startswith("fleetswap:regions/"):
                return each.removeprefix("fleetswap:regions/").partition(":")[0]
        return None


def _swaps(steps: list[dict[str, Any]], urns: list[_Urn]) -> list[Swap]:
    found = []
    for each, urn in zip(steps, urns, strict=True):
        if urn.kind != ROLLOUT or OPERATIONS.get(each["op"]) not in {Change.CREATE, Change.UPDATE}:
            continue
        new, old = _inputs(each), (each.get("oldState") or {}).get("outputs") or {}
        before = str(old.get("serving") or old.get("live") or "")
        if before != new["live"]:
            found.append(_swap(new, old, before))
    return found


def _swap(new: Mapping[str, Any], old: Mapping[str, Any], before: str) -> Swap:
    policy, trusted = new["policy"], bool(new.get("trusted"))
    return Swap(
        service=new["service"],
        region=new["region"],
        before=before,
        after=new["live"],
        standby=new.get("standby") or "",
        trusted=trusted,
        steps=_strategy(policy["strategy"]).plan(trusted=trusted),
        hooks=tuple(each for each in map(_hook, policy.get("hooks") or ()) if each.at is Moment.END or not trusted),
        pauses=() if trusted else tuple(map(_pause, policy.get("pause") or ())),
        warm=float(policy["warm"]),
        deadline=float(policy["deadline"]),
        convergence=float(policy["convergence"]),
        data_deadline=float(policy["data_deadline"]),
        phases=tuple((str(name), float(spent)) for name, spent in (old.get("seconds") or {}).items()),
        moves=max(1, len((old.get("record") or {}).get("steps") or ())),
        image=next((str(side["image"]) for side in new["sides"] if side["release"] == before), ""),
    )


def _strategy(plain: Mapping[str, Any]) -> Strategy:
    steps = (Step(int(each["weight"]), float(each["hold"]), int(each["min_requests"])) for each in plain["steps"])
    return Strategy(tuple(steps), float(plain["bake"]), float(plain["trusted_bake"]))


def _hook(plain: Mapping[str, Any]) -> Hook:
    return Hook(
        Moment(plain["at"]),
        command=tuple(map(str, plain.get("command") or ())),
        url=plain.get("url"),
        function=plain.get("lambda"),
        timeout=float(plain["timeout"]),
    )


def _pause(plain: Mapping[str, Any]) -> Pause:
    return Pause(int(plain["at"]), float(plain["deadline"]), Otherwise(plain["otherwise"]))


def _inputs(step: Mapping[str, Any]) -> Mapping[str, Any]:
    inputs: Mapping[str, Any] = step["newState"]["inputs"]
    return inputs


def _message(plain: Mapping[str, Any]) -> Message:
    severity = str(plain.get("severity", ""))
    if severity.startswith("info"):
        kind = Severity.INFO
    else:
        kind = Severity.WARNING if severity == Severity.WARNING else Severity.ERROR
    text = str(plain.get("message", "")).strip()
    return Message(kind, text.removeprefix(f"{severity}: "))
