"""What was measured, over time, and the statistics that CloudWatch makes of it. Pure: no I/O, no clock.

Decides how values are kept (how often each was seen, by the slot of time that it falls in) and what a statistic of a
period is. Sources: CloudWatch user guide, "CloudWatch statistics definitions"; API reference (MetricDatum).

| statistic | what it is of the values between two bounds, the lower one exclusive, the upper one inclusive |
|---|---|
| `PR(0.1:2)` | how many of 100 values they are |
| `TC(:2)` `TC(5%:95%)` `tc95` | their number; with per cent the bounds are ranks, and `tc95` is `TC(:95%)` |
| `TS(:2)` `ts95` | their sum |
| `TM(:2)` `tm95` `IQM` | their mean; `IQM` is `TM(25%:75%)` |
| `WM(:2)` `wm95` | the mean of all, when those outside are taken to be at the bound |
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT_SECONDS = 24 * 3600  # of every metric; AWS keeps 15 days
SIMPLE = ("Average", "Maximum", "Minimum", "SampleCount", "Sum")

_PERCENT = r"(\d{1,2}(?:\.\d{1,10})?|100)"
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_PERCENTILE = re.compile(f"p{_PERCENT}")
_SHORT = re.compile(f"(tm|wm|tc|ts){_PERCENT}")
_OF_RANKS = re.compile(rf"(TM|WM|TC|TS)\((?:{_PERCENT}%)?:(?:{_PERCENT}%)?\)")
_OF_VALUES = re.compile(rf"(PR|TM|WM|TC|TS)\({_NUMBER}?:{_NUMBER}?\)")


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
        range_ = Range.read(name)
        return None if self.sets or not self.values else range_.of(sorted(self.values.items()))

    def _percentile(self, percent: float) -> float | None:
        seen, wanted = 0, percent / 100 * sum(self.values.values())
        if self.sets or not self.values:
            return None
        for value, times in sorted(self.values.items()):
            seen += times
            if seen >= wanted:
                return value
        return max(self.values)


@dataclass(frozen=True)
class Range:
    """A statistic of the values between two bounds; `ranks` says that these are per cent of the sorted values."""

    kind: str
    low: float | None
    high: float | None
    ranks: bool

    @classmethod
    def read(cls, name: str) -> Range:
        """The statistic of a name. Raises ValueError if it is none of these."""
        if name == "IQM":
            return cls("TM", 25.0, 75.0, ranks=True)
        if found := _SHORT.fullmatch(name):
            return cls(found[1].upper(), None, float(found[2]), ranks=True)
        for pattern, ranks in ((_OF_RANKS, True), (_OF_VALUES, False)):
            found = pattern.fullmatch(name)
            if found and (found[2] or found[3]):
                low, high = (float(bound) if bound else None for bound in found.groups()[1:])
                return cls(found[1], low, high, ranks=ranks)
        raise ValueError(name)

    def of(self, values: list[tuple[float, int]]) -> float | None:
        """The statistic of some values with how often each was seen, the smallest first; None if there is none."""
        count = sum(times for _, times in values)
        kept = self._kept(values, count)
        number = sum(times for _, times in kept)
        total = sum(value * times for value, times in kept)
        if self.kind in {"PR", "TC", "TS"}:
            return float({"PR": 100 * number / count, "TC": number, "TS": total}[self.kind])
        if self.ranks and not kept:
            return None
        if self.kind == "TM":
            return total / number if number else None
        low, high = (kept[0][0], kept[-1][0]) if self.ranks else (self.low, self.high)
        low, high = -math.inf if low is None else low, math.inf if high is None else high
        return sum(min(max(value, low), high) * times for value, times in values) / count

    def _kept(self, values: list[tuple[float, int]], count: int) -> list[tuple[float, int]]:
        if not self.ranks:
            low, high = -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high
            return [(value, times) for value, times in values if low < value <= high]
        bounds = (0.0 if self.low is None else self.low, 100.0 if self.high is None else self.high)
        first, last = (math.floor(count * rank / 100 + 1e-9) for rank in bounds)
        kept, seen = [], 0
        for value, times in values:
            inside = min(seen + times, last) - max(seen, first)
            if inside > 0:
                kept.append((value, inside))
            seen += times
        return kept


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
