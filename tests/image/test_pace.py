"""The pace against a simulated service: token bucket, latencies, several uploaders, a quota that changes."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleetswap.domain.image.pace import DOCUMENTED_QUOTA, FEW, LEAST_RATE, TROUBLE, TROUBLED_RATE, Pace

BUCKET = 100.0


@dataclass
class Uploader:
    """One of those that send, each with a pace of its own."""

    pace: Pace
    left: int
    free_at: float
    asking: bool = False
    on_their_way: int = 0
    throttled: int = 0
    acknowledged: list[float] = field(default_factory=list)

    def rate(self, begin: float, end: float) -> float:
        return sum(begin <= when < end for when in self.acknowledged) / (end - begin)


class Simulation:
    """Events in order of their time; nothing waits. A request costs its sender `cpu` seconds.

    With `pauses`, every so many seconds (the first) senders do nothing for a while (the second). Between the times of
    `stall`, what arrives at the service waits.
    """

    def __init__(
        self,
        quota: Callable[[float], float],
        *,
        latency: float = 0.005,
        cpu: float = 0.0005,
        connections: int = 160,
        seed: int = 1,
        pauses: tuple[float, float] | None = None,
        stall: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self._quota = quota
        self._latency = latency
        self._cpu = cpu
        self._connections = connections
        self._pauses = pauses
        self._stall = stall
        self._dice = random.Random(seed)  # noqa: S311 (jitter, not a secret)
        self._tokens, self._filled = BUCKET, 0.0
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._serial = itertools.count()

    def uploader(self, blocks: int, *, start: float = 0.0) -> Uploader:
        made = Uploader(Pace(start), blocks, start)
        self._ask_at(start, made)
        return made

    def run(self, until: float = 1e9) -> None:
        while self._events and self._events[0][0] < until:
            now, _, event = heapq.heappop(self._events)
            event(now)

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._serial), event))

    def _ask_at(self, when: float, who: Uploader) -> None:
        if not who.asking:
            who.asking = True
            self._at(when, lambda now: self._ask(now, who))

    def _ask(self, now: float, who: Uploader) -> None:
        who.asking = False
        if not who.left or who.on_their_way >= self._connections:
            return
        if self._pauses is not None and (over := self._pauses[1] - now % self._pauses[0]) > 0:
            self._ask_at(now + over + 1e-6, who)
            return
        if now < who.free_at:
            self._ask_at(who.free_at, who)
            return
        seconds = who.pace.ask(now, who.on_their_way)
        if seconds > 0:
            self._ask_at(now + seconds + self._dice.random() * 0.0003, who)  # nobody wakes up on time
            return
        who.left -= 1
        who.on_their_way += 1
        who.free_at = now + self._cpu
        half = self._latency * self._dice.uniform(0.5, 0.6)
        epoch = who.pace.epoch
        self._at(now + half, lambda there: self._serve(there, who, epoch, half))
        self._ask_at(who.free_at, who)

    def _serve(self, now: float, who: Uploader, epoch: int, half: float) -> None:
        if self._stall[0] <= now < self._stall[1]:
            self._at(self._stall[1], lambda then: self._serve(then, who, epoch, half))
            return
        self._tokens = min(BUCKET, self._tokens + (now - self._filled) * self._quota(now))
        self._filled = now
        granted = self._tokens >= 1
        self._tokens -= granted
        self._at(now + half, lambda back: self._answer(back, who, epoch, granted=granted))

    def _answer(self, now: float, who: Uploader, epoch: int, *, granted: bool) -> None:
        who.on_their_way -= 1
        if granted:
            who.acknowledged.append(now)
            who.pace.acknowledged(now, epoch)
        else:
            who.throttled += 1
            who.left += 1
            who.pace.throttled(now, epoch)
        self._ask_at(now, who)


@pytest.mark.parametrize("latency", [0.002, 0.02, 0.1])
@pytest.mark.parametrize(("quota", "most_throttled"), [(100, 0.2), (300, 0.12), (1000, 0.01)])
def test_a_gibibyte_goes_at_the_quota(quota: int, most_throttled: float, latency: float) -> None:
    """An upload would take longer than the quota makes it, or be throttled more than it has to."""
    simulation = Simulation(lambda _: quota, latency=latency)
    uploader = simulation.uploader(2048)
    simulation.run()
    assert 2048 / uploader.acknowledged[-1] >= 0.95 * quota
    assert uploader.throttled < most_throttled * 2048


@pytest.mark.parametrize("quota", [300, 1000, 3000])
def test_in_the_long_run_it_is_the_quota(quota: int) -> None:
    """The saw's teeth would cost a part of the quota for ever, as those of plain AIMD do."""
    simulation = Simulation(lambda _: quota, latency=0.02, cpu=0.0001)
    uploader = simulation.uploader(10**9)
    simulation.run(until=30)
    assert uploader.rate(20, 30) >= 0.95 * quota
    assert uploader.throttled < 0.02 * len(uploader.acknowledged)


@pytest.mark.parametrize("start", [0.0, 3.3])
@pytest.mark.parametrize("latency", [0.005, 0.1])
def test_two_share_a_quota(latency: float, start: float) -> None:
    """One deploy would starve the other, or both together waste the quota of the account."""
    simulation = Simulation(lambda _: 1000, latency=latency)
    both = [simulation.uploader(10**9), simulation.uploader(10**9, start=start)]
    simulation.run(until=20)
    rates = [each.rate(10, 20) for each in both]
    assert sum(rates) >= 950
    assert max(rates) <= 2 * min(rates)
    assert sum(each.throttled for each in both) < 0.03 * sum(len(each.acknowledged) for each in both)


@pytest.mark.parametrize("quota", [300, 1000])
def test_stalls_are_made_up_for(quota: int) -> None:
    """On a busy machine, which stops for a tenth of a second at times, a part of the quota would be lost."""
    simulation = Simulation(lambda _: quota, pauses=(0.7, 0.1))
    uploader = simulation.uploader(2048)
    simulation.run()
    assert 2048 / uploader.acknowledged[-1] >= 0.95 * quota


def test_a_burst_after_a_stall_is_not_taken_for_a_smaller_quota() -> None:
    """After each hiccup of the service, the upload would crawl for seconds."""
    simulation = Simulation(lambda _: 1000, latency=0.02, stall=(5.0, 5.5))
    uploader = simulation.uploader(10**9)
    simulation.run(until=12)
    assert uploader.rate(7, 12) >= 950


def test_who_is_left_gets_it_all() -> None:
    """A long upload would stay at half the quota after the other one is done."""
    simulation = Simulation(lambda _: 1000)
    simulation.uploader(2500)
    long = simulation.uploader(10**9)
    simulation.run(until=25)
    assert long.rate(15, 25) >= 950


@pytest.mark.parametrize(("before", "after"), [(1000, 300), (300, 1000), (1000, 100)])
def test_a_quota_that_changes_is_found_again(before: int, after: int) -> None:
    """Others begin or end to use the account's quota while we upload; we would hold the old pace."""
    simulation = Simulation(lambda now: before if now < 5 else after, latency=0.02)
    uploader = simulation.uploader(10**9)
    simulation.run(until=25)
    assert uploader.rate(15, 25) >= 0.95 * after
    assert uploader.throttled < 0.05 * len(uploader.acknowledged)


@settings(max_examples=10, deadline=None)
@given(st.integers(20, 1400), st.floats(0.001, 0.15), st.integers(0, 1000))
@example(1296, 0.01, 392)
def test_any_quota_is_found(quota: int, latency: float, seed: int) -> None:
    """There would be a quota or a line at which uploads crawl.

    Of 1,200 that were tried at random none was below 96 %; Hypothesis has found the example, which has 92.7 %.
    """
    simulation = Simulation(lambda _: quota, latency=latency, cpu=0.0001, connections=1000, seed=seed)
    uploader = simulation.uploader(10**9)
    simulation.run(until=16)
    assert uploader.rate(10, 16) >= 0.9 * quota


def test_it_begins_at_the_documented_quota() -> None:
    """An upload of a few hundred blocks would end before the pace is found."""
    pace = Pace(0.0)
    times = [now for now in (each / 10_000 for each in range(10_000)) if pace.ask(now, FEW) == 0]
    assert len(times) == pytest.approx(DOCUMENTED_QUOTA, rel=0.03)


def test_a_few_may_always_be_on_their_way_at_first() -> None:
    """Where there is no quota, or answers come at once, the pace would cost time."""
    pace = Pace(0.0)
    assert [pace.ask(0.0, each) for each in range(FEW)] == [0.0] * FEW
    assert pace.ask(0.0, FEW) > 0
    pace.throttled(0.0, pace.epoch)
    assert pace.ask(0.0, 0) > 0, "a throttle was seen: now the rate counts"


def test_old_throttles_are_not_new_ones() -> None:
    """A burst of throttles for one mistake would bring the rate down again and again."""
    pace = Pace(0.0)
    epoch = pace.epoch
    pace.throttled(1.0, epoch)
    rate = pace.rate
    for _ in range(100):
        pace.throttled(1.0, epoch)
    assert pace.rate == rate < DOCUMENTED_QUOTA


def test_the_rate_does_not_grow_while_something_else_limits() -> None:
    """After reading a slow disk for a minute, a fast one would be sent far over the quota."""
    pace = Pace(0.0)
    for each in range(6000):
        assert pace.ask(each / 100, FEW) == 0
        pace.acknowledged(each / 100, pace.epoch)
    assert pace.rate == DOCUMENTED_QUOTA


@given(st.lists(st.sampled_from(["good", "throttled", "failed"]), max_size=300), st.floats(0.0001, 1.0))
def test_it_always_goes_on(answers: list[str], step: float) -> None:
    """Some order of answers would stop an upload for good, or make it wait for longer than anybody's patience."""
    pace, now = Pace(0.0), 0.0
    for answer in answers:
        while (seconds := pace.ask(now, 0)) > 0:
            assert seconds <= 1 / min(LEAST_RATE, TROUBLED_RATE)
            now += seconds
        now += step
        if answer == "good":
            pace.acknowledged(now, pace.epoch)
        elif answer == "throttled":
            pace.throttled(now, pace.epoch)
        else:
            pace.failed()
        assert pace.rate >= LEAST_RATE * 0.98


def test_a_service_in_trouble_is_asked_rarely() -> None:
    """An outage would be met with a thousand half-megabyte requests a second, and the image be read for nothing."""
    pace = Pace(0.0)
    for _ in range(TROUBLE):
        assert pace.ask(1.0, 0) == 0
        pace.failed()
    assert pace.ask(1.0, 0) == pytest.approx(1 / TROUBLED_RATE)
    assert pace.ask(1.0 + 1 / TROUBLED_RATE, 0) == 0
    pace.acknowledged(1.3, pace.epoch)
    assert pace.ask(1.3, 0) == 0, "it has recovered"
