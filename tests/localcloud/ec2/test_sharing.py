"""AMIs and snapshots that are shared: what others see of them, what is refused, and copies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.localcloud.clients import Clients, block, refusal

if TYPE_CHECKING:
    from localcloud.server import LocalCloud

OTHER = "999999999999"
UNIT = "arn:aws:organizations::999999999999:ou/o-a1b2c3d4e5/ou-a1b2-c3d4e5f6"


def image(clients: Clients, snapshot_id: str) -> str:
    """An AMI of the snapshot."""
    mapping: Any = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}
    asked: Any = {"Name": f"web-{snapshot_id}", "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": [mapping]}
    return str(clients.ec2.register_image(**asked)["ImageId"])


def completed(clients: Clients, snapshot_id: str) -> dict[str, Any]:
    """The snapshot, as soon as it is not pending any more."""
    for _ in range(100):
        (shown,) = clients.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        if shown["State"] != "pending":
            return dict(shown)
        time.sleep(0.05)
    raise AssertionError


def test_an_ami_gets_and_loses_each_kind_of_permission(clients: Clients) -> None:
    """The AWS provider would not find what it has added, or find what it has removed."""
    image_id = image(clients, clients.snapshot())
    change = clients.ec2.modify_image_attribute
    wanted: list[Any] = [{"UserId": OTHER}, {"OrganizationalUnitArn": UNIT}]
    for each in wanted:
        change(ImageId=image_id, Attribute="launchPermission", LaunchPermission={"Add": [each]})
    shown = clients.ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
    assert shown["LaunchPermissions"] == wanted
    change(ImageId=image_id, Attribute="launchPermission", LaunchPermission={"Remove": wanted[:1]})
    shown = clients.ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
    assert shown["LaunchPermissions"] == wanted[1:]
    change(ImageId=image_id, Description={"Value": "another"})
    assert clients.ec2.describe_images(ImageIds=[image_id])["Images"][0]["Description"] == "another"


def test_a_snapshot_gets_and_loses_a_permission(clients: Clients) -> None:
    """The AWS provider waits until it sees what it has asked for: with moto it would wait for 20 minutes."""
    snapshot_id = clients.snapshot()
    for how, left in (("Add", [{"UserId": OTHER}]), ("Remove", [])):
        asked: Any = {how: [{"UserId": OTHER}]}
        clients.ec2.modify_snapshot_attribute(
            SnapshotId=snapshot_id, Attribute="createVolumePermission", CreateVolumePermission=asked
        )
        shown = clients.ec2.describe_snapshot_attribute(SnapshotId=snapshot_id, Attribute="createVolumePermission")
        assert shown["CreateVolumePermissions"] == left


def test_what_the_managed_key_encrypts_is_shared_with_nobody(clients: Clients) -> None:
    """A deploy that AWS refuses would look right."""
    snapshot_id = clients.snapshot(Encrypted=True)
    image_id = image(clients, snapshot_id)
    permission: Any = {"Add": [{"UserId": OTHER}]}
    assert (
        refusal(
            lambda: clients.ec2.modify_image_attribute(
                ImageId=image_id, Attribute="launchPermission", LaunchPermission=permission
            )
        )
        == "InvalidParameter"
    )
    assert (
        refusal(
            lambda: clients.ec2.modify_snapshot_attribute(
                SnapshotId=snapshot_id, Attribute="createVolumePermission", CreateVolumePermission=permission
            )
        )
        == "OperationNotPermitted"
    )


def test_tags_of_others_snapshots_are_not_seen(cloud: LocalCloud, clients: Clients) -> None:
    """Whoever looks for a shared snapshot by its tags would find it here, and nothing in AWS."""
    snapshot_id = clients.snapshot(Description="web", Tags=[{"Key": "a", "Value": "b"}])
    cloud.store.give(snapshot_id, OTHER, shared=True)
    (shown,) = clients.ec2.describe_snapshots(OwnerIds=[OTHER], Filters=[{"Name": "description", "Values": ["web"]}])[
        "Snapshots"
    ]
    assert not shown.get("Tags")
    found = clients.ec2.describe_snapshots(OwnerIds=[OTHER], Filters=[{"Name": "tag:a", "Values": ["b"]}])
    assert found["Snapshots"] == []
    change: Any = {"Add": [{"UserId": "123456789012"}]}
    assert (
        refusal(
            lambda: clients.ec2.modify_snapshot_attribute(
                SnapshotId=snapshot_id, Attribute="createVolumePermission", CreateVolumePermission=change
            )
        )
        == "UnauthorizedOperation"
    )


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_shared_snapshot_is_copied_whole(cloud: LocalCloud, clients: Clients, *, encrypted: bool) -> None:
    """A copy would be empty, or be of the other's account, or go with its source."""
    snapshot_id = clients.snapshot()
    cloud.store.give(snapshot_id, OTHER, shared=True)
    key = clients.client("kms").create_key()["KeyMetadata"]["Arn"]
    how: Any = {"Encrypted": True, "KmsKeyId": key} if encrypted else {}
    tags: Any = [{"ResourceType": "snapshot", "Tags": [{"Key": "c", "Value": "d"}]}]
    copy_id = clients.ec2.copy_snapshot(
        SourceRegion="us-east-1", SourceSnapshotId=snapshot_id, TagSpecifications=tags, **how
    )["SnapshotId"]
    shown = completed(clients, copy_id)
    assert (shown["State"], shown["OwnerId"], shown["Tags"]) == (
        "completed",
        "123456789012",
        [{"Key": "c", "Value": "d"}],
    )
    assert (shown["Encrypted"], shown.get("KmsKeyId")) == (encrypted, key if encrypted else None)
    cloud.store.delete(snapshot_id)
    (listed,) = clients.ebs.list_snapshot_blocks(SnapshotId=copy_id)["Blocks"]
    got = clients.ebs.get_snapshot_block(SnapshotId=copy_id, BlockIndex=0, BlockToken=listed["BlockToken"])
    assert got["BlockData"].read() == block(0)


def test_a_copy_is_refused_as_aws_refuses_it(cloud: LocalCloud, clients: Clients) -> None:
    """A promotion that cannot work would work here."""
    copy, snapshot_id = clients.ec2.copy_snapshot, clients.snapshot()
    source: Any = {"SourceRegion": "us-east-1", "SourceSnapshotId": snapshot_id}
    assert refusal(lambda: copy(**source, KmsKeyId="alias/a")) == "InvalidParameterDependency"
    failed = copy(**source, Encrypted=True, KmsKeyId="arn:aws:kms:us-east-1:999999999999:key/1")["SnapshotId"]
    shown = completed(clients, failed)
    assert (shown["State"], shown["StateMessage"]) == ("error", "Given key ID is not accessible")
    cloud.store.give(snapshot_id, OTHER, shared=False)
    assert refusal(lambda: copy(**source)) == "InvalidSnapshot.NotFound"
