"""A placement group that takes no machine of a release is told before anything is made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.release.placement import PlacementGroup, Sizes, refusal, warning
from tests.release.test_ledger import MACHINE as PLAIN
from tests.release.test_ledger import entry

MACHINE = replace(PLAIN, placement_group="web")
RELEASE = entry("1", machine=MACHINE)
SPREAD = PlacementGroup("web", "available", "spread", "rack")


@pytest.mark.parametrize(
    ("group", "sizes", "zones"),
    [
        (SPREAD, Sizes(2, 7), 2),
        (replace(SPREAD, spread_level="host"), Sizes(50, 100), 2),
        (PlacementGroup("web", "available", "partition"), Sizes(50, 100), 2),
        (PlacementGroup("web", "available", "cluster"), Sizes(50, 100), 1),
    ],
)
def test_a_group_with_room_is_fine(group: PlacementGroup, sizes: Sizes, zones: int) -> None:
    """A release that EC2 launches would be refused, or warned of at each preview."""
    assert (refusal(RELEASE, group, sizes, zones), warning(RELEASE, group, sizes, zones)) == ("", "")


@pytest.mark.parametrize(
    ("group", "sizes", "refused"),
    [
        (None, Sizes(2, 8), "the region has no placement group web: create it"),
        (replace(SPREAD, state="deleting"), Sizes(2, 8), "placement group web is deleting: "),
        (SPREAD, Sizes(15, 20), "web takes 14 machines in 2 zones (7 a zone), and fleetswap:capacity.min is 15"),
    ],
)
def test_a_group_without_room_is_refused(group: PlacementGroup | None, sizes: Sizes, refused: str) -> None:
    """An image would be uploaded, every launch fail, and the deploy end after ten minutes."""
    assert refused in refusal(RELEASE, group, sizes, 2)


def test_what_ec2_does_not_spread_is_refused() -> None:
    """Dedicated Instances cannot be in a spread placement group: no machine would start."""
    dedicated = replace(RELEASE, machine=replace(MACHINE, tenancy="dedicated"))
    assert "with tenancy `dedicated`" in refusal(dedicated, SPREAD, Sizes(2, 8), 2)


def test_what_may_not_suffice_is_a_warning() -> None:
    """A deploy at the maximum would fail without anybody having been told; or one that works would be refused."""
    assert not refusal(RELEASE, SPREAD, Sizes(2, 8), 2)
    told = warning(RELEASE, SPREAD, Sizes(2, 8), 2)
    assert "for two releases, each of up to 8 (fleetswap:capacity.max)" in told
    cluster = PlacementGroup("web", "available", "cluster")
    assert not refusal(RELEASE, cluster, Sizes(2, 8), 2)
    assert "in one of the 2 zones" in warning(RELEASE, cluster, Sizes(2, 8), 2)


def test_units_of_capacity_are_no_machines() -> None:
    """A fleet of large machines would be refused for its units."""
    weighted = replace(RELEASE, machine=replace(MACHINE, weights=(1, 4)))
    assert not refusal(weighted, SPREAD, Sizes(15, 28), 2)
    assert not warning(weighted, SPREAD, Sizes(15, 28), 2)
    assert refusal(weighted, SPREAD, Sizes(57, 60), 2)
