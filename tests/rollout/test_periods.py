"""Which figures of CloudWatch may be judged, and when: late ones, partial ones, and those of another step."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.rollout.periods import AGED, QUIET, Figures, Period, Report, Told, Watch
from fleetswap.domain.rollout.rates import Bad, Counts, Limit, Stretch, judge

GOOD = Figures(100, 100)
LIVE = Figures(900, 891, 9)


def period(candidate: Figures = GOOD, live: Figures | None = LIVE, *, began: float = 0, **told: int) -> Period:
    whole = candidate.requests + (live.requests if live else 0)
    return Period(int(began), began, began + 60, 60, candidate, live, **{"requests": whole} | told)


def stretches(read: Period, now: float, *, weight: int = 10, since: float = 0, kind: Bad = Bad.ERRORS) -> list[Stretch]:
    return list(Watch().held(weight, since).read((read,), 60).stretches(kind, now))


def test_figures_are_settled_when_they_are_old_and_have_not_changed_for_a_while() -> None:
    """Half of the figures would pass a step, or convict a candidate of requests whose answers are on their way."""
    watch = Watch().held(10, 0)
    early, late = 60 + AGED * 60 - 1, 60 + AGED * 60
    half = period(Figures(100, 40))
    assert not watch.read((half,), 60).own()[0].is_settled(early)
    assert watch.read((half,), 60).own()[0].is_settled(late)
    grown = watch.read((half,), 60).read((period(GOOD),), late)
    assert not grown.own()[0].is_settled(late), "it has just changed"
    assert not grown.read((period(GOOD),), late + 40).own()[0].is_settled(late + QUIET * 60 - 1)
    assert grown.read((period(GOOD),), late + 40).own()[0].is_settled(late + QUIET * 60)


def test_where_a_period_lies_is_no_change_of_it() -> None:
    """A period would never be settled: our clock and the answer's whole second tell its place a little differently."""
    watch = Watch().held(10, 0).read((period(),), 60)
    moved = replace(period(), began=0.4, ended=60.4)
    assert watch.read((moved,), 300).own()[0].is_settled(300)


@pytest.mark.parametrize(
    ("read", "speaks"),
    [
        (period(Figures(100, 40, 60)), True),
        (period(Figures(100, 40), own_5xx=60), True),
        (period(Figures(100, 40), Figures(900, 890, 8), own_5xx=62), True),
        (period(Figures(100, 40), own_5xx=20, own_4xx=40), True),
        (period(Figures(100, 0, 60)), False),
        (period(Figures(100, 40)), False),
        (period(Figures(100, 40), own_5xx=59), False),
        (period(Figures(40, 40, 60)), False),
        (period(Figures(100, 40, 60), Figures(), requests=1000), False),
        (period(Figures(100, 40, 60), Figures(900, 450, 9)), False),
        (period(Figures(100, 40), own_4xx=61), False),
        (period(Figures(100, 40, 10), Figures(900, 941, 9)), False),
    ],
    ids=[
        "every request has an answer",
        "or an error of the load balancer",
        "which both share",
        "or the client gave up",
        "the good answers are late",
        "all but the requests are late",
        "an error of the load balancer is late",
        "the requests are late",
        "all of live is late",
        "answers of live are late",
        "it may have been someone else's error",
        "what one lacks the other has too much",
    ],
)
def test_what_speaks_before_it_is_settled(read: Period, speaks: bool) -> None:  # noqa: FBT001 - a table
    """Half-arrived figures would abort a good release, or a catastrophe would go on until all is settled."""
    assert bool(stretches(read, 61)) is speaks
    assert not stretches(read, 59), "a period that is not over"
    assert stretches(read, 60 + AGED * 60)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=2),
    st.sampled_from(["requests", "good", "errors"]),
    st.integers(1, 50),
    st.booleans(),
)
def test_a_part_of_the_figures_never_balances(
    whole: list[tuple[int, int, int]],
    metric: str,
    missing: int,
    of_live: bool,  # noqa: FBT001 - drawn
) -> None:
    """One metric that comes later than the others would be judged as it stands."""
    mine, live = (Figures(good + errors + lost, good, errors) for good, errors, lost in whole)
    lost = sum(each[2] for each in whole)
    total = mine.requests + live.requests
    read = Period(0, 0, 60, 60, mine, live, total, own_5xx=lost)
    assert read.balances
    late = live if of_live else mine
    missing = min(missing, getattr(late, metric))
    part = replace(late, **{metric: getattr(late, metric) - missing})
    read = replace(read, live=part) if of_live else replace(read, candidate=part)
    assert read.balances is (missing == 0)


@pytest.mark.parametrize(
    ("read", "counts"),
    [
        (period(Figures(100, 40, 10), own_5xx=50), Counts(100, 60)),
        (period(Figures(100, 40, 10), own_5xx=20, own_4xx=30), Counts(100, 60)),
        (period(Figures(100, 40, 10)), Counts(50, 10)),
        (period(Figures(100, 40, 10), own_5xx=5), Counts(55, 15)),
        (period(Figures(100, 40, 10), Figures(900, 850), own_5xx=50), Counts(75, 35)),
        (period(Figures(40, 40, 10)), Counts(50, 10)),
    ],
    ids=["dropped", "given up by the client", "upgraded, or still on their way", "some", "shared with live", "late"],
)
def test_requests_without_an_answer_count_as_far_as_the_load_balancer_failed(read: Period, counts: Counts) -> None:
    """A release that drops or hangs would pass; one that speaks WebSocket, or was met in the middle, would not."""
    assert read.counts(Bad.ERRORS, read.candidate) == counts


def test_slow_is_counted_of_one_metric() -> None:
    """Answers whose times have not come yet would be slow, and those that never come would be quick."""
    read = period(Figures(100, 90, timed=60, quick=50), own_5xx=10)
    assert read.counts(Bad.SLOW, read.candidate) == Counts(70, 20)


@pytest.mark.parametrize(
    ("began", "ended", "own", "mixed"),
    [
        (100, 160, True, None),
        (99, 159, False, 0.25),
        (141, 201, False, 1.0),
        (50, 110, False, 0.25),
        (10, 70, False, 0.05),
    ],
)
def test_a_period_is_a_steps_own_only_as_a_whole(
    began: float,
    ended: float,
    own: bool,  # noqa: FBT001 - a table
    mixed: float | None,
) -> None:
    """A minute in which the weights changed would pass for one of this step, or be compared with live."""
    watch = Watch().held(5, 20).over(80).held(25, 100).over(200)
    read = Period(0, began, ended, 60, GOOD, LIVE, 1000)
    watch = watch.read((read,), 1000.0)
    (stretch,) = watch.stretches(Bad.ERRORS, 2000.0)
    assert bool(watch.own()) is own
    assert stretch.mixed == (None if began >= 20 and ended <= 80 else mixed)
    assert (stretch.live is None) is (mixed == 1.0), "with all the traffic there is nothing to compare with"


def test_a_period_of_the_step_before_is_not_the_next_ones() -> None:
    """The requests of 5 % would pass the step with 25 %, and the bake."""
    watch = Watch().held(5, 0).over(100).held(25, 160).read((period(),), 300.0)
    assert watch.own() == ()
    assert [stretch.mixed for stretch in watch.stretches(Bad.ERRORS, 999)] == [None], "but it is judged"


@pytest.mark.parametrize("second", range(0, 60, 5))
@pytest.mark.parametrize(("before", "weight"), [(0, 5), (5, 25), (25, 50)])
def test_a_trouble_of_both_in_the_minute_of_new_weights_convicts_no_one(before: int, weight: int, second: int) -> None:
    """A burst of errors that both releases share would look like the candidate's: it has more traffic then."""
    requests = 60_000 / 60
    limit = Limit(ceiling=0.1)
    shares = [before / 100] * second + [weight / 100] * (60 - second)
    for burst in range(second, 56):
        bad = [0.2 if burst <= at < burst + 5 else 0.0 for at in range(60)]
        mine = [requests * share for share in shares]
        live = [requests * (1 - share) for share in shares]
        lost = [round(sum(a * b for a, b in zip(side, bad, strict=True))) for side in (mine, live)]
        both = [round(sum(side)) for side in (mine, live)]
        read = period(Figures(both[0], both[0] - lost[0], lost[0]), Figures(both[1], both[1] - lost[1], lost[1]))
        (stretch,) = stretches(read, 61, weight=weight, since=120)
        assert not judge([stretch], limit).abort, (burst, lost, both)


def test_a_catastrophe_in_the_minute_of_new_weights_is_seen_in_it() -> None:
    """It would go on until a minute of its own is over, and told of."""
    for weight in (5, 25, 100):
        read = period(Figures(50, 20), own_5xx=30)
        (stretch,) = stretches(read, 61, weight=weight, since=120)
        assert stretch.mixed == weight / 100
        assert judge([stretch], Limit(ceiling=0.1)).abort


@given(st.floats(0, 1e6), st.floats(0, 5), st.floats(0, 1), st.integers(0, 3600), st.floats(-1e6, 1e6))
def test_a_period_is_never_shorter_than_it_was(asked: float, took: float, part: float, ago: int, skew: float) -> None:
    """A period that began before the weights held would be taken for one of theirs."""
    served = asked + took * part + skew  # by AWS's clock, which the answer tells to the second
    start = math.floor(served) - ago
    (read,) = Report(math.floor(served), 60, (Told(start, {}),)).periods("a", None, asked, asked + took)
    assert read.began <= start - skew + 1e-6
    assert read.ended >= start + 60 - skew - 1e-6
    assert read.began > start - skew - took - 1.001


@pytest.mark.parametrize("spread", [10, 30, 60])
@pytest.mark.parametrize(("rate", "rps"), [(0.003, 2000), (0.01, 200), (0.05, 2000)])
def test_figures_in_parts_abort_no_more_often_than_stated(rate: float, rps: int, spread: int) -> None:
    """With equal rates, every fifth deploy was aborted when errors came before the requests that they are of."""
    dice = random.Random(spread)  # noqa: S311 - no secret
    assert sum(_aborted_by_parts(dice, rate, rps, spread) for _ in range(40)) == 0


def _aborted_by_parts(dice: random.Random, rate: float, rps: int, spread: int) -> bool:
    """Whether a candidate as good as live is aborted at any moment, with a quarter of the traffic for three minutes.

    Each metric of each of two nodes comes at a time of its own, within `spread` seconds after the first ones can.
    """
    come: list[tuple[float, int, str, str, int]] = []
    for start in (0, 60, 120):
        for side, requests in (("candidate", 15 * rps), ("live", 45 * rps)):
            for _ in range(2):
                seen = requests // 2
                errors = max(0, round(dice.gauss(seen * rate, math.sqrt(seen * rate * (1 - rate)))))
                for metric, count in (("requests", seen), ("good", seen - errors), ("errors", errors)):
                    come.append((start + 120 + dice.uniform(0, spread), start, side, metric, count))
                come.append((start + 120 + dice.uniform(0, spread), start, "whole", "", seen))
    told: dict[int, dict[tuple[str, str], int]] = {}
    watch = Watch().held(25, 0)
    for at, start, side, metric, count in sorted(come):
        figures = told.setdefault(start, {})
        figures[side, metric] = figures.get((side, metric), 0) + count
        read = []
        for began, known in told.items():
            mine, live = (
                Figures(**{metric: known.get((side, metric), 0) for metric in ("requests", "good", "errors")})
                for side in ("candidate", "live")
            )
            read.append(Period(began, began, began + 60, 60, mine, live, known.get(("whole", ""), 0)))
        watch = watch.read(tuple(read), at)
        if judge(watch.stretches(Bad.ERRORS, at), Limit()).abort:
            return True
    return False
