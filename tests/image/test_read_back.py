"""A snapshot is read whole, once, in bounded memory, through throttles and failures; or the first error is told."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap.domain.errors import CloudError, Invalid, NotFound, Throttled, TryAgain
from fleetswap.domain.image.meter import Progress
from fleetswap.domain.image.snapshots import Page
from fleetswap.workflows.image import read_back as module
from fleetswap.workflows.image.block_list import listing, look
from fleetswap.workflows.image.read_back import read_back
from fleetswap.workflows.retry import GaveUp, Patience, Stopped
from tests.fakes.ebs import BLOCK, FakeClock, disk_bytes, nothing
from tests.fakes.reads import SNAPSHOT, Finished, mapped


def patience(clock: FakeClock, stop: threading.Event | None = None, seconds: float = 300.0) -> Patience:
    return Patience(clock, stop or threading.Event(), seconds=seconds)


def read(port: Finished, *, connections: int = 4, seconds: float = 300.0) -> tuple[dict[int, bytes], Progress]:
    clock, stop, got = FakeClock(), threading.Event(), dict[int, bytes]()
    lock = threading.Lock()

    def deliver(index: int, data: bytes) -> None:
        with lock:
            assert index not in got
            got[index] = data

    patient = patience(clock, stop, seconds)
    reading = read_back(
        port,
        SNAPSHOT,
        listing(port, patience(clock, stop, seconds), SNAPSHOT, 0),
        deliver,
        patience=patient,
        clock=clock,
        stop=stop,
        total=port.volume_gib * 2048,
        tell=nothing,
        connections=connections,
    )
    return got, reading


def some(indexes: range | list[int], size: int = 4) -> dict[int, bytes]:
    return {index: index.to_bytes(size, "big") for index in indexes}


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 2047), max_size=40), st.integers(1, 7), st.integers(1, 9))
def test_every_block_is_delivered_once(indexes: set[int], page: int, connections: int) -> None:
    """A block would be lost or come twice: at a page's end, on an empty page, or with many threads."""
    port = Finished(some(sorted(indexes)), page=page)
    got, reading = read(port, connections=connections)
    assert got == port.held
    assert sorted(port.gets) == sorted(indexes)
    assert (reading.done, reading.total, reading.blocks) == (2048, 2048, len(indexes))


def test_no_more_requests_than_connections() -> None:
    """Memory would grow with the snapshot."""
    port = Finished(some(range(200)), page=50)
    meeting = threading.Barrier(4, timeout=20)

    def wait_for_the_others(operation: str, index: int) -> None:
        if operation == "get" and index < 4:
            meeting.wait()

    port.before = wait_for_the_others
    read(port)
    assert port.most_at_once == 4


def test_the_list_is_not_read_ahead_of_the_blocks() -> None:
    """The tokens of a large snapshot would all be in memory, and grow old in the queue."""
    port = Finished(some(range(500)), page=1)
    listed, gate = [0], threading.Event()

    def count(operation: str, index: int) -> None:
        if operation == "list":
            listed[0] = max(listed[0], index)
            if index > 100:
                gate.set()
        elif not gate.wait(0.5):
            gate.set()

    port.before = count
    clock, stop = FakeClock(), threading.Event()
    seen = []

    def deliver(_index: int, _data: bytes) -> None:
        seen.append(listed[0])

    blocks = listing(port, patience(clock), SNAPSHOT, 0)
    read_back(
        port,
        SNAPSHOT,
        blocks,
        deliver,
        patience=patience(clock, stop),
        clock=clock,
        stop=stop,
        total=2048,
        tell=nothing,
        connections=2,
    )
    assert seen[0] < 20


def test_throttles_and_failures_are_gone_through() -> None:
    """An upload that went well could not be read back on a bad day."""
    port = Finished(some(range(60)), page=10)
    seen: dict[tuple[str, int], int] = {}
    lock = threading.Lock()

    def fail(operation: str, index: int) -> None:
        with lock:
            count = seen[operation, index] = seen.get((operation, index), 0) + 1
        if count == 1:
            raise Throttled("ThrottlingException")
        if count == 2 and index % 3 == 0:
            raise TryAgain("the response was truncated")

    port.before = fail
    got, reading = read(port)
    assert got == port.held
    assert (reading.throttled, reading.retried) == (60, 80)


def test_a_long_throttle_is_no_error_as_long_as_anything_is_read() -> None:
    """A throttle would count as silence."""
    port = Finished(some(range(40)))
    lock, count = threading.Lock(), [0]

    def fail(operation: str, _index: int) -> None:
        with lock:
            count[0] += 1
            if operation == "get" and count[0] % 50:
                raise Throttled("ThrottlingException")

    port.before = fail
    got, _ = read(port, seconds=1_000.0)
    assert got == port.held


def test_throttles_of_one_block_are_not_counted_as_its_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that meets the quota a few times would be given up as damaged."""
    port = Finished(some(range(9)))
    monkeypatch.setattr(module, "BLOCK_ATTEMPTS", 3)
    left = [6]

    def fail(operation: str, index: int) -> None:
        if operation == "get" and index == 4 and left[0]:
            left[0] -= 1
            raise Throttled("ThrottlingException")

    port.before = fail
    got, reading = read(port)
    assert got == port.held
    assert reading.throttled == 6


def test_what_is_read_renews_the_budget() -> None:
    """A large snapshot would be given up in the middle, although all goes well."""
    port = Finished(some(range(12)))
    clock, stop = FakeClock(), threading.Event()
    renewed: list[None] = []

    class Counted(Patience):
        def renew(self) -> None:
            renewed.append(None)

    read_back(
        port,
        SNAPSHOT,
        listing(port, patience(clock), SNAPSHOT, 0),
        nothing,
        patience=Counted(clock, stop, seconds=10.0),
        clock=clock,
        stop=stop,
        total=2048,
        tell=nothing,
    )
    assert len(renewed) == 12


def test_silence_is_given_up() -> None:
    """A read from a service that is down would never end."""
    port = Finished(some(range(9)))

    def fail(operation: str, index: int) -> None:
        if operation == "get":
            raise TryAgain(f"reading block {index}: 503")

    port.before = fail
    with pytest.raises(GaveUp, match="gave up after 300 s without a success"):
        read(port)


def test_one_block_that_cannot_be_read_is_named_while_the_others_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """One damaged block would be asked for for ever, or until the budget of silence is spent after all the others."""
    port = Finished(some(range(9)))
    monkeypatch.setattr(module, "BLOCK_ATTEMPTS", 3)

    def fail(operation: str, index: int) -> None:
        if operation == "get" and index == 4:
            raise TryAgain("reading block 4: the data does not have the checksum that came with it")

    port.before = fail
    with pytest.raises(CloudError, match=r"block 4: .*checksum.*3 failed attempts") as caught:
        read(port)
    assert not isinstance(caught.value, TryAgain | GaveUp)


def test_old_tokens_are_asked_for_anew() -> None:
    """A read that takes long, or beside another one, would end in a refusal."""
    port = Finished(some(range(12)), page=12)
    give, lists, lock = port.get, port.list_blocks, threading.Lock()
    listed = [0]

    def old_at_first(snapshot_id: str, start: int, page: str | None) -> Page:
        answer = lists(snapshot_id, start, page)
        with lock:
            listed[0] += 1
            old = listed[0] == 1
        return Page([(index, f"old {token}") for index, token in answer.blocks], None, 1) if old else answer

    def refuse_old(snapshot_id: str, index: int, token: str) -> bytes:
        if token.startswith("old"):
            raise Invalid("ValidationException: wrong token", "INVALID_BLOCK_TOKEN")
        return give(snapshot_id, index, token)

    port.list_blocks, port.get = old_at_first, refuse_old  # type: ignore[method-assign]
    got, reading = read(port)
    assert got == port.held
    assert reading.retried == 12


def test_a_list_that_goes_back_gives_no_block_twice() -> None:
    """A block would be read twice, or a list that never advances be walked for ever."""
    port = Finished(some(range(4)))
    blocks = [(index, f"{SNAPSHOT}/{index}") for index in range(4)]
    pages = [Page(blocks[:2], "more", 1), Page(blocks[1:3], "more", 1), Page(blocks, None, 1)]
    port.list_blocks = lambda *_: pages.pop(0)  # type: ignore[method-assign]
    assert [index for index, _ in listing(port, patience(FakeClock()), SNAPSHOT, 0)] == [0, 1, 2, 3]


@pytest.mark.parametrize("reason", ["INVALID_BLOCK_TOKEN", "INVALID_SNAPSHOT_ID"])
def test_a_token_that_is_refused_again_and_again_is_told(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    """A refusal would be tried for ever."""
    monkeypatch.setattr(module, "BLOCK_ATTEMPTS", 3)
    port = Finished(some(range(9)))

    def fail(what: str, index: int) -> None:
        if what == "get" and index == 6:
            raise Invalid("ValidationException: not this", reason)

    port.before = fail
    with pytest.raises(CloudError, match="not this"):
        read(port)


@pytest.mark.parametrize("operation", ["list", "get"])
def test_a_refusal_is_told_at_once(operation: str) -> None:
    """A missing permission would be tried again, or hidden by what it caused."""
    port = Finished(some(range(30)))

    def fail(what: str, index: int) -> None:
        if what == operation and index >= 6:
            raise CloudError("access denied: allow ebs:GetSnapshotBlock")

    port.before = fail
    with pytest.raises(CloudError, match="access denied"):
        read(port)


def test_a_snapshot_that_is_deleted_meanwhile_is_told_at_once() -> None:
    """A deleted snapshot would be waited for."""
    port = Finished(some(range(30)))

    def fail(what: str, index: int) -> None:
        if what == "get" and index >= 6:
            raise NotFound("snapshot snap-0123 does not exist")

    port.before = fail
    with pytest.raises(NotFound):
        read(port)


def test_what_the_receiver_raises_comes_out_and_nothing_is_delivered_after_it() -> None:
    """A full disk would be hidden, or a file written to after it was closed."""
    port = Finished(some(range(100)))
    clock, stop, returned = FakeClock(), threading.Event(), threading.Event()
    late = []

    def deliver(index: int, _data: bytes) -> None:
        if returned.is_set():
            late.append(index)
        if index == 5:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        read_back(
            port,
            SNAPSHOT,
            listing(port, patience(clock), SNAPSHOT, 0),
            deliver,
            patience=patience(clock, stop),
            clock=clock,
            stop=stop,
            total=2048,
            tell=nothing,
        )
    returned.set()
    assert stop.is_set()
    assert not late


def test_whoever_delivers_is_waited_for() -> None:
    """A file would be closed, and another opened in its place, while a block is written to it."""
    port = Finished(some(range(2)))
    clock, stop, both = FakeClock(), threading.Event(), threading.Barrier(2, timeout=20)
    written = []

    def deliver(index: int, _data: bytes) -> None:
        both.wait()
        if index == 1:
            raise OSError(28, "No space left on device")
        stop.wait(20)
        written.append(index)

    with pytest.raises(OSError, match="No space"):
        read_back(
            port,
            SNAPSHOT,
            listing(port, patience(clock), SNAPSHOT, 0),
            deliver,
            patience=patience(clock, stop),
            clock=clock,
            stop=stop,
            total=2048,
            tell=nothing,
            connections=2,
        )
    assert written == [0]


def test_an_interrupt_waits_for_no_answer() -> None:
    """Ctrl-C would hang until the service answers."""
    port = Finished(some(range(100)))
    clock, stop, gate = FakeClock(), threading.Event(), threading.Event()
    delivered = []

    def hang(operation: str, _index: int) -> None:
        if operation == "get":
            gate.wait(30)

    def interrupt(_reading: Progress) -> None:
        raise KeyboardInterrupt

    port.before = hang
    try:
        with pytest.raises(KeyboardInterrupt):
            read_back(
                port,
                SNAPSHOT,
                listing(port, patience(clock), SNAPSHOT, 0),
                lambda index, _data: delivered.append(index),
                patience=patience(clock, stop),
                clock=clock,
                stop=stop,
                total=2048,
                tell=interrupt,
                connections=2,
            )
        assert not gate.is_set()
    finally:
        gate.set()
    for thread in threading.enumerate():
        if thread.name.startswith("read-"):
            thread.join(20)
    assert not delivered


def test_stopped_from_outside() -> None:
    """A read that was stopped would pass for a whole one."""
    port = Finished(some(range(100)))
    clock, stop = FakeClock(), threading.Event()
    with pytest.raises(Stopped):
        read_back(
            port,
            SNAPSHOT,
            listing(port, patience(clock), SNAPSHOT, 0),
            lambda _index, _data: stop.set(),
            patience=patience(clock, stop),
            clock=clock,
            stop=stop,
            total=2048,
            tell=nothing,
        )


def test_pages_are_asked_for_by_index() -> None:
    """A page's token would be used more than an hour after it was given, and refused."""
    port = Finished(some(range(0, 40, 2)), page=4)
    asked = []
    original = port.list_blocks

    def note(snapshot_id: str, start: int, page: str | None) -> Page:
        asked.append((start, page))
        return original(snapshot_id, start, page)

    port.list_blocks = note  # type: ignore[method-assign]
    assert [index for index, _ in listing(port, patience(FakeClock()), SNAPSHOT, 0)] == sorted(port.held)
    starts = [7, 15, 23, 31]  # odd: the fake's first answer is empty
    assert asked == [(0, None), *((start, page) for start in starts for page in (None, f"from {start}"))]
    assert [index for index, _ in listing(port, patience(FakeClock()), SNAPSHOT, 5, 13)] == [6, 8, 10, 12]


def test_the_map_is_found_from_the_snapshot_alone() -> None:
    """A download would not know the image's size."""
    content = disk_bytes(["data", "zero"], 5 * BLOCK + 512)
    found = look(mapped(content, holes=(1,)), SNAPSHOT, FakeClock(), seconds=30)
    assert found.block_map is not None
    assert (found.block_map.size, found.block_map.count, found.volume_gib) == (len(content), 6, 1)
    assert found.block_map.digest(1) is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda port: port.held.pop(2047), "is missing"),
        (lambda port: port.held.update({2047: bytes(BLOCK)}), "is missing"),
        (lambda port: port.held.update({2047: port.held[2047][:-1] + b"\1"}), "is damaged"),
        (lambda port: port.held.update({2047: b"\1" + port.held[2047][1:]}), "is damaged"),
    ],
)
def test_a_map_that_cannot_be_believed_is_no_map(change: object, problem: str) -> None:
    """A snapshot with a wrong map could not be read at all, or would be judged by it."""
    port = mapped(disk_bytes(["data"], 5 * BLOCK))
    change(port)  # type: ignore[operator]
    found = look(port, SNAPSHOT, FakeClock(), seconds=30)
    assert found.block_map is None
    assert found.problem.startswith(problem)


def test_a_completed_snapshot_that_cannot_be_read_yet_is_waited_for() -> None:
    """Right after an upload, `verify` would say of its snapshot that it does not exist."""
    port, clock = mapped(b"x" * BLOCK), FakeClock()

    def late(operation: str, _index: int) -> None:
        if operation == "list" and clock.now() < 100:
            raise NotFound("does not exist")

    port.before = late
    assert look(port, SNAPSHOT, clock, seconds=30).block_map is not None
    assert 100 <= clock.now() < 120


def test_a_snapshot_that_is_nowhere_is_told_at_once() -> None:
    """Whoever mistypes an id would wait for two minutes; and one that never appears would be waited for for ever."""
    clock = FakeClock()
    with pytest.raises(NotFound):
        look(mapped(b"x" * BLOCK), "snap-0bad", clock, seconds=30)
    assert clock.now() == 0
    port = mapped(b"x" * BLOCK)

    def never(operation: str, _index: int) -> None:
        if operation == "list":
            raise NotFound("does not exist")

    port.before = never
    with pytest.raises(CloudError, match="does not exist"):
        look(port, SNAPSHOT, clock, seconds=30)
    assert 110 <= clock.now() < 150
