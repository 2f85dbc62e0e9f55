"""KMS keys of a stack with the real engine, by a user who has the printed policies and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from fleetswap.domain.permissions.purposes import Purpose, policies
from fleetswap_pulumi.permissions import scope_of, settings_of
from localcloud.ebs.store import SnapshotStore
from localcloud.server import LocalCloud
from tests.engine.aws_plugin.test_real_engine import Stack
from tests.engine.test_assumed_role import PROGRAM
from tests.fakes.ebs import disk_file

pytestmark = pytest.mark.engine

ACCOUNT = "123456789012"
BUT_THE_ROLLOUT = ("--exclude", "**dynamic/fleetswap:Rollout**")
"""No machine boots here."""


@pytest.fixture
def cloud(_local_cloud: None, tmp_path: Path) -> Iterator[LocalCloud]:
    """The local cloud's control plane, in which machines do not boot."""
    root = tmp_path / "cloud"
    cloud = LocalCloud(root, 0, machines=False, store=SnapshotStore(root / "snapshots", settle_seconds=0.0))
    cloud.start()
    yield cloud
    cloud.stop()


def root(service: str, cloud: LocalCloud) -> Any:
    make: Any = boto3.client  # the stubs know literal service names only
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return make(service, region_name="us-east-1", endpoint_url=cloud.endpoint, **keys)


def as_deployer(cloud: LocalCloud, config: dict[str, Any]) -> dict[str, str]:
    """The keys of a new user with what is printed for these settings."""
    iam = root("iam", cloud)
    iam.create_user(UserName="deployer")
    plain = {key: each if isinstance(each, str) else json.dumps(each) for key, each in config.items()}
    scope = scope_of(settings_of(plain), stack="tiny/local", account=ACCOUNT, key=None)
    for each in policies(scope, Purpose.DEPLOY):
        made = iam.create_policy(PolicyName=each.name, PolicyDocument=json.dumps(each.document()))["Policy"]["Arn"]
        iam.attach_user_policy(UserName="deployer", PolicyArn=made)
    key = iam.create_access_key(UserName="deployer")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def await_state(kms: Any, key: str, state: str) -> None:
    """KMS is eventually consistent: wait until it says so many times in a row."""
    row = 0
    for _ in range(300):
        row = row + 1 if kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == state else 0
        if row == 10:
            return
        time.sleep(0.1)
    raise AssertionError(f"{key} is not {state}")


def test_the_keys_of_a_stack_from_the_first_deploy_to_the_last(
    cloud: LocalCloud, tmp_path: Path, engine_bin: Path
) -> None:
    """The printed policies would lack what a key takes; snapshots have another key; or an update begin without it."""
    project = tmp_path / "project"
    project.mkdir()
    disk_file(project / "web.raw")
    stack = Stack(project, cloud.endpoint, engine_bin, program=PROGRAM)
    config: dict[str, Any] = {
        "aws:region": "us-east-1",
        "fleetswap:endpoint": cloud.endpoint,
        "fleetswap:service": "web",
        "fleetswap:image": {"file": "web.raw"},
        "fleetswap:machine": {"kms_key": "stack"},
        "fleetswap:upload": {"kms_key": "stack"},
        "fleetswap:secrets": {},
    }
    stack.config = config
    stack.env |= as_deployer(cloud, config)
    cloud.authorizations.clear()
    stack.run("up", "--yes", "--skip-preview", *BUT_THE_ROLLOUT)
    refused = [each for each in cloud.authorizations.shown() if not each["allowed"]]
    assert [each["action"] for each in refused if each["action"] != "iam:GetUser"] == []

    told = stack.outputs()
    volumes, secrets = told["volume_key"], told["secrets"]["stack_key"]
    ec2, kms = root("ec2", cloud), root("kms", cloud)
    (snapshot,) = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert (snapshot["Encrypted"], snapshot["KmsKeyId"]) == (True, volumes)
    aliases = {
        each["AliasName"]: each["TargetKeyId"] for each in kms.list_aliases()["Aliases"] if "TargetKeyId" in each
    }
    assert aliases["alias/fleetswap/tiny/local/volumes"] == volumes.rpartition("/")[2]
    assert kms.get_key_rotation_status(KeyId=volumes)["RotationPeriodInDays"] == 365
    (group,) = root("autoscaling", cloud).describe_auto_scaling_groups()["AutoScalingGroups"]
    assert {tag["Key"]: tag["Value"] for tag in group["Tags"]}["fleetswap:keys"] == f"{secrets} {volumes}"

    kms.disable_key(KeyId=volumes)
    await_state(kms, volumes, "Disabled")
    said = stack.run("up", "--yes", "--skip-preview", *BUT_THE_ROLLOUT, expected=1)
    assert f"nothing was changed: KMS key {volumes} is Disabled, and new machines of web-" in " ".join(said.split())
    kms.enable_key(KeyId=volumes)

    stack.run("destroy", "--yes", "--skip-preview")
    for key in (volumes, secrets):
        await_state(kms, key, "PendingDeletion")
    assert [each["action"] for each in cloud.authorizations.shown() if not each["allowed"]] in ([], ["iam:GetUser"])
