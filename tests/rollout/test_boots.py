"""Measured boots: which ones count, what is remembered of them, and what is proposed for two settings."""

from __future__ import annotations

import pytest

from fleetswap.domain.rollout import boots, rollout_tags
from fleetswap.domain.rollout.boots import Boots, Measured, proposals, read, written
from fleetswap.domain.rollout.health import Machine, Reading, Target
from fleetswap.workflows.rollout.run import roll_out
from tests.fakes.sim_world import Fleet, SimWorld
from tests.rollout.scenarios import POLICY, order_for


def reading(*, machines: tuple[str, ...] = (), healthy: tuple[str, ...] = (), initial: tuple[str, ...] = ()) -> Reading:
    targets = [Target(each, "healthy") for each in healthy] + [Target(each, "initial") for each in initial]
    return Reading(tuple(targets), machines=tuple(Machine(each, "Pending") for each in machines))


def watched(*readings: tuple[float, Reading], there: frozenset[str] = frozenset()) -> Boots:
    found = Boots()
    for now, each in readings:
        found = found.after(each, there, now)
    return found


def test_a_boot_is_from_the_launch_to_the_first_healthy_answer() -> None:
    """The proposals would be of something else than what warmup and grace wait for."""
    found = watched(
        (0, reading()),
        (2, reading(machines=("i-1",))),
        (4, reading(machines=("i-1",), initial=("i-1", "i-2"))),
        (6, reading(machines=("i-1", "i-2"), healthy=("i-1",), initial=("i-2",))),
        (8, reading(healthy=("i-1", "i-2"))),
        (9, reading(healthy=("i-1", "i-2"))),
    )
    assert found.took == {"i-1": 4, "i-2": 4}
    assert found.measured == Measured(2, 4, 4)


@pytest.mark.parametrize(
    ("readings", "there"),
    [
        ([(0, reading(machines=("i-1",))), (2, reading(healthy=("i-1",)))], frozenset({"i-1"})),
        ([(0, reading(healthy=("i-1",))), (2, reading(healthy=("i-1",)))], frozenset()),
        ([(0, reading(machines=("i-1",))), (60, reading(healthy=("i-1",)))], frozenset()),
        ([(0, reading()), (60, reading(machines=("i-1",))), (62, reading(healthy=("i-1",)))], frozenset()),
        ([(0, reading(machines=("i-1",))), (2, Reading(None)), (60, reading(healthy=("i-1",)))], frozenset()),
        ([(0, reading(machines=("i-1",), initial=("i-1",)))], frozenset()),
    ],
)
def test_what_nobody_saw_is_not_measured(readings: list[tuple[float, Reading]], there: frozenset[str]) -> None:
    """A warm machine would be one that boots in a moment; one of a stopped deployer, one that boots for minutes."""
    assert watched(*readings, there=there).measured is None


def test_a_machine_that_is_leaving_has_not_been_launched() -> None:
    """A replacement in an old machine's place would count as the boot of both."""
    gone = Reading((), machines=(Machine("i-1", "Terminating:Wait"),))
    assert watched((0, gone)).seen == {}


def test_what_the_tag_says_is_read_back() -> None:
    """The next rollout would forget what the last ones measured."""
    many = tuple(Measured(machines, 40 + machines, 50) for machines in range(1, 8))
    assert read(written(many)) == many[-boots.KEPT :]
    assert len(written([Measured(999999, 999999, 999999)] * 9)) < 256, "of a tag's value"
    assert read("") == read("a hand wrote this") == ()
    assert read("2/40/41 x 3/1") == (Measured(2, 40, 41),)


@pytest.mark.parametrize(
    ("measured", "warmup", "grace", "proposed"),
    [
        ([(2, 110, 120), (2, 90, 95)], 60, 300, {"fleetswap:capacity.warmup": 110}),
        ([(2, 110, 120), (2, 90, 95)], 90, 300, {}),
        ([(2, 110, 120), (2, 90, 95)], 300, 120, {"fleetswap:capacity.warmup": 110, "fleetswap:health.grace": 240}),
        ([(2, 110, 120), (2, 90, 95)], 110, 180, {}),
        ([(2, 110, 120), (2, 90, 95)], 110, 481, {"fleetswap:health.grace": 240}),
        ([(2, 110, 120), (1, 90, 95)], 600, 30, {}),
        ([(8, 12, 20)], 60, 120, {}),
        ([(8, 12, 20)], 1, 0, {"fleetswap:capacity.warmup": 60, "fleetswap:health.grace": 60}),
        ([(9, 4000, 4000)], 3600, 7200, {}),
        ([], 1, 1, {}),
    ],
)
def test_what_is_proposed(
    measured: list[tuple[int, int, int]], warmup: int, grace: int, proposed: dict[str, int]
) -> None:
    """A setting that fits would be called wrong at each update; or one by which no machine ever serves, right."""
    found = proposals([Measured(*each) for each in measured], warmup=warmup, grace=grace)
    assert {each.setting: each.proposed for each in found} == proposed


def test_what_is_told_of_a_proposal() -> None:
    """Nobody could judge the proposal without what was measured."""
    warmup, grace = proposals([Measured(2, 110, 120), Measured(2, 90, 95)], warmup=60, grace=100)
    assert warmup.line == (
        "fleetswap:capacity.warmup is 60 s; 110 is proposed, because the last 4 machines that were launched by 2"
        " rollouts became healthy within 110 s (the largest median of a rollout)"
    )
    assert grace.line == (
        "fleetswap:health.grace is 100 s; 240 is proposed, because the slowest of the last 4 machines that were"
        " launched by 2 rollouts became healthy after 120 s"
    )


def test_a_rollout_leaves_its_boots_beside_those_of_the_last() -> None:
    """`fleetswap status` and the next program would have nothing to propose anything from."""
    world = SimWorld(new=Fleet(), live=Fleet(3, 3), old=Fleet())
    world.start({"live": 100}, load=3)
    world.rule_tags = {rollout_tags.LIVE: "live", rollout_tags.BOOTS: "2/40/41"}
    order = order_for("new", POLICY)
    outcome = roll_out(order, balancer=world, fleet=world, prober=world, clock=world, switch=world)
    before, now = read(outcome.boots)
    assert before == Measured(2, 40, 41)
    assert (now.machines, now.slowest > 0) == (3, True)
    assert world.rule_tags[rollout_tags.BOOTS] == outcome.boots
