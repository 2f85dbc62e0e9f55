"""The policy of a deploy has every action that our code calls and names, and that the AWS provider calls."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from botocore import xform_name
from botocore.loaders import Loader

from fleetswap.domain.permissions.purposes import Purpose
from tests.permissions.reference import PAGE, tables
from tests.permissions.scopes import EVERYTHING, GUEST
from tests.permissions.test_policies import actions

ROOT = Path(__file__).resolve().parents[2]

FREE = {"sts:GetCallerIdentity"}
"""Needs no permission (STS API reference)."""

TYPES = {"ec2:Instance", "ec2:LaunchTemplate"}
"""Types of resources that DescribeImageReferences looks at, which are written like actions."""

SERVICES = {
    "autoscaling": "autoscaling",
    "cloudwatch": "cloudwatch",
    "ebs": "ebs",
    "ec2": "ec2",
    "elbv2": "elasticloadbalancing",
    "iam": "iam",
    "kms": "kms",
    "lambda": "lambda",
    "scheduler": "scheduler",
    "service-quotas": "servicequotas",
    "sns": "sns",
    "sts": "sts",
}
"""The services that our clients speak to, by botocore's names, and what IAM calls them."""

PROVIDER = """
ec2: AllocateAddress AssociateRouteTable AttachInternetGateway AuthorizeSecurityGroupEgress
  AuthorizeSecurityGroupIngress CreateEgressOnlyInternetGateway CreateInternetGateway CreateLaunchTemplate
  CreateLaunchTemplateVersion CreateNatGateway CreateRoute CreateRouteTable CreateSecurityGroup CreateSubnet CreateTags
  CreateVpc CreateVpcEndpoint DeleteEgressOnlyInternetGateway DeleteInternetGateway DeleteLaunchTemplate
  DeleteNatGateway DeleteRoute DeleteRouteTable DeleteSecurityGroup DeleteSubnet DeleteTags DeleteVpc
  DeleteVpcEndpoints DeregisterImage DescribeAddresses DescribeAddressesAttribute DescribeEgressOnlyInternetGateways
  DescribeImages DescribeInternetGateways DescribeLaunchTemplateVersions DescribeLaunchTemplates DescribeNatGateways
  DescribeNetworkAcls DescribeNetworkInterfaces DescribePrefixLists DescribeRouteTables DescribeSecurityGroupRules
  DescribeSecurityGroups DescribeSubnets DescribeVpcAttribute DescribeVpcEndpoints DescribeVpcs DetachInternetGateway
  DescribeImageAttribute DescribeSnapshotAttribute DisableImageDeprecation DisassociateAddress DisassociateRouteTable
  EnableImageDeprecation ModifyImageAttribute ModifyLaunchTemplate ModifySecurityGroupRules ModifySnapshotAttribute
  ModifyVpcAttribute ModifyVpcEndpoint RegisterImage ReleaseAddress RevokeSecurityGroupEgress RevokeSecurityGroupIngress
elasticloadbalancing: AddListenerCertificates AddTags CreateListener CreateLoadBalancer CreateRule CreateTargetGroup
  DeleteListener DeleteLoadBalancer DeleteRule DeleteTargetGroup DescribeCapacityReservation DescribeListenerAttributes
  DescribeListenerCertificates DescribeListeners DescribeLoadBalancerAttributes DescribeLoadBalancers DescribeRules
  DescribeTags DescribeTargetGroupAttributes DescribeTargetGroups ModifyListener ModifyLoadBalancerAttributes
  ModifyTargetGroupAttributes RemoveListenerCertificates RemoveTags SetIpAddressType SetSubnets
autoscaling: CreateAutoScalingGroup CreateOrUpdateTags DeleteAutoScalingGroup DeletePolicy DeleteTags
  DescribeAutoScalingGroups DescribePolicies DisableMetricsCollection EnableMetricsCollection PutScalingPolicy
  UpdateAutoScalingGroup
iam: AddRoleToInstanceProfile AttachRolePolicy CreateInstanceProfile CreateRole DeleteInstanceProfile DeleteRole
  DeleteRolePolicy DetachRolePolicy GetInstanceProfile GetRole GetRolePolicy ListAttachedRolePolicies
  ListInstanceProfilesForRole ListRolePolicies PutRolePermissionsBoundary PutRolePolicy RemoveRoleFromInstanceProfile
  TagInstanceProfile TagRole UntagInstanceProfile UntagRole
kms: CreateAlias CreateKey DeleteAlias DescribeKey DisableKeyRotation EnableKey EnableKeyRotation GetKeyPolicy
  GetKeyRotationStatus ListAliases ListResourceTags PutKeyPolicy ReplicateKey ScheduleKeyDeletion TagResource
  UntagResource UpdateAlias UpdateKeyDescription
route53: ChangeResourceRecordSets GetChange GetHostedZone ListResourceRecordSets
wafv2: AssociateWebACL DisassociateWebACL GetWebACLForResource
cloudwatch: DeleteAlarms DescribeAlarms ListTagsForResource PutMetricAlarm TagResource UntagResource
events: DeleteRule DescribeRule ListTagsForResource ListTargetsByRule PutRule PutTargets RemoveTargets TagResource
  UntagResource
sns: CreateTopic DeleteTopic GetTopicAttributes ListTagsForResource SetTopicAttributes TagResource UntagResource
"""
"""What the AWS provider calls for the resources of a stack over their whole life: seen (terraform-provider-aws 5.82.2),
or read in its source (the resources that came later). iam:GetUser may be refused, and is not among them: the provider
then asks STS (aws-sdk-go-base, GetAccountIDAndPartition)."""


def operations() -> dict[str, set[str]]:
    """The actions by the names of the methods that call them."""
    loader = Loader()
    found: dict[str, set[str]] = {}
    for service, prefix in SERVICES.items():
        for name in loader.load_service_model(service, "service-2")["operations"]:
            if service == "kms" and "_" not in xform_name(name):
                continue  # Sign, Verify, Encrypt, Decrypt: methods of ours have these names, and no call of ours
            if service == "lambda" and name != "Invoke":
                continue  # the only call of ours, whose action has another name than the operation
            action = "InvokeFunction" if service == "lambda" else name
            found.setdefault(xform_name(name), set()).add(f"{prefix}:{action}")
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
    services = "|".join(SERVICES.values())
    texts = [path.read_text() for path in sorted((ROOT / "fleetswap/aws").rglob("*.py"))]
    return {action for text in texts for action in re.findall(rf'"((?:{services}):[A-Z][A-Za-z]+)"', text)}


def test_what_we_call_is_allowed() -> None:
    """A deploy would stop half-way for a right that the command does not print."""
    allowed = actions(EVERYTHING, Purpose.DEPLOY) | actions(GUEST, Purpose.DEPLOY) | FREE
    for purpose in (Purpose.GC, Purpose.DRILL, Purpose.DOCTOR):
        allowed |= actions(EVERYTHING, purpose)
    calls = list(called())
    assert len(calls) > 30, "they are found at all"
    for where, may_be in calls:
        assert may_be & allowed, where
    assert {"ebs:PutSnapshotBlock", "ec2:CreateTags", "scheduler:GetSchedule"} <= named()
    assert named() - TYPES <= allowed


def test_what_the_provider_calls_is_allowed() -> None:
    """The first deploy with such a role would end half-way, with an error of the provider."""
    pairs = re.findall(r"(\w+):((?:\s+[A-Z]\w+)+)", PROVIDER)
    assert len(pairs) == 10
    called_by_it = {f"{service}:{name}" for service, names in pairs for name in names.split()}
    assert called_by_it <= actions(EVERYTHING, Purpose.DEPLOY)


def test_the_page_has_the_statements_of_the_committed_settings() -> None:
    """Whoever reads it would give other rights than the command prints. `python -m tests.permissions.reference`."""
    page = PAGE.read_text()
    for name, table in tables().items():
        assert f"<!-- {name} -->\n\n{table}\n<!-- end -->" in page, name
