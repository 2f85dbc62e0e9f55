"""AMIs: they keep what they were registered with, and are refused as AWS refuses them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from tests.localcloud.clients import Clients, refusal

if TYPE_CHECKING:
    pass


def test_an_image_is_shown_as_registered(clients: Clients) -> None:
    """A second preview would show drift that is not there, as it does with moto."""
    snapshot_id = clients.snapshot(VolumeSize=3, Encrypted=True)
    image_id = clients.ec2.register_image(
        Name="web-7f3a",
        Description="d",
        Architecture="x86_64",
        VirtualizationType="hvm",
        BootMode="uefi",
        TpmSupport="v2.0",
        ImdsSupport="v2.0",
        EnaSupport=True,
        SriovNetSupport="simple",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id, "VolumeType": "gp3"}}],
        TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "a", "Value": "b"}]}],
    )["ImageId"]
    clients.ec2.create_tags(Resources=[image_id], Tags=[{"Key": "c", "Value": "d"}])
    shown = clients.ec2.describe_images(Owners=["self"], Filters=[{"Name": "tag:a", "Values": ["b"]}])["Images"]
    assert len(shown) == 1
    expected: dict[str, Any] = {
        "ImageId": image_id,
        "Name": "web-7f3a",
        "Description": "d",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "BootMode": "uefi",
        "TpmSupport": "v2.0",
        "ImdsSupport": "v2.0",
        "EnaSupport": True,
        "SriovNetSupport": "simple",
        "RootDeviceName": "/dev/xvda",
        "RootDeviceType": "ebs",
        "State": "available",
        "Public": False,
        "OwnerId": "123456789012",
        "DeregistrationProtection": "disabled",
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {
                    "SnapshotId": snapshot_id,
                    "VolumeSize": 3,
                    "VolumeType": "gp3",
                    "DeleteOnTermination": True,
                    "Encrypted": True,
                },
            }
        ],
    }
    image: Any = shown[0]
    assert {key: image.get(key) for key in expected} == expected
    assert {tag["Key"]: tag["Value"] for tag in image["Tags"]} == {"a": "b", "c": "d"}
    permissions = clients.ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
    assert permissions["LaunchPermissions"] == []


def test_no_image_is_invented(clients: Clients) -> None:
    """The CLI would list, and prune, images that nobody made."""
    assert clients.ec2.describe_images()["Images"] == []
    assert refusal(lambda: clients.ec2.describe_images(ImageIds=["ami-12345678"])) == "InvalidAMIID.NotFound"


def test_a_snapshot_must_be_known_and_completed(clients: Clients) -> None:
    """A program that registers before the snapshot is complete would pass here and fail in AWS."""
    pending = clients.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    assert refusal(lambda: clients.image(snapshot_id=pending)) == "IncorrectState"
    assert refusal(lambda: clients.image(snapshot_id="snap-0")) == "InvalidSnapshot.NotFound"
    assert clients.ec2.describe_images()["Images"] == []


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"Name": "x"}, "InvalidAMIName.Malformed"),
        ({"Name": "web:1"}, "InvalidAMIName.Malformed"),
        ({"VirtualizationType": "paravirtual"}, "InvalidParameterCombination"),
        ({"BootMode": "legacy-bios", "TpmSupport": "v2.0"}, "InvalidParameterCombination"),
        ({"BootMode": "uefi-preferred", "TpmSupport": "v2.0"}, "InvalidParameterCombination"),
        ({"BootMode": "legacy-bios", "Architecture": "arm64"}, "InvalidParameterCombination"),
        ({"TpmSupport": "v1.2"}, "InvalidParameterValue"),
        ({"ImdsSupport": "v1.0"}, "InvalidParameterValue"),
        ({"RootDeviceName": "/dev/sda1"}, "InvalidBlockDeviceMapping"),
        ({"Architecture": "vax"}, "InvalidParameterValue"),
    ],
    ids=str,
)
def test_a_wrong_registration_is_refused(clients: Clients, asked: dict[str, Any], code: str) -> None:
    """An image that AWS would not register, or could not boot, would be taken."""
    assert refusal(lambda: clients.image(**asked)) == code


def test_a_mapping_must_agree_with_its_snapshot(clients: Clients) -> None:
    """A volume smaller than its snapshot, or a named encryption, is refused by AWS."""
    snapshot_id = clients.snapshot(VolumeSize=2)
    for ebs in ({"VolumeSize": 1}, {"Encrypted": True}):
        mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id, **ebs}}
        call = functools.partial(clients.image, BlockDeviceMappings=[mapping])
        assert refusal(call) == "InvalidBlockDeviceMapping"


def test_a_name_is_used_once(clients: Clients) -> None:
    """A second registration of one release would be taken, and nobody knew which image is which."""
    first = clients.image("web-1")
    assert refusal(lambda: clients.image("web-1")) == "InvalidAMIName.Duplicate"
    clients.ec2.deregister_image(ImageId=first)
    assert clients.image("web-1") != first


def test_a_snapshot_in_use_cannot_be_deleted(clients: Clients) -> None:
    """A prune in the wrong order would destroy a registered image here, and fail in AWS."""
    snapshot_id = clients.snapshot()
    image_id = clients.image(snapshot_id=snapshot_id)
    assert refusal(lambda: clients.ec2.delete_snapshot(SnapshotId=snapshot_id)) == "InvalidSnapshot.InUse"
    clients.ec2.deregister_image(ImageId=image_id)
    clients.ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_deprecation_and_protection(clients: Clients) -> None:
    """A protected image could be deregistered, or the calls would be a 500 as in moto."""
    image_id = clients.image()
    clients.ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt="2030-01-01T00:00:00Z")
    clients.ec2.enable_image_deregistration_protection(ImageId=image_id)
    shown = clients.ec2.describe_images(ImageIds=[image_id])["Images"][0]
    assert (shown["DeprecationTime"], shown["DeregistrationProtection"]) == (
        "2030-01-01T00:00:00.000Z",
        "enabled-without-cooldown",
    )
    assert refusal(lambda: clients.ec2.deregister_image(ImageId=image_id)) == "OperationNotPermitted"
    clients.ec2.disable_image_deprecation(ImageId=image_id)
    clients.ec2.disable_image_deregistration_protection(ImageId=image_id)
    assert "DeprecationTime" not in clients.ec2.describe_images(ImageIds=[image_id])["Images"][0]
    clients.ec2.deregister_image(ImageId=image_id)
    assert refusal(lambda: clients.ec2.describe_images(ImageIds=[image_id])) == "InvalidAMIID.NotFound"
