"""Dashboards and alarms of expressions: what CloudWatch refuses of them, and what it returns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from fleetswap.domain.dashboard import marked
from tests.localcloud.clients import refusal
from tests.test_dashboard import BODY, MARKER

if TYPE_CHECKING:
    from tests.localcloud.clients import Clients

GRAPH = {"metrics": [["AWS/ApplicationELB", "RequestCount", "LoadBalancer", "app/web/1"]], "region": "us-east-1"}
METRIC = {"Namespace": "AWS/ApplicationELB", "MetricName": "RequestCount", "Dimensions": []}
QUERIES: list[dict[str, Any]] = [
    {"Id": "result", "Expression": "FILL(requests, 0) * 2", "ReturnData": True},
    {"Id": "requests", "MetricStat": {"Metric": METRIC, "Period": 60, "Stat": "Sum"}, "ReturnData": False},
]
ALARM: dict[str, Any] = {
    "AlarmName": "web-failed",
    "ComparisonOperator": "GreaterThanThreshold",
    "EvaluationPeriods": 3,
    "Threshold": 5.0,
}


def test_a_dashboard_of_ours_is_taken_and_returned(clients: Clients) -> None:
    """The dashboard of a stack would be refused where nobody can see why."""
    cloudwatch, body = clients.client("cloudwatch"), json.dumps(marked(BODY, [MARKER]))
    assert cloudwatch.put_dashboard(DashboardName="web", DashboardBody=body)["DashboardValidationMessages"] == []
    assert json.loads(cloudwatch.get_dashboard(DashboardName="web")["DashboardBody"]) == json.loads(body)
    cloudwatch.delete_dashboards(DashboardNames=["web"])
    assert "ResourceNotFound" in refusal(lambda: cloudwatch.get_dashboard(DashboardName="web"))
    assert "ResourceNotFound" in refusal(lambda: cloudwatch.delete_dashboards(DashboardNames=["web"]))


@pytest.mark.parametrize(
    "widget",
    [
        {"type": "graph", "properties": GRAPH},
        {"type": "metric"},
        {"type": "metric", "properties": {**GRAPH, "metrics": []}},
        {"type": "metric", "properties": {**GRAPH, "region": ""}},
        {
            "type": "metric",
            "properties": {**GRAPH, "metrics": [["AWS/ApplicationELB", "RequestCount", "LoadBalancer"]]},
        },
        {"type": "metric", "properties": {**GRAPH, "metrics": [[{"expression": "a", "id": "A"}]]}},
        {"type": "metric", "properties": {**GRAPH, "annotations": {"vertical": [{"value": "noon"}]}}},
        {"type": "metric", "width": 25, "properties": GRAPH},
        {"type": "metric", "x": 20, "y": 0, "properties": GRAPH},
        {"type": "text", "properties": {}},
        {"type": "alarm", "properties": {"alarms": []}},
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused(clients: Clients, widget: dict[str, Any]) -> None:
    """A dashboard would work here, and be refused by AWS after the first deploy."""
    cloudwatch = clients.client("cloudwatch")
    body = json.dumps({"widgets": [widget]})
    told = refusal(lambda: cloudwatch.put_dashboard(DashboardName="web", DashboardBody=body))
    assert "InvalidParameterInput" in told


def test_the_name_of_a_dashboard_and_its_json_are_checked(clients: Clients) -> None:
    """The same, of what surrounds the widgets."""
    cloudwatch = clients.client("cloudwatch")
    for name, body in (("shop/prod", '{"widgets": []}'), ("web", "{"), ("web", "[]"), ("web", '{"widgets": 1}')):
        assert refusal(lambda: cloudwatch.put_dashboard(DashboardName=name, DashboardBody=body))  # noqa: B023


def test_an_alarm_of_an_expression_is_kept(clients: Clients) -> None:
    """Each preview would want to write it again."""
    cloudwatch = clients.client("cloudwatch")
    cloudwatch.put_metric_alarm(**ALARM, Metrics=QUERIES)
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=["web-failed"])["MetricAlarms"]
    assert [(each["Id"], each["ReturnData"]) for each in alarm["Metrics"]] == [("result", True), ("requests", False)]
    assert alarm["StateValue"] == "INSUFFICIENT_DATA"
    cloudwatch.delete_alarms(AlarmNames=["web-failed"])


@pytest.mark.parametrize(
    "change",
    [
        {"Metrics": [QUERIES[1]]},
        {"Metrics": [QUERIES[0], {**QUERIES[1], "ReturnData": True}]},
        {"Metrics": [QUERIES[0], {**QUERIES[1], "Id": "result"}]},
        {"Metrics": [QUERIES[0]]},
        {"Metrics": QUERIES, "MetricName": "RequestCount"},
        {"Metrics": QUERIES, "Threshold": None},
        {"Metrics": QUERIES, "TreatMissingData": "good"},
    ],
    ids=str,
)
def test_an_alarm_that_says_nothing_is_refused(clients: Clients, change: dict[str, Any]) -> None:
    """A deploy to AWS would stop at an alarm that worked here."""
    asked = {key: value for key, value in {**ALARM, **change}.items() if value is not None}
    assert refusal(lambda: clients.client("cloudwatch").put_metric_alarm(**asked))
