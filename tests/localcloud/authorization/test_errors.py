"""What Fleetswap says of the local cloud's refusals: the action that is missing, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from fleetswap.aws.errors import explaining
from fleetswap.domain.errors import CloudError
from tests.localcloud.authorization.conftest import Key, People, allow, policy, trust
from tests.localcloud.authorization.test_requests import DENIALS, TAGS, Launch
from tests.localcloud.clients import Clients


def said(call: Any, **asked: Any) -> str:
    """Fleetswap's line about a call that is refused."""
    with pytest.raises(CloudError) as error, explaining("doing something on x", "some:Action"):
        call(**asked)
    return str(error.value)


@pytest.mark.parametrize(("service", "operation", "asked", "status", "code", "action"), DENIALS)
def test_a_denial_names_the_action_and_the_remedy(
    people: People, service: str, operation: str, asked: dict[str, Any], status: int, code: str, action: str
) -> None:
    """Whoever lacks a right would read an error that does not say which."""
    line = said(getattr(people.client(service, people.user()), operation), **asked)
    assert line.startswith(f"doing something on x: access denied: allow {action} ")
    assert "in your IAM policy" in line
    assert f"({code}: " in line
    assert "\n" not in line
    assert status in {400, 403}


def test_what_is_checked_besides_is_named(people: People, clients: Clients) -> None:
    """A denial of iam:PassRole would be told as one of the call that passes the role."""
    launch = Launch(clients)
    key = people.user(allow("ec2:*", "autoscaling:*", "iam:AddRoleToInstanceProfile"))
    clients.iam.create_instance_profile(InstanceProfileName="other")
    iam, groups, ec2 = (people.client(service, key) for service in ("iam", "autoscaling", "ec2"))
    role = "arn:aws:iam::123456789012:role/web"
    line = said(iam.add_role_to_instance_profile, InstanceProfileName="other", RoleName="web")
    assert f"allow iam:PassRole on {role} in your IAM policy" in line
    linked = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    asked = {
        "AutoScalingGroupName": "web",
        "MinSize": 0,
        "MaxSize": 1,
        "LaunchTemplate": {"LaunchTemplateId": launch.template, "Version": "1"},
        "VPCZoneIdentifier": launch.network.subnets[0],
    }
    line = said(groups.create_auto_scaling_group, **asked)
    assert f"allow iam:CreateServiceLinkedRole on arn:aws:iam::123456789012:{linked} in your IAM policy" in line
    clients.iam.create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com")
    line = said(groups.create_auto_scaling_group, **asked)
    assert "allow ec2:RunInstances, ec2:CreateTags and iam:PassRole in your IAM policy" in line
    people.may(allow("ec2:CreateVpc"))
    tags = [{"ResourceType": "vpc", "Tags": TAGS}]
    line = said(ec2.create_vpc, CidrBlock="10.0.0.0/16", TagSpecifications=tags)
    assert "allow ec2:CreateTags on arn:aws:ec2:us-east-1:123456789012:vpc/* in your IAM policy" in line
    assert "Encoded" not in line


def test_an_explicit_deny_says_which_policy_to_change(people: People) -> None:
    """Whoever is denied by a guard rail would add one Allow after the other."""
    ec2 = people.client("ec2", people.user(allow("*"), allow("ec2:*", effect="Deny")))
    assert "an identity-based policy denies ec2:DescribeVpcs: change that policy" in said(ec2.describe_vpcs)


def test_a_limit_is_named(people: People, clients: Clients) -> None:
    """Whoever has the right, and a boundary that lacks it, would add it to the policy that has it."""
    clients.iam.create_role(RoleName="operator", AssumeRolePolicyDocument=trust(AWS="123456789012"))
    clients.iam.put_role_policy(RoleName="operator", PolicyName="own", PolicyDocument=policy(allow("*")))
    ec2 = people.client("ec2", people.session(Policy=policy(allow("kms:*"))))
    assert "allow ec2:DescribeVpcs in the session policy (" in said(ec2.describe_vpcs)
    arn = clients.iam.create_policy(PolicyName="limit", PolicyDocument=policy(allow("kms:*")))["Policy"]["Arn"]
    clients.iam.put_role_permissions_boundary(RoleName="operator", PermissionsBoundary=arn)
    ec2 = people.client("ec2", people.session())
    assert "allow ec2:DescribeVpcs in the permissions boundary (" in said(ec2.describe_vpcs)


def test_a_key_of_kms_is_named_as_such(people: People, clients: Clients) -> None:
    """A key's policy would be looked for in IAM alone."""
    key = clients.client("kms").create_key()["KeyMetadata"]["Arn"]
    clients.ec2.modify_ebs_default_kms_key_id(KmsKeyId=key)
    clients.ec2.enable_ebs_encryption_by_default()
    ebs = people.client("ebs", people.user(allow("ebs:*")))
    with (
        pytest.raises(CloudError, match=r"KMS denies access: allow kms:CreateGrant, .* on the key"),
        explaining("start", "ebs:StartSnapshot"),
    ):
        ebs.start_snapshot(VolumeSize=1)


@pytest.mark.parametrize("service", ["ec2", "elbv2", "kms", "scheduler", "route53"])
def test_credentials_that_are_not_taken(people: People, clients: Clients, service: str) -> None:
    """A key that was deleted, or a session that is over, would be told as a missing right."""
    operation = dict(zip([one[0] for one in DENIALS], [one[1] for one in DENIALS], strict=True))[service]
    stranger = people.client(service, Key("AKIAIOSFODNN7EXAMPLE", "secret"))
    assert "AWS does not accept the credentials" in said(getattr(stranger, operation))
    clients.iam.create_role(RoleName="operator", AssumeRolePolicyDocument=trust(AWS="123456789012"))
    session = people.session()
    people.expire()
    assert "the AWS credentials have expired" in said(getattr(people.client(service, session), operation))
