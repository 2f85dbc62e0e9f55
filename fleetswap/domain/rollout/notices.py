"""The notification at the end of a rollout: the same few lines in a terminal, in CI and in a message.

After a success: what is live, what is standby, how long each phase took, and how to roll back. After a failure: what
failed and why, what serves now, what was restored, and what to do. This module only makes the text. The notifier
decides who gets it, and how; a notifier that fails changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fleetswap.domain.rollout import wording
from fleetswap.domain.rollout.findings import Finding
from fleetswap.domain.rollout.messages import Arm, End, Kind, OnDemand, Resize, ScheduleScaleIn
from fleetswap.domain.rollout.model import ReleaseTarget
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.text import capacity, duration

SUBJECT_CHARS = 100
"""Greatest length of a subject (SNS Publish); it may hold no line breaks or control characters."""

TOLD_SECONDS = 0.05
"""Phases that took less are not told."""


class Ending(StrEnum):
    """How a rollout ended."""

    SUCCEEDED = "succeeded"
    ABORTED = "aborted"
    """The gate, or a person, said no before any traffic moved."""
    FAILED = "failed"
    """An error, before any traffic moved; or the traffic could not be put back."""
    ROLLED_BACK = "rolled back"
    """Traffic had moved, and is back where it was."""


@dataclass(frozen=True)
class Notice:
    """The end of one rollout. `serving` is the release that has the traffic now, or words if no single one has.

    `undone` says what was put back, `remedy` what to do; `phases` are seconds, and `warm` is how many of them the
    standby keeps its machines.
    """

    ending: Ending
    service: str
    release: str
    previous: str | None
    reason: str
    serving: str
    evidence: tuple[Finding, ...] = ()
    seconds: float = 0.0
    """How long the rollout took."""

    url: str = ""
    standby: str | None = None
    warm: float = 0.0
    phases: Mapping[str, float] = field(default_factory=dict)
    back: tuple[float, float] = (0.0, 0.0)
    """About how many seconds a rollback takes: to a standby that is warm, and to one that must start first; 0 if this
    rollout has started none."""

    undone: tuple[str, ...] = ()
    remedy: str = ""
    notes: tuple[str, ...] = ()
    """What else people are told, each in a line."""
    instead: int = 0
    """How many on-demand machines were launched in the place of spot ones."""
    weighted: bool = False
    """Whether these are units of capacity."""
    freeze: str = ""
    """Why the rollout could begin although the service was frozen, if it was."""

    @property
    def subject(self) -> str:
        """One short line of printable ASCII, as mail subjects and SNS want it."""
        text = f"{self.service}: rollout of {self.release} {self.ending}"
        return text.encode("ascii", "replace").decode()[:SUBJECT_CHARS]

    @property
    def text(self) -> str:
        """The whole message, for people."""
        first, *rest = self.lines
        why = [f"why: {self.reason}"] if self.reason else []
        return "\n".join(
            [first, *why, *rest, *self.notes, *(f"evidence: {line}" for line in wording.lines(self.evidence))]
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """The end in a few lines. Why it failed is not among them: whoever sees these gets the error as well."""
        found = self._good_end() if self.ending is Ending.SUCCEEDED else self._bad_end()
        return (*found, self.freeze) if self.freeze else found

    def _good_end(self) -> tuple[str, ...]:
        kept = f"; standby is {self.standby}" if self.standby else ""
        if self.standby and self.warm:
            kept += f", warm for {duration(self.warm)}"
        phases = ", ".join(f"{name} {spent:.1f} s" for name, spent in self.phases.items() if spent >= TOLD_SECONDS)
        took = f"the rollout took {self.seconds:.1f} s" + (f": {phases}" if phases else "")
        at = f" at {self.url}" if self.url else ""
        live = f"{self.service}: {self.release} is live{at}{kept}"
        return (live, took, *self._on_demand(), f"to roll back: {self._rollback()}")

    def _on_demand(self) -> list[str]:
        if not self.instead:
            return []
        launched = wording.on_demand(self.instead, weighted=self.weighted)
        return [f"EC2 had no Spot capacity: {launched} in place of Spot; the group's own mix applies again"]

    def _rollback(self) -> str:
        if not self.standby:
            return "there is no previous release"
        warm, cold = (f"about {duration(max(1.0, seconds))}" for seconds in self.back)
        if not self.back[1]:
            cold = "as long as its machines take to start"
        times = f"{warm} while {self.standby} is warm, after that {cold}" if self.warm else cold
        return f"`fleetswap rollback`, which takes {times}"

    def _bad_end(self) -> tuple[str, ...]:
        verb = "was rolled back" if self.ending is Ending.ROLLED_BACK else str(self.ending)
        if self.ending is Ending.ABORTED:
            verb = "was aborted before any traffic moved"
        found = [
            f"{self.service}: the rollout of {self.release} {verb}, after {duration(self.seconds)}",
            f"serving now: {self.serving}" + ("" if self.serving == self.previous else f" (before: {self.previous})"),
        ]
        if self.undone:
            found.append(f"restored: {'; '.join(self.undone)}")
        found += self._on_demand()
        return (*found, f"what to do: {self.remedy}") if self.remedy else tuple(found)


def notice_of(state: State, end: End, now: float, phases: Mapping[str, float] | None = None) -> Notice:
    """What is told about a rollout that ended in this state; `phases` are the seconds that each took."""
    phases = phases or {}
    order = state.order
    return Notice(
        ending=_ending(state, end),
        service=order.service,
        release=order.candidate.release,
        previous=state.previous or "nothing",
        reason="; ".join(part for part in (end.reason, *end.problems) if part),
        serving=state.now_on or state.previous or "nothing",
        evidence=state.evidence,
        seconds=now - state.started,
        url=order.url,
        standby=order.standby,
        warm=order.policy.warm,
        phases=phases,
        back=_rollback(state, phases),
        undone=() if end.kind is None else _undone(state, end),
        remedy="" if end.kind is None else _remedy(state, end),
        instead=max((change.instead for change in state.touched if isinstance(change, OnDemand)), default=0),
        weighted=state.weighted,
        freeze=state.freeze,
    )


def _ending(state: State, end: End) -> Ending:
    if end.kind is None:
        return Ending.SUCCEEDED
    if state.moved and not end.problems and state.now_on is None:
        return Ending.ROLLED_BACK
    stopped = end.kind in {Kind.ABORTED, Kind.CANCELLED} and not end.problems and not state.moved
    return Ending.ABORTED if stopped else Ending.FAILED


def _rollback(state: State, phases: Mapping[str, float]) -> tuple[float, float]:
    """As this rollout went; without machines that it had to start, what starting some takes is not known."""
    warm, cold = seconds_back(phases, max(1, len(state.written)))
    return warm, 0.0 if state.eager else cold


def seconds_back(phases: Mapping[str, float], moves: int) -> tuple[float, float]:
    """About how many seconds a rollback takes, to machines that run and to some that must start first.

    `phases` are those of a rollout that moved weights so many times. A rollback has no canary, and moves them once.
    """
    warm = sum(phases.get(phase, 0.0) for phase in (Phase.LOOK, Phase.PROBE, Phase.SETTLE))
    warm += phases.get(Phase.SHIFT, 0.0) / moves
    return warm, warm + phases.get(Phase.SCALE, 0.0) + phases.get(Phase.GATE, 0.0)


def _undone(state: State, end: End) -> tuple[str, ...]:
    """What a failure has put back; what it could not is among the problems."""
    found = []
    candidate = state.order.candidate
    if state.moved and state.now_on is None and not end.problems:
        found.append(
            f"all the traffic is on {state.previous} again" if state.served else "nothing is served, as before"
        )
    if not end.problems and state.now_on != candidate.release:
        found += _machines(state, candidate)
    if any(isinstance(change, Arm) for change in state.touched) and not end.problems:
        found.append("the dead man's switch is deleted")
    return tuple(found)


def _machines(state: State, candidate: ReleaseTarget) -> list[str]:
    """What becomes of the candidate's machines: what was decided last."""
    decided = [
        change
        for change in state.touched
        if isinstance(change, (Resize, ScheduleScaleIn)) and change.target == candidate
    ]
    match decided[-1:]:
        case [ScheduleScaleIn(seconds=seconds)]:
            return [f"AWS ends the machines of {candidate.release} in {duration(seconds)}"]
        case [Resize(desired=0)]:
            return [f"{candidate.release} no longer has machines"]
        case [Resize(desired=int(size))]:
            return [f"{candidate.release} has {capacity(size, weighted=state.weighted)} again"]
        case _:
            return []


def _remedy(state: State, end: End) -> str:
    if end.problems or state.now_on is not None:
        return "run `pulumi up` again, which corrects what it finds"
    if end.kind is Kind.INPUT:
        return "nothing was changed: correct what the error names, and run `pulumi up` again"
    if end.kind is Kind.CLOUD:
        return "run `pulumi up` again once AWS accepts what it refused or did not answer"
    if end.kind is Kind.CANCELLED:
        return f"run `pulumi up` to deploy {state.order.candidate.release} after all"
    return f"fix {state.order.candidate.release} and run `pulumi up`, which also deletes what is left of it"
