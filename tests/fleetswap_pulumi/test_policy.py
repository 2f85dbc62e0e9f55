"""A rollout's policy: one declaration for settings, inputs and state, and what the state machine makes of it."""

from __future__ import annotations

from dataclasses import fields
from math import inf
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from fleetswap.domain.rollout.metric_checks import CloudWatch, MetricCheck, MetricStat, Prometheus
from fleetswap.domain.rollout.policy import OPTIONAL, Policy, Shortage
from fleetswap.domain.rollout.rates import Limit
from fleetswap.domain.rollout.strategy import Step, Strategy
from fleetswap_pulumi.checks import check_failures
from fleetswap_pulumi.metric_settings import (
    CloudWatchSettings,
    MetricSettings,
    MetricStatSettings,
    PrometheusSettings,
)
from fleetswap_pulumi.policy import (
    Judgement,
    LimitSettings,
    RolloutPolicy,
    RolloutSettings,
    StepSettings,
    StrategyInputs,
)
from fleetswap_pulumi.rollout import Inputs
from tests.states.old import V0_1

(STATE,) = [each["inputs"] for each in V0_1.resources() if each["type"].endswith("/fleetswap:Rollout")]

PAIRS: list[tuple[type[BaseModel], type[Any]]] = [
    (RolloutPolicy, Policy),
    (StrategyInputs, Strategy),
    (StepSettings, Step),
    (LimitSettings, Limit),
    (MetricSettings, MetricCheck),
    (CloudWatchSettings, CloudWatch),
    (MetricStatSettings, MetricStat),
    (PrometheusSettings, Prometheus),
]


@pytest.mark.parametrize(("model", "domain"), PAIRS)
def test_the_state_machine_has_the_same_fields(model: type[BaseModel], domain: type[Any]) -> None:
    """A setting would reach nobody, or a rule of the state machine could not be set."""
    assert set(model.model_fields) == {field.name for field in fields(domain)}


def test_defaults_are_the_same() -> None:
    """A test of the state machine would prove nothing of a rollout with the default settings."""
    assert RolloutPolicy(minimum=2).to_policy() == Policy(minimum=2)
    policy = RolloutSettings().policy(2)
    differ = {
        name for name in RolloutPolicy.model_fields if getattr(policy, name) != getattr(RolloutPolicy(minimum=2), name)
    }
    assert differ == {"strategy", "errors", "shortage", "shortage_limit"}, "a canary, On-Demand for Spot"


def edges(model: type[BaseModel]) -> list[tuple[str, float, float | None]]:
    """Each limit of a number: its key, the last value that is allowed, and one beyond."""
    found = []
    for name, schema in model.model_json_schema()["properties"].items():
        for kind in (schema, *schema.get("anyOf", ())):
            for limit, way in (("minimum", -1), ("exclusiveMinimum", 1), ("maximum", 1), ("exclusiveMaximum", -1)):
                if limit not in kind:
                    continue
                at, off = kind[limit], way * (1 if kind["type"] == "integer" else 1e-6)
                found.append((name, at + off, at) if "exclusive" in limit else (name, at, at + off))
    return found


@pytest.mark.parametrize(("name", "last", "beyond"), edges(RolloutPolicy))
def test_a_limit_is_not_wider_than_the_state_machines(name: str, last: float, beyond: float) -> None:
    """A setting would be accepted, and refused only when the machines are about to be launched."""
    RolloutPolicy.model_validate({"capacity": 1, name: last}).to_policy()
    with pytest.raises(ValidationError, match=name):
        RolloutPolicy.model_validate({"capacity": 1, name: beyond})


@pytest.mark.parametrize(("name", "last", "beyond"), edges(LimitSettings))
def test_a_rates_limit_is_not_wider_than_the_tests(name: str, last: float, beyond: float) -> None:
    """The same, of how many requests may fail."""
    RolloutPolicy.model_validate({"capacity": 1, "errors": {name: last}}).to_policy()
    with pytest.raises(ValidationError, match=name):
        RolloutPolicy.model_validate({"capacity": 1, "errors": {name: beyond}})


def test_the_checks_are_the_same() -> None:
    """A check could not be turned off, or traffic put on machines that are not healthy."""
    every = sorted(OPTIONAL)
    assert RolloutSettings(report_only=tuple(every)).policy(1).to_policy().report_only == tuple(every)
    with pytest.raises(ValidationError):
        RolloutPolicy.model_validate({"capacity": 1, "report_only": ["health"]})


METRICS = [
    {
        "name": "refusals",
        "cloudwatch": {
            "namespace": "Shop",
            "metric": "Refusals",
            "statistic": "Sum",
            "dimensions": {"Release": "{{release}}"},
        },
        "at_most": 1.5,
        "consecutive": 2,
    },
    {
        "name": "lag",
        "prometheus": {"url": "https://prom", "query": "lag", "window": 30, "token_env": "TOKEN"},
        "max": 3,
    },
]


def test_metrics_are_no_input_until_they_are_set() -> None:
    """The first preview after an upgrade would show a change of the rollout, and the update start one."""
    assert RolloutSettings().policy(2).model_dump(mode="json", by_alias=True)["metrics"] is None


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"metrics": [{"name": "a", "prometheus": {"url": "https://p", "query": "up"}}]}, "metric a: needs a limit"),
        ({"metrics": [METRICS[1], METRICS[1]]}, "names lag twice"),
        ({"metrics": METRICS, "bake": 0, "strategy": "all-at-once"}, "metrics judge only a step that has a hold"),
        ({"metrics": METRICS, "data_deadline": 60}, "metric refusals needs up to 180 s"),
        ({"metrics": METRICS, "report_only": ["metrics.other"]}, "must be of alarms, .*, metrics.refusals"),
        ({"metrics": [{**METRICS[0], "cloudwatch": {**METRICS[0]["cloudwatch"], "period": 90}}]}, "not 90"),  # type: ignore[dict-item] # an object
    ],
)
def test_a_metric_that_cannot_judge_is_refused_with_the_settings(wrong: dict[str, Any], problem: str) -> None:
    """It would be found when the images are uploaded, or by a rollout that always aborts."""
    with pytest.raises(ValidationError, match=problem):
        RolloutSettings.model_validate(wrong)


def test_every_setting_arrives() -> None:
    """A setting would be accepted and ignored."""
    last = {name: value for name, value, _ in edges(Judgement)}
    settings = RolloutSettings.model_validate(
        last
        | {
            "strategy": [{"weight": 5, "hold": 1, "min_requests": 2}],
            "bake": 3,
            "trusted_bake": 4,
            "probe_path": "/up",
            "probe_statuses": [204],
            "alarms": ["a"],
            "errors": {"ratio": 2},
            "slowness": {"ratio": 3},
            "metrics": METRICS,
            "report_only": ["image", "metrics.refusals"],
            "shortage": "on-demand",
            "again": True,
            "hooks": [{"at": "end", "lambda": "f"}],
            "pause": [{"at": 5}],
        }
    )
    policy, plain = settings.policy(7).to_policy(), Policy(minimum=2)
    left = {field.name for field in fields(Policy) if getattr(policy, field.name) == getattr(plain, field.name)}
    assert left == {"quick", "patience"}, "what no user sets"
    assert policy.minimum == 7
    assert policy.strategy == Strategy((Step(5, 1, 2),), bake=3, trusted_bake=4)
    assert policy.errors == Limit(ratio=2, ceiling=0.1)
    assert policy.slowness == Limit(ratio=3)
    assert policy.metrics == (
        MetricCheck(
            "refusals",
            cloudwatch=CloudWatch("Shop", "Refusals", "Sum", {"Release": "{{release}}"}),
            at_most=1.5,
            consecutive=2,
        ),
        MetricCheck("lag", prometheus=Prometheus("https://prom", "lag", 30, "TOKEN"), max=3),
    )
    kept = without_none(settings.policy(7).model_dump(mode="json", by_alias=True))
    assert RolloutPolicy.model_validate(kept).to_policy() == policy, "as the state has it"


@pytest.mark.parametrize(
    ("wrong", "keys"),
    [
        ({"capacity": 0, "nonsense": 1}, ["policy.capacity", "policy.nonsense"]),
        ({}, ["policy.capacity"]),
        ({"capacity": 2.5}, ["policy.capacity"]),
        ({"capacity": 2, "readings": inf}, ["policy.readings"]),
        ({"capacity": 2, "shortage": "nope"}, ["policy.shortage"]),
        ({"capacity": 2, "errors": {"ceiling": 2}}, ["policy.errors.ceiling"]),
        ({"capacity": 2, "probe_statuses": [200, 600]}, ["policy.probe_statuses[1]"]),
        ({"capacity": 2, "probe_statuses": [600]}, ["policy.probe_statuses[0]"]),
        (
            {"capacity": 2, "strategy": {"steps": [{"weight": 0}, {"weight": 5, "hold": -1}], "bake": -1}},
            ["policy.strategy.steps[0].weight", "policy.strategy.steps[1].hold", "policy.strategy.bake"],
        ),
        ({"capacity": 2, "strategy": {"steps": [{"weight": 25}, {"weight": 5}]}}, ["policy.strategy.steps"]),
        ({"capacity": 2, "alarms": ["a", "a"]}, ["policy.alarms"]),
    ],
)
def test_a_wrong_policy_is_refused_by_its_keys(wrong: dict[str, Any], keys: list[str]) -> None:
    """A preview would show nothing, and the update end in a traceback."""
    failures = check_failures(Inputs, {**STATE, "policy": wrong})
    assert [failure.property for failure in failures] == keys
    assert all(failure.reason for failure in failures)


def test_a_state_in_the_field_reads_as_it_was_written() -> None:
    """The first deploy after an upgrade would show a change of the rollout, and start one."""
    policy = Inputs.of(STATE).policy
    assert without_none(policy.model_dump(mode="json", by_alias=True)) == STATE["policy"]
    read = policy.to_policy()
    assert (read.deadline, read.readings, read.slow, read.shortage) == (120, 2, 1.5, Shortage.ABORT)
    assert [step.weight for step in read.strategy.steps] == [10, 50, 100]


def test_the_guardian_reads_what_the_provider_has_read() -> None:
    """A rollout whose provider was killed could not be ended: the guardian gets the inputs as they were read."""
    inputs = Inputs.of(STATE)
    assert Inputs.of(inputs.model_dump()) == inputs


def test_what_the_engine_leaves_out_is_none() -> None:
    """`errors: null` would be read back as the default, and a candidate judged that nobody wanted judged."""
    settings = RolloutSettings.model_validate({"errors": None, "slowness": {"ceiling": None}})
    policy = settings.policy(2)
    kept = without_none(policy.model_dump(mode="json", by_alias=True))
    assert "errors" not in kept
    assert RolloutPolicy.model_validate(kept) == policy
    lenient = RolloutSettings.model_validate({"errors": {"ceiling": None}}).policy(2)
    assert RolloutPolicy.model_validate(without_none(lenient.model_dump(mode="json", by_alias=True))) == lenient


def test_the_oldest_policy_is_readable() -> None:
    """A state that was written before a setting existed could not be read any more."""
    assert RolloutPolicy.model_validate({"capacity": 2.0, "probe_statuses": [200.0]}).to_policy() == Policy(minimum=2)


def test_counts_that_went_through_pulumi_are_whole() -> None:
    """Pulumi has only floats, and AWS refuses 2.0 machines."""
    steps = [{"weight": 5.0, "min_requests": 10.0}]
    policy = RolloutPolicy.model_validate({"capacity": 2.0, "readings": 3.0, "strategy": {"steps": steps}}).to_policy()
    step = policy.strategy.steps[0]
    assert repr((policy.minimum, policy.readings, step.weight, step.min_requests)) == "(2, 3, 5, 10)"


def without_none(value: Any) -> Any:
    """What the engine keeps: it drops properties that are null."""
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list) else value
