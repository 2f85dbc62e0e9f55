"""The spans of a rollout, of the times of its phases and the steps that its record has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import groupby

from fleetswap.domain.rollout.record import Entry, MachinesRead, PhaseTime, Step
from fleetswap.domain.rollout.state import Phase
from fleetswap.domain.rollout.strategy import ALL
from fleetswap.domain.timeline.model import (
    BAKE,
    FIRST_HEALTHY,
    GATE,
    LAUNCH,
    LIVE,
    Span,
    budget_of,
    text_of,
    time_of,
)

_LAUNCHING = frozenset({Phase.SCALE, Phase.GATE})
_MOVING = frozenset({Phase.SHIFT, Phase.HOLD, Phase.BAKE})


def spans_of(
    started: str,
    phases: Sequence[PhaseTime],
    steps: Sequence[Step],
    first_healthy: float | None,
    budgets: Mapping[str, float] | None = None,
) -> tuple[Span, ...]:
    """The spans of a rollout that began at `started`; all other times are seconds since then.

    A phase that was entered again has another span. `live` is when AWS has accepted the weights of the last step.
    """
    zero = time_of(started)

    def span(name: str, began: float, ended: float) -> Span:
        start = text_of(zero + timedelta(seconds=began))
        return Span(name, start, round(max(0.0, ended - began), 3), budget_of(name, budgets or {}))

    found, left = list[Span](), list(steps)
    for kind, group in groupby(phases, lambda time: _kind(time.phase)):
        times = list(group)
        if kind == LAUNCH:
            launched = any(each.name == LAUNCH for each in found)
            found += (span(*each) for each in _launch(times, first_healthy, launched=launched))
        elif kind == "move":
            found += (span(*each) for each in _move(times, left))
        else:
            found += (span(each.phase.value, each.began, each.ended) for each in times)
    return tuple(found)


def first_healthy(entries: Iterable[Entry]) -> float | None:
    """When the candidate's first machine was seen to be healthy, by the lines of a record."""
    seen = (each.at for each in entries if isinstance(each, MachinesRead) and each.machines.healthy)
    return next(seen, None)


def _kind(phase: Phase) -> str:
    return LAUNCH if phase in _LAUNCHING else "move" if phase in _MOVING else phase.value


_Part = tuple[str, float, float]


def _launch(times: Sequence[PhaseTime], healthy: float | None, *, launched: bool) -> Iterator[_Part]:
    """Machines are launched until the first is healthy, then it is waited for the others."""
    began, ended = times[0].began, times[-1].ended
    if launched:
        yield GATE, began, ended
    elif healthy is None or not began <= healthy <= ended:
        yield LAUNCH, began, ended
    else:
        yield LAUNCH, began, healthy
        yield FIRST_HEALTHY, healthy, healthy
        yield GATE, healthy, ended


def _move(times: Sequence[PhaseTime], left: list[Step]) -> Iterator[_Part]:
    """A step is from the end of the one before it, so that its own shift is part of it. Takes its steps from `left`."""
    at, ended = times[0].began, times[-1].ended
    bake = next((time for time in times if time.phase is Phase.BAKE), None)
    while left and left[0].at <= ended:
        step = left.pop(0)
        over = bake.began if step.weight == ALL and bake is not None else step.at
        yield f"step {step.weight} %", at, over
        if step.weight == ALL:
            yield LIVE, step.began, step.began
        at = over
    if bake is not None:
        yield BAKE, bake.began, bake.ended
        at = bake.ended
    if at < ended:
        yield Phase.SHIFT.value, at, ended
