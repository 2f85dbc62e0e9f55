"""Keeps so many samples of a long series that a plot looks the same: the ends, and the extremes of each stretch."""

from __future__ import annotations

from collections.abc import Sequence

from fleetswap.domain.report.model import Sample

BUCKETS = 40
"""Stretches of equal length in time. A plot is some 400 points wide."""

FEW = 160
"""So many samples are kept as they are."""


def thin(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Some of the samples, in their order: the first, the last, and of each stretch each line's least and greatest."""
    if len(samples) <= FEW:
        return tuple(samples)
    first, last = samples[0].at, samples[-1].at
    width = (last - first) / BUCKETS or 1.0
    kept = {0, len(samples) - 1}
    stretches: dict[int, list[int]] = {}
    for number, sample in enumerate(samples):
        stretches.setdefault(int((sample.at - first) / width), []).append(number)
    for numbers in stretches.values():
        for line in range(len(samples[0].values)):
            known = [(value, number) for number in numbers if (value := samples[number].values[line]) is not None]
            if known:
                kept |= {min(known)[1], max(known)[1]}
    return tuple(samples[number] for number in sorted(kept))
