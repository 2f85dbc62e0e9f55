"""CloudWatch's metrics as strict as AWS: what may be asked for, and what is answered.

Decides which periods, times and statistics a request may name, and which figures it gets. What was measured is in
`figures`, and metric math in `expressions`; alarms are in `alarms`.

Moto has no percentiles, mixes up metrics of one name, starts periods anywhere, and takes any period. AWS: a period is
1, 5, 10, 20 or 30 seconds or a multiple of 60; a start time is rounded down to the period, at least to the minute from
60 s on; the end does not belong to the range; a metric with other dimensions is another metric; a period that is
shorter than a metric's resolution has no figures (metrics of Application Load Balancers are an exception of the local
cloud: their resolution is 10 s, and 60 s in AWS). GetMetricStatistics answers at most 1,440 figures, in no order.

Source: CloudWatch API reference (GetMetricData, MetricStat, GetMetricStatistics, PutMetricData).
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.cloudwatch.exceptions import InvalidParameterCombination, InvalidParameterValue, ValidationError
from moto.cloudwatch.models import CloudWatchBackend, MetricDatum
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult

from localcloud.cloudwatch.expressions import Evaluation
from localcloud.cloudwatch.figures import SIMPLE, Metrics, Sample, Series, key

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.cloudwatch.figures import Key
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

SHORT_PERIODS = (1, 5, 10, 20, 30)
MAX_FIGURES = 1_440  # of one GetMetricStatistics
MAX_QUERIES = 500  # of one GetMetricData

DROPPED = "One or more data-points have been dropped due to non-numeric values (NaN, -Infinite, +Infinite)"

_ID = re.compile(r"[a-z][a-zA-Z0-9_]*")

_put_metric_data = CloudWatchBackend.put_metric_data


def patch(patches: Patches, metrics: Metrics, clock: Callable[[], float]) -> None:
    """Make metrics strict, and keep them in `metrics`. `clock` gives seconds since the epoch."""
    patches.set(CloudWatchBackend, "metrics", metrics)
    patches.set(CloudWatchBackend, "wall_clock", staticmethod(clock))
    patches.methods(CloudWatchBackend, put_metric_data)
    patches.methods(CloudWatchResponse, get_metric_data, get_metric_statistics)


def publish(cloudwatch: Moto, metric: Key, at: float, sample: Sample, unit: str, resolution: int) -> None:
    """Keep values of a service's own metric. With `LOCK` held."""
    if cloudwatch.metrics.add(metric, at, sample, unit=unit, resolution=resolution):
        namespace, name, dimensions = metric
        named = [{"Name": one, "Value": value} for one, value in dimensions]
        # For ListMetrics, which is moto's.
        cloudwatch.metric_data.append(MetricDatum(namespace, name, 0.0, named, datetime.fromtimestamp(at), unit))


def period_fits(period: int | None) -> bool:
    """Whether a period is one that CloudWatch knows."""
    return period is not None and (period in SHORT_PERIODS or (period > 0 and period % 60 == 0))


def figures(series: Series | None, start: float, end: float, period: int) -> list[tuple[int, Sample]]:
    """The start and the values of each period of a range, which begins as CloudWatch rounds it."""
    if series is None or period < series.resolution:
        return []
    unit = period if period < 60 else 60
    return series.between(int(start // unit) * unit, int(end), period)


def put_metric_data(self: Moto, namespace: str, metric_data: list[dict[str, Any]]) -> None:
    """AWS knows a metric's resolution; moto drops it."""
    _put_metric_data(self, namespace, metric_data)
    for datum in metric_data:
        dimensions = {one["Name"]: one["Value"] for one in datum.get("Dimensions") or []}
        at = _seconds(datum["Timestamp"]) if datum.get("Timestamp") else self.wall_clock()
        resolution = 1 if datum.get("StorageResolution") == 1 else 60
        metric = key(namespace, datum["MetricName"], dimensions)
        self.metrics.add(metric, at, _sample(datum), unit=datum.get("Unit"), resolution=resolution)


def _sample(datum: dict[str, Any]) -> Sample:
    if datum.get("StatisticValues"):
        known = datum["StatisticValues"]
        names = ("SampleCount", "Sum", "Minimum", "Maximum")
        return Sample(sets=[tuple(float(known[name]) for name in names)])  # type: ignore[list-item] # four of them
    if datum.get("Values"):
        counts = datum.get("Counts") or [1] * len(datum["Values"])
        values: Counter[float] = Counter()
        for value, count in zip(datum["Values"], counts, strict=True):
            values[float(value)] += int(float(count))
        return Sample(values)
    return Sample(Counter({float(datum.get("Value", 0)): 1}))


def get_metric_data(self: Moto) -> Moto:
    """See the module's docstring."""
    asked = self._get_params()
    queries = asked.get("MetricDataQueries") or []
    start, end = _range(asked)
    names = [query.get("Id") or "" for query in queries]
    if not 1 <= len(queries) <= MAX_QUERIES:
        raise ValidationError(f"The parameter MetricDataQueries must have 1 to {MAX_QUERIES} members.")
    if len(set(names)) < len(names) or not all(_ID.fullmatch(name) for name in names):
        raise ValidationError("Every Id in MetricDataQueries must be one of its own that begins with a small letter.")
    found = _Queries(self.cloudwatch_backend, queries, start, end).results()
    hidden = {query["Id"] for query in queries if query.get("ReturnData") is False}
    shown = [one for one in found if one["Id"] not in hidden]
    if asked.get("ScanBy") != "TimestampAscending":
        for one in shown:
            one["Timestamps"], one["Values"] = one["Timestamps"][::-1], one["Values"][::-1]
    return ActionResult({"MetricDataResults": shown, "Messages": []})


def evaluated(cloudwatch: Moto, queries: list[dict[str, Any]], start: float, end: float) -> dict[int, float]:
    """The values of the one query that returns data. `ValidationError` if an expression cannot be evaluated here."""
    found = {one["Id"]: one for one in _Queries(cloudwatch, queries, start, end).results()}
    (shown,) = (found[query["Id"]] for query in queries if query["ReturnData"])
    return {int(at.timestamp()): value for at, value in zip(shown["Timestamps"], shown["Values"], strict=True)}


@dataclass(frozen=True)
class Expression:
    """What an expression has resulted in."""

    points: dict[int, float]
    dropped: bool


class _Queries:
    """The queries of one request, which may name each other."""

    def __init__(self, cloudwatch: Moto, queries: list[dict[str, Any]], start: float, end: float) -> None:
        self._cloudwatch, self._start, self._end = cloudwatch, start, end
        self._queries = {query["Id"]: (number, query) for number, query in enumerate(queries, 1)}
        self._series: dict[str, Expression] = {}
        self._open: list[str] = []

    def results(self) -> list[dict[str, Any]]:
        """Each result, in the order of the queries."""
        return [self._result(*self._queries[name]) for name in self._queries]

    def _result(self, number: int, query: dict[str, Any]) -> dict[str, Any]:
        if "MetricStat" in query:
            return _answer(self._cloudwatch, query, number, self._start, self._end)
        expression = self._expression(query["Id"])
        points = [(datetime.fromtimestamp(at, UTC), value) for at, value in sorted(expression.points.items())]
        found = _result(query, query["Id"], points)
        if expression.dropped:
            found["Messages"] = [{"Code": "ArithmeticError", "Value": DROPPED}]
        return found

    def _expression(self, name: str) -> Expression:
        number, query = self._queries[name]
        if "Expression" not in query:
            raise ValidationError(f"The parameter MetricDataQueries.member.{number}.MetricStat is required.\n")
        if name in self._open:
            raise ValidationError(f"Error in expression '{name}': it names itself.")
        if name not in self._series:
            self._open.append(name)
            period = self._period(name)
            unit = min(period, 60)
            periods = range(int(self._start // unit * unit), math.ceil(self._end), period)
            reading = Evaluation(query["Expression"], self._points, periods)
            try:
                self._series[name] = Expression(reading.result(), reading.dropped)
            except ValueError as error:
                raise ValidationError(f"Error in expression '{name}': {error}.") from None
            self._open.remove(name)
        return self._series[name]

    def _period(self, name: str) -> int:
        """That of all metrics of the request: AWS mixes several, which the local cloud does not."""
        found = {query["MetricStat"].get("Period") for _, query in self._queries.values() if "MetricStat" in query}
        if len(found) > 1:
            raise ValidationError(f"Error in expression '{name}': the local cloud knows one period for all metrics.")
        return int(next(iter(found), 60) or 60)

    def _points(self, name: str) -> dict[int, float]:
        number, query = self._queries[name]
        if "MetricStat" not in query:
            return self._expression(name).points
        found = _answer(self._cloudwatch, query, number, self._start, self._end)
        return {int(at.timestamp()): value for at, value in zip(found["Timestamps"], found["Values"], strict=True)}


def _result(query: dict[str, Any], label: str, points: list[tuple[Any, Any]]) -> dict[str, Any]:
    return {
        "Id": query["Id"],
        "Label": query.get("Label") or label,
        "Timestamps": [at for at, _ in points],
        "Values": [value for _, value in points],
        "StatusCode": "Complete",
    }


def _answer(cloudwatch: Moto, query: dict[str, Any], number: int, start: float, end: float) -> dict[str, Any]:
    stat = query["MetricStat"]
    period = int(stat.get("Period") or 0)
    if not period_fits(period):
        raise ValidationError(
            f"The parameter MetricDataQueries.member.{number}.MetricStat.Period must be 1, 5, 10, 20, 30 or a multiple"
            " of 60."
        )
    metric = stat["Metric"]
    dimensions = {one["Name"]: one["Value"] for one in metric.get("Dimensions") or []}
    series = cloudwatch.metrics.find(key(metric["Namespace"], metric["MetricName"], dimensions))
    if series is not None and stat.get("Unit") not in {None, series.unit}:
        series = None
    points = _points(series, start, end, period, stat["Stat"])
    return _result(query, metric["MetricName"], [(datetime.fromtimestamp(at, UTC), value) for at, value in points])


def _points(series: Series | None, start: float, end: float, period: int, statistic: str) -> list[tuple[int, float]]:
    try:
        Sample().statistic(statistic)
        found = [(at, sample.statistic(statistic)) for at, sample in figures(series, start, end, period)]
    except ValueError:
        raise ValidationError(f"The value {statistic} for parameter Stat is not supported.") from None
    return [(at, value) for at, value in found if value is not None]


def get_metric_statistics(self: Moto) -> Moto:
    """See the module's docstring."""
    asked = self._get_params()
    start, end = _range(asked)
    period = int(asked.get("Period") or 0)
    if not period_fits(period):
        raise InvalidParameterValue("The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60.")
    simple, extended = asked.get("Statistics") or [], asked.get("ExtendedStatistics") or []
    if not simple and not extended:
        raise InvalidParameterCombination("Must specify either Statistics or ExtendedStatistics")
    if set(simple) - set(SIMPLE):
        raise InvalidParameterValue(f"Statistics must be among {', '.join(SIMPLE)}.")
    if (end - start) / period > MAX_FIGURES:
        raise InvalidParameterCombination(
            f"You have requested up to {int((end - start) / period):,} datapoints, which exceeds the limit of"
            f" {MAX_FIGURES:,}."
        )
    dimensions = {one["Name"]: one["Value"] for one in asked.get("Dimensions") or []}
    series = self.cloudwatch_backend.metrics.find(key(asked["Namespace"], asked["MetricName"], dimensions))
    points = []
    for at, sample in figures(series, start, end, period):
        point: dict[str, Any] = {
            "Timestamp": datetime.fromtimestamp(at, UTC),
            "Unit": (series and series.unit) or "None",
        }
        point |= {name: sample.statistic(name) for name in simple}
        if extended:
            point["ExtendedStatistics"] = {name: sample.statistic(name) for name in extended}
        points.append(point)
    random.Random(0).shuffle(points)  # noqa: S311 - to be in no order
    return ActionResult({"Label": asked["MetricName"], "Datapoints": points})


def _range(asked: dict[str, Any]) -> tuple[float, float]:
    start, end = _seconds(asked["StartTime"]), _seconds(asked["EndTime"])
    if start >= end:
        raise ValidationError("The parameter StartTime must be less than the parameter EndTime.")
    return start, end


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
