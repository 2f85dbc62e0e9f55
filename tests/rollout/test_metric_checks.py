"""What may be asked of CloudWatch and Prometheus, and what a query asks about a release."""

from __future__ import annotations

from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.metric_checks import CloudWatch, MetricCheck, MetricStat, Prometheus, values_of
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.strategy import Step, Strategy

OF = {"Release": "{{release}}"}
STAT = CloudWatch("Shop", "Refusals", "Sum", OF)
PROM = Prometheus("https://prom.example.com", 'sum(rate(refusals{release="{{release}}"}[{{window}}]))')
ARN = "arn:aws:elasticloadbalancing:us-east-1:123456789012"


def check(**fields: Any) -> MetricCheck:
    return MetricCheck("refusals", **fields)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"max": 1}, "must have either cloudwatch or prometheus"),
        ({"cloudwatch": STAT, "prometheus": PROM, "max": 1}, "must have either cloudwatch or prometheus"),
        ({"cloudwatch": STAT}, "needs a limit: max, min, at_most or difference"),
        ({"cloudwatch": STAT, "max": float("nan")}, "a limit must be a finite number"),
        ({"cloudwatch": STAT, "max": 1, "min": 2}, "min (2) is more than max (1)"),
        ({"cloudwatch": STAT, "at_most": 0.5}, "at_most must be 1 or more"),
        ({"cloudwatch": STAT, "difference": -1}, "difference must be 0 or more"),
        ({"cloudwatch": STAT, "max": 1, "consecutive": 0}, "consecutive must be 1 or more"),
        ({"cloudwatch": CloudWatch("Shop", "Refusals"), "max": 1}, "namespace, metric and statistic are needed"),
        ({"cloudwatch": CloudWatch("Shop", expression="a", queries={}), "max": 1}, "belong into queries"),
        ({"cloudwatch": CloudWatch(expression="a"), "max": 1}, "expression and queries need each other"),
        (
            {"cloudwatch": CloudWatch(expression="A", queries={"A": MetricStat("Shop", "R", "Sum")}), "max": 1},
            "'A' must begin with a lower-case letter",
        ),
        (
            {"cloudwatch": CloudWatch("Shop", "R", "Sum", {"R": "{{realease}}"}), "max": 1},
            "no placeholder {{realease}}",
        ),
        ({"cloudwatch": CloudWatch("Shop", "R", "Sum", {"R": "{{window}}"}), "max": 1}, "no placeholder {{window}}"),
        (
            {"cloudwatch": CloudWatch("Shop", "R", "Sum", {"R": "{{load_balancer}}"}), "at_most": 2},
            "cannot be compared with the live release",
        ),
        ({"prometheus": Prometheus("https://a b:c", "up"), "max": 1}, "prometheus.url: is not a URL"),
        ({"prometheus": Prometheus("ftp://prom", "up"), "max": 1}, "must begin with http:// or https://"),
        ({"prometheus": Prometheus("https://me:secret@prom", "up"), "max": 1}, "must not contain a password"),
        ({"prometheus": Prometheus("https://prom?tenant=1", "up"), "max": 1}, "must end with its path"),
        ({"prometheus": Prometheus("http://prom", "up", token_env="TOKEN"), "max": 1}, "over https only"),  # noqa: S106
        (
            {"prometheus": Prometheus("https://prom", "rate(a[1m30s])"), "max": 1},
            "looks back 1m30s, which is more than",
        ),
        ({"prometheus": Prometheus("https://prom", "max_over_time(a[1h:1m])"), "max": 1}, "looks back 1h"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], problem: str) -> None:
    """A rollout would find it when users are on the candidate, or judge the candidate by itself or by the past."""
    with pytest.raises(InputError) as error:
        check(**fields)
    assert str(error.value).startswith("metric refusals: ")
    assert problem in str(error.value)
    assert "secret" not in str(error.value)


def test_a_query_is_filled_in_for_a_release() -> None:
    """The candidate would be judged by the metrics of all releases, or of another one."""
    target_group = f"{ARN}:targetgroup/web-a/73e2d6bc24d8a067"
    listener = f"{ARN}:listener/app/web/50dc6c495c0c9188/f2f7dc8efc522ab2"
    values = values_of(target_group, listener, ("web-7f3a", "asg-7f3a"))
    every = {name: f"{{{{ {name} }}}}" for name in ("release", "target_group", "auto_scaling_group", "load_balancer")}
    filled = CloudWatch("Shop", "R", "Sum", every).filled(values)
    assert filled.dimensions == {
        "release": "web-7f3a",
        "target_group": "targetgroup/web-a/73e2d6bc24d8a067",
        "auto_scaling_group": "asg-7f3a",
        "load_balancer": "app/web/50dc6c495c0c9188",
    }
    math = CloudWatch(expression="a * 2", queries={"a": MetricStat("Shop", "R", "Sum", OF)}).filled(values)
    assert math.queries["a"].dimensions == {"Release": "web-7f3a"}
    assert math.words == "CloudWatch: a * 2 of Shop R Sum (Release=web-7f3a)"
    assert PROM.filled(values).query == 'sum(rate(refusals{release="web-7f3a"}[60s]))'
    assert check(prometheus=PROM, max=1).seconds == check(cloudwatch=STAT, max=1).seconds == 60
    assert len(Prometheus("https://prom", "a" * 1000).words) == 240


def test_what_a_query_cannot_contain_is_not_put_into_it() -> None:
    """A name from a tag would change the query: it could end its quotes, and ask for what is always good."""
    values = values_of("tg-new", "arn:listener", ('x"} or vector(0) #', "asg"))
    with pytest.raises(InputError, match="has characters that a query cannot contain"):
        PROM.filled(values)
    with pytest.raises(InputError, match="belongs to no release"):
        PROM.filled(values_of("tg-new", "arn:listener", None))


@pytest.mark.parametrize(
    ("known", "problem"),
    [
        ({"strategy": Strategy()}, "metrics judge only a step that has a hold"),
        ({"strategy": Strategy((Step(5), Step(50, 60)), bake=60)}, "metrics judge only a step that has a hold"),
        ({"data_deadline": 100}, "metric refusals needs up to 120 s for its values, and data_deadline is 100 s"),
        ({"metrics": (check(cloudwatch=STAT, max=1), check(cloudwatch=STAT, max=2))}, "name one twice"),
        ({"report_only": ("metrics.other",)}, "must be of alarms, errors, image, metrics, metrics.refusals, probe"),
    ],
)
def test_a_policy_by_which_a_metric_cannot_judge_is_refused(known: dict[str, Any], problem: str) -> None:
    """A required metric would never be read, or every rollout end at its deadline."""
    plain: dict[str, Any] = {"minimum": 2, "strategy": Strategy(bake=60), "metrics": (check(cloudwatch=STAT, max=1),)}
    Policy(**plain)
    with pytest.raises(InputError, match=problem):
        Policy(**{**plain, **known})
    Policy(minimum=2, metrics=plain["metrics"], report_only=("metrics.refusals",))
