"""The progress of a transfer in words: rates and the time left, from counts that are reported again and again.

It decides how numbers are worded, never what they are.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from fleetswap.domain.text import duration

WINDOW_SECONDS = 10.0
"""What is called the rate is that of the last so many seconds: long enough to be read, short enough to be of now."""


@dataclass(frozen=True)
class Progress:
    """How far a transfer is: of `total` blocks (0 if unknown) `done` are transferred, or need not be."""

    done: int = 0
    total: int = 0
    blocks: int = 0
    """Blocks that were transferred: sent and acknowledged, or read."""

    bytes: int = 0
    throttled: int = 0
    """Attempts that met a quota."""

    retried: int = 0
    """Attempts that were made again, those that were throttled too."""

    seconds: float = 0.0
    trouble: str = ""
    """Why nothing moves, if nothing does."""

    def __add__(self, then: Progress) -> Progress:
        """That of two transfers, one after the other."""
        return Progress(
            done=self.done + then.done,
            total=self.total + then.total,
            blocks=self.blocks + then.blocks,
            bytes=self.bytes + then.bytes,
            throttled=self.throttled + then.throttled,
            retried=self.retried + then.retried,
            seconds=self.seconds + then.seconds,
            trouble=then.trouble,
        )


class Meter:
    """Makes rates and the time left from counts that are reported again and again."""

    def __init__(self, unit: str) -> None:
        """`unit` is what one block sent or read is called: puts, gets."""
        self._unit = unit
        self._samples: deque[Progress] = deque()

    def text(self, now: Progress) -> str:
        """One line about now."""
        rate, blocks, left = self._rates(now)
        parts = [
            f"{now.done:,} of {now.total:,} blocks",
            f"{rate:,.0f} MB/s",
            f"{blocks:,.0f} {self._unit}/s",
            f"{now.throttled:,} throttled",
        ]
        return ", ".join([*parts, *([now.trouble] if now.trouble else left)])

    def short(self, now: Progress) -> str:
        """The same for where there is little room: how much is done, how fast, how long it takes."""
        rate, _, left = self._rates(now)
        if now.trouble:
            left = [now.trouble.partition(",")[0]]
        return ", ".join([f"{100 * now.done // max(now.total, 1)} %", f"{rate:,.0f} MB/s", *left])

    def _rates(self, now: Progress) -> tuple[float, float, list[str]]:
        """Megabytes and blocks a second, and the time left, if it is known."""
        while self._samples and now.seconds - self._samples[0].seconds > WINDOW_SECONDS and len(self._samples) > 1:
            self._samples.popleft()
        self._samples.append(now)
        first = self._samples[0] if len(self._samples) > 1 else Progress()
        seconds = max(now.seconds - first.seconds, 1e-6)
        blocks, rate = (now.blocks - first.blocks) / seconds, (now.bytes - first.bytes) / seconds / 1e6
        speed = (now.done - first.done) / seconds
        if speed <= 0 or now.total <= now.done:
            return rate, blocks, []
        return rate, blocks, [f"{duration((now.total - now.done) / speed)} left"]
