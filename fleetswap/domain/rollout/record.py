"""The record of one rollout, as data: a header, then one line for each thing that happened, the end last.

It decides what is worth a line, and never writes one: `fleetswap.workflows.rollout.recorder` does. `readings` has the
lines that only a replay needs. Times are seconds
since the rollout started. docs/reference/rollout-record.md documents each line; a test compares it with these classes.
A field is never renamed and never changes its meaning without a new `VERSION`. New fields with a default, and new
lines, may be added; a reader skips what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from fleetswap.domain.rollout import health, readings
from fleetswap.domain.rollout.findings import Finding
from fleetswap.domain.rollout.health import Failure, Machines, Target, Verdict
from fleetswap.domain.rollout.messages import (
    Compared,
    Confirmed,
    Did,
    End,
    Event,
    EvidenceRead,
    HealthRead,
    HookRead,
    Restore,
    Route,
    RuleRead,
    Seen,
    Unanswered,
    Wait,
)
from fleetswap.domain.rollout.model import Order, Rule
from fleetswap.domain.rollout.moments import HookCall
from fleetswap.domain.rollout.notices import Ending, notice_of
from fleetswap.domain.rollout.origin import Origin, Part
from fleetswap.domain.rollout.rates import Counts
from fleetswap.domain.rollout.readings import Answered, Ordered, Reading
from fleetswap.domain.rollout.state import Phase, State

VERSION = 1

Plain = bool | int | float | str | list["Plain"] | dict[str, "Plain"] | None

STEPPING = frozenset({Phase.SHIFT, Phase.HOLD, Phase.BAKE, Phase.HOOK, Phase.PAUSE})
"""Where a step may end: hooks and pauses come before the next one."""

LONGEST = 2000
"""Characters of a text that are kept: what AWS says of a failed launch may be much longer."""


class Kind(StrEnum):
    """What a rollout was started by."""

    DEPLOY = "deploy"
    """`pulumi up`, also to a release that was live before."""
    ROLLBACK = "rollback"
    """`fleetswap rollback --now`."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """The first line."""

    line: Literal["header"] = "header"
    version: int = VERSION
    kind: Kind
    run: str
    """Identifies the rollout; the dead man's switch has it, too."""
    started: str
    """When it began, by the clock of the deploying computer: UTC, ISO 8601."""
    service: str
    stack: str
    """The Pulumi stack, as PROJECT/STACK."""
    candidate: str
    """The release that is to get the traffic."""
    trusted: bool
    """Whether the candidate was live before, and so has no canary."""
    standby: str | None = None
    """The release that is kept warm after a success."""
    policy: Mapping[str, Any] = field(default_factory=dict)
    """How the rollout is judged and how long it may take: the settings `fleetswap:rollout`, every default filled in."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was live before anything was touched; once more if what a rollout that died has left is put right first."""

    line: Literal["found"] = "found"
    at: float
    previous: str | None = None
    """The release that has the traffic until this rollout succeeds, and that gets it back after a failure."""
    weights: Mapping[str, int]
    """By release."""
    freeze: str | None = None
    """Why the rollout may begin although the service is frozen: the freeze, and what lets it pass."""


@dataclass(frozen=True, kw_only=True)
class Entered:
    """The rollout has reached a phase. The phase before it has ended."""

    line: Literal["phase"] = "phase"
    at: float
    phase: Phase


@dataclass(frozen=True, kw_only=True)
class Written:
    """AWS has accepted new weights."""

    line: Literal["weights-written"] = "weights-written"
    at: float
    weights: Mapping[str, int]
    """By release; empty if the rule was deleted, because nothing had the traffic before."""


@dataclass(frozen=True, kw_only=True)
class WeightsSeen:
    """The listener shows other weights than at the reading before."""

    line: Literal["weights-seen"] = "weights-seen"
    at: float
    weights: Mapping[str, int]
    """By release."""


@dataclass(frozen=True, kw_only=True)
class MachinesRead:
    """What the gate saw of the candidate's machines; only if it is not what the reading before said."""

    line: Literal["machines"] = "machines"
    at: float
    machines: Machines


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the checks found; only if it is not what the reading before said."""

    line: Literal["evidence"] = "evidence"
    at: float
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A canary step, or the move of all the traffic, is over."""

    line: Literal["step"] = "step"
    at: float
    began: float
    """When its weights were accepted."""
    weight: int
    """Percent of the traffic that the candidate had."""
    hold: float
    """Seconds that it was to be held at least, from when the weights were seen."""
    min_requests: int
    verdict: Verdict
    """`promote`, or `abort` if the rollout failed in it."""
    findings: tuple[Finding, ...] = ()
    """The last ones; none for a step that is not watched."""


@dataclass(frozen=True, kw_only=True)
class NoAnswer:
    """AWS did not respond to a call, which is made again. Only the first of several that say the same."""

    line: Literal["no-response"] = "no-response"
    at: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The rollout has failed, and begins to restore what was before."""

    line: Literal["failed"] = "failed"
    at: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class TakenUp:
    """The process that ran the rollout was killed, and its guardian ends the rollout. `at` is when it began to."""

    line: Literal["taken-up"] = "taken-up"
    at: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The record has reached its greatest size. From here on it has only `step`, `failed` and `end`."""

    line: Literal["cut"] = "cut"
    at: float


@dataclass(frozen=True)
class PhaseTime:
    """The time of one phase, in seconds since the rollout began. A phase that is entered twice has two."""

    phase: Phase
    began: float
    ended: float


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The last line."""

    line: Literal["end"] = "end"
    at: float
    ending: Ending
    serving: str
    """The release that has the traffic now, or words if no single one has."""
    reason: str = ""
    """Why it did not succeed."""
    problems: tuple[str, ...] = ()
    """What could not be restored."""
    phases: tuple[PhaseTime, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Hooked:
    """A hook has ended, or was killed because the rollout failed meanwhile."""

    line: Literal["hook"] = "hook"
    at: float
    began: float
    moment: str
    hook: str
    """The program's name, the URL's host, or the Lambda function."""
    weight: int
    """Percent of the traffic that the candidate had."""
    verdict: Verdict
    """`promote`, or `abort` if the hook failed or the rollout ended meanwhile. A hook at the end aborts nothing."""
    reason: str = ""
    """Why it failed."""


@dataclass(frozen=True, kw_only=True)
class Paused:
    """The rollout has waited for a person, and no longer does."""

    line: Literal["pause"] = "pause"
    at: float
    began: float
    before: int
    """The weight of the step that it waited before; 0: before any traffic."""
    deadline: float
    """Seconds that it would have waited."""
    otherwise: str
    """What would have happened then: `abort` or `continue`."""
    verdict: Verdict
    """`promote` if the rollout continued, `abort` if it did not."""


Entry = (
    Origin
    | Found
    | Entered
    | Written
    | WeightsSeen
    | MachinesRead
    | Judged
    | Step
    | Hooked
    | Paused
    | NoAnswer
    | Failed
    | TakenUp
    | Cut
    | Ended
)
Line = Header | Entry | Reading

PARTS: Mapping[str, type] = {
    "finding": Finding,
    "counts": Counts,
    "machines of a reading": Machines,
    "target": Target,
    "failed launch": Failure,
    "time of a phase": PhaseTime,
    "part before the rollout": Part,
}
"""What lines are made of, by the names of the reference."""


def header(order: Order, kind: Kind, *, run: str, stack: str, started: str) -> Header:
    """The first line of the record of a rollout."""
    return Header(
        kind=kind,
        run=run,
        started=started,
        service=order.service,
        stack=stack,
        candidate=order.candidate.release,
        trusted=order.trusted,
        standby=order.standby,
        policy=asdict(order.policy),
    )


@dataclass(frozen=True)
class Chronicle:
    """What was recorded last, so that only what is new gets a line."""

    entered: float = 0.0
    phases: tuple[PhaseTime, ...] = ()
    steps: tuple[Step, ...] = ()
    wrote: float = 0.0
    """When weights were accepted last."""
    weights: Mapping[str, int] | None = None
    machines: Machines | None = None
    findings: tuple[Finding, ...] = ()
    silence: str = ""
    hook: float = 0.0
    """When the hook that runs was started."""
    pause: float = 0.0
    """When the pause that the rollout is in began."""

    def after(self, before: State, event: Event, state: State, now: float) -> tuple[Chronicle, tuple[Entry, ...]]:
        """The chronicle and the new lines after an event that led from one state to the next."""
        at, made = at_time(state, now), self
        found: list[Entry] = []
        parts = (
            Chronicle._answer,
            Chronicle._traffic,
            Chronicle._evidence,
            Chronicle._hooks,
            Chronicle._pauses,
            Chronicle._steps,
            Chronicle._phase,
        )
        for part in parts:
            made, new = part(made, before, event, state, at)
            found += new
        return made, tuple(found)

    def _answer(self, before: State, event: Event, _state: State, at: float) -> _Told:
        if isinstance(before.doing, Wait):
            return self, ()
        if not isinstance(event, Unanswered):
            return replace(self, silence=""), ()
        new = (NoAnswer(at=at, reason=event.why),) if event.why != self.silence else ()
        return replace(self, silence=event.why), new

    def _traffic(self, before: State, event: Event, state: State, at: float) -> _Told:
        if state.first is not None and state.first is not before.first:
            weights = _weights(state.order, state.first.rule)
            return replace(self, weights=weights), (_found(state, at, weights),)
        if isinstance(event, Did) and isinstance(before.doing, Route | Restore):
            return replace(self, wrote=at), (Written(at=at, weights=_weights(state.order, _target(before.doing))),)
        known, rule = _rule(event)
        seen = _weights(state.order, rule)
        if not known or seen == self.weights:
            return self, ()
        return replace(self, weights=seen), (WeightsSeen(at=at, weights=seen),)

    def _evidence(self, _before: State, event: Event, state: State, at: float) -> _Told:
        if isinstance(event, HealthRead):
            machines = health.summary(event.reading, wanted=state.wanted, weighted=state.weighted)
            new = (MachinesRead(at=at, machines=machines),) if machines != self.machines else ()
            return replace(self, machines=machines), new
        if state.evidence == self.findings:
            return self, ()
        return replace(self, findings=state.evidence), (Judged(at=at, findings=state.evidence),)

    def _hooks(self, before: State, event: Event, state: State, at: float) -> _Told:
        """A hook is over when another one is started, or none is left."""
        if state.hook_until == before.hook_until:
            return self, ()
        found: tuple[Hooked, ...] = ()
        if before.hook_until is not None:
            reason = state.ending.reason if state.phase.is_back else ""
            if isinstance(event, HookRead) and event.result is not None:
                reason = event.result.words
            verdict = Verdict.ABORT if state.phase.is_back else Verdict.PROMOTE
            found = (hooked(before.hook, at=at, began=self.hook, verdict=verdict, reason=reason),)
        return replace(self, hook=at), found

    def _pauses(self, before: State, _event: Event, state: State, at: float) -> _Told:
        pause = before.pause
        if state.pause == pause:
            return self, ()
        if pause is None:
            return replace(self, pause=at), ()
        over = Paused(
            at=at,
            began=self.pause,
            before=pause.at,
            deadline=pause.deadline,
            otherwise=pause.otherwise.value,
            verdict=Verdict.ABORT if state.phase.is_back else Verdict.PROMOTE,
        )
        return self, (over,)

    def _steps(self, before: State, _event: Event, state: State, at: float) -> _Told:
        step = self._step(before, state, at)
        return (self, ()) if step is None else (replace(self, steps=(*self.steps, step)), (step,))

    def _phase(self, before: State, _event: Event, state: State, at: float) -> _Told:
        if state.phase is before.phase:
            return self, ()
        entered = Entered(at=at, phase=state.phase)
        failed = state.phase.is_back and not before.phase.is_back
        phases = (*self.phases, PhaseTime(before.phase, self.entered, at))
        made = replace(self, phases=phases, entered=at)
        return made, ((Failed(at=at, reason=state.ending.reason), entered) if failed else (entered,))

    def _step(self, before: State, state: State, at: float) -> Step | None:
        """The step that is over: the next one is the first of those that are left, or the rollout settles or fails."""
        if not before.steps or before.phase not in STEPPING or not before.written:
            return None
        passed = state.phase is Phase.SETTLE or len(state.steps) < len(before.steps)
        if not passed and not state.phase.is_back:
            return None
        step = before.steps[0]
        if dict(before.written[-1]).get(before.order.candidate.target_group) != step.weight:
            return None  # its weights were never written
        return Step(
            at=at,
            began=self.wrote,
            weight=step.weight,
            hold=step.hold,
            min_requests=step.min_requests,
            verdict=Verdict.PROMOTE if passed else Verdict.ABORT,
            findings=state.evidence if before.phase is not Phase.SHIFT else (),
        )

    def end(self, state: State, end: End, now: float) -> Ended:
        """The last line."""
        notice = notice_of(state, end, now)
        return Ended(
            at=at_time(state, now),
            ending=notice.ending,
            serving=notice.serving,
            reason=end.reason,
            problems=end.problems,
            phases=self.phases,
        )


def hooked(call: HookCall, *, at: float, began: float, verdict: Verdict, reason: str) -> Hooked:
    """The line of a hook that has ended."""
    moment, label = call.hook.at.value, call.hook.label
    return Hooked(at=at, began=began, moment=moment, hook=label, weight=call.weight, verdict=verdict, reason=reason)


_Told = tuple[Chronicle, tuple[Entry, ...]]


def at_time(state: State, now: float) -> float:
    """The `at` of a line: seconds since the rollout began, to the millisecond."""
    return round(now - state.started, 3)


def _weights(order: Order, rule: Rule | None) -> dict[str, int]:
    return {order.release_of(target_group): weight for target_group, weight in rule.weights} if rule else {}


def _found(state: State, at: float, weights: dict[str, int]) -> Found:
    return Found(at=at, previous=state.previous, weights=weights, freeze=state.freeze or None)


def _target(change: Route | Restore) -> Rule | None:
    return Rule(change.weights) if isinstance(change, Route) else change.rule


def _rule(event: Event) -> tuple[bool, Rule | None]:
    """Whether the event tells the rule of the listener, and the rule."""
    match event:
        case Seen(rule=rule) | RuleRead(rule=rule):
            return True, rule
        case Confirmed(rule=rule, rule_known=known) | Compared(rule=rule, rule_known=known):
            return known, rule
        case EvidenceRead(evidence=read):
            return read.rule_known, read.rule
        case _:
            return False, None


def plain(line: Line | Step | PhaseTime) -> dict[str, Plain]:
    """A line, or a part of one, as numbers, texts, lists and mappings, without what has no value."""
    if isinstance(line, Ordered | Answered):
        return readings.plain(line)
    return {key: _plain(value) for key, value in asdict(line).items() if value is not None}


def _plain(value: object) -> Plain:
    match value:
        case dict():
            return {key: _plain(each) for key, each in value.items() if each is not None}
        case list() | tuple() | frozenset():
            return [_plain(each) for each in value]
        case str():
            return str(value)[:LONGEST]
        case None | bool() | int() | float():
            return value
        case _:
            raise TypeError(f"a line holds {type(value).__name__}")
