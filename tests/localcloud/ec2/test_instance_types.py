"""Instance types are described with what they can launch, and only where they are offered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.localcloud.clients import Clients


def described(clients: Clients, region: str, **asked: Any) -> dict[str, Any]:
    answer = clients.client("ec2", region).describe_instance_types(**asked)
    return {each["InstanceType"]: each for each in answer["InstanceTypes"]}


def test_graviton_is_described_as_what_it_is(clients: Clients) -> None:
    """An AMI for x86-64 would be taken for one that Graviton launches."""
    asked: Any = ["c7g.large", "c7i.large", "a1.large"]
    found = described(clients, "us-east-1", InstanceTypes=asked)
    facts = {
        name: (each["ProcessorInfo"]["SupportedArchitectures"], each["SupportedBootModes"], each["NitroTpmSupport"])
        for name, each in found.items()
    }
    assert facts == {
        "c7g.large": (["arm64"], ["uefi"], "supported"),
        "c7i.large": (["x86_64"], ["legacy-bios", "uefi"], "supported"),
        "a1.large": (["arm64"], ["uefi"], "unsupported"),
    }


def test_a_region_knows_only_its_own(clients: Clients) -> None:
    """A deploy would pass here, and fail in a region without the type."""
    asked: Any = [{"Name": "instance-type", "Values": ["c7i.large", "a1.large"]}]
    offered = clients.client("ec2", "ca-west-1").describe_instance_type_offerings(Filters=asked)
    there = {each["InstanceType"] for each in offered["InstanceTypeOfferings"]}
    assert "a1.large" not in there
    assert set(described(clients, "ca-west-1", Filters=asked)) == there
    with pytest.raises(ClientError, match="InvalidInstanceType"):
        described(clients, "ca-west-1", InstanceTypes=["a1.large"])


def test_attributes_are_answered_with_the_types_that_have_them(clients: Clients) -> None:
    """A preview would show types that AWS does not launch, or refuse attributes that some have."""
    ec2 = clients.client("ec2", "us-east-1")

    def found(**more: Any) -> set[str]:
        asked: Any = {"VCpuCount": {"Min": 2, "Max": 2}, "MemoryMiB": {"Min": 4096, "Max": 4096}, **more}
        answer = ec2.get_instance_types_from_instance_requirements(
            ArchitectureTypes=["x86_64"], VirtualizationTypes=["hvm"], InstanceRequirements=asked
        )
        return {each["InstanceType"] for each in answer["InstanceTypes"]}

    plain = found()
    assert {"c7i.large", "c7a.large"} <= plain
    assert not {"c7g.large", "t3.medium", "c7i.xlarge"} & plain, "another architecture, burstable, larger"
    assert "t3.medium" in found(BurstablePerformance="included")
    assert found(CpuManufacturers=["amd"], AllowedInstanceTypes=["c7*"]) == {"c7a.large"}
    assert "c7i.large" not in found(ExcludedInstanceTypes=["c7i.*"])
    assert {name.split(".")[0][-1] for name in found(LocalStorage="required")} <= {"d"}
    with pytest.raises(ClientError, match="the parameter Min"):
        found(MemoryMiB={"Max": 1})
