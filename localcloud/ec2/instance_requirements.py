"""Attribute-based selection of instance types: which ones of a region have what is required.

Prices are left out: this cloud has none, so a limit on them excludes nothing. Sources: EC2 API reference
(InstanceRequirementsRequest, GetInstanceTypesFromInstanceRequirements), EC2 Auto Scaling API reference
(InstanceRequirements).
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.responses import EC2Response

from localcloud.ec2.instance_types import of_region

if TYPE_CHECKING:
    from collections.abc import Collection

    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

_MANUFACTURERS = {"Intel": "intel", "AMD": "amd", "AWS": "amazon-web-services", "Apple": "apple"}
"""CpuManufacturer by what DescribeInstanceTypes says (ProcessorInfo, Manufacturer)."""


def patch(patches: Patches) -> None:
    """Add the call, which moto lacks."""
    patches.set(EC2Response, "get_instance_types_from_instance_requirements", _answer)


def _answer(self: Moto) -> Moto:
    params = self._get_params()
    for name in ("ArchitectureTypes", "VirtualizationTypes", "InstanceRequirements"):
        if not params.get(name):
            raise EC2ClientError("MissingParameter", f"The request must contain the parameter {name}")
    required = params["InstanceRequirements"]
    if problem := mistake(required):
        raise EC2ClientError("InvalidParameterValue", problem)
    found = matching(self.ec2_backend.region_name, required, params["ArchitectureTypes"], params["VirtualizationTypes"])
    return ActionResult({"InstanceTypes": [{"InstanceType": name} for name in found]})


def mistake(required: dict[str, Any]) -> str:
    """What AWS refuses of the requirements; empty if nothing."""
    for name in ("VCpuCount", "MemoryMiB"):
        if (required.get(name) or {}).get("Min") is None:
            return f"InstanceRequirements must have {name} with a Min"
    for name, asked in required.items():
        low, high = (asked.get("Min"), asked.get("Max")) if isinstance(asked, dict) else (None, None)
        if low is not None and high is not None and high < low:
            return f"The Max of {name}, {high}, is less than its Min, {low}"
    if required.get("AllowedInstanceTypes") and required.get("ExcludedInstanceTypes"):
        return "AllowedInstanceTypes and ExcludedInstanceTypes cannot be specified together"
    return ""


def matching(
    region: str, required: dict[str, Any], architectures: Collection[str], virtualization: Collection[str] = ("hvm",)
) -> list[str]:
    """The types of a region that have it all, the smallest first."""
    found = [
        kind
        for name in of_region(region)
        if (kind := INSTANCE_TYPES.get(name)) is not None
        and set(architectures) & set(kind["ProcessorInfo"]["SupportedArchitectures"])
        and set(virtualization) & set(kind["SupportedVirtualizationTypes"])
        and _has(kind, required)
    ]
    found.sort(key=lambda kind: (_vcpus(kind), kind["MemoryInfo"]["SizeInMiB"], kind["InstanceType"]))
    return [kind["InstanceType"] for kind in found]


def _has(kind: dict[str, Any], required: dict[str, Any]) -> bool:
    name, memory = kind["InstanceType"], kind["MemoryInfo"]["SizeInMiB"]
    store = kind.get("InstanceStorageInfo", {})
    accelerators = _accelerators(kind)
    numbers = {
        "VCpuCount": _vcpus(kind),
        "MemoryMiB": memory,
        "MemoryGiBPerVCpu": memory / 1024 / _vcpus(kind),
        "NetworkInterfaceCount": kind["NetworkInfo"].get("MaximumNetworkInterfaces", 0),
        "NetworkBandwidthGbps": sum(
            card.get("PeakBandwidthInGbps", 0) for card in kind["NetworkInfo"].get("NetworkCards", [])
        ),
        "TotalLocalStorageGB": store.get("TotalSizeInGB", 0),
        "BaselineEbsBandwidthMbps": kind["EbsInfo"].get("EbsOptimizedInfo", {}).get("BaselineBandwidthInMbps", 0),
        "AcceleratorCount": sum(accelerators.values()),
    }
    flags = {
        "BareMetal": (kind["BareMetal"], "excluded"),
        "BurstablePerformance": (kind["BurstablePerformanceSupported"], "excluded"),
        "LocalStorage": (kind["InstanceStorageSupported"], "included"),
    }
    lists = {
        "CpuManufacturers": {_MANUFACTURERS.get(kind["ProcessorInfo"].get("Manufacturer", ""), "")},
        "InstanceGenerations": {"current" if kind["CurrentGeneration"] else "previous"},
        "LocalStorageTypes": {disk["Type"] for disk in store.get("Disks", [])},
        "AcceleratorTypes": set(accelerators),
    }
    allowed, excluded = required.get("AllowedInstanceTypes"), required.get("ExcludedInstanceTypes") or []
    return (
        all(_within(number, required.get(key)) for key, number in numbers.items())
        and all(_suits(has, required.get(key) or default) for key, (has, default) in flags.items())
        and all(not required.get(key) or has & set(required[key]) for key, has in lists.items())
        and (not allowed or any(fnmatchcase(name, one) for one in allowed))
        and not any(fnmatchcase(name, one) for one in excluded)
    )


def _vcpus(kind: dict[str, Any]) -> int:
    return int(kind["VCpuInfo"]["DefaultVCpus"])


def _accelerators(kind: dict[str, Any]) -> dict[str, int]:
    by_type = {
        "gpu": kind.get("GpuInfo", {}).get("Gpus", []),
        "fpga": kind.get("FpgaInfo", {}).get("Fpgas", []),
        "inference": kind.get("InferenceAcceleratorInfo", {}).get("Accelerators", []),
    }
    return {name: sum(each.get("Count", 0) for each in some) for name, some in by_type.items() if some}


def _within(number: float, asked: dict[str, Any] | None) -> bool:
    low, high = (asked or {}).get("Min"), (asked or {}).get("Max")
    return (low is None or number >= low) and (high is None or number <= high)


def _suits(has: bool, asked: str) -> bool:  # noqa: FBT001 - what a type has, and what is asked of it
    return {"included": True, "required": has, "excluded": not has}[asked]
