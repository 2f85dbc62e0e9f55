"""The stack's own key for volumes and snapshots, and the state of keys before the first resource."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime.mocks import test as with_pulumi

from fleetswap.domain.errors import InputError
from fleetswap.domain.release.default_key import EbsDefault, KeyAccess
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.release import key_tags
from tests.fakes.ebs import disk_file
from tests.program.declared import ROLE, Kms, Program, declare

KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OWN = "arn:aws:kms:us-east-1:123456789012:key/99999999-12ab-34cd-56ef-1234567890ab"
STACK: dict[str, Any] = {"machine": {"kms_key": "stack"}, "upload": {"kms_key": "stack"}}


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three images."""
    folder = tmp_path_factory.mktemp("disks")
    return [disk_file(folder / f"{number}.raw", seed=number) for number in range(3)]


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the program warns of."""
    lines: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lines.append)
    return lines


def program(
    disk: Path, before: Program | None = None, keys: dict[str, str] | Kms | None = None, **values: Any
) -> Program:
    """The program, with what an update before has left, whose own key has the ARN `OWN`."""
    given = {"service": "web", "image": {"file": str(disk)}, **values}
    raw = {key: json.dumps(value) if isinstance(value, (dict, list)) else value for key, value in given.items()}
    outputs = None if before is None else {**before.outputs, **({"volume_key": OWN} if before.of("Key") else {})}
    return declare(raw, outputs=outputs, keys=keys)


def of(setting: str, key: str) -> dict[str, Any]:
    """One of the two settings."""
    return {setting: {"kms_key": key}}


def release(found: Program) -> str:
    """The wanted release."""
    return str(found.one("Rollout").inputs["live"])


def tag(found: Program, name: str) -> str | None:
    """What a release's group says of its keys."""
    tags = found.one("Group", name).inputs["tags"]
    return next((each["value"] for each in tags if each["key"] == "fleetswap:keys"), None)


def test_a_stack_makes_a_key_for_its_volumes_and_snapshots(disks: list[Path]) -> None:
    """Volumes would be encrypted with a key that nobody asked for; or the key could be deleted within a week."""
    found = program(disks[0], **STACK)
    key = found.one("Key")
    assert key.inputs["enableKeyRotation"] is True
    assert (key.inputs["rotationPeriodInDays"], key.inputs["deletionWindowInDays"]) == (365, 30)
    assert key.inputs["tags"]["fleetswap:stack"] == "fleetswap/local"
    alias = found.one("Alias").inputs
    assert alias == {"name": "alias/fleetswap/fleetswap/local/volumes", "targetKeyId": "web-volumes-id"}
    (device,) = found.one("LaunchTemplate").inputs["blockDeviceMappings"]
    assert device["ebs"]["kmsKeyId"] == "arn:web-volumes"
    disk = found.one("DiskImage").inputs
    assert disk["kms_key"] == "arn:web-volumes"
    assert disk["tags"]["fleetswap:own-key"] == "fleetswap/local"
    assert "fleetswap:own-key" not in found.one("LaunchTemplate").inputs["tags"]
    assert found.outputs["volume_key"] == "arn:web-volumes"
    assert found.one("Rollout").inputs["keys"] == ["arn:web-volumes"]
    assert tag(found, release(found)) == "arn:web-volumes"


def test_the_policy_of_the_key_lets_machines_launch_before_auto_scaling_has_its_role(disks: list[Path]) -> None:
    """KMS refuses a principal that does not exist, and in a new account the role is made with the first group."""
    policy = json.loads(program(disks[0], machine={"kms_key": "stack"}).one("Key").inputs["policy"])
    role = "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    admin, use, grant = policy["Statement"]
    assert admin["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    for one in (use, grant):
        assert one["Principal"] == {"AWS": "*"}
        assert one["Condition"]["StringEquals"] == {"aws:PrincipalArn": role, "kms:CallerAccount": "123456789012"}
    assert grant["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}
    assert "kms:GenerateDataKey*" in use["Action"]


def test_the_key_stays_as_long_as_a_release_needs_it(disks: list[Path]) -> None:
    """With the setting, the key of volumes that machines run from and of snapshots to roll back to would be deleted."""
    first = program(disks[0], **STACK)
    second = program(disks[1], first, retention={"images": 1, "min_age": 0})
    assert second.one("Key").inputs == first.one("Key").inputs
    assert second.one("DiskImage", release(second)).inputs.get("kms_key") is None
    assert "fleetswap:own-key" not in second.one("DiskImage", release(second)).inputs["tags"]
    assert tag(second, release(second)) is None
    assert tag(second, release(first)) == "arn:web-volumes"
    third = program(disks[2], second, retention={"images": 1, "min_age": 0})
    assert third.of("Key"), "the first release is kept without machines, and its snapshot needs the key"
    fourth = program(disks[2], third, retention={"images": 0, "min_age": 0})
    assert fourth.of("Key"), "this update deletes the release, and may fail"
    assert not program(disks[2], fourth, retention={"images": 0, "min_age": 0}).of("Key")


def test_only_the_snapshot_may_need_the_key(disks: list[Path]) -> None:
    """A release whose volumes are of another key would lose its snapshot with the key."""
    first = program(disks[0], upload={"kms_key": "stack"}, machine={"kms_key": KEY})
    assert tag(first, release(first)) == f"{KEY} arn:web-volumes"
    (device,) = first.one("LaunchTemplate").inputs["blockDeviceMappings"]
    assert device["ebs"]["kmsKeyId"] == KEY
    assert program(disks[1], first).of("Key")


def test_what_encrypts_uploads_makes_no_new_release(disks: list[Path]) -> None:
    """A change of the next upload would replace the machines that run."""
    first = program(disks[0])
    again = program(disks[0], first, upload={"kms_key": KEY})
    assert release(again) == release(first)
    assert again.one("DiskImage").inputs.get("kms_key") is None, "its snapshot is there, with another key"
    assert (
        program(disks[1], first, upload={"kms_key": KEY}).one("DiskImage", release(first)).inputs.get("kms_key") is None
    )


@pytest.mark.parametrize("setting", ["machine", "upload"])
@pytest.mark.parametrize("key", [KEY.replace("us-east-1", "eu-west-1"), KEY.replace("key/", "alias/"), "own"])
def test_a_key_that_cannot_be_used_is_refused(disks: list[Path], setting: str, key: str) -> None:
    """StartSnapshot would refuse it, or every launch be cancelled, in the middle of a deploy."""
    with pytest.raises(InputError, match=rf"fleetswap:{setting}\.kms_key"):
        program(disks[0], **of(setting, key))


@pytest.mark.parametrize("setting", ["machine", "upload"])
def test_a_key_that_is_disabled_is_told_before_the_first_resource(disks: list[Path], setting: str) -> None:
    """An image would be uploaded and a group made for machines that cannot start."""
    with pytest.raises(InputError) as caught:
        program(disks[0], keys={KEY: "Disabled"}, **of(setting, KEY))
    assert f"nothing was changed: KMS key {KEY} is Disabled, and new machines of web-" in str(caught.value)
    assert f"`aws kms enable-key --key-id {KEY}" in str(caught.value)


def test_a_key_of_the_stack_is_known_by_the_output_of_the_last_update(disks: list[Path], warned: list[str]) -> None:
    """A refresh drops a key that is pending deletion from the state, and the update would quietly make another one."""
    first = program(disks[0], **STACK)
    with pytest.raises(InputError, match=f"KMS key {OWN} is PendingDeletion"):
        program(disks[1], first, keys={OWN: "PendingDeletion"}, **STACK)
    assert not warned
    program(disks[0], first, keys={OWN: "PendingDeletion"}, **STACK)
    assert len(warned) == 1, "what is live already is repaired all the same"


def test_a_rollback_is_not_refused_for_a_key(disks: list[Path], warned: list[str]) -> None:
    """A disabled key would keep the traffic on a broken release, although the standby's machines run."""
    first = program(disks[0], machine={"kms_key": KEY})
    second = program(disks[1], first, machine={"kms_key": KEY})
    back = program(disks[1], second, keys={KEY: "Disabled"}, release=release(first), machine={"kms_key": KEY})
    assert release(back) == release(first)
    (line,) = warned
    assert f"new machines of {release(first)}, {release(second)} need it to create volumes" in line
    assert back.one("Rollout").inputs["keys"] == [KEY]


def test_a_deploy_away_from_a_disabled_key_is_not_refused(disks: list[Path], warned: list[str]) -> None:
    """The one deploy that would help could not be made."""
    first = program(disks[0], machine={"kms_key": KEY})
    second = program(disks[1], first, keys={KEY: "Disabled"})
    assert release(second) != release(first)
    (line,) = warned
    assert f"new machines of {release(first)} need it" in line


def test_a_stack_without_keys_asks_and_declares_nothing(disks: list[Path]) -> None:
    """Every stack of before would see a change, or need kms:DescribeKey."""
    found = program(disks[0])
    assert not found.of("Key")
    assert not found.of("Alias")
    assert found.one("Rollout").inputs.get("keys") is None
    assert tag(found, release(found)) is None
    assert "kms_key" not in json.dumps(found.outputs["ledger"])


@pytest.mark.parametrize(("region", "kept"), [("ap-southeast-1", 3), ("us-gov-west-1", 2)])
def test_the_tag_with_the_keys_is_never_longer_than_a_tag(region: str, kept: int) -> None:
    """CreateAutoScalingGroup would refuse a value of more than 256 characters, in the middle of a deploy."""
    partition = "aws-us-gov" if "gov" in region else "aws"
    keys = [f"arn:{partition}:kms:{region}:123456789012:key/mrk-{number:032x}" for number in range(3)]
    context = Context("shop/prod", "web", region, account="123456789012")
    told: list[str] = []

    @with_pulumi  # type: ignore[untyped-decorator] # Pulumi's mocks ship no types for it
    def tags() -> pulumi.Output[None]:
        (each,) = key_tags(keys, context)
        return pulumi.Output.from_input(each.value).apply(told.append)

    tags()
    assert told == [" ".join(keys[:kept])]
    assert len(told[0]) <= 256
    assert key_tags([], context) == []


def statement(*actions: str, principal: str = ROLE) -> dict[str, Any]:
    """Of the policy of the account's default key."""
    return {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": list(actions), "Resource": "*"}


ALL_BUT_AUTO_SCALING = statement("kms:*", principal="arn:aws:iam::123456789012:root")


def default(*statements: dict[str, Any], state: str = "Enabled", by_default: bool = True, **access: Any) -> Kms:
    """An account whose default key for EBS is `KEY`, with this policy, and no grant."""
    seen = {"policy": json.dumps({"Statement": [ALL_BUT_AUTO_SCALING, *statements]}), "granted": (), **access}
    return Kms({KEY: state}, EbsDefault(by_default, KEY), KeyAccess(**seen))


@pytest.mark.parametrize("by_default", [True, False])
def test_a_default_key_that_auto_scaling_may_not_use_is_refused(disks: list[Path], *, by_default: bool) -> None:
    """Every launch would be canceled, and the deploy end after ten minutes with a riddle."""
    with pytest.raises(InputError, match=rf"nothing was changed: KMS key {KEY} is the account's default key.*{ROLE}"):
        program(disks[0], keys=default(by_default=by_default))


def test_a_broken_default_key_is_refused_with_the_other_keys(disks: list[Path]) -> None:
    """A user would repair one key, and find out about the next one by another deploy."""
    other = KEY.replace("1234abcd", "5678abcd")
    secrets = Kms({KEY: "Disabled", other: "Disabled"}, EbsDefault(by_default=True, key=KEY))
    with pytest.raises(InputError, match=rf"key {other} is Disabled.*; KMS key {KEY} is Disabled.*default key for EBS"):
        program(disks[0], keys=secrets, **of("machine", other))


@pytest.mark.parametrize(
    "keys",
    [
        Kms({}, EbsDefault(by_default=True)),
        default(statement("kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKey*")),
        default(granted={"CreateGrant", "Decrypt", "GenerateDataKeyWithoutPlaintext"}),
    ],
    ids=["AWS managed", "policy", "grant"],
)
def test_a_default_key_that_lets_auto_scaling_launch_is_fine(disks: list[Path], warned: list[str], keys: Kms) -> None:
    """A deploy that works would be refused, or warned of at each preview."""
    assert program(disks[0], keys=keys).of("Rollout")
    assert not warned


def test_a_release_with_keys_of_its_own_needs_no_default(disks: list[Path]) -> None:
    """A deploy would be refused for a key that encrypts none of it."""
    other = KEY.replace("1234abcd", "5678abcd")
    assert program(disks[0], keys=default(), **of("upload", other)).of("Rollout")
    assert program(disks[0], keys=default(by_default=False), **of("machine", other)).of("Rollout")
    with pytest.raises(InputError, match="default key for EBS"):
        program(disks[0], keys=default(), **of("machine", "stack"))


@pytest.mark.parametrize("setting", ["machine", "upload"])
def test_a_key_of_the_settings_must_let_auto_scaling_launch(disks: list[Path], warned: list[str], setting: str) -> None:
    """An image would be uploaded, every launch be canceled, and the deploy end after ten minutes with a riddle."""
    nobody = Kms({}, named=KeyAccess(json.dumps({"Statement": [ALL_BUT_AUTO_SCALING]}), ()))
    encrypts = {"machine": "the volumes of new machines", "upload": "the snapshot"}[setting]
    with pytest.raises(
        InputError, match=rf"nothing was changed: KMS key {KEY} encrypts {encrypts}, and neither .*{ROLE}"
    ):
        program(disks[0], keys=nobody, **of(setting, KEY))
    assert not warned
    unseen = Kms({}, named=KeyAccess(told="no kms:GetKeyPolicy"))
    first = program(disks[0], keys=unseen, **of(setting, KEY))
    (line,) = warned
    assert f"KMS key {KEY} encrypts {encrypts}, and whether EC2 Auto Scaling may use it is unknown" in line
    warned.clear()
    second = program(disks[1], first, keys=Kms({}), **of(setting, KEY))
    assert release(program(disks[0], second, keys=nobody, **of(setting, KEY))) == release(first), "its machines run"
    program(disks[1], second, keys=nobody, **STACK, release=release(second))
    assert not warned


def test_what_cannot_be_seen_of_a_default_key_is_a_warning(disks: list[Path], warned: list[str]) -> None:
    """A deploy that works would be refused by a guess, because its role may not read the key's policy."""
    assert program(disks[0], keys=default(policy=None, granted=None, told="no kms:GetKeyPolicy")).of("Rollout")
    assert program(disks[0], keys=Kms({}, EbsDefault(told="no ec2:GetEbs"))).of("Rollout")
    assert [line.rpartition("(")[2] for line in warned] == ["no kms:GetKeyPolicy)", "no ec2:GetEbs)"]


def test_machines_that_run_need_no_default_key(disks: list[Path], warned: list[str]) -> None:
    """A rollback to machines that run would be refused, or ask what the role of before may not."""
    first = program(disks[0])
    second = program(disks[1], first)
    assert release(program(disks[0], second, keys=default())) == release(first)
    assert release(program(disks[1], second, keys=default())) == release(second)
    assert not warned
    with pytest.raises(InputError, match="default key for EBS"):
        program(disks[2], second, keys=default())
