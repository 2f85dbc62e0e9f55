"""What the gate and the checks have found, in words: the one place that makes messages from numbers.

Only the words. For the numbers, use the findings themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from fleetswap.domain.rollout.canary import Judgement
from fleetswap.domain.rollout.evidence import AlarmState
from fleetswap.domain.rollout.findings import Code, Finding, Value
from fleetswap.domain.rollout.health import Answer, Decision, Failure, Machines
from fleetswap.domain.rollout.policy import Check
from fleetswap.domain.rollout.rates import Counts
from fleetswap.domain.text import capacity, counted, one_line

RARE = 1e-9
"""A chance below this is not told exactly: nobody compares such numbers."""

# The checks


def reasons(found: Sequence[Finding]) -> str:
    """Several findings in one line."""
    return "; ".join(lines(found))


def lines(found: Sequence[Finding]) -> tuple[str, ...]:
    """Each finding in one line; alarms of which there is the same to say share one."""
    grouped: dict[tuple[object, ...], list[Finding]] = {}
    for finding in found:
        alike = (finding.code, finding.value, finding.report_only) if finding.check is Check.ALARMS else (id(finding),)
        grouped.setdefault(alike, []).append(finding)
    return tuple(_line(group) for group in grouped.values())


def _line(alike: Sequence[Finding]) -> str:
    finding = alike[0]
    words = _alarms(alike) if finding.check is Check.ALARMS else _WORDS[finding.check](finding)
    return f"(report only) {words}" if finding.report_only else words


def _stop(finding: Finding) -> str:
    return f"aborted on request: {finding.detail or 'no reason given'}"


def _weights(finding: Finding) -> str:
    return {
        Code.UNKNOWN: "the weights are unknown: AWS does not respond",
        Code.CHANGED: "someone else moved the traffic",
        Code.STALE: "the listener still shows the old weights",
    }.get(finding.code, "the listener shows the new weights")


def _health(finding: Finding) -> str:
    if finding.machines is None:
        raise TypeError("a finding about health says of which machines")
    return machines(finding.machines)


def _previous(_: Finding) -> str:
    return "the release that has the rest of the traffic has no healthy machine"


def _image(finding: Finding) -> str:
    if finding.code is Code.WRONG:
        return f"{finding.subject} runs {finding.value} instead of {finding.limit}"
    if finding.code is Code.UNKNOWN:
        return f"the image of {finding.subject} is unknown"
    return f"every machine runs {finding.value}"


def _probe(finding: Finding) -> str:
    if finding.code is Code.NO_RESPONSE:
        return f"{finding.subject} does not respond ({finding.detail})"
    expected = f", expected {finding.limit}" if finding.code is Code.WRONG else ""
    return f"{finding.subject} responds with status {finding.value}{expected}"


def _alarms(alike: Sequence[Finding]) -> str:
    several = len(alike) > 1
    names = f"alarm{'s' if several else ''} {' and '.join(finding.subject for finding in alike)}"
    match alike[0].code:
        case Code.UNKNOWN:
            return f"the state of {names} is unknown: CloudWatch does not respond"
        case Code.NONE:
            return f"{names} {'do' if several else 'does'} not exist"
        case Code.NOT_COUNTED:
            return f"{names} {'do' if several else 'does'} not count, being in ALARM before this rollout"
        case _:
            state = alike[0].value
            return f"{names} {'are' if several else 'is'} {'in ' if state == AlarmState.ALARM else ''}{state}"


def _requests(finding: Finding) -> str:
    if finding.limit is None:
        why = "does not respond" if finding.code is Code.UNKNOWN else "has no data points yet"
        return f"the number of requests is unknown: CloudWatch {why}"
    if finding.code is Code.NONE:
        return "no whole period of this step is counted yet"
    words = f"{finding.value:,} of {finding.limit:,} requests are counted"
    return f"{words}, but not yet those of the step's last period" if finding.code is Code.UNSETTLED else words


def _rate(finding: Finding) -> str:
    words = f"{'5xx' if finding.check is Check.ERRORS else 'slow'}: candidate {_counts(finding.candidate)}"
    if finding.live is not None:
        words += f", live {_counts(finding.live)}"
    match finding.code:
        case Code.ABOVE_LIVE:
            words += f"; more than {finding.ratio:g} times the rate of live"
        case Code.ABOVE_FORMER:
            words += f"; more than {finding.ratio:g} times the rate that live had before"
        case Code.ABOVE_CEILING:
            words += f"; more than the ceiling of {_percent(finding.limit)}"
        case _:
            return words
    return f"{words} ({_chance(finding.chance)})"


def _counts(counts: Counts | None) -> str:
    if counts is None or not counts.requests:
        return "no requests"
    return f"{counts.bad:,} of {counts.requests:,} ({_percent(counts.rate)})"


def _percent(rate: Value | None) -> str:
    """As a reader compares rates: 25 %, 5.8 %, 0.04 %."""
    percent = 100 * float(rate or 0)
    if percent == 0 or percent >= 10:
        return f"{percent:.0f} %"
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.{-math.floor(math.log10(percent))}f} %"


def _chance(chance: float | None) -> str:
    """How often a release that keeps to the limit would be seen like this."""
    if not chance or chance < RARE:
        return f"by chance less than once in {1 / RARE:,.0f}"
    return f"by chance at most once in {1 / chance:,.0f}"


def _metric(finding: Finding) -> str:
    words = f"metric {finding.subject}"
    match finding.code:
        case Code.UNKNOWN:
            return f"{words} has no value: {finding.detail}"
        case Code.NONE:
            return f"{words} has no value of this step yet ({finding.detail})"
        case Code.UNSETTLED:
            return f"{words}: the last value of this step may still change, or is yet to come"
    words += f" is {_number(finding.value)}"
    if finding.code is Code.NO_LIVE:
        return f"{words}, and the live release has no value to compare it with ({finding.detail})"
    if finding.live_value is not None:
        words += f", live {_number(finding.live_value)}"
    if finding.limit is not None:
        than = "the limit is" if finding.code in {Code.OK, Code.TOO_FEW} else _THAN[finding.code]
        words += f"; {than} {_number(finding.limit)}"
    alike, needed = finding.row or (0, 0)
    return words if needed <= 1 else f"{words} ({min(alike, needed)} of {needed} in a row)"


_THAN = {
    Code.ABOVE_MAX: "more than max",
    Code.BELOW_MIN: "less than min",
    Code.ABOVE_LIVE: "more than live's value allows,",
    Code.ABOVE_FORMER: "more than the value allows that live had before,",
}


def _number(value: Value | None) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


_WORDS: Mapping[Check, Callable[[Finding], str]] = {
    Check.STOP: _stop,
    Check.WEIGHTS: _weights,
    Check.HEALTH: _health,
    Check.PREVIOUS: _previous,
    Check.IMAGE: _image,
    Check.PROBE: _probe,
    Check.REQUESTS: _requests,
    Check.ERRORS: _rate,
    Check.SLOWNESS: _rate,
    Check.METRICS: _metric,
}


def judgement(judged: Judgement) -> str:
    """Why a step is passed, held or aborted."""
    return f"not enough evidence in time: {reasons(judged.findings)}" if judged.late else reasons(judged.findings)


# The gate


def decision(decided: Decision) -> str:
    """Why the gate lets a candidate pass, waits for it, or gives it up."""
    if decided.hopeless is not None:
        return f"no machine can be launched: {_failure(decided.hopeless)}"
    return machines(decided.machines)


def machines(seen: Machines) -> str:
    """The machines in one line: how many there are, and why the others do not serve."""
    if seen.healthy is None:
        return "the health of the machines is unknown: AWS does not respond"
    of = f"of {capacity(seen.wanted, weighted=seen.weighted)}"
    count = f"{seen.healthy} {of} healthy"
    if seen.launched is not None:
        count = f"{seen.launched} {of} launched, {seen.healthy} healthy"
    alike: dict[str, list[str]] = {}
    for target in seen.waiting:
        alike.setdefault(one_line(f"{target.reason or target.state} {target.description}"), []).append(target.machine)
    parts = [count, *(f"{', '.join(names)}: {why}" for why, names in alike.items())]
    if seen.more:
        parts.append(f"and {seen.more} more")
    parts += [f"launch failed: {_failure(failure)}" for failure in seen.failures[:1]]
    return "; ".join(parts)


def on_demand(count: int, *, weighted: bool) -> str:
    """So many On-Demand Instances, or with weights so much capacity of them."""
    return (
        f"{capacity(count, weighted=True)} of On-Demand Instances" if weighted else counted(count, "On-Demand Instance")
    )


def answer(got: Answer) -> str:
    """What a probe got."""
    return f"status {got.status}" if got.status is not None else f"no response ({one_line(got.error)})"


def _failure(failure: Failure) -> str:
    """Why a launch failed, in AWS's words, and what is to be done about it if they do not say."""
    message = one_line(failure.message)
    if failure.quota:
        return (
            f'{message}: the quota "{failure.quota}" of this account and region is used up (a deploy needs the machines'
            " of two releases at once): raise it in Service Quotas, or end what uses it"
        )
    if failure.is_of_a_key:
        return (
            f"{message}: the KMS key of the volume (the account's default key for EBS encryption) must be enabled, and"
            " its policy must allow the role AWSServiceRoleForAutoScaling to use it and to create grants (EC2 Auto"
            " Scaling user guide, key policy for encrypted volumes)"
        )
    return message
