"""The alarms and the dashboard that the program declares, read off the inputs that it registers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from tests.program.declared import Program, declare
from tests.program.test_front_door import GUEST, SEEN, SHARED, deployed
from tests.program.test_stack import depends_on, local

pytestmark = pytest.mark.nix

TOPIC = "arn:aws:sns:us-east-1:123456789012:ops"


@pytest.fixture(scope="module")
def first() -> Program:
    return declare(local("1", alarms=True))


@pytest.fixture(scope="module")
def second(first: Program) -> Program:
    return declare(local("2", alarms=True), ledger=first.outputs["ledger"])


def alarms(program: Program) -> dict[str, dict[str, Any]]:
    return {alarm.name: alarm.inputs for alarm in program.of("MetricAlarm")}


def kinds(program: Program) -> set[str]:
    return {resource.type.rpartition(":")[2] for resource in program.resources}


def test_without_the_setting_nothing_is_declared() -> None:
    """An upgrade would make, and bill, what nobody asked for, or change every group."""
    program = declare(local("1"))
    assert not kinds(program) & {"Alarms", "MetricAlarm", "EventRule", "Topic", "Dashboard"}
    assert "enabledMetrics" not in program.one("Group").inputs
    assert "alarms" not in program.outputs
    (endpoints,) = json.loads(program.one("aws").inputs["endpoints"])
    assert not set(endpoints) & {"cloudwatch", "events", "sns"}


def test_alarms_that_are_no_longer_wanted_are_deleted_where_they_are(first: Program) -> None:
    """The provider of a local stack would ask AWS itself to delete them, and the update would fail."""
    program = declare(local("1"), outputs=first.outputs)
    assert not kinds(program) & {"Alarms", "MetricAlarm", "EventRule", "Topic", "Dashboard"}
    (endpoints,) = json.loads(program.one("aws").inputs["endpoints"])
    assert set(endpoints) > {"cloudwatch", "events", "sns"}
    (endpoints,) = json.loads(declare(local("1"), outputs=program.outputs).one("aws").inputs["endpoints"])
    assert not set(endpoints) & {"cloudwatch", "events", "sns"}


def test_each_release_with_machines_has_its_alarms(first: Program, second: Program) -> None:
    """The standby would have none after a rollback, or alarms of a release would outlive it."""
    for program in (first, second):
        running = [group.name for group in program.of("Group")]
        of_releases = {f"{release}-{what}" for release in running for what in ("failed", "latency", "healthy")}
        assert set(alarms(program)) == {"web-failed", *of_releases}
        assert {alarm.options.parent.__class__.__name__ for alarm in program.of("MetricAlarm")} == {"Alarms"}
    assert len(alarms(second)) == 7


def test_failed_requests_are_those_that_users_saw(first: Program) -> None:
    """502, 503 and 504 of the load balancer would not count, or one failed request in the night would be an alarm."""
    (group,) = (group.name for group in first.of("Group"))
    of_release, of_all = alarms(first)[f"{group}-failed"], alarms(first)["web-failed"]
    for alarm in (of_release, of_all):
        assert (alarm["threshold"], alarm["comparisonOperator"]) == (5, "GreaterThanThreshold")
        assert (alarm["evaluationPeriods"], alarm["treatMissingData"]) == (3, "notBreaching")
        assert [query["id"] for query in alarm["metricQueries"] if query.get("returnData")] == ["result"]
    queries = {query["id"]: query for query in of_release["metricQueries"]}
    assert queries["result"]["expression"] == (
        "IF(requests >= 20, 100 * (requests - SUM([requests * 0, FILL(s2xx, 0), FILL(s3xx, 0), FILL(s4xx, 0)]))"
        " / requests, 0)"
    )
    assert queries["s4xx"]["metric"] == {
        "namespace": "AWS/ApplicationELB",
        "metricName": "HTTPCode_Target_4XX_Count",
        "dimensions": {"LoadBalancer": "app/web/1", "TargetGroup": f"targetgroup/{group}/2"},
        "period": 60,
        "stat": "Sum",
    }
    names = {query["metric"]["metricName"] for query in of_all["metricQueries"] if "metric" in query}
    assert names == {"RequestCount", "HTTPCode_ELB_5XX_Count", "HTTPCode_Target_5XX_Count"}


def test_few_responses_are_no_percentile(first: Program) -> None:
    """One slow response in the night would be an alarm."""
    (latency,) = (inputs for name, inputs in alarms(first).items() if name.endswith("-latency"))
    assert (latency["extendedStatistic"], latency["threshold"]) == ("p95", 2)
    assert (latency["evaluateLowSampleCountPercentiles"], latency["treatMissingData"]) == ("ignore", "notBreaching")
    assert set(latency["dimensions"]) == {"LoadBalancer", "TargetGroup"}


def test_missing_machines_are_counted_against_what_the_group_wants(first: Program) -> None:
    """A standby without machines would be in ALARM for ever, or a group that launches nothing in none."""
    (healthy,) = (inputs for name, inputs in alarms(first).items() if name.endswith("-healthy"))
    queries = {query["id"]: query for query in healthy["metricQueries"]}
    assert queries["result"]["expression"] == "desired - capacity + machines - SUM([machines * 0, FILL(healthy, 0)])"
    assert (healthy["threshold"], healthy["treatMissingData"]) == (0, "missing")
    wanted = {queries[each]["metric"]["metricName"] for each in ("desired", "capacity", "machines")}
    assert wanted == set(first.one("Group").inputs["enabledMetrics"])


def test_everybody_who_publishes_may(first: Program) -> None:
    """Alarms and rules would notify nobody, and say so nowhere."""
    statements = json.loads(first.one("TopicPolicy").inputs["policy"])["Statement"]
    assert {each["Principal"]["Service"] for each in statements} == {"cloudwatch.amazonaws.com", "events.amazonaws.com"}
    topic = first.one("Topic").name
    for alarm in alarms(first).values():
        assert alarm["alarmActions"] == alarm["okActions"] == [f"arn:{topic}"]
    assert first.one("EventTarget", "web-switch").inputs["arn"] == f"arn:{topic}"


def test_only_the_role_of_the_switch_is_its_firing(first: Program) -> None:
    """Every deploy would notify that the dead man's switch has fired."""
    pattern = json.loads(first.one("EventRule", "web-switch").inputs["eventPattern"])
    assert pattern["detail"]["eventName"] == ["ModifyRule"]
    assert pattern["detail"]["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] == ["arn:web-switch"]
    template = json.loads(first.one("EventTarget", "web-switch").inputs["inputTransformer"]["inputTemplate"])
    assert "has fired" in template["content"]["title"]


def test_spot_interruptions_are_those_of_the_service() -> None:
    """Whoever runs this service would be paged for another one's machines; without Spot, a rule would match nothing."""
    only = declare(local("1", alarms=True, machine={"on_demand_percent": 100}))
    assert [rule.name for rule in only.of("EventRule")] == ["web-switch"]
    program = declare(local("1", alarms=True))
    detail = json.loads(program.one("EventRule", "web-spot").inputs["eventPattern"])["detail"]
    assert detail["AutoScalingGroupName"] == [{"prefix": f"{group.name}-"} for group in program.of("Group")]
    assert {"wildcard": "*Spot*"} in detail["Cause"]


def test_alarms_are_there_before_the_traffic_moves_and_the_dashboard_after(first: Program) -> None:
    """An alarm that AWS refuses would fail the update when the traffic has moved, and the ledger would not be written;
    a dashboard that comes before could not mark the deploy.
    """
    assert "Alarms" in depends_on(first.one("Rollout"))
    assert depends_on(first.one("Dashboard")) == ["Rollout"]


def test_the_dashboard_shows_every_release(second: Program) -> None:
    """The release that is being deployed would be missing where everybody looks."""
    inputs = second.one("Dashboard").inputs
    assert inputs["name"] == "fleetswap-local-web-us-east-1"
    body = json.loads(inputs["body"])
    titles = [widget["properties"].get("title") for widget in body["widgets"]]
    assert titles[1:4] == ["Alarms", "Requests a minute", "Requests that failed (5xx or no response), percent"]
    for group in second.of("Group"):
        assert json.dumps(body).count(f"targetgroup/{group.name}/2") > 5
    assert len(body["widgets"][1]["properties"]["alarms"]) == 7


def test_what_is_not_wanted_is_left_out() -> None:
    """`null` would be the default again, and the bill the same."""
    off = {"failed": None, "latency": None, "healthy": None, "switch": False, "spot": False, "dashboard": False}
    program = declare(local("1", alarms={**off, "topic": TOPIC}))
    assert not kinds(program) & {"MetricAlarm", "EventRule", "Topic", "TopicPolicy", "Dashboard"}
    assert program.outputs["alarms"] == {"topic": TOPIC, "dashboard": None}


def test_an_existing_listener_has_no_alarm_about_the_requests_of_others() -> None:
    """The team would be paged for every other service on the load balancer."""
    program = deployed(SHARED, network=GUEST, health={"grace": 60}, alarms=True)
    assert "web-failed" not in alarms(program)
    (failed,) = (inputs for name, inputs in alarms(program).items() if name.endswith("-failed"))
    dimensions = {
        query["metric"]["dimensions"]["LoadBalancer"] for query in failed["metricQueries"] if "metric" in query
    }
    assert dimensions == {SEEN.balancer}


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        (TOPIC.replace("us-east-1", "eu-west-1"), "is not of region us-east-1"),
        (f"{TOPIC}.fifo", "is a FIFO topic, which no alarm of CloudWatch can notify"),
    ],
)
def test_a_topic_that_no_alarm_can_notify_is_refused(topic: str, why: str) -> None:
    """The deploy would fail half-way, or the alarms would be silent."""
    with pytest.raises(InputError, match=f"fleetswap:alarms.topic.*{why}"):
        declare(local("1", alarms={"topic": topic}))
