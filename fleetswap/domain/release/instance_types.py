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
    cores: int | None = None
    threads: tuple[int, ...] = ()
    """Threads that each core can have; empty: it does not say."""


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


def cores_of(types: Collection[InstanceType], threads: int) -> int:
    """How many cores all of the instance types have, which EC2 asks for with the threads per core. Raises `ValueError`
    if they differ, or cannot have so many threads: a launch template has one number for all.
    """
    unable = [each.name for each in types if each.threads and threads not in each.threads]
    if unable:
        raise ValueError(f"{_listed(unable)} cannot have {threads} threads per core")
    cores = {each.name: each.cores for each in types}
    if len(set(cores.values())) != 1 or None in cores.values():
        have = ", ".join(f"{name} has {count}" for name, count in cores.items())
        raise ValueError(f"the instance types must have the same number of cores ({have})")
    return next(int(count) for count in cores.values() if count is not None)


def unfit(info: ImageInfo, types: Collection[InstanceType]) -> tuple[str, ...]:
    """The instance types that cannot launch an AMI like that: as patterns (`m4.*`) where all of a family cannot."""
    bad = [each.name for each in types if any(_reasons(info, each))]
    fit = {each.name.partition(".")[0] for each in types if each.name not in bad}
    families = (name.partition(".")[0] for name in bad)
    return tuple(dict.fromkeys(name if one in fit else f"{one}.*" for name, one in zip(bad, families, strict=True)))


def _listed(names: Collection[str]) -> str:
    return " and ".join(names)
