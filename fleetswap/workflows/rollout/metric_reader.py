"""Reads the values of `rollout.metrics` for the candidate and for live: each query filled in, asked, and put together.

It judges no value. A reading never fails: what could not be read is a problem of its check, in words. Only before the
candidate has traffic (`first`) is anything raised, so that a query that cannot be asked moves none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fleetswap.domain.errors import FleetswapError, TryAgain
from fleetswap.domain.rollout.metric_checks import CloudWatch, MetricCheck, Query, values_of
from fleetswap.domain.rollout.metric_values import MetricRead, Point
from fleetswap.domain.rollout.model import Order, ReleaseTarget
from fleetswap.domain.rollout.policy import Check
from fleetswap.domain.text import one_line
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.rollout.ports import InstantQueries, MetricQueries

BEFORE = 600.0
"""Seconds before the rollout in which live's last value is looked for: it is what the candidate is compared with if
there is no canary."""

SLOW = 1.0
"""Seconds after which an answer that fails keeps the other checks of a reading from asking the same server. One that
fails at once may be wrong about its own query alone."""

MOST = 30.0
"""Seconds after which a reading asks no more: all of it must fit into the margin of the dead man's switch, which would
else put the traffic back while the rollout goes on.
"""


class MetricReader:
    """Reads for one order. It keeps nothing from one reading to the next."""

    def __init__(
        self, order: Order, cloudwatch: MetricQueries | None, prometheus: InstantQueries | None, clock: Clock | None
    ) -> None:
        """The ports that the order's checks need, and the clock."""
        self._order, self._cloudwatch, self._prometheus, self._clock = order, cloudwatch, prometheus, clock

    @property
    def reads(self) -> bool:
        """Whether anything is ever judged by the checks of this order."""
        policy, trusted = self._order.policy, self._order.trusted
        return bool(policy.metrics) and any(step.is_watched for step in policy.strategy.plan(trusted=trusted))

    def first(self, live: str | None, known: Callable[[str], ReleaseTarget | None]) -> tuple[MetricRead, ...]:
        """What live's values were, and whether each query can be asked. Raises if not: `InputError`, `CloudError`.

        `known` gives the release of a target group. A check that is for report only raises nothing.
        """
        found = []
        for check in self._order.policy.metrics:
            read = MetricRead(check.name)
            try:
                read = self._read(check, live if check.compares else None, known, BEFORE)
            except FleetswapError as error:
                if not self._order.policy.reports_only(Check.METRICS, check.name):
                    raise type(error)(f"metric {check.name}: {error}") from error
            found.append(read)
        return tuple(found)

    def read(
        self, live: str | None, known: Callable[[str], ReleaseTarget | None], seconds: float
    ) -> tuple[MetricRead, ...]:
        """One reading of all checks, of the last so many seconds. Of live only with a target group."""
        checks = self._order.policy.metrics
        found, silent, until = [], dict[str, str](), self._now() + MOST if checks else 0.0
        for check in checks:
            host = check.prometheus.url if check.prometheus is not None else ""
            began = self._now()
            try:
                if began >= until:
                    raise TryAgain(f"not asked: the checks before it took more than {MOST:g} s")
                if host in silent:
                    raise TryAgain(silent[host])  # the rest of the evidence must not wait as often as there are checks
                read = self._read(check, live if check.compares else None, known, seconds)
            except FleetswapError as error:
                if isinstance(error, TryAgain) and self._now() - began >= SLOW:
                    silent[host] = str(error)
                read = MetricRead(check.name, check.query.words, problem=one_line(error))
            found.append(read)
        return tuple(found)

    def _read(
        self, check: MetricCheck, live: str | None, known: Callable[[str], ReleaseTarget | None], seconds: float
    ) -> MetricRead:
        query = self._filled(check, self._order.candidate.target_group, self._order.candidate)
        read = self._ask(check, query, seconds)
        if live is None:
            return read
        try:
            other = self._ask(check, self._filled(check, live, known(live)), seconds)
        except FleetswapError as error:
            return replace(read, live_problem=one_line(error))
        return _together(read, other)

    def _filled(self, check: MetricCheck, target_group: str, target: ReleaseTarget | None) -> Query:
        of = (target.release, target.group) if target is not None else None
        return check.query.filled(values_of(target_group, self._order.listener, of))

    def _ask(self, check: MetricCheck, query: Query, seconds: float) -> MetricRead:
        before = self._now()
        if isinstance(query, CloudWatch):
            if self._cloudwatch is None:
                raise TypeError("this order needs CloudWatch")
            series = self._cloudwatch.values(query, seconds)
            return MetricRead(
                check.name,
                query.words,
                tuple(Point(start, value) for start, value in sorted(series.values.items())),
                length=query.period,
                late=series.late,
                began=before - (series.now + 1),
                ended=self._now() - series.now,
            )
        if self._prometheus is None:
            raise TypeError("this order needs Prometheus")
        sample = self._prometheus.value(query)
        point = () if sample.value is None else (Point(sample.at - query.window, sample.value),)
        return MetricRead(
            check.name,
            query.words,
            point,
            length=query.window,
            began=before - sample.age - sample.at,
            ended=self._now() - sample.at,
            problem=sample.problem,
        )

    def _now(self) -> float:
        if self._clock is None:
            raise TypeError("this order needs a clock")
        return self._clock.now()


def _together(read: MetricRead, live: MetricRead) -> MetricRead:
    """Both in one: of CloudWatch by their periods; Prometheus was asked about both at the same moment."""
    if read.late:
        others = {point.start: point.value for point in live.points}
        mine = {point.start: point.value for point in read.points}
        points = tuple(Point(start, mine.get(start), others.get(start)) for start in sorted({*mine, *others}))
        return replace(read, points=points)
    value = live.points[-1].value if live.points else None
    points = tuple(replace(point, live=value) for point in read.points) or tuple(
        Point(point.start, None, point.value) for point in live.points
    )
    return replace(read, points=points, live_problem=live.problem)
