"""The CloudWatch data of a rollout: requests, responses and response times by target group, and the states of alarms.

It reads, and never judges: `fleetswap.domain.rollout.periods` does. Implements
`fleetswap.workflows.rollout.ports.Metrics`.

**Delay.** A load balancer reports to CloudWatch every 60 s, only values that are not zero. The data points of a minute
are available a minute or two after it has ended, often in parts (Application Load Balancer user guide, "CloudWatch
metrics"). A period without any data point is omitted; in any other period a missing count is 0, or has not arrived yet.

**Requests without a response.** RequestCount of a target group counts each request for which a target was chosen;
HTTPCode_Target_nXX_Count counts the responses of targets. When a target does not respond, the load balancer responds in
its place, and counts that in HTTPCode_ELB_nXX_Count, which no target group has (the same guide).

**Clock.** Periods are by AWS's clock, which may differ from the deployer's: it is read from the responses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from fleetswap.aws.answers import answered_at
from fleetswap.aws.errors import explained, refusal
from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout.periods import Figures, Report, Told

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

NAMESPACE = "AWS/ApplicationELB"

READ = "cloudwatch:GetMetricData"
"""The IAM action."""

PERIOD = 60
"""Seconds that one figure stands for in AWS: load balancers report no finer, and a shorter period is refused for
metrics without high resolution (GetMetricData, MetricStat.Period)."""

LOCAL_PERIOD = 10
"""Seconds of a period of metrics in the local cloud, where nobody wants to wait for AWS's minute."""

QUERIES = 500
"""Queries that one GetMetricData may have (API reference)."""

ALARMS = 100
"""Names that one DescribeAlarms may have (API reference)."""

GOOD = ("2XX", "3XX", "4XX")
"""Classes of answers that are no failure of the release: what a client did wrong is its own."""

TRIES = 2
"""Of asking for the right time. The first answer tells how far this machine's clock is from AWS's."""


class Metrics:
    """The metrics of one load balancer. Safe to share between threads, as the client is."""

    def __init__(self, client: CloudWatchClient, *, listener: str, period: int = PERIOD) -> None:
        """`listener` is the ARN of any of the load balancer's listeners. `period` may be shorter in the local cloud."""
        self._client = client
        self._balancer = balancer_dimension(listener)
        self._period = period
        self._ahead = 0.0
        """How far AWS's clock is ahead of this machine's, in seconds, as far as we know."""

    def counts(self, target_groups: Sequence[str], seconds: float, slow: float | None) -> Report:
        """What is told of the last so many seconds, and of these target groups. Raises `TryAgain` or `CloudError`.

        All have the same periods. The first one is whole, although it may have begun before; the last one may still
        grow, and any may be revised upward. An answer is slow if it took more than `slow` seconds; with None, no one
        counts them.
        """
        queries = self._queries(target_groups, slow)
        for _ in range(TRIES):
            asked = datetime.now(UTC).timestamp() + self._ahead
            first = int((asked - seconds) // self._period) * self._period
            last = int(asked // self._period + 1) * self._period
            figures, now = self._figures(queries, first, max(last, first + self._period))
            self._ahead += now - asked
            if first <= now - seconds and now < last:
                break
        told = sorted({at for values in figures.values() for at in values})
        return Report(now, self._period, tuple(self._told(figures, target_groups, at) for at in told))

    def alarms(self, names: Sequence[str]) -> dict[str, str]:
        """The state of each alarm: OK, ALARM or INSUFFICIENT_DATA. One that does not exist is left out.

        Composite alarms are seen only with a permission for all resources (DescribeAlarms). Raises `TryAgain` or
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
        queries = [
            self._query("requests", "RequestCount", "Sum", None),
            self._query("own5xx", "HTTPCode_ELB_5XX_Count", "Sum", None),
            self._query("own4xx", "HTTPCode_ELB_4XX_Count", "Sum", None),
        ]
        for number, target_group in enumerate(target_groups):
            group = target_group_dimension(target_group)
            queries.append(self._query(f"requests{number}", "RequestCount", "Sum", group))
            for answers in (*GOOD, "5XX"):
                name = f"HTTPCode_Target_{answers}_Count"
                queries.append(self._query(f"answers{answers}{number}".lower(), name, "Sum", group))
            if slow is not None:
                # The trimmed count: how many took at most so long. It includes its upper bound, and, being of the same
                # metric as the number of all, is never ahead of it ("CloudWatch statistics definitions").
                queries.append(self._query(f"timed{number}", "TargetResponseTime", "SampleCount", group))
                queries.append(self._query(f"quick{number}", "TargetResponseTime", f"TC(:{slow:g})", group))
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

    def _figures(
        self, queries: Sequence[MetricDataQueryTypeDef], first: int, last: int
    ) -> tuple[dict[str, dict[int, float]], float]:
        """The figures of each query by the start of their period, and AWS's time when they were read."""
        figures: dict[str, dict[int, float]] = {query["Id"]: {} for query in queries}
        times: list[float] = []
        with explained(READ, self._balancer):
            pages = self._client.get_paginator("get_metric_data").paginate(
                MetricDataQueries=queries,
                StartTime=datetime.fromtimestamp(first, UTC),
                EndTime=datetime.fromtimestamp(last, UTC),
                ScanBy="TimestampAscending",
            )
            status: dict[str, str] = {}
            for page in pages:
                times.append(answered_at(page).timestamp())
                for result in page["MetricDataResults"]:
                    status[result["Id"]] = result.get("StatusCode", "Complete")
                    starts = (int(at.timestamp()) for at in result["Timestamps"])
                    figures[result["Id"]] |= dict(zip(starts, result["Values"], strict=True))
        self._check(status)
        return figures, times[0]

    def _check(self, status: Mapping[str, str]) -> None:
        """Half of the figures are none: errors without the requests they belong to would mislead."""
        wrong = {state for state in status.values() if state != "Complete"}
        if "Forbidden" in wrong:
            raise refusal(f"{READ} on {self._balancer}", (READ,), code="Forbidden")
        if wrong:
            raise TryAgain(f"CloudWatch has only part of the metrics of {self._balancer} ({', '.join(sorted(wrong))})")

    def _told(self, figures: Mapping[str, Mapping[int, float]], target_groups: Sequence[str], at: int) -> Told:
        def count(name: str) -> int:
            return round(figures.get(name, {}).get(at, 0))

        return Told(
            start=at,
            groups={
                target_group: Figures(
                    requests=count(f"requests{number}"),
                    good=sum(count(f"answers{answers}{number}".lower()) for answers in GOOD),
                    errors=count(f"answers5xx{number}"),
                    timed=count(f"timed{number}"),
                    quick=count(f"quick{number}"),
                )
                for number, target_group in enumerate(target_groups)
            },
            requests=count("requests"),
            own_5xx=count("own5xx"),
            own_4xx=count("own4xx"),
        )


def balancer_dimension(listener: str) -> str:
    """The value of the dimension LoadBalancer, `app/name/id`, from a listener's ARN, which contains it."""
    kind, *path = listener.split(":", 5)[5].split("/")
    if kind != "listener" or len(path) != 4:
        raise CloudError(f"{listener} is not the ARN of a load balancer's listener")
    return "/".join(path[:3])


def target_group_dimension(arn: str) -> str:
    """The value of the dimension TargetGroup, `targetgroup/name/id`: the last part of the ARN."""
    return arn.split(":", 5)[5]
