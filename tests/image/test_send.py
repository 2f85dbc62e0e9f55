"""The sender: what reaches the service whatever fails, what is in memory, and how it ends."""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap.domain.errors import CloudError, FleetswapError, NotFound, Throttled, TryAgain
from fleetswap.domain.image.blocks import BLOCK_SIZE, digest
from fleetswap.domain.image.meter import Progress
from fleetswap.workflows.image.pool import SENDING, STUCK_SECONDS
from fleetswap.workflows.image.send import BUFFERS, Sender
from fleetswap.workflows.image.work_queue import Item, Work
from fleetswap.workflows.retry import GaveUp, Patience, Stopped
from tests.fakes.ebs import FakeClock, nothing

PATIENCE = 300.0


class FakeSource:
    """A disk whose blocks are told apart by their first bytes; those in `constant` are all of one byte."""

    def __init__(self, constant: dict[int, int] | None = None) -> None:
        self.constant = constant or {}
        self.reads: list[int] = []
        self.on_read: Callable[[int], None] = nothing
        self.changed = False
        self.buffers: set[int] = set()

    def content(self, index: int) -> bytes:
        if index in self.constant:
            return bytes([self.constant[index]]) * BLOCK_SIZE
        mark = index.to_bytes(8, "big") + self.changed.to_bytes(1, "big") + b"data"
        return mark + bytes(BLOCK_SIZE - len(mark) - 1) + b"\1"

    def read(self, index: int, into: bytearray) -> None:
        self.on_read(index)
        self.reads.append(index)
        self.buffers.add(id(into))
        into[:] = self.content(index)

    def is_zero(self, index: int) -> bool:  # noqa: ARG002 (as of any source)
        return False

    def check_unchanged(self) -> None:
        if self.changed:
            raise FleetswapError("the image changed")


class FakePuts:
    """Keeps what it is sent, checks its digest, and fails as `before` (nothing kept) and `after` (kept) say."""

    def __init__(self) -> None:
        self.held: dict[int, bytes] = {}
        self.attempts = 0
        self.lines = 0
        self.closed = 0
        self.before: Callable[[int, int], None] = nothing
        self.after: Callable[[int, int], None] = nothing
        self.lock = threading.Lock()

    def connect(self) -> FakeLine:
        with self.lock:
            self.lines += 1
        return FakeLine(self)


class FakeLine:
    def __init__(self, puts: FakePuts) -> None:
        self._puts = puts

    def put(
        self, snapshot_id: str, index: int, block: bytes | bytearray, checksum: bytes, sent: Callable[[], None]
    ) -> None:
        assert snapshot_id == "snap-1"
        with self._puts.lock:
            self._puts.attempts += 1
            attempt = self._puts.attempts
        self._puts.before(attempt, index)
        assert digest(block) == checksum, "the buffer was given to another block while it was sent"
        with self._puts.lock:
            self._puts.held[index] = checksum
        sent()
        self._puts.after(attempt, index)

    def close(self) -> None:
        with self._puts.lock:
            self._puts.closed += 1


class HastyClock(FakeClock):
    """A clock by which a line seems slow whenever somebody looks: then threads are added."""

    def now(self) -> float:
        self.advance(STUCK_SECONDS)
        return super().now()


class Run:
    """A sender and all that it needs."""

    def __init__(
        self, *, connections: int = 8, absent_until: float = 0.0, cores: int = 2, clock: FakeClock | None = None
    ) -> None:
        self.puts = FakePuts()
        self.source = FakeSource()
        self.clock = clock or FakeClock()
        self.stop = threading.Event()
        self.patience = Patience(self.clock, self.stop, seconds=PATIENCE)
        self.acknowledged: list[tuple[int, bytes]] = []
        self.told: list[Progress] = []
        self.sender = Sender(
            self.puts,
            "snap-1",
            patience=self.patience,
            clock=self.clock,
            absent_until=absent_until,
            stop=self.stop,
            connections=connections,
        )
        self.sender._preparing = min(cores + 1, connections)  # whatever machine this is

    def __call__(self, count: int, wanted: Callable[[int, bytes], bool] = lambda *_: True) -> None:
        with self.sender:
            self.again(range(count), wanted)

    def again(self, indexes: range, wanted: Callable[[int, bytes], bool] = lambda *_: True) -> None:
        self.sender.run(
            self.source,
            indexes,
            wanted=wanted,
            acknowledged=lambda index, checksum: self.acknowledged.append((index, checksum)),
            tell=self.told.append,
        )

    @property
    def good(self) -> bool:
        """Whether everything was kept and told, once."""
        wanted = {index: digest(self.source.content(index)) for index in self.puts.held}
        return self.puts.held == wanted and sorted(self.acknowledged) == sorted(wanted.items())


@pytest.fixture
def run() -> Run:
    return Run()


def senders() -> list[str]:
    """The sender's threads that are left; other tests of the process may have threads of their own."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("send-")]


def test_every_block_arrives(run: Run) -> None:
    """A snapshot would lack a block, hold one under another's index, or its record be wrong."""
    run(60)
    assert run.good
    assert sorted(run.puts.held) == list(range(60))
    last = run.told[-1]
    assert (last.done, last.total, last.blocks, last.bytes) == (60, 60, 60, 60 * BLOCK_SIZE)
    assert (last.throttled, last.retried) == (0, 0)
    assert run.puts.closed == run.puts.lines <= 8
    assert senders() == []


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(0, 40),
    faults=st.floats(0, 0.6),
    connections=st.integers(1, 12),
    skip=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_whatever_fails_every_wanted_block_arrives(
    count: int, faults: float, connections: int, skip: int, seed: int
) -> None:
    """Some order of failures would lose a block, tell it twice, or never end."""
    run, dice = Run(connections=connections), random.Random(seed)  # noqa: S311 (faults, not a secret)

    def fail(*_: int) -> None:
        if dice.random() < faults / 2:
            raise dice.choice([TryAgain("500"), Throttled("throttled")])

    run.puts.before = run.puts.after = fail
    run.source.constant = {1: 0, 2: 255, 5: 0}
    run(count, lambda index, _: index % skip == 0)
    assert run.good
    assert sorted(run.puts.held) == list(range(0, count, skip))
    last = run.told[-1]
    assert (last.done, last.blocks, last.retried) == (count, len(run.puts.held), run.puts.attempts - last.blocks)


def test_what_is_not_wanted_is_not_sent(run: Run) -> None:
    """An incremental upload would send everything, or ask about blocks by a wrong digest."""
    asked: dict[int, bytes] = {}

    def wanted(index: int, checksum: bytes) -> bool:
        asked[index] = checksum
        return index == 3

    run(10, wanted)
    assert asked == {index: digest(run.source.content(index)) for index in range(10)}
    assert list(run.puts.held) == [3]
    assert (run.told[-1].done, run.told[-1].blocks) == (10, 1)


def test_constant_blocks_are_known_without_hashing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is mostly empty would cost as much as a full one; or a digest be wrong, and EBS refuse it."""
    hashed: list[int] = []

    def counted(block: bytes | bytearray) -> bytes:
        hashed.append(block[0])
        return digest(block)

    monkeypatch.setattr("fleetswap.workflows.image.send.digest", counted)
    run.source.constant = dict.fromkeys(range(20), 0) | {20: 7, 21: 7, 22: 255}
    run(25)
    assert run.good
    assert len(hashed) <= 2 + 3, "two blocks of data, and each constant at most once in the process"


class KnowingSource(FakeSource):
    """One that knows of its zeros, as an image file does of its holes."""

    def is_zero(self, index: int) -> bool:
        return self.constant.get(index) == 0


def test_known_zeros_are_sent_without_reading_them(run: Run) -> None:
    """A sparse image would cost as much as a full one, or lack its zeros."""
    run.source = KnowingSource(dict.fromkeys(range(1, 200), 0))
    run.puts.before = lambda attempt, _: _throttle(attempt % 7 == 0)
    run(201)
    assert run.good
    assert len(run.puts.held) == 201
    assert set(run.source.reads) == {0, 200}


def test_a_block_that_only_looks_constant_is_hashed(run: Run) -> None:
    """A block of zeros with one byte in its middle would be sent as zeros."""
    odd = bytearray(BLOCK_SIZE)
    odd[BLOCK_SIZE // 2] = 1
    run.source.content = lambda index: bytes(odd)  # type: ignore[method-assign]  # noqa: ARG005
    run(2)
    assert run.good


def test_memory_is_bounded() -> None:
    """A slow line, or many connections, would bring half the image into memory."""
    run = Run(connections=64, clock=HastyClock())
    begun, go = threading.Semaphore(0), threading.Event()

    def hold(*_: int) -> None:
        begun.release()
        assert go.wait(60)

    run.puts.before = hold
    worker = threading.Thread(target=run, args=(100,))
    worker.start()
    for _ in range(BUFFERS):
        assert begun.acquire(timeout=60)
    assert not begun.acquire(timeout=0.2), "one more block is sent than there are buffers"
    go.set()
    worker.join()
    assert run.good
    assert len(run.source.buffers) <= BUFFERS


def test_a_block_that_waits_for_its_answer_holds_no_buffer() -> None:
    """At 100 ms for an answer, 1,000 blocks a second would need 50 MiB of buffers, or not be reached."""
    run = Run(connections=64)
    waiting, go = threading.Semaphore(0), threading.Event()

    def hold(*_: int) -> None:
        waiting.release()
        assert go.wait(60)

    run.puts.after = hold
    worker = threading.Thread(target=run, args=(100,))
    worker.start()
    for _ in range(64):
        assert waiting.acquire(timeout=60)
    go.set()
    worker.join()
    assert run.good
    assert len(run.source.buffers) < BUFFERS


def test_connections_are_opened_as_they_are_needed() -> None:
    """Each of many threads would cost a handshake where a few are as fast; or a slow line never get more than those."""
    run = Run(connections=64, cores=1)
    begun, go = threading.Semaphore(0), threading.Event()

    def hold(*_: int) -> None:
        begun.release()
        assert go.wait(60)

    run.puts.before = hold
    worker = threading.Thread(target=run, args=(100,))
    worker.start()
    for _ in range(SENDING):
        assert begun.acquire(timeout=60)
    assert not begun.acquire(timeout=0.2), "more threads send than the machine has use for"
    run.clock.advance(STUCK_SECONDS)
    go.set()
    worker.join()
    assert run.good
    assert run.puts.lines > SENDING


def test_what_was_learned_is_kept_from_run_to_run(run: Run) -> None:
    """The map would be sent over new connections, at a pace that was already found to be too fast."""
    with run.sender:
        run.puts.before = lambda attempt, _: _throttle(attempt <= 1)
        run.again(range(20))
        rate, lines = run.sender._pacer.pace.rate, run.puts.lines
        assert rate < 1000
        run.again(range(20, 24))
        assert run.sender._pacer.pace.rate < 1000
        assert run.puts.lines <= max(lines, 8)
    assert run.good
    assert run.told[-1].done == 4


def _throttle(really: bool) -> None:  # noqa: FBT001 (a helper)
    if really:
        raise Throttled("slower")


def test_throttles_are_no_failures() -> None:
    """A busy account would fail an upload although it makes progress."""
    run = Run(connections=2)

    def throttled(attempt: int, _: int) -> None:
        run.clock.advance(PATIENCE / 20)
        _throttle(attempt % 8 != 0)

    run.puts.before = throttled
    run(12)
    assert run.good
    assert run.clock.now() > PATIENCE
    assert run.told[-1].throttled == run.told[-1].retried == 12 * 7


@pytest.mark.parametrize("error", [Throttled("slower"), TryAgain("503")])
def test_silence_is_given_up(run: Run, error: TryAgain) -> None:
    """An outage would hang the deploy for ever, or be told without the last answer."""

    def fail(*_: int) -> None:
        raise error

    run.puts.before = fail
    with pytest.raises(GaveUp, match=rf"^{error}; gave up after 300 s without a success$"):
        run(10)
    assert run.clock.now() >= PATIENCE
    assert run.puts.closed == run.puts.lines
    assert run.puts.attempts < 10_000, "a service in trouble is not hammered"


def test_time_without_attempts_is_not_silence(run: Run) -> None:
    """After minutes of hashing what the parent has already, the first fault would be final."""
    run.source.on_read = lambda _: run.clock.advance(PATIENCE)

    def fail(attempt: int, _: int) -> None:
        if attempt == 1:
            raise TryAgain("500")

    run.puts.before = fail
    run(5, lambda index, _: index == 4)
    assert run.good


def test_a_refusal_ends_everything(run: Run) -> None:
    """A missing permission would be found once for each block, or the first error be hidden by what it caused."""
    refusal = CloudError("access denied")

    def fail(attempt: int, _: int) -> None:
        if attempt == 3:
            raise refusal
        if attempt > 3:
            raise TryAgain("the connection is closed")

    run.puts.before = fail
    with pytest.raises(CloudError) as caught:
        run(1000)
    assert caught.value is refusal
    assert run.stop.is_set()
    assert run.puts.attempts < 1000
    assert run.puts.closed == run.puts.lines
    assert senders() == []


def test_absent_is_waited_for_only_while_new() -> None:
    """A snapshot that is gone would be waited for like one that is new, or a new one not at all."""
    run = Run(absent_until=120.0)

    def fail(*_: int) -> None:
        if run.clock.now() < 100:
            run.clock.advance(10)
            raise NotFound("does not exist")

    run.puts.before = fail
    run(5)
    assert run.good
    run = Run(absent_until=120.0)
    run.puts.before = lambda *_: _raise(NotFound("does not exist"))
    with pytest.raises(NotFound):
        run(5)
    assert 120 <= run.clock.now() < PATIENCE


def _raise(error: BaseException) -> None:
    raise error


def _never(error: BaseException) -> bool:
    raise error


def test_a_block_that_changed_meanwhile_is_noticed(run: Run) -> None:
    """The snapshot would hold a mixture of two images, and its checksum say that all is well."""

    def fail(attempt: int, _: int) -> None:
        if attempt == 1:
            run.source.changed = True
            raise TryAgain("500")

    run.puts.before = fail
    with pytest.raises(FleetswapError, match="the image changed"):
        run(1)


def test_a_hole_that_was_filled_meanwhile_is_noticed(run: Run) -> None:
    """The same, for a block that was not read the first time."""
    run.source = KnowingSource({0: 0})

    def fail(attempt: int, _: int) -> None:
        if attempt == 1:
            run.source.constant = {}
            run.source.changed = True
            raise TryAgain("500")

    run.puts.before = fail
    with pytest.raises(FleetswapError, match="the image changed"):
        run(1)


def test_a_change_that_the_source_does_not_notice_is_noticed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write within the file system's time stamp would go unnoticed."""
    monkeypatch.setattr(run.source, "check_unchanged", nothing)

    def fail(attempt: int, _: int) -> None:
        if attempt == 1:
            run.source.changed = True
            raise TryAgain("500")

    run.puts.before = fail
    with pytest.raises(FleetswapError, match="block 0 changed while it was sent"):
        run(1)


@pytest.mark.parametrize("where", ["read", "wanted", "acknowledged", "indexes", "tell"])
def test_what_others_raise_is_raised(run: Run, where: str) -> None:
    """An unreadable disk or a full one under the journal would hang the upload, or be taken for a success."""
    error = OSError("No space left on device")
    if where == "read":
        run.source.on_read = lambda _: _raise(error)

    def indexes() -> Iterator[int]:
        yield 0
        if where == "indexes":
            raise error

    with pytest.raises(OSError, match="No space left") as caught, run.sender:
        run.sender.run(
            run.source,
            indexes(),
            wanted=lambda *_: _never(error) if where == "wanted" else True,
            acknowledged=lambda *_: _raise(error) if where == "acknowledged" else None,
            tell=lambda _: _raise(error) if where == "tell" else None,
        )
    assert caught.value is error
    assert senders() == []


def test_stop_from_outside_ends_everything(run: Run) -> None:
    """A deploy that was cancelled would go on uploading, or be told as finished."""
    held = threading.Event()

    def hold(*_: int) -> None:
        held.set()
        assert run.stop.wait(60)
        raise TryAgain("the connection is closed")

    run.puts.before = hold
    told: list[BaseException] = []

    def work() -> None:
        try:
            run(100)
        except Stopped as stopped:
            told.append(stopped)

    thread = threading.Thread(target=work)
    thread.start()
    assert held.wait(60)
    run.stop.set()
    thread.join(60)
    assert len(told) == 1
    assert run.puts.closed == run.puts.lines


def test_ctrl_c_ends_everything(run: Run) -> None:
    """Ctrl-C would be followed by minutes of uploading, or be hidden by the error that it causes."""

    def hold(*_: int) -> None:
        assert run.stop.wait(60)
        raise TryAgain("the connection is closed")

    run.puts.before = hold
    with pytest.raises(KeyboardInterrupt), run.sender:
        run.sender.run(
            run.source,
            range(100),
            wanted=lambda *_: True,
            acknowledged=nothing,
            tell=lambda _: _raise(KeyboardInterrupt()),
        )
    assert senders() == []
    assert run.puts.closed == run.puts.lines


def test_a_machine_short_of_threads_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on threads, as containers have, would end an upload that could go on with fewer."""
    real, started = threading.Thread.start, itertools.count(1)

    def start(thread: threading.Thread) -> None:
        if next(started) > 2:
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    run(30)
    assert run.good


def test_only_the_cores_that_the_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container with one core of a large machine, the threads would get into each other's way."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
    run = Run()
    sender = Sender(
        run.puts, "snap-1", patience=run.patience, clock=run.clock, absent_until=0, stop=run.stop, connections=8
    )
    assert sender._preparing == 4


def test_why_nothing_moves_is_told() -> None:
    """With a line that swallows requests, the last blocks would take half a minute and nobody knew why."""
    clock = FakeClock()
    work = Work(clock, threading.Event(), (Item(0.0, index) for index in range(3)))
    first, second = work.take(), work.take()
    assert first is not None
    assert second is not None
    assert work.progress().trouble == ""
    clock.advance(6)
    assert work.progress().trouble == "no request succeeded for 6 s, 2 in flight"
    work.again(first, clock.now() + 1, throttled=False, reason="writing block 0: no progress for 30 s")
    told = "no request succeeded for 6 s, 1 in flight; last failure: writing block 0: no progress for 30 s"
    assert work.progress().trouble == told
    work.done(BLOCK_SIZE)
    assert work.progress().trouble == ""
