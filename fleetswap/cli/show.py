"""What the user sees while a command works: a bar on a terminal, else a line every few seconds, on standard error.

It decides how figures are worded, and never what they are.
"""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

LINE_SECONDS = 3.0
"""Least time between two lines of progress where there is no bar."""

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


class Meter:
    """Makes rates and the time left out of figures that are told again and again."""

    def __init__(self, unit: str) -> None:
        """`unit` is what one block sent or read is called: puts, gets."""
        self._unit = unit
        self._samples: deque[Figures] = deque()

    def text(self, now: Figures) -> str:
        """One line about now."""
        while self._samples and now.seconds - self._samples[0].seconds > WINDOW_SECONDS and len(self._samples) > 1:
            self._samples.popleft()
        self._samples.append(now)
        first = self._samples[0] if len(self._samples) > 1 else Figures(0, 0, 0, 0, 0, 0.0)
        seconds = max(now.seconds - first.seconds, 1e-6)
        blocks, rate = (now.blocks - first.blocks) / seconds, (now.bytes - first.bytes) / seconds / 1e6
        parts = [
            f"{now.done:,} of {now.total:,} blocks",
            f"{rate:,.0f} MB/s",
            f"{blocks:,.0f} {self._unit}/s",
            f"{now.throttled:,} throttled",
        ]
        speed = (now.done - first.done) / seconds
        if speed > 0 and now.total > now.done:
            parts.append(f"{duration((now.total - now.done) / speed)} left")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """A time as people write it: 8 s, 3:05, 1:02:03."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Display:
    """Shows lines and progress, or nothing if it is to be quiet. A context manager; used on one thread."""

    def __init__(self, verb: str, unit: str, *, quiet: bool) -> None:
        """`verb` begins each line of progress."""
        self._verb = verb
        self._meter = Meter(unit)
        self._quiet = quiet
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._last = 0.0

    def __enter__(self) -> Display:
        if not self._quiet and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            self._bar = _bar()
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, line: str) -> None:
        """Show a line of text."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            typer.echo(line, err=True)

    def tell(self, now: Figures) -> None:
        """Show how far it is."""
        if self._quiet or not now.total:
            return
        text = self._meter.text(now)
        if self._bar is None:
            if now.seconds - self._last >= LINE_SECONDS:
                self._last = now.seconds
                self.say(f"{self._verb} {100 * now.done // now.total} %: {text}")
            return
        if self._task is None:
            self._task = self._bar.add_task(text, total=now.total)
        self._bar.update(self._task, completed=now.done, total=now.total, description=text)


def _bar() -> Bar:
    from rich.console import Console  # noqa: PLC0415 (slow to import, and of use on a terminal only)
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415

    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
    return Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4)


def print_json(result: Mapping[str, object]) -> None:
    """Print a result as one JSON object on one line."""
    typer.echo(json.dumps(result))


def amount(size: int) -> str:
    """Bytes as people write them."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size} bytes"


def counted(count: int, what: str) -> str:
    """So many of something."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def cost(blocks: int, size: int, seconds: float, throttled: int, retried: int, *, unit: str) -> str:
    """What a transfer took, for the end of a summary."""
    rate = f": {size / seconds / 1e6:,.0f} MB/s, {blocks / seconds:,.0f} {unit}/s" if blocks and seconds > 0 else ""
    again = f"; {throttled:,} throttled, {retried - throttled:,} failed and tried again" if retried else ""
    return f"{amount(size)} in {seconds:,.1f} s{rate}{again}"
