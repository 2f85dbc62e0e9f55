"""Progress of a command on standard error: a bar on a terminal, otherwise a line every few seconds.

It decides how numbers are shown, never what they are.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

import typer

from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.image.meter import Meter, Progress
from fleetswap.domain.text import amount, visible
from fleetswap.workflows.clock import Clock, SystemClock

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

LINE_SECONDS = 3.0
"""Least time between two lines of progress where there is no bar."""

STATUS_SECONDS = 5.0
"""Least time between two lines that say how far a build or a boot is."""


class Display:
    """Shows lines and progress, or nothing if quiet. A context manager; used on one thread."""

    def __init__(self, verb: str, unit: str, *, quiet: bool) -> None:
        """`verb` begins each line of progress."""
        self._verb = verb
        self._unit = unit
        self._meters: dict[str, Meter] = {}
        self._quiet = quiet
        self._bar: Bar | None = None
        self._tasks: dict[str, TaskID] = {}
        self._last: dict[str, float] = {}

    def __enter__(self) -> Display:
        if (
            not self._quiet
            and sys.stderr is not None
            and sys.stderr.isatty()
            and os.environ.get("TERM", "dumb") != "dumb"
        ):
            self._bar = _bar()
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, line: str) -> None:
        """Print a line."""
        if self._quiet:
            return
        line = visible(line)  # a file's name may be anything
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            try:
                typer.echo(line, err=True)
            except BrokenPipeError:
                raise
            except OSError:
                self._quiet = True  # a log that is full is no reason to give up what is under way

    def tell(self, now: Progress) -> None:
        """Show the progress."""
        self._tell("", now)

    def tell_all(self, now: Mapping[str, Progress]) -> None:
        """Show the progress of several transfers at once, by their names."""
        for name, each in now.items():
            self._tell(name, each)

    def _tell(self, name: str, now: Progress) -> None:
        if self._quiet or not now.total:
            return
        text = self._meters.setdefault(name, Meter(self._unit)).text(now)
        if self._bar is None:
            if now.seconds - self._last.get(name, 0.0) >= LINE_SECONDS:
                self._last[name] = now.seconds
                to = f" to {name}" if name else ""
                self.say(f"{self._verb}{to} {100 * now.done // now.total} %: {text}")
            return
        text = f"{name} {text}".strip()
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(text, total=now.total)
        self._bar.update(self._tasks[name], completed=now.done, total=now.total, description=text)


def slowly(say: Callable[[str], None], clock: Clock | None = None) -> Callable[[str], None]:
    """Say some of what passes several times a second."""
    clock = clock or SystemClock()
    last = clock.now()

    def tell(text: str) -> None:
        nonlocal last
        if clock.now() - last >= STATUS_SECONDS:
            last = clock.now()
            say(text)

    return tell


def _bar() -> Bar:
    from rich.console import Console  # noqa: PLC0415 (slow to import, and needed on a terminal only)
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415

    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
    return Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4)


def print_json(result: Mapping[str, object]) -> None:
    """Print a result as one JSON object on one line."""
    print_result(json.dumps(result))


def print_result(text: str) -> None:
    """Print the result of a command. If it cannot be written, the error includes it, because the work is done."""
    try:
        typer.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        # What Python still holds would fail once more at its end, and change the exit status.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise FleetswapError(
            f"the command succeeded, but cannot write to standard output ({error.strerror or error}):"
            f" the result is {text}"
        ) from error


def cost(blocks: int, size: int, seconds: float, throttled: int, retried: int, *, unit: str) -> str:
    """The size, duration and rate of a transfer, for the end of a summary."""
    rate = f": {size / seconds / 1e6:,.0f} MB/s, {blocks / seconds:,.0f} {unit}/s" if blocks and seconds > 0 else ""
    again = f"; {throttled:,} throttled, {retried - throttled:,} failed and retried" if retried else ""
    return f"{amount(size)} in {seconds:,.1f} s{rate}{again}"
