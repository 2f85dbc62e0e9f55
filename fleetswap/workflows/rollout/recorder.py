"""Keeps the record of a rollout: what happens becomes lines, and the lines go to a sink. It never fails a rollout."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from fleetswap.domain.rollout import record
from fleetswap.domain.rollout.health import Verdict
from fleetswap.domain.rollout.messages import End, Event
from fleetswap.domain.rollout.moments import HookCall, HookResult
from fleetswap.domain.rollout.origin import Origin
from fleetswap.domain.rollout.readings import Answers, AnswersCut, ordered
from fleetswap.domain.rollout.record import Chronicle, Kind, Line, PhaseTime, Step, TakenUp
from fleetswap.domain.rollout.state import State
from fleetswap.domain.text import one_line
from fleetswap.domain.timeline.of_rollout import first_healthy


class Sink(Protocol):
    """Where the lines go, each as soon as it is there."""

    def write(self, line: Line) -> None:
        """Keep a line. A header for a record that has one already is skipped. May raise; then it gets no more."""

    def close(self) -> str | None:
        """No more lines come. The name under which a person finds the record; None if nothing was kept."""


class Recorder:
    """The record of one rollout. Whatever goes wrong in it is told once, in one line, and ends the record alone."""

    def __init__(
        self,
        sink: Sink | None = None,
        *,
        kind: Kind = Kind.DEPLOY,
        stack: str = "",
        origin: Origin | None = None,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Without a sink the lines are counted, but kept nowhere. `origin` is where the rollout comes from."""
        self._sink = sink
        self._kind = kind
        self._stack = stack
        self._origin = origin
        self._wall = wall
        self._chronicle = Chronicle()
        self._answers: Answers | None = None
        self._started = ""
        self._healthy: float | None = None
        self.problem = ""
        """Why the record is incomplete; empty if it is not."""

    def begin(self, state: State, now: float, taken_up: str = "") -> None:
        """The rollout begins now; or it is taken up, for this reason, after its process was killed."""

        def lines() -> None:
            began = self._wall() - timedelta(seconds=now - state.started)
            self._started = began.isoformat(timespec="milliseconds")
            self._write(record.header(state.order, self._kind, run=state.run, stack=self._stack, started=self._started))
            if taken_up:
                # What the process that was killed has read last may be missing, so that no replay gets behind this.
                self._write(TakenUp(at=record.at_time(state, now), reason=taken_up))
            elif self._sink is not None:
                if self._origin is not None:
                    self._write(self._origin)
                self._answers = Answers()
                self._write(ordered(state.order, at=record.at_time(state, now), clock=state.started))

        self._chronicle = Chronicle(entered=record.at_time(state, now))
        self._try(lines)

    def after(self, before: State, event: Event, state: State, now: float) -> None:
        """An event has led from one state to the next."""

        def lines() -> None:
            self._answer(before, event, now, at=record.at_time(state, now))
            self._chronicle, found = self._chronicle.after(before, event, state, now)
            if self._healthy is None:
                self._healthy = first_healthy(found)
            for line in found:
                self._write(line)

        self._try(lines)

    def hook(self, state: State, call: HookCall, result: HookResult, began: float, now: float) -> None:
        """A hook at the end of the rollout has ended."""
        verdict = Verdict.PROMOTE if result.ok else Verdict.ABORT
        at, since = record.at_time(state, now), record.at_time(state, began)
        self._try(lambda: self._write(record.hooked(call, at=at, began=since, verdict=verdict, reason=result.words)))

    def end(self, state: State, end: End, now: float) -> str | None:
        """The rollout is over. Where its record is; None if there is none."""
        try:
            self._try(lambda: self._write(self._chronicle.end(state, end, now)))
            return self._sink.close() if self._sink is not None else None
        except BaseException as error:  # noqa: BLE001 - the outcome stands; an error here would be taken for its own
            self.problem = self.problem or _words(error)
            return None

    @property
    def started(self) -> str:
        """When the rollout began, as the record's header says it."""
        return self._started

    @property
    def phases(self) -> tuple[PhaseTime, ...]:
        """The phases that have ended."""
        return self._chronicle.phases

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that have ended."""
        return self._chronicle.steps

    @property
    def first_healthy(self) -> float | None:
        """When the candidate's first machine was seen to be healthy, in seconds since the rollout began."""
        return self._healthy

    def _answer(self, before: State, event: Event, now: float, *, at: float) -> None:
        """What only a replay reads is not worth the lines that people read."""
        if self._answers is None:
            return
        try:
            self._answers, line = self._answers.after(before, event, at=at, clock=now)
        except Exception as error:  # noqa: BLE001 - as in `_try`
            self.problem = self.problem or _words(error)
            self._answers = None
            self._write(AnswersCut(at=at))
        else:
            self._write(line)

    def _write(self, line: Line) -> None:
        if self._sink is not None:
            self._sink.write(line)

    def _try(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:  # noqa: BLE001 - users' traffic matters more than what is told of it later
            self.problem = self.problem or _words(error)
            self._sink = None


def _words(error: BaseException) -> str:
    return one_line(str(error)) or type(error).__name__
