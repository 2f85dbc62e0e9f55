"""What speaks for and against a candidate that has traffic: each thing that was read becomes a finding, in words.

It decides about single findings only: good, not (yet) known, or bad. `fleetswap.domain.rollout.canary` decides from all
of them what to do. What could not be read is unknown, never good; which figures of CloudWatch count is said in
`fleetswap.domain.rollout.periods`. It does no I/O and knows no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fleetswap.domain.rollout import gate, rates
from fleetswap.domain.rollout.gate import Answer, Reading, Target, Verdict
from fleetswap.domain.rollout.model import Group, Rule, shares
from fleetswap.domain.rollout.periods import Period, Watch
from fleetswap.domain.rollout.policy import Check, Policy
from fleetswap.domain.rollout.rates import Bad, Limit
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


@dataclass(frozen=True)
class Expected:
    """What the evidence is held against."""

    policy: Policy
    rule: Rule | None
    """The weights that this rollout wrote."""
    wanted: int
    """Machines that must be healthy."""
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


@dataclass(frozen=True)
class Finding:
    """One check's result. `again`: it must be bad in several readings in a row, because one of them may be stale."""

    verdict: Verdict
    words: str
    again: bool = False


def findings(evidence: Evidence, expected: Expected) -> tuple[Finding, ...]:
    """Everything that can be said, the reasons to abort first."""
    found = [*_always(evidence, expected), *_checks(evidence, expected)]
    order = [Verdict.ABORT, Verdict.WAIT, Verdict.PROMOTE]
    return tuple(sorted(found, key=lambda finding: order.index(finding.verdict)))


def _always(evidence: Evidence, expected: Expected) -> Iterator[Finding]:
    """What is judged in every rollout."""
    if evidence.group is not None and evidence.group.abort is not None:
        yield Finding(Verdict.ABORT, stopped(evidence.group.abort))
    yield _weights(evidence, expected)
    yield _health(evidence.targets, expected.wanted)
    if evidence.home_targets is not None and not gate.healthy(evidence.home_targets):
        yield Finding(Verdict.ABORT, "the release that has the other traffic has no healthy machine", again=True)


def _checks(evidence: Evidence, expected: Expected) -> Iterator[Finding]:
    """What the policy asks for."""
    policy = expected.policy
    if evidence.answer is not None:
        yield _reported(_probe(evidence.answer, policy), Check.PROBE, policy)
    if policy.alarms:
        yield _reported(alarms(evidence.alarms, policy.alarms, expected.ringing), Check.ALARMS, policy)
    if policy.counts_requests and not evidence.periods:
        # Our own probes are requests, too: where nothing at all is counted, CloudWatch is late or out of order.
        words = "does not answer" if evidence.periods is None else "has counted nothing yet"
        yield Finding(Verdict.WAIT, f"the number of requests is unknown: CloudWatch {words}")
        return
    if policy.must_count(expected.asked):
        yield _counted(expected)
    if policy.errors is not None:
        yield _reported(_rate(Bad.ERRORS, expected, policy.errors), Check.ERRORS, policy)
    if policy.slow is not None:
        yield _reported(_rate(Bad.SLOW, expected, policy.slowness), Check.SLOWNESS, policy)


def _reported(finding: Finding, check: Check, policy: Policy) -> Finding:
    """A check that is for report only is told, and neither aborts nor waits."""
    if not policy.reports_only(check) or finding.verdict is Verdict.PROMOTE:
        return finding
    return Finding(Verdict.PROMOTE, f"(report only) {finding.words}")


def stopped(reason: str) -> str:
    """The reason of an abort from outside."""
    return f"stopped from outside: {one_line(reason) or 'no reason given'}"


def _weights(evidence: Evidence, expected: Expected) -> Finding:
    if not evidence.rule_known:
        return Finding(Verdict.WAIT, "the weights are unknown: AWS does not answer")
    if expected.others:
        return Finding(Verdict.ABORT, "someone else moved the traffic")
    if shares(evidence.rule) != shares(expected.rule):
        return Finding(Verdict.WAIT, "the weights are seen as they were before")
    return Finding(Verdict.PROMOTE, "the weights hold")


def _health(targets: tuple[Target, ...] | None, wanted: int) -> Finding:
    words = gate.words(Reading(targets), wanted=wanted)
    if targets is None:
        return Finding(Verdict.WAIT, words)
    if not gate.healthy(targets):
        return Finding(Verdict.ABORT, words, again=True)
    return Finding(Verdict.PROMOTE if gate.healthy(targets) >= wanted else Verdict.WAIT, words)


def _probe(answer: Answer, policy: Policy) -> Finding:
    good = answer.status in policy.probe_statuses
    words = f"{policy.probe_path} answers with {answer.words}"
    return Finding(Verdict.PROMOTE if good else Verdict.ABORT, words, again=True)


def alarms(states: Mapping[str, str] | None, names: tuple[str, ...], ignored: frozenset[str]) -> Finding:
    """Ringing aborts; what is not known to be quiet waits: insufficient data is no pass."""
    if states is None:
        return Finding(Verdict.WAIT, "the alarms are unknown: CloudWatch does not answer")
    counted = [name for name in names if name not in ignored]
    ringing = [name for name in counted if states.get(name) == AlarmState.ALARM]
    if ringing:
        return Finding(Verdict.ABORT, f"alarm {' and '.join(ringing)} rings")
    unknown = [f"alarm {name} is {states.get(name, 'gone')}" for name in counted if states.get(name) != AlarmState.OK]
    if unknown:
        return Finding(Verdict.WAIT, ", ".join(unknown))
    words = "no alarm rings" if not ignored else f"no other alarm rings than {' and '.join(sorted(ignored))}"
    return Finding(Verdict.PROMOTE, words)


def _counted(expected: Expected) -> Finding:
    """Whether the step itself was seen: whole periods of its own, settled, up to the end of its hold.

    What is known of the steps before says nothing about this one.
    """
    own = expected.watch.own()
    settled = [known.period for known in own if known.is_settled(expected.now)]
    answers = sum(period.counts(Bad.ERRORS, period.candidate).requests for period in settled)
    asked = max(expected.asked, 1)
    words = f"{answers:,} of {asked:,} requests are counted"
    if not settled:
        return Finding(Verdict.WAIT, "no whole period of this step is counted yet")
    if answers < asked:
        return Finding(Verdict.WAIT, words)
    open_ = any(known.period.ended <= expected.until and not known.is_settled(expected.now) for known in own)
    if open_ or max(period.ended + period.length for period in settled) <= expected.until:
        return Finding(Verdict.WAIT, f"{words}, but not yet those of the step's last period")
    return Finding(Verdict.PROMOTE, words)


def _rate(kind: Bad, expected: Expected, limit: Limit) -> Finding:
    """Too few requests are no reason to wait here: how many are needed is the step's `min_requests`."""
    finding = rates.judge(kind, expected.watch.stretches(kind, expected.now), limit)
    if not finding.abort:
        return Finding(Verdict.PROMOTE, finding.reason)
    return Finding(Verdict.ABORT, finding.reason, again=True)


def images(
    found: Mapping[str, str], machines: tuple[str, ...], *, image: str, release: str, report_only: bool
) -> Finding:
    """Whether each machine runs the release's image. One that EC2 does not know is unknown."""
    wrong = sorted({found[machine] for machine in machines if machine in found} - {image})
    verdict, words = Verdict.PROMOTE, f"every machine runs {image}"
    unknown = [machine for machine in machines if machine not in found]
    if wrong:
        names = [machine for machine in machines if found.get(machine, image) != image]
        verdict, words = Verdict.ABORT, f"{names[0]} runs {wrong[0]}, but {release} is {image}"
    elif unknown:
        verdict, words = Verdict.WAIT, f"the image of {unknown[0]} is unknown"
    if report_only and verdict is not Verdict.PROMOTE:
        return Finding(Verdict.PROMOTE, f"(report only) {words}")
    return Finding(verdict, words)
