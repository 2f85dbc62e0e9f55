"""The metrics that a candidate is judged by: `rollout.metrics`.

What is wrong with one beyond the limits of its fields is decided by the domain
(`fleetswap.domain.rollout.metric_checks`).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, field_validator, model_validator

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.metric_checks import MetricCheck
from fleetswap_pulumi.checks import Strict
from fleetswap_pulumi.names import EnvironmentVariable

PERIODS = (1, 5, 10, 20, 30)
"""Seconds that a period of CloudWatch may have besides multiples of 60 (MetricStat, Period)."""

LONGEST = 2000
"""Characters of a query: the record of a rollout keeps no longer text."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$", max_length=40)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Dimensions = Annotated[dict[Text, Text], Field(max_length=30)]
Seconds = Annotated[int, Field(ge=1, le=3600)]


class MetricStatSettings(Strict):
    """A metric of CloudWatch, for an expression."""

    namespace: Text
    """Namespace of the metric."""
    metric: Text
    """Name of the metric."""
    statistic: Text
    """Statistic, such as `Sum`, `Average` or `p99`."""
    dimensions: Dimensions = Field(default={}, examples=[{"Release": "{{release}}"}])
    """Dimensions of the metric, with placeholders."""


class CloudWatchSettings(Strict):
    """Values from CloudWatch (GetMetricData): `namespace`, `metric` and `statistic`, or `expression` and `queries`."""

    namespace: Text | None = Field(default=None, examples=["Shop"])
    """Namespace of the metric."""
    metric: Text | None = Field(default=None, examples=["PaymentErrors"])
    """Name of the metric."""
    statistic: Text | None = Field(default=None, examples=["Sum"])
    """Statistic, such as `Sum`, `Average` or `p99`."""
    dimensions: Dimensions = Field(default={}, examples=[{"Release": "{{release}}"}])
    """Dimensions of the metric. `{{release}}` stands for the ID of a release, `{{auto_scaling_group}}` for the name of
    its group, `{{target_group}}` and `{{load_balancer}}` for the values of the load balancer's dimensions."""
    expression: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = Field(
        default=None, examples=["100 * errors / requests"]
    )
    """Metric math expression of `queries`, by their IDs. It must result in one time series."""
    queries: dict[str, MetricStatSettings] = Field(default={}, max_length=20)
    """Metrics of the expression, by ID."""
    period: Seconds = 60
    """Seconds that one value stands for: 1, 5, 10, 20, 30 or a multiple of 60. Below 60, only for metrics with a high
    resolution."""

    @field_validator("period")
    @classmethod
    def _is_a_period(cls, value: int) -> int:
        if value not in PERIODS and value % 60:
            raise ValueError(f"must be 1, 5, 10, 20, 30 or a multiple of 60, not {value}")
        return value


class PrometheusSettings(Strict):
    """A value from Prometheus, or from what has its HTTP API."""

    url: Annotated[str, StringConstraints(max_length=500)] = Field(examples=["https://prometheus.example.com"])
    """URL of the server, without `/api/v1/query`. Redirects are not followed. Must be reachable from where `pulumi up`
    runs."""
    query: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)] = Field(
        examples=['sum(rate(refusals_total{release="{{release}}"}[{{window}}]))']
    )
    """PromQL expression that results in one series or a scalar. Placeholders are as for CloudWatch, and `{{window}}`
    for `window`."""
    window: Seconds = 60
    """Seconds that the query looks back, at least two scrape intervals. Older samples are not used. Only a value whose
    window lies in the present step counts."""
    token_env: EnvironmentVariable | None = Field(default=None, examples=["PROMETHEUS_TOKEN"])
    """Name of the environment variable that has a bearer token, where `pulumi up` runs. Requires https."""


class MetricSettings(Strict):
    """A metric check: a query, and the values that are good."""

    name: Name = Field(examples=["payment-errors"])
    """Name of the check: lower-case letters, digits and hyphens."""
    cloudwatch: CloudWatchSettings | None = None
    """Query of CloudWatch. Either this or `prometheus`."""
    prometheus: PrometheusSettings | None = None
    """Query of Prometheus. Either this or `cloudwatch`."""
    max: float | None = Field(default=None, examples=[5.0])
    """The highest good value."""
    min: float | None = Field(default=None, examples=[1.0])
    """The lowest good value."""
    at_most: float | None = Field(default=None, ge=1, examples=[1.2])
    """The value may be at most this many times the live release's value of the same period."""
    difference: float | None = Field(default=None, ge=0, examples=[0.5])
    """The value may exceed the live release's by this much. With `at_most`, the higher limit applies."""
    consecutive: int = Field(default=1, ge=1, le=10)
    """Number of values in a row that must be good to pass a step, and bad to abort the rollout."""

    @model_validator(mode="after")
    def _makes_sense(self) -> MetricSettings:
        try:
            TypeAdapter(MetricCheck).validate_python(self.model_dump())
        except InputError as error:
            raise ValueError(str(error)) from error
        return self


def _distinct(checks: tuple[MetricSettings, ...]) -> tuple[MetricSettings, ...]:
    names = [check.name for check in checks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names {', '.join(twice)} twice")
    return checks


Metrics = Annotated[tuple[MetricSettings, ...], AfterValidator(_distinct), Field(max_length=20)]
