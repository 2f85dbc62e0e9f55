"""What the machines of a release are launched from: reads it, and lets EC2 try a launch without making it.

Implements `fleetswap.workflows.rollout.drill_ports.Parts`. It changes nothing, and decides nothing. What does not exist
is None or left out; a filter asks for it where asking by ID would fail.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from fleetswap.aws.account import Account, batched
from fleetswap.aws.errors import Meaning, code, explained, meaning
from fleetswap.aws.quotas import Quotas
from fleetswap.domain.drill.seen import Ami, Launches, Snapshot, Subnet, Template
from fleetswap.domain.drill.vcpus import ON_DEMAND, SPOT, Running
from fleetswap.domain.text import one_line

if TYPE_CHECKING:
    from fleetswap.aws.session import Cloud

DRY_RUN = "DryRunOperation"
"""What EC2 answers to a dry run of what would have succeeded (EC2 API reference, RunInstances, DryRun)."""

NO_TEMPLATE = frozenset(
    {
        "InvalidLaunchTemplateId.NotFound",
        "InvalidLaunchTemplateId.NotFoundException",
        "InvalidLaunchTemplateId.VersionNotFound",
        "InvalidLaunchTemplateName.NotFoundException",
    }
)
"""Of a launch template, or a version, that does not exist ("Error codes for the Amazon EC2 API")."""

COUNTED = ("pending", "running")
"""The states of machines whose vCPUs count (EC2 user guide, "On-Demand Instance quotas")."""


class LaunchParts:
    """The parts of an account and region. Safe to share between threads, as the clients are."""

    def __init__(self, cloud: Cloud) -> None:
        """No call is made, and no client, before something is asked."""
        self._cloud = cloud

    @cached_property
    def _ec2(self) -> Any:  # noqa: ANN401 - filters in the form that the stubs know by name
        return self._cloud.ec2()

    @cached_property
    def _autoscaling(self) -> Any:  # noqa: ANN401 - parts of answers that the stubs have as optional
        return self._cloud.autoscaling()

    def launches(self, group: str) -> Launches | None:
        """How a group launches machines, or None if it does not exist."""
        with explained("autoscaling:DescribeAutoScalingGroups", group):
            found = self._autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
        return _launches(found[0]) if found else None

    def template(self, launches: Launches) -> Template | None:
        """The version of the launch template, or None if it does not exist."""
        asked = {"LaunchTemplateId": launches.template, "Versions": [launches.version]}
        with explained("ec2:DescribeLaunchTemplateVersions", launches.template):
            try:
                found = self._ec2.describe_launch_template_versions(**asked)["LaunchTemplateVersions"]
            except ClientError as error:
                if code(error) in NO_TEMPLATE:
                    return None
                raise
        return _template(found[0]["LaunchTemplateData"]) if found else None

    def ami(self, image: str) -> Ami | None:
        """An AMI, or None if it does not exist."""
        for found in self._described("images", "image-id", [image]):
            mapped = [each["Ebs"] for each in found.get("BlockDeviceMappings", ()) if "Ebs" in each]
            return Ami(found["State"], tuple(each["SnapshotId"] for each in mapped if "SnapshotId" in each))
        return None

    def snapshots(self, ids: Sequence[str]) -> dict[str, Snapshot]:
        """Those of the snapshots that exist."""
        return {
            each["SnapshotId"]: Snapshot(each["State"], each.get("KmsKeyId", ""))
            for each in self._described("snapshots", "snapshot-id", ids)
        }

    def subnets(self, ids: Sequence[str]) -> dict[str, Subnet]:
        """Those of the subnets that exist."""
        return {
            each["SubnetId"]: Subnet(each["AvailabilityZone"], each["AvailableIpAddressCount"])
            for each in self._described("subnets", "subnet-id", ids)
        }

    def security_groups(self, ids: Sequence[str]) -> frozenset[str]:
        """Those of the security groups that exist."""
        return frozenset(each["GroupId"] for each in self._described("security_groups", "group-id", ids))

    def offered(self, types: Collection[str], zones: Collection[str]) -> frozenset[str]:
        """Those of the instance types that at least one of the zones offers."""
        return Account(self._cloud).offered(types, zones)

    def vcpus(self, types: Collection[str]) -> dict[str, int]:
        """The vCPUs of instance types (DescribeInstanceTypes)."""
        found: dict[str, int] = {}
        with explained("ec2:DescribeInstanceTypes", self._cloud.region):
            for some in batched(sorted(types)):
                pages = self._ec2.get_paginator("describe_instance_types").paginate(
                    Filters=[{"Name": "instance-type", "Values": some}]
                )
                for page in pages:
                    found |= {each["InstanceType"]: each["VCpuInfo"]["DefaultVCpus"] for each in page["InstanceTypes"]}
        return found

    def running(self) -> tuple[Running, ...]:
        """The machines that run in the region, whoever they belong to (DescribeInstances)."""
        with explained("ec2:DescribeInstances", self._cloud.region):
            pages = self._ec2.get_paginator("describe_instances").paginate(
                Filters=[{"Name": "instance-state-name", "Values": list(COUNTED)}]
            )
            machines = [one for page in pages for each in page["Reservations"] for one in each["Instances"]]
        return tuple(
            Running(each["InstanceType"], SPOT if each.get("InstanceLifecycle") == "spot" else ON_DEMAND)
            for each in machines
        )

    def quota(self, quota: str) -> float:
        """The value of a quota of EC2, by its code."""
        return Quotas(self._cloud).value("ec2", quota)

    def try_launch(self, launches: Launches, template: Template) -> str:
        """Let EC2 check a launch without making it: its refusal, or an empty text.

        A dry run checks the permissions of the caller. Auto Scaling launches with a role of its own, so a caller that
        may not launch knows nothing: that is raised.
        """
        asked: dict[str, Any] = {
            "LaunchTemplate": {"LaunchTemplateId": launches.template, "Version": launches.version},
            "MinCount": 1,
            "MaxCount": 1,
            "DryRun": True,
        }
        if launches.subnets:
            asked["SubnetId"] = launches.subnets[0]
        instance_type = next(iter(launches.types), template.instance_type)
        if instance_type:
            asked["InstanceType"] = instance_type
        with explained("ec2:RunInstances", launches.template):
            try:
                self._ec2.run_instances(**asked)
            except ClientError as error:
                told = error.response.get("Error", {})
                if code(error) == DRY_RUN:
                    return ""
                means = meaning(code(error), told.get("Message", ""))
                if means in (Meaning.INVALID, Meaning.NOT_FOUND, Meaning.QUOTA, Meaning.OTHER):
                    return one_line(f"{code(error)}: {told.get('Message', '')}")
                raise
        return ""

    def _described(self, what: str, filtered: str, ids: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """What a describe call of EC2 says of the IDs that exist."""
        name = "".join(part.capitalize() for part in what.split("_"))
        call = cast("Callable[..., Any]", getattr(self._ec2, f"describe_{what}"))
        for some in batched(sorted(ids)):
            with explained(f"ec2:Describe{name}", ", ".join(some[:3])):
                answer = call(Filters=[{"Name": filtered, "Values": some}])
            yield from answer[name]


def _launches(group: Mapping[str, Any]) -> Launches:
    policy = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    specified = policy.get("LaunchTemplateSpecification") or group.get("LaunchTemplate") or {}
    overrides = policy.get("Overrides", ())
    return Launches(
        group["AutoScalingGroupARN"],
        specified.get("LaunchTemplateId", ""),
        specified.get("Version", "$Default"),
        tuple(filter(None, group.get("VPCZoneIdentifier", "").split(","))),
        types={
            each["InstanceType"]: int(each.get("WeightedCapacity", 1)) for each in overrides if "InstanceType" in each
        },
        by_attributes=any("InstanceRequirements" in each for each in overrides),
        suspended=tuple(each["ProcessName"] for each in group.get("SuspendedProcesses", ())),
    )


def _template(data: Mapping[str, Any]) -> Template:
    interfaces = [group for each in data.get("NetworkInterfaces", ()) for group in each.get("Groups", ())]
    keys = {each.get("Ebs", {}).get("KmsKeyId") for each in data.get("BlockDeviceMappings", ())}
    return Template(
        data.get("ImageId", ""),
        tuple(data.get("SecurityGroupIds", ())) + tuple(interfaces),
        data.get("InstanceType", ""),
        tuple(sorted(filter(None, keys))),
    )
