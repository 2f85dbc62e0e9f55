"""Quotas of AWS that a deploy can meet: what it takes beside what is in use, and whether that fits.

It reads nothing. docs/explanation/scale.md says which quotas come first; `fleetswap.domain.drill.vcpus` knows those of
vCPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Room(IntEnum):
    """What a quota has room for."""

    ENOUGH = 0
    TIGHT = 1
    """For a deploy at `capacity.min`, and not at `capacity.max`."""
    SHORT = 2


@dataclass(frozen=True)
class Quota:
    """A quota by its codes in Service Quotas, and what it counts."""

    service: str
    code: str
    counts: str


GROUPS = Quota("autoscaling", "L-CDE20ADC", "Auto Scaling groups")
TARGET_GROUPS = Quota("elasticloadbalancing", "L-B22855CB", "target groups")


@dataclass(frozen=True)
class Need:
    """What a deploy takes, for a fleet at its minimum and at its maximum, and how much of that there is room for."""

    counts: str
    """What is taken."""
    least: int
    most: int
    room: int
    quotas: str
    """The quotas that decide, in words: their values and what is in use."""
    codes: tuple[str, ...]
    """The same for a request to raise them: service and code."""

    @property
    def verdict(self) -> Room:
        """Whether it fits."""
        if self.room < self.least:
            return Room.SHORT
        return Room.TIGHT if self.room < self.most else Room.ENOUGH

    @property
    def line(self) -> str:
        """For a person."""
        takes = f"{self.least:,}" if self.least == self.most else f"{self.least:,} to {self.most:,}"
        return f"{self.counts}: a deploy takes {takes}, and there is room for {max(0, self.room):,} ({self.quotas})"


def one_more(quota: Quota, value: float, used: int) -> Need:
    """What a deploy takes of a quota of which each release has one."""
    words = f"{used:,} of {value:,.0f} used"
    return Need(quota.counts, 1, 1, int(value) - used, words, (f"{quota.service} {quota.code}",))
