"""What the machines of a release run on: the attributes of their instance types, and their root volume.

Part of the ledger, and with it of a release's id: see `fleetswap.domain.release.ledger`.
"""
# ruff: noqa: RUF009 - what `later` makes is a field, and its default is frozen

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fleetswap.domain.release.later import later


@dataclass(frozen=True)
class Range:
    """From `min` to `max`, both included; None is no limit."""

    min: float | None = None
    max: float | None = None

    @staticmethod
    def of(value: Mapping[str, Any]) -> Range:
        """Read it back. Pulumi hands every number back as a float, and it is one."""
        low, high = value.get("min"), value.get("max")
        return Range(None if low is None else float(low), None if high is None else float(high))


@dataclass(frozen=True)
class Requirements:
    """Attributes of the instance types that may be launched (EC2 Auto Scaling API reference, InstanceRequirements).

    What is None or empty is left to AWS.
    """

    vcpus: Range
    memory_mib: Range
    memory_gib_per_vcpu: Range | None = later(None)
    cpu_manufacturers: tuple[str, ...] = later(())
    generations: tuple[str, ...] = later(())
    allow: tuple[str, ...] = later(())
    exclude: tuple[str, ...] = later(())
    bare_metal: str | None = later(None)
    burstable: str | None = later(None)
    local_storage: str | None = later(None)
    local_storage_types: tuple[str, ...] = later(())
    local_storage_gb: Range | None = later(None)
    ebs_mbps: Range | None = later(None)
    network_gbps: Range | None = later(None)
    network_interfaces: Range | None = later(None)
    accelerators: Range | None = later(None)
    accelerator_types: tuple[str, ...] = later(())
    spot_max_price_percent: int | None = later(None)
    on_demand_max_price_percent: int | None = later(None)

    def named(self, names: Mapping[str, str], low: str, high: str) -> dict[str, Any]:
        """What is asked for, by the names that an API has for the fields, and for the ends of a range."""
        ends = {"min": low, "max": high}
        found: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Range):
                has = {ends[end]: getattr(value, end) for end in ends if getattr(value, end) is not None}
                found[names[each.name]] = {
                    end: int(number) if number == int(number) else number for end, number in has.items()
                }
            elif value not in (None, ()):
                found[names[each.name]] = list(value) if isinstance(value, tuple) else value
        return found

    @staticmethod
    def of(value: Mapping[str, Any] | None) -> Requirements | None:
        """Read them back, or take them from settings."""
        return None if value is None else Requirements(**{key: _attribute(each) for key, each in value.items()})


def _attribute(value: Any) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(value, Mapping):
        return Range.of(value)
    if isinstance(value, (list, tuple)):
        return tuple(map(str, value))
    return int(value) if isinstance(value, float) else value


@dataclass(frozen=True)
class Volume:
    """The root volume, besides its size and key; None is what EC2 gives without asking.

    `throughput` and `initialization_rate` are in MiB/s.
    """

    iops: int | None = later(None)
    throughput: int | None = later(None)
    initialization_rate: int | None = later(None)

    @staticmethod
    def of(value: Mapping[str, Any]) -> Volume:
        """Read it back, or take it from settings."""
        return Volume(**{key: None if each is None else int(each) for key, each in value.items()})
