"""What a replay needs of a rollout, as lines of its record: the order, and every answer that the state machine got.

A line has what differs from the last answer of the same kind, so that a reading which says nothing new is short. Each
is tried out when it is made: what would not come back exactly is kept whole. Nothing is rounded or cut off, because a
replay decides by it. It makes and undoes the lines, and never writes or reads a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeVar

from fleetswap.domain.rollout import messages
from fleetswap.domain.rollout.messages import Action, Event
from fleetswap.domain.rollout.model import Order
from fleetswap.domain.rollout.state import State

EVENTS: Mapping[str, type] = {
    "seen": messages.Seen,
    "did": messages.Did,
    "held": messages.Held,
    "health": messages.HealthRead,
    "images": messages.ImagesRead,
    "probed": messages.Probed,
    "confirmed": messages.Confirmed,
    "evidence": messages.EvidenceRead,
    "explained": messages.Explained,
    "compared": messages.Compared,
    "rule": messages.RuleRead,
    "hook": messages.HookRead,
    "unanswered": messages.Unanswered,
    "broke": messages.Broke,
}
"""By their names in a record, which stay when a class is renamed."""

ACTIONS: Mapping[type, str] = {
    messages.Resize: "resize",
    messages.Tag: "tag",
    messages.Untag: "untag",
    messages.MarkPaused: "mark-paused",
    messages.OnDemand: "on-demand",
    messages.ScheduleScaleIn: "schedule-scale-in",
    messages.CancelScaleIn: "cancel-scale-in",
    messages.Follow: "follow",
    messages.KeepWarmPool: "keep-warm-pool",
    messages.Arm: "arm",
    messages.Disarm: "disarm",
    messages.Route: "route",
    messages.Restore: "restore",
    messages.TagRule: "tag-rule",
    messages.MendRule: "mend-rule",
    messages.Look: "look",
    messages.ReadHealth: "read-health",
    messages.ReadImages: "read-images",
    messages.Probe: "probe",
    messages.Confirm: "confirm",
    messages.ReadEvidence: "read-evidence",
    messages.Explain: "explain",
    messages.Compare: "compare",
    messages.ReadRule: "read-rule",
    messages.RunHook: "run-hook",
    messages.Wait: "wait",
    messages.End: "end",
}

_NAMES = {kind: name for name, kind in EVENTS.items()}

T = TypeVar("T")

_ABSENT = object()
"""No value, or none to be told."""

_GONE = ""
"""The key of what a mapping has no longer; AWS has no empty name."""


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """What was asked for."""

    line: Literal["order"] = "order"
    at: float
    clock: float
    """When the rollout began, by the clock that `answer` lines have."""
    order: Mapping[str, Any]
    """Without the policy, which the header has."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An action was done, or AWS has answered a reading."""

    line: Literal["answer"] = "answer"
    at: float
    clock: float
    """When, exactly: seconds by the clock of the deploying computer that only goes forward."""
    to: str
    """The action (`ACTIONS`)."""
    event: str
    """The answer (`EVENTS`)."""
    whole: bool = False
    """Whether `told` is all of it; else what differs from the last answer of this kind."""
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AnswersCut:
    """The record has no more answers from here on, so that what else it has to say finds room."""

    line: Literal["answers-cut"] = "answers-cut"
    at: float


Reading = Ordered | Answered | AnswersCut


def ordered(order: Order, *, at: float, clock: float) -> Ordered:
    """The line of an order."""
    told = {each.name: _plain(getattr(order, each.name)) for each in fields(order) if each.name != "policy"}
    return Ordered(at=at, clock=clock, order=told)


def plain(line: Ordered | Answered) -> dict[str, Any]:
    """A line as JSON has it. Unlike other lines, it keeps None and long texts."""
    left_out: dict[str, object] = {"whole": False, "told": {}}
    found = {each.name: getattr(line, each.name) for each in fields(line)}
    return {key: value for key, value in found.items() if left_out.get(key, _ABSENT) != value}


@dataclass(frozen=True)
class Answers:
    """Makes the lines of answers: it has the last answer of each kind."""

    last: Mapping[str, Any] = field(default_factory=dict)

    def after(self, before: State, event: Event, *, at: float, clock: float) -> tuple[Answers, Answered]:
        """What comes next, and the line of an event that answers what a state was doing."""
        kind, now = _NAMES[type(event)], _packed(_object(_plain(event)))
        last = self.last.get(kind)
        changes = _object(_changes(last, now))
        whole = last is None or _applied(last, changes) != now
        line = Answered(
            at=at,
            clock=clock,
            to=name_of(before.doing),
            event=kind,
            whole=whole and bool(now),
            told=now if whole else changes,
        )
        return Answers({**self.last, kind: now}), line


def name_of(action: Action) -> str:
    """The name of an action in a record."""
    return ACTIONS[type(action)]


def answers(lines: Iterable[Answered]) -> Iterator[tuple[Answered, dict[str, Any]]]:
    """Each line with all of its answer. `ValueError` if a line does not fit to those before it."""
    last: dict[str, Any] = {}
    for line in lines:
        now = _object(dict(line.told) if line.whole else _applied(last.get(line.event, {}), line.told))
        last[line.event] = now
        yield line, _unpacked(now)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"an answer is not an object, but {type(value).__name__}")
    return value


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return str(value)
        case dict():
            return {str(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
        case _:
            raise TypeError(f"an answer holds {type(value).__name__}")


def _changes(before: object, after: object) -> object:
    """What makes `after` of `before`: an object is merged into an object or, by its indexes, a list; all else replaces.

    A list that got shorter is replaced.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        found = {key: _changes(before.get(key), each) for key, each in after.items() if _differs(before, key, each)}
        gone = [key for key in before if key not in after]
        return {**found, _GONE: gone} if gone else found
    if isinstance(before, list) and isinstance(after, list) and len(before) <= len(after):
        old = dict(enumerate(before))
        return {str(key): _changes(old.get(key), each) for key, each in enumerate(after) if _differs(old, key, each)}
    return after


def _differs(before: Mapping[T, object], key: T, value: object) -> bool:
    return before.get(key, _ABSENT) != value


def _applied(before: object, changes: object) -> object:
    """What `_changes` was made of. `ValueError` if they are none of `before`."""
    if not isinstance(changes, Mapping):
        return changes
    if isinstance(before, list):
        made = list(before)
        for key, each in changes.items():
            index = int(key)
            if index < len(made):
                made[index] = _applied(made[index], each)
            else:
                made.append(_applied(None, each))
        return made
    kept = before if isinstance(before, dict) else {}
    gone = changes.get(_GONE, ())
    found = {key: each for key, each in kept.items() if key not in gone}
    return found | {key: _applied(kept.get(key), each) for key, each in changes.items() if key != _GONE}


def _packed(event: dict[str, Any]) -> dict[str, Any]:
    """Where each period of CloudWatch lies on our clock is known anew with each reading: told once for all of them."""
    periods = (event.get("evidence") or {}).get("periods")
    if not periods:
        return event
    lean = [{key: each for key, each in period.items() if key not in {"began", "ended"}} for period in periods]
    placed = [periods[-1]["began"], periods[-1]["ended"]]
    packed = {**event, "evidence": {**event["evidence"], "periods": lean, "placed": placed}}
    return packed if _unpacked(packed) == event else event


def _unpacked(event: dict[str, Any]) -> dict[str, Any]:
    evidence = event.get("evidence")
    if not isinstance(evidence, dict) or "placed" not in evidence:
        return event
    (began, ended), periods = evidence["placed"], evidence["periods"]
    newest = periods[-1]["start"]
    whole = [
        {**each, "began": began - (newest - each["start"]), "ended": ended - (newest - each["start"])}
        for each in periods
    ]
    rest = {key: each for key, each in evidence.items() if key != "placed"}
    return {**event, "evidence": {**rest, "periods": whole}}
