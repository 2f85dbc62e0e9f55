"""What was measured, over time, and the statistics that CloudWatch makes of it. Pure: no I/O, no clock.

Decides how values are kept (how often each was seen, by the slot of time that it falls in) and what a statistic of a
period is. Sources: CloudWatch user guide, "CloudWatch statistics definitions"; API reference (MetricDatum).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT_SECONDS = 24 * 3600  # of every metric; AWS keeps 15 days
SIMPLE = ("Average", "Maximum", "Minimum", "SampleCount", "Sum")

_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")
_RANK = re.compile(r"PR\((\d*\.?\d*):(\d*\.?\d*)\)")


@dataclass
class Sample:
    """The values of one period: single ones, how often each was seen, and sets of which only the statistics are known.

    A set is (count, sum, minimum, maximum).
    """

    values: Counter[float] = field(default_factory=Counter)
    sets: list[tuple[float, float, float, float]] = field(default_factory=list)

    def add(self, other: Sample) -> None:
        """Take in another one's values."""
        self.values.update(other.values)
        self.sets.extend(other.sets)

    def statistic(self, name: str) -> float | None:
        """A statistic, in CloudWatch's words; None if it cannot be told. Raises ValueError for one that there is not.

        A percentile is the smallest value that so many per cent do not exceed; of sets there is none.
        """
        count = sum(self.values.values()) + sum(one[0] for one in self.sets)
        total = sum(value * seen for value, seen in self.values.items()) + sum(one[1] for one in self.sets)
        if name in SIMPLE:
            return {
                "Average": total / count if count else None,
                "Maximum": max([*self.values, *(one[3] for one in self.sets)], default=None),
                "Minimum": min([*self.values, *(one[2] for one in self.sets)], default=None),
                "SampleCount": float(count),
                "Sum": float(total),
            }[name]
        if found := _PERCENTILE.fullmatch(name):
            return self._percentile(float(found[1]))
        found = _RANK.fullmatch(name)
        if found is None or found[1] == found[2] == "":
            raise ValueError(name)
        low, high = (float(bound) if bound else None for bound in found.groups())
        return self._rank(low, high)

    def _percentile(self, percent: float) -> float | None:
        seen, wanted = 0, percent / 100 * sum(self.values.values())
        if self.sets or not self.values:
            return None
        for value, times in sorted(self.values.items()):
            seen += times
            if seen >= wanted:
                return value
        return max(self.values)

    def _rank(self, low: float | None, high: float | None) -> float | None:
        if self.sets or not self.values:
            return None
        within = sum(
            times
            for value, times in self.values.items()
            if (low is None or value > low) and (high is None or value <= high)
        )
        return 100 * within / sum(self.values.values())


@dataclass
class Series:
    """One metric with its dimensions. `resolution` is the length of a slot in seconds."""

    unit: str | None
    resolution: int
    slots: dict[int, Sample] = field(default_factory=dict)

    def between(self, start: int, end: int, period: int) -> list[tuple[int, Sample]]:
        """The start and the values of each period from `start` to before `end` that has any."""
        found: dict[int, Sample] = {}
        for at, sample in self.slots.items():
            if start <= at < end:
                found.setdefault(start + (at - start) // period * period, Sample()).add(sample)
        return sorted(found.items())


Key = tuple[str, str, tuple[tuple[str, str], ...]]


def key(namespace: str, name: str, dimensions: Mapping[str, str]) -> Key:
    """What names a metric: namespace, name and dimensions, in any order."""
    return namespace, name, tuple(sorted(dimensions.items()))


class Metrics:
    """Every metric there is."""

    def __init__(self) -> None:
        self._series: dict[Key, Series] = {}

    def add(self, metric: Key, at: float, sample: Sample, *, unit: str | None, resolution: int) -> bool:
        """Keep values that were measured at a time, in seconds since the epoch; whether the metric is a new one.

        The first values decide its resolution. What is older than `KEPT_SECONDS` is forgotten.
        """
        new = metric not in self._series
        series = self._series.setdefault(metric, Series(unit, resolution))
        slot = int(at // series.resolution) * series.resolution
        series.slots.setdefault(slot, Sample()).add(sample)
        if len(series.slots) > KEPT_SECONDS // series.resolution:
            del series.slots[min(series.slots)]
        return new

    def find(self, metric: Key) -> Series | None:
        """A metric; None if nothing was ever measured."""
        return self._series.get(metric)
