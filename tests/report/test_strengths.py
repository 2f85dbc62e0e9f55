"""The evidence that a report shows is that by which the rollout aborts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap.domain.rollout.rates import LEAST_BAD, Above, Counts, Limit, Stretch, judge, strengths

SERVED = st.integers(0, 400)


@st.composite
def stretches(draw: st.DrawFn) -> Stretch:
    requests, of_live = draw(SERVED), draw(st.one_of(st.none(), SERVED))
    candidate = Counts(requests, draw(st.integers(0, requests)))
    live = None if of_live is None else Counts(of_live, draw(st.integers(0, of_live)))
    return Stretch(candidate, live, mixed=draw(st.one_of(st.none(), st.floats(0.05, 0.95))))


LIMITS = st.builds(
    Limit,
    alpha=st.sampled_from([0.5, 0.05, 0.001]),
    ratio=st.sampled_from([1.0, 1.5, 3.0]),
    tolerated=st.sampled_from([0.0, 0.001, 0.1]),
    ceiling=st.sampled_from([None, 0.01, 0.2]),
)


@settings(max_examples=60)
@given(st.lists(stretches(), max_size=5), LIMITS)
def test_what_aborts_has_reached_its_threshold(seen: list[Stretch], limit: Limit) -> None:
    """A plot would stay below 100 % while the rollout aborts."""
    excess = judge(seen, limit).excess
    found = {each.above: each.evidence >= each.threshold for each in strengths(seen, limit)}
    assert excess is None or found[excess.above]


@settings(max_examples=60)
@given(stretches(), LIMITS)
def test_what_has_reached_its_threshold_aborts(seen: Stretch, limit: Limit) -> None:
    """A plot would pass 100 % while the rollout goes on."""
    reached = [each for each in strengths([seen], limit) if each.evidence >= each.threshold]
    assert bool(reached and seen.candidate.bad >= LEAST_BAD) is judge([seen], limit).abort


BESIDE = Stretch(Counts(100, 0), Counts(1000, 1))


@pytest.mark.parametrize(
    ("seen", "above"),
    [
        ([Stretch(Counts(100, 20), Counts(1000, 1))], Above.LIVE),
        ([BESIDE, Stretch(Counts(900, 90), None)], Above.FORMER),
        ([Stretch(Counts(900, 90), None)], Above.CEILING),
    ],
)
def test_each_test_is_shown(seen: list[Stretch], above: Above) -> None:
    """The test that ended a rollout would have no line."""
    limit = Limit(ceiling=0.05)
    excess = judge(seen, limit).excess
    assert excess is not None
    assert excess.above is above
    (found,) = [each for each in strengths(seen, limit) if each.above is above]
    assert found.evidence >= found.threshold
    assert strengths((), limit) == ()
