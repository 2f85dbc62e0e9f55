"""What CloudWatch knows of a rollout: requests, errors and slow answers of target groups, and the states of alarms.

It reads, and never judges: `fleetswap.domain.rates` does. It implements `fleetswap.workflows.ports.Metrics`.

**Delay.** A load balancer reports to CloudWatch each 60 s, only what is not zero, and a minute's figures are there a
minute or two after it has ended, sometimes in parts (Application Load Balancer user guide, "CloudWatch metrics"). So a
hold shorter than about three minutes ends before its own figures are known, and the rollout waits for them.

**Zero or unknown.** In a period for which CloudWatch has any figure of this load balancer, a count that is missing is
0. A period without any figure is left out: nothing is known of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from fleetswap.aws.calls import explained
from fleetswap.domain.errors import CloudError
from fleetswap.domain.orders import Unavailable
from fleetswap.domain.rates import Counts

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

NAMESPACE = "AWS/ApplicationELB"

PERIOD = 60
"""Seconds that one figure stands for in AWS: load balancers report no finer, and a shorter period is refused for
metrics without high resolution (GetMetricData, MetricStat.Period)."""

SETTLED_PERIODS = 3
"""Periods after which a figure that is not there will not come any more."""

QUERIES = 500
"""Queries that one GetMetricData may have (API reference)."""

ALARMS = 100
"""Names that one DescribeAlarms may have (API reference)."""

EVERYTHING = "all"
"""The key of what the whole load balancer got, which tells that a period has been reported."""


class Metrics:
    """The metrics of one load balancer. Safe to share between threads, as the client is."""

    def __init__(self, client: CloudWatchClient, *, listener: str, period: int = PERIOD) -> None:
        """`listener` is the ARN of any of the load balancer's listeners. `period` may be shorter in the local cloud."""
        self._client = client
        self._balancer = balancer_dimension(listener)
        self._period = period

    def counts(self, target_groups: Sequence[str], seconds: float, slow: float | None) -> dict[str, dict[int, Counts]]:
        """What each target group did in the last so many seconds: its counts by the Unix time of a period's start.

        All have the same periods. The first one is whole, although it may have begun before; the last one may still
        grow, and any may be revised upward. An answer is slow if it took more than `slow` seconds, or never came; with
        None, no one counts them. Raises `Unavailable` or `CloudError`.
        """
        now = datetime.now(UTC).timestamp()
        first = int((now - seconds) // self._period) * self._period
        last = int(now // self._period + 1) * self._period
        if first >= last:
            return {target_group: {} for target_group in target_groups}
        queries = self._queries(target_groups, slow)
        figures: dict[str, dict[int, float]] = {}
        for start in range(0, len(queries), QUERIES):
            figures |= self._figures(queries[start : start + QUERIES], first, last)
        reported = sorted({at for values in figures.values() for at in values})
        return {
            target_group: {at: self._counts(figures, number, at, now, slow) for at in reported}
            for number, target_group in enumerate(target_groups)
        }

    def alarms(self, names: Sequence[str]) -> dict[str, str]:
        """The state of each alarm: OK, ALARM or INSUFFICIENT_DATA. One that does not exist is left out.

        Composite alarms are seen only with a permission for all resources (DescribeAlarms). Raises `Unavailable` or
        `CloudError`.
        """
        found: dict[str, str] = {}
        for first in range(0, len(names), ALARMS):
            some = list(names[first : first + ALARMS])
            with explained("cloudwatch:DescribeAlarms", ", ".join(some)):
                pages = self._client.get_paginator("describe_alarms").paginate(
                    AlarmNames=some, AlarmTypes=["MetricAlarm", "CompositeAlarm"]
                )
                for page in pages:
                    for alarm in (*page.get("MetricAlarms", ()), *page.get("CompositeAlarms", ())):
                        found[alarm["AlarmName"]] = alarm["StateValue"]
        return found

    def _queries(self, target_groups: Sequence[str], slow: float | None) -> list[MetricDataQueryTypeDef]:
        queries = [self._query(EVERYTHING, "RequestCount", "Sum", None)]
        for number, target_group in enumerate(target_groups):
            group = target_group_dimension(target_group)
            queries.append(self._query(f"requests{number}", "RequestCount", "Sum", group))
            queries.append(self._query(f"errors{number}", "HTTPCode_Target_5XX_Count", "Sum", group))
            if slow is not None:
                queries.append(self._query(f"answers{number}", "TargetResponseTime", "SampleCount", group))
                # The percentile rank: how many of 100 took at most so long ("CloudWatch statistics definitions").
                queries.append(self._query(f"quick{number}", "TargetResponseTime", f"PR(:{slow:g})", group))
        return queries

    def _query(self, key: str, metric: str, statistic: str, target_group: str | None) -> MetricDataQueryTypeDef:
        dimensions = [{"Name": "TargetGroup", "Value": target_group}] if target_group else []
        dimensions.append({"Name": "LoadBalancer", "Value": self._balancer})
        asked = {
            "Metric": {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": dimensions},
            "Period": self._period,
            "Stat": statistic,
        }
        return cast("MetricDataQueryTypeDef", {"Id": key, "MetricStat": asked, "ReturnData": True})

    def _figures(self, queries: Sequence[MetricDataQueryTypeDef], first: int, last: int) -> dict[str, dict[int, float]]:
        """The figures of each query by the start of their period."""
        figures: dict[str, dict[int, float]] = {query["Id"]: {} for query in queries}
        with explained("cloudwatch:GetMetricData", self._balancer):
            pages = self._client.get_paginator("get_metric_data").paginate(
                MetricDataQueries=queries,
                StartTime=datetime.fromtimestamp(first, UTC),
                EndTime=datetime.fromtimestamp(last, UTC),
                ScanBy="TimestampAscending",
            )
            status: dict[str, str] = {}
            for page in pages:
                for result in page["MetricDataResults"]:
                    status[result["Id"]] = result.get("StatusCode", "Complete")
                    times = (int(at.timestamp()) for at in result["Timestamps"])
                    figures[result["Id"]] |= dict(zip(times, result["Values"], strict=True))
        self._check(status)
        return figures

    def _check(self, status: Mapping[str, str]) -> None:
        """Half of the figures are none: errors without the requests they belong to would mislead."""
        wrong = {state for state in status.values() if state != "Complete"}
        if "Forbidden" in wrong:
            raise CloudError(
                f"AWS refuses cloudwatch:GetMetricData on {self._balancer}: give the deploying role that permission"
            )
        if wrong:
            raise Unavailable(
                f"CloudWatch has only a part of the figures of {self._balancer} ({', '.join(sorted(wrong))})"
            )

    def _counts(
        self, figures: Mapping[str, Mapping[int, float]], number: int, at: int, now: float, slow: float | None
    ) -> Counts:
        requests = round(figures[f"requests{number}"].get(at, 0))
        errors = round(figures[f"errors{number}"].get(at, 0))
        if slow is None:
            return Counts(requests, errors)
        answers, quick = figures[f"answers{number}"].get(at), figures[f"quick{number}"].get(at)
        if requests and (answers is None or quick is None):
            # Requests without answers: the times are late, or the requests hang, which a load balancer reports nowhere
            # by target group. Which of both it is, time tells.
            settled = now >= at + (1 + SETTLED_PERIODS) * self._period
            return Counts(requests, errors, requests if settled else None)
        in_time = (answers or 0) * (quick or 0) / 100
        return Counts(requests, errors, max(requests - round(in_time), 0))


def balancer_dimension(listener: str) -> str:
    """The value of the dimension LoadBalancer, `app/name/id`, from a listener's ARN, which contains it."""
    kind, *path = listener.split(":", 5)[5].split("/")
    if kind != "listener" or len(path) != 4:
        raise CloudError(f"{listener} is not the ARN of a load balancer's listener")
    return "/".join(path[:3])


def target_group_dimension(arn: str) -> str:
    """The value of the dimension TargetGroup, `targetgroup/name/id`: the last part of the ARN."""
    return arn.split(":", 5)[5]
