"""The dead man's switch: the exact requests, and what happens when another deployer writes the same schedule."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from fleetswap.aws import switch
from fleetswap.aws.calls import answered_at
from fleetswap.aws.switch import Switch, schedule_name
from fleetswap.domain.errors import CloudError
from fleetswap.domain.orders import Rule, Unavailable

NAME = "fleetswap-web-0a1b2c3d"
ROLE = "arn:aws:iam::123456789012:role/web-switch"
ACTIONS = [
    {
        "Type": "forward",
        "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": "arn:tg", "Weight": 100}]},
    }
]
RULE = Rule((("arn:tg", 100),), json.dumps({"RuleArn": "arn:rule", "Actions": ACTIONS}))
BY_NAME = {"Name": NAME, "GroupName": "default"}
AT_NOON = {"ResponseMetadata": {"HTTPHeaders": {"date": "Tue, 24 Nov 2026 12:00:00 GMT"}, "HTTPStatusCode": 200}}


def request(at: str) -> dict[str, Any]:
    return {
        **BY_NAME,
        "Description": "Fleetswap: puts the traffic back if the deploying machine dies. Run: run-1",
        "ScheduleExpression": f"at({at})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "State": "ENABLED",
        "Target": {
            "Arn": "arn:aws:scheduler:::aws-sdk:elasticloadbalancingv2:modifyRule",
            "RoleArn": ROLE,
            "Input": RULE.verbatim,
            "RetryPolicy": {"MaximumEventAgeInSeconds": 300, "MaximumRetryAttempts": 20},
        },
    }


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client that asks no one."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    return boto3.client("scheduler", region_name="us-east-1")


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    """What EventBridge Scheduler answers."""
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


def absent(stub: Stubber) -> None:
    stub.add_client_error(
        "get_schedule",
        "ResourceNotFoundException",
        http_status_code=404,
        expected_params=BY_NAME,
        response_meta=AT_NOON["ResponseMetadata"],
    )


def present(stub: Stubber) -> None:
    stub.add_response("get_schedule", {"Name": NAME, **AT_NOON}, BY_NAME)


def test_it_is_made_by_the_clock_of_the_service(client: Any, stub: Stubber) -> None:
    """With a deployer's clock that is behind, the switch would fire while the deploy goes on."""
    absent(stub)
    stub.add_response("create_schedule", {"ScheduleArn": "arn:s"}, request("2026-11-24T12:02:31"))
    Switch(client, name=NAME, role=ROLE).arm(150.2, RULE, "run-1")


def test_it_is_pushed_out(client: Any, stub: Stubber) -> None:
    """The second step would find the schedule made, and the switch would fire during its hold."""
    present(stub)
    stub.add_response("update_schedule", {"ScheduleArn": "arn:s"}, request("2026-11-24T12:01:00"))
    Switch(client, name=NAME, role=ROLE).arm(60, RULE, "run-1")


def test_another_deployer_makes_or_deletes_it_meanwhile(client: Any, stub: Stubber) -> None:
    """Two deployers at once would end in a refusal, or in no switch at all."""
    absent(stub)
    stub.add_client_error("create_schedule", "ConflictException", http_status_code=409)
    present(stub)
    stub.add_client_error("update_schedule", "ResourceNotFoundException", http_status_code=404)
    absent(stub)
    stub.add_response("create_schedule", {"ScheduleArn": "arn:s"}, request("2026-11-24T12:01:00"))
    Switch(client, name=NAME, role=ROLE).arm(60, RULE, "run-1")


@pytest.mark.parametrize("call", ["update_schedule", "delete_schedule"])
def test_a_conflict_passes(client: Any, stub: Stubber, call: str) -> None:
    """A schedule that is being changed by another would fail the rollout, or its clean-up."""
    hand = Switch(client, name=NAME, role=ROLE)
    if call == "update_schedule":
        present(stub)
    stub.add_client_error(call, "ConflictException", http_status_code=409)
    with pytest.raises(Unavailable, match=f"schedule {NAME} is being changed"):
        hand.arm(60, RULE, "run-1") if call == "update_schedule" else hand.disarm(None)


def test_it_gives_up_on_a_schedule_that_comes_and_goes(client: Any, stub: Stubber) -> None:
    """A race that never ends would hang the deploy."""
    for _ in range(switch.TRIES):
        absent(stub)
        stub.add_client_error("create_schedule", "ConflictException", http_status_code=409)
    with pytest.raises(Unavailable, match="comes and goes"):
        Switch(client, name=NAME, role=ROLE).arm(60, RULE, "run-1")


def test_deleting_what_is_gone(client: Any, stub: Stubber) -> None:
    """A switch that has fired would fail the end of every rollout."""
    stub.add_response("delete_schedule", {}, BY_NAME)
    stub.add_client_error("delete_schedule", "ResourceNotFoundException", http_status_code=404)
    hand = Switch(client, name=NAME, role=ROLE)
    hand.disarm(None)
    hand.disarm(None)


def test_only_the_own_schedule_is_deleted(client: Any, stub: Stubber) -> None:
    """A deployer that ends late would take the switch away from the one that has taken over."""
    hand = Switch(client, name=NAME, role=ROLE)
    mine, another = (request("2026-11-24T12:00:00") | {"Description": f"{switch.DESCRIPTION}{run}"} for run in "12")
    stub.add_response("get_schedule", another | AT_NOON, BY_NAME)
    hand.disarm("1")
    absent(stub)
    hand.disarm("1")
    stub.add_response("get_schedule", mine | AT_NOON, BY_NAME)
    stub.add_response("delete_schedule", {}, BY_NAME)
    hand.disarm("1")
    stub.add_response("delete_schedule", {}, BY_NAME)
    hand.disarm(None)


def test_a_role_that_may_not_be_passed_is_told(client: Any, stub: Stubber) -> None:
    """The engineer would be told to allow scheduler:CreateSchedule, which is allowed."""
    absent(stub)
    stub.add_client_error(
        "create_schedule",
        "AccessDeniedException",
        http_status_code=403,
        service_message="User: arn:aws:sts::1:assumed-role/ci/x is not authorized to perform: iam:PassRole on"
        f" resource: {ROLE} because no identity-based policy allows the iam:PassRole action",
    )
    with pytest.raises(CloudError, match=f"AWS refuses iam:PassRole on {ROLE}: give the deploying role") as caught:
        Switch(client, name=NAME, role=ROLE).arm(60, RULE, "run-1")
    assert not isinstance(caught.value, Unavailable)
    absent(stub)
    stub.add_client_error("create_schedule", "AccessDeniedException", http_status_code=403, service_message="no")
    with pytest.raises(CloudError, match=f"AWS refuses scheduler:CreateSchedule on {NAME}"):
        Switch(client, name=NAME, role=ROLE).arm(60, RULE, "run-1")


def test_a_role_made_a_moment_ago_is_waited_for(client: Any, stub: Stubber) -> None:
    """The first deploy, which makes the role, would fail because IAM has not spread it yet."""
    absent(stub)
    stub.add_client_error(
        "create_schedule",
        "ValidationException",
        http_status_code=400,
        service_message="The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
    )
    with pytest.raises(Unavailable, match="its trust policy must name scheduler"):
        Switch(client, name=NAME, role=ROLE).arm(60, RULE, "run-1")
    absent(stub)
    stub.add_client_error("create_schedule", "ValidationException", http_status_code=400, service_message="bad name")
    with pytest.raises(CloudError, match="bad name"):
        Switch(client, name=NAME, role=ROLE).arm(60, RULE, "run-1")


def test_what_it_will_do_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next deployer could not tell what an old switch would put back, nor when."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    with mock_aws():
        client = boto3.client("scheduler", region_name="us-east-1")
        hand = Switch(client, name=NAME, role=ROLE)
        assert hand.armed() is None
        hand.disarm(None)
        hand.arm(300, RULE, "run-1")
        hand.arm(600, RULE, "run-1")
        found = hand.armed()
        assert found is not None
        assert 590 < found.seconds <= 602
        assert found.run == "run-1"
        assert found.rule.weights == RULE.weights
        assert json.loads(found.rule.verbatim) == json.loads(RULE.verbatim)
        hand.disarm(None)
        assert hand.armed() is None


def test_without_a_role(client: Any, stub: Stubber) -> None:
    """The way back by hand, which knows no role, could not take over a schedule."""
    hand = Switch(client, name=NAME)
    with pytest.raises(CloudError, match="without a role"):
        hand.arm(60, RULE, "run-1")
    stub.add_response("delete_schedule", {}, BY_NAME)
    hand.disarm(None)


def test_each_service_has_one_schedule() -> None:
    """Two stacks would share a schedule, or a name that is too long would be refused."""
    name = schedule_name("web", "acme/fleetswap/prod")
    assert re.fullmatch("fleetswap-web-[0-9a-f]{8}", name)
    assert schedule_name("web", "acme/fleetswap/staging") != name
    assert re.fullmatch("[0-9a-zA-Z-_.]{64}", schedule_name("w/" * 100, "acme/fleetswap/prod"))


def test_a_schedule_that_someone_else_made_is_read(client: Any, stub: Stubber) -> None:
    """A schedule of the same name that is none of ours would end the deploy with a traceback."""
    answer = {"ScheduleExpression": "rate(1 hour)", "Target": {"Arn": "arn:x", "RoleArn": ROLE, "Input": "hello"}}
    stub.add_response("get_schedule", answer, BY_NAME)
    found = Switch(client, name=NAME, role=ROLE).armed()
    assert found is not None
    assert found.seconds == math.inf
    assert found.rule.weights == ()
    assert found.run == ""
    assert answered_at({}) <= datetime.now(UTC), "without a `Date`"
