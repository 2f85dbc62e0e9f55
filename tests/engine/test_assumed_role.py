"""A stack deployed through an assumed role, with the real engine: each call is that session's, each resource tagged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from localcloud.ebs.store import SnapshotStore
from localcloud.server import LocalCloud
from tests.engine.aws_plugin.test_real_engine import Stack
from tests.fakes.ebs import disk_file

pytestmark = pytest.mark.engine

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/company/deploy"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/ci"
PROGRAM = """
from pulumi.runtime.config import get_config_env
from fleetswap_pulumi.fleet import deploy
from fleetswap_pulumi.parse import parse

given = {"fleetswap": {}, "aws": {}, "tiny": {}}
for key, value in get_config_env().items():
    namespace, _, name = key.partition(":")
    given[namespace][name] = value
deploy(parse(given["fleetswap"], region=given["aws"].pop("region"), aws=given["aws"]))
"""


@pytest.fixture(scope="module")
def cloud(_local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """The local cloud's control plane, in which machines do not boot."""
    root = tmp_path_factory.mktemp("cloud")
    cloud = LocalCloud(root, 0, machines=False, store=SnapshotStore(root / "snapshots", settle_seconds=0.0))
    cloud.start()
    yield cloud
    cloud.stop()


def client(service: str, cloud: LocalCloud) -> Any:
    make: Any = boto3.client  # the stubs know literal service names only
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return make(service, region_name="us-east-1", endpoint_url=cloud.endpoint, **keys)


def let_deploy(cloud: LocalCloud) -> None:
    """A role that only those may assume who know its external ID."""
    iam = client("iam", cloud)
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "shop"}},
    }
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    document = '{{"Version": "2012-10-17", "Statement": [{}]}}'.format
    iam.create_role(RoleName="deploy", Path="/company/", AssumeRolePolicyDocument=document(json.dumps(trust)))
    iam.put_role_policy(RoleName="deploy", PolicyName="all", PolicyDocument=document(json.dumps(everything)))


def settings(cloud: LocalCloud, external_id: str, allowed: str = ACCOUNT) -> dict[str, Any]:
    return {
        "aws:region": "us-east-1",
        "aws:assumeRoles": [{"roleArn": ROLE, "sessionName": "ci", "externalId": external_id, "duration": "1h"}],
        "aws:defaultTags": {"tags": {"team": "shop"}},
        "aws:allowedAccountIds": [allowed],
        "fleetswap:endpoint": cloud.endpoint,
        "fleetswap:service": "web",
        "fleetswap:image": {"file": "web.raw"},
    }


def test_every_call_is_the_roles_and_every_resource_is_tagged(
    cloud: LocalCloud, tmp_path: Path, engine_bin: Path
) -> None:
    """A part of a deploy would be made by whoever's keys are in the environment, in another account; or be untagged."""
    let_deploy(cloud)
    disk_file(tmp_path / "web.raw")
    stack = Stack(tmp_path, cloud.endpoint, engine_bin, program=PROGRAM)
    stack.config = settings(cloud, "wrong")
    assert f"access denied: allow sts:AssumeRole on {ROLE}" in stack.run("preview", expected=1)
    stack.config = settings(cloud, "shop", allowed="999900001111")
    assert f"account {ACCOUNT}, but account 999900001111 is meant" in stack.run("preview", expected=1)

    stack.config = settings(cloud, "shop")
    cloud.authorizations.clear()
    stack.run("up", "--yes", "--skip-preview", "--exclude", "**dynamic/fleetswap:Rollout**")
    asked = cloud.authorizations.shown()
    others = {each["action"] for each in asked if each["principal"] != SESSION}
    assert others == {"sts:AssumeRole"}
    assert {each["action"].partition(":")[0] for each in asked} >= {"ec2", "iam", "ebs", "elasticloadbalancing"}
    assert untagged(cloud) == []


def untagged(cloud: LocalCloud) -> list[str]:
    """What lacks the default tag, of all that the stack has made."""
    ec2, elb, iam, groups = (client(each, cloud) for each in ("ec2", "elbv2", "iam", "autoscaling"))
    mine = [{"Name": "tag:fleetswap:service", "Values": ["web"]}]
    found: dict[str, list[dict[str, str]]] = {}
    for kind, key, operation in [
        ("Vpcs", "VpcId", ec2.describe_vpcs),
        ("Subnets", "SubnetId", ec2.describe_subnets),
        ("SecurityGroups", "GroupId", ec2.describe_security_groups),
        ("SecurityGroupRules", "SecurityGroupRuleId", ec2.describe_security_group_rules),
        ("Images", "ImageId", ec2.describe_images),
        ("Snapshots", "SnapshotId", ec2.describe_snapshots),
        ("LaunchTemplates", "LaunchTemplateId", ec2.describe_launch_templates),
    ]:
        every = operation(Filters=mine)[kind]
        assert every, kind
        found |= {each[key]: each.get("Tags", []) for each in every}
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    (listener,) = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    rules = elb.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
    (target_group,) = elb.describe_target_groups()["TargetGroups"]
    arns = [balancer["LoadBalancerArn"], listener["ListenerArn"], target_group["TargetGroupArn"]]
    arns += [each["RuleArn"] for each in rules if not each["IsDefault"]]
    assert len(arns) > 3, "there is no preview rule"
    told = elb.describe_tags(ResourceArns=arns)["TagDescriptions"]
    found |= {each["ResourceArn"]: each["Tags"] for each in told}
    for role in iam.list_roles()["Roles"]:
        if role["RoleName"].startswith("web"):
            found[role["Arn"]] = iam.list_role_tags(RoleName=role["RoleName"])["Tags"]
    (group,) = groups.describe_auto_scaling_groups()["AutoScalingGroups"]
    found[group["AutoScalingGroupName"]] = group["Tags"]
    assert len(found) > 15
    return [
        name for name, tags in found.items() if ("team", "shop") not in {(tag["Key"], tag["Value"]) for tag in tags}
    ]
