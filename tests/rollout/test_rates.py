"""The test of rates: its promise computed exactly, what it catches, and what it says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.rollout.rates import (
    LEAST_BAD,
    SHARES,
    Above,
    Counts,
    Judgement,
    Limit,
    Stretch,
    Trials,
    evidence_of,
    judge,
    share,
    upper_bound,
)
from tools import rates_power

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "rates.md"

STRICT = Limit(alpha=0.05, ratio=1.0, tolerated=0.0)
"""The limit that aborts most readily; a high alpha so that the probabilities are not tiny."""


def stretch(n_c: int, b_c: int, n_l: int, b_l: int) -> Stretch:
    return Stretch(Counts(n_c, b_c), Counts(n_l, b_l))


def aborts(*stretches: Stretch, limit: Limit = STRICT) -> bool:
    return judge(stretches, limit).abort


@pytest.mark.parametrize("alpha", [0.5, 0.05, 0.001])
@pytest.mark.parametrize("q", [0.01, 0.05, 0.25, 0.5, 0.9])
def test_evidence_keeps_its_promise_when_looked_at_after_every_event(q: float, alpha: float) -> None:
    """Good releases would be aborted more often than stated: each further look would add to the error."""
    caught = rates_power.ever([q] * 160, alpha)
    assert 0 < caught <= alpha


@pytest.mark.parametrize("q", [[0.05] * 40 + [0.25] * 40 + [0.5] * 60, [0.9, 0.01] * 60], ids=["steps", "jumps"])
def test_evidence_keeps_its_promise_when_weights_change(q: Sequence[float]) -> None:
    """A trouble that both releases share during a later step would look like the candidate's."""
    assert 0 < rates_power.ever(q, 0.01) <= 0.01


@pytest.mark.parametrize("ratio", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("rate", [0.002, 0.05, 0.3, 1.0])
@pytest.mark.parametrize(
    "looks",
    [
        [(n, n) for n in range(1, 41)],
        [(n, 4 * n) for n in range(3, 37, 3)],
        [(n, 19 * n) for n in range(1, 15)],
        [(5, 5), (10, 100), (60, 110), (61, 130)],
        [(40, 10)],
    ],
    ids=["1:1", "1:4", "1:19", "uneven", "once"],
)
def test_good_releases_are_aborted_less_often_than_stated(
    looks: list[tuple[int, int]], rate: float, ratio: float
) -> None:
    """The stated false-abort rate would be wrong for real requests, of which none is bad twice."""
    limit = Limit(alpha=0.05, ratio=ratio, tolerated=0.0)
    assert rates_power.false_abort(looks, rate, rate / ratio, limit) <= limit.alpha


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_good_releases_survive_a_random_split(rate: float) -> None:
    """The load balancer divides requests by chance; the promise would hold only for an exact split."""
    weight, limit = 0.25, Limit(alpha=0.3, ratio=1.0, tolerated=0.0)
    states, caught = {(0, 0, 0): 1.0}, 0.0
    for number in range(1, 25):
        after: dict[tuple[int, int, int], float] = {}
        for (n_c, b_c, b_l), probability in states.items():
            for key, chance in {
                (n_c + 1, b_c + 1, b_l): weight * rate,
                (n_c + 1, b_c, b_l): weight * (1 - rate),
                (n_c, b_c, b_l + 1): (1 - weight) * rate,
                (n_c, b_c, b_l): (1 - weight) * (1 - rate),
            }.items():
                after[key] = after.get(key, 0.0) + probability * chance
        states = {}
        for (n_c, b_c, b_l), probability in after.items():
            if aborts(stretch(n_c, b_c, number - n_c, b_l), limit=limit):
                caught += probability
            elif probability > 1e-12:
                states[n_c, b_c, b_l] = probability
    assert 0 < caught <= limit.alpha


def test_the_ceiling_keeps_its_promise() -> None:
    """A first deploy, which has no live to be compared with, would be aborted at its ceiling too often."""
    limit = Limit(alpha=0.05, tolerated=0.0, ceiling=0.1)
    assert 0 < rates_power.false_abort([(n, 0) for n in range(1, 200)], 0.1, 0.0, limit) <= limit.alpha / SHARES


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_the_former_rate_of_live_keeps_its_promise(rate: float) -> None:
    """In the bake, a candidate just as good as live would be aborted because live was lucky in the canary."""
    limit, caught = Limit(alpha=0.2, ratio=1.0, tolerated=0.0), 0.0
    for b_l, chance in rates_power._binomial(30, rate):
        states = {0: 1.0}
        for number in range(1, 41):
            after: dict[int, float] = {}
            for bad, probability in states.items():
                after[bad] = after.get(bad, 0.0) + probability * (1 - rate)
                after[bad + 1] = after.get(bad + 1, 0.0) + probability * rate
            states = {}
            for bad, probability in after.items():
                if number % 4 == 0 and aborts(stretch(0, 0, 30, b_l), stretch(number, bad, 0, 0), limit=limit):
                    caught += probability * chance
                elif probability > 1e-12:
                    states[bad] = probability
    assert 0 < caught <= limit.alpha / SHARES


@pytest.mark.parametrize("total", [1, 7, 60])
@pytest.mark.parametrize("alpha", [0.1, 0.001])
def test_the_bound_of_a_rate_holds(total: int, alpha: float) -> None:
    """The rate that live had would be believed from too few requests."""
    for rate in (0.001, 0.02, 0.3, 0.9, 0.999):
        wrong = sum(
            chance for bad, chance in rates_power._binomial(total, rate) if upper_bound(bad, total, alpha) < rate
        )
        assert wrong <= alpha * 1.000001
    assert upper_bound(total, total, alpha) == 1


def test_the_page_is_what_the_code_does() -> None:
    """The documents would promise figures of an older test."""
    page = PAGE.read_text(encoding="utf-8")
    for part in (rates_power.CAUGHT, rates_power.caught(0.5, 5), rates_power.caught(1.0, 50), rates_power.SPARED):
        assert part in page
    assert page.endswith(rates_power.spared())


@pytest.mark.parametrize(
    ("bad", "weight", "within"),
    [(1.0, 5, 6), (0.5, 5, 18), (0.5, 50, 60), (0.1, 25, 210)],
)
def test_bad_releases_are_caught_soon(bad: float, weight: int, within: int) -> None:
    """A release that fails under traffic would be noticed only after it has failed many users."""
    assert rates_power.quantiles(bad, 0.001, weight, (0.99,), most=within)[0] is not None


def test_bad_releases_are_caught_without_live() -> None:
    """A first deploy that fails every other request would be left in place, if only live could convict it."""
    limit = Limit(ceiling=0.05)
    for number in range(1, 40):
        if aborts(Stretch(Counts(number, number // 2), None), limit=limit):
            break
    else:
        pytest.fail("20 errors of 40 requests were let pass at a ceiling of 5 %")
    assert number < 25


def test_a_bad_release_is_caught_in_the_bake() -> None:
    """With all the traffic moved there is no live to compare with, and errors would pass unseen."""
    canary = stretch(200, 0, 2000, 2)
    assert not aborts(canary, Stretch(Counts(1000, 3), Counts(0, 0)), limit=Limit())
    finding = judge([canary, Stretch(Counts(1000, 60), Counts(0, 0))], Limit())
    assert finding.excess is not None
    assert finding.excess.above is Above.FORMER
    assert finding.excess.limit > 1.5 * 2 / 2000, "live's own bound, times the ratio"


def test_a_shared_trouble_convicts_no_one() -> None:
    """A database that fails both releases for a minute, at a time of more canary weight, would abort the deploy."""
    calm, trouble = stretch(50, 0, 4950, 0), stretch(500, 250, 500, 250)
    assert not aborts(calm, trouble)
    assert aborts(stretch(550, 250, 5450, 250)), "as one stretch they would: that is why stretches are kept apart"


@pytest.mark.parametrize("ceiling", [0.01, 0.1])
def test_the_ceiling_does_not_keep_out_what_is_better_than_live(ceiling: float) -> None:
    """In an incident above the ceiling no release could be deployed, not even the one that ends it."""
    limit = Limit(ceiling=ceiling)
    incident = stretch(100, 30, 1900, 1200)
    assert not aborts(incident, limit=limit)
    assert not aborts(incident, Stretch(Counts(2000, 600), None), limit=limit), "nor when it has all the traffic"
    assert aborts(stretch(100, 30, 1900, 60), limit=limit)
    assert aborts(Stretch(Counts(100, 30), None), limit=limit), "without live the ceiling alone judges"
    assert aborts(stretch(100, 30, 0, 0), limit=limit)


def test_what_is_as_bad_as_live_is_seldom_aborted_by_the_ceiling() -> None:
    """A release that changes nothing in an incident would be taken for its cause."""
    limit = Limit(alpha=0.05, ratio=100.0, tolerated=0.0, ceiling=0.1)
    looks = [(n, 3 * n) for n in range(4, 49, 4)]
    assert rates_power.false_abort(looks, 0.3, 0.3, limit) <= limit.alpha / SHARES
    assert rates_power.false_abort(looks, 0.9, 0.3, limit) > 0.5, "what is worse than both is caught"


def test_a_ceiling_is_not_used_up_in_the_canary() -> None:
    """A release that does not bear all the traffic would be excused by the requests that it answered before."""
    limit = Limit(ceiling=0.1)
    assert aborts(stretch(10_000, 0, 30_000, 0), Stretch(Counts(60, 60), None, mixed=1.0), limit=limit)


def test_the_ceiling_is_for_what_is_worse_than_it() -> None:
    """A release that is worse than live, but tolerated, would be aborted by the ceiling that it keeps."""
    limit = Limit(ratio=100.0, ceiling=0.1)
    assert not aborts(stretch(1000, 80, 9000, 90), limit=limit)
    assert aborts(stretch(1000, 180, 9000, 90), limit=limit)


def test_the_bound_of_live_and_the_ceiling_share_their_alpha() -> None:
    """With all the traffic a good release would be aborted by the ceiling up to twice as often as stated."""
    limit = Limit(alpha=0.05, ratio=1000.0, ceiling=0.1)
    found = set()
    for total, bad in itertools.product(range(40, 80), range(2, 30)):
        mean = (math.exp(evidence_of([Trials(bad, total, 0.1)])) + 1) / 2  # what was seen beside live says nothing
        verdict = aborts(stretch(0, 0, 10_000, 0), Stretch(Counts(total, bad), None), limit=limit)
        assert verdict is (mean >= 2 * SHARES / limit.alpha)
        found.add((verdict, mean >= SHARES / limit.alpha))
    assert (False, True) in found, "the half makes a difference"


def test_minutes_in_which_the_weights_changed_tell_nothing_of_rates() -> None:
    """A trouble in the minute of new weights would excuse the candidate in the bake, or convict it there."""
    calm, bake = stretch(200, 0, 2000, 2), Stretch(Counts(1000, 60), None)
    assert aborts(calm, bake, limit=Limit())
    assert not aborts(calm, replace(bake, mixed=1.0), limit=Limit())
    assert aborts(calm, replace(stretch(100, 0, 9000, 5000), mixed=0.1), bake, limit=Limit())


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_evidence_keeps_its_promise_while_weights_change(weight: float) -> None:
    """A trouble that both share, in the part of a minute in which the candidate had its traffic, would convict it."""
    limit = Limit(alpha=0.05, ratio=1.0, tolerated=0.0)
    trouble = Stretch(Counts(round(400 * weight), round(200 * weight)), Counts(6000, round(200 * (1 - weight))))
    assert aborts(trouble, limit=limit), "as if nothing had changed"
    assert not aborts(replace(trouble, mixed=weight), limit=limit)
    assert rates_power.ever([weight] * 100, limit.alpha) <= limit.alpha
    assert Stretch(Counts(1, 1), Counts(999, 0), mixed=weight).share(1.0) == pytest.approx(weight)


def test_a_tolerated_rate_is_no_reason() -> None:
    """Of a very busy service, a difference that no one can notice would abort the deploy."""
    busy = stretch(1_000_000, 300, 1_000_000, 100)
    assert aborts(busy, limit=Limit(tolerated=0.0))
    assert not aborts(busy, limit=Limit(tolerated=0.001))
    assert aborts(stretch(1_000_000, 3000, 1_000_000, 1000), limit=Limit(tolerated=0.001))


counts = st.tuples(st.integers(0, 400), st.integers(0, 400)).map(sorted).map(lambda pair: (pair[1], pair[0]))
limits = st.builds(
    Limit,
    alpha=st.sampled_from([0.5, 0.05, 0.001]),
    ratio=st.sampled_from([1.0, 1.5, 4.0]),
    tolerated=st.sampled_from([0.0, 0.001, 0.1]),
    ceiling=st.sampled_from([None, 0.01, 0.3]),
)


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=4), limits)
def test_any_counts_have_an_answer(pairs: list[tuple[tuple[int, int], tuple[int, int]]], limit: Limit) -> None:
    """Counts that no one thought of (none of one side, none of both) would end the deploy with a traceback."""
    finding = judge([stretch(*c, *pair) for c, pair in pairs], limit)
    assert finding.candidate.requests == sum(c[0] for c, _ in pairs)
    assert not (finding.abort and sum(c[1] for c, _ in pairs) < LEAST_BAD)


@given(counts, counts, limits)
def test_one_error_never_aborts(candidate: tuple[int, int], live: tuple[int, int], limit: Limit) -> None:
    """A single failed request would undo a deploy."""
    assert not aborts(stretch(max(candidate[0], 1), 1, *live), limit=limit)


@given(counts, counts, st.integers(0, 50), limits)
def test_worse_is_never_better(candidate: tuple[int, int], live: tuple[int, int], more: int, limit: Limit) -> None:
    """More errors of the candidate would save it, or more of live convict it."""
    n_c, b_c = candidate
    n_l, b_l = live
    if aborts(stretch(n_c, b_c, n_l, b_l), limit=limit):
        assert aborts(stretch(n_c, min(b_c + more, n_c), n_l, b_l), limit=limit)
        assert aborts(stretch(n_c, b_c, n_l, max(b_l - more, 0)), limit=limit)
    else:
        assert not aborts(stretch(n_c, max(b_c - more, 0), n_l, b_l), limit=limit)
        assert not aborts(stretch(n_c, b_c, n_l, min(b_l + more, n_l)), limit=limit)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.sampled_from([1.0, 1.5, 4.0]))
def test_a_share_is_a_probability(n_c: int, n_l: int, ratio: float) -> None:
    """A share outside 0 to 1 would make a nonsense of the evidence."""
    assert 0 <= share(n_c, n_l, ratio) <= 1


def test_the_numbers() -> None:
    """The engineer who is woken up would not see the numbers that the decision was made from."""
    found = judge([stretch(60, 3, 1200, 0), stretch(60, 4, 1200, 1)], Limit())
    assert (found.candidate, found.live) == (Counts(120, 7), Counts(2400, 1))
    assert found.excess is not None
    assert (found.excess.above, found.excess.limit) == (Above.LIVE, 0.001), "1.5 times 1 of 2,400 is tolerated"
    assert 0 < found.excess.chance < 0.001
    worse = judge([stretch(60, 9, 1200, 6), stretch(60, 9, 1200, 6)], Limit())
    assert worse.excess is not None
    assert worse.excess.limit == pytest.approx(1.5 * 12 / 2400)
    assert judge([stretch(0, 0, 0, 0)], Limit()) == Judgement(Counts(0, 0), None)
    assert judge([], Limit()) == Judgement(Counts(0, 0), None)
    first = judge([Stretch(Counts(400, 400), None)], Limit(ceiling=0.05)).excess
    assert first is not None
    assert (first.above, first.limit) == (Above.CEILING, 0.05)
