"""The words of a rollout and its tags: what they read, and what they make of what nobody should have written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.model import Rule
from fleetswap.domain.rollout.rollout_tags import RolledBack, ScaleIn
from tests.fakes.world import order, target


@pytest.mark.parametrize(
    ("value", "number"), [(None, None), ("", None), ("0", 0), ("12", 12), ("-1", None), ("two", None), ("²", None)]
)
def test_a_tag_that_is_no_number_is_none(value: str | None, number: int | None) -> None:
    """A hand's slip in a group's tag would end every rollout of the service with a traceback."""
    assert rollout_tags.number(value) == number


@pytest.mark.parametrize(
    ("value", "read"),
    [("", RolledBack("")), ("web-1", RolledBack("web-1")), ("web-1 9:00 UTC", RolledBack("web-1", "9:00 UTC"))],
)
def test_who_was_rolled_back_is_read_as_it_was_written(value: str, read: RolledBack) -> None:
    """The release that a hand took the traffic from would not be known again, and would be deployed once more."""
    assert RolledBack.read(value) == read
    assert read.value == value


@pytest.mark.parametrize(
    ("value", "read"),
    [("9:00", ScaleIn("9:00")), ("9:00 left", ScaleIn("9:00", "left")), ("9:00 a b", ScaleIn("9:00", "a b"))],
)
def test_a_planned_scale_in_is_read_as_it_was_written(value: str, read: ScaleIn) -> None:
    """A standby's plan would be taken for that of a candidate that failed."""
    assert ScaleIn.read(value) == read
    assert read.value == value


def test_a_side_is_found_by_its_target_group() -> None:
    """The machines of one release would be held, or scaled in, for the traffic of another."""
    two = order("new", "live")
    assert two.release_target("tg-live") == target("live")
    assert two.release_target("tg-alien") is None


def test_an_encrypted_address_is_one() -> None:
    """A listener of HTTPS could not be deployed to."""
    assert replace(order("new"), url="https://web.example.com").url.startswith("https")


def test_what_has_no_weight_gets_no_requests() -> None:
    """A release that is only named in the rule would be held to be live."""
    assert Rule((("tg-a", 100), ("tg-b", 0))).serving == {"tg-a"}
