"""Refuses a disk from which no machine of its AMI would boot, by its partition table and its EFI system partition.

What it cannot know it does not refuse: only a boot can show whether a system boots from the disk.
"""

from __future__ import annotations

from collections.abc import Collection

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.disk import Disk
from fleetswap.domain.image.info import DEFAULT, ImageInfo

FOLDER = ("EFI", "BOOT")

LOADERS = {"x86_64": "BOOTX64.EFI", "arm64": "BOOTAA64.EFI"}
"""What UEFI firmware starts from a disk that it was told nothing about (UEFI 2.10, 3.5.1.1), by architecture."""


def refuse_unbootable(
    disk: Disk, info: ImageInfo = DEFAULT, *, name: str, found: Collection[str] | None = None
) -> None:
    """Raise `InputError` for a disk that no machine boots from with an AMI like that.

    `found` are the names in `\\EFI\\BOOT` of the disk's EFI system partitions, None if they cannot be read.
    """
    setting = "fleetswap:image.ami"
    by_uefi, by_bios = disk.unbootable is None, disk.unbootable_by_bios is None and info.architecture == "x86_64"
    if info.boot_mode != "legacy-bios" and not by_uefi:
        other = f", or set {setting}.boot_mode: legacy-bios" if by_bios else ""
        raise InputError(f"image {name} {disk.unbootable}: machines boot with UEFI, so build it with one{other}")
    if info.boot_mode != "legacy-bios" and found is not None:
        _refuse_loaders(info, name, found)
    # With uefi-preferred, an instance type without UEFI boots as with a BIOS; no Arm instance is without UEFI.
    needs_bios = info.boot_mode == "legacy-bios" or (info.boot_mode, info.architecture) == ("uefi-preferred", "x86_64")
    if needs_bios and disk.unbootable_by_bios is not None:
        other = f", or set {setting}.boot_mode: uefi" if by_uefi else ""
        raise InputError(
            f"image {name} {disk.unbootable_by_bios}, and its AMI has boot mode {info.boot_mode}: build it for a"
            f" BIOS{other}"
        )


def _refuse_loaders(info: ImageInfo, name: str, found: Collection[str]) -> None:
    wanted = LOADERS[info.architecture]
    if wanted in found:
        return
    others = [(each, loader) for each, loader in LOADERS.items() if loader in found]
    if others:
        architecture, loader = others[0]
        raise InputError(
            f"image {name} is for {architecture} (its EFI system partition has \\EFI\\BOOT\\{loader}), but its AMI"
            f" would be for {info.architecture}: set fleetswap:image.ami.architecture: {architecture}"
        )
    raise InputError(
        f"image {name} has no \\EFI\\BOOT\\{wanted} in its EFI system partition: machines boot from that, so build"
        " it with one"
    )
