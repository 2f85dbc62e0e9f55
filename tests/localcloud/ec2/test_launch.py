"""Launching instances: what they take from image and launch template, and what is refused with nothing left behind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from localcloud import view
from localcloud.autoscaling import scaling
from localcloud.ec2 import launch
from localcloud.moto_state import LOCK, backend
from tests.localcloud.balancer.world import until
from tests.localcloud.clients import Clients, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.server import LocalCloud


@pytest.fixture(autouse=True)
def _failed_launches_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A launch that failed is tried again only when a test says so, however long it takes to look at it."""
    monkeypatch.setattr(scaling, "RETRY_SECONDS", (1000.0, 1000.0))


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


ARM: dict[str, Any] = {"Architecture": "arm64"}
BIOS: dict[str, Any] = {"BootMode": "legacy-bios"}
TPM: dict[str, Any] = {"TpmSupport": "v2.0"}


@pytest.mark.parametrize(
    ("image", "instance_type", "told"),
    [
        (
            ARM,
            "t3.micro",
            "The architecture 'x86_64' of the specified instance type does not match the architecture 'arm",
        ),
        (
            {},
            "c7g.large",
            "The architecture 'arm64' of the specified instance type does not match the architecture 'x86",
        ),
        ({}, "t2.micro", "The t2.micro instance type does not support an AMI with a boot mode of UEFI. Only instance"),
        (TPM, "c5.metal", "The c5.metal instance type does not support an AMI with"),
        (TPM | {"BootMode": "uefi"}, "a1.large", "The architecture 'arm64'"),
    ],
)
def test_a_group_whose_types_cannot_launch_its_ami_is_refused(
    clients: Clients, image: dict[str, Any], instance_type: str, told: str
) -> None:
    """A group that AWS refuses would be made, and machines run that cannot be in AWS."""
    template, network = clients.template(clients.image(**image), InstanceType=instance_type), clients.network()
    with pytest.raises(ClientError) as caught:
        clients.group(template, network)
    error = caught.value.response["Error"]
    assert error["Code"] == "ValidationError"
    assert error["Message"].startswith(f"You must use a valid fully-formed launch template. {told}")
    launch: Any = {"LaunchTemplateId": template}
    with pytest.raises(ClientError, match=r"InvalidParameterValue.*" + re.escape(told)):
        clients.ec2.run_instances(MinCount=1, MaxCount=1, LaunchTemplate=launch, SubnetId=network.subnets[0])


def test_an_ami_launches_on_every_type_that_can_boot_it(clients: Clients) -> None:
    """A good AMI would be refused for what it does not ask for."""
    subnet = clients.network().subnets[0]
    for number, (image, kind) in enumerate(
        [(BIOS, "t2.micro"), (BIOS, "t3.micro"), ({}, "t3.micro"), (TPM, "t3.micro")]
    ):
        asked: Any = {"ImageId": clients.image(f"web-{number}", **image), "InstanceType": kind, "SubnetId": subnet}
        clients.ec2.run_instances(MinCount=1, MaxCount=1, **asked)
    assert len(running(clients)) == 4


@pytest.mark.parametrize(
    ("image", "instance_type", "told"),
    [
        (
            {"Architecture": "x86_64_mac", "BootMode": "legacy-bios"},
            "mac1.metal",
            "its architecture is x86_64_mac, and machines here are arm64 or i386 or x86_64",
        ),
        (ARM | TPM, "c7g.large", "its machines for arm64 have no TPM"),
    ],
)
def test_a_machine_that_cannot_be_emulated_fails_with_the_reason(
    clients: Clients, image: dict[str, Any], instance_type: str, told: str
) -> None:
    """An instance would be shown as running here, and never answer."""
    template = clients.template(clients.image(**image), InstanceType=instance_type)
    clients.group(template, clients.network(), DesiredCapacity=1)
    failed = clients.autoscaling.describe_scaling_activities(AutoScalingGroupName="web")["Activities"][0]
    assert failed["StatusCode"] == "Failed"
    assert told in failed["StatusMessage"]
    assert clients.instances() == []


def test_a_machine_for_arm_is_launched_and_emulated_as_one(clients: Clients) -> None:
    """An AMI for Graviton would fail here, or be started on a machine for x86-64."""
    template = clients.template(clients.image(**ARM), InstanceType="c7g.large")
    clients.group(template, clients.network(), DesiredCapacity=1)
    (instance,) = view.read().instances.values()
    assert instance.root is not None
    assert instance.root.arm


def fleet(clients: Clients, **asked: Any) -> list[Any]:
    """The activities of a group that was to launch two instances, newest first."""
    clients.group(clients.template(clients.image()), clients.network(), DesiredCapacity=2, **asked)
    return clients.autoscaling.describe_scaling_activities(AutoScalingGroupName="web")["Activities"]


def test_a_group_without_capacity_fails_in_aws_s_words_and_tries_again(cloud: LocalCloud, clients: Clients) -> None:
    """A rollout would never meet what EC2 cannot give."""
    cloud.faults.add({"fault": "capacity", "instance_type": "t3.*", "lifecycle": "on-demand"})
    (failed,) = fleet(clients)
    assert failed["StatusCode"] == "Failed"
    assert failed["StatusMessage"].startswith("We currently do not have sufficient t3.micro capacity in the")
    assert failed["StatusMessage"].endswith(" Launching EC2 instance failed.")
    assert clients.instances() == []
    cloud.faults.remove()
    clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    assert len(clients.instances()) == 1


def test_a_group_goes_where_there_is_capacity(cloud: LocalCloud, clients: Clients) -> None:
    """A shortage in one zone or of one type would fail a group that AWS places elsewhere."""
    cloud.faults.add({"fault": "capacity", "zone": "us-east-1a"})
    assert {activity["StatusCode"] for activity in fleet(clients)} == {"Successful"}
    assert {instance["Placement"]["AvailabilityZone"] for instance in clients.instances()} == {"us-east-1b"}


@pytest.fixture
def mixed(clients: Clients) -> Callable[[], list[Any]]:
    """Makes a group of one On-Demand and one Spot Instance; its activities, newest first."""

    def make() -> list[Any]:
        template = clients.template(clients.image())
        asked: Any = {
            "LaunchTemplate": {"LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"}},
            "InstancesDistribution": {"OnDemandBaseCapacity": 1, "OnDemandPercentageAboveBaseCapacity": 0},
        }
        clients.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName="web",
            MinSize=0,
            MaxSize=2,
            DesiredCapacity=2,
            MixedInstancesPolicy=asked,
            VPCZoneIdentifier=",".join(clients.network().subnets),
        )
        return activities(clients)

    return make


def activities(clients: Clients) -> list[Any]:
    return clients.autoscaling.describe_scaling_activities(AutoScalingGroupName="web")["Activities"]


def test_spot_capacity_may_lack_alone(cloud: LocalCloud, mixed: Callable[[], list[Any]]) -> None:
    """The fallback from Spot to On-Demand could not be tried."""
    cloud.faults.add({"fault": "capacity", "lifecycle": "spot"})
    found = mixed()
    assert [activity["StatusCode"] for activity in found] == ["Failed", "Successful"]
    assert found[0]["StatusMessage"] == (
        "Could not launch Spot Instances. InsufficientInstanceCapacity - There is no Spot capacity available that"
        " matches your request. Launching EC2 instance failed."
    )


def test_quotas_are_told_in_aws_s_words(cloud: LocalCloud, mixed: Callable[[], list[Any]]) -> None:
    """A quota, which no waiting ends, could not be rehearsed, or would be told by other words than AWS's."""
    cloud.faults.add([{"fault": "spot-limit"}, {"fault": "vcpu-limit"}])
    (failed,) = mixed()
    assert failed["StatusCode"] == "Failed"
    assert failed["StatusMessage"] == (
        "Could not launch On-Demand Instances. VcpuLimitExceeded - You have requested more vCPU capacity than your"
        " current vCPU limit of 32 allows for the instance bucket that the specified instance type belongs to. Please"
        " visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit. Launching EC2"
        " instance failed."
    )


def test_a_quota_of_spot_instances_is_one_of_its_own(cloud: LocalCloud, mixed: Callable[[], list[Any]]) -> None:
    """A quota of the one kind would keep the other kind from being launched."""
    cloud.faults.add({"fault": "spot-limit"})
    found = mixed()
    assert [activity["StatusCode"] for activity in found] == ["Failed", "Successful"]
    assert found[0]["StatusMessage"] == (
        "Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot instance count exceeded. Launching"
        " EC2 instance failed."
    )


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("kms-key", "Client.InvalidKMSKey.InvalidState: The KMS key provided is in an incorrect state"),
        ("volume-limit", "Client.VolumeLimitExceeded: Volume limit exceeded"),
        ("spot-taken", "Server.SpotInstanceTermination: Spot instance termination"),
    ],
)
def test_an_instance_that_ends_before_it_runs_cancels_its_launch(
    cloud: LocalCloud,
    clients: Clients,
    mixed: Callable[[], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    reason: str,
) -> None:
    """A rollout would wait until its deadline for machines that never come: it would look for failed launches only."""
    monkeypatch.setattr(launch, "DYING_SECONDS", 1000.0)
    cloud.faults.add({"fault": fault, "lifecycle": "spot", "count": 1})
    found = mixed()
    assert [activity["StatusCode"] for activity in found] == ["InProgress", "Successful"]
    described = clients.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["Instances"]
    assert sorted(instance["LifecycleState"] for instance in described) == ["InService", "Pending"]
    instance_id = found[0]["Description"].removeprefix("Launching a new EC2 instance: ")
    with LOCK:
        attributes = backend("ec2").get_instance(instance_id).__dict__
        at, *told = attributes[launch._DIES]
        attributes[launch._DIES] = (at - launch.DYING_SECONDS, *told)
    until(lambda: activities(clients)[0]["StatusCode"] == "Cancelled", "the end of the launch")
    cancelled, _ = activities(clients)
    message = (
        f"Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: {reason}"
    )
    assert cancelled["StatusMessage"] == message
    assert cancelled["Description"] == f"Launching a new EC2 instance: {instance_id}.  Status Reason: {message}"
    (shown,) = clients.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    assert (shown["State"]["Name"], shown["StateReason"]["Message"]) == ("terminated", reason)
    assert len(clients.instances()) == 1
    with LOCK:
        scaling.book(backend("autoscaling").autoscaling_groups["web"]).retry_at = 0.0
    until(lambda: len(clients.instances()) == 2, "the next launch")
    assert activities(clients)[0]["StatusCode"] == "Successful"


def test_a_launch_dies_of_a_key_that_is_not_enabled(clients: Clients) -> None:
    """Machines would boot from volumes whose key was switched off; and an upload would be encrypted with it."""
    kms = clients.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    image = clients.image(snapshot_id=clients.snapshot(Encrypted=True, KmsKeyArn=key))
    asked: Any = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    kms.disable_key(KeyId=key)
    died = clients.ec2.run_instances(**asked)["Instances"][0]["InstanceId"]
    until(lambda: _reason(clients, died) == "Client.InvalidKMSKey.InvalidState", "its end")
    upload = {"VolumeSize": 1, "Encrypted": True, "KmsKeyArn": key}
    assert refusal(lambda: clients.ebs.start_snapshot(**upload)) == "ValidationException"
    kms.enable_key(KeyId=key)
    runs = clients.ec2.run_instances(**asked)["Instances"][0]["InstanceId"]
    assert _reason(clients, runs) == ""
    clients.ebs.start_snapshot(**upload)


def _reason(clients: Clients, instance_id: str) -> str:
    (shown,) = clients.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    return str(shown.get("StateReason", {}).get("Code") or "")


def test_volumes_are_encrypted_when_the_account_says_so(clients: Clients) -> None:
    """What an encrypted volume makes of missing blocks would not show."""
    clients.ec2.enable_ebs_encryption_by_default()
    image = clients.image()
    made = clients.ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)
    filters: Any = [{"Name": "attachment.instance-id", "Values": [made["Instances"][0]["InstanceId"]]}]
    assert [volume["Encrypted"] for volume in clients.ec2.describe_volumes(Filters=filters)["Volumes"]] == [True]


def test_a_placement_group_that_is_asked_for_by_name_must_exist(clients: Clients) -> None:
    """A preview would end in an error of ours, or be told that a group is there which no launch finds."""
    ec2: Any = clients.ec2
    assert ec2.describe_placement_groups(Filters=[{"Name": "group-name", "Values": ["web"]}])["PlacementGroups"] == []
    assert refusal(lambda: ec2.describe_placement_groups(GroupNames=["web"])) == "InvalidPlacementGroup.Unknown"
