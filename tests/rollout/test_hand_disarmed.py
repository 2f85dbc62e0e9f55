"""The switch of a rollout that has traffic on its candidate is deleted: by a hand in the console, or on a way back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.errors import Aborted
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.messages import ReadRule
from fleetswap.domain.rollout.model import Order, Rule
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import Step, Strategy
from fleetswap.domain.rollout.view import Service
from fleetswap.workflows.rollout.rollback import rollback_now
from fleetswap.workflows.rollout.run import roll_out, take_up
from tests.fakes.aws import LISTENER
from tests.fakes.world import POLICY, Release, World, order, running, target

HOURS = 4 * 3600.0
"""By then every plan of a rollout is due."""


def deployed(strategy: Strategy) -> Order:
    made = order("new", "live", standby="live", policy=replace(POLICY, strategy=strategy, interval=2))
    return replace(made, switch_role="arn:role")


class Meddled(World):
    """Once the candidate has traffic for some seconds, a hand deletes the switch, and the candidate turns bad."""

    hand = False

    def tick(self) -> None:
        super().tick()
        if not self.hand and self.traffic and "tg-new" in self.traffic[-1][1] and self.time > self.traffic[-1][0] + 10:
            self.hand, self.schedule = True, None
            self.releases["new"].tags[rollout_tags.ABORT] = "it is bad"


def test_a_switch_that_a_hand_has_deleted_is_no_other_rollout() -> None:
    """Users would be left on a canary that is known to be bad, because "another rollout took over"; there was none."""
    world = Meddled(new=Release(), live=running(2))
    world.put_traffic(live=100)
    with pytest.raises(Aborted, match="aborted on request: it is bad; live has all the traffic again"):
        roll_out(
            deployed(Strategy((Step(10, hold=60),))),
            balancer=world,
            fleet=world,
            prober=world,
            clock=world,
            switch=world,
            say=world.say,
        )
    assert world.hand
    assert world.serving() == {"tg-live"}
    assert world.size("new") == (0, 0)


def test_what_is_left_on_the_candidate_without_a_switch_has_no_plan() -> None:
    """A rollout may have made it live since. Whoever did, AWS would end its machines an hour later."""
    world = Meddled(new=Release(), live=running(2))
    world.put_traffic(live=100)
    with pytest.raises(Aborted, match=r"it is bad; another rollout .* took over, or someone has deleted"):
        roll_out(
            deployed(Strategy(bake=60)),
            balancer=world,
            fleet=world,
            prober=world,
            clock=world,
            switch=world,
            say=world.say,
        )
    assert world.serving() == {"tg-new"}
    world.sleep(HOURS)
    assert not world.dark


def test_a_rollback_that_fails_leaves_nothing_planned_for_what_has_the_traffic() -> None:
    """It deletes the switch first. If there is nowhere to go, all that serves would be ended an hour later."""
    world = World(live=running(2, healthy=False), new=running(2))
    world.put_traffic(live=90, new=10)
    world.dark.clear()
    world.rule_tags[rollout_tags.LIVE] = "live"
    world.schedule = (world.time + 500, Rule((("tg-live", 100),), "old"), "dead")
    world.releases["new"].tags |= {rollout_tags.SCALE_IN: "2026-11-26T09:00:00+00:00 dead"}
    world.releases["new"].scale_in_at = world.time + 5000
    service = Service("fleetswap/prod", "web", LISTENER, (target("live"), target("new")))
    with pytest.raises(Aborted, match="live is not healthy after"):
        rollback_now(service, None, balancer=world, fleet=world, switch=world, clock=world)
    assert world.armed() is None
    world.sleep(HOURS)
    assert world.releases["new"].machines, "it still has a tenth of the traffic"


def test_what_another_has_planned_since_the_switch_was_deleted_goes_when_the_traffic_comes_back() -> None:
    """A guardian that was held up puts the traffic back on what the next rollout lets AWS end a minute later."""
    kept = list[State]()
    world = World(new=Release(), live=running(2))
    world.put_traffic(live=100)
    made = deployed(Strategy())
    roll_out(made, balancer=world, fleet=world, prober=world, clock=world, switch=world, keep=kept.append)
    settling = next(each for each in kept if each.phase is Phase.SETTLE and isinstance(each.doing, ReadRule))
    world = World(new=running(2), live=running(2))
    world.put_traffic(new=100)
    world.schedule_scale_in("asg-live", 60, rollout_tags.LEFT)
    with pytest.raises(Aborted, match="killed; live has all the traffic again"):
        take_up(settling, "killed", balancer=world, fleet=world, prober=world, clock=world, switch=world)
    world.sleep(HOURS)
    assert world.serving() == {"tg-live"}
    assert not world.dark
