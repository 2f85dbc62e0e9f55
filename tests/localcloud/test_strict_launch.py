"""Launching instances: what they take from image and launch template, and what is refused with nothing left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.localcloud.clients import Clients, refusal

if TYPE_CHECKING:
    from collections.abc import Callable


def running(clients: Clients) -> list[Any]:
    shown = clients.ec2.describe_instances()["Reservations"]
    return [instance for reservation in shown for instance in reservation["Instances"]]


def test_an_instance_takes_everything_from_its_template(clients: Clients) -> None:
    """A machine would run without its role, its firewall, its tags, or with version 1 of the metadata service."""
    network = clients.network()
    clients.iam.create_instance_profile(InstanceProfileName="web")
    template = clients.template(
        clients.image(snapshot_id=clients.snapshot(VolumeSize=2)),
        UserData="aGVsbG8=",
        IamInstanceProfile={"Name": "web"},
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        NetworkInterfaces=[{"DeviceIndex": 0, "Groups": [network.group], "SubnetId": network.subnets[1]}],
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]},
            {"ResourceType": "volume", "Tags": [{"Key": "c", "Value": "d"}]},
        ],
    )
    made = clients.ec2.run_instances(MinCount=1, MaxCount=1, LaunchTemplate={"LaunchTemplateId": template})
    instance_id = made["Instances"][0]["InstanceId"]
    instance = running(clients)[0]
    assert instance["IamInstanceProfile"]["Arn"].endswith("instance-profile/web")
    assert [group["GroupId"] for group in instance["SecurityGroups"]] == [network.group]
    assert instance["SubnetId"] == network.subnets[1]
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert {"Key": "a", "Value": "b"} in instance["Tags"]
    user_data = clients.ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
    assert user_data["UserData"]["Value"] == "aGVsbG8="
    volume = clients.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}])
    assert [(v["Size"], v["VolumeType"], v["Encrypted"], v["Tags"]) for v in volume["Volumes"]] == [
        (2, "gp3", True, [{"Key": "c", "Value": "d"}])
    ]
    clients.ec2.terminate_instances(InstanceIds=[instance_id])
    assert clients.ec2.describe_volumes()["Volumes"] == []
    assert clients.ec2.describe_network_interfaces()["NetworkInterfaces"] == []


def test_an_image_that_asks_for_tokens_gets_them(clients: Clients) -> None:
    """The image's own ImdsSupport would be ignored, and a machine left open to version 1."""
    network = clients.network()
    clients.ec2.run_instances(
        ImageId=clients.image(), InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=network.subnets[0]
    )
    options = running(clients)[0]["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 2)


def plain_image(clients: Clients) -> str:
    return clients.image("no-ena", EnaSupport=False)


def arm_image(clients: Clients) -> str:
    return clients.image("arm", Architecture="arm64")


@pytest.mark.parametrize(
    ("image", "data", "code"),
    [
        (lambda _: "ami-12345678", {}, "InvalidAMIID.NotFound"),
        (plain_image, {}, "InvalidParameterCombination"),
        (arm_image, {}, "InvalidParameterValue"),
        (Clients.image, {"InstanceType": "t3.enormous"}, "InvalidParameterValue"),
        (Clients.image, {"IamInstanceProfile": {"Name": "none"}}, "NoSuchEntity"),
        (Clients.image, {"SecurityGroupIds": ["sg-12345678"]}, "InvalidGroup.NotFound"),
        (
            Clients.image,
            {"BlockDeviceMappings": [{"DeviceName": "/dev/xvdb", "Ebs": {"VolumeType": "gp3"}}]},
            "MissingParameter",
        ),
        (
            Clients.image,
            {"BlockDeviceMappings": [{"DeviceName": "/dev/xvdb", "Ebs": {"VolumeType": "io1", "VolumeSize": 1}}]},
            "InvalidParameterDependency",
        ),
    ],
    ids=["image", "ena", "architecture", "type", "profile", "group", "size", "half-way"],
)
def test_a_launch_that_fails_leaves_nothing(
    clients: Clients, image: Callable[[Clients], str], data: dict[str, Any], code: str
) -> None:
    """An orphan would run outside its group, as it does in moto, or a machine that AWS refuses would start."""
    network = clients.network()
    template = clients.template(image(clients), **data)
    call = clients.ec2.run_instances
    launch: Any = {"LaunchTemplateId": template}
    assert refusal(lambda: call(MinCount=1, MaxCount=1, LaunchTemplate=launch, SubnetId=network.subnets[0])) == code
    assert running(clients) == []
    assert clients.ec2.describe_volumes()["Volumes"] == []
