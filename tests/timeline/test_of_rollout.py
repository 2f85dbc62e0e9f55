"""The spans of a rollout, from its record."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from fleetswap.domain.rollout.health import Machines, Verdict
from fleetswap.domain.rollout.record import Entered, Entry, MachinesRead, PhaseTime, Step
from fleetswap.domain.rollout.state import Phase
from fleetswap.domain.timeline.model import Span, text_of, time_of
from fleetswap.domain.timeline.of_rollout import first_healthy, spans_of
from fleetswap.workflows.rollout.read_record import read
from tests.rollout.records import record_of

NOON = "2026-11-26T12:00:00.000+00:00"


def of(name: str) -> tuple[Span, ...]:
    """The spans of a recorded rollout."""
    found = read(record_of(name), name)
    assert found.end is not None
    steps = [entry for entry in found.entries if isinstance(entry, Step)]
    return spans_of(found.header.started, found.end.phases, steps, first_healthy(found.entries), {"step": 270.0})


def times(*phases: tuple[Phase, float]) -> list[PhaseTime]:
    """Phases one after the other, each with its end."""
    ends = [0.0, *(end for _, end in phases)]
    return [PhaseTime(phase, began, ended) for (phase, _), (began, ended) in zip(phases, pairwise(ends), strict=True)]


def step(weight: int, began: float, at: float) -> Step:
    return Step(at=at, began=began, weight=weight, hold=0, min_requests=0, verdict=Verdict.PROMOTE)


def brief(spans: tuple[Span, ...]) -> list[tuple[str, float, float]]:
    """Names, when they began, and seconds."""
    zero = time_of(NOON)
    return [(span.name, (time_of(span.start) - zero).total_seconds(), span.seconds) for span in spans]


def test_a_good_rollout_is_told_from_its_first_look_to_the_end() -> None:
    """A part of the time would be missing from the picture, or count twice."""
    spans = of("good")
    assert [span.name for span in spans] == [
        *("look", "launch", "first healthy", "gate", "probe", "step 5 %", "step 25 %", "step 100 %", "live", "bake"),
        "settle",
    ]
    bars = [span for span in spans if not span.is_moment]
    for before, after in pairwise(bars):
        assert text_of(time_of(before.start) + timedelta(seconds=before.seconds)) == after.start
    found = read(record_of("good"), "good")
    assert sum(span.seconds for span in bars) == pytest.approx(found.entries[-1].at)
    live = next(span for span in spans if span.name == "live")
    step = next(span for span in spans if span.name == "step 100 %")
    assert step.start < live.start < step.end
    assert [(span.name, span.over) for span in spans if span.budget is not None] == [
        ("step 5 %", False),
        ("step 25 %", True),
        ("step 100 %", False),
    ]


def test_a_rollout_that_failed_says_when_it_failed() -> None:
    """A picture would show traffic that never came, or no restoring."""
    assert [span.name for span in of("bad")][-4:] == ["step 5 %", "compare", "put back", "clean up"]


def test_a_launch_ends_with_the_first_healthy_machine() -> None:
    """Slow boots would look like slow last machines, and the other way round."""
    phases = times((Phase.LOOK, 1), (Phase.SCALE, 2), (Phase.GATE, 60))
    assert brief(spans_of(NOON, phases, (), 40)) == [
        ("look", 0, 1),
        ("launch", 1, 39),
        ("first healthy", 40, 0),
        ("gate", 40, 20),
    ]
    assert brief(spans_of(NOON, phases, (), None))[-1] == ("launch", 1, 59)
    assert brief(spans_of(NOON, phases, (), 70))[-1] == ("launch", 1, 59), "it was seen later, in another phase"


def test_machines_that_are_launched_later_are_waited_for_at_a_gate() -> None:
    """Live scaled out in the canary: the launch would be shown twice, the first healthy machine after the traffic."""
    phases = times(
        (Phase.SCALE, 1), (Phase.GATE, 10), (Phase.HOLD, 30), (Phase.SCALE, 31), (Phase.GATE, 50), (Phase.SHIFT, 60)
    )
    found = spans_of(NOON, phases, (step(50, 11, 29), step(100, 52, 60)), 8)
    assert brief(found) == [
        ("launch", 0, 8),
        ("first healthy", 8, 0),
        ("gate", 8, 2),
        ("step 50 %", 10, 19),
        ("shift", 29, 1),
        ("gate", 30, 20),
        ("step 100 %", 50, 10),
        ("live", 52, 0),
    ]


def test_weights_that_were_never_written_are_no_step() -> None:
    """A rollout that failed before it moved anything would look as if users had met it."""
    phases = times((Phase.SHIFT, 5), (Phase.COMPARE, 6))
    assert brief(spans_of(NOON, phases, (), None)) == [("shift", 0, 5), ("compare", 5, 1)]


def test_the_first_healthy_machine_is_the_first_that_was_seen() -> None:
    """A reading without an answer would be one of healthy machines."""
    lines: list[Entry] = [
        Entered(at=1, phase=Phase.GATE),
        *(MachinesRead(at=at, machines=Machines(wanted=2, healthy=healthy)) for at, healthy in
          ((2, None), (3, 0), (4, 1), (5, 2))),
    ]  # fmt: skip
    assert first_healthy(lines) == 4
    assert first_healthy(lines[:3]) is None
