"""The account of the credentials, its availability zones in the region, and what they offer.

Reads only. The program calls it before it declares any resource.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from fleetswap.aws.caller import account_id
from fleetswap.aws.errors import explained
from fleetswap.domain.release.default_key import EbsDefault
from fleetswap.domain.release.hardware import Requirements
from fleetswap.domain.release.instance_types import InstanceType
from fleetswap.domain.release.placement import PlacementGroup

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import InstanceTypeInfoTypeDef

    from fleetswap.aws.session import Cloud

FILTER_VALUES = 200
"""Values that one filter may have (EC2 API reference, DescribeInstances)."""

ATTRIBUTES = {
    "vcpus": "VCpuCount",
    "memory_mib": "MemoryMiB",
    "memory_gib_per_vcpu": "MemoryGiBPerVCpu",
    "cpu_manufacturers": "CpuManufacturers",
    "generations": "InstanceGenerations",
    "allow": "AllowedInstanceTypes",
    "exclude": "ExcludedInstanceTypes",
    "bare_metal": "BareMetal",
    "burstable": "BurstablePerformance",
    "local_storage": "LocalStorage",
    "local_storage_types": "LocalStorageTypes",
    "local_storage_gb": "TotalLocalStorageGB",
    "ebs_mbps": "BaselineEbsBandwidthMbps",
    "network_gbps": "NetworkBandwidthGbps",
    "network_interfaces": "NetworkInterfaceCount",
    "accelerators": "AcceleratorCount",
    "accelerator_types": "AcceleratorTypes",
    "spot_max_price_percent": "SpotMaxPricePercentageOverLowestPrice",
    "on_demand_max_price_percent": "OnDemandMaxPricePercentageOverLowestPrice",
}
"""What EC2 calls the fields of `Requirements` (InstanceRequirementsRequest)."""


class Account:
    """The account behind the credentials of a `Cloud`."""

    def __init__(self, cloud: Cloud) -> None:
        """No call is made, and no client, before something is asked."""
        self._cloud = cloud

    def id(self) -> str:
        """Its 12 digits. Needs no permission (STS, GetCallerIdentity). Raises `TryAgain` or `CloudError`."""
        return account_id(self._cloud)

    def zones(self) -> tuple[str, ...]:
        """The letters of the zones that subnets can be made in, in order. They differ from account to account.

        Local and Wavelength Zones are none of them, nor is a zone that is impaired or unavailable
        (DescribeAvailabilityZones). Raises `TryAgain` or `CloudError`.
        """
        region = self._cloud.region
        with explained("ec2:DescribeAvailabilityZones", region):
            ec2 = self._cloud.small_ec2()
            answer = ec2.describe_availability_zones(
                Filters=[
                    {"Name": "zone-type", "Values": ["availability-zone"]},
                    {"Name": "state", "Values": ["available"]},
                ]
            )
        return tuple(sorted(zone["ZoneName"].removeprefix(region) for zone in answer["AvailabilityZones"]))

    def offered(self, instance_types: Collection[str], zones: Collection[str]) -> frozenset[str]:
        """Those of the instance types that at least one of the zones has (DescribeInstanceTypeOfferings).

        Raises `TryAgain` or `CloudError`.
        """
        region, found = self._cloud.region, set[str]()
        with explained("ec2:DescribeInstanceTypeOfferings", region):
            ec2 = self._cloud.small_ec2()
            for some in batched(sorted(instance_types)):
                pages = ec2.get_paginator("describe_instance_type_offerings").paginate(
                    LocationType="availability-zone",
                    Filters=[
                        {"Name": "instance-type", "Values": some},
                        {"Name": "location", "Values": [f"{region}{zone}" for zone in sorted(zones)]},
                    ],
                )
                found |= {str(offer["InstanceType"]) for page in pages for offer in page["InstanceTypeOfferings"]}
        return frozenset(found)

    def matching(self, requirements: Requirements, architecture: str) -> tuple[str, ...]:
        """The instance types of the region that have these attributes (GetInstanceTypesFromInstanceRequirements).

        EC2 Auto Scaling asks for no other. Raises `TryAgain` or `CloudError`.
        """
        asked: Any = requirements.named(ATTRIBUTES, "Min", "Max")
        with explained("ec2:GetInstanceTypesFromInstanceRequirements", self._cloud.region):
            ec2 = self._cloud.small_ec2()
            pages = ec2.get_paginator("get_instance_types_from_instance_requirements").paginate(
                ArchitectureTypes=[cast("Any", architecture)],
                VirtualizationTypes=["hvm"],
                InstanceRequirements=asked,
            )
            return tuple(sorted(str(each["InstanceType"]) for page in pages for each in page["InstanceTypes"]))

    def instance_types(self, names: Collection[str]) -> tuple[InstanceType, ...]:
        """What those of the instance types can launch that the region has (DescribeInstanceTypes).

        Raises `TryAgain` or `CloudError`.
        """
        found: list[InstanceType] = []
        with explained("ec2:DescribeInstanceTypes", self._cloud.region):
            ec2 = self._cloud.small_ec2()
            for some in batched(sorted(names)):
                # A filter: what it is asked for by name must exist, or the call fails.
                pages = ec2.get_paginator("describe_instance_types").paginate(
                    Filters=[{"Name": "instance-type", "Values": some}]
                )
                found += [_facts(each) for page in pages for each in page["InstanceTypes"]]
        return tuple(found)

    def placement_group(self, name: str) -> PlacementGroup | None:
        """The placement group of this name in the region, None if there is none (DescribePlacementGroups).

        Raises `TryAgain` or `CloudError`.
        """
        with explained("ec2:DescribePlacementGroups", name):
            # A filter: what is asked for by name must exist, or the call fails.
            answer = self._cloud.ec2().describe_placement_groups(Filters=[{"Name": "group-name", "Values": [name]}])
        for each in answer["PlacementGroups"]:
            if each["GroupName"] == name:  # a filter takes * and ? for wildcards
                return PlacementGroup(name, each["State"], each["Strategy"], each.get("SpreadLevel", ""))
        return None

    def encrypts_with_aws_key(self) -> bool:
        """Whether EBS encrypts every new snapshot of the account in the region with the account's AWS managed key.

        A customer managed key can be the default instead (GetEbsDefaultKmsKeyId). Raises `TryAgain` or `CloudError`.
        """
        found = self.ebs_default()
        return found.by_default and found.is_aws_managed

    def ebs_default(self) -> EbsDefault:
        """How EBS encrypts in the region what names no key. Raises `TryAgain` or `CloudError`."""
        region = self._cloud.region
        ec2 = self._cloud.small_ec2()
        with explained("ec2:GetEbsEncryptionByDefault", region):
            by_default = ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"]
        with explained("ec2:GetEbsDefaultKmsKeyId", region):
            return EbsDefault(by_default, ec2.get_ebs_default_kms_key_id()["KmsKeyId"])


def _facts(told: InstanceTypeInfoTypeDef) -> InstanceType:
    """What EC2 does not say is not judged."""
    return InstanceType(
        told["InstanceType"],
        frozenset(told["ProcessorInfo"]["SupportedArchitectures"]),
        frozenset(told.get("SupportedBootModes", ())),
        needs_ena=told["NetworkInfo"].get("EnaSupport") == "required",
        nitro_tpm=told.get("NitroTpmSupport") != "unsupported",
        cores=told.get("VCpuInfo", {}).get("DefaultCores"),
        threads=tuple(told.get("VCpuInfo", {}).get("ValidThreadsPerCore", ())),
    )


def batched(values: Sequence[str]) -> Iterator[list[str]]:
    """As many values as a filter takes, at a time."""
    for first in range(0, len(values), FILTER_VALUES):
        yield list(values[first : first + FILTER_VALUES])
