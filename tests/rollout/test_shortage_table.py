"""A shortage of machines: what counts as one, and when on-demand machines are tried instead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.rollout import pins, rollout_tags, scale
from fleetswap.domain.rollout.health import Failure, Machine, Reading
from fleetswap.domain.rollout.machine import begin
from fleetswap.domain.rollout.messages import OnDemand, Seen, Tag
from fleetswap.domain.rollout.model import Group
from fleetswap.domain.rollout.policy import Policy, Shortage
from tests.fakes.world import order

NONE_LEFT = Failure("1", "We currently do not have sufficient capacity (InsufficientInstanceCapacity)")
BAD_IMAGE = Failure("2", "The image id does not exist")
UP = Machine("i-1", "InService")
ALLOWED = Policy(minimum=2, shortage=Shortage.ON_DEMAND)
GOING = Machine("i-2", "Terminating")


@pytest.mark.parametrize(
    ("machines", "failed", "short"),
    [
        ((UP,), (NONE_LEFT,), True),
        ((UP, GOING), (BAD_IMAGE, NONE_LEFT), True),
        ((UP,), (), False),
        ((UP,), (BAD_IMAGE,), False),
        ((UP, UP), (NONE_LEFT,), False),
        (None, (NONE_LEFT,), False),
    ],
)
def test_what_a_shortage_is(machines: tuple[Machine, ...] | None, failed: tuple[Failure, ...], *, short: bool) -> None:
    """A rollout would end for a shortage that is over or was never one, or wait its whole time for machines."""
    assert scale.is_short(Reading((), machines, failed), 2, failed) is short


@pytest.mark.parametrize(
    ("base", "percent", "launched", "size", "share", "count"),
    [
        (0, 0, 0, 4, 100, 4),
        (0, 0, 3, 4, 25, 1),
        (2, 0, 2, 8, 100, 6),
        (2, 0, 5, 8, 50, 3),
        (0, 0, 2, 3, 33, 1),  # rounded up by AWS: 0.99 of a machine is one
        (0, 0, 140, 150, 7, 11),  # 6 % would be nine
        (0, 50, 3, 4, 75, 1),
        (2, 50, 4, 6, 100, 2),
    ],
)
def test_only_what_is_missing_is_launched_on_demand(
    base: int, percent: int, launched: int, size: int, share: int, count: int
) -> None:
    """A deploy would be dearer than it must be, or still lack machines."""
    state = replace(begin(order("new", "live", policy=ALLOWED), 0.0), wanted=size)
    reading = Reading((), (UP,) * launched, on_demand_percent=percent, on_demand_base=base, desired=size)
    found = scale.instead(state, reading)
    assert found == OnDemand(state.order.candidate, share, instead=count)


@pytest.mark.parametrize(
    ("policy", "reading"),
    [
        pytest.param(Policy(minimum=2), Reading((), (UP,), on_demand_percent=0), id="not allowed"),
        pytest.param(ALLOWED, Reading((), (UP,)), id="no mixed instances"),
        pytest.param(ALLOWED, Reading((), None, on_demand_percent=0), id="machines are not known"),
        pytest.param(ALLOWED, Reading((), (UP,), on_demand_percent=100), id="all are on demand"),
        pytest.param(ALLOWED, Reading((), (UP,), on_demand_percent=0, on_demand_base=3), id="the base is all there is"),
        pytest.param(ALLOWED, Reading((), (), on_demand_percent=0, on_demand_base=1), id="the base is missing"),
        pytest.param(ALLOWED, Reading((), (UP,), on_demand_percent=99), id="the share is missing"),
    ],
)
def test_when_on_demand_machines_are_of_no_use(policy: Policy, reading: Reading) -> None:
    """On-demand machines would be paid for against the settings, or be tried where EC2 lacks them as well."""
    state = replace(begin(order("new", "live", policy=policy), 0.0), wanted=2)
    assert scale.instead(state, reading) is None


def test_a_second_shortage_is_made_up_for_and_the_first_share_is_what_comes_back() -> None:
    """A canary that has to grow would abort, or its on-demand machines be written down as the group's own."""
    state = replace(begin(order("new", "live", policy=ALLOWED), 0.0), wanted=4)
    candidate = state.order.candidate
    first = scale.instead(state, Reading((), (UP, UP, UP), on_demand_percent=0))
    assert first == OnDemand(candidate, 25, instead=1)
    changes = pins.to_on_demand(state, candidate, 0, first)
    assert changes == [Tag(candidate, rollout_tags.ON_DEMAND, "0"), first]
    state = replace(state, touched=tuple(changes), wanted=8)
    second = scale.instead(state, Reading((), (UP,) * 5, on_demand_percent=25))
    assert second == OnDemand(candidate, 62, instead=5)
    assert pins.to_on_demand(state, candidate, 25, second) == [second]
    assert pins.former_percent(replace(state, touched=(*changes, second)), candidate) == 0


def test_the_share_that_a_dead_rollout_left_is_no_group_s_own() -> None:
    """After a rollout that died, its on-demand machines would stay, as if the group had always had them."""
    state = replace(begin(order("new", "live", policy=ALLOWED), 0.0), wanted=4)
    left = Seen(None, (("new", Group(0, 0, 5, on_demand_percent=50, on_demand_pin=0)),), (), ())
    state = replace(state, first=left)
    found = scale.instead(state, Reading((), (UP, UP), on_demand_percent=50))
    assert found == OnDemand(state.order.candidate, 100, instead=4)
    assert pins.to_on_demand(state, found.target, 50, found) == [found]
