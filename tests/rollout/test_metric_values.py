"""What a value of a metric says about the candidate: a table of values, times and limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.rollout import evidence, wording
from fleetswap.domain.rollout.evidence import Evidence, Expected
from fleetswap.domain.rollout.findings import Code, Finding
from fleetswap.domain.rollout.health import Target, Verdict
from fleetswap.domain.rollout.metric_checks import CloudWatch, MetricCheck
from fleetswap.domain.rollout.metric_values import Compared, MetricRead, MetricWatch, Point
from fleetswap.domain.rollout.model import Rule
from fleetswap.domain.rollout.periods import Watch
from fleetswap.domain.rollout.policy import Check, Policy
from fleetswap.domain.rollout.strategy import Strategy

QUERY = CloudWatch("Shop", "Refusals", "Sum", {"Release": "{{release}}"})
ASKED = "CloudWatch: Shop Refusals Sum (Release=new)"
SINCE = 1000.0
"""When the weights of the step held everywhere; its hold ends at 1030."""
SHARED, ALL = Compared(shared=True, alive=True), Compared(alive=True)
CLOUD = MetricRead("refusals", ASKED, length=60, late=60)
PROM = MetricRead("refusals", "http://prom: refusals", length=60)


def check(**limits: Any) -> MetricCheck:
    return MetricCheck("refusals", cloudwatch=QUERY, **limits or {"max": 5})


def judged(
    metric: MetricCheck,
    *reads: tuple[float, MetricRead],
    compared: Compared = SHARED,
    report_only: bool = False,
    watch: Watch | None = None,
) -> Finding:
    """What is found after these readings, each at its time."""
    known, now, read = MetricWatch(), 0.0, CLOUD
    for now, read in reads:
        known = known.read([read], now)
    policy = Policy(
        minimum=1,
        strategy=Strategy(bake=60),
        data_deadline=2000,
        metrics=(metric,),
        report_only=("metrics.refusals",) if report_only else (),
    )
    rule = Rule((("tg-live", 90), ("tg-new", 10)))
    expected = Expected(
        policy,
        rule,
        1,
        watch=watch or Watch().held(10, SINCE),
        now=now,
        until=1030,
        metrics=known,
        compared=compared,
    )
    read_now = Evidence(rule, True, (Target("i-1", "healthy"),), metrics=(read,))  # noqa: FBT003 - the rule is known
    (found,) = (each for each in evidence.findings(read_now, expected) if each.check is Check.METRICS)
    return found


def cloud(*values: float | None, live: float | None = None, first: int = 1020) -> MetricRead:
    points = tuple(Point(first + 60 * n, value, live) for n, value in enumerate(values))
    return replace(CLOUD, points=points)


def prom(value: float | None, at: float, live: float | None = None) -> MetricRead:
    if value is None:
        return replace(PROM, problem="no series matches")
    return replace(PROM, points=(Point(at - 60, value, live),))


DUE = 1080 + 135
"""When the first period of the step is settled."""


@pytest.mark.parametrize(
    ("metric", "reads", "verdict", "words"),
    [
        # No data is not a pass.
        (check(), [(DUE, cloud())], "wait", f"metric refusals has no value of this step yet ({ASKED})"),
        (check(), [(DUE, cloud(1.0, first=960))], "wait", f"metric refusals has no value of this step yet ({ASKED})"),
        (
            check(),
            [(DUE, replace(CLOUD, problem="CloudWatch does not respond"))],
            "wait",
            f"metric refusals has no value: CloudWatch does not respond ({ASKED})",
        ),
        # Values that come late, or change.
        (
            check(),
            [(1100, cloud(1.0)), (DUE - 1, cloud(1.0))],
            "wait",
            "metric refusals: the last value of this step may still change, or is yet to come",
        ),
        (check(), [(1100, cloud(1.0)), (DUE, cloud(1.0))], "promote", "metric refusals is 1; the limit is 5"),
        (check(), [(1100, cloud(1.0)), (DUE, cloud(2.0))], "wait", "metric refusals: the last value of this step"),
        (check(), [(1100, cloud(9.0)), (DUE, cloud(2.0)), (DUE + 45, cloud(2.0))], "promote", "metric refusals is 2;"),
        (
            check(),
            [(1100, cloud(1.0)), (DUE + 400, cloud(1.0))],
            "wait",
            "metric refusals: the last value of this step may still change, or is yet to come",
        ),
        # Limits.
        (check(), [(1100, cloud(9.0)), (DUE, cloud(9.0))], "abort", "metric refusals is 9; more than max 5"),
        (check(min=2), [(1100, cloud(1.0)), (DUE, cloud(1.0))], "abort", "metric refusals is 1; less than min 2"),
        (check(min=2), [(1100, cloud(2.0)), (DUE, cloud(2.0))], "promote", "metric refusals is 2; the limit is 2"),
        (
            check(at_most=1.2),
            [(1100, cloud(13.0, live=10.0)), (DUE, cloud(13.0, live=10.0))],
            "abort",
            "metric refusals is 13, live 10; more than live's value allows, 12",
        ),
        (
            check(at_most=1.2, difference=5),
            [(1100, cloud(13.0, live=10.0)), (DUE, cloud(13.0, live=10.0))],
            "promote",
            "metric refusals is 13, live 10; the limit is 15",
        ),
        (
            check(at_most=2),
            [(1100, cloud(-1.0, live=-10.0)), (DUE, cloud(-1.0, live=-10.0))],
            "promote",
            "metric refusals is -1, live -10; the limit is 0",
        ),
        (
            check(at_most=2, max=5),
            [(1100, cloud(9.0)), (DUE, cloud(9.0))],
            "abort",
            "metric refusals is 9; more than max 5",
        ),
        (
            check(at_most=1.2),
            [(1100, cloud(1.0)), (DUE, replace(cloud(1.0), live_problem="no series"))],
            "wait",
            f"metric refusals is 1, and the live release has no value to compare it with (no series ({ASKED}))",
        ),
        # Several in a row, without a gap.
        (
            check(max=5, consecutive=2),
            [(1100, cloud(9.0)), (DUE, cloud(9.0))],
            "wait",
            "metric refusals is 9; more than max 5 (1 of 2 in a row)",
        ),
        (
            check(max=5, consecutive=2),
            [(1100, cloud(9.0, 9.0)), (DUE + 60, cloud(9.0, 9.0))],
            "abort",
            "metric refusals is 9; more than max 5 (2 of 2 in a row)",
        ),
        (
            check(max=5, consecutive=2),
            [(1100, cloud(9.0, 1.0)), (DUE + 60, cloud(9.0, 1.0))],
            "wait",
            "metric refusals is 1; the limit is 5 (1 of 2 in a row)",
        ),
        (
            check(max=5, consecutive=2),
            [(1100, cloud(1.0, None, 1.0)), (DUE + 120, cloud(1.0, None, 1.0))],
            "wait",
            "metric refusals is 1; the limit is 5 (1 of 2 in a row)",
        ),
        # Prometheus has a value for every moment.
        (check(), [(1050, prom(1.0, 1050))], "wait", "metric refusals has no value of this step yet"),
        (check(), [(1060, prom(1.0, 1060))], "promote", "metric refusals is 1; the limit is 5"),
        (check(), [(1060, prom(9.0, 1060))], "abort", "metric refusals is 9; more than max 5"),
        (
            check(),
            [(1060, prom(1.0, 1060)), (1062, prom(None, 1062))],
            "wait",
            "metric refusals has no value: no series",
        ),
        (
            check(max=5, consecutive=2),
            [(1070, prom(1.0, 1070)), (1075, prom(9.0, 1075))],
            "wait",
            "metric refusals is 9; more than max 5 (1 of 2 in a row)",
        ),
        (
            check(max=5, consecutive=2),
            [(1079, prom(9.0, 1079)), (1081, prom(9.0, 1081))],
            "wait",
            "metric refusals is 9; more than max 5 (1 of 2 in a row)",
        ),
        (
            check(max=5, consecutive=2),
            [(1070, prom(9.0, 1070)), (1135, prom(9.0, 1135))],
            "abort",
            "metric refusals is 9; more than max 5 (2 of 2 in a row)",
        ),
    ],
)
def test_what_values_say(metric: MetricCheck, reads: list[tuple[float, MetricRead]], verdict: str, words: str) -> None:
    """No data, half of the data or the data of another step would pass a step, or one odd value abort a rollout."""
    found = judged(metric, *reads)
    assert wording.reasons([found]).startswith(words)
    assert (str(found.verdict), found.again) == (verdict, verdict == "abort")


def test_a_step_waits_for_the_last_value_within_its_hold() -> None:
    """A candidate that gets bad towards the end of a long hold would pass by its first minute."""
    watch = Watch().held(10, 900)
    found = judged(check(), (990, cloud(1.0, first=900)), (1110, cloud(1.0, first=900)), watch=watch)
    assert (found.verdict, found.code) == (Verdict.WAIT, Code.UNSETTLED), "960 to 1020 is within the hold as well"


def test_a_check_for_report_only_neither_aborts_nor_waits() -> None:
    """A metric that is being tried out would put a release back."""
    for read in (cloud(9.0), cloud()):
        found = judged(check(), (1100, read), (DUE, read), report_only=True)
        assert (found.verdict, found.report_only, found.again) == (Verdict.PROMOTE, True, False)


@pytest.mark.parametrize(
    ("compared", "verdict", "words"),
    [
        (ALL, "abort", "metric refusals is 13, live 10; more than the value allows that live had before, 12"),
        (Compared(), "promote", "metric refusals is 13"),
        (Compared(alive=True, before=(replace(CLOUD, points=(Point(0, None, 12.0),)),)), "abort", "live 10; more than"),
    ],
)
def test_with_all_the_traffic_it_is_compared_with_what_live_had_before(
    compared: Compared, verdict: str, words: str
) -> None:
    """In the bake a candidate would be compared with a live release that serves nobody, or not at all."""
    watch = Watch().held(10, 500).over(800).held(100, SINCE)
    before = replace(CLOUD, points=(Point(540, 1.0, 10.0), Point(900, 1.0, 99.0)) if compared.alive else ())
    read = replace(CLOUD, points=(Point(540, 1.0), Point(1020, 13.0)))
    found = judged(check(at_most=1.2), (800, before), (1100, read), (DUE, read), compared=compared, watch=watch)
    assert str(found.verdict) == verdict
    assert words in wording.reasons([found])


def test_without_a_canary_it_is_compared_with_what_live_had_before_the_rollout() -> None:
    """A release that moves all the traffic at once would not be compared, though live had values."""
    compared = Compared(alive=True, before=(replace(CLOUD, points=(Point(0, None, 10.0), Point(60))),))
    watch = Watch().held(100, SINCE)
    read = cloud(13.0)
    found = judged(check(at_most=1.2), (1100, read), (DUE, read), compared=compared, watch=watch)
    assert found.code is Code.ABOVE_FORMER
    none = judged(check(at_most=1.2), (1100, read), (DUE, read), compared=ALL, watch=watch)
    assert (none.verdict, none.code) == (Verdict.WAIT, Code.NO_LIVE), "live was there, and had no value"


def test_a_check_that_was_not_read_has_no_value() -> None:
    """A record of before, or a reading without it, would pass."""
    policy = Policy(minimum=1, strategy=Strategy(bake=60), metrics=(check(),))
    found = evidence.findings(Evidence(None, True, ()), Expected(policy, None, 1))  # noqa: FBT003 - as above
    assert [each.code for each in found if each.check is Check.METRICS] == [Code.UNKNOWN]
