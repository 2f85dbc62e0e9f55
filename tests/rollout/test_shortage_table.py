"""A shortage of machines: what counts as one, and when on-demand machines are tried instead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.rollout import pins, scale
from fleetswap.domain.rollout.health import Failure, Machine, Reading
from fleetswap.domain.rollout.machine import begin
from fleetswap.domain.rollout.messages import Seen
from fleetswap.domain.rollout.model import Group
from fleetswap.domain.rollout.policy import Policy, Shortage
from tests.fakes.world import order

NONE_LEFT = Failure("1", "We currently do not have sufficient capacity (InsufficientInstanceCapacity)")
BAD_IMAGE = Failure("2", "The image id does not exist")
UP = Machine("i-1", "InService")
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
    ("shortage", "percent", "tried", "can"),
    [
        (Shortage.ON_DEMAND, 0, False, True),
        (Shortage.ON_DEMAND, 99, False, True),
        (Shortage.ON_DEMAND, 100, False, False),
        (Shortage.ON_DEMAND, None, False, False),
        (Shortage.ON_DEMAND, 0, True, False),
        (Shortage.ABORT, 0, False, False),
    ],
)
def test_when_on_demand_machines_are_tried(shortage: Shortage, percent: int | None, *, tried: bool, can: bool) -> None:
    """On-demand machines would be paid for against the settings, or be tried over and over."""
    state = begin(order("new", "live", policy=Policy(minimum=2, shortage=shortage)), 0.0)
    if tried:
        state = replace(state, touched=tuple(pins.to_on_demand(state.order.candidate, 0)))
    assert scale.can_go_on_demand(state, Reading((), on_demand_percent=percent)) is can


def test_a_percentage_that_a_dead_rollout_left_was_tried() -> None:
    """After a rollout that died, its on-demand machines would be written down as what the group had at first."""
    state = begin(order("new", "live", policy=Policy(minimum=2, shortage=Shortage.ON_DEMAND)), 0.0)
    left = Seen(None, (("new", Group(0, 0, 5, on_demand_percent=50, on_demand_pin=20)),), (), ())
    assert not scale.can_go_on_demand(replace(state, first=left), Reading((), on_demand_percent=50))
