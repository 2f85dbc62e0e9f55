"""What is measured of a service, as CloudWatch's metrics and metric math: for its alarms and its dashboard alike.

It names metrics and dimensions, and knows no ARN. Source: user guides of Application Load Balancers and of EC2 Auto
Scaling, "CloudWatch metrics"; of CloudWatch, "Using math expressions with CloudWatch metrics".
"""

from __future__ import annotations

from dataclasses import dataclass

PERIOD = 60
"""Seconds: the resolution of all of these metrics."""

BALANCER, GROUP = ("AWS/ApplicationELB", ("LoadBalancer",)), ("AWS/AutoScaling", ("AutoScalingGroupName",))
TARGETS = "AWS/ApplicationELB", ("LoadBalancer", "TargetGroup")

GROUP_METRICS = ("GroupDesiredCapacity", "GroupInServiceCapacity", "GroupInServiceInstances")
"""Which a group reports only if it is asked to. They cost nothing (EC2 Auto Scaling user guide)."""


@dataclass(frozen=True)
class Metric:
    """One metric, called `id` in an expression. Its dimensions have the values of whoever uses it."""

    id: str
    of: tuple[str, tuple[str, ...]]
    """The namespace and the names of the dimensions."""
    name: str
    statistic: str = "Sum"


@dataclass(frozen=True)
class Measure:
    """An expression of metrics."""

    expression: str
    metrics: tuple[Metric, ...]


def sum_of(*terms: str) -> str:
    """Their sum, wherever one of them has a value.

    With `+` there would be none as long as one of the metrics has never been reported, such as redirects by a service
    that has none: nobody documents that FILL makes values of nothing.
    """
    return f"SUM([{', '.join(terms)}])"


def failed(least: int) -> Measure:
    """Percent of a release's requests that ended with 5xx, whoever answered; 0 for fewer than `least` a minute.

    No metric of a target group has the 502, 503 and 504 with which the load balancer answers for it. So what counts is
    what is missing: the requests less the good responses, as rollouts count them (decision 13).
    """
    good = tuple(Metric(f"s{first}xx", TARGETS, f"HTTPCode_Target_{first}XX_Count") for first in (2, 3, 4))
    answered = sum_of("requests * 0", *(f"FILL({each.id}, 0)" for each in good))
    return Measure(
        f"IF(requests >= {least}, 100 * (requests - {answered}) / requests, 0)",
        (Metric("requests", TARGETS, "RequestCount"), *good),
    )


def failed_at_all(least: int) -> Measure:
    """The same of a whole load balancer, where also a request counts that no target was chosen for.

    RequestCount does not have these, and has some of the load balancer's own 5xx: as both are added, the percentage is
    too low, by half at most.
    """
    own, targets, requests = "FILL(own, 0)", "FILL(targets, 0)", "FILL(requests, 0)"
    asked, bad = sum_of(requests, own), sum_of("requests * 0", own, targets)
    return Measure(
        f"IF({asked} >= {least}, 100 * {bad} / {asked}, 0)",
        (
            Metric("requests", BALANCER, "RequestCount"),
            Metric("own", BALANCER, "HTTPCode_ELB_5XX_Count"),
            Metric("targets", BALANCER, "HTTPCode_Target_5XX_Count"),
        ),
    )


MISSING = Measure(
    f"desired - capacity + machines - {sum_of('machines * 0', 'FILL(healthy, 0)')}",
    (
        Metric("desired", GROUP, "GroupDesiredCapacity", "Average"),
        Metric("capacity", GROUP, "GroupInServiceCapacity", "Average"),
        Metric("machines", GROUP, "GroupInServiceInstances", "Average"),
        # Its best moment: what is replaced within a minute is no alarm.
        Metric("healthy", TARGETS, "HealthyHostCount", "Maximum"),
    ),
)
"""What a release is short of: capacity that is not in service, which weights may make another number than that of
machines, and machines in service that are not healthy. 0 for a group that is to have none. Targets that do not exist
have no HealthyHostCount."""


def latency(percentile: float) -> Metric:
    """The response time of a release that so many percent of its responses stay below."""
    return Metric("latency", TARGETS, "TargetResponseTime", f"p{percentile:g}")
