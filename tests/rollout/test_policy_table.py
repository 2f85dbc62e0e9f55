"""The settings of one rollout at their edges: what is refused, by which name, and what is just allowed."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.policy import OPTIONAL, Check, Policy
from fleetswap.domain.rollout.rates import Limit
from fleetswap.domain.rollout.strategy import Step, Strategy


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"probe_statuses": (600,)}, "probe_statuses"),
        ({"slow": inf}, "slow"),
        ({"slow": 0}, "slow"),
        ({"readings": 0}, "readings"),
        ({"warm": inf}, "warm"),
        *(({"report_only": (check,)}, "report_only") for check in sorted(set(Check) - OPTIONAL)),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(wrong: dict[str, Any], name: str) -> None:
    """A slip in the settings would show as a traceback, or as a rollout that never ends or is never judged."""
    with pytest.raises(InputError, match=rf"\b{name}\b"):
        Policy(minimum=1, **wrong)


@pytest.mark.parametrize(("wrong", "name"), [({"bake": -1}, "bake"), ({"trusted_bake": inf}, "trusted_bake")])
def test_a_bake_that_is_no_time_is_refused_by_its_name(wrong: dict[str, Any], name: str) -> None:
    """A bake of no length, or without an end, would be found out with all the traffic moved."""
    with pytest.raises(InputError, match=rf" {name} is"):
        Strategy(**wrong)


def test_what_is_just_allowed_is() -> None:
    """A canary of one percent, or statuses at the ends of what HTTP has, would be refused."""
    assert Strategy((Step(1),)).steps == (Step(1), Step(100))
    assert Policy(minimum=1, probe_statuses=(100, 599)).probe_statuses == (100, 599)
    every = tuple(sorted(OPTIONAL))
    assert Policy(minimum=1, report_only=every).report_only == every


@pytest.mark.parametrize(
    ("step", "watched"), [(Step(5), False), (Step(5, hold=0.5), True), (Step(5, min_requests=1), True)]
)
def test_a_step_is_watched_if_it_asks_for_anything(step: Step, *, watched: bool) -> None:
    """The switch would fire in the middle of a step that waits for requests."""
    assert step.is_watched is watched


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({}, False),
        ({"errors": Limit()}, True),
        ({"slow": 1.0}, True),
        ({"strategy": Strategy((Step(5, min_requests=1),))}, True),
    ],
)
def test_requests_are_counted_if_anything_needs_them(settings: dict[str, Any], *, counts: bool) -> None:
    """A check that the settings ask for would never see a figure, and wait for ever or pass unseen."""
    assert Policy(minimum=1, **settings).counts_requests is counts


@pytest.mark.parametrize(
    ("settings", "asked", "must"),
    [
        ({}, 0, False),
        ({}, 1, True),
        ({"errors": Limit()}, 0, True),
        ({"slow": 1.0}, 0, True),
        ({"errors": Limit(), "report_only": ("errors",)}, 0, False),
        ({"slow": 1.0, "report_only": ("slowness",)}, 0, False),
        ({"errors": Limit(), "slow": 1.0, "report_only": ("slowness",)}, 0, True),
        ({"errors": Limit(), "slow": 1.0, "report_only": ("errors",)}, 0, True),
    ],
)
def test_a_step_waits_for_counts_that_may_end_it(settings: dict[str, Any], asked: int, *, must: bool) -> None:
    """A step would pass before its figures came, or a team that is only trying a check out wait for them."""
    assert Policy(minimum=1, **settings).must_count(asked) is must
