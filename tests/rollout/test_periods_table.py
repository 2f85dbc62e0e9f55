"""What CloudWatch tells, as it is taken over, and how long a step may take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain import canary
from fleetswap.domain.orders import Policy
from fleetswap.domain.periods import Figures, Period, Report, Told
from fleetswap.domain.strategy import Step

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
    policy = Policy(capacity=1, shift_deadline=30, switch_margin=120, convergence=60, data_deadline=200)
    assert canary.switch_seconds(policy, step) == seconds
