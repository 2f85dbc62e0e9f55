"""Groups with weights, with attributes, and what launch templates must not ask of the hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.localcloud.clients import Clients

REQUIRED = {"VCpuCount": {"Min": 2, "Max": 2}, "MemoryMiB": {"Min": 4096, "Max": 4096}}


def group(clients: Clients, overrides: list[dict[str, Any]], desired: int, **data: Any) -> None:
    network = clients.network()
    template = clients.template(clients.image(), **data)
    specification = {"LaunchTemplateId": template, "Version": "1"}
    launch: Any = {"LaunchTemplateSpecification": specification, "Overrides": overrides}
    clients.autoscaling.create_auto_scaling_group(
        AutoScalingGroupName="web",
        MinSize=0,
        MaxSize=9,
        DesiredCapacity=desired,
        VPCZoneIdentifier=",".join(network.subnets),
        MixedInstancesPolicy={"LaunchTemplate": launch},
    )


def shown(clients: Clients) -> list[tuple[str, str | None]]:
    (found,) = clients.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    there = [each for each in found["Instances"] if each["LifecycleState"] in {"Pending", "InService"}]
    return [(each["InstanceType"], each.get("WeightedCapacity")) for each in there]


def weighted(**weights: int) -> list[dict[str, Any]]:
    return [{"InstanceType": f"c7i.{name}", "WeightedCapacity": str(weight)} for name, weight in weights.items()]


def test_capacity_is_in_units(clients: Clients) -> None:
    """A rollout that works here would launch twice the machines in AWS, or end the ones that it counts on."""
    group(clients, weighted(xlarge=2, large=1), 3)
    assert shown(clients) == [("c7i.xlarge", "2"), ("c7i.xlarge", "2")], "the last one may exceed what is wanted"
    clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=3)
    assert len(shown(clients)) == 2, "one less would be too few"
    clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=2)
    assert len(shown(clients)) == 1


def test_without_weights_none_is_told(clients: Clients) -> None:
    """A program would take a group for one with weights."""
    group(clients, [{"InstanceType": "c7i.large"}], 2)
    assert shown(clients) == [("c7i.large", None)] * 2


def test_attributes_choose_a_type(clients: Clients) -> None:
    """A fleet by attributes would launch nothing here, or what it did not ask for."""
    group(clients, [{"InstanceRequirements": {**REQUIRED, "AllowedInstanceTypes": ["c7i.*", "c7a.*"]}}], 2)
    assert {name for name, _ in shown(clients)} <= {"c7i.large", "c7a.large"}
    (found,) = clients.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    policy = found["MixedInstancesPolicy"]
    assert policy["LaunchTemplate"]["Overrides"][0]["InstanceRequirements"]["VCpuCount"] == {"Min": 2, "Max": 2}
    assert policy["InstancesDistribution"]["OnDemandAllocationStrategy"] == "lowest-price"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([*weighted(large=1), {"InstanceType": "c7i.xlarge"}], "for all of the overrides"),
        (weighted(large=0), "from 1 to 999"),
        (weighted(large=1000), "from 1 to 999"),
        ([{"InstanceRequirements": REQUIRED}, {"InstanceType": "c7i.large"}], "cannot be used with InstanceType"),
        ([{"InstanceRequirements": REQUIRED, "WeightedCapacity": "1"}], "cannot be used with InstanceType"),
        ([{"InstanceRequirements": REQUIRED}] * 5, "up to 4"),
        ([{"InstanceRequirements": {**REQUIRED, "MemoryMiB": {"Min": 9, "Max": 8}}}], "less than its Min"),
        ([{"InstanceRequirements": {**REQUIRED, "AllowedInstanceTypes": ["nothing.*"]}}], "No instance types match"),
    ],
)
def test_overrides_that_aws_refuses(clients: Clients, overrides: list[dict[str, Any]], told: str) -> None:
    """A group would be made here that AWS refuses."""
    with pytest.raises(ClientError, match=told):
        group(clients, overrides, 0)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"CpuOptions": {"ThreadsPerCore": 1}}, "both CoreCount and ThreadsPerCore"),
        ({"CpuOptions": {"CoreCount": 2, "ThreadsPerCore": 1}}, "CoreCount 2 is not valid for c7i.large"),
        ({"CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 4}}, "ThreadsPerCore 4 is not valid"),
        ({"ebs": {"Iops": 2999}}, "3000 to 80000"),
        ({"ebs": {"Iops": 6000, "VolumeSize": 11}}, "maximum is 500"),
        ({"ebs": {"Throughput": 751}}, "maximum is 0.250000"),
        ({"ebs": {"Throughput": 124}}, "125 to 2000"),
        ({"ebs": {"VolumeInitializationRate": 301}}, "100 to 300"),
        ({"ebs": {"VolumeType": "gp2", "Throughput": 125}}, "is for volumes of type gp3"),
    ],
)
def test_hardware_that_aws_refuses(clients: Clients, data: dict[str, Any], told: str) -> None:
    """The group would be made here, and refused in AWS after the image was sent."""
    with pytest.raises(ClientError, match=told):
        group(clients, [{"InstanceType": "c7i.large"}], 0, **_template(data))


def test_hardware_at_its_limits_is_taken(clients: Clients) -> None:
    """What AWS takes would be refused here."""
    ebs = {"Iops": 6000, "Throughput": 1500, "VolumeSize": 12, "VolumeInitializationRate": 300}
    data = {"CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 1}, "ebs": ebs, "Monitoring": {"Enabled": True}}
    group(clients, [{"InstanceType": "c7i.large"}], 1, **_template(data))
    (instance,) = clients.instances()
    assert instance["Monitoring"]["State"] == "enabled"


def _template(data: dict[str, Any]) -> dict[str, Any]:
    ebs = data.pop("ebs", None)
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "gp3", **(ebs or {})}}
    return {**data, "BlockDeviceMappings": [mapping]} if ebs else data
