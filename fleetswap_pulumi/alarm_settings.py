"""The settings of the alarms and the dashboard that the stack makes."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, field_validator

from fleetswap_pulumi.checks import Strict
from fleetswap_pulumi.names import TopicArn, is_of_region

FIFO = ".fifo"
"""How the name of a topic ends that keeps messages in order: no alarm can notify one (CloudWatch user guide)."""


class FailedAlarm(Strict):
    """Alarms about failed requests (5xx or no response), of each release and of an own load balancer."""

    percent: float = Field(default=5, gt=0, lt=100)
    """Percentage of failed requests above which there is an alarm."""
    min_requests: int = Field(default=20, ge=1)
    """Requests a minute below which there is none."""
    minutes: int = Field(default=3, ge=2, le=60)
    """Consecutive minutes after which there is one."""


class LatencyAlarm(Strict):
    """Alarms about response times, of each release."""

    percentile: float = Field(default=95, ge=50, lt=100)
    """Percentile of the response times. With too few responses for it, the alarm keeps its state."""
    seconds: float = Field(default=2, gt=0, le=4000)
    """Response time in seconds above which there is an alarm."""
    minutes: int = Field(default=5, ge=2, le=60)
    """Consecutive minutes after which there is one."""


class HealthyAlarm(Strict):
    """Alarms about groups with fewer healthy machines than they are to have. A release without machines has none."""

    minutes: int = Field(default=5, ge=2, le=60)
    """Consecutive minutes after which there is an alarm. Machines of a new release take part of them to boot."""


class AlarmSettings(Strict):
    """`true`, or these settings: the stack makes alarms and a dashboard (docs/how-to/alarms.md). Unset: none."""

    topic: TopicArn | None = Field(default=None, examples=["arn:aws:sns:eu-central-1:111122223333:alarms"])
    """ARN of an SNS topic in the stack's region that is notified. Unset: the stack makes one; subscribe to it."""
    failed: FailedAlarm | None = FailedAlarm()
    """Alarms about failed requests (5xx or no response), of each release and of an own load balancer. `null`: none."""
    latency: LatencyAlarm | None = LatencyAlarm()
    """Alarms about response times, of each release. `null`: none."""
    healthy: HealthyAlarm | None = HealthyAlarm()
    """Alarms about groups with fewer healthy machines than they are to have. `null`: none."""
    switch: bool = True
    """Notifies when the dead man's switch has fired. Requires a trail of CloudTrail in the region."""
    spot: bool = True
    """Notifies when EC2 Auto Scaling ends a machine because its Spot Instance is interrupted."""
    dashboard: bool = True
    """Makes a dashboard of CloudWatch, with a marker for each deploy."""

    @field_validator("topic")
    @classmethod
    def _can_be_notified(cls, value: str | None) -> str | None:
        if value is not None and value.endswith(FIFO):
            raise ValueError("is a FIFO topic, which no alarm of CloudWatch can notify: name a standard topic")
        return value


def misfits(alarms: AlarmSettings | None, region: str) -> Iterator[tuple[str, str]]:
    """What does not fit the stack's region: keys of settings, and what is wrong."""
    if alarms is not None and alarms.topic is not None and not is_of_region(alarms.topic, region):
        yield "alarms.topic", f"{alarms.topic} is not of region {region}, as it must be"
