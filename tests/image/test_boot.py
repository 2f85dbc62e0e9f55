"""A disk that no machine of its AMI boots from is refused by what its EFI system partition and boot record have."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.errors import InputError
from fleetswap.domain.image import fat
from fleetswap.domain.image.boot import FOLDER
from fleetswap.domain.image.boot import refuse_unbootable as refuse
from fleetswap.domain.image.disk import Disk
from fleetswap.domain.image.info import ImageInfo
from fleetswap.workflows.image.bootable import loaders, refuse_unbootable
from fleetswap.workflows.image.image_file import ImageFile

MIB = 1 << 20
ARM = ImageInfo(architecture="arm64")
LEGACY = ImageInfo(boot_mode="legacy-bios")
EITHER = ImageInfo(boot_mode="uefi-preferred")
NO_CODE = "has no boot code in its master boot record"
BOTH, UEFI, BIOS = Disk(MIB, "gpt"), Disk(MIB, "gpt", None, NO_CODE), Disk(MIB, "mbr", "has no EFI system partition")


def disk_with(path: Path, files: dict[str, bytes], *, esp_mib: int = 2, options: tuple[str, ...] = ()) -> Path:
    """A GPT with an EFI system partition in its second MiB, made by sgdisk and mtools."""
    with path.open("wb") as disk:
        disk.truncate((esp_mib + 2) * MIB)
    end = (esp_mib + 1) * 2048 - 1
    tool("sgdisk", f"--new=1:2048:{end}", "--typecode=1:ef00", str(path))
    volume = f"{path}@@1M"
    tool("mformat", "-i", volume, "-T", str(esp_mib * 2048), "-h", "16", "-s", "63", *options, "::")
    folders = sorted({str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}, key=len)
    for folder in folders:
        tool("mmd", "-i", volume, f"::/{folder}")
    for name, content in files.items():
        source = path.with_suffix(".file")
        source.write_bytes(content)
        tool("mcopy", "-i", volume, str(source), f"::/{name}")
    return path


def tool(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.disks
@pytest.mark.parametrize(
    ("mib", "options"),
    [
        (2, ("-c", "1")),
        (2, ("-c", "4", "-r", "2")),
        (24, ("-c", "4")),
        (80, ("-F", "-c", "1")),
    ],
    ids=["fat12", "fat12 small root", "fat16", "fat32"],
)
def test_what_firmware_starts_is_found(tmp_path: Path, mib: int, options: tuple[str, ...]) -> None:
    """Every image would be refused, or an image for another processor be sent and never boot."""
    many = {f"EFI/BOOT/fill a long name {number}.txt": b"x" for number in range(40)}  # more than a cluster of entries
    files = {"readme.txt": b"x" * 5000, **many, "EFI/BOOT/bootx64.efi": b"MZ", "EFI/Linux/other.efi": b"MZ"}
    with ImageFile(disk_with(tmp_path / "x.raw", files, esp_mib=mib, options=options)) as image:
        found = loaders(image)
        assert found is not None
        assert "BOOTX64.EFI" in found
        assert "OTHER.EFI" not in found
        refuse_unbootable(image, ImageInfo())
        with pytest.raises(
            InputError, match=r"x\.raw is for x86_64 .*BOOTX64\.EFI.* for arm64: set fleetswap:image\.a"
        ):
            refuse_unbootable(image, ARM)


@pytest.mark.disks
def test_a_partition_without_a_loader_is_refused(tmp_path: Path) -> None:
    """Machines would end in the firmware's shell."""
    with ImageFile(disk_with(tmp_path / "x.raw", {"EFI/debian/grubx64.efi": b"MZ"})) as image:
        with pytest.raises(InputError, match=r"has no \\EFI\\BOOT\\BOOTX64\.EFI in its EFI system partition"):
            refuse_unbootable(image, ImageInfo())
        with pytest.raises(InputError, match=r"has no \\EFI\\BOOT\\BOOTAA64\.EFI"):
            refuse_unbootable(image, ARM)
    with ImageFile(disk_with(tmp_path / "y.raw", {"EFI/BOOT/BOOTAA64.EFI": b"MZ"})) as image:
        refuse_unbootable(image, ARM)
        with pytest.raises(InputError, match=r"set fleetswap:image\.ami\.architecture: arm64"):
            refuse_unbootable(image, ImageInfo())


@pytest.mark.disks
def test_what_cannot_be_read_is_not_judged(tmp_path: Path) -> None:
    """An image would be refused for a partition that only looks like one of UEFI's."""
    path = disk_with(tmp_path / "x.raw", {"EFI/BOOT/BOOTAA64.EFI": b"MZ"}, esp_mib=4)
    with path.open("r+b") as disk:
        disk.seek(MIB)
        disk.write(bytes(512))
    with ImageFile(path) as image:
        assert loaders(image) is None
        refuse_unbootable(image, ImageInfo())


@pytest.mark.parametrize(
    ("disk", "info"),
    [
        *((BOTH, LEGACY), (BOTH, EITHER), (BOTH, ImageInfo()), (UEFI, ImageInfo()), (BIOS, LEGACY), (UEFI, ARM)),
        (UEFI, ImageInfo(architecture="arm64", boot_mode="uefi-preferred")),
    ],
)
def test_a_disk_that_boots_is_taken(disk: Disk, info: ImageInfo) -> None:
    """A good image could not be deployed."""
    refuse(disk, info, name="x")


@pytest.mark.parametrize(
    ("disk", "info", "told"),
    [
        (BIOS, ImageInfo(), "x has no EFI system partition: .*, or set fleetswap:image.ami.boot_mode: legacy-bios"),
        (BIOS, EITHER, "x has no EFI system partition"),
        (BIOS, ARM, "x has no EFI system partition: machines boot with UEFI, so build it with one$"),
        (UEFI, LEGACY, f"x {NO_CODE}, and its AMI has boot mode legacy-bios: .* or set .*boot_mode: uefi$"),
        (UEFI, EITHER, f"x {NO_CODE}, and its AMI has boot mode uefi-preferred"),
        (Disk(MIB, "gpt", "is odd", NO_CODE), LEGACY, "x .* build it for a BIOS$"),
    ],
)
def test_a_disk_that_does_not_boot_as_its_ami_says_is_refused(disk: Disk, info: ImageInfo, told: str) -> None:
    """The image would be sent, and its machines never answer."""
    with pytest.raises(InputError, match=f"^image {told}"):
        refuse(disk, info, name="x")


def test_a_legacy_disk_needs_no_loader() -> None:
    """An image for a BIOS would be refused for what only UEFI starts."""
    refuse(BOTH, LEGACY, name="x", found=frozenset())


def boot_sector(*, per_cluster: int = 1, entries: int = 16, sectors: int = 64, last: bytes = b"\x55\xaa") -> bytes:
    """Of a FAT12 with one reserved sector, one table of a sector, and 512 bytes a sector."""
    fields = b"\x00\x02" + bytes([per_cluster]) + b"\x01\x00\x01" + entries.to_bytes(2, "little")
    fields += sectors.to_bytes(2, "little") + b"\xf8\x01\x00"
    return (bytes(11) + fields).ljust(510, b"\0") + last


EFI = b"EFI        \x10".ljust(26, b"\0") + b"\x02\x00".ljust(6, b"\0")
"""The entry of a folder that begins in the first cluster."""

SMALL_FAT32 = boot_sector(entries=0)[:22] + bytes(14) + b"\1".ljust(8, b"\0") + b"\2".ljust(466, b"\0") + b"\x55\xaa"
"""As `mkfs.fat -F 32` makes it of a partition with few clusters, its root directory in the first."""

OUTSIDE = (
    boot_sector()
    + (b"\xf8\xff\xff" + b"\x28\x80\x02" * 60).ljust(512, b"\0")
    + (EFI[:26] + b"\x28\0").ljust(512, b"\0")
)
"""Of a partition that was cut off: \\EFI begins behind its end, in a cluster that follows itself."""

EFI3 = EFI[:26] + b"\x03\x00".ljust(6, b"\0")
ENDS = b"\xff\xff\xff\x0f" * 5
BOOT = b"BOOT       \x10".ljust(26, b"\0") + b"\x04\x00".ljust(6, b"\0")
FILE = b"X       EFI\x20".ljust(512, b"\0")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (boot_sector() + bytes(512) + bytes(512), frozenset()),
        (boot_sector(last=b"\x55\x55") + bytes(1024), None),
        (boot_sector(per_cluster=0) + bytes(1024), None),
        (boot_sector(sectors=3) + bytes(1024), None),
        (boot_sector() + b"\xf8\xff\xff\x02\x00" + bytes(507) + EFI.ljust(512, b"\0") + bytes(512 * 40), None),
        (boot_sector() + b"\xf8\xff\xff\x01\x00" + bytes(507) + EFI.ljust(512, b"\0") + bytes(512 * 40), None),
        (boot_sector() + b"\xf8\xff\xff\xff\x0f" + bytes(507) + EFI.ljust(512, b"\0") + bytes(512), frozenset()),
        (b"", None),
        (OUTSIDE, None),
        (SMALL_FAT32 + ENDS.ljust(512, b"\0") + EFI3.ljust(512, b"\0") + BOOT.ljust(512, b"\0") + FILE, {"X.EFI"}),
    ],
    ids=[
        "empty",
        "no signature",
        "no clusters' size",
        "no clusters",
        "circle",
        "into nowhere",
        "no BOOT",
        "nothing",
        "circle outside",
        "small",
    ],
)
def test_what_is_no_fat_is_told_from_one_without_the_folder(
    content: bytes, found: set[str] | frozenset[str] | None
) -> None:
    """An image would be refused because of a partition that cannot be read, or one without a loader be sent."""
    assert fat.names(partial(_part, content), FOLDER) == found


def test_a_file_is_read_to_its_end_or_not_at_all() -> None:
    """What is left of a file would be measured as if it were the whole."""
    disk = partial(_part, boot_sector() + b"\xf8\xff\xff\xff\x0f".ljust(512, b"\0") + bytes(512) + b"x" * 512)
    assert fat.content(disk, fat.Found(2, 500, is_folder=False)) == b"x" * 500
    assert fat.content(disk, fat.Found(2, 513, is_folder=False)) is None, "the table says that it ends before"
    assert fat.content(disk, fat.Found(0, 0, is_folder=False)) == b""


@given(st.binary(max_size=2048), st.integers(0, 512))
def test_garbage_is_not_followed_for_ever(content: bytes, at: int) -> None:
    """A damaged image would end in a traceback, or never."""
    disk = boot_sector() + content
    damaged = disk[:at] + content[:8] + disk[at + 8 :]
    for each in (content, disk, damaged):
        found = fat.names(partial(_part, each), FOLDER)
        assert found is None or isinstance(found, frozenset)


def _part(content: bytes, offset: int, size: int) -> bytes:
    return content[offset : offset + size]
