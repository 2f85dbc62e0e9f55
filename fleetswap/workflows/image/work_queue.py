"""What is left to transfer and how far the transfer is: the queue of blocks, those to retry, and the first error.

It decides which block is next and when all are done. It never reads, sends or waits for a response.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fleetswap.domain.image.meter import Progress
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.retry import Stopped

SILENT_SECONDS = 5.0
"""Silence that is told: far more than an answer takes, and long enough for somebody to wonder."""

IDLE_SECONDS = 0.05
"""How long a thread that finds nothing to do looks away, at most."""


@dataclass(order=True)
class Item:
    """A block to transfer; ordered by when it may go."""

    due: float
    index: int
    began: float | None = field(default=None, compare=False)
    """When it was first tried."""
    failures: int = field(default=0, compare=False)


ItemT = TypeVar("ItemT", bound=Item)


class Work(Generic[ItemT]):
    """One run's blocks, each handed out until it is done. Safe to use from several threads.

    They come out of an iterable, on the threads that take them; or, with `room`, from one thread that offers them.
    """

    def __init__(
        self, clock: Clock, stop: threading.Event, items: Iterable[ItemT] = (), *, total: int = 0, room: int = 0
    ) -> None:
        """`stop` ends every wait, and is set by the first error. With `room`, so many of the offered wait at most."""
        self._clock = clock
        self._stop = stop
        self._rest = iter(items)
        self._total = total
        self._room = room
        self._open = room > 0
        self._offered: deque[ItemT] = deque()
        self._again: list[ItemT] = []
        self._passed = 0  # blocks that were handed out, offered, or are known not to come
        self._began = self._moved = clock.now()
        self._failure = ""
        self._handed_out = 0
        self._blocks = self._bytes = self._throttled = self._retried = 0
        self._change = threading.Condition()
        self._exhausted = False
        self.finished = False
        self.error: BaseException | None = None
        self.over = threading.Event()
        """Set when all is done, or at the first error."""

    @property
    def more(self) -> bool:
        """Whether something may be left besides what is on its way or tried again."""
        return not self._exhausted

    @property
    def blocks(self) -> int:
        """Blocks that were transferred."""
        return self._blocks

    def offer(self, item: ItemT, *, passed: int, wait: float) -> bool:
        """Let a block be taken, if there is room within `wait` seconds. Whether there was. Raises `Stopped`.

        Of all blocks, `passed` are offered by now or will never be.
        """
        with self._change:
            # Not `wait`: every block that is done, or tried again, wakes one that waits, and makes no room.
            self._change.wait_for(lambda: len(self._offered) < self._room or self._stop.is_set(), wait)
            if self._stop.is_set():
                raise Stopped
            if len(self._offered) >= self._room:
                return False
            self._offered.append(item)
            self._passed = min(passed, self._total)
            self._change.notify_all()
            return True

    def close(self) -> None:
        """Nothing more will be offered."""
        with self._change:
            self._open = False
            self._passed = self._total
            self._change.notify_all()

    def take(self) -> ItemT | None:
        """The next block, when there is one; None when all are done. Raises `Stopped`."""
        while True:
            with self._change:
                if self._stop.is_set():
                    raise Stopped
                now = self._clock.now()
                if (item := self._next(now)) is not None:
                    self._handed_out += 1
                    return item
                if not (self._again or self._handed_out or self._open):
                    self.finished = True
                    self.over.set()
                    self._change.notify_all()
                    return None
                if not self._again:
                    self._change.wait(IDLE_SECONDS)
                    continue
                due = self._again[0].due - now
            self._clock.sleep(min(due, IDLE_SECONDS), self._stop)

    def _next(self, now: float) -> ItemT | None:
        if self._again and self._again[0].due <= now:
            return heapq.heappop(self._again)
        if self._offered:
            self._change.notify_all()  # there is room
            return self._offered.popleft()
        if not self._exhausted and not self._open:
            for item in self._rest:
                self._passed += 1
                return item
            self._exhausted = True
        return None

    def done(self, size: int) -> None:
        """A block that was handed out was transferred with `size` bytes, or was not wanted: 0."""
        with self._change:
            self._handed_out -= 1
            if size:
                self._blocks += 1
                self._bytes += size
                self._moved, self._failure = self._clock.now(), ""
            self._change.notify()

    def again(self, item: ItemT, due: float, *, throttled: bool, reason: str = "") -> None:
        """A block that was handed out has failed for this reason, and may go again at `due`."""
        item.due = due
        with self._change:
            self._failure = reason
            self._handed_out -= 1
            self._retried += 1
            self._throttled += throttled
            heapq.heappush(self._again, item)
            self._change.notify()

    def fail(self, error: BaseException) -> None:
        """The first one counts, and ends everything."""
        with self._change:
            if self.error is None:
                self.error = error
            self._stop.set()
            self.over.set()
            self._change.notify_all()

    def progress(self) -> Progress:
        """How far it is now."""
        now = self._clock.now()
        with self._change:
            return Progress(
                done=max(0, self._passed - len(self._offered) - len(self._again) - self._handed_out),
                total=self._total,
                blocks=self._blocks,
                bytes=self._bytes,
                throttled=self._throttled,
                retried=self._retried,
                seconds=now - self._began,
                trouble=self._trouble(now - self._moved),
            )

    def _trouble(self, silent: float) -> str:
        on_their_way = self._handed_out
        if silent < SILENT_SECONDS or not (on_their_way or self._again):
            return ""
        failure = f"; last failure: {self._failure}" if self._failure else ""
        return f"no request succeeded for {silent:.0f} s, {on_their_way} in flight{failure}"
