"""The figures behind the test of rates, against what can be computed by hand."""

from __future__ import annotations

import math

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.rates import (
    SHARES,
    Counts,
    Limit,
    Stretch,
    Trials,
    evidence_of,
    judge,
    share,
    upper_bound,
)


@pytest.mark.parametrize(("total", "alpha"), [(1, 0.5), (10, 0.05), (1000, 0.001)])
def test_the_bound_of_a_rate_that_was_never_seen(total: int, alpha: float) -> None:
    """Live without an error would be held to have had more of them, or fewer, than its requests can show.

    The entropy of 0 to p is -ln(1-p), so the bound is 1 - alpha^(1/total).
    """
    assert upper_bound(0, total, alpha) == pytest.approx(1 - alpha ** (1 / total), rel=1e-9)


@pytest.mark.parametrize(("bad", "total", "alpha"), [(4, 8, 0.01), (1, 100, 0.001), (30, 1000, 0.0001)])
def test_the_bound_of_a_rate_that_was_seen(bad: int, total: int, alpha: float) -> None:
    """A candidate in the bake would be aborted too soon, or let pass, by a wrong bound of what live had."""
    rate, bound = bad / total, upper_bound(bad, total, alpha)
    assert bound > rate
    entropy = rate * math.log(rate / bound) + (1 - rate) * math.log((1 - rate) / (1 - bound))
    assert total * entropy == pytest.approx(math.log(1 / alpha), rel=1e-6)


def test_a_bound_that_nothing_supports_is_one() -> None:
    """A single request would end the rollout with a traceback."""
    assert upper_bound(0, 1, 1e-20) == 1


def test_without_requests_of_the_candidate_no_bad_one_is_its() -> None:
    """Errors of live in a minute without the candidate would count for it later."""
    assert share(0, 5, 1.5) == 0


def test_limits_at_their_edges() -> None:
    """A limit that the documents allow would be refused, or one that never aborts be taken."""
    assert Limit(alpha=0.5).alpha == 0.5
    with pytest.raises(InputError, match="ceiling"):
        Limit(ceiling=1.0)


def test_one_request_of_live_is_something_to_compare_with() -> None:
    """A quiet service would be judged as if it had no live at all."""
    assert Stretch(Counts(1, 0), Counts(1, 0)).is_shared
    assert not Stretch(Counts(1, 0), Counts(0, 0)).is_shared
    alone = Stretch(Counts(1, 0), None)
    assert not alone.is_shared
    assert alone.of_live == Counts(0, 0)


def stretch(n_c: int, b_c: int, n_l: int = 0, b_l: int = 0) -> Stretch:
    return Stretch(Counts(n_c, b_c), Counts(n_l, b_l) if n_l else None)


def turns_at(seen: list[Stretch], alpha: float, **limit: float) -> None:
    """It aborts from this false-abort rate on, and not below it."""
    assert judge(seen, Limit(alpha=alpha * 1.0001, **limit)).abort
    assert not judge(seen, Limit(alpha=alpha * 0.9999, **limit)).abort


def mean(one: float, other: float) -> float:
    return math.log((math.exp(one) + math.exp(other)) / 2)


def test_two_bad_requests_may_end_a_release_and_one_never_does() -> None:
    """The first figure of a release that fails all its users would be waited out, or a single hiccup end a deploy."""
    for beside_live in (True, False):
        calm = [] if beside_live else [stretch(1000, 0, 10**6)]
        live = 10**6 if beside_live else 0
        assert judge([*calm, stretch(2, 2, live)], Limit()).abort
        assert not judge([*calm, stretch(1, 1, live)], Limit(alpha=0.5, tolerated=0.0)).abort
    one_each = [stretch(1, 1, 10**6), stretch(1, 1)]
    assert not judge(one_each, Limit(alpha=0.5, tolerated=0.0)).abort, "one beside live, one alone"


def test_each_test_has_the_part_of_alpha_that_is_promised() -> None:
    """Good releases would be aborted more often than the settings say, or bad ones be kept longer than they must."""
    beside = stretch(50, 5, 950, 5)
    compared = evidence_of([Trials(5, 10, share(50, 950, 1.5))])
    turns_at([beside], SHARES * math.exp(-min(compared, evidence_of([Trials(5, 50, 0.001)]))))
    tolerated = evidence_of([Trials(12, 50, 0.05)])
    turns_at([stretch(50, 12, 10**6)], SHARES * math.exp(-tolerated), tolerated=0.05)
    calm, alone = stretch(50, 0, 10**6), stretch(50, 12)
    turns_at([calm, alone], 2 * SHARES * math.exp(-tolerated), tolerated=0.05)


def test_the_ceiling_has_its_part_of_alpha() -> None:
    """A ceiling would be reached by chance more often than the settings say, or be reached too late."""
    loose = {"tolerated": 0.9, "ceiling": 0.02}
    above = evidence_of([Trials(8, 50, 0.02)])
    turns_at([stretch(50, 8)], SHARES * math.exp(-mean(above, 0.0)), **loose)
    compared = evidence_of([Trials(8, 10, share(50, 150, 1.0))])
    assert compared < above
    turns_at([stretch(50, 8, 150, 2)], SHARES * math.exp(-mean(0.0, compared)), **loose)
    calm = stretch(50, 0, 10**6)
    nothing = min(evidence_of([Trials(0, 50, 0.02)]), evidence_of([Trials(0, 0, share(50, 10**6, 1.0))]))
    turns_at([calm, stretch(50, 8)], 2 * SHARES * math.exp(-mean(above, nothing)), **loose)


@pytest.mark.parametrize(
    "wrong",
    [{"alpha": 0.0}, {"alpha": 0.6}, {"ratio": 0.9}, {"ratio": math.inf}, {"tolerated": 1.0}, {"ceiling": 0.0}],
    ids=str,
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    """A slip in a setting would abort every deploy, or none."""
    with pytest.raises(InputError, match="rates: "):
        Limit(**wrong)
