"""The canary: what a step is held against, and what its findings together decide, and because of which of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.rollout import canary
from fleetswap.domain.rollout.evidence import Expected
from fleetswap.domain.rollout.findings import Finding
from fleetswap.domain.rollout.health import Streak, Verdict
from fleetswap.domain.rollout.metric_values import Compared
from fleetswap.domain.rollout.periods import Watch
from fleetswap.domain.rollout.policy import Check
from fleetswap.domain.rollout.strategy import Step
from tests.rollout.tables import ORDER, POLICY, SHARED, seen, state

GOOD = Finding(Check.WEIGHTS, Verdict.PROMOTE)
FINE = Finding(Check.HEALTH, Verdict.PROMOTE)
OPEN = Finding(Check.REQUESTS, Verdict.WAIT)
BAD = Finding(Check.ALARMS, Verdict.ABORT)
ODD = Finding(Check.PROBE, Verdict.ABORT, again=True)


@pytest.mark.parametrize(
    ("found", "streak", "left", "verdict", "because", "late"),
    [
        ((GOOD, FINE), Streak(), 9.0, "wait", (GOOD, FINE), False),
        ((GOOD, FINE), Streak(2), 9.0, "promote", (GOOD, FINE), False),
        ((GOOD, FINE), Streak(0), -9.0, "wait", (GOOD, FINE), False),
        ((GOOD, OPEN), Streak(2), 9.0, "wait", (OPEN,), False),
        ((GOOD, OPEN), Streak(0, 3), 9.0, "wait", (OPEN,), False),
        ((GOOD, OPEN), Streak(), 0.5, "wait", (OPEN,), False),
        ((GOOD, OPEN), Streak(), 0.0, "abort", (OPEN,), True),
        ((ODD, OPEN), Streak(), 9.0, "wait", (ODD, OPEN), False),
        ((ODD, GOOD), Streak(), 0.0, "abort", (ODD,), True),
        ((ODD, OPEN), Streak(0, 2), 9.0, "abort", (ODD,), False),
        ((ODD, BAD, OPEN), Streak(), 9.0, "abort", (BAD,), False),
    ],
)
def test_what_the_findings_decide(
    found: tuple[Finding, ...],
    streak: Streak,
    left: float,
    verdict: str,
    because: tuple[Finding, ...],
    late: bool,  # noqa: FBT001 - a table
) -> None:
    """A step would pass on what is unknown, end for one stale reading, or tell a reason that is none."""
    decision = canary.judge(found, streak, readings=3, hold_over=True, seconds_left=left)
    assert (decision.verdict, decision.findings, decision.late) == (verdict, because, late)


RINGING = seen(alarms={"up": "ALARM", "slow": "OK", "odd": "INSUFFICIENT_DATA"})


def test_what_a_step_is_held_against() -> None:
    """The evidence would be held against another rule, time or number of machines than this step's."""
    trusted = replace(ORDER, trusted=True)
    watch = Watch().held(5, 1000.0)
    held = state(
        trusted,
        first=RINGING,
        wanted=3,
        written=(SHARED.weights,),
        steps=(Step(5, min_requests=7),),
        watch=watch,
        hold_until=1040.0,
    )
    assert canary.expected(held, 1010.0, others=True) == Expected(
        policy=POLICY,
        rule=SHARED,
        wanted=3,
        watch=watch,
        now=1010.0,
        until=1040.0,
        asked=7,
        others=True,
        ringing=frozenset({"up"}),
        compared=Compared(shared=True, alive=True),
    )


def test_only_a_rollback_may_begin_under_an_alarm() -> None:
    """A new release would be let off an alarm that rings because of it, or a rollback be stopped by its own reason."""
    trusted = replace(ORDER, trusted=True)
    assert canary.ringing(state(trusted, first=RINGING)) == {"up"}
    assert canary.ringing(state(ORDER, first=RINGING)) == frozenset()
    assert canary.ringing(replace(state(trusted), first=None)) == frozenset()
