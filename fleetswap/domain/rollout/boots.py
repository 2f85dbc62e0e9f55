"""Boots: how long the machines of rollouts took from launch to healthy, and what follows for two settings.

A rollout watches the machines that it has launched, and leaves what it measured on the listener's rule
(`rollout_tags.BOOTS`) with that of the last few. `proposals` compares the settings with it. It is only ever shown:
nothing here changes a setting.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_high

from fleetswap.domain.rollout.health import Reading
from fleetswap.domain.text import counted

KEPT = 5
"""Rollouts that are remembered: an image that boots more slowly shows at once, one that did is forgotten soon."""

FEWEST = 4
"""Machines below which nothing is proposed. One slow host among two or three would decide."""

GAP_SECONDS = 10.0
"""Time between two readings above which what changed in between is not measured: nobody was looking."""

GRACE_MARGIN = 2.0
"""Times the slowest boot. A machine that boots for longer than the grace period is replaced and never measured, so
the slowest one that was cannot show that the grace period is too short; only a margin does."""

GRACE_STEP, LEAST_GRACE, MOST_GRACE = 30, 60, 7200
"""Seconds. The most is what EC2 Auto Scaling allows (CreateAutoScalingGroup, HealthCheckGracePeriod)."""

WARMUP_STEP, LEAST_WARMUP, MOST_WARMUP = 10, 60, 3600
"""Seconds. Detailed monitoring has a value a minute, so that a shorter warmup would not be noticed; the most is what
EC2 Auto Scaling allows (DefaultInstanceWarmup)."""

NEAR = 1.34
"""A setting that is at most so many times the proposal, or the proposal so many times the setting, stays."""

FAR = 2.0
"""The same for a grace period that is too long: that only delays the replacement of what never becomes healthy."""


@dataclass(frozen=True)
class Boots:
    """What one rollout has seen of its machines so far; times are seconds of its own clock."""

    seen: Mapping[str, float] = field(default_factory=dict)
    """When each machine was first seen."""
    took: Mapping[str, float] = field(default_factory=dict)
    """How long each took from then on until its target was healthy."""
    at: float | None = None
    """When the last reading was made that AWS answered."""

    def after(self, reading: Reading, there: frozenset[str], now: float) -> Boots:
        """With one more reading; `there` are the machines of before this rollout, whose launch nobody saw."""
        if reading.targets is None:
            return self
        watched = self.at is None or now - self.at <= GAP_SECONDS
        healthy = {target.machine for target in reading.targets if target.is_healthy}
        machines = {machine.id for machine in reading.machines or () if machine.launched}
        found = (machines | {target.machine for target in reading.targets}) - there - self.seen.keys()
        # What is healthy when it is first seen began earlier, and so did what appears when nobody looked.
        new = {machine: now if watched and machine not in healthy else -math.inf for machine in found}
        seen = {**self.seen, **new}
        done = {machine: now - seen[machine] for machine in healthy & seen.keys() - self.took.keys()}
        took = {machine: seconds if watched else math.inf for machine, seconds in done.items()}
        return Boots(seen, {**self.took, **took}, now)

    @property
    def measured(self) -> Measured | None:
        """What it comes to; None if no machine was seen from its launch on."""
        took = sorted(math.ceil(seconds) for seconds in self.took.values() if math.isfinite(seconds))
        return Measured(len(took), median_high(took), took[-1]) if took else None


@dataclass(frozen=True)
class Measured:
    """The boots of one rollout: how many machines, and the seconds that they took."""

    machines: int
    median: int
    slowest: int


@dataclass(frozen=True)
class Proposal:
    """Another value for a setting, in seconds, and why."""

    setting: str
    value: int
    proposed: int
    why: str

    @property
    def line(self) -> str:
        """For a person."""
        return f"{self.setting} is {self.value} s; {self.proposed} is proposed, because {self.why}"


def read(tag: str) -> tuple[Measured, ...]:
    """The last rollouts of a tag, the newest last. What no rollout has written is left out."""
    found = [re.fullmatch(r"(\d{1,6})/(\d{1,6})/(\d{1,6})", each, re.ASCII) for each in tag.split()]
    return tuple(Measured(*map(int, match.groups())) for match in found if match is not None)[-KEPT:]


def written(measured: Sequence[Measured]) -> str:
    """The tag: MACHINES/MEDIAN/SLOWEST of each rollout. All characters are allowed in a tag (ELBv2, AddTags)."""
    return " ".join(f"{each.machines}/{each.median}/{each.slowest}" for each in measured[-KEPT:])


def proposals(measured: Sequence[Measured], *, warmup: int, grace: int) -> tuple[Proposal, ...]:
    """What the two settings should be instead; nothing if they are near enough, or too few machines were measured.

    `warmup` is how long a machine's metrics are not like those of the others: the median, so that one slow host does
    not delay each scale-out, of the rollout where it was longest. `grace` must cover the slowest of all.
    """
    if sum(each.machines for each in measured) < FEWEST:
        return ()
    typical, slowest = max(each.median for each in measured), max(each.slowest for each in measured)
    machines = counted(sum(each.machines for each in measured), "machine")
    of = f"the last {machines} that were launched by {counted(len(measured), 'rollout')}"
    wanted = _up(typical, WARMUP_STEP, LEAST_WARMUP, MOST_WARMUP)
    least = _up(GRACE_MARGIN * slowest, GRACE_STEP, LEAST_GRACE, MOST_GRACE)
    found = []
    if not wanted / NEAR <= warmup <= wanted * NEAR:
        why = f"{of} became healthy within {typical} s (the largest median of a rollout)"
        found.append(Proposal("fleetswap:capacity.warmup", warmup, wanted, why))
    if not least / NEAR <= grace <= least * FAR:
        why = f"the slowest of {of} became healthy after {slowest} s"
        found.append(Proposal("fleetswap:health.grace", grace, least, why))
    return tuple(found)


def _up(seconds: float, step: int, least: int, most: int) -> int:
    return min(max(math.ceil(seconds / step) * step, least), most)
