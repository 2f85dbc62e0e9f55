"""The policy of docs/reference/permissions.md allows what is called, judged as IAM judges it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.loaders import Loader

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "permissions.md").read_text()
POLICY, KEY_POLICY = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL))

EC2 = "arn:aws:ec2:eu-central-1:111122223333:"
ROLE = "arn:aws:iam::111122223333:role/web-7f3a1b2c-1a2b3c4"

SERVICES = {
    "autoscaling": "autoscaling",
    "cloudwatch": "cloudwatch",
    "ebs": "ebs",
    "ec2": "ec2",
    "elbv2": "elasticloadbalancing",
    "scheduler": "scheduler",
    "sns": "sns",
    "sts": "sts",
}
"""The services that our clients speak to, by botocore's names, and what IAM calls them."""

PROVIDER = """
ec2: AssociateRouteTable AttachInternetGateway AuthorizeSecurityGroupEgress AuthorizeSecurityGroupIngress
  CreateInternetGateway CreateLaunchTemplate CreateLaunchTemplateVersion CreateRoute CreateRouteTable
  CreateSecurityGroup
  CreateSubnet CreateTags CreateVpc DeleteInternetGateway DeleteLaunchTemplate DeleteRoute DeleteRouteTable
  DeleteSecurityGroup DeleteSubnet DeleteVpc DeregisterImage DescribeImages DescribeInternetGateways
  DescribeLaunchTemplateVersions DescribeLaunchTemplates DescribeNetworkAcls DescribeNetworkInterfaces
  DescribeRouteTables DescribeSecurityGroupRules DescribeSecurityGroups DescribeSubnets DescribeVpcAttribute
  DescribeVpcs
  DetachInternetGateway DisassociateRouteTable ModifyLaunchTemplate ModifySecurityGroupRules ModifyVpcAttribute
  RegisterImage RevokeSecurityGroupEgress RevokeSecurityGroupIngress
elasticloadbalancing: AddTags CreateListener CreateLoadBalancer CreateRule CreateTargetGroup DeleteListener
  DeleteLoadBalancer DeleteRule DeleteTargetGroup DescribeListenerAttributes DescribeListeners
  DescribeLoadBalancerAttributes DescribeLoadBalancers DescribeRules DescribeTags DescribeTargetGroupAttributes
  DescribeTargetGroups ModifyListener ModifyLoadBalancerAttributes ModifyTargetGroup ModifyTargetGroupAttributes
  RemoveTags
autoscaling: CreateAutoScalingGroup CreateOrUpdateTags DeleteAutoScalingGroup DeletePolicy DeleteTags
  DescribeAutoScalingGroups DescribePolicies PutScalingPolicy UpdateAutoScalingGroup
iam: AddRoleToInstanceProfile AttachRolePolicy CreateInstanceProfile CreateRole DeleteInstanceProfile DeleteRole
  DeleteRolePolicy DetachRolePolicy GetInstanceProfile GetRole GetRolePolicy GetUser ListAttachedRolePolicies
  ListInstanceProfilesForRole ListRolePolicies PutRolePolicy RemoveRoleFromInstanceProfile TagInstanceProfile TagRole
  UntagInstanceProfile UntagRole
"""
"""What the AWS provider was seen to call for this program's resources over their whole life (Terraform's, 5.82.2), and
the counterparts of these that a change of tags or of managed policies takes."""


def allows(action: str, resource: str, **context: str) -> bool:
    """Whether a statement of the policy allows it. There is no deny in it."""
    return any(
        any(fnmatchcase(action, pattern) for pattern in listed(statement["Action"]))
        and any(fnmatchcase(resource, pattern) for pattern in listed(statement["Resource"]))
        and all(
            context.get(key.split(":")[1]) in listed(values)
            for key, values in statement.get("Condition", {}).get("StringEquals", {}).items()
        )
        for statement in POLICY["Statement"]
    )


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def something(action: str) -> str:
    """A resource that the action may be about."""
    service, _, name = action.partition(":")
    if service in {"ebs", "ec2"} and "Snapshot" in name:
        return "arn:aws:ec2:eu-central-1::snapshot/snap-1"
    if service == "ec2" and name.endswith("Image"):
        return "arn:aws:ec2:eu-central-1::image/ami-1"
    return {
        "ec2": f"{EC2}vpc/vpc-1",
        "iam": "arn:aws:iam::111122223333:instance-profile/web-7f3a1b2c-1" if "InstanceProfile" in name else ROLE,
        "scheduler": "arn:aws:scheduler:eu-central-1:111122223333:schedule/default/fleetswap-web-12345678",
        "sns": "arn:aws:sns:eu-central-1:111122223333:deploys",
    }.get(service, "*")


def operations() -> dict[str, set[str]]:
    """The actions by the names of the methods that call them."""
    loader = Loader()
    found: dict[str, set[str]] = {}
    for service, prefix in SERVICES.items():
        for name in loader.load_service_model(service, "service-2")["operations"]:
            found.setdefault(xform_name(name), set()).add(f"{prefix}:{name}")
    return found


def called() -> Iterator[tuple[str, set[str]]]:
    """Each call of a client in our code, with the actions that it may be: two services have some names in common."""
    known = operations()
    for path in sorted((ROOT / "fleetswap").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name = node.func.attr
            if name == "get_paginator" and isinstance(node.args[0], ast.Constant):
                name = str(node.args[0].value)
            if name in known:
                yield f"{path.name}:{node.lineno} {name}", known[name]


def named() -> set[str]:
    """The permissions that our error messages name."""
    services = "|".join([*SERVICES.values(), "iam", "kms"])
    texts = [path.read_text() for path in sorted((ROOT / "fleetswap").rglob("*.py"))]
    return {action for text in texts for action in re.findall(rf'"((?:{services}):[A-Z][A-Za-z]+)"', text)}


def test_what_we_call_is_allowed() -> None:
    """A deploy would stop half-way for a right that the page does not name."""
    calls = list(called())
    assert len(calls) > 30, "they are found at all"
    for where, actions in calls:
        assert any(allows(action, something(action)) for action in actions), where
    assert {"ebs:PutSnapshotBlock", "ec2:CreateTags", "scheduler:GetSchedule"} <= named()
    for action in named():
        assert allows(action, something(action)), action


def test_what_the_provider_calls_is_allowed() -> None:
    """The first deploy with such a role would end half-way, with an error of the provider."""
    pairs = re.findall(r"(\w+):((?:\s+[A-Z]\w+)+)", PROVIDER)
    assert [service for service, _ in pairs] == ["ec2", "elasticloadbalancing", "autoscaling", "iam"]
    for service, names in pairs:
        for name in names.split():
            action = f"{service}:{name}"
            assert allows(action, something(action)), action
    # What AWS checks besides at CreateLoadBalancer (kubernetes-sigs/aws-load-balancer-controller, issue 3917).
    assert allows("ec2:GetSecurityGroupsForVpc", f"{EC2}vpc/vpc-1")


@pytest.mark.parametrize(
    "kind", ["instance", "volume", "network-interface", "subnet", "security-group", "launch-template"]
)
def test_a_group_may_launch(kind: str) -> None:
    """CreateAutoScalingGroup would end with `You are not authorized to use launch template`, which names no right."""
    assert allows("ec2:RunInstances", f"{EC2}{kind}/x-1")
    assert allows("ec2:RunInstances", "arn:aws:ec2:eu-central-1::image/ami-1")
    assert allows("ec2:CreateTags", f"{EC2}instance/i-1", CreateAction="RunInstances")
    assert allows("iam:PassRole", ROLE)
    for service in ("autoscaling.amazonaws.com", "elasticloadbalancing.amazonaws.com"):
        role = "arn:aws:iam::111122223333:role/aws-service-role/x/AWSServiceRoleForX"
        assert allows("iam:CreateServiceLinkedRole", role, AWSServiceName=service)


def test_it_allows_no_more_than_it_must() -> None:
    """The role of a deploy could take over the account."""
    for action, resource in (
        ("ec2:CreateTags", f"{EC2}instance/i-1"),
        ("ec2:TerminateInstances", f"{EC2}instance/i-1"),
        ("iam:PassRole", "arn:aws:iam::111122223333:role/admin"),
        ("iam:CreateRole", "arn:aws:iam::111122223333:role/admin"),
        ("iam:AttachUserPolicy", "arn:aws:iam::111122223333:user/me"),
        ("scheduler:CreateSchedule", "arn:aws:scheduler:eu-central-1:111122223333:schedule/default/other"),
        ("sns:Publish", "arn:aws:sns:eu-central-1:111122223333:other"),
        ("s3:GetObject", "*"),
    ):
        assert not allows(action, resource), action
    for statement in POLICY["Statement"]:
        assert "*" not in listed(statement["Action"])


def test_it_fits_into_one_managed_policy() -> None:
    """IAM would refuse it: 6,144 characters without blanks (IAM quotas)."""
    assert len(re.sub(r"\s", "", json.dumps(POLICY))) <= 6144


def test_the_key_is_for_auto_scaling() -> None:
    """With a customer-managed default key every launch would be cancelled, and the page have no way out."""
    use, grant = KEY_POLICY
    assert {use["Principal"]["AWS"], grant["Principal"]["AWS"]} == {
        "arn:aws:iam::111122223333:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    }
    assert grant["Action"] == "kms:CreateGrant"
    assert grant["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
