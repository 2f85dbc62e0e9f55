"""With weights of instance types, sizes are units of capacity: whatever a rollout says must not call them machines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.rollout import clean_up, compare, drift, evidence, gate, progress, scale, wording
from fleetswap.domain.rollout.canary import expected
from fleetswap.domain.rollout.evidence import Evidence
from fleetswap.domain.rollout.health import Failure, Machine, Reading, summary
from fleetswap.domain.rollout.messages import End, HealthRead, Kind, OnDemand, Resize
from fleetswap.domain.rollout.model import Group
from fleetswap.domain.rollout.notices import notice_of
from fleetswap.domain.rollout.policy import Check, Shortage
from fleetswap.domain.rollout.record import Chronicle, MachinesRead, plain
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import Step
from tests.rollout.tables import LIVE, NEW, ON_NEW, ORDER, POLICY, seen, state

HEAVY = Group(4, 4, 8, weighted=True)
WORLD = seen(new=replace(HEAVY, machines=(Machine("i-1", "InService", 2),)), live=HEAVY)
GATE = state(first=WORLD, phase=Phase.GATE, wanted=4, latest=WORLD)


def test_the_gate_and_a_step_count_units() -> None:
    """Who waits for 4 machines would look for a fault in the group, which never launches more than two."""
    words = wording.machines(summary(Reading(()), wanted=4, weighted=True))
    assert words == "0 of 4 units of capacity healthy"
    assert wording.machines(summary(Reading((), ()), wanted=1)) == "0 of 1 machine launched, 0 healthy"
    assert wording.machines(summary(Reading(None), wanted=4, weighted=True)).startswith("the health of the machines")
    held = gate.answered(GATE, HealthRead(Reading((), WORLD.groups[0][1].machines)), 1001.0)  # type: ignore[union-attr]
    assert isinstance(held, State)
    assert "2 of 4 units of capacity launched, 0 healthy" in str(held.doing)
    step = replace(GATE, phase=Phase.HOLD, steps=(Step(100, hold=1),))
    found = evidence.findings(Evidence(rule=None, rule_known=True, targets=()), expected(step, 1001.0, others=False))
    health = next(finding for finding in found if finding.check is Check.HEALTH)
    assert wording.reasons([health]) == "0 of 4 units of capacity healthy"


@pytest.mark.parametrize(
    ("wanted", "weighted", "scaling", "waiting"),
    [
        (4, True, "scaling to 4 units of capacity; ", "waiting until 4 units of capacity are healthy"),
        (1, True, "scaling to 1 unit of capacity; ", "waiting until 1 unit of capacity is healthy"),
        (1, False, "scaling to 1 machine; ", "waiting until 1 machine is healthy"),
        (2, False, "scaling to 2 machines; ", "waiting until 2 machines are healthy"),
    ],
)
def test_progress_counts_units(wanted: int, scaling: str, waiting: str, *, weighted: bool) -> None:
    """The log would promise more machines than there are to be."""
    world = seen(new=replace(HEAVY, weighted=weighted))
    before = state(phase=Phase.LOOK, wanted=wanted, first=world)
    for phase, words in ((Phase.SCALE, scaling), (Phase.GATE, waiting)):
        (line,) = progress.lines(before, replace(before, phase=phase))
        assert line.startswith(f"new: {words}")


def test_a_maximum_that_is_too_small_is_in_units() -> None:
    """`capacity.max` would be set to a number of machines."""
    small = seen(new=replace(HEAVY, maximum=3), live=HEAVY)
    failed = scale.enter(state(first=small, latest=small), 1001.0)
    assert isinstance(failed, State)
    assert "release new needs 4 units of capacity, as many as serve now, but its maximum is 3" in failed.ending.reason
    scarce = replace(ORDER, terms=replace(ORDER.terms, scarce=True))
    warned = scale.enter(state(scarce, first=small, latest=small), 1001.0)
    assert isinstance(warned, State)
    assert warned.warnings == ("new can have at most 3 units of capacity, but 4 serve now",)


def test_drift_is_in_units() -> None:
    """A preview would tell of machines that nobody can find."""
    world = seen(ON_NEW, new=replace(HEAVY, minimum=1, desired=1), live=replace(HEAVY, minimum=1), old=HEAVY)
    found = "; ".join(drift.drift(ORDER, world))
    assert "new has 1 unit of capacity and a minimum of 1" in found
    assert "standby live is not pinned to its 4 units of capacity" in found
    assert "old has 4 units of capacity instead of none" in found


def test_what_was_launched_instead_of_spot_is_in_units() -> None:
    """A bill would seem to be for more instances than were launched."""
    assert wording.on_demand(1, weighted=False) == "1 On-Demand Instance"
    policy = replace(POLICY, shortage=Shortage.ON_DEMAND, shortage_patience=1, shortage_limit=1)
    since = replace(GATE, order=replace(ORDER, policy=policy), short_since=1000.0)
    short = Reading((), (), (Failure("a", "no Spot capacity"),), on_demand_percent=0)
    over = gate.answered(since, HealthRead(short), 1010.0)
    assert isinstance(over, State)
    assert "4 units of capacity of On-Demand Instances in place of Spot Instances are more than" in over.ending.reason
    doing = replace(GATE, doing=OnDemand(NEW, 50, instead=2))
    (line,) = progress.lines(GATE, doing)
    assert line.endswith("launching 2 units of capacity of On-Demand Instances in place of Spot")
    told = notice_of(replace(doing, touched=(OnDemand(NEW, 50, instead=2),)), End(), 1010.0).lines
    assert any(": 2 units of capacity of On-Demand Instances in place of Spot" in each for each in told)


def test_what_was_put_back_is_in_units() -> None:
    """A message at night would name a size that the console of AWS does not show."""
    ended = replace(compare.fail(GATE, Kind.ABORTED, "no", 1001.0), touched=(Resize(NEW, 4, 4),), moved=False)
    told = notice_of(ended, End(Kind.ABORTED, "no"), 1002.0)
    assert "new has 4 units of capacity again" in told.undone
    assert clean_up.words(Resize(LIVE, 4, 4), weighted=True) == "restore live to 4 units of capacity"


def test_the_record_says_whether_it_counts_units() -> None:
    """Who computes from records would take units for machines; a record without weights stays as it was."""
    event = HealthRead(Reading(()))
    for world, weighted in ((WORLD, {"weighted": True}), (seen(), {})):
        now = state(first=world, phase=Phase.GATE, wanted=4)
        _, lines = Chronicle().after(now, event, now, 1001.0)
        (line,) = (line for line in lines if isinstance(line, MachinesRead))
        found = plain(line)["machines"]
        assert isinstance(found, dict)
        assert {key: value for key, value in found.items() if key == "weighted"} == weighted
