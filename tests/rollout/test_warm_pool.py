"""Warm pools: only what is live has one, whatever goes wrong, and its machines are no machines of the group yet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.rollout import best_effort, clean_up
from fleetswap.domain.rollout.drift import drift
from fleetswap.domain.rollout.health import Machine, launched
from fleetswap.domain.rollout.messages import Broke, KeepWarmPool, Kind, Seen, Unanswered
from fleetswap.domain.rollout.model import Group, Rule
from fleetswap.domain.rollout.state import Phase
from fleetswap.domain.rollout.warm_pool import EMPTY, WarmPool
from fleetswap.workflows.rollout.run import roll_out
from tests.fakes.sim_world import Fleet, SimWorld
from tests.rollout.scenarios import CRASHES, POLICY, Scenario, order_for
from tests.rollout.simulator import Explorer
from tests.rollout.tables import LIVE, NEW, ORDER, state

POOL = WarmPool(2, 2, "Running")
ASKED = replace(order_for("new", POLICY), warm_pool=POOL)


def _world(*, candidate: WarmPool | None = None, live: WarmPool | None = POOL) -> SimWorld:
    world = SimWorld(
        new=Fleet(warm_pool=candidate),
        live=Fleet(2, 3, warm_pool=live),
        old=Fleet(),
    )
    world.start({"live": 100}, load=3)
    return world


@pytest.mark.parametrize("candidate", [None, POOL, EMPTY])
@pytest.mark.parametrize("order", [ASKED, replace(ASKED, warm_pool=None)])
def test_only_what_is_live_has_a_warm_pool(candidate: WarmPool | None, order: object) -> None:
    """Machines would be kept ready for ever that no scale-out takes; or none where one would."""
    scenario = Scenario("warm pools", lambda: _world(candidate=candidate), order)  # type: ignore[arg-type]
    explorer = Explorer(scenario, faults=("refusal", "5xx after the effect", *CRASHES))
    explorer.explore(1)
    assert explorer.ends > 50


def test_a_candidate_that_can_have_none_fails_before_its_traffic() -> None:
    """A good release would get all the traffic, and lose it again for a pool that AWS does not take."""
    world = _world(live=None)
    world.releases["new"].takes_pool = False
    with pytest.raises(Exception, match="requests Spot Instances"):
        roll_out(ASKED, balancer=world, fleet=world, prober=world, clock=world, switch=world)
    assert world.serving() == {"live"}
    assert "new" not in {name.removeprefix("tg-") for name, weight in world.rule_now.weights if weight}  # type: ignore[union-attr]


def test_a_rollback_does_not_wait_for_the_pool_that_its_target_had() -> None:
    """Who goes back from a broken release within minutes would be refused, or get all the traffic on the broken one
    again, because AWS still deletes the warm pool that the good one had before.
    """
    world = _world()
    world.releases["new"].pool_leaves = True
    said: list[str] = []
    outcome = roll_out(ASKED, balancer=world, fleet=world, prober=world, clock=world, switch=world, say=said.append)
    assert outcome.live == "new"
    assert world.serving() == {"new"}
    assert (world.releases["new"].warm_pool, world.releases["live"].warm_pool) == (None, None)
    assert world.armed() is None
    assert any("the warm pool of new is not as the settings say" in each for each in said)


@pytest.mark.parametrize("when", ["the traffic is there", "AWS answers nothing"])
def test_a_pool_is_no_reason_to_move_traffic_back(when: str) -> None:
    """A good release that has proved itself would lose its traffic for a pool that the next update can give it."""
    order = replace(ORDER, warm_pool=POOL)
    settling = replace(state(order), phase=Phase.SETTLE, queue=(KeepWarmPool(NEW, POOL),), deadline=100.0)
    if when == "the traffic is there":
        after = best_effort.skipped(settling, Broke("AWS says no", Kind.CLOUD, refused=True), 1.0)
    else:
        assert best_effort.skipped(settling, Unanswered("slow"), 99.0) is None
        after = best_effort.skipped(settling, Unanswered("slow"), 100.0)
    assert after is not None
    assert after.queue == ()
    assert "until the next update" in after.warnings[0]
    assert best_effort.skipped(replace(settling, phase=Phase.SCALE), Broke("no", Kind.CLOUD, refused=True), 1.0) is None
    assert best_effort.skipped(settling, Broke("a defect"), 1.0) is None


def test_machines_of_a_pool_are_not_launched() -> None:
    """A gate would take stopped machines for some that are on their way, and wait for ever."""
    pool = tuple(
        Machine(f"i-{state}", f"Warmed:{state}") for state in ("Pending", "Pending:Wait", "Stopped", "Running")
    )
    assert launched((*pool, Machine("i-1", "Pending"))) == 1


def test_a_pool_that_is_not_as_the_settings_say_is_drift() -> None:
    """A pool that someone has deleted, or that a killed deployer has left, would never show."""

    def seen(new: WarmPool | None, live: WarmPool | None = None) -> tuple[str, ...]:
        groups = {
            "new": Group(POLICY.minimum, 3, 8, warm_pool=new),
            "live": Group(3, 3, 8, scale_in="soon", warm_pool=live),
            "old": Group(0, 0, 8),
        }
        return drift(ASKED, Seen(Rule((("tg-new", 100),)), tuple(groups.items()), (), ()))

    assert seen(POOL) == ()
    assert seen(None) == seen(EMPTY) == ("new does not have the warm pool of the settings",)
    assert seen(POOL, live=POOL) == ("live still has a warm pool",)


def test_what_a_failure_does_to_warm_pools() -> None:
    """The release that keeps the traffic would lose its pool, or a failed candidate keep one."""
    order = replace(ORDER, warm_pool=POOL)
    took = replace(state(order), touched=(KeepWarmPool(NEW, EMPTY), KeepWarmPool(LIVE, None)))
    before = Group(1, 3, 8, warm_pool=replace(POOL, size=1))
    assert clean_up._warm_pool(took, LIVE, before, serves=True) == [KeepWarmPool(LIVE, before.warm_pool)]
    assert clean_up._warm_pool(took, NEW, Group(0, 0, 8), serves=False) == [KeepWarmPool(NEW, None)]
    assert clean_up._warm_pool(took, NEW, Group(0, 0, 8), serves=True) == [KeepWarmPool(NEW, POOL)]
    assert clean_up._warm_pool(state(order), LIVE, before, serves=True) == [], "nobody has changed it"
    assert clean_up.words(KeepWarmPool(LIVE, None)) == "correct the warm pool of live"
