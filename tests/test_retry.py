"""Patience, by a clock that stands still unless it is waited for."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import pytest

from fleetswap.domain.errors import CloudError, NotFound, TryAgain
from fleetswap.workflows.clock import SystemClock
from fleetswap.workflows.retry import LONGEST_WAIT, GaveUp, Patience, Stopped, pause
from fleetswap.workflows.stop import Stop
from tests.fakes.ebs import FakeClock


def failing(error: CloudError, times: int) -> Callable[[], int]:
    """A call that fails `times` times and then returns how often it was made."""
    made = 0

    def call() -> int:
        nonlocal made
        made += 1
        if made <= times:
            raise error
        return made

    return call


def test_tries_again_until_it_succeeds() -> None:
    """A throttle or a 500 would end the upload."""
    clock = FakeClock()
    assert Patience(clock, threading.Event(), seconds=60).call(failing(TryAgain("500"), 5)) == 6
    assert 0 < clock.now() <= 0.2 + 0.4 + 0.8 + 1.6 + 3.2


def test_gives_up_after_its_time_of_silence() -> None:
    """An outage would hang the deploy for ever, or be told without the last answer."""
    clock = FakeClock()
    with pytest.raises(GaveUp, match=r"^503; gave up after 60 s without a success$"):
        Patience(clock, threading.Event(), seconds=60).call(failing(TryAgain("503"), 10**6))
    assert 60 <= clock.now() <= 60 + LONGEST_WAIT


def test_a_success_elsewhere_renews_the_time() -> None:
    """A busy account would fail a large upload although it makes progress."""
    clock = FakeClock()
    patience = Patience(clock, threading.Event(), seconds=60)
    made = 0

    def slow() -> int:
        nonlocal made
        made += 1
        clock.advance(50)
        assert patience.call(lambda: "another call of the same upload") is not None
        if made < 10:
            raise TryAgain("throttled")
        return made

    assert patience.call(slow) == 10


def test_idle_time_is_not_silence() -> None:
    """The first fault after minutes of reading or waiting would be final."""
    clock = FakeClock()
    patience = Patience(clock, threading.Event(), seconds=60)
    clock.advance(1000)
    assert patience.call(failing(TryAgain("500"), 1)) == 2


def test_a_refusal_is_final_at_once() -> None:
    """Access denied would be asked for again for minutes before the user hears of it."""
    clock = FakeClock()
    refusal = CloudError("access denied")
    with pytest.raises(CloudError) as caught:
        Patience(clock, threading.Event(), seconds=60).call(failing(refusal, 1))
    assert caught.value is refusal
    assert clock.now() == 0


def test_absent_is_waited_for_only_while_new() -> None:
    """A snapshot that is gone would be waited for like one that is new, or a new one not at all."""
    clock = FakeClock()
    patience = Patience(clock, threading.Event(), seconds=600)
    assert patience.call(failing(NotFound("not yet"), 3), absent_until=120) == 4
    with pytest.raises(NotFound):
        patience.call(failing(NotFound("gone"), 10**6), absent_until=120)
    assert 120 <= clock.now() <= 120 + LONGEST_WAIT
    with pytest.raises(NotFound):
        patience.call(failing(NotFound("gone"), 1))


def test_stop_ends_it() -> None:
    """After the first error the other threads would go on for as long as their own patience lasts."""
    stop = threading.Event()
    patience = Patience(FakeClock(), stop, seconds=60)

    def fail() -> None:
        stop.set()
        raise TryAgain("500")

    with pytest.raises(Stopped):
        patience.call(fail)
    with pytest.raises(Stopped):
        patience.call(lambda: None)


def test_a_success_of_another_way_counts() -> None:
    """Blocks would be acknowledged by the hundred, and the call beside them be given up."""
    clock = FakeClock()
    patience = Patience(clock, threading.Event(), seconds=60)
    clock.advance(100)
    patience.renew()
    clock.advance(59)
    patience.bear(TryAgain("500"), began=0, absent_until=None)
    clock.advance(1)
    with pytest.raises(GaveUp):
        patience.bear(TryAgain("500"), began=0, absent_until=None)


def test_pauses_grow_and_are_drawn() -> None:
    """All that failed at once would come back at once, or an outage be slept through."""
    longest = [max(pause(failures) for _ in range(200)) for failures in range(1, 12)]
    assert all(LONGEST_WAIT >= later > earlier * 1.2 for earlier, later in itertools.pairwise(longest[:6]))
    assert max(longest) <= LONGEST_WAIT
    assert max(pause(1, first=0.05) for _ in range(200)) <= 0.05


def test_a_wait_ends_early_when_someone_wants_it_to() -> None:
    """Ctrl-C, or the first error, would be obeyed a minute later. (Then this test takes that long.)"""
    stop = threading.Event()
    stop.set()
    SystemClock().sleep(60, stop)
    wish = Stop()
    wish.ask("Ctrl-C")
    SystemClock(wish).sleep(60)
    assert wish.take() == "Ctrl-C", "a wait does not take the wish from the one who obeys it"
