"""How far a transfer of blocks is, in words: rates and the time left, out of figures that are told again and again.

It decides how figures are worded, and never what they are.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from fleetswap.domain.text import duration

WINDOW_SECONDS = 10.0
"""What is called the rate is that of the last so many seconds: long enough to be read, short enough to be of now."""


@dataclass(frozen=True)
class Figures:
    """How far a command is; what `fleetswap.workflows` tells, in common words."""

    done: int
    total: int
    blocks: int
    """Blocks sent or read."""

    bytes: int
    throttled: int
    seconds: float
    trouble: str = ""
    """Why nothing moves, if nothing does."""


class Meter:
    """Makes rates and the time left out of figures that are told again and again."""

    def __init__(self, unit: str) -> None:
        """`unit` is what one block sent or read is called: puts, gets."""
        self._unit = unit
        self._samples: deque[Figures] = deque()

    def text(self, now: Figures) -> str:
        """One line about now."""
        rate, blocks, left = self._rates(now)
        parts = [
            f"{now.done:,} of {now.total:,} blocks",
            f"{rate:,.0f} MB/s",
            f"{blocks:,.0f} {self._unit}/s",
            f"{now.throttled:,} throttled",
        ]
        return ", ".join([*parts, *([now.trouble] if now.trouble else left)])

    def short(self, now: Figures) -> str:
        """The same for where there is little room: how much is done, how fast, how long it takes."""
        rate, _, left = self._rates(now)
        if now.trouble:
            left = [now.trouble.partition(",")[0]]
        return ", ".join([f"{100 * now.done // max(now.total, 1)} %", f"{rate:,.0f} MB/s", *left])

    def _rates(self, now: Figures) -> tuple[float, float, list[str]]:
        """Megabytes and blocks a second, and the time left, if it is known."""
        while self._samples and now.seconds - self._samples[0].seconds > WINDOW_SECONDS and len(self._samples) > 1:
            self._samples.popleft()
        self._samples.append(now)
        first = self._samples[0] if len(self._samples) > 1 else Figures(0, 0, 0, 0, 0, 0.0)
        seconds = max(now.seconds - first.seconds, 1e-6)
        blocks, rate = (now.blocks - first.blocks) / seconds, (now.bytes - first.bytes) / seconds / 1e6
        speed = (now.done - first.done) / seconds
        if speed <= 0 or now.total <= now.done:
            return rate, blocks, []
        return rate, blocks, [f"{duration((now.total - now.done) / speed)} left"]
