"""What the rule's tags say of the traffic is true, however a rollout ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.errors import CloudError
from fleetswap.domain.rollout import rollout_tags
from fleetswap.workflows.rollout.run import roll_out
from tests.fakes.world import POLICY, REFUSED, Fault, Release, World, order, running

BEFORE = {rollout_tags.LIVE: "live", rollout_tags.OWNER: "before"}


def up(world: World) -> None:
    made = order("new", "live", standby="live", policy=replace(POLICY, warm=3600))
    made = replace(made, switch_role="arn:role", owner="mine")
    roll_out(made, balancer=world, fleet=world, prober=world, clock=world, switch=world, say=world.say)


def fresh(**tags: str) -> World:
    world = World(new=Release(), live=running(2))
    world.put_traffic(live=100)
    world.rule_tags |= BEFORE | {f"fleetswap:{key}": value for key, value in tags.items()}
    return world


def test_what_a_failed_settle_has_told_is_untold() -> None:
    """`rollback --now` would lead to the release that failed, and `destroy` would leave the rule to a dead owner."""
    clean = fresh()
    up(clean)
    told = {rollout_tags.LIVE: "new", rollout_tags.STANDBY: "live", rollout_tags.OWNER: "mine"}
    assert {key: value for key, value in clean.rule_tags.items() if key != rollout_tags.BOOTS} == told
    assert clean.rule_tags[rollout_tags.BOOTS].startswith("2/"), "of two machines"
    world = fresh()
    world.faults[max(at for at, name in enumerate(clean.names) if name == "schedule_scale_in")] = Fault(REFUSED)
    with pytest.raises(CloudError, match="live has all the traffic again"):
        up(world)
    assert world.serving() == {"tg-live"}
    assert world.rule_tags == BEFORE


def test_what_was_told_before_is_told_again() -> None:
    """A release that a hand took the traffic from, and that gets it back, would be live without a tag that says so."""
    world = fresh(live="new")
    up(world)
    assert world.serving() == {"tg-new"}
    assert world.rule_tags[rollout_tags.LIVE] == "new"
