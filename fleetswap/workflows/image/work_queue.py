"""What is left to send and how far it is: the queue of blocks, those to be tried again, and the first error.

It decides which block is next and when all are done. It never reads, sends or waits for an answer.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterable, Sized
from dataclasses import dataclass, field

from fleetswap.workflows.image.retry import Clock, Stopped

SILENT_SECONDS = 5.0
"""Silence that is told: far more than an answer takes, and long enough for somebody to wonder."""

IDLE_SECONDS = 0.05
"""How long a thread that finds nothing to do looks away, at most."""


@dataclass(frozen=True)
class Progress:
    """How far a run is: of `total` blocks (0 if unknown) `done` are acknowledged or not wanted; `sent` were sent now.

    `throttled` and `retried` count attempts: those that met a quota, and all that were made again.
    """

    done: int = 0
    total: int = 0
    sent: int = 0
    bytes_sent: int = 0
    throttled: int = 0
    retried: int = 0
    seconds: float = 0.0
    trouble: str = ""
    """Why nothing moves, where nothing has been acknowledged for `SILENT_SECONDS`."""


@dataclass(order=True)
class Item:
    """A block to send; ordered by when it may go."""

    due: float
    index: int
    digest: bytes | None = field(default=None, compare=False)
    """None before it was read for the first time."""
    began: float | None = field(default=None, compare=False)
    """When it was first tried."""
    failures: int = field(default=0, compare=False)


class Work:
    """One run's blocks, each handed out until it is done. Safe to use from several threads."""

    def __init__(self, clock: Clock, indexes: Iterable[int], stop: threading.Event) -> None:
        """`stop` ends every wait, and is set by the first error."""
        self._clock = clock
        self._stop = stop
        self._rest = iter(indexes)
        self._total = len(indexes) if isinstance(indexes, Sized) else 0
        self._began = self._moved = clock.now()
        self._failure = ""
        self._again: list[Item] = []
        self._handed_out = 0
        self._done = self._sent = self._bytes = self._throttled = self._retried = 0
        self._lock = threading.Lock()
        self._change = threading.Condition(self._lock)
        self.exhausted = False
        """Whether nothing is left but what is on its way or tried again."""
        self.finished = False
        self.error: BaseException | None = None
        self.over = threading.Event()
        """Set when all is done, or at the first error."""

    def take(self) -> Item | None:
        """The next block, when there is one; None when all are done. Raises `Stopped`."""
        while True:
            with self._lock:
                if self._stop.is_set():
                    raise Stopped
                now = self._clock.now()
                if (item := self._next(now)) is not None:
                    self._handed_out += 1
                    return item
                if not self._again and not self._handed_out:
                    self.finished = True
                    self.over.set()
                    return None
                if not self._again:
                    self._change.wait(IDLE_SECONDS)
                    continue
                due = self._again[0].due - now
            self._clock.wait(min(due, IDLE_SECONDS), self._stop)

    def _next(self, now: float) -> Item | None:
        if self._again and self._again[0].due <= now:
            return heapq.heappop(self._again)
        if not self.exhausted:
            for index in self._rest:
                return Item(now, index)
            self.exhausted = True
        return None

    def done(self, size: int) -> None:
        """A block that was handed out is acknowledged with `size` bytes sent, or was not wanted: 0."""
        with self._lock:
            self._handed_out -= 1
            self._done += 1
            if size:
                self._sent += 1
                self._bytes += size
                self._moved, self._failure = self._clock.now(), ""
            self._change.notify()

    def again(self, item: Item, due: float, *, throttled: bool, reason: str = "") -> None:
        """A block that was handed out has failed for this reason, and may go again at `due`."""
        item.due = due
        with self._lock:
            self._failure = reason
            self._handed_out -= 1
            self._retried += 1
            self._throttled += throttled
            heapq.heappush(self._again, item)
            self._change.notify()

    def fail(self, error: BaseException) -> None:
        """The first one counts, and ends everything."""
        with self._lock:
            if self.error is None:
                self.error = error
            self._stop.set()
            self.over.set()
            self._change.notify_all()

    def progress(self) -> Progress:
        """How far it is now."""
        now = self._clock.now()
        with self._lock:
            counts = (self._done, self._total, self._sent, self._bytes, self._throttled, self._retried)
            return Progress(*counts, now - self._began, self._trouble(now - self._moved))

    def _trouble(self, silent: float) -> str:
        on_their_way = self._handed_out
        if silent < SILENT_SECONDS or not (on_their_way or self._again):
            return ""
        failure = f"; last failure: {self._failure}" if self._failure else ""
        return f"nothing acknowledged for {silent:.0f} s, {on_their_way} in flight{failure}"
