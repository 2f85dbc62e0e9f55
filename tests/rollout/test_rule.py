"""Which rules of a listener are a service's, and which requests they take."""

from __future__ import annotations

import pytest

from fleetswap.domain.rollout.rule import OWN, PRIORITY, Rules, matches_host


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
