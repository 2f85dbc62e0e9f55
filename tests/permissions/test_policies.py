"""What is in the policies: no more than the settings need, for each purpose, and in policies that IAM takes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.permissions.fleet import tag_on_create
from fleetswap.domain.permissions.images import key_policy
from fleetswap.domain.permissions.purposes import Purpose, policies
from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.permissions.statement import LONGEST, Policy, Statement, divide, length
from localcloud.authorization import policies as iam
from tests.permissions.scopes import ACCOUNT, EVERYTHING, GUEST, LISTENER, PLAIN, REGION, SCOPES

EC2 = f"arn:aws:ec2:{REGION}:{ACCOUNT}:"
ELB = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:"
OURS = {"aws:resourcetag/fleetswap:stack": ("fleetswap/prod",)}
OTHERS = {"aws:resourcetag/fleetswap:stack": ("shop/prod",)}
NEW = {"aws:requesttag/fleetswap:stack": ("fleetswap/prod",)}
FRONT = "listener-rule/app/web-1a2b3c4/1/2/3"


def actions(scope: Scope, purpose: Purpose) -> set[str]:
    return {action for one in statements(scope, purpose) for action in one.actions}


def statements(scope: Scope, purpose: Purpose) -> list[Statement]:
    return [one for policy in policies(scope, purpose) for one in policy.statements]


def allows(scope: Scope, action: str, resource: str, purpose: Purpose = Purpose.DEPLOY, **context: Any) -> bool:
    """As the local cloud judges a call of a user with the printed policies."""
    keys = {key.replace("__", ":"): value for key, value in context.items()} if context else {}
    question = iam.Question(action, resource, keys)
    parsed = tuple(iam.Policy.parse(json.dumps(policy.document())) for policy in policies(scope, purpose))
    arn = f"arn:aws:iam::{ACCOUNT}:user/deployer"
    return iam.decide(question, keys, iam.Policies(parsed), iam.Named((arn,), ACCOUNT)).allowed


def may(scope: Scope, action: str, resource: str, context: dict[str, Any], purpose: Purpose = Purpose.DEPLOY) -> bool:
    """The same, with condition keys that are no names of Python's."""
    return allows(scope, action, resource, purpose, **{key.replace(":", "__"): one for key, one in context.items()})


@pytest.mark.parametrize("name", SCOPES)
@pytest.mark.parametrize("purpose", Purpose)
def test_iam_takes_each_policy(name: str, purpose: Purpose) -> None:
    """The printed policy could not be created: too long, or with a Sid twice."""
    printed = policies(SCOPES[name], purpose)
    assert len(printed) <= 5, "a role takes 10 (IAM user guide, quotas)"
    for policy in printed:
        assert len("".join(json.dumps(policy.document()).split())) == length(policy.statements) <= LONGEST
        sids = [one.sid for one in policy.statements]
        assert len(set(sids)) == len(sids)
        assert all(sid.isalnum() for sid in sids)
        assert all(one.reason for one in policy.statements)


def test_a_preview_changes_nothing() -> None:
    """Whoever may only look could change the fleet from a pull request."""
    for scope in SCOPES.values():
        for action in actions(scope, Purpose.PREVIEW):
            assert action.partition(":")[2].startswith(("Decrypt", "Describe", "Get", "List")), action
        assert actions(scope, Purpose.PREVIEW) < actions(scope, Purpose.DEPLOY)


def test_a_rollback_can_make_and_delete_nothing_but_rules() -> None:
    """The person on call would have the rights of a deployer."""
    for scope in SCOPES.values():
        changing = {
            one
            for one in actions(scope, Purpose.ROLLBACK)
            if not one.partition(":")[2].startswith(("Describe", "Get", "List"))
        }
        assert changing == {
            "autoscaling:CreateOrUpdateTags",
            "autoscaling:DeleteScheduledAction",
            "autoscaling:DeleteTags",
            "autoscaling:PutScheduledUpdateGroupAction",
            "autoscaling:UpdateAutoScalingGroup",
            "ec2:CreateTags",
            "ec2:RunInstances",
            "elasticloadbalancing:AddTags",
            "elasticloadbalancing:CreateRule",
            "elasticloadbalancing:DeleteRule",
            "elasticloadbalancing:ModifyRule",
            "elasticloadbalancing:RemoveTags",
            "iam:PassRole",
            "scheduler:DeleteSchedule",
        }


def test_a_machine_gets_nothing_of_ours() -> None:
    """Whatever gets into a machine could act as the deployer."""
    assert policies(PLAIN, Purpose.MACHINE) == ()
    assert actions(EVERYTHING, Purpose.MACHINE) == {"kms:Decrypt"}


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("ec2:DeleteVpc", f"{EC2}vpc/vpc-1", OURS),
        ("ec2:CreateSubnet", f"{EC2}subnet/*", NEW),
        ("ec2:CreateSubnet", f"{EC2}vpc/vpc-1", OURS),
        ("ec2:CreateTags", f"{EC2}vpc/*", {**NEW, "ec2:createaction": ("CreateVpc",)}),
        ("ec2:CreateTags", f"{EC2}security-group-rule/sgr-1", NEW),
        ("ebs:StartSnapshot", f"arn:aws:ec2:{REGION}::snapshot/*", NEW),
        ("ebs:PutSnapshotBlock", f"arn:aws:ec2:{REGION}::snapshot/snap-1", OURS),
        ("elasticloadbalancing:ModifyRule", ELB + FRONT, OURS),
        ("autoscaling:CreateAutoScalingGroup", SCOPES["plain"].groups[0], NEW),
        ("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/web-7f3a1b2c-1a2b3c4", {}),
        (
            "iam:PassRole",
            f"arn:aws:iam::{ACCOUNT}:role/web-7f3a1b2c-1a2b3c4",
            {"iam:passedtoservice": ("ec2.amazonaws.com",)},
        ),
        (
            "iam:CreateServiceLinkedRole",
            f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
            {"iam:awsservicename": ("autoscaling.amazonaws.com",)},
        ),
    ],
)
def test_what_a_deploy_does_is_allowed(action: str, resource: str, context: dict[str, Any]) -> None:
    """The first deploy would end half-way."""
    assert may(PLAIN, action, resource, context)


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("ec2:DeleteVpc", f"{EC2}vpc/vpc-1", OTHERS),
        ("ec2:DeleteVpc", f"{EC2}vpc/vpc-1", {}),
        ("ec2:CreateVpc", f"{EC2}vpc/*", {"aws:requesttag/fleetswap:stack": ("shop/prod",)}),
        ("ec2:CreateTags", f"{EC2}vpc/vpc-1", NEW),
        ("ec2:CreateTags", f"{EC2}instance/i-1", NEW),
        ("ec2:TerminateInstances", f"{EC2}instance/i-1", OURS),
        ("ec2:RunInstances", f"arn:aws:ec2:{REGION}::image/ami-1", OTHERS),
        ("ec2:RunInstances", f"{EC2}instance/*", {}),
        ("ec2:DeleteSnapshot", f"arn:aws:ec2:{REGION}::snapshot/snap-1", OTHERS),
        ("ebs:GetSnapshotBlock", f"arn:aws:ec2:{REGION}::snapshot/snap-1", OTHERS),
        ("elasticloadbalancing:ModifyRule", ELB + FRONT, OTHERS),
        ("elasticloadbalancing:DeleteLoadBalancer", f"{ELB}loadbalancer/app/shop/1", OURS),
        ("autoscaling:UpdateAutoScalingGroup", f"{SCOPES['plain'].groups[0][:-5]}shop-1", OURS),
        ("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/admin", {}),
        ("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/web-7f3a1b2c-1a2b3c4", {}),
        ("iam:AttachRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/web-7f3a1b2c-1a2b3c4", {}),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin", {"iam:passedtoservice": ("ec2.amazonaws.com",)}),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/web-1", {"iam:passedtoservice": ("lambda.amazonaws.com",)}),
        ("scheduler:CreateSchedule", f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/other", {}),
        ("sns:Publish", f"arn:aws:sns:{REGION}:{ACCOUNT}:deploys", {}),
        ("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:check-orders", {}),
        ("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:smoke", {}),
        ("s3:GetObject", "arn:aws:s3:::bucket/key", {}),
    ],
)
def test_all_else_is_denied(action: str, resource: str, context: dict[str, Any]) -> None:
    """The role of a deploy could take over the account, or another stack."""
    assert not may(PLAIN, action, resource, context)


ZONE = "arn:aws:route53:::hostedzone/Z1"
SNAPSHOT = f"arn:aws:ec2:{REGION}::snapshot/"


def record(name: str, kind: str = "A") -> dict[str, Any]:
    prefix = "route53:changeresourcerecordsets"
    return {f"{prefix}normalizedrecordnames": (name,), f"{prefix}recordtypes": (kind,), f"{prefix}actions": ("UPSERT",)}


def test_of_a_hosted_zone_only_the_domain_is_written() -> None:
    """The role of a deploy could take over every name and every mailbox of the account's zones."""
    change = "route53:ChangeResourceRecordSets"
    for name, kind in (("shop.example.com", "A"), ("shop.example.com", "AAAA")):
        assert may(GUEST, change, ZONE, record(name, kind))
        assert may(EVERYTHING, change, ZONE, record(name, kind))
    for name, kind in (("example.com", "A"), ("login.example.com", "A"), ("shop.example.com", "TXT")):
        assert not may(GUEST, change, ZONE, record(name, kind))
        assert not may(EVERYTHING, change, ZONE, record(name, kind))
    two = {key: (*values, *record("login.example.com")[key]) for key, values in record("shop.example.com").items()}
    assert not may(GUEST, change, ZONE, two)
    assert may(GUEST, "route53:GetChange", "arn:aws:route53:::change/C1", {})


@pytest.mark.parametrize("resource", [f"{SNAPSHOT}snap-1", f"{EC2}security-group-rule/sgr-1"])
def test_nobody_elses_resource_becomes_ours_by_a_tag(resource: str) -> None:
    """A deploy of one stack could call the snapshots of another its own, and then read and delete them."""
    assert may(PLAIN, "ec2:CreateTags", resource, NEW)
    assert may(PLAIN, "ec2:CreateTags", resource, {**NEW, **OURS})
    assert not may(PLAIN, "ec2:CreateTags", resource, {**NEW, **OTHERS})


def test_the_boundary_is_required_of_every_role() -> None:
    """A deployer could make a role that may do more than the boundary lets it."""
    role = f"arn:aws:iam::{ACCOUNT}:role/fleetswap/web-switch-1a2b3c4"
    bound = {"iam:permissionsboundary": (EVERYTHING.boundary,)}
    policy = {"iam:policyarn": EVERYTHING.machine_policies}
    for action, context in (("CreateRole", {}), ("PutRolePolicy", {}), ("AttachRolePolicy", policy)):
        assert may(EVERYTHING, f"iam:{action}", role, {**context, **bound})
        assert not may(EVERYTHING, f"iam:{action}", role, context)
    assert not may(
        EVERYTHING, "iam:AttachRolePolicy", role, {**bound, "iam:policyarn": ("arn:aws:iam::aws:policy/Admin",)}
    )
    assert not may(EVERYTHING, "iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/web-switch-1a2b3c4", bound)


def test_a_guest_changes_nothing_of_its_hosts() -> None:
    """The rules of another service on the listener, or the VPC of a company, could be deleted."""
    theirs = LISTENER.replace(":listener/", ":listener-rule/") + "/1"
    assert may(GUEST, "elasticloadbalancing:CreateRule", LISTENER, NEW)
    assert may(GUEST, "elasticloadbalancing:ModifyRule", theirs, OURS)
    assert not may(GUEST, "elasticloadbalancing:ModifyRule", theirs, OTHERS)
    assert not may(GUEST, "elasticloadbalancing:ModifyListener", LISTENER, OURS)
    assert may(GUEST, "ec2:CreateSecurityGroup", f"{EC2}vpc/vpc-1", {})
    assert not may(GUEST, "ec2:CreateSecurityGroup", f"{EC2}vpc/vpc-2", {})
    owned = {"ec2:CreateVpc", "ec2:DeleteVpc", "ec2:CreateSubnet", "ec2:DeleteSubnet", "ec2:CreateRoute"}
    assert not owned & actions(GUEST, Purpose.DEPLOY)
    assert "elasticloadbalancing:CreateLoadBalancer" not in actions(GUEST, Purpose.DEPLOY)


def test_an_existing_vpc_may_have_a_load_balancer_of_the_stacks_own() -> None:
    """Its creation would be denied: Elastic Load Balancing looks at the groups of the VPC."""
    scope = replace(GUEST, listener=None, endpoints=False)
    assert may(scope, "ec2:GetSecurityGroupsForVpc", f"{EC2}vpc/vpc-1", {})
    assert may(scope, "elasticloadbalancing:CreateLoadBalancer", f"{ELB}loadbalancer/app/web-1a2b3c4/*", NEW)


@pytest.mark.parametrize(
    ("setting", "action"),
    [
        ({"nat": True}, "ec2:CreateNatGateway"),
        ({"endpoints": True}, "ec2:CreateVpcEndpoint"),
        ({"ipv6": True}, "ec2:CreateEgressOnlyInternetGateway"),
        ({"prefix_lists": ("pl-1",)}, "ec2:ModifySecurityGroupRules"),
        ({"certificates": True}, "elasticloadbalancing:AddListenerCertificates"),
        ({"domain": "shop.example.com"}, "route53:ChangeResourceRecordSets"),
        ({"web_acl": EVERYTHING.web_acl}, "wafv2:AssociateWebACL"),
        ({"alerts": EVERYTHING.alerts}, "sns:Publish"),
        ({"functions": EVERYTHING.functions}, "lambda:InvokeFunction"),
        ({"alarms": True}, "cloudwatch:DescribeAlarms"),
        ({"watched": True}, "cloudwatch:PutMetricAlarm"),
        ({"watched": True}, "events:PutTargets"),
        ({"watched": True}, "autoscaling:EnableMetricsCollection"),
        ({"watched": True, "own_topic": True}, "sns:CreateTopic"),
        ({"watched": True, "dashboard": "web"}, "cloudwatch:PutDashboard"),
        ({"keys": EVERYTHING.keys}, "kms:GenerateDataKeyWithoutPlaintext"),
        ({"trusted_accounts": EVERYTHING.trusted_accounts}, "ec2:CopySnapshot"),
        ({"trusted_accounts": EVERYTHING.trusted_accounts}, "kms:ReEncryptFrom"),
        ({"share": EVERYTHING.share}, "ec2:ModifyImageAttribute"),
        ({"share": EVERYTHING.share}, "ec2:ModifySnapshotAttribute"),
        ({"keys": EVERYTHING.keys}, "kms:GetKeyPolicy"),
        ({"keys": EVERYTHING.keys}, "kms:ListGrants"),
        ({"machine_policies": EVERYTHING.machine_policies}, "iam:AttachRolePolicy"),
        ({"boundary": EVERYTHING.boundary}, "iam:PutRolePermissionsBoundary"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_what_a_setting_needs_is_allowed_with_it_alone(setting: dict[str, Any], action: str) -> None:
    """A stack would have rights for what it does not use, or lack those for what it does."""
    before, after = statements(PLAIN, Purpose.DEPLOY), statements(replace(PLAIN, **setting), Purpose.DEPLOY)
    assert sum(action in one.actions for one in after) > sum(action in one.actions for one in before)


def test_the_key_policy_names_auto_scaling_alone() -> None:
    """With a customer-managed default key every launch would be cancelled, and the page have no way out."""
    use, grant, *_shared = (one.plain() for one in key_policy(EVERYTHING))
    role = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    assert use["Principal"] == grant["Principal"] == {"AWS": role}
    assert grant["Action"] == ["kms:CreateGrant"]
    assert grant["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    assert key_policy(PLAIN) == ()


def test_china_has_names_of_its_own() -> None:
    """A deploy in China would be denied to pass its roles, and to use its key."""
    china = replace(
        PLAIN,
        partition="aws-cn",
        suffix="amazonaws.com.cn",
        region="cn-north-1",
        keys=("arn:aws-cn:kms:cn-north-1:111122223333:key/1",),
    )
    printed = json.dumps([policy.document() for policy in policies(china, Purpose.DEPLOY)])
    assert "arn:aws:" not in printed
    assert '"ec2.amazonaws.com.cn"' in printed
    assert '"ec2.cn-north-1.amazonaws.com.cn"' in printed


def test_only_what_is_made_may_be_tagged_on_creation() -> None:
    """A stack without NAT gateways could tag those of others."""
    assert tag_on_create(PLAIN, "ec2:CreateVpc").conditions["StringEquals"]["ec2:CreateAction"] == ("CreateVpc",)


def test_statements_are_divided_without_loss() -> None:
    """A statement would be missing in what is printed, or a policy be too long for IAM."""
    parts = [Statement(f"S{number}", "x", (f"ec2:{'A' * 900}",)) for number in range(14)]
    divided = divide("web", [*parts, Statement("Small", "x", ("ec2:B",))])
    assert [policy.name for policy in divided] == ["web-1", "web-2", "web-3"]
    assert sorted(one.sid for policy in divided for one in policy.statements) == sorted(
        [*(one.sid for one in parts), "Small"]
    )
    assert "Small" in [one.sid for one in divided[0].statements]
    assert divide("web", parts[:1]) == (Policy("web", tuple(parts[:1])),)
