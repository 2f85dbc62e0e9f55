"""Which rules of a listener are a service's, and which requests they take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.rollout.rule import (
    OWN,
    PRIORITY,
    Rules,
    is_current,
    is_former,
    matches_host,
    matches_path,
    preview_priority,
    preview_value,
)


def test_the_rule_with_the_weights_comes_last() -> None:
    """The weights would win over a preview header: a candidate could not be probed before it has traffic."""
    shared = Rules(priorities=(1000, 1019))
    assert (shared.previews, shared.priority) == ((1000, 1018), 1019)
    assert (OWN.previews, OWN.priority) == ((1, 40_000), PRIORITY)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("shop.example.com", "SHOP.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("shop?.example.com", "shop1.example.com", True),
        ("shop?.example.com", "shop.example.com", False),
        ("shop.example.com", "shopxexample.com", False),
    ],
)
def test_hosts_match_as_elb_matches_them(pattern: str, name: str, *, matches: bool) -> None:
    """A domain whose requests never reach the service would be accepted, or one that works refused."""
    assert matches_host(pattern, name) is matches


def test_paths_match_as_elb_matches_them() -> None:
    """A probe would be accepted that no rule of the service takes: every rollout would be aborted."""
    assert matches_path("/api/*", "/api/v1/x")
    assert not matches_path("/api/*", "/API/v1")
    assert not matches_path("/api/*", "/api")
    assert matches_path("*", "/")


def test_a_value_reaches_one_release_alone() -> None:
    """A candidate would be probed through the rule of another release, whose machines are healthy."""
    value = preview_value("web-1", "0123")
    assert is_current(value, "web-1")
    assert not is_current(value, "web-")
    assert not is_current(preview_value("web-11", "0123"), "web-1")
    former = "5e7508defe057866317c2a15d63d9bef"  # of the recorded state
    listener = (
        "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/web-c2c9165/dbb837d9210f96e8/ad78815fa5fecbc3"
    )
    assert is_former(former, "web-09aff99c", listener)
    assert not is_former(former, "web-08bc21fb", listener)


def test_a_full_range_has_no_priority_left() -> None:
    """A rule would be made with a priority that belongs to another service."""
    assert preview_priority("web-1", {"7", "8"}, (7, 9)) == 9
    assert preview_priority("web-1", {"7", "8", "9"}, (7, 9)) is None


@given(st.text(min_size=1), st.sets(st.integers(1, 40_000).map(str), max_size=100))
def test_preview_rules_come_before_the_rollouts_rule(release: str, others: set[str]) -> None:
    """A preview rule behind the weights would never be reached; one with another's number could not be made."""
    first = preview_priority(release, (), OWN.previews)
    for taken in (others, {*others, str(first)}, {"default", *others, *map(str, range(first or 0, (first or 0) + 9))}):
        found = preview_priority(release, taken, OWN.previews)
        assert found is not None
        assert 1 <= found < PRIORITY
        assert str(found) not in taken
    assert preview_priority(release, (), OWN.previews) == first


def test_priorities_go_on_from_the_first_after_the_last() -> None:
    """With the last number taken there would seem to be none."""
    taken = {str(number) for number in range(2, 40_001)}
    assert preview_priority("web-1", taken, OWN.previews) == 1
