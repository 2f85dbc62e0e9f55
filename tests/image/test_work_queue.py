"""The queue of blocks that are offered one by one, as a list of a snapshot's blocks comes."""

from __future__ import annotations

import threading
import time

import pytest

from fleetswap.workflows.image.work_queue import Item, Work
from fleetswap.workflows.retry import Stopped
from tests.fakes.ebs import FakeClock


def offered(*, total: int = 100, room: int = 2) -> Work[Item]:
    return Work(FakeClock(), threading.Event(), total=total, room=room)


def test_no_more_is_offered_than_there_is_room_for() -> None:
    """The list of a large snapshot would all be in memory, and its tokens grow old there."""
    work = offered()
    assert [work.offer(Item(0.0, index), passed=index + 1, wait=0) for index in range(3)] == [True, True, False]
    assert work.take() is not None
    assert work.offer(Item(0.0, 2), passed=3, wait=0)


def test_room_is_waited_for_whatever_else_happens() -> None:
    """Where AWS throttles, the progress would be told at every failure, a hundred times a second, and not four."""
    work = offered(room=1)
    work.offer(Item(0.0, 0), passed=1, wait=0)
    failing = work.take()
    work.offer(Item(0.0, 1), passed=2, wait=0)
    had_room = list[bool]()
    offering = threading.Thread(target=lambda: had_room.append(work.offer(Item(0.0, 2), passed=3, wait=60)))
    offering.start()
    for _ in range(200):
        assert failing is not None
        work.again(failing, 0.0, throttled=True)
        failing = work.take()
        time.sleep(0.001)
    assert work.take() is not None
    offering.join()
    assert had_room == [True]


def test_all_is_done_only_when_nothing_more_is_offered() -> None:
    """A snapshot would be taken for whole because its next page is late."""
    work = offered()
    work.offer(Item(0.0, 5), passed=6, wait=0)
    assert work.more
    item = work.take()
    assert item is not None
    work.done(1)
    assert not work.over.is_set()
    work.close()
    assert work.take() is None
    assert (work.finished, work.over.is_set(), work.more) == (True, True, False)


def test_blocks_that_a_snapshot_does_not_have_count_as_passed() -> None:
    """The progress of a sparse snapshot would stop at a few percent, and its time left never be known."""
    work = offered(total=50)
    work.offer(Item(0.0, 9), passed=10, wait=0)
    work.offer(Item(0.0, 29), passed=30, wait=0)
    assert work.progress().done == 28  # two of the thirty wait
    first = work.take()
    assert first is not None
    assert work.progress().done == 28
    work.again(first, 0.0, throttled=False)
    assert work.progress().done == 28
    assert work.take() is first
    work.done(1)
    assert work.progress().done == 29
    work.close()
    assert (work.progress().done, work.progress().total) == (49, 50)


def test_an_error_ends_the_offers() -> None:
    """After a refusal the whole list would be read on, for nobody."""
    work = offered()
    work.fail(ValueError("refused"))
    with pytest.raises(Stopped):
        work.offer(Item(0.0, 0), passed=1, wait=0)
    with pytest.raises(Stopped):
        work.take()
