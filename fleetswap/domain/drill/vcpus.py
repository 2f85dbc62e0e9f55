"""Whether the vCPU quotas of EC2 suffice for more machines.

EC2 counts the vCPUs of running machines in classes of instance families, On-Demand and Spot apart (EC2 user guide,
"On-Demand Instance quotas", "Spot Instance quotas"). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ON_DEMAND, SPOT = "On-Demand", "Spot"

QUOTAS = {
    "Standard": {ON_DEMAND: "L-1216C47A", SPOT: "L-34B43A08"},
    "F": {ON_DEMAND: "L-74FC7D96", SPOT: "L-88CF9481"},
    "G and VT": {ON_DEMAND: "L-DB2E81BA", SPOT: "L-3819A6DF"},
    "Inf": {ON_DEMAND: "L-1945791B", SPOT: "L-B5D1601B"},
    "P": {ON_DEMAND: "L-417A185B", SPOT: "L-7212CCBC"},
    "X": {ON_DEMAND: "L-7295265B", SPOT: "L-E3A00192"},
}
"""The code of each class's quota in Service Quotas, service `ec2`. Classes that are not here are not judged."""

_CLASSES = {
    **dict.fromkeys("acdhimrtz", "Standard"),
    "f": "F",
    "g": "G and VT",
    "vt": "G and VT",
    "inf": "Inf",
    "p": "P",
    "x": "X",
}


def class_of(instance_type: str) -> str | None:
    """The class of an instance type: by the letters before the number of its generation."""
    found = re.match(r"([a-z]+)\d", instance_type)
    return _CLASSES.get(found[1]) if found else None


@dataclass(frozen=True)
class Running:
    """A machine that runs in the region."""

    instance_type: str
    market: str = ON_DEMAND


@dataclass(frozen=True)
class Wanted:
    """Units of capacity that are to be launched in a market."""

    market: str
    units: int


def wanted(units: int, there: int, *, base: int, percent: int | None) -> tuple[Wanted, ...]:
    """What is to be launched so that a group that has some units has so many, as its mix of markets says."""
    after, before = (_on_demand(each, base, percent) for each in (max(units, there), there))
    of = {ON_DEMAND: after - before, SPOT: max(units, there) - there - (after - before)}
    return tuple(Wanted(market, count) for market, count in of.items() if count > 0)


def _on_demand(units: int, base: int, percent: int | None) -> int:
    """Shares are rounded up (EC2 Auto Scaling API reference, InstancesDistribution)."""
    if percent is None:
        return units
    above = max(0, units - base)
    return min(units, base) + -(-above * percent // 100)


def used(running: Iterable[Running], vcpus: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """The vCPUs that are used, by class and market. What is not known of a type counts nothing."""
    found: dict[tuple[str, str], int] = {}
    for each in running:
        kind = class_of(each.instance_type)
        if kind is not None:
            key = (kind, each.market)
            found[key] = found.get(key, 0) + vcpus.get(each.instance_type, 0)
    return found


def room(free: Mapping[str, float], types: Mapping[str, int], vcpus: Mapping[str, int]) -> int:
    """How many units of capacity can be launched at most with so many free vCPUs of each class."""
    best: dict[str, int] = {}
    for name, weight in types.items():
        kind = class_of(name)
        if kind is not None and kind in free and vcpus.get(name):
            fits = int(max(0.0, free[kind]) // vcpus[name]) * weight
            best[kind] = max(best.get(kind, 0), fits)
    return sum(best.values())
