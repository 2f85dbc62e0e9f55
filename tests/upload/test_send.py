"""The bounded pool: what is in flight, and what happens to the others when one fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from fleetswap.workflows.retry import Stopped
from fleetswap.workflows.send import send
from tests.upload.fake import nothing


def test_memory_is_bounded() -> None:
    """An image larger than the machine's memory would be read into it."""
    connections = 3
    lock = threading.Lock()
    read, finished, most = 0, 0, 0

    def blocks() -> Iterator[bytes]:
        nonlocal read, most
        for _ in range(50):
            with lock:
                read += 1
                most = max(most, read - finished)
            yield b""

    def put(_: int, __: bytes) -> None:
        nonlocal finished
        with lock:
            finished += 1

    send(blocks(), put, connections=connections, stop=threading.Event(), sent=nothing)
    assert finished == 50
    assert most <= connections + 1


def test_the_others_stop_after_the_first_error() -> None:
    """Threads that wait between attempts would hold up a failure that is certain by their own patience."""
    stop = threading.Event()
    waiting = threading.Event()
    told: list[bool] = []

    def put(index: int, _: bytes) -> None:
        if index == 0:
            waiting.set()
            told.append(stop.wait(10))
            raise Stopped
        assert waiting.wait(30)
        raise ValueError("the first")

    with pytest.raises(ValueError, match="the first"):
        send([b"", b""], put, connections=2, stop=stop, sent=nothing)
    assert told == [True]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError()], ids=["Ctrl-C", "reading fails"])
def test_the_threads_stop_when_the_reader_fails(error: BaseException) -> None:
    """Ctrl-C, or a file that changes, would wait until every thread has lost its patience."""
    stop = threading.Event()
    told: list[bool] = []

    def put(_: int, __: bytes) -> None:
        told.append(stop.wait(30))
        raise Stopped

    def blocks() -> Iterator[bytes]:
        yield b""
        raise error

    with pytest.raises(type(error)) as caught:
        send(blocks(), put, connections=2, stop=stop, sent=nothing)
    assert caught.value is error
    assert told == [True]
