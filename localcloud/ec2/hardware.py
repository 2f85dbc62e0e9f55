"""What an instance is to have of its hardware, as strict as EC2: CPU options, placement, and how fast its volumes are.

There are no placement groups, and whoever asks is told so.

Words of refusals are EC2's where it is known to say them, of the ratios of a gp3 volume; the others are made like them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.responses import EC2Response

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

IOPS = range(3000, 80_001)
THROUGHPUT = range(125, 2001)
INITIALIZATION = range(100, 301)
"""Of a gp3 volume; MiB/s (EC2 API reference, EbsBlockDevice)."""

TENANCIES = {"default", "dedicated", "host"}


def patch(patches: Patches) -> None:
    """Add DescribePlacementGroups, which moto lacks."""
    patches.set(EC2Response, "describe_placement_groups", _describe_placement_groups)


def _describe_placement_groups(self: Moto) -> Moto:
    """A group that is asked for by name or ID must exist; one that is filtered for, not (EC2 API reference)."""
    params = self._get_params()
    for named in (*params.get("GroupNames", ()), *params.get("GroupIds", ())):
        raise EC2ClientError("InvalidPlacementGroup.Unknown", f"The placement group '{named}' is unknown.")
    return ActionResult({"PlacementGroups": []})


def check_cpu_options(name: str, asked: dict[str, Any] | None) -> None:
    """Refuse cores and threads that a type does not have, and one without the other (user guide, "Rules for specifying
    CPU options").
    """
    if not asked:
        return
    cores, threads = asked.get("CoreCount"), asked.get("ThreadsPerCore")
    if cores is None or threads is None:
        raise EC2ClientError(
            "InvalidParameterCombination", "CpuOptions must specify both CoreCount and ThreadsPerCore."
        )
    told = INSTANCE_TYPES[name]["VCpuInfo"]
    for value, valid, what in (
        (cores, told.get("ValidCores") or [told["DefaultCores"]], "CoreCount"),
        (threads, told.get("ValidThreadsPerCore") or [told["DefaultThreadsPerCore"]], "ThreadsPerCore"),
    ):
        if int(value) not in valid:
            raise EC2ClientError(
                "InvalidParameterValue", f"The {what} {value} is not valid for {name}: {', '.join(map(str, valid))}."
            )


def check_placement(asked: dict[str, Any]) -> None:
    """Refuse an unknown tenancy, and every placement group: the local cloud has none."""
    if asked.get("GroupName"):
        raise EC2ClientError("InvalidPlacementGroup.Unknown", f"The placement group '{asked['GroupName']}' is unknown.")
    if asked.get("Tenancy", "default") not in TENANCIES:
        raise EC2ClientError("InvalidParameterValue", f"Invalid value '{asked['Tenancy']}' for Tenancy.")


def check_volume(name: str, ebs: dict[str, Any]) -> None:
    """Refuse what a volume cannot perform.

    EBS user guide, "General Purpose SSD volumes"; EC2 API reference, EbsBlockDevice.
    """
    size = int(ebs.get("VolumeSize") or 0)
    rate = ebs.get("VolumeInitializationRate")
    if rate is not None and (ebs.get("SnapshotId") is None or int(rate) not in INITIALIZATION):
        raise EC2ClientError(
            "InvalidParameterValue",
            f"VolumeInitializationRate {rate} of {name} must be 100 to 300, of a volume from a snapshot.",
        )
    iops, throughput = ebs.get("Iops"), ebs.get("Throughput")
    if ebs.get("VolumeType") != "gp3":
        if throughput is not None:
            raise EC2ClientError("InvalidParameterCombination", f"Throughput of {name} is for volumes of type gp3.")
        return
    if iops is not None and int(iops) not in IOPS:
        raise EC2ClientError("InvalidParameterValue", f"Volume iops of {iops} is not valid: 3000 to 80000.")
    if throughput is not None and int(throughput) not in THROUGHPUT:
        raise EC2ClientError("InvalidParameterValue", f"Volume throughput of {throughput} is not valid: 125 to 2000.")
    have = int(iops or IOPS[0])
    if iops is not None and have > IOPS[0] and have > 500 * size:
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Iops to volume size ratio of {have / max(size, 1):f} is too high; maximum is 500 IOPS per GiB.",
        )
    if throughput is not None and int(throughput) > have / 4:
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Throughput (MiBps) to iops ratio of {int(throughput) / have:f} is too high; maximum is 0.250000 MiBps per"
            " iops.",
        )
