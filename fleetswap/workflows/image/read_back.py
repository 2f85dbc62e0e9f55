"""Reads the blocks of a completed snapshot, many at once, at the pace of the quota, in bounded memory.

It decides how many requests are in flight and what each failure leads to. It does not decide what the bytes should be,
and keeps none of them.

The calling thread lists the blocks, page by page, and puts them into a short queue. Threads get them and pass each to a
function, in whatever order they arrive. A block that failed goes back into the queue; no thread waits with it. A thread
is started only when none is idle, so there are hardly more threads than requests in flight.

Memory: `CONNECTIONS` blocks of 512 KiB (twice that for a moment, while a client joins a response), and one page of the
list, whatever the size of the snapshot.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fleetswap.domain.errors import CloudError, FleetswapError, Invalid, NotFound, TryAgain
from fleetswap.domain.image.meter import Progress
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.image.block_list import listing
from fleetswap.workflows.image.pacer import Pacer
from fleetswap.workflows.image.pool import Pool
from fleetswap.workflows.image.ports import Reads
from fleetswap.workflows.image.work_queue import Item, Work
from fleetswap.workflows.retry import Patience, Stopped, pause

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
"""Seconds: the longest wait of a block after its first failure; see `fleetswap.workflows.retry.pause`."""

TELL_SECONDS = 0.25
"""Least time between two calls of `tell`."""

LEAST_WAIT = 0.001
"""Seconds that the pace is waited for, at least: less may round to nothing on a clock that has run for long."""


class Mismatch(FleetswapError):
    """A snapshot does not hold what its block map says, or what a file holds. Nothing was changed."""

    exit_status = 4


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
    tell: Callable[[Progress], None],
    connections: int = CONNECTIONS,
) -> Progress:
    """Get all of `blocks` (from `listing`, consumed on the calling thread), and deliver each once, in any order.

    `deliver` is called in any of the threads, several at a time; `tell` on the calling thread, once more at the end.
    `total` is the disk's size in blocks, for `tell`. The first error is raised: `GaveUp` if nothing succeeded for the
    time of `patience`, `CloudError` for a block that alone cannot be read, or what `deliver` raised. Once this has
    returned or raised, `deliver` is not called any more, though an answer may still be on its way to nowhere.
    """
    return _Reader(port, snapshot_id, deliver, patience, clock, stop, total, tell, connections).run(blocks)


@dataclass(order=True)
class _Block(Item):
    """A block to get."""

    token: str = field(default="", compare=False)
    read_before: int = field(default=0, compare=False)
    """How many blocks had been read when it was first asked for."""


class _Reader:
    """One run."""

    def __init__(
        self,
        port: Reads,
        snapshot_id: str,
        deliver: Callable[[int, bytes], None],
        patience: Patience,
        clock: Clock,
        stop: threading.Event,
        total: int,
        tell: Callable[[Progress], None],
        connections: int,
    ) -> None:
        self._port = port
        self._snapshot_id = snapshot_id
        self._deliver_to = deliver
        self._patience = patience
        self._clock = clock
        self._stop = stop
        self._tell_to = tell
        self._told = clock.now()
        self._pacer = Pacer(clock, stop, least_wait=LEAST_WAIT)
        self._work = Work[_Block](clock, stop, total=total, room=2 * connections)
        # One prepares at a time, because one at a time is let go by the pace.
        self._pool = Pool(self._serve, self._work.fail, clock, name="read", preparing=1, limit=connections)
        self._delivering = 0
        self._gate = threading.Condition()  # of that number

    def run(self, blocks: Iterable[tuple[int, str]]) -> Progress:
        work = self._work
        try:
            self._pool.start()
            for index, token in blocks:
                block = _Block(0.0, index, token=token)
                while not work.offer(block, passed=index + 1, wait=TELL_SECONDS):
                    self._tell()
                if self._clock.now() - self._told >= TELL_SECONDS:
                    self._tell()
            work.close()
            while not work.over.wait(TELL_SECONDS) and not self._stop.is_set():
                self._tell()
        except Stopped:
            pass  # a thread has failed
        except BaseException:
            self._stop.set()
            raise
        finally:
            # For answers nobody waits here, which may be late: after an error they go nowhere.
            with self._gate:
                while self._delivering:
                    self._gate.wait()
        if work.error is not None:
            raise work.error
        if not work.finished:
            raise Stopped
        self._pool.join()
        self._tell()
        return work.progress()

    def _serve(self) -> None:
        """What each thread does."""
        while True:
            with self._pool.preparing():
                block = self._work.take()
                if block is None:
                    return
                epoch = self._pacer.take()
            self._pool.asks(more=self._work.more)
            data = self._get(block, epoch)
            if data is not None:
                self._deliver(block.index, data)
                self._work.done(len(data))
            self._pool.back()

    def _get(self, block: _Block, epoch: int) -> bytes | None:
        """One attempt. None if it failed and the block is in the queue again."""
        if block.began is None:
            block.began, block.read_before = self._clock.now(), self._work.blocks
        try:
            data = self._port.get(self._snapshot_id, block.index, block.token)
        except (TryAgain, NotFound) as error:
            self._try_again(block, block.began, error, epoch)
            return None
        except Invalid as error:
            if error.reason != OLD_TOKEN:
                raise
            block.token = self._new_token(block.index, error)
            self._try_again(block, block.began, TryAgain(str(error)), epoch)
            return None
        self._pacer.acknowledged(epoch)
        self._patience.renew()
        return data

    def _new_token(self, index: int, error: Invalid) -> str:
        for _, token in listing(self._port, self._patience, self._snapshot_id, index, index + 1):
            return token
        raise error

    def _try_again(self, block: _Block, began: float, error: TryAgain | NotFound, epoch: int) -> None:
        now = self._clock.now()
        throttled = self._pacer.failed(error, now, epoch)
        self._patience.bear(error, began=began, absent_until=None)
        block.failures += not throttled
        if block.failures >= BLOCK_ATTEMPTS and self._work.blocks > block.read_before:
            raise CloudError(f"{error}; gave up after {block.failures} failed attempts") from error
        due = now if throttled else now + pause(block.failures, first=FIRST_WAIT)
        self._work.again(block, due, throttled=throttled, reason=str(error))

    def _deliver(self, index: int, data: bytes) -> None:
        with self._gate:
            if self._stop.is_set():
                raise Stopped
            self._delivering += 1
        try:
            self._deliver_to(index, data)
        finally:
            with self._gate:
                self._delivering -= 1
                self._gate.notify_all()

    def _tell(self) -> None:
        self._told = self._clock.now()
        self._tell_to(self._work.progress())
