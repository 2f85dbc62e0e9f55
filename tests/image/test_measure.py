"""What is measured of an image is found in its file and in its snapshot alike."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fleetswap.domain.boot.measured import measurements
from fleetswap.domain.errors import InputError
from fleetswap.domain.image.blocks import BLOCK_SIZE
from fleetswap.domain.image.info import DEFAULT, ImageInfo
from fleetswap.workflows.image.image_file import ImageFile
from fleetswap.workflows.image.measure import of_image
from tests.boot.executables import uki
from tests.image.test_boot import disk_with

pytestmark = pytest.mark.disks

LOADER = "EFI/BOOT/BOOTX64.EFI"
UKI = uki(initrd=bytes(range(256)) * 5000)


VERIFIED = uki(command_line="usrhash=" + "a" * 64)


def measured(path: Path, info: ImageInfo = DEFAULT) -> dict[str, str]:
    with ImageFile(path) as image:
        return dict(of_image(image, info))


@pytest.mark.parametrize(
    ("mib", "options"), [(2, ("-c", "4")), (24, ("-c", "4")), (80, ("-F", "-c", "1"))], ids=["fat12", "fat16", "fat32"]
)
def test_the_uki_is_measured_where_it_lies(tmp_path: Path, mib: int, options: tuple[str, ...]) -> None:
    """Other bytes than the firmware's would be measured: those of another file, or without the last cluster."""
    path = disk_with(tmp_path / "x.raw", {LOADER: UKI}, esp_mib=mib, options=options)
    assert measured(path) == dict(measurements(UKI, name="x", alone=True))


@pytest.mark.parametrize("other", ["live.squashfs", "EFI/live.squashfs", "EFI/BOOT/live.squashfs"])
def test_a_file_that_the_kernel_may_mount_is_refused_without_a_hash(tmp_path: Path, other: str) -> None:
    """The system in a file beside the UKI could be changed, and would open the secrets with the old measurements."""
    path = disk_with(tmp_path / "x.raw", {LOADER: UKI, other: b"x"}, esp_mib=2)
    with pytest.raises(InputError, match=r"x\.raw cannot be attested: no hash in its unified kernel image"):
        measured(path)
    path = disk_with(tmp_path / "y.raw", {LOADER: VERIFIED, other: b"x" * 3000}, esp_mib=2)
    assert measured(path) == dict(measurements(VERIFIED, name="y", alone=False))


def test_a_chain_in_a_circle_is_not_followed_for_four_gib(tmp_path: Path) -> None:
    """A damaged file system of 2 MiB would take 4 GiB of memory, and more with each copy."""
    path = disk_with(tmp_path / "x.raw", {LOADER: UKI}, esp_mib=2, options=("-c", "4"))
    content = bytearray(path.read_bytes())
    at = content.index(b"BOOTX64 EFI") + 28
    content[at : at + 4] = b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(InputError, match="what its firmware starts has 4294967295 bytes, and may have 1073741824"):
        measured(path)


def test_a_store_that_nothing_protects_is_refused(tmp_path: Path) -> None:
    """An image with a store that anybody may change would count as attested."""
    path = disk_with(tmp_path / "x.raw", {LOADER: UKI}, esp_mib=2)
    with path.open("r+b") as disk:
        disk.truncate(8 << 20)
    subprocess.run(["sgdisk", "--move-second-header", "--new=2:0:+1M", path], check=True, capture_output=True)
    with pytest.raises(InputError, match=r"x\.raw cannot be attested: no hash in its unified kernel image"):
        measured(path)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({LOADER: UKI, "EFI/BOOT/BOOTX64.EFI.extra.d/x.cred": b"x"}, "has folders beside the unified kernel image"),
        ({LOADER: UKI, "loader/addons/x.addon.efi": b"x"}, "has folders beside the unified kernel image"),
        ({"EFI/BOOT/BOOTAA64.EFI": UKI}, r"not exactly one of its partitions has \\EFI\\BOOT\\BOOTX64\.EFI"),
        ({"readme.txt": b"x"}, "not exactly one of its partitions has"),
    ],
    ids=["credential", "addon", "architecture", "nothing"],
)
def test_what_is_measured_otherwise_is_refused(tmp_path: Path, files: dict[str, bytes], why: str) -> None:
    """The policy would have values that no machine of the image can have."""
    path = disk_with(tmp_path / "x.raw", files, esp_mib=8)
    with pytest.raises(InputError, match=f"cannot be attested: .*{why}"):
        measured(path)


def test_a_damaged_file_system_is_refused(tmp_path: Path) -> None:
    """What was read up to the damage would be measured as if it were all."""
    path = disk_with(tmp_path / "x.raw", {LOADER: UKI}, esp_mib=24, options=("-c", "4"))
    with path.open("r+b") as disk:
        disk.seek((1 << 20) + 512 + 60)  # in the table of the file system, where the chain of the UKI goes on
        disk.write(bytes(BLOCK_SIZE // 512))
    with pytest.raises(InputError, match="its EFI system partition cannot be read"):
        measured(path)
    with path.open("r+b") as disk:
        disk.seek(1 << 20)
        disk.write(bytes(512))
    with pytest.raises(InputError, match="its EFI system partition cannot be read"):
        measured(path)
