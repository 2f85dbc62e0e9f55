"""Reads the blocks of a finished snapshot, many at once, at the pace of the quota, in bounded memory.

It decides how many requests are on their way and what each failure leads to. It never decides what the bytes ought to
be, and keeps none of them.

The calling thread lists the blocks, page by page, and puts them into a short queue; threads get them and deliver each
to a function, in whatever order they come. A block that failed goes back into the queue; no thread sleeps with it. A
thread is started only when none is idle, so that there are hardly more than requests on their way.

Memory: `CONNECTIONS` blocks of 512 KiB (twice that for a moment, while a client joins an answer), and one page of the
list, whatever the size of the snapshot.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fleetswap.domain.errors import CloudError, FleetswapError, Invalid, NotFound, TryAgain
from fleetswap.workflows.image.block_list import Reads, listing
from fleetswap.workflows.image.pacer import Pacer
from fleetswap.workflows.image.retry import Clock, Patience, Stopped, pause

CONNECTIONS = 32
"""Requests on their way at once, at most: with answers after 30 ms that is the quota of 1,000 GetSnapshotBlock a second
(Service Quotas, "Amazon EBS endpoints and quotas")."""

FIRST_PATIENCE_SECONDS = 30.0
"""Silence until the first answers: a wrong endpoint or region is likelier then than an outage."""

PATIENCE_SECONDS = 300.0
"""Silence after which a read is given up. As long as an upload's, because what was read would be lost."""

BLOCK_ATTEMPTS = 16
"""Failures, throttles not counted, after which a block is given up although others are read meanwhile. Where three
requests in ten fail by chance, one block in a hundred million has as many."""

OLD_TOKEN = "INVALID_BLOCK_TOKEN"  # noqa: S105 (a reason, not a secret)
"""The reason of a ValidationException about a block's token. It lives for 7 days (EBS user guide, "Frequently asked
questions for EBS direct APIs"), and tokens "change … if you run another" list request (the same, "Concepts"), so a new
one is asked for before the block is given up."""

FIRST_WAIT = 0.05
"""Seconds: the longest wait of a block after its first failure; see `fleetswap.workflows.image.retry.pause`."""

TELL_SECONDS = 0.25
"""Least time between two calls of `tell`."""

LEAST_WAIT = 0.001
"""Seconds that the pace is waited for, at least: less may round to nothing on a clock that has run for long."""

IDLE_SECONDS = 0.05
"""How long a thread that finds nothing to do looks away, at most."""


class Mismatch(FleetswapError):
    """A snapshot does not hold what its block map says, or what a file holds. Nothing was changed."""

    exit_status = 4


@dataclass(frozen=True)
class Reading:
    """How far a read is: it has passed `done` of the disk's `total` blocks, and got `blocks` of them."""

    done: int = 0
    total: int = 0
    blocks: int = 0
    bytes: int = 0
    throttled: int = 0
    """Attempts that met a quota."""

    retried: int = 0
    """Attempts that were made again, those that were throttled too."""

    seconds: float = 0.0


def read_back(
    port: Reads,
    snapshot_id: str,
    blocks: Iterable[tuple[int, str]],
    deliver: Callable[[int, bytes], None],
    *,
    patience: Patience,
    clock: Clock,
    stop: threading.Event,
    total: int,
    tell: Callable[[Reading], None],
    connections: int = CONNECTIONS,
) -> Reading:
    """Get all of `blocks` (from `listing`, consumed on the calling thread), and deliver each once, in any order.

    `deliver` is called in any of the threads, several at a time; `tell` on the calling thread, once more at the end.
    `total` is the disk's size in blocks, for `tell`. The first error is raised: `GaveUp` if nothing succeeded for the
    time of `patience`, `CloudError` for a block that alone cannot be read, or what `deliver` raised. Once this has
    returned or raised, `deliver` is not called any more, though an answer may still be on its way to nowhere.
    """
    return _Reader(port, snapshot_id, deliver, patience, clock, stop, total, tell, connections).run(blocks)


@dataclass(order=True)
class _Item:
    """A block to get; ordered by when it may be asked for."""

    due: float
    index: int
    token: str = field(compare=False)
    began: float | None = field(default=None, compare=False)
    """When it was asked for for the first time, and how many blocks had been read by then."""
    read_before: int = field(default=0, compare=False)
    failures: int = field(default=0, compare=False)


class _Reader:
    """One run. What its threads share is under one lock, that of `_change`."""

    def __init__(
        self,
        port: Reads,
        snapshot_id: str,
        deliver: Callable[[int, bytes], None],
        patience: Patience,
        clock: Clock,
        stop: threading.Event,
        total: int,
        tell: Callable[[Reading], None],
        connections: int,
    ) -> None:
        self._port = port
        self._snapshot_id = snapshot_id
        self._deliver_to = deliver
        self._patience = patience
        self._clock = clock
        self._stop = stop
        self._total = total
        self._tell_to = tell
        self._connections = connections
        self._began = self._told = clock.now()
        self._pacer = Pacer(clock, stop, least_wait=LEAST_WAIT)
        self._change = threading.Condition()
        self._fresh: deque[_Item] = deque()
        self._again: list[_Item] = []
        self._closed = False
        self._threads = self._idle = self._handed_out = self._delivering = 0
        self._reached = self._blocks = self._bytes = self._throttled = self._retried = 0
        self._error: BaseException | None = None
        self._over = threading.Event()

    def run(self, blocks: Iterable[tuple[int, str]]) -> Reading:
        try:
            for index, token in blocks:
                self._offer(_Item(0.0, index, token))
            with self._change:
                self._closed = True
                self._see_if_over()
            while not self._over.wait(TELL_SECONDS):
                self._tell()
        except Stopped:
            pass  # a thread has failed
        except BaseException:
            self._stop.set()
            raise
        finally:
            with self._change:
                while self._delivering:
                    self._change.wait()
        if self._error is not None:
            raise self._error
        if self._stop.is_set():
            raise Stopped
        reading = self._reading()
        self._tell_to(reading)
        return reading

    def _offer(self, item: _Item) -> None:
        """Put a block into the queue when there is room."""
        while not self._room():
            self._tell()
        with self._change:
            self._fresh.append(item)
            self._reached = item.index + 1
            alone = not self._idle and self._threads < self._connections
            if not alone:
                self._change.notify()
        if alone:
            # Daemons, so that Ctrl-C need not wait for answers.
            threading.Thread(target=self._serve, name=f"read-{self._threads}", daemon=True).start()
            self._threads += 1
        if self._clock.now() - self._told >= TELL_SECONDS:
            self._tell()

    def _room(self) -> bool:
        with self._change:
            if len(self._fresh) >= 2 * self._connections and not self._stop.is_set():
                self._change.wait(TELL_SECONDS)
            if self._stop.is_set():
                raise Stopped
            return len(self._fresh) < 2 * self._connections

    def _serve(self) -> None:
        """What each thread does."""
        try:
            while (item := self._take()) is not None:
                data = self._get(item)
                if data is not None:
                    self._deliver(item.index, data)
                    self._done(len(data))
        except Stopped:
            pass  # whoever stopped it has the reason
        except BaseException as error:  # noqa: BLE001 (raised by the calling thread)
            with self._change:
                if self._error is None and not self._stop.is_set():
                    self._error = error
                self._stop.set()
                self._over.set()
                self._change.notify_all()

    def _take(self) -> _Item | None:
        """The next block, when there is one; None when all are done."""
        while True:
            with self._change:
                if self._stop.is_set():
                    raise Stopped
                if self._over.is_set():
                    return None
                now = self._clock.now()
                if (item := self._next(now)) is not None:
                    self._handed_out += 1
                    self._change.notify_all()  # there is room
                    return item
                if not self._again:
                    self._idle += 1
                    self._change.wait(IDLE_SECONDS)
                    self._idle -= 1
                    continue
                due = self._again[0].due - now
            self._clock.wait(min(due, IDLE_SECONDS), self._stop)

    def _next(self, now: float) -> _Item | None:
        if self._again and self._again[0].due <= now:
            return heapq.heappop(self._again)
        return self._fresh.popleft() if self._fresh else None

    def _get(self, item: _Item) -> bytes | None:
        """One attempt. None if it failed and the block is in the queue again."""
        epoch = self._pacer.take()
        if item.began is None:
            item.began, item.read_before = self._clock.now(), self._blocks
        try:
            data = self._port.get(self._snapshot_id, item.index, item.token)
        except (TryAgain, NotFound) as error:
            self._try_again(item, error, epoch)
            return None
        except Invalid as error:
            if error.reason != OLD_TOKEN:
                raise
            item.token = self._new_token(item.index, error)
            self._try_again(item, TryAgain(str(error)), epoch)
            return None
        self._pacer.acknowledged(epoch)
        self._patience.renew()
        return data

    def _new_token(self, index: int, error: Invalid) -> str:
        for _, token in listing(self._port, self._patience, self._snapshot_id, index, index + 1):
            return token
        raise error

    def _try_again(self, item: _Item, error: TryAgain | NotFound, epoch: int) -> None:
        now = self._clock.now()
        throttled = self._pacer.failed(error, now, epoch)
        self._patience.bear(error, began=item.began or now, absent_until=None)
        item.failures += not throttled
        if item.failures >= BLOCK_ATTEMPTS and self._blocks > item.read_before:
            raise CloudError(f"{error}; gave up after {item.failures} failed attempts") from error
        item.due = now if throttled else now + pause(item.failures, first=FIRST_WAIT)
        with self._change:
            self._handed_out -= 1
            self._retried += 1
            self._throttled += throttled
            heapq.heappush(self._again, item)
            self._change.notify()

    def _deliver(self, index: int, data: bytes) -> None:
        with self._change:
            if self._stop.is_set():
                raise Stopped
            self._delivering += 1
        try:
            self._deliver_to(index, data)
        finally:
            with self._change:
                self._delivering -= 1
                self._change.notify_all()

    def _done(self, size: int) -> None:
        with self._change:
            self._handed_out -= 1
            self._blocks += 1
            self._bytes += size
            self._see_if_over()

    def _see_if_over(self) -> None:
        if self._closed and not self._fresh and not self._again and not self._handed_out:
            self._over.set()
            self._change.notify_all()

    def _tell(self) -> None:
        self._told = self._clock.now()
        self._tell_to(self._reading())

    def _reading(self) -> Reading:
        with self._change:
            over = self._over.is_set() and self._error is None
            waiting = len(self._fresh) + len(self._again) + self._handed_out
            done = self._total if over else min(self._total, self._reached) - waiting
            seconds = self._clock.now() - self._began
            return Reading(
                max(0, done), self._total, self._blocks, self._bytes, self._throttled, self._retried, seconds
            )
