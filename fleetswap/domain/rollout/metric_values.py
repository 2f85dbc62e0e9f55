"""The values of `rollout.metrics`: which of them may be judged, and what they say about the candidate.

The rules are those of `fleetswap.domain.rollout.periods`. A value counts only if all the time that it stands for lies
within the present step, when the step's weights held on every node; one of CloudWatch, only when it is settled. No
value is never good: the step waits for one until its data deadline.

**Live's value** is that of the same period. With all the traffic on the candidate, it is the last one that live had
while it was serving, or, without a canary, before the rollout.

It does no I/O and knows no clock: `now` is an argument, and times are by the deployer's clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from fleetswap.domain.rollout.findings import Code, Finding, Unit
from fleetswap.domain.rollout.health import Verdict
from fleetswap.domain.rollout.metric_checks import MetricCheck
from fleetswap.domain.rollout.periods import AGED, QUIET, Span, Watch
from fleetswap.domain.rollout.policy import Check
from fleetswap.domain.rollout.strategy import ALL


@dataclass(frozen=True)
class Series:
    """The values of a CloudWatch query: by the start of their period, in Unix seconds of AWS's clock."""

    now: float
    """When CloudWatch answered, by that clock, in whole seconds."""
    late: float
    """Seconds of a period of the load balancer's metrics, by which it is known how late values are."""
    values: Mapping[int, float]


@dataclass(frozen=True)
class Sample:
    """The result of a Prometheus query."""

    at: float
    """When it was evaluated, by Prometheus's clock."""
    age: float = 0.0
    """Seconds since then: more than a second or two if something in between has kept the response."""
    value: float | None = None
    problem: str = ""
    """Why there is no value."""


@dataclass(frozen=True)
class Point:
    """The values of both releases in the period that began at `start` (Unix time, by the source's clock)."""

    start: float
    value: float | None = None
    """The candidate's."""
    live: float | None = None


@dataclass(frozen=True)
class MetricRead:
    """What one reading has found out for a check."""

    name: str
    asked: str = ""
    """What was asked about the candidate, in words."""
    points: tuple[Point, ...] = ()
    length: float = 60.0
    """Seconds of a period."""
    late: float = 0.0
    """Seconds in which values come and change, as one period of the load balancer's metrics; 0: they are final."""
    began: float = 0.0
    """What is added to a `start`: the period began at that time by the deployer's clock, not before."""
    ended: float = 0.0
    """The same for its end, not after."""
    problem: str = ""
    """Why there is no value of the candidate now."""
    live_problem: str = ""
    """Why there is none of live."""


@dataclass(frozen=True)
class Known:
    """A period of a check as it was read last, and since when it has been like this."""

    point: Point
    began: float
    ended: float
    length: float
    late: float
    since: float

    def is_settled(self, now: float) -> bool:
        """Whether nothing more is to come."""
        return now - self.ended >= AGED * self.late and now - self.since >= QUIET * self.late

    def within(self, span: Span) -> bool:
        """Whether it lies in a step as a whole."""
        return span.since <= self.began and self.ended <= span.until

    @property
    def number(self) -> int:
        """Of the period. Prometheus has a value for every moment: the last one in a period is kept."""
        return int(self.point.start // self.length)


@dataclass(frozen=True)
class MetricWatch:
    """All that is known of the candidate's metrics, by check and in the order of time."""

    known: Mapping[str, tuple[Known, ...]] = field(default_factory=dict)

    def read(self, reads: Sequence[MetricRead], now: float) -> MetricWatch:
        """With one more reading."""
        return MetricWatch({**self.known, **{read.name: self._after(read, now) for read in reads}})

    def _after(self, read: MetricRead, now: float) -> tuple[Known, ...]:
        found = {known.number: known for known in self.known.get(read.name, ())}
        for told in read.points:
            number = int(told.start // read.length)
            old = found.get(number)
            # With all the traffic on the candidate, live is no longer asked about; what it had then is still so.
            live = old.point.live if old is not None and told.live is None else told.live
            point = replace(told, live=live)
            since = old.since if old is not None and old.point == point else now
            began, ended = told.start + read.began, told.start + read.length + read.ended
            found[number] = Known(point, began, ended, read.length, read.late, since)
        return tuple(known for _, known in sorted(found.items()))


@dataclass(frozen=True)
class Compared:
    """What the candidate is compared with."""

    shared: bool = False
    """Whether live still has some of the traffic, so that its value of the same period counts."""
    alive: bool = False
    """Whether there was a live release with healthy machines, so that there must be a value."""
    before: tuple[MetricRead, ...] = ()
    """What was read before the candidate had traffic."""


def finding(
    check: MetricCheck,
    read: MetricRead,
    watch: MetricWatch,
    steps: Watch,
    compared: Compared,
    *,
    until: float,
    now: float,
) -> Finding:
    """What a check says about the present step, the last one of `steps`, whose hold ends at `until`."""
    found = Finding(
        Check.METRICS,
        Verdict.WAIT,
        Code.NONE,
        subject=check.name,
        unit=Unit.VALUE,
        row=(0, check.consecutive),
        detail=f"{read.problem} ({read.asked})" if read.problem else read.asked,
    )
    if read.problem:
        return replace(found, code=Code.UNKNOWN)
    known = watch.known.get(check.name, ())
    own = [each for each in known if each.point.value is not None and steps.spans and each.within(steps.spans[-1])]
    settled = [each for each in own if each.is_settled(now)]
    if not settled:
        return replace(found, code=Code.UNSETTLED if own else Code.NONE)
    former = None if compared.shared else _former(known, steps, compared, check)
    return _judged(
        found, check, read, settled, [_verdict(check, each, compared, former) for each in settled], until, now
    )


def _judged(
    found: Finding,
    check: MetricCheck,
    read: MetricRead,
    settled: Sequence[Known],
    verdicts: Sequence[_Verdict],
    until: float,
    now: float,
) -> Finding:
    newest, last = settled[-1], verdicts[-1]
    row = _row(settled, [None if each.code is Code.NO_LIVE else each.good for each in verdicts])
    found = replace(
        found,
        code=last.code,
        value=newest.point.value,
        limit=last.limit,
        live_value=last.live,
        row=(row, check.consecutive),
        window=(int(newest.point.start), int(newest.point.start + newest.length)),
    )
    if last.code is Code.NO_LIVE:
        return replace(found, detail=f"{read.live_problem} ({read.asked})" if read.live_problem else read.asked)
    if not last.good:
        return found if row < check.consecutive else replace(found, verdict=Verdict.ABORT, again=True)
    if row < check.consecutive:
        return replace(found, code=Code.TOO_FEW)
    stale = now - newest.ended > newest.length + (AGED + QUIET + 1) * newest.late
    if stale or newest.ended + newest.length <= until:
        return replace(found, code=Code.UNSETTLED)
    return replace(found, verdict=Verdict.PROMOTE)


@dataclass(frozen=True)
class _Verdict:
    code: Code
    limit: float | None = None
    live: float | None = None
    """What it was compared with."""

    @property
    def good(self) -> bool:
        return self.code is Code.OK


def _verdict(check: MetricCheck, known: Known, compared: Compared, former: float | None) -> _Verdict:
    """A value above `max` is bad, whatever live's is."""
    value = known.point.value or 0.0
    live = (known.point.live if compared.shared else former) if check.compares else None
    if check.max is not None and value > check.max:
        return _Verdict(Code.ABOVE_MAX, check.max)
    if check.min is not None and value < check.min:
        return _Verdict(Code.BELOW_MIN, check.min)
    if check.compares and live is not None:
        limit = _limit(check, live)
        above = Code.ABOVE_LIVE if compared.shared else Code.ABOVE_FORMER
        return _Verdict(above if value > limit else Code.OK, limit, live)
    if check.compares and (compared.shared or compared.alive):
        return _Verdict(Code.NO_LIVE)
    return _Verdict(Code.OK, check.min if check.max is None else check.max)


def _limit(check: MetricCheck, live: float) -> float:
    """The more lenient of both: a ratio alone would forbid everything where live has 0."""
    ratio = None if check.at_most is None else live + abs(live) * (check.at_most - 1)
    more = None if check.difference is None else live + check.difference
    return max(limit for limit in (ratio, more) if limit is not None)


def _row(settled: Sequence[Known], good: Sequence[bool | None]) -> int:
    """How many of the newest values are all good, or all bad, without a gap.

    Prometheus has values whose windows overlap: only those that lie whole windows apart are several.
    """
    newest, number = settled[-1], len(settled) - 1
    alike = takewhile(
        lambda at: good[at] is good[number] and newest.number - settled[at].number == number - at,
        range(number, -1, -1),
    )
    oldest = settled[min(alike)]
    return 1 + int((newest.point.start - oldest.point.start) // newest.length)


def _former(known: Sequence[Known], steps: Watch, compared: Compared, check: MetricCheck) -> float | None:
    """Live's last value while it was serving."""
    spans = [span for span in steps.spans[:-1] if span.weight < ALL]
    found = [each.point.live for each in known if any(each.within(span) for span in spans)]
    before = [point.live for read in compared.before if read.name == check.name for point in read.points]
    return next((live for live in (*reversed(found), *reversed(before)) if live is not None), None)
