"""Drift, as a table from a world to what is told of it: every difference once, and none of a world as it is to be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.rollout.drift import drift
from fleetswap.domain.rollout.messages import Seen
from fleetswap.domain.rollout.model import Armed, Group, Rule
from fleetswap.domain.rollout.policy import Policy
from tests.fakes.world import order

ORDER = order("new", "live", "old", standby="live", policy=Policy(minimum=2, warm=600))
NEW = Rule((("tg-new", 100),), "new")
FINE = {"new": Group(2, 3, 5), "live": Group(2, 2, 5, scale_in="9:00"), "old": Group(0, 0, 5)}


def world(armed: Armed | None = None, **groups: Group | None) -> Seen:
    return Seen(NEW, tuple({**FINE, **groups}.items()), (), (), armed=armed)


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (world(), ()),
        (world(new=Group(2, 1, 5)), ("new has 1 machine and a minimum of 2, instead of 2",)),
        (world(live=Group(0, 0, 5)), ()),
        (world(live=Group(2, 2, 5)), ("standby live would never be scaled in",)),
        (world(old=Group(0, 0, 5, on_demand_pin=0)), ("old is still pinned by an earlier rollout",)),
        (world(old=Group(0, 0, 5, pin=0)), ("old is still pinned by an earlier rollout",)),
        (world(Armed(NEW, 90.4, "")), ("the switch of an unfinished rollout is armed, and fires in 90 s",)),
    ],
)
def test_what_is_told(seen: Seen, told: tuple[str, ...]) -> None:
    """A switch, a pin or a missing machine that a dead rollout left would stay for ever, as no preview tells it."""
    assert drift(ORDER, seen) == told


def test_what_someone_has_put_on_the_rule_is_drift() -> None:
    """Part of the users would stay on the release before, and no preview tell why."""
    odd = replace(world(), rule=replace(NEW, odd=("a condition", "a header")))
    assert drift(ORDER, odd) == (
        "someone has added to the listener rule: a condition; the next update removes it",
        "someone has added to the listener rule: a header; the next update removes it",
    )


@pytest.mark.parametrize(
    ("warm", "told"),
    [(0, ("live has 2 machines instead of none",)), (0.5, ("standby live would never be scaled in",))],
)
def test_a_standby_is_kept_warm_only_if_the_settings_say_so(warm: float, told: tuple[str, ...]) -> None:
    """With `warm` at 0 the machines of the release before would run, and cost, unnoticed."""
    cold = replace(ORDER, policy=Policy(minimum=2, warm=warm))
    assert drift(cold, world(live=Group(2, 2, 5))) == told
