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
