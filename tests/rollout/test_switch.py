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

from fleetswap.aws.answers import answered_at
from fleetswap.aws.rollout import switch
from fleetswap.aws.rollout.switch import Switch, former_name, schedule_name
from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout.model import Rule

LISTENER = "arn:aws:elasticloadbalancing:us-east-1:1:listener/app/web/1/2"
STACK = "acme/fleetswap/prod"
NAME = schedule_name("web", LISTENER)
FORMER = former_name("web", STACK)
ROLE = "arn:aws:iam::123456789012:role/web-switch"
ACTIONS = [
    {
        "Type": "forward",
        "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": "arn:tg", "Weight": 100}]},
    }
]
RULE_ARN = "arn:aws:elasticloadbalancing:us-east-1:1:listener-rule/app/web/1/2/3"
RULE = Rule((("arn:tg", 100),), json.dumps({"RuleArn": RULE_ARN, "Actions": ACTIONS}))
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


def of_web(client: Any, role: str | None = ROLE) -> Switch:
    return Switch(client, service="web", stack=STACK, listener=LISTENER, role=role)


def absent(stub: Stubber, *names: str) -> None:
    for name in names or (NAME, FORMER):
        stub.add_client_error(
            "get_schedule",
            "ResourceNotFoundException",
            http_status_code=404,
            expected_params={**BY_NAME, "Name": name},
            response_meta=AT_NOON["ResponseMetadata"],
        )


def may_be_deleted(stub: Stubber) -> None:
    """Before the first is made it is tried whether it may be deleted."""
    stub.add_client_error("delete_schedule", "ResourceNotFoundException", http_status_code=404, expected_params=BY_NAME)


def present(stub: Stubber, name: str = NAME, run: str = "run-1", rule: str = RULE_ARN) -> None:
    answer = request("2026-11-24T12:00:00") | {"Name": name, "Description": f"{switch.DESCRIPTION}{run}"}
    answer["Target"] = answer["Target"] | {"Input": RULE.verbatim.replace(RULE_ARN, rule)}
    stub.add_response("get_schedule", answer | AT_NOON, {**BY_NAME, "Name": name})


def test_it_is_made_by_the_clock_of_the_service(client: Any, stub: Stubber) -> None:
    """With a deployer's clock that is behind, the switch would fire while the deploy goes on."""
    absent(stub)
    may_be_deleted(stub)
    stub.add_response("create_schedule", {"ScheduleArn": "arn:s"}, request("2026-11-24T12:02:31"))
    of_web(client).arm(150.2, RULE, "run-1")


def test_it_is_pushed_out(client: Any, stub: Stubber) -> None:
    """The second step would find the schedule made, and the switch would fire during its hold."""
    present(stub)
    stub.add_response("update_schedule", {"ScheduleArn": "arn:s"}, request("2026-11-24T12:01:00"))
    of_web(client).arm(60, RULE, "run-1")


def test_another_deployer_makes_or_deletes_it_meanwhile(client: Any, stub: Stubber) -> None:
    """Two deployers at once would end in a refusal, or in no switch at all."""
    absent(stub)
    may_be_deleted(stub)
    stub.add_client_error("create_schedule", "ConflictException", http_status_code=409)
    present(stub)
    stub.add_client_error("update_schedule", "ResourceNotFoundException", http_status_code=404)
    absent(stub)
    may_be_deleted(stub)
    stub.add_response("create_schedule", {"ScheduleArn": "arn:s"}, request("2026-11-24T12:01:00"))
    of_web(client).arm(60, RULE, "run-1")


@pytest.mark.parametrize("call", ["update_schedule", "delete_schedule"])
def test_a_conflict_passes(client: Any, stub: Stubber, call: str) -> None:
    """A schedule that is being changed by another would fail the rollout, or its clean-up."""
    hand = of_web(client)
    present(stub)
    stub.add_client_error(call, "ConflictException", http_status_code=409)
    with pytest.raises(TryAgain, match=f"schedule {NAME} is being changed"):
        hand.arm(60, RULE, "run-1") if call == "update_schedule" else hand.disarm(None)


def test_it_gives_up_on_a_schedule_that_comes_and_goes(client: Any, stub: Stubber) -> None:
    """A race that never ends would hang the deploy."""
    for _ in range(switch.TRIES):
        absent(stub)
        may_be_deleted(stub)
        stub.add_client_error("create_schedule", "ConflictException", http_status_code=409)
    with pytest.raises(TryAgain, match="keeps appearing and disappearing"):
        of_web(client).arm(60, RULE, "run-1")


def test_deleting_what_is_gone(client: Any, stub: Stubber) -> None:
    """A switch that has fired would fail the end of every rollout."""
    hand = of_web(client)
    present(stub)
    stub.add_client_error("delete_schedule", "ResourceNotFoundException", http_status_code=404)
    absent(stub, FORMER)
    hand.disarm(None)
    absent(stub)
    hand.disarm(None)


def test_only_the_own_schedule_is_deleted(client: Any, stub: Stubber) -> None:
    """A deployer that ends late would take the switch away from the one that has taken over."""
    hand = of_web(client)
    present(stub, run="2")
    hand.disarm("1")
    absent(stub)
    hand.disarm("1")
    for run in ("1", None):
        present(stub, run="1" if run else "2")
        stub.add_response("delete_schedule", {}, BY_NAME)
        absent(stub, FORMER)
        hand.disarm(run)


@pytest.mark.parametrize("name", [NAME, FORMER])
def test_the_schedule_of_another_stack_is_never_touched(client: Any, stub: Stubber, name: str) -> None:
    """Two stacks of one name, in two backends, would take each other's switch, and write each other's rule."""
    hand = of_web(client)
    other = RULE_ARN.replace("/app/web/1/", "/app/web/9/")

    def looked_at() -> None:
        for each in (NAME, FORMER):
            present(stub, each, rule=other) if each == name else absent(stub, each)

    looked_at()
    assert hand.armed() is None
    looked_at()
    hand.disarm(None)
    looked_at()
    if name == NAME:
        with pytest.raises(CloudError, match="does not belong to this listener"):
            hand.arm(60, RULE, "run-1")
    else:
        may_be_deleted(stub)
        stub.add_response("create_schedule", {"ScheduleArn": "arn:s"}, request("2026-11-24T12:01:00"))
        hand.arm(60, RULE, "run-1")


def test_one_that_an_older_version_has_left_is_taken_over(client: Any, stub: Stubber) -> None:
    """A rollout that died before an upgrade would put old weights back in the middle of the next one."""
    hand = of_web(client)
    absent(stub, NAME)
    present(stub, FORMER, run="dead")
    found = hand.armed()
    assert found is not None
    assert found.run == "dead"
    absent(stub, NAME)
    present(stub, FORMER, run="dead")
    stub.add_response("create_schedule", {"ScheduleArn": "arn:s"}, request("2026-11-24T12:01:00"))
    stub.add_response("delete_schedule", {}, {**BY_NAME, "Name": FORMER})
    hand.arm(60, RULE, "run-1")
    absent(stub, NAME)
    present(stub, FORMER, run="dead")
    stub.add_response("delete_schedule", {}, {**BY_NAME, "Name": FORMER})
    hand.disarm(None)


def test_who_may_not_delete_it_does_not_begin(client: Any, stub: Stubber) -> None:
    """A missing right would be found when a good release has all the traffic, and would take it away from it again."""
    absent(stub)
    stub.add_client_error("delete_schedule", "AccessDeniedException", http_status_code=403)
    with pytest.raises(CloudError, match=f"^scheduler:DeleteSchedule on {NAME}: access denied: allow"):
        of_web(client).arm(60, RULE, "run-1")


def test_a_role_that_may_not_be_passed_is_told(client: Any, stub: Stubber) -> None:
    """The engineer would be told to allow scheduler:CreateSchedule, which is allowed."""
    absent(stub)
    may_be_deleted(stub)
    stub.add_client_error(
        "create_schedule",
        "AccessDeniedException",
        http_status_code=403,
        service_message="User: arn:aws:sts::1:assumed-role/ci/x is not authorized to perform: iam:PassRole on"
        f" resource: {ROLE} because no identity-based policy allows the iam:PassRole action",
    )
    with pytest.raises(CloudError, match=f"access denied: allow iam:PassRole on {ROLE} in your IAM policy") as caught:
        of_web(client).arm(60, RULE, "run-1")
    assert not isinstance(caught.value, TryAgain)
    absent(stub)
    may_be_deleted(stub)
    stub.add_client_error("create_schedule", "AccessDeniedException", http_status_code=403, service_message="no")
    with pytest.raises(CloudError, match=f"^scheduler:CreateSchedule on {NAME}: access denied: allow"):
        of_web(client).arm(60, RULE, "run-1")


def test_a_role_made_a_moment_ago_is_waited_for(client: Any, stub: Stubber) -> None:
    """The first deploy, which makes the role, would fail because IAM has not spread it yet."""
    absent(stub)
    may_be_deleted(stub)
    stub.add_client_error(
        "create_schedule",
        "ValidationException",
        http_status_code=400,
        service_message="The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
    )
    with pytest.raises(TryAgain, match="its trust policy must name scheduler"):
        of_web(client).arm(60, RULE, "run-1")
    absent(stub)
    may_be_deleted(stub)
    stub.add_client_error("create_schedule", "ValidationException", http_status_code=400, service_message="bad name")
    with pytest.raises(CloudError, match="bad name"):
        of_web(client).arm(60, RULE, "run-1")


@pytest.mark.usefixtures("_local_cloud")
def test_what_it_will_do_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next deployer could not tell what an old switch would put back, nor when."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    with mock_aws():
        client = boto3.client("scheduler", region_name="us-east-1")
        hand = of_web(client)
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
    """A rollback without the state, which knows no role, could not take over a schedule."""
    hand = of_web(client, None)
    with pytest.raises(CloudError, match="without a role"):
        hand.arm(60, RULE, "run-1")
    present(stub)
    stub.add_response("delete_schedule", {}, BY_NAME)
    absent(stub, FORMER)
    hand.disarm(None)


def test_each_service_has_one_schedule() -> None:
    """Two stacks would share a schedule, or a name that is too long would be refused."""
    name = schedule_name("web", LISTENER)
    assert re.fullmatch("fleetswap-web-[0-9a-f]{8}", name)
    assert schedule_name("web", LISTENER.replace("1/2", "1/3")) != name
    assert former_name("web", STACK) == FORMER != name
    assert re.fullmatch("[0-9a-zA-Z-_.]{64}", schedule_name("w/" * 100, LISTENER))


def test_a_schedule_that_someone_has_changed_is_read(client: Any, stub: Stubber) -> None:
    """A time that no rollout writes would end the deploy with a traceback; one that is no call of ours is no switch."""
    changed = request("2026-11-24T12:00:00") | {"ScheduleExpression": "rate(1 hour)", "Description": "mine"}
    stub.add_response("get_schedule", changed | AT_NOON, BY_NAME)
    found = of_web(client).armed()
    assert found is not None
    assert found.seconds == math.inf
    assert found.run == ""
    stub.add_response(
        "get_schedule", {"Target": {"Arn": "arn:x", "RoleArn": ROLE, "Input": "hello"}, **AT_NOON}, BY_NAME
    )
    absent(stub, FORMER)
    assert of_web(client).armed() is None
    assert answered_at({}) <= datetime.now(UTC), "without a `Date`"
