"""The clock of the workflows."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from fleetswap.workflows.stop import Stop


class Clock(Protocol):
    """Time, so that tests need none."""

    def now(self) -> float:
        """Seconds since some moment; they never go backwards."""

    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
        """Let `seconds` pass, or less if `stop` is set."""


class SystemClock:
    """The clock of this machine; all its processes read the same time. A wish to stop ends a wait."""

    def __init__(self, stop: Stop | None = None) -> None:
        self._stop = stop or Stop()

    def now(self) -> float:
        """Seconds since some moment; changes of the wall clock do not matter."""
        return time.monotonic()

    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
        """Wait for `stop` or, without it, for the clock's own wish to stop, so many seconds at most."""
        if stop is not None:
            stop.wait(seconds)
        else:
            self._stop.sleep(seconds)
