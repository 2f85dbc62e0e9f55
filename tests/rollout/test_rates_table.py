"""The figures behind the test of rates, against what can be computed by hand, and the words of its messages."""

from __future__ import annotations

import math

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.rates import Counts, Limit, Stretch, _chance, _percent, share, upper_bound


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


@pytest.mark.parametrize(
    ("rate", "words"), [(0, "0 %"), (0.004, "0.4 %"), (0.01, "1.0 %"), (0.099, "9.9 %"), (0.1, "10 %"), (1, "100 %")]
)
def test_rates_are_told_with_the_digits_that_matter(rate: float, words: str) -> None:
    """A message would say `10.0 %` of one release and `10 %` of the other."""
    assert _percent(rate) == words


def test_chances_are_told_in_words() -> None:
    """A message would show a float with twenty digits."""
    assert _chance(math.log(1000)) == "by chance at most once in 1,000"
    assert _chance(math.log(1e12)) == "by chance less than once in 1,000,000,000"


def test_one_request_of_live_is_something_to_compare_with() -> None:
    """A quiet service would be judged as if it had no live at all."""
    assert Stretch(Counts(1, 0), Counts(1, 0)).is_shared
    assert not Stretch(Counts(1, 0), Counts(0, 0)).is_shared
    alone = Stretch(Counts(1, 0), None)
    assert not alone.is_shared
    assert alone.of_live == Counts(0, 0)
