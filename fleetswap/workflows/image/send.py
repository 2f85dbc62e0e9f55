"""Sends blocks of a disk into a snapshot: reads and hashes them, keeps to the quota's pace, and retries where that may
help.

It decides how many threads, connections and buffers there are, and what each failure leads to. It does not decide which
blocks there are, never calls AWS itself, and keeps no record of what was acknowledged.

A block goes through three stages in one thread: it is prepared (read, hashed, held until the pace lets it go), it is
written, its response is awaited. One more thread than the process has cores prepares at once: that is the stage that
computes. A thread is started only when all the others are past it, so there are hardly more threads than requests in
flight. A block that failed gives up its buffer, waits in a queue and is read again; no thread waits with it.

Memory: at most `BUFFERS` blocks of 512 KiB, or as many as it is given, and a connection with its thread per request in
flight, whatever the size of the image.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType

from fleetswap.domain.errors import FleetswapError, NotFound, TryAgain
from fleetswap.domain.image.blocks import BLOCK_SIZE, digest
from fleetswap.domain.image.meter import Progress
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.image.hashes import Hashes
from fleetswap.workflows.image.pacer import Pacer
from fleetswap.workflows.image.pool import Buffers, Pool
from fleetswap.workflows.image.ports import BlockSource, Connection, Puts
from fleetswap.workflows.image.work_queue import Item, Work
from fleetswap.workflows.retry import Patience, Stopped, pause

CONNECTIONS = 160
"""Requests on their way at once, at most: 1,000/s need 100 of them if an answer takes 100 ms, as AWS says that it does
(EBS user guide, "Optimize performance" of the direct APIs), and some more while the time varies."""

BUFFERS = 32
"""Blocks in memory at once, at most: 16 MiB. A block that waits for its answer needs none, and more blocks that wait
for the line would not make the line faster."""

TELL_SECONDS = 0.25
"""Least time between two calls of `tell`."""

FIRST_WAIT = 0.05
"""Seconds: the longest wait of a block after its first failure. Short, because the pace already slows down when nothing
succeeds, and a block that fails at the end keeps the whole upload waiting."""

ZEROS = bytes(BLOCK_SIZE)


@dataclass(order=True)
class _Block(Item):
    """A block to send."""

    digest: bytes | None = field(default=None, compare=False)
    """None before it was read for the first time."""


@dataclass
class _Parcel:
    """A block that may go: its bytes, and the buffer that they are in; None if it is of no use any more."""

    item: _Block
    digest: bytes
    block: bytes | bytearray
    buffer: bytearray | None
    epoch: int = 0
    sent: bool = False


@dataclass(frozen=True)
class _Job:
    """What the threads of one run share."""

    work: Work[_Block]
    source: BlockSource
    wanted: Callable[[int, bytes], bool]
    acknowledged: Callable[[int, bytes], None]
    hashes: Hashes | None


class Sender:
    """Sends into one snapshot: `run` for the image, and `run` again for what comes after it. A context manager.

    Connections, buffers and what was learned of the quota are kept from run to run.
    """

    def __init__(
        self,
        puts: Puts,
        snapshot_id: str,
        *,
        patience: Patience,
        clock: Clock,
        absent_until: float,
        stop: threading.Event,
        connections: int = CONNECTIONS,
        buffers: int = BUFFERS,
    ) -> None:
        """`stop` ends everything at once; the first error sets it too. `NotFound` is final after `absent_until`.

        `buffers` is how many blocks are in memory at once, at most.
        """
        self._puts = puts
        self._snapshot_id = snapshot_id
        self._patience = patience
        self._clock = clock
        self._absent_until = absent_until
        self._stop = stop
        self._connections = connections
        self._preparing = len(os.sched_getaffinity(0)) + 1
        self._buffers = Buffers(buffers, stop)
        self._pacer = Pacer(clock, stop)
        self._open: list[Connection] = []
        self._spare: list[Connection] = []  # the one used last is on top: it is the likeliest to be open still
        self._lock = threading.Lock()  # of the two above

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hang_up()

    def run(
        self,
        source: BlockSource,
        indexes: Iterable[int],
        *,
        wanted: Callable[[int, bytes], bool],
        acknowledged: Callable[[int, bytes], None],
        tell: Callable[[Progress], None],
        hashes: Hashes | None = None,
    ) -> None:
        """Send those blocks of `source` that are `wanted`, in about this order; return when all are acknowledged.

        `wanted` is asked once for each block, with its index and raw SHA-256, and `acknowledged` is told once, both in
        any of the threads, several at a time. A block of which `hashes` has the digest is not hashed, and not even read
        if it is not wanted; `hashes` gets the digests of all others. `tell` is called on the calling thread, once more
        at the end. When all threads have ended, the first error is raised: `GaveUp` if nothing succeeded for the time
        of `patience`, `FleetswapError` if the source changed, whatever `source` and the functions raise, or `Stopped`
        if `stop` was set from outside.
        """
        total = len(indexes) if isinstance(indexes, Sized) else 0
        work = Work(self._clock, self._stop, (_Block(0.0, index) for index in indexes), total=total)
        job = _Job(work, source, wanted, acknowledged, hashes)
        pool = Pool(
            lambda: self._serve(job, pool),
            work.fail,
            self._clock,
            name="send",
            preparing=self._preparing,
            limit=self._connections,
        )
        try:
            pool.start()
            while not work.over.wait(TELL_SECONDS) and not self._stop.is_set():
                tell(work.progress())
        except BaseException:
            self._stop.set()  # Ctrl-C is not hidden by what it caused
            raise
        finally:
            if self._stop.is_set():
                self._hang_up()
            pool.join()
        if work.error is not None:
            raise work.error
        if not work.finished:
            raise Stopped
        tell(work.progress())

    def _serve(self, job: _Job, pool: Pool) -> None:
        """What each thread does."""
        with self._lock:
            connection = self._spare.pop() if self._spare else None
        if connection is None:
            connection = self._puts.connect()
            with self._lock:
                self._open.append(connection)
        while True:
            with pool.preparing():
                parcel = self._next(job)
            if parcel is None:
                break
            pool.sends(more=self._more(job))
            if self._put(job, pool, connection, parcel):
                job.acknowledged(parcel.item.index, parcel.digest)
                job.work.done(BLOCK_SIZE)
            pool.back()
        with self._lock:
            self._spare.append(connection)

    def _next(self, job: _Job) -> _Parcel | None:
        """A block whose turn it is, counted as on its way; None when all are done."""
        while (item := job.work.take()) is not None:
            if item.digest is None:
                parcel = self._first(item, job)
                if parcel is None:
                    job.work.done(0)
                    continue
            else:
                parcel = self._load(item, job)
                if item.digest != parcel.digest:
                    job.source.check_unchanged()
                    raise FleetswapError(
                        f"block {item.index} changed while it was sent: run again when nothing writes to it"
                    )
            parcel.epoch = self._pacer.take()
            return parcel
        return None

    def _first(self, item: _Block, job: _Job) -> _Parcel | None:
        """The block, which is looked at for the first time; None if it is not wanted."""
        known = job.hashes.get(item.index) if job.hashes is not None else None
        if known is not None:
            item.digest = known
            # If it is not what was hashed, EBS refuses it: the digest goes with the block.
            return self._load(item, job, known) if job.wanted(item.index, known) else None
        parcel = self._load(item, job)
        item.digest = parcel.digest
        if job.wanted(item.index, item.digest):
            return parcel
        self._release(parcel)
        return None

    def _load(self, item: _Block, job: _Job, known: bytes | None = None) -> _Parcel:
        """Read a block, and hash it unless its digest is known."""
        if job.source.is_zero(item.index):
            # To read a hole costs more than to read data: the kernel makes pages for it.
            job.source.check_unchanged()  # which reading would have noticed
            return _Parcel(item, _digest_of(0), ZEROS, None)
        buffer = self._buffers.take()
        if known is None and job.hashes is not None and item.digest is None:
            known = self._read_and_hash(item.index, buffer, job.source, job.hashes)
        else:
            job.source.read(item.index, buffer)
        return _Parcel(item, known or _digest(buffer), buffer, buffer)

    def _read_and_hash(self, index: int, buffer: bytearray, source: BlockSource, hashes: Hashes) -> bytes:
        # The buffer was taken before: who waits for a slow service must not keep the others from this block.
        with hashes.turn(index) as known:
            source.read(index, buffer)
            if known is not None:
                return known
            made = _digest(buffer)
            hashes.put(index, made)
            return made

    def _more(self, job: _Job) -> bool:
        """Whether another thread would find something to do, as far as one can tell."""
        return job.work.more and self._buffers.available

    def _release(self, parcel: _Parcel) -> None:
        """The block's bytes are not needed any more. To repeat it is harmless."""
        buffer, parcel.buffer = parcel.buffer, None
        if buffer is not None:
            self._buffers.give(buffer)

    def _put(self, job: _Job, pool: Pool, connection: Connection, parcel: _Parcel) -> bool:
        """One attempt. False if it failed and goes back into the queue."""
        item = parcel.item

        def sent() -> None:
            if not parcel.sent:
                parcel.sent = True
                self._release(parcel)
                pool.waits(more=self._more(job))

        if item.began is None:
            item.began = self._clock.now()
        try:
            connection.put(self._snapshot_id, item.index, parcel.block, parcel.digest, sent)
        except (TryAgain, NotFound) as error:
            if self._stop.is_set():
                raise Stopped from error  # we hung up ourselves
            now = self._clock.now()
            throttled = self._pacer.failed(error, now, parcel.epoch)
            self._patience.bear(error, began=item.began, absent_until=self._absent_until)
            sent()
            item.failures += not throttled
            job.work.again(
                item,
                now if throttled else now + pause(item.failures, first=FIRST_WAIT),
                throttled=throttled,
                reason=str(error),
            )
            return False
        self._pacer.acknowledged(parcel.epoch)
        self._patience.renew()
        return True

    def _hang_up(self) -> None:
        with self._lock:
            connections, self._open, self._spare = self._open, [], []
        for connection in connections:
            connection.close()


def _digest(buffer: bytearray) -> bytes:
    byte = buffer[0]
    # To compare data ends at the first byte that differs; to compare a constant costs a tenth of hashing it.
    if buffer[-1] == byte and buffer == (ZEROS if byte == 0 else bytes([byte]) * BLOCK_SIZE):
        return _digest_of(byte)
    return digest(buffer)


@cache
def _digest_of(byte: int) -> bytes:
    return digest(bytes([byte]) * BLOCK_SIZE)
