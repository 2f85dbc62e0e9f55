"""The CloudWatch queries of `rollout.metrics`: a metric, or an expression of metrics, by GetMetricData.

It reads, and never judges: `fleetswap.domain.rollout.metric_values` does. Implements
`fleetswap.workflows.rollout.ports.MetricQueries`. What makes it late, and AWS's clock, are as in `metrics`.

Only what is complete is returned. An expression drops data points that are not numbers, as of a division by 0
(CloudWatch user guide, "Using metric math"): such a period has no value.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fleetswap.aws.answers import answered_at
from fleetswap.aws.errors import explained, refusal
from fleetswap.aws.rollout.metrics import PERIOD, READ, TRIES
from fleetswap.domain.errors import InputError, Invalid, TryAgain
from fleetswap.domain.rollout.metric_checks import RESULT, CloudWatch, MetricStat
from fleetswap.domain.rollout.metric_values import Series

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient


class MetricQueries:
    """Asks CloudWatch. Safe to share between threads, as the client is."""

    def __init__(self, client: CloudWatchClient, late: int = PERIOD) -> None:
        """`late` are the seconds by which it is known how late values are; less only in the local cloud."""
        self._client = client
        self._late = late
        self._ahead = 0.0
        """How far AWS's clock is ahead of this machine's, in seconds, as far as we know."""

    def values(self, query: CloudWatch, seconds: float) -> Series:
        """See the port. Raises `InputError`, `TryAgain` or `CloudError`."""
        period = query.period
        for _ in range(TRIES):
            asked = datetime.now(UTC).timestamp() + self._ahead
            first = int((asked - seconds) // period) * period
            last = max(int(asked // period + 1) * period, first + period)
            found, now = self._read(query, first, last)
            self._ahead += now - asked
            if first <= now - seconds and now < last:
                break
        return Series(now, self._late, found)

    def _read(self, query: CloudWatch, first: int, last: int) -> tuple[dict[int, float], float]:
        """The values by the start of their period, and AWS's time when they were read."""
        request: dict[str, Any] = {
            "MetricDataQueries": _queries(query),
            "StartTime": datetime.fromtimestamp(first, UTC),
            "EndTime": datetime.fromtimestamp(last, UTC),
            "ScanBy": "TimestampAscending",
        }
        found: dict[int, float] = {}
        times, labels, status, most = list[float](), set[str](), "", 0
        try:
            with explained(READ, query.words):
                for page in self._client.get_paginator("get_metric_data").paginate(**request):
                    times.append(answered_at(page).timestamp())
                    most = max(most, len(page["MetricDataResults"]))
                    for result in page["MetricDataResults"]:
                        labels.add(result.get("Label", ""))
                        status = result.get("StatusCode", "Complete")
                        points = zip(result["Timestamps"], result["Values"], strict=True)
                        found |= {int(at.timestamp()): value for at, value in points if math.isfinite(value)}
        except Invalid as error:
            raise InputError(str(error)) from error
        if (series := max(most, len(labels))) > 1:  # several may have one label
            raise InputError(f"{query.words} has {series} series: make one of them, for example with SUM or MAX")
        if status == "Forbidden":
            raise refusal(f"{READ} on {query.words}", (READ,), code=status)
        if status not in {"", "Complete"}:
            raise TryAgain(f"{query.words}: CloudWatch has only part of the data ({status})")
        return found, times[0]


def _queries(query: CloudWatch) -> list[dict[str, Any]]:
    """Only the values of `RESULT` are returned."""
    stats = [_stat(name, stat, query.period) for name, stat in query.stats.items()]
    if query.expression is None:
        return stats
    return [*stats, {"Id": RESULT, "Expression": query.expression, "ReturnData": True}]


def _stat(name: str, stat: MetricStat, period: int) -> dict[str, Any]:
    dimensions = [{"Name": key, "Value": value} for key, value in stat.dimensions.items()]
    metric = {"Namespace": stat.namespace, "MetricName": stat.metric, "Dimensions": dimensions}
    asked = {"Metric": metric, "Period": period, "Stat": stat.statistic}
    return {"Id": name, "MetricStat": asked, "ReturnData": name == RESULT}
