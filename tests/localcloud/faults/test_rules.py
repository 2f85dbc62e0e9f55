"""Faults on request: which rule fires when, and what a client meets then."""

from __future__ import annotations

import http.client
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from localcloud.faults.rules import BadRule, Faults
from tests.localcloud.balancer.world import until
from tests.localcloud.clients import BLOCK, block, refusal, sha256

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.server import LocalCloud
    from tests.localcloud.clients import Clients

SCOPE = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/ebs/aws4_request, x=y"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def fires(faults: Faults, times: int = 1, service: str = "ebs", operation: str = "PutSnapshotBlock") -> list[bool]:
    return [faults.judge(service, operation).rule is not None for _ in range(times)]


def ask(cloud: LocalCloud, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """The local cloud's own endpoint."""
    connection = http.client.HTTPConnection("127.0.0.1", cloud.port, timeout=30)
    try:
        connection.request(method, f"/_localcloud/{path}", None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_rule_fires_after_so_many_and_so_often() -> None:
    """A test could not make exactly the third request fail."""
    faults = Faults()
    faults.add({"service": "ebs", "operation": "Put*", "fault": "throttle", "after": 2, "count": 3})
    assert fires(faults, 7) == [False, False, True, True, True, False, False]
    assert fires(faults, 1, "ec2", "PutSnapshotBlock") == fires(faults, 1, "ebs", "GetSnapshotBlock") == [False]


def test_a_rate_is_met_and_the_same_each_time() -> None:
    """A failing test could not be run again with the faults that made it fail."""
    runs = []
    for seed in (1, 1, 2):
        faults = Faults()
        faults.add({"fault": "error-500", "rate": 0.3, "seed": seed})
        runs.append(fires(faults, 1000))
    assert runs[0] == runs[1] != runs[2]
    assert 250 < sum(runs[0]) < 350


def test_a_limit_lets_through_its_rate_and_its_burst() -> None:
    """A pace could not be tried against a quota."""
    clock = Clock()
    faults = Faults(clock)
    faults.add({"fault": "limit", "rate": 10, "burst": 5})
    assert fires(faults, 7) == [False] * 5 + [True] * 2
    clock.now += 0.25
    assert fires(faults, 3) == [False] * 2 + [True]
    clock.now += 100
    assert sum(fires(faults, 20)) == 15


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"fault": "explode"}, "must be one of"),
        ({"fault": "delay", "second": 1}, "no member 'second'"),
        ({"fault": "delay", "seconds": "1"}, "type float"),
        ({"fault": "throttle", "rate": 2}, "probability"),
        ({"fault": "throttle", "count": True}, "type int"),
        ({"fault": "capacity", "lifecycle": "od"}, "lifecycle"),
        ("throttle", "JSON object"),
    ],
    ids=str,
)
def test_a_rule_that_says_nothing_is_refused(rule: object, says: str) -> None:
    """A misspelt rule would leave a test without its faults, and it would pass."""
    faults = Faults()
    with pytest.raises(BadRule, match=says):
        faults.add([{"fault": "throttle"}, rule])
    assert not faults


def test_rules_come_and_go_over_http(cloud: LocalCloud, clients: Clients) -> None:
    """A test or a rehearsal in another process could not ask for faults, or not end them."""
    status, added = ask(cloud, "POST", "faults", {"service": "sts", "fault": "throttle"})
    assert status == 200
    assert ask(cloud, "POST", "faults", {"fault": "nothing"})[0] == 400
    assert refusal(lambda: clients.client("sts").get_caller_identity()) == "Throttling"
    (rule,) = ask(cloud, "GET", "faults")[1]["rules"]
    assert (rule["id"], rule["seen"], rule["fired"]) == (added["rules"][0]["id"], 1, 1)
    assert ask(cloud, "DELETE", f"faults/{rule['id']}") == (200, {"removed": True})
    clients.client("sts").get_caller_identity()
    assert ask(cloud, "DELETE", "faults/99") == (200, {"removed": False})
    assert ask(cloud, "GET", "nothing")[0] == 404


CALLS: dict[str, Callable[[Clients], object]] = {
    "ec2": lambda clients: clients.ec2.describe_snapshots(OwnerIds=["self"]),
    "ebs": lambda clients: clients.ebs.start_snapshot(VolumeSize=1),
    "elbv2": lambda clients: clients.elbv2.describe_rules(RuleArns=["arn"]),
    "autoscaling": lambda clients: clients.autoscaling.describe_auto_scaling_groups(),
    "cloudwatch": lambda clients: clients.cloudwatch.describe_alarms(),
    "scheduler": lambda clients: clients.client("scheduler").get_schedule(Name="x"),
    "sns": lambda clients: clients.client("sns").publish(TopicArn="arn", Message="m"),
    "iam": lambda clients: clients.iam.list_roles(),
}


@pytest.mark.parametrize(
    ("service", "fault", "code", "status"),
    [
        ("ec2", "throttle", "RequestLimitExceeded", 503),
        ("ec2", "error-500", "InternalError", 500),
        ("ec2", "access-denied", "UnauthorizedOperation", 403),
        ("ec2", "not-found", "InvalidSnapshot.NotFound", 400),
        ("ebs", "throttle", "RequestThrottledException", 400),
        ("ebs", "error-503", "ServiceUnavailable", 503),
        ("ebs", "expired-token", "ExpiredTokenException", 403),
        ("elbv2", "throttle", "Throttling", 400),
        ("elbv2", "not-found", "RuleNotFound", 400),
        ("autoscaling", "error-500", "InternalFailure", 500),
        ("cloudwatch", "throttle", "ThrottlingException", 400),
        ("cloudwatch", "error-500", "InternalServerException", 500),
        ("scheduler", "throttle", "ThrottlingException", 429),
        ("scheduler", "not-found", "ResourceNotFoundException", 404),
        ("sns", "not-found", "NotFound", 404),
        ("sns", "throttle", "Throttled", 429),
        ("sns", "access-denied", "AuthorizationError", 403),
        ("iam", "expired-token", "ExpiredToken", 403),
    ],
)
def test_a_refusal_speaks_its_service_s_words(
    cloud: LocalCloud, clients: Clients, service: str, fault: str, code: str, status: int
) -> None:
    """A client that tells a throttle from an error would be tried with what no service says."""
    cloud.faults.add({"service": service, "fault": fault})
    with pytest.raises(ClientError) as caught:
        CALLS[service](clients)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


@pytest.mark.parametrize(
    ("service", "action"),
    [
        ("elbv2", "elasticloadbalancing:DescribeRules"),
        ("autoscaling", "autoscaling:DescribeAutoScalingGroups"),
        ("ec2", "ec2:DescribeSnapshots"),
        ("cloudwatch", "cloudwatch:DescribeAlarms"),
        ("scheduler", "scheduler:GetSchedule"),
        ("sns", "sns:Publish"),
        ("ebs", "ebs:StartSnapshot"),
    ],
)
def test_a_denial_names_the_action_as_iam_does(cloud: LocalCloud, clients: Clients, service: str, action: str) -> None:
    """A program would tell its user to allow an action that IAM does not have."""
    cloud.faults.add({"service": service, "fault": "access-denied"})
    with pytest.raises(ClientError) as caught:
        CALLS[service](clients)
    assert f"is not authorized to perform: {action} because" in caught.value.response["Error"]["Message"]


def test_who_may_not_launch_is_told_of_the_template(cloud: LocalCloud, clients: Clients) -> None:
    """The one denial that does not name the action that is missing could not be tried."""
    network, template = clients.network(), clients.template(clients.image())
    cloud.faults.add({"service": "autoscaling", "operation": "Create*", "fault": "launch-denied"})
    with pytest.raises(ClientError) as caught:
        clients.group(template, network)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == (
        "AccessDenied",
        f"You are not authorized to use launch template: {template}",
    )


def test_with_a_lost_answer_the_effect_happens(cloud: LocalCloud, clients: Clients) -> None:
    """A retry of what was done already, the worst case of each call, could not be tried."""
    cloud.faults.add({"service": "ec2", "operation": "CreateVpc", "fault": "error-500", "count": 1})
    before = len(clients.ec2.describe_vpcs()["Vpcs"])
    assert refusal(lambda: clients.ec2.create_vpc(CidrBlock="10.7.0.0/16")) == "InternalError"
    assert len(clients.ec2.describe_vpcs()["Vpcs"]) == before
    cloud.faults.add({"operation": "CreateVpc", "fault": "error-500", "count": 1, "lost_answer": True})
    assert refusal(lambda: clients.ec2.create_vpc(CidrBlock="10.7.0.0/16")) == "InternalError"
    assert len(clients.ec2.describe_vpcs()["Vpcs"]) == before + 1


def test_code_and_message_can_be_said(cloud: LocalCloud, clients: Clients) -> None:
    """An error that nobody thought of here could not be tried."""
    cloud.faults.add({"service": "elbv2", "fault": "error-500", "code": "OutOfPaper", "status": 418, "message": "a<b"})
    with pytest.raises(ClientError) as caught:
        clients.elbv2.describe_load_balancers()
    answer = caught.value.response
    assert answer["Error"] == {"Type": "Sender", "Code": "OutOfPaper", "Message": "a<b"}
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 418


def put(cloud: LocalCloud, snapshot_id: str) -> http.client.HTTPConnection:
    """A PutSnapshotBlock whose answer is yet to be read."""
    data = block(1)
    connection = http.client.HTTPConnection("127.0.0.1", cloud.port, timeout=30)
    headers = {
        "Authorization": SCOPE,
        "x-amz-Data-Length": str(BLOCK),
        "x-amz-Checksum": sha256(data),
        "x-amz-Checksum-Algorithm": "SHA256",
    }
    try:
        connection.request("PUT", f"/snapshots/{snapshot_id}/blocks/0", data, headers)
    except BaseException:
        connection.close()
        raise
    return connection


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("where", ["in-headers", "in-body"])
def test_an_answer_is_cut_where_it_was_asked_for(
    cloud: LocalCloud, clients: Clients, where: str, *, lost: bool
) -> None:
    """An uploader that takes half an answer for a success could not be caught."""
    snapshot_id = clients.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    cloud.faults.add({"operation": "PutSnapshotBlock", "fault": f"cut-{where}", "lost_answer": lost})
    connection = put(cloud, snapshot_id)
    try:
        with connection.sock.makefile("rb") as wire:
            raw = wire.read()
    finally:
        connection.close()
    assert raw.startswith(b"HTTP/1.1 201 Created\r\n")
    if where == "in-headers":
        assert b"\r\n\r\n" not in raw
    else:
        head, _, body = raw.partition(b"\r\n\r\n")
        assert b"Content-Length: 2" in head
        assert body == b"{"
    assert len(cloud.store.find(snapshot_id).written) == int(lost)


@pytest.mark.parametrize("lost", [False, True])
def test_a_connection_is_closed_without_a_word(cloud: LocalCloud, clients: Clients, *, lost: bool) -> None:
    """An uploader could not be tried against a front end that dies."""
    snapshot_id = clients.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    cloud.faults.add({"operation": "PutSnapshotBlock", "fault": "cut-before", "lost_answer": lost})
    try:
        connection = put(cloud, snapshot_id)
    except (BrokenPipeError, ConnectionResetError):  # it was closed while the block was on its way
        assert not lost
    else:
        with connection.sock.makefile("rb") as wire:
            try:
                assert wire.read() == b""
            except ConnectionResetError:
                assert not lost
        connection.close()
    assert len(cloud.store.find(snapshot_id).written) == int(lost)


def test_a_delay_comes_before_and_slowness_within_the_answer(cloud: LocalCloud, clients: Clients) -> None:
    """A timeout before, and one within, an answer could not be tried."""
    waited: list[float] = []
    cloud._injector._sleep = waited.append
    cloud.faults.add([{"fault": "delay", "seconds": 7.5}, {"fault": "slow", "seconds": 0.01, "service": "ec2"}])
    assert clients.ec2.describe_vpcs()["Vpcs"]
    assert waited == [7.5]


def test_a_stale_read_shows_what_was(cloud: LocalCloud, clients: Clients) -> None:
    """A program that believes the first reading after its own write could not be caught."""
    clock = Clock()
    cloud._injector._clock = clock
    cloud.faults.add({"service": "ec2", "operation": "Describe*", "fault": "stale", "seconds": 2.0})
    before = clients.ec2.describe_vpcs()["Vpcs"]
    vpc = clients.ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    assert clients.ec2.describe_vpcs()["Vpcs"] == before
    assert clients.ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]  # another question has an answer of its own
    clock.now += 2.0
    assert len(clients.ec2.describe_vpcs()["Vpcs"]) == len(before) + 1


def test_lists_may_be_short_or_empty_and_go_on(cloud: LocalCloud, clients: Clients) -> None:
    """A reader that stops at an empty page, as AWS may send one, would miss blocks."""
    snapshot_id = clients.snapshot({index: bytes(BLOCK) for index in range(150)})
    cloud.faults.add([{"fault": "empty-page", "rate": 0.3}, {"fault": "short-page", "operation": "ListSnapshotBlocks"}])
    pages: list[list[int]] = []
    token: dict[str, Any] = {}
    while True:
        page = clients.ebs.list_snapshot_blocks(SnapshotId=snapshot_id, MaxResults=100, **token)
        pages.append([entry["BlockIndex"] for entry in page["Blocks"]])
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert [index for page in pages for index in page] == list(range(150))
    assert [] in pages
    assert any(0 < len(page) < 50 for page in pages)


def test_tokens_expire_when_asked_to(cloud: LocalCloud, clients: Clients) -> None:
    """A reader that never asks for new tokens could not be caught."""
    snapshot_id = clients.snapshot()
    (entry,) = clients.ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]
    get = clients.ebs.get_snapshot_block
    get(SnapshotId=snapshot_id, BlockIndex=0, BlockToken=entry["BlockToken"])["BlockData"].close()
    cloud.faults.add({"fault": "token-seconds", "seconds": 0})
    (entry,) = clients.ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]
    assert refusal(lambda: get(SnapshotId=snapshot_id, BlockIndex=0, BlockToken=entry["BlockToken"])) == (
        "ValidationException"
    )


def test_a_spot_instance_is_interrupted_after_its_notice(
    cloud: LocalCloud, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fleet on Spot Instances could not be rehearsed, or would lose nothing by an interruption."""
    killed: list[str] = []
    monkeypatch.setattr(cloud._control, "_machines", SimpleNamespace(kill=killed.append))
    network = clients.network()
    template = clients.template(clients.image(), InstanceMarketOptions={"MarketType": "spot"})
    clients.group(template, network, DesiredCapacity=1)
    instance_id = clients.instances()[0]["InstanceId"]
    assert ask(cloud, "POST", "instances/i-0/interrupt", {})[0] == 404
    assert ask(cloud, "POST", f"instances/{instance_id}/interrupt", {"seconds": "x"})[0] == 400
    assert ask(cloud, "POST", f"instances/{instance_id}/interrupt", {"seconds": 0})[0] == 200
    until(lambda: instance_id not in {instance["InstanceId"] for instance in clients.instances()}, "the interruption")
    shown = clients.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert shown["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    until(lambda: len(clients.instances()) == 1, "another one in its place")
    assert killed == [instance_id]


def test_an_on_demand_instance_is_not_interrupted_but_can_die(cloud: LocalCloud, clients: Clients) -> None:
    """A killed machine could not be rehearsed, or EC2 would interrupt what it never does."""
    clients.group(clients.template(clients.image()), clients.network(), DesiredCapacity=1)
    instance_id = clients.instances()[0]["InstanceId"]
    assert ask(cloud, "POST", f"instances/{instance_id}/interrupt", {})[0] == 404
    assert ask(cloud, "POST", f"instances/{instance_id}/kill")[0] == 200
    shown = clients.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert shown["State"]["Name"] == "stopped"
