"""What an instance type can launch, compared with what an AMI needs. `fleetswap.aws.account` asks EC2."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from fleetswap.domain.image.info import ImageInfo


@dataclass(frozen=True)
class InstanceType:
    """What DescribeInstanceTypes says of one. Empty `boot_modes`: it does not say."""

    name: str
    architectures: frozenset[str]
    boot_modes: frozenset[str] = frozenset()
    needs_ena: bool = True
    nitro_tpm: bool = True


def misfits(info: ImageInfo, types: Iterable[InstanceType]) -> list[str]:
    """Why instance types cannot launch an AMI like that, in words that follow the setting. Empty if all can."""
    found: dict[str, list[str]] = {}
    for each in types:
        for reason in _reasons(info, each):
            found.setdefault(reason, []).append(each.name)
    return [reason.format(_listed(names)) for reason, names in found.items()]


def _reasons(info: ImageInfo, one: InstanceType) -> Iterator[str]:
    if info.architecture not in one.architectures:
        has = " and ".join(sorted(one.architectures))
        yield f"the image is for {info.architecture}, but {{}} can only run {has}"
    # With uefi-preferred an instance type without UEFI boots as with a BIOS (EC2 user guide, "Boot modes").
    elif one.boot_modes and info.boot_mode in {"uefi", "legacy-bios"} - one.boot_modes:
        yield f"the AMI has boot mode {info.boot_mode}, which {{}} cannot boot"
    if one.needs_ena and not info.ena:
        yield "the AMI has no ENA support, which is required by {}"
    if info.tpm is not None and not one.nitro_tpm:
        yield f"the AMI has NitroTPM {info.tpm}, but there is none with {{}}"


def _listed(names: Collection[str]) -> str:
    return " and ".join(names)
