"""Every simulated rollout, whatever goes wrong in it, is replayed from its record action by action."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from fleetswap.domain.rollout import machine, record
from fleetswap.domain.rollout.messages import End, Event
from fleetswap.domain.rollout.readings import Answers, ordered
from fleetswap.domain.rollout.record import Chronicle, Kind, plain
from fleetswap.domain.rollout.replay import course, replay
from fleetswap.domain.rollout.replay_words import conclusion, lines
from fleetswap.domain.rollout.state import State
from fleetswap.domain.rollout.strategy import Step, Strategy
from fleetswap.workflows.rollout.read_record import read, recorded
from tests.rollout.scenarios import INTERIM, SCENARIOS, Scenario
from tests.rollout.simulator import Explorer

pytestmark = pytest.mark.slow

SEED = 20261127

OTHERS: list[dict[str, Any]] = [
    {"readings": 1, "deadline": 20.0},
    {"readings": 5, "convergence": 0.0},
    {"errors": None, "alarms": ()},
    {"strategy": Strategy((Step(10, hold=30), Step(50)))},
]
"""Other settings, of which a replay must say something whatever happened."""

Happened = list[tuple[State, Event, float, State]]


def told(happened: Happened) -> bytes:
    """The record of what happened, as a file has it."""
    first = happened[0][0]
    made = [
        plain(record.header(first.order, Kind.DEPLOY, run=first.run, stack="p/s", started="2026-11-27T00:00:00+00:00")),
        plain(ordered(first.order, at=0.0, clock=first.started)),
    ]
    chronicle, answers = Chronicle(), Answers()
    for before, event, now, after in happened:
        answers, line = answers.after(before, event, at=record.at_time(after, now), clock=now)
        chronicle, entries = chronicle.after(before, event, after, now)
        made += map(plain, (line, *entries))
    last, now = happened[-1][3], happened[-1][2]
    if isinstance(last.doing, End):
        made.append(plain(chronicle.end(last, last.doing, now)))
    return b"".join(json.dumps(line, allow_nan=False).encode() + b"\n" for line in made)


@pytest.mark.parametrize("scenario", [*SCENARIOS, *INTERIM[:2]], ids=lambda scenario: scenario.name)
def test_every_rollout_is_replayed_action_by_action(scenario: Scenario) -> None:
    """A replay would tell of a rollout that never was, and so of other settings nothing that can be believed."""
    runs = defaultdict[str, Happened](list)

    def step(state: State, event: Event, now: float) -> State:
        after = real(state, event, now)
        runs[state.run].append((state, event, now, after))
        return after

    real = machine.step
    with patch.object(machine, "step", step):
        Explorer(scenario).wander(SEED, runs=6)
    assert len(runs) >= 6
    for happened in runs.values():
        found = recorded(read(told(happened), "record"), "record")
        made = [moment.state.doing for moment in course(found)]
        assert made == [happened[0][0].doing, *(after.doing for _, _, _, after in happened)]
        assert [answer.clock for answer in found.answers] == [now for _, _, now, _ in happened]
        again = replay(found, found.order.policy)
        assert again.parting is None
        assert not any(map(again.differs, range(len(again.other))))
        for other in OTHERS:
            under = replay(found, replace(found.order.policy, **other))
            assert conclusion(under, found.short)
            assert len(list(lines(under))) <= len(under.other)
            whole = len(under.other) == len(under.rollout)  # it may also part from the last action
            assert whole or under.parting is not None
