"""What CloudWatch tells, as it is taken over, and how long a step may take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.rollout import canary, wording
from fleetswap.domain.rollout.evidence import Evidence, Expected, findings
from fleetswap.domain.rollout.periods import AGED, Figures, Period, Report, Told, Watch
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.rates import Bad, Counts, Limit
from fleetswap.domain.rollout.strategy import Step

MINE, LIVE = Figures(10, 9, 1), Figures(90, 90)


def test_every_figure_is_taken_over() -> None:
    """Errors of the load balancer would be lost on the way, or one release be judged by the figures of the other."""
    report = Report(1000.0, 60, (Told(880, {"tg-new": MINE, "tg-live": LIVE}, 100, 5, 4),))
    both = Period(880, 500 - 121, 502 - 60, 60, MINE, LIVE, 100, 5, 4)
    assert report.periods("tg-new", "tg-live", 500.0, 502.0) == (both,)
    assert report.periods("tg-new", None, 500.0, 502.0) == (replace(both, live=None),)
    nothing = replace(both, candidate=Figures(), live=Figures())
    assert report.periods("tg-x", "tg-y", 500.0, 502.0) == (nothing,)


@pytest.mark.parametrize(
    ("step", "seconds"), [(Step(5), 150), (Step(5, hold=30), 150 + 60 + 200), (Step(5, hold=90), 150 + 90 + 200)]
)
def test_how_long_the_switch_waits_for_a_step(step: Step, seconds: float) -> None:
    """The switch would put the traffic back in the middle of a step that goes well, or long after we died."""
    policy = Policy(minimum=1, shift_deadline=30, switch_margin=120, convergence=60, data_deadline=200)
    assert canary.switch_seconds(policy, step) == seconds


def period(candidate: Figures, live: Figures | None = LIVE, began: float = 0, **told: int) -> Period:
    whole = candidate.requests + (live.requests if live else 0)
    return Period(int(began), began, began + 60, 60, candidate, live, **{"requests": whole} | told)


@pytest.mark.parametrize(
    ("read", "balances"),
    [
        (period(MINE), True),
        (period(MINE, own_5xx=5), True),
        (period(Figures(10, 12), Figures(90, 88)), False),
        (period(Figures(10, 8), own_5xx=2), True),
        (period(Figures(10, 8), own_5xx=1), False),
    ],
)
def test_when_the_books_balance(read: Period, balances: bool) -> None:  # noqa: FBT001 - a table
    """One release's late answers would make up for the other's, or errors without a target hide all the rest."""
    assert read.balances is balances
    assert bool(Watch().held(5, 0).read((read,), 60).stretches(Bad.ERRORS, 60.0)) is balances, "as soon as it is over"


def test_what_was_not_answered_is_shared_in_whole_requests() -> None:
    """A message would tell of a third of a request, or one slow answer more than there was."""
    read = period(Figures(10, 9), Figures(10, 8), own_5xx=2)
    assert repr(read.counts(Bad.ERRORS, read.candidate)) == repr(Counts(9, 0))
    quick = Figures(10, 10, timed=10, quick=10)
    assert period(quick).counts(Bad.SLOW, quick) == Counts(10, 0)


def test_a_period_that_ends_with_its_step_is_the_steps() -> None:
    """The last minute of a step would count for nothing."""
    watch = Watch().held(5, 0).over(60).held(25, 100).read((period(MINE),), 60)
    assert [stretch.mixed for stretch in watch.stretches(Bad.ERRORS, 999.0)] == [None]
    assert Watch().held(5, 0).over(60).read((period(MINE),), 60).own() != ()
    early = Watch().held(5, 30).over(80).held(25, 100).read((period(MINE, began=20),), 80)
    assert [stretch.mixed for stretch in early.stretches(Bad.ERRORS, 999.0)] == [0.05]


def test_a_silent_period_does_not_silence_the_next() -> None:
    """A catastrophe would go on until the figures of the minute before it are settled."""
    late, loud = period(Figures(10, 1)), period(Figures(10, 0, 10), began=60)
    watch = Watch().held(5, 0).read((late, loud), 120)
    assert [stretch.candidate.bad for stretch in watch.stretches(Bad.ERRORS, 120.0)] == [10]


def test_a_period_that_is_revised_last_is_waited_for() -> None:
    """A step would pass while the figures of its last minute are still coming, because the next one's are there."""
    three = tuple(period(Figures(10, 10), None, began) for began in (0, 60, 120))
    late = 180 + AGED * 60
    watch = Watch().held(5, 0).read((three[0], replace(three[1], candidate=Figures(1, 1)), three[2]), 180)
    expected = Expected(
        Policy(minimum=1, errors=Limit()), None, 1, watch=watch.read(three, late), now=late, until=120, asked=1
    )
    read = Evidence(None, rule_known=True, targets=(), periods=three)
    words = [(str(found.verdict), wording.reasons([found])) for found in findings(read, expected)]
    assert ("wait", "20 of 1 requests are counted, but not yet those of the step's last period") in words
