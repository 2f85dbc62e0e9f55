"""The evidence for and against a candidate with traffic: each reading becomes a finding.

It decides only about single findings: good, not (yet) known, or bad. `fleetswap.domain.rollout.canary` decides from all
of them what to do. What could not be read is unknown, never good. `fleetswap.domain.rollout.periods` says which
CloudWatch metrics count. It does no I/O and knows no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fleetswap.domain.rollout import health, metric_values, rates
from fleetswap.domain.rollout.findings import Code, Finding, Unit
from fleetswap.domain.rollout.health import Answer, Reading, Target, Verdict
from fleetswap.domain.rollout.metric_values import Compared, MetricRead, MetricWatch
from fleetswap.domain.rollout.model import Group, Rule, shares
from fleetswap.domain.rollout.periods import Period, Watch, window
from fleetswap.domain.rollout.policy import Check, Policy
from fleetswap.domain.rollout.rates import Above, Bad, Limit
from fleetswap.domain.text import one_line


class AlarmState(StrEnum):
    """The states of an alarm (CloudWatch, DescribeAlarms, StateValue)."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


@dataclass(frozen=True)
class Evidence:
    """What was read at one moment. `None` is unknown: AWS did not answer, or it was not asked."""

    rule: Rule | None
    rule_known: bool
    targets: tuple[Target, ...] | None
    home_targets: tuple[Target, ...] | None = None
    """Of the release that shares the traffic."""
    group: Group | None = None
    answer: Answer | None = None
    """Of the plain address."""
    alarms: Mapping[str, str] | None = None
    periods: tuple[Period, ...] | None = None
    """What CloudWatch tells of every period since the candidate got its first request."""
    metrics: tuple[MetricRead, ...] = ()
    """One for each metric check."""


@dataclass(frozen=True)
class Expected:
    """What the evidence is held against."""

    policy: Policy
    rule: Rule | None
    """The weights that this rollout wrote."""
    wanted: int
    """Machines that must be healthy."""
    weighted: bool = False
    """Whether these are units of capacity."""
    watch: Watch = field(default_factory=Watch)
    """What is known of requests, with this reading."""
    now: float = 0.0
    until: float = 0.0
    """The end of the step's hold."""
    asked: int = 0
    """Requests that must have been counted in whole periods of this step."""
    others: bool = False
    """Whether the rule as it was read is certainly someone else's work."""
    ringing: frozenset[str] = frozenset()
    """Alarms that rang before and are no evidence about this candidate."""
    metrics: MetricWatch = field(default_factory=MetricWatch)
    """What is known of metrics, with this reading."""
    compared: Compared = field(default_factory=Compared)
    """What these are compared with."""
    converging: bool = False
    """Whether a node may still respond with the listener's 503, because nothing was live before."""


def findings(evidence: Evidence, expected: Expected) -> tuple[Finding, ...]:
    """Everything that can be said, the reasons to abort first."""
    found = [*_always(evidence, expected), *_checks(evidence, expected)]
    order = [Verdict.ABORT, Verdict.WAIT, Verdict.PROMOTE]
    return tuple(sorted(found, key=lambda finding: order.index(finding.verdict)))


def _always(evidence: Evidence, expected: Expected) -> Iterator[Finding]:
    """What is judged in every rollout."""
    if evidence.group is not None and evidence.group.abort is not None:
        yield stopped(evidence.group.abort)
    yield _weights(evidence, expected)
    yield _health(evidence.targets, expected)
    if evidence.home_targets is not None and not health.healthy(evidence.home_targets):
        yield Finding(Check.PREVIOUS, Verdict.ABORT, Code.NONE, value=0, limit=1, unit=Unit.MACHINES, again=True)


def _checks(evidence: Evidence, expected: Expected) -> Iterator[Finding]:
    """What the policy asks for."""
    policy = expected.policy
    if evidence.answer is not None:
        answer = probed(evidence.answer, policy)
        if answer.verdict is Verdict.ABORT and expected.converging:
            answer = replace(answer, verdict=Verdict.WAIT, again=False)
        yield answer
    for finding in alarms(evidence.alarms, policy.alarms, expected.ringing):
        yield _reported(finding, policy)
    yield from _metrics(evidence, expected)
    if policy.counts_requests and not evidence.periods:
        # Our own probes are requests, too: where nothing at all is counted, CloudWatch is late or out of order.
        yield Finding(Check.REQUESTS, Verdict.WAIT, Code.UNKNOWN if evidence.periods is None else Code.NONE)
        return
    if policy.must_count(expected.asked):
        yield _counted(expected)
    if policy.errors is not None:
        yield _reported(_rate(Bad.ERRORS, expected, policy.errors), policy)
    if policy.slow is not None:
        yield _reported(_rate(Bad.SLOW, expected, policy.slowness), policy)


def _reported(finding: Finding, policy: Policy) -> Finding:
    """A check that is for report only is told, and neither aborts nor waits."""
    if not policy.reports_only(finding.check, finding.subject) or finding.verdict is Verdict.PROMOTE:
        return finding
    return replace(finding, verdict=Verdict.PROMOTE, report_only=True, again=False)


def _metrics(evidence: Evidence, expected: Expected) -> Iterator[Finding]:
    """One finding a metric check. One that was not read has no value."""
    read = {each.name: each for each in evidence.metrics}
    for check in expected.policy.metrics:
        found = metric_values.finding(
            check,
            read.get(check.name, MetricRead(check.name, problem="was not read")),
            expected.metrics,
            expected.watch,
            expected.compared,
            until=expected.until,
            now=expected.now,
        )
        yield _reported(found, expected.policy)


def stopped(reason: str) -> Finding:
    """A person asked for the end of the rollout."""
    return Finding(Check.STOP, Verdict.ABORT, Code.STOPPED, detail=one_line(reason))


def _weights(evidence: Evidence, expected: Expected) -> Finding:
    if not evidence.rule_known:
        return Finding(Check.WEIGHTS, Verdict.WAIT, Code.UNKNOWN)
    if expected.others:
        return Finding(Check.WEIGHTS, Verdict.ABORT, Code.CHANGED)
    if shares(evidence.rule) != shares(expected.rule):
        return Finding(Check.WEIGHTS, Verdict.WAIT, Code.STALE)
    return Finding(Check.WEIGHTS, Verdict.PROMOTE)


def _health(targets: tuple[Target, ...] | None, expected: Expected) -> Finding:
    wanted = expected.wanted
    machines = health.summary(Reading(targets), wanted=wanted, weighted=expected.weighted)
    verdict, code = Verdict.PROMOTE, Code.OK
    if machines.healthy is None:
        verdict, code = Verdict.WAIT, Code.UNKNOWN
    elif not machines.healthy:
        verdict, code = Verdict.ABORT, Code.NONE
    elif machines.healthy < wanted:
        verdict, code = Verdict.WAIT, Code.TOO_FEW
    return Finding(
        Check.HEALTH,
        verdict,
        code,
        value=machines.healthy,
        limit=wanted,
        unit=Unit.MACHINES,
        machines=machines,
        again=verdict is Verdict.ABORT,
    )


def probed(answer: Answer, policy: Policy) -> Finding:
    """What a probe got, through the preview rule or at the plain address."""
    good = answer.status in policy.probe_statuses
    finding = Finding(
        Check.PROBE,
        Verdict.PROMOTE if good else Verdict.ABORT,
        Code.OK if good else Code.NO_RESPONSE if answer.status is None else Code.WRONG,
        subject=policy.probe_path,
        value=answer.status,
        limit=" or ".join(map(str, policy.probe_statuses)),
        unit=Unit.STATUS,
        detail=one_line(answer.error),
        again=not good,
    )
    return _reported(finding, policy)


def alarms(states: Mapping[str, str] | None, names: tuple[str, ...], ignored: frozenset[str]) -> Iterator[Finding]:
    """One finding an alarm. ALARM aborts; what is not known to be OK waits: insufficient data is no pass."""
    for name in names:
        state = None if states is None else states.get(name)
        if name in ignored:
            verdict, code = Verdict.PROMOTE, Code.NOT_COUNTED
        elif state is None:
            verdict, code = Verdict.WAIT, Code.UNKNOWN if states is None else Code.NONE
        elif state == AlarmState.OK:
            verdict, code = Verdict.PROMOTE, Code.OK
        else:
            verdict, code = Verdict.ABORT if state == AlarmState.ALARM else Verdict.WAIT, Code.WRONG
        yield Finding(
            Check.ALARMS, verdict, code, subject=name, value=state, limit=AlarmState.OK.value, unit=Unit.STATE
        )


def _counted(expected: Expected) -> Finding:
    """Whether the step itself was seen: whole periods of its own, settled, up to the end of its hold.

    What is known of the steps before says nothing about this one.
    """
    own = expected.watch.own()
    settled = [known.period for known in own if known.is_settled(expected.now)]
    answers = sum(period.counts(Bad.ERRORS, period.candidate).requests for period in settled)
    asked = max(expected.asked, 1)
    finding = Finding(
        Check.REQUESTS,
        Verdict.WAIT,
        value=answers,
        limit=asked,
        unit=Unit.REQUESTS,
        window=window(settled),
    )
    if not settled:
        return replace(finding, code=Code.NONE)
    if answers < asked:
        return replace(finding, code=Code.TOO_FEW)
    open_ = any(known.period.ended <= expected.until and not known.is_settled(expected.now) for known in own)
    if open_ or max(period.ended + period.length for period in settled) <= expected.until:
        return replace(finding, code=Code.UNSETTLED)
    return replace(finding, verdict=Verdict.PROMOTE)


_ABOVE = {
    Above.LIVE: Code.ABOVE_LIVE,
    Above.FORMER: Code.ABOVE_FORMER,
    Above.CEILING: Code.ABOVE_CEILING,
}


def _rate(kind: Bad, expected: Expected, limit: Limit) -> Finding:
    """Too few requests are no reason to wait here: how many are needed is the step's `min_requests`."""
    found = rates.judge(expected.watch.stretches(kind, expected.now), limit)
    finding = Finding(
        Check.ERRORS if kind is Bad.ERRORS else Check.SLOWNESS,
        Verdict.PROMOTE,
        value=found.candidate.rate if found.candidate.requests else None,
        unit=Unit.RATE,
        candidate=found.candidate,
        live=found.live,
        ratio=limit.ratio,
        window=window(expected.watch.speaking(expected.now)),
    )
    if found.excess is None:
        return finding
    return replace(
        finding,
        verdict=Verdict.ABORT,
        code=_ABOVE[found.excess.above],
        limit=found.excess.limit,
        chance=found.excess.chance,
        again=True,
    )


def images(found: Mapping[str, str], machines: tuple[str, ...], *, image: str, report_only: bool) -> Finding:
    """Whether each machine runs the release's image. One that EC2 does not know is unknown."""
    finding = Finding(Check.IMAGE, Verdict.PROMOTE, value=image, limit=image, unit=Unit.IMAGE)
    wrong = [machine for machine in machines if found.get(machine, image) != image]
    unknown = [machine for machine in machines if machine not in found]
    if wrong:
        finding = replace(finding, verdict=Verdict.ABORT, code=Code.WRONG, subject=wrong[0], value=found[wrong[0]])
    elif unknown:
        finding = replace(finding, verdict=Verdict.WAIT, code=Code.UNKNOWN, subject=unknown[0], value=None)
    if report_only and finding.verdict is not Verdict.PROMOTE:
        return replace(finding, verdict=Verdict.PROMOTE, report_only=True)
    return finding
