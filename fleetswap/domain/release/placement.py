"""Whether a placement group takes the machines of a release. `fleetswap.aws.account` asks EC2. Pure.

Sources: EC2 user guide, "Placement strategies" and "Placement groups for your Amazon EC2 instances", rules and
limitations.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleetswap.domain.release.ledger import Entry
from fleetswap.domain.text import counted

A_ZONE = 7
"""Running machines of a rack spread placement group in a zone."""


@dataclass(frozen=True)
class PlacementGroup:
    """What DescribePlacementGroups says of one. `spread_level` is empty unless its strategy is `spread`."""

    name: str
    state: str
    strategy: str
    spread_level: str = ""


@dataclass(frozen=True)
class Sizes:
    """How large a release may be, in units of capacity."""

    least: int
    most: int


def refusal(entry: Entry, group: PlacementGroup | None, sizes: Sizes, zones: int) -> str:
    """Why no release of its minimum size can be launched into the placement group that it names, in a number of zones,
    with the remedy. Empty if nothing is against it. None: there is no such group.
    """
    name = entry.machine.placement_group
    if group is None:
        return f"the region has no placement group {name}: create it, or correct the name"
    if group.state != "available":
        return f"placement group {name} is {group.state}: create it again, or name another"
    if group.strategy == "spread" and entry.machine.tenancy == "dedicated":
        return f"placement group {name} spreads machines, which EC2 does not do with tenancy `dedicated`"
    places = _places(group, zones)
    if places is not None and _machines(sizes.least, entry) > places:
        return (
            f"{_has(group, places, zones)}, and fleetswap:capacity.min is {sizes.least}: use more zones, or another"
            " strategy"
        )
    return ""


def warning(entry: Entry, group: PlacementGroup, sizes: Sizes, zones: int) -> str:
    """What to know of a placement group that is not refused; empty if nothing.

    A cluster is in one zone, and Auto Scaling launches there what fails in another one.
    """
    if group.strategy == "cluster" and zones > 1:
        return f"placement group {group.name} is a cluster, so all machines run in one of the {zones} zones"
    places = _places(group, zones)
    if places is not None and 2 * _machines(sizes.most, entry) > places:
        return (
            f"{_has(group, places, zones)}, and a deploy needs it for two releases, each of up to {sizes.most}"
            " (fleetswap:capacity.max): launches beyond that fail"
        )
    return ""


def _places(group: PlacementGroup, zones: int) -> int | None:
    """The most machines that can run in it; None if there is no limit, as at the spread level `host` of Outposts."""
    return A_ZONE * zones if group.strategy == "spread" and group.spread_level != "host" else None


def _machines(units: int, entry: Entry) -> int:
    """The fewest machines of so many units of capacity."""
    return -(-units // max(entry.machine.weights, default=1))


def _has(group: PlacementGroup, places: int, zones: int) -> str:
    return f"placement group {group.name} takes {places} machines in {counted(zones, 'zone')} ({A_ZONE} a zone)"
