"""What the runs of a case amount to, and whether that is what was to be reached.

It decides the verdicts, from figures alone; it runs nothing and reads no clock.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Verdict = Literal["ok", "short", "fails", "nothing to compare with"]


@dataclass(frozen=True)
class Run:
    """One run of one uploader. `problem` is empty for one that ended with a whole snapshot.

    `window` is the time from the first to the last accepted put, in seconds by the server's clock; `peak` is in MiB.
    """

    seconds: float
    cpu: float
    peak: float
    problem: str = ""
    accepted: int = 0
    throttled: int = 0
    window: float = 0
    connections: int = 0
    late: bool = False
    """Whether it was stopped because its time was over."""

    def share(self, quota: float) -> float:
        """How much of a quota of puts a second it held: accepted puts / window / quota.

        The puts that the bucket had saved up count, so that a short upload may hold more than all of it.
        """
        return self.accepted / self.window / quota if self.window > 0 else 0.0

    @property
    def throttled_share(self) -> float:
        """Throttled puts of all that got as far as the bucket."""
        asked = self.accepted + self.throttled
        return self.throttled / asked if asked else 0.0


@dataclass(frozen=True)
class Sample:
    """All runs of one uploader in one case; none if it was not run."""

    runs: tuple[Run, ...] = ()

    @property
    def good(self) -> tuple[Run, ...]:
        """The runs that ended with a whole snapshot."""
        return tuple(run for run in self.runs if not run.problem)

    def median(self, figure: Callable[[Run], float]) -> float | None:
        """The median of a figure over the good runs; None if there are none."""
        return statistics.median(map(figure, self.good)) if self.good else None

    def told(self, figure: Callable[[Sample], str]) -> str:
        """The cell of the table: the figure and how many runs failed, or why there is none."""
        if not self.runs:
            return "–"
        bad = len(self.runs) - len(self.good)
        if self.good:
            return figure(self) + (f" ({bad} of {len(self.runs)} runs fail)" if bad else "")
        late = [run for run in self.runs if run.late]
        return f"not done in {late[0].seconds:.0f} s" if late else "fails"


class Goal(Protocol):
    """What a case is to reach."""

    def text(self) -> str:
        """It in words."""
        ...

    def figure(self, sample: Sample) -> str:
        """What of a sample with good runs is shown."""
        ...

    def value(self, run: Run) -> float:
        """What of a run is compared with the other uploader's."""
        ...

    def reached(self, ours: Sample, ratio: float | None, undisturbed: Sample) -> bool | None:
        """Whether our sample, all of whose runs are good, is good enough. None: there is nothing to compare with."""
        ...


def ratio(goal: Goal, ours: Sample, peer: Sample) -> float | None:
    """Ours by the peer's, in what the goal compares."""
    mine, theirs = ours.median(goal.value), peer.median(goal.value)
    return mine / theirs if mine is not None and theirs else None


def verdict(goal: Goal, ours: Sample, peer: Sample, undisturbed: Sample) -> Verdict:
    """What the table says at the end of a row. One failed run of ours is a failure."""
    if len(ours.good) < len(ours.runs) or not ours.runs:
        return "fails"
    reached = goal.reached(ours, ratio(goal, ours, peer), undisturbed)
    if reached is None:
        return "nothing to compare with"
    return "ok" if reached else "short"


def _at(sample: Sample, figure: Callable[[Run], float]) -> float:
    value = sample.median(figure)
    if value is None:
        raise ValueError("no good run")
    return value


@dataclass(frozen=True)
class Cpu:
    """At most `limit` of the peer's CPU-seconds."""

    limit: float

    def text(self) -> str:  # noqa: D102 (as in Goal; so in all of these)
        return f"at most {self.limit:.2f} of coldsnap's CPU-seconds"

    def figure(self, sample: Sample) -> str:  # noqa: D102
        return f"{_at(sample, self.value):.2f} CPU-s"

    def value(self, run: Run) -> float:  # noqa: D102
        return run.cpu

    def reached(self, ours: Sample, ratio: float | None, undisturbed: Sample) -> bool | None:  # noqa: ARG002, D102
        return None if ratio is None else ratio <= self.limit


@dataclass(frozen=True)
class Start:
    """At most `limit` CPU-seconds, whatever the peer's."""

    limit: float

    def text(self) -> str:  # noqa: D102
        return f"at most {self.limit:.2f} CPU-seconds"

    def figure(self, sample: Sample) -> str:  # noqa: D102
        return f"{_at(sample, self.value):.2f} CPU-s"

    def value(self, run: Run) -> float:  # noqa: D102
        return run.cpu

    def reached(self, ours: Sample, ratio: float | None, undisturbed: Sample) -> bool | None:  # noqa: ARG002, D102
        return _at(ours, self.value) <= self.limit


@dataclass(frozen=True)
class Seconds:
    """At most `limit` of the peer's time."""

    limit: float

    def text(self) -> str:  # noqa: D102
        return f"at most {self.limit:.2f} of coldsnap's time"

    def figure(self, sample: Sample) -> str:  # noqa: D102
        return f"{_at(sample, self.value):.1f} s"

    def value(self, run: Run) -> float:  # noqa: D102
        return run.seconds

    def reached(self, ours: Sample, ratio: float | None, undisturbed: Sample) -> bool | None:  # noqa: ARG002, D102
        return None if ratio is None else ratio <= self.limit


@dataclass(frozen=True)
class Peak:
    """At most `limit` MiB, in every run."""

    limit: float

    def text(self) -> str:  # noqa: D102
        return f"at most {self.limit:.0f} MiB"

    def figure(self, sample: Sample) -> str:  # noqa: D102
        return f"{max(map(self.value, sample.good)):.0f} MiB"

    def value(self, run: Run) -> float:  # noqa: D102
        return run.peak

    def reached(self, ours: Sample, ratio: float | None, undisturbed: Sample) -> bool | None:  # noqa: ARG002, D102
        return max(map(self.value, ours.good)) <= self.limit


@dataclass(frozen=True)
class Share:
    """At least `limit` of a quota of puts a second, and fewer than `throttled` of the puts throttled."""

    limit: float
    quota: float
    throttled: float | None = None

    def text(self) -> str:  # noqa: D102
        few = f", under {self.throttled:.0%} throttled" if self.throttled is not None else ""
        return f"at least {self.limit:.0%} of the quota{few}"

    def figure(self, sample: Sample) -> str:  # noqa: D102
        share, seconds = _at(sample, self.value), _at(sample, lambda run: run.seconds)
        throttled = _at(sample, lambda run: run.throttled_share)
        return f"{share:.1%}, {seconds:.1f} s, {throttled:.1%} throttled"

    def value(self, run: Run) -> float:  # noqa: D102
        return run.share(self.quota)

    def reached(self, ours: Sample, ratio: float | None, undisturbed: Sample) -> bool | None:  # noqa: ARG002, D102
        few = self.throttled is None or _at(ours, lambda run: run.throttled_share) < self.throttled
        return few and _at(ours, self.value) >= self.limit


@dataclass(frozen=True)
class Undisturbed:
    """At most `limit` times as long as the same uploader takes without faults."""

    limit: float

    def text(self) -> str:  # noqa: D102
        return f"at most {self.limit:.1f} times the time without faults"

    def figure(self, sample: Sample) -> str:  # noqa: D102
        return f"{_at(sample, self.value):.1f} s"

    def value(self, run: Run) -> float:  # noqa: D102
        return run.seconds

    def reached(self, ours: Sample, ratio: float | None, undisturbed: Sample) -> bool | None:  # noqa: ARG002, D102
        without = undisturbed.median(self.value)
        return None if without is None else _at(ours, self.value) <= self.limit * without


@dataclass(frozen=True)
class Changed:
    """At most `share` of the image's `blocks` put, in at most `limit` of the peer's time."""

    share: float
    blocks: int
    limit: float

    def text(self) -> str:  # noqa: D102
        return f"at most {self.share:.0%} of the blocks, {self.limit:.2f} of coldsnap's time"

    def figure(self, sample: Sample) -> str:  # noqa: D102
        return f"{_at(sample, self.value):.1f} s, {_at(sample, self._put):.1%} of the blocks"

    def value(self, run: Run) -> float:  # noqa: D102
        return run.seconds

    def _put(self, run: Run) -> float:
        return run.accepted / self.blocks

    def reached(self, ours: Sample, ratio: float | None, undisturbed: Sample) -> bool | None:  # noqa: ARG002, D102
        if _at(ours, self._put) > self.share:
            return False
        return None if ratio is None else ratio <= self.limit


@dataclass(frozen=True)
class Everywhere:
    """At most `time` times as long and `cpu` times the CPU-seconds of the same upload to one endpoint, and to each
    endpoint at most `share` of the image's `blocks`.
    """

    time: float
    cpu: float
    share: float
    blocks: int

    def text(self) -> str:  # noqa: D102
        few = f", {self.share:.0%} of the blocks to each" if self.share < 1 else ""
        return f"at most {self.time:.2f} times the time and {self.cpu:.1f} times the CPU-seconds of one endpoint{few}"

    def figure(self, sample: Sample) -> str:  # noqa: D102
        put = f", {_at(sample, self._put):.1%} of the blocks to each" if self.share < 1 else ""
        return f"{_at(sample, self.value):.1f} s, {_at(sample, self._cpu):.2f} CPU-s{put}"

    def value(self, run: Run) -> float:  # noqa: D102
        return run.seconds

    def _cpu(self, run: Run) -> float:
        return run.cpu

    def _put(self, run: Run) -> float:
        return run.accepted / self.blocks

    def reached(self, ours: Sample, ratio: float | None, undisturbed: Sample) -> bool | None:  # noqa: ARG002, D102
        seconds, cpu = undisturbed.median(self.value), undisturbed.median(self._cpu)
        if seconds is None or cpu is None:
            return None
        few = self.share >= 1 or _at(ours, self._put) <= self.share
        return few and _at(ours, self.value) <= self.time * seconds and _at(ours, self._cpu) <= self.cpu * cpu


def table(rows: list[list[str]]) -> str:
    """Rows, the first of them the heads, as a table of Markdown whose columns are aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
