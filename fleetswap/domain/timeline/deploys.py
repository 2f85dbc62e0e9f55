"""Whole deploys: of a rollout that has just succeeded, and of the record that any rollout leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from fleetswap.domain.rollout.notices import Ending
from fleetswap.domain.rollout.origin import Origin
from fleetswap.domain.rollout.readings import Ordered, Reading
from fleetswap.domain.rollout.record import Ended, Entered, Entry, Failed, Found, Header, PhaseTime, Step, TakenUp
from fleetswap.domain.rollout.state import Phase
from fleetswap.domain.timeline.model import (
    COMMIT,
    UNFINISHED,
    Deploy,
    Span,
    budget_of,
    text_of,
    time_of,
)
from fleetswap.domain.timeline.of_rollout import first_healthy, spans_of


def of_record(header: Header, entries: Sequence[Entry], readings: Sequence[Reading] = ()) -> Deploy:
    """The deploy of a record. One without an end was killed, or still runs."""
    origin = next((each for each in entries if isinstance(each, Origin)), None)
    end = next((each for each in reversed(entries) if isinstance(each, Ended)), None)
    found = next((each for each in reversed(entries) if isinstance(each, Found)), None)
    failed = next((each for each in entries if isinstance(each, Failed)), None)
    last = max((each.at for each in entries), default=0.0)
    return assembled(
        release=header.candidate,
        previous=None if found is None else found.previous,
        service=header.service,
        stack=header.stack,
        region=_region(readings) if origin is None else origin.region,
        kind=str(header.kind),
        outcome=UNFINISHED if end is None else str(end.ending),
        run=header.run,
        started=header.started,
        reason=(end.reason if end is not None else "") or (failed.reason if failed is not None else ""),
        phases=_phases(entries, end, last),
        steps=[each for each in entries if isinstance(each, Step)],
        healthy=first_healthy(entries),
        origin=origin,
    )


def assembled(
    *,
    release: str,
    previous: str | None,
    service: str,
    stack: str,
    region: str,
    kind: str,
    run: str,
    started: str,
    phases: Sequence[PhaseTime],
    steps: Sequence[Step],
    healthy: float | None,
    origin: Origin | None,
    outcome: str = Ending.SUCCEEDED,
    reason: str = "",
) -> Deploy:
    """A deploy of its rollout, which began at `started`, and of what the update did before.

    What the update waited for between the two is a span as well. The times of another day, by a clock that was set
    meanwhile, are left out.
    """
    budgets: Mapping[str, float] = {} if origin is None else origin.budgets
    rollout = spans_of(started, phases, steps, healthy, budgets)
    ended = text_of(time_of(started) + timedelta(seconds=phases[-1].ended if phases else 0.0))
    before = () if origin is None else _before(origin, started)
    return Deploy(
        release=release,
        previous=previous,
        service=service,
        stack=stack,
        region=region,
        kind=kind if origin is None else origin.kind,
        outcome=outcome,
        run=run,
        started=origin.started if origin is not None and before else started,
        ended=ended,
        spans=(*before, *rollout),
        commit=None if origin is None else origin.commit,
        commit_time=None if origin is None else origin.commit_time,
        subject=None if origin is None else origin.subject,
        reason=reason,
        budgets={name: seconds for name, seconds in budgets.items() if name.endswith(" to live")},
    )


def _before(origin: Origin, rollout: str) -> tuple[Span, ...]:
    """What the update did before the rollout; nothing if the clock was set back meanwhile."""
    began, end = time_of(origin.started), time_of(rollout)
    if began > end:
        return ()
    found = []
    if origin.commit_time is not None and time_of(origin.commit_time) <= end:
        found.append(Span(COMMIT, text_of(time_of(origin.commit_time)), 0.0))
    at = began
    for part in origin.parts:
        start = time_of(part.start)
        if at <= start and start + timedelta(seconds=part.seconds) <= end:
            found.append(Span(part.name, text_of(start), part.seconds, budget_of(part.name, origin.budgets)))
            at = start + timedelta(seconds=part.seconds)
    if at < end:
        found.append(Span("wait", text_of(at), round((end - at).total_seconds(), 3)))
    return tuple(found)


def _phases(entries: Sequence[Entry], end: Ended | None, last: float) -> Sequence[PhaseTime]:
    """The times of the phases. A process that took up the rollout of another knows only its own."""
    if end is not None and not any(isinstance(each, TakenUp) for each in entries):
        return end.phases
    began = [(Phase.LOOK, 0.0), *((each.phase, each.at) for each in entries if isinstance(each, Entered))]
    ends = [*(at for _, at in began[1:]), last]
    times = [PhaseTime(phase, at, over) for (phase, at), over in zip(began, ends, strict=True)]
    return [each for each in times if each.phase is not Phase.DONE]


def _region(readings: Sequence[Reading]) -> str:
    """The region of the listener, for records from before they said where the rollout comes from."""
    order = next((each.order for each in readings if isinstance(each, Ordered)), {})
    parts = str(order.get("listener", "")).split(":")
    return parts[3] if len(parts) > 3 and parts[0] == "arn" else ""
