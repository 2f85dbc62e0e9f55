"""Canaries that are judged by metrics, explored: no candidate gets more traffic without a good value of its step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.rollout import metric_values
from fleetswap.domain.rollout.findings import Code
from fleetswap.domain.rollout.health import Verdict
from fleetswap.domain.rollout.metric_checks import CloudWatch, MetricCheck, Prometheus
from tests.fakes.sim_world import PERIOD, SimWorld
from tests.rollout.scenarios import CANARY, Scenario, order_for
from tests.rollout.scenarios import _swap as swap
from tests.rollout.simulator import Explorer, Violation

OWN = CloudWatch("Shop", "Refusals", "Sum", {"Release": "{{release}}"}, period=PERIOD)
QUERY = Prometheus("http://localhost", "{{release}}", window=PERIOD)
CHECKS: dict[str, MetricCheck] = {
    "CloudWatch": MetricCheck("refusals", cloudwatch=OWN, max=5, consecutive=2),
    "CloudWatch, compared": MetricCheck("refusals", cloudwatch=OWN, at_most=1.5, consecutive=2),
    "Prometheus": MetricCheck("refusals", prometheus=QUERY, max=5, consecutive=2),
    "Prometheus, compared": MetricCheck("refusals", prometheus=QUERY, at_most=1.5, consecutive=2),
}
FAULTS = ("throttle", "a metric gap")


def scenario(name: str, metric: str) -> Scenario:
    def make() -> SimWorld:
        world = swap(metric=metric)
        world.measured = True
        return world

    order = order_for("new", replace(CANARY, metrics=(CHECKS[name],), errors=None))
    return Scenario(f"{name}: {metric}", make, order, good=metric in {"good", "late"})


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("metric", ["good", "late", "bad", "none", "flapping"])
def test_a_candidate_is_worth_what_its_metric_is(name: str, metric: str) -> None:
    """A bad candidate would get the traffic, or a good one whose values come late would be put back."""
    explorer = Explorer(scenario(name, metric))
    explorer.explore(0)
    assert set(explorer.outcomes) == ({"success"} if metric in {"good", "late"} else {"aborted"})


@pytest.mark.parametrize(("name", "metric"), [("CloudWatch", "flapping"), ("Prometheus, compared", "good")])
def test_whatever_goes_wrong_besides(name: str, metric: str) -> None:
    """A value would be taken for one of the step before, of another run, or of a reading that failed."""
    explorer = Explorer(scenario(name, metric), faults=FAULTS)
    explorer.explore(1)
    assert explorer.ends > 50


def _no_value_is_good(finding: Callable[..., Any]) -> Callable[..., Any]:
    def found(*args: Any, **known: Any) -> Any:
        judged = finding(*args, **known)
        return replace(judged, verdict=Verdict.PROMOTE) if judged.code in {Code.NONE, Code.UNKNOWN} else judged

    return found


def _anything_is_good(judge: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: replace(judge(*args), verdict=Verdict.PROMOTE)


def test_planted_bugs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above would pass whatever the machine does."""
    monkeypatch.setattr(metric_values, "finding", _no_value_is_good(metric_values.finding))
    with pytest.raises(Violation, match="its metric is none"):
        Explorer(scenario("Prometheus", "none")).explore(0)
    monkeypatch.undo()
    monkeypatch.setattr(metric_values, "_judged", _anything_is_good(metric_values._judged))
    with pytest.raises(Violation, match="its metric is bad"):
        Explorer(scenario("CloudWatch", "bad")).explore(0)
