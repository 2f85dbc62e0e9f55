"""Each thing that is read of a candidate under traffic, as a table to what it says: good, not known yet, or bad."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.rollout import evidence, wording
from fleetswap.domain.rollout.evidence import Evidence, Expected, findings
from fleetswap.domain.rollout.findings import Code, Unit
from fleetswap.domain.rollout.health import Answer, Target, Verdict
from fleetswap.domain.rollout.model import Group, Rule
from fleetswap.domain.rollout.periods import AGED, Figures, Period, Watch
from fleetswap.domain.rollout.policy import Check, Policy
from fleetswap.domain.rollout.rates import Limit

RULE = Rule((("tg-live", 95), ("tg-new", 5)))
GOOD = (Target("i-1", "healthy"), Target("i-2", "healthy"))
SICK = (Target("i-1", "unhealthy", "Target.Timeout"),)
POLICY = Policy(minimum=2)
EXPECTED = Expected(POLICY, RULE, 2)
READ = Evidence(RULE, rule_known=True, targets=GOOD, answer=Answer(200))


def told(read: Evidence, expected: Expected = EXPECTED) -> list[tuple[str, str, bool]]:
    return [(str(found.verdict), wording.reasons([found]), found.again) for found in findings(read, expected)]


ALL_GOOD = [
    ("promote", "the listener shows the new weights", False),
    ("promote", "2 of 2 machines healthy", False),
    ("promote", "/ responds with status 200", False),
]


@pytest.mark.parametrize(
    ("read", "first"),
    [
        (READ, ALL_GOOD[0]),
        (replace(READ, rule_known=False), ("wait", "the weights are unknown: AWS does not respond", False)),
        (replace(READ, rule=None), ("wait", "the listener still shows the old weights", False)),
        (replace(READ, targets=None), ("wait", "the health of the machines is unknown: AWS does not respond", False)),
        (replace(READ, targets=GOOD[:1]), ("wait", "1 of 2 machines healthy", False)),
        (replace(READ, targets=SICK), ("abort", "0 of 2 machines healthy; i-1: Target.Timeout", True)),
        (
            replace(READ, home_targets=SICK),
            ("abort", "the release that has the rest of the traffic has no healthy machine", True),
        ),
        (replace(READ, home_targets=GOOD), ALL_GOOD[0]),
        (replace(READ, answer=Answer(503)), ("abort", "/ responds with status 503, expected 200", True)),
        (replace(READ, group=Group(2, 2, 5)), ALL_GOOD[0]),
        (replace(READ, group=Group(2, 2, 5, abort="enough")), ("abort", "aborted on request: enough", False)),
        (replace(READ, group=Group(2, 2, 5, abort=" ")), ("abort", "aborted on request: no reason given", False)),
    ],
)
def test_what_is_judged_in_every_rollout(read: Evidence, first: tuple[str, str, bool]) -> None:
    """What is not known would pass, a single stale reading abort, or the reason to abort not be the first one told."""
    assert told(read)[0] == first
    assert len(told(read)) >= len(ALL_GOOD)


def test_what_someone_else_did_is_told_before_what_it_did() -> None:
    """A rollout would wait for its weights to be seen while another one has moved the traffic."""
    others = replace(EXPECTED, others=True)
    assert told(READ, others)[0] == ("abort", "someone else moved the traffic", False)
    assert told(replace(READ, rule_known=False), others)[0][0] == "wait"


def test_on_a_first_deploy_a_node_may_still_respond_as_before() -> None:
    """A first deploy would fail by chance: a node that is late responds with the listener's 503."""
    late = replace(EXPECTED, converging=True)
    bad = ("wait", "/ responds with status 503, expected 200", False)
    assert told(replace(READ, answer=Answer(503)), late)[0] == bad
    assert told(READ, late) == ALL_GOOD
    assert told(replace(READ, targets=SICK), late)[0][0] == "abort"


def test_without_an_answer_of_the_probe_nothing_is_said_of_it() -> None:
    """What was not asked would be good, or bad."""
    assert told(replace(READ, answer=None)) == ALL_GOOD[:2]


@pytest.mark.parametrize(
    ("states", "ignored", "verdict", "words"),
    [
        (None, (), "wait wait", "the state of alarms up and slow is unknown: CloudWatch does not respond"),
        ({"up": "OK", "slow": "OK"}, (), "promote promote", "alarms up and slow are OK"),
        ({"up": "ALARM", "slow": "ALARM"}, (), "abort abort", "alarms up and slow are in ALARM"),
        (
            {"up": "ALARM", "slow": "OK"},
            ("up",),
            "promote promote",
            "alarm up does not count, being in ALARM before this rollout; alarm slow is OK",
        ),
        (
            {"up": "ALARM", "slow": "ALARM"},
            ("up",),
            "promote abort",
            "alarm up does not count, being in ALARM before this rollout; alarm slow is in ALARM",
        ),
        ({"up": "INSUFFICIENT_DATA"}, (), "wait wait", "alarm up is INSUFFICIENT_DATA; alarm slow does not exist"),
        ({"up": "ODD", "slow": "OK"}, (), "wait promote", "alarm up is ODD; alarm slow is OK"),
    ],
)
def test_alarms(states: dict[str, str] | None, ignored: tuple[str, ...], verdict: str, words: str) -> None:
    """An alarm in ALARM, or of which nothing is known, would pass; or one of before would forbid the rollback."""
    expected = replace(EXPECTED, policy=replace(POLICY, alarms=("up", "slow")), ringing=frozenset(ignored))
    found = [each for each in findings(replace(READ, alarms=states), expected) if each.check is Check.ALARMS]
    found.sort(key=lambda each: each.subject, reverse=True)
    assert [each.subject for each in found] == ["up", "slow"]
    assert " ".join(each.verdict for each in found) == verdict
    assert wording.reasons(found) == words
    assert not any(each.again for each in found), "CloudWatch has looked several times before an alarm says ALARM"


@pytest.mark.parametrize(
    ("found", "verdict", "words"),
    [
        ({"i-1": "ami-1", "i-2": "ami-1", "i-9": "ami-2"}, "promote", "every machine runs ami-1"),
        ({"i-1": "ami-1"}, "wait", "the image of i-2 is unknown"),
        ({"i-2": "ami-2"}, "abort", "i-2 runs ami-2 instead of ami-1"),
        ({"i-1": "ami-1", "i-2": "ami-2"}, "abort", "i-2 runs ami-2 instead of ami-1"),
    ],
)
def test_images(found: dict[str, str], verdict: str, words: str) -> None:
    """Traffic would move to machines of another image, or a machine that EC2 does not know yet would end a rollout."""
    machines = ("i-1", "i-2")
    said = evidence.images(found, machines, image="ami-1", report_only=False)
    assert (said.verdict, wording.reasons([said])) == (verdict, words)
    reported = evidence.images(found, machines, image="ami-1", report_only=True)
    assert reported.verdict is Verdict.PROMOTE
    assert wording.reasons([reported]) == (words if verdict == "promote" else f"(report only) {words}")
    assert (reported.code, reported.value) == (said.code, said.value), "what was found is kept"
    assert (said.value, said.limit, said.unit) == (
        {"promote": "ami-1", "wait": None, "abort": "ami-2"}[verdict],
        "ami-1",
        Unit.IMAGE,
    )


@pytest.mark.parametrize(
    ("checks", "words"),
    [
        (("probe",), "(report only) / responds with status 500"),
        (("alarms",), "(report only) alarm up is in ALARM"),
        (("errors",), "(report only) 5xx: candidate 60 of 60"),
        (("slowness",), "(report only) slow: candidate 60 of 60"),
    ],
)
def test_what_is_for_report_only_is_told_and_nothing_else(checks: tuple[str, ...], words: str) -> None:
    """A check that a team is trying out would end its deploys, or hold nothing against a bad release."""
    policy = Policy(
        minimum=2, alarms=("up",), errors=Limit(ceiling=0.1), slow=1.0, slowness=Limit(ceiling=0.1), report_only=checks
    )
    period = Period(0, 0, 60, 60, Figures(60, 0, 60, timed=60), None, 60)
    watch = Watch().held(100, 0).read((period,), 60)
    read = replace(READ, answer=Answer(500), alarms={"up": "ALARM"}, periods=(period,))
    said = findings(read, replace(EXPECTED, policy=policy, watch=watch, now=1000.0))
    assert any(line.startswith(words) for line in wording.lines(said)), wording.lines(said)
    assert sum(found.verdict is Verdict.ABORT for found in said) == 3
    assert not any(line.startswith("(report only) the listener") for line in wording.lines(said))


def test_what_is_good_is_told_without_a_note() -> None:
    """A reader would take a good answer for one that was not good enough."""
    reporting = replace(EXPECTED, policy=replace(POLICY, report_only=("probe",)))
    assert told(READ, reporting) == ALL_GOOD


@pytest.mark.parametrize(("periods", "words"), [(None, "does not respond"), ((), "has no data points yet")])
def test_requests_that_nobody_counts_are_waited_for(periods: tuple[Period, ...] | None, words: str) -> None:
    """A release would pass a step in which CloudWatch has told nothing."""
    counting = replace(EXPECTED, policy=replace(POLICY, errors=Limit()))
    finding = ("wait", f"the number of requests is unknown: CloudWatch {words}", False)
    assert finding in told(replace(READ, periods=periods), counting)
    assert finding not in told(replace(READ, periods=periods))


def period(start: float, requests: int = 30) -> Period:
    return Period(int(start), start, start + 60, 60, Figures(requests, requests), None, requests)


LATER = 60 + 60 * AGED


@pytest.mark.parametrize(
    ("periods", "asked", "now", "until", "verdict", "words"),
    [
        ((period(0),), 30, LATER, 60, "promote", "30 of 30 requests are counted"),
        ((period(0),), 31, LATER, 60, "wait", "30 of 31 requests are counted"),
        ((period(0, 0),), 0, LATER, 60, "wait", "0 of 1 requests are counted"),
        ((period(0, 1),), 0, LATER, 60, "promote", "1 of 1 requests are counted"),
        (
            (period(0),),
            30,
            LATER - 1,
            60,
            "wait",
            "no whole period of this step is counted yet",
        ),
        (
            (period(-1),),
            30,
            LATER,
            60,
            "wait",
            "no whole period of this step is counted yet",
        ),
        (
            (period(0), period(60)),
            30,
            LATER,
            120,
            "wait",
            "30 of 30 requests are counted, but not yet those of the step's last period",
        ),
        (
            (period(0),),
            30,
            LATER,
            120,
            "wait",
            "30 of 30 requests are counted, but not yet those of the step's last period",
        ),
        ((period(0),), 30, LATER, 119, "promote", "30 of 30 requests are counted"),
        ((period(0), period(60)), 30, LATER + 60, 120, "promote", "60 of 30 requests are counted"),
        ((period(0), period(60)), 30, LATER, 119, "promote", "30 of 30 requests are counted"),
    ],
)
def test_a_step_is_counted_by_its_own_settled_periods_to_the_end_of_its_hold(
    periods: tuple[Period, ...], asked: int, now: float, until: float, verdict: str, words: str
) -> None:
    """A step would pass on the requests of another one, on half of its own time, or would wait for ever."""
    expected = Expected(
        replace(POLICY, errors=Limit()),
        RULE,
        2,
        watch=Watch().held(5, 0).read(periods, 60),
        now=now,
        until=until,
        asked=asked,
    )
    said = [found for found in told(replace(READ, periods=periods), expected) if "counted" in found[1]]
    assert said == [(verdict, words, False)]


@pytest.mark.parametrize(
    ("periods", "asked", "until", "code", "value", "window"),
    [
        ((period(0),), 30, 60, Code.OK, 30, (0, 60)),
        ((period(0),), 31, 60, Code.TOO_FEW, 30, (0, 60)),
        ((period(-1),), 30, 60, Code.NONE, 0, None),
        ((period(0),), 30, 120, Code.UNSETTLED, 30, (0, 60)),
    ],
)
def test_what_is_counted_is_kept_as_numbers(
    periods: tuple[Period, ...], asked: int, until: float, code: Code, value: int, window: tuple[int, int] | None
) -> None:
    """A report could not say how many requests a step was judged by, and of which minutes."""
    policy = replace(POLICY, errors=Limit())
    watch = Watch().held(5, 0).read(periods, 60)
    expected = Expected(policy, RULE, 2, watch=watch, now=LATER, until=until, asked=asked)
    (found,) = [each for each in findings(replace(READ, periods=periods), expected) if each.check is Check.REQUESTS]
    assert (found.code, found.value, found.limit, found.unit) == (code, value, asked, Unit.REQUESTS)
    assert found.window == window
