"""What is a raw disk and what is not: fuzzed headers, and files that the real tools make."""

from __future__ import annotations

import gzip
import os
import re
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.boot import refuse_unbootable
from fleetswap.domain.image.disk import HEAD_BYTES, TAIL_BYTES, inspect
from fleetswap.workflows.image.image_file import ImageFile, identify
from tests.fakes.ebs import disk_bytes, disk_file

MIB = 1 << 20


def partitioned(path: Path, *arguments: str, size: int = 4 * MIB) -> Path:
    """A real GPT, made by sgdisk."""
    path.write_bytes(bytes(size))
    subprocess.run(["sgdisk", *arguments, str(path)], check=True, capture_output=True)
    return path


def look(content: bytes) -> str:
    return inspect(content[:HEAD_BYTES], content[-TAIL_BYTES:], len(content), name="x.raw").table


@pytest.fixture(scope="module")
def gpt_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gpt") / "gpt.raw"
    return partitioned(path, "--new=1:2048:0", "--typecode=1:ef00").read_bytes()  # sgdisk takes a second


@pytest.fixture
def gpt(tmp_path: Path, gpt_bytes: bytes) -> Path:
    path = tmp_path / "gpt.raw"
    path.write_bytes(gpt_bytes)
    return path


def refused(path: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught, ImageFile(path):
        pass
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


def test_a_gpt_disk_passes(gpt: Path) -> None:
    """No image could be uploaded at all."""
    with ImageFile(gpt) as image:
        assert (image.disk.table, image.disk.size, image.size) == ("gpt", 4 * MIB, 4 * MIB)


def test_a_grown_gpt_disk_passes(gpt: Path) -> None:
    """An image whose file was made larger after partitioning boots, and would be refused."""
    os.truncate(gpt, 8 * MIB)
    with ImageFile(gpt) as image:
        assert image.disk.table == "gpt"


def test_an_mbr_disk_passes(tmp_path: Path) -> None:
    """Images for BIOS boot would be refused."""
    with ImageFile(disk_file(tmp_path / "mbr.raw")) as image:
        assert image.disk.table == "mbr"


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("vhdx", "subformat=dynamic", "VHDX"),
        ("vmdk", "subformat=monolithicSparse", "VMDK"),
        ("vmdk", "subformat=streamOptimized", "VMDK"),
        ("vdi", "static=on", "VDI"),
    ],
)
def test_a_container_that_is_not_read_is_refused(gpt: Path, kind: str, options: str, name: str) -> None:
    """The container's own bytes would become the disk, and no machine would boot from it."""
    path = gpt.with_suffix(f".{kind}")
    command = ["qemu-img", "convert", "-f", "raw", "-O", kind, "-o", options, str(gpt), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    refused(path, f" is a {name} file, not a raw disk: convert it with `qemu-img convert -O raw ")


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [("qcow2", "qcow2", "compat=1.1"), ("VHD", "vpc", "subformat=dynamic"), ("VHD", "vpc", "subformat=fixed")],
)
def test_a_container_in_a_container_is_refused(gpt: Path, name: str, kind: str, options: str) -> None:
    """What the outer one holds would become the disk, which is a file's bytes and boots nowhere."""
    inner, outer = gpt.with_name("inner"), gpt.with_name("outer")
    for source, path, to, chosen in ((gpt, inner, kind, options), (inner, outer, "qcow2", "compat=1.1")):
        command = ["qemu-img", "convert", "-f", "raw", "-O", to, "-o", chosen, str(source), str(path)]
        subprocess.run(command, check=True, capture_output=True)
    refused(outer, f" is a {name} file, not a raw disk: convert it with `qemu-img convert -O raw ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: build it again"),
        (b"hello", "is too small: it has 5 bytes, but a disk with a partition has at least 1048576"),
        (
            disk_bytes(["data"], 2 * MIB)[:-1],
            "is truncated or not a disk: its size, 2097151 bytes, is not a multiple of 512",
        ),
        (bytes(2 * MIB), "is not a disk: it has no partition table"),
        (gzip.compress(bytes(2 * MIB)), "is compressed with gzip, not a raw disk: unpack it with gunzip"),
        (b"\xfd7zXZ\0" + bytes(2 * MIB), "is compressed with xz"),
        (b"\x28\xb5\x2f\xfd" + bytes(2 * MIB), "is compressed with zstd"),
        (bytes(32_769) + b"CD001" + bytes(2 * MIB), "is an ISO 9660 CD"),
        (bytes(4096) + b"EFI PART" + bytes(2 * MIB - 4104), "is partitioned for 4096-byte sectors"),
        # A file system with no partition around it: boot code where the table would be.
        (bytes(range(2, 256)) * 2 + b"\0\0\x55\xaa" + bytes(2 * MIB - 512), "has no partition table"),
        (b"QED\0" + bytes(2 * MIB - 4), "is a QED file, not a raw disk: convert it with"),
        (b"WithoutFreeSpace" + bytes(2 * MIB - 16), "is a Parallels file, not a raw disk: convert it with"),
        (bytes(257) + b"ustar\0" + bytes(2 * MIB - 263), "is a tar archive, not a raw disk: unpack it with tar"),
        (bytes(512) + b"LABELONE" + bytes(2 * MIB - 520), "it is an LVM physical volume without a partition table"),
    ],
    ids=[
        "empty",
        "small",
        "odd",
        "zeros",
        "gzip",
        "xz",
        "zstd",
        "iso",
        "4096",
        "boot code",
        "qed",
        "prl",
        "tar",
        "lvm",
    ],
)
def test_what_is_no_disk_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """A wrong file would be noticed only when the machines made from it never answer."""
    path = tmp_path / "x.img"
    path.write_bytes(content)
    refused(path, message)


def test_a_cut_off_disk_is_refused(gpt: Path, tmp_path: Path) -> None:
    """Half a download would be uploaded as an image, and fail at boot or, worse, later."""
    os.truncate(gpt, 3 * MIB)
    refused(gpt, "is truncated: its GPT describes a disk of at least 4194304 bytes, but it has 3145728")
    mbr = disk_file(tmp_path / "mbr.raw")
    os.truncate(mbr, 2 * MIB)
    refused(mbr, "is truncated: its partitions end at byte 2621952, but it has 2097152")


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (512 + 40, "the header's checksum is wrong"),
        (512 + 12, "its header is not valid"),
        (1024 + 32, "the checksum of its entries is wrong"),
        (512, "a protective MBR, but no GPT header"),
    ],
)
def test_a_damaged_gpt_is_refused(gpt: Path, at: int, message: str) -> None:
    """A broken partition table would be noticed only when the machines never boot."""
    content = bytearray(gpt.read_bytes())
    content[at] ^= 0x55
    gpt.write_bytes(content)
    refused(gpt, message)


@pytest.mark.disks
def test_a_gpt_with_many_entries_passes(tmp_path: Path) -> None:
    """A table that is longer than what is read of it would be called damaged."""
    assert look(partitioned(tmp_path / "x.raw", "--resize-table=1024", "--new=1:2048:0").read_bytes()) == "gpt"


def test_a_disk_larger_than_any_volume_is_refused(gpt_bytes: bytes) -> None:
    """The size would be refused by EC2, which does not know of the image."""
    with pytest.raises(InputError, match="x is too large: it needs a volume of 65537 GiB, and the largest has 65536"):
        inspect(gpt_bytes[:HEAD_BYTES], gpt_bytes[-TAIL_BYTES:], (65_536 << 30) + 512, name="x")


@pytest.mark.disks
def test_a_disk_without_partitions_is_refused(tmp_path: Path) -> None:
    """An image whose build made the table and then nothing would be deployed."""
    refused(partitioned(tmp_path / "x.raw", "--clear"), "has an empty partition table")


@pytest.mark.disks
@pytest.mark.parametrize(
    ("command", "what"),
    [
        (("mkfs.ext4", "-q", "-F"), "an ext2, ext3 or ext4 file system"),
        (("mkswap",), "swap space"),
        (("mformat", "-T", "8192", "::", "-i"), "a FAT file system"),
    ],
    ids=["ext4", "swap", "FAT"],
)
def test_a_data_volume_is_a_disk_only_if_it_is_asked_for(tmp_path: Path, command: tuple[str, ...], what: str) -> None:
    """A file system in place of a disk would be deployed; or a data volume, which coldsnap takes, could not be sent."""
    path = tmp_path / "data.img"
    path.write_bytes(bytes(4 * MIB))
    found = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
    subprocess.run([*command, str(path)], check=True, capture_output=True, env=found)
    refused(path, f"is not a disk: it is {what} without a partition table; use a whole disk image .*--data")
    with ImageFile(path, data=True) as image:
        assert (image.disk.table, image.disk.size) == ("none", 4 * MIB)
    assert identify(path, data=True).startswith("sha256:")


def test_a_data_volume_may_be_small_and_without_a_mark_but_is_no_container(tmp_path: Path) -> None:
    """What one sends as data would be judged as a system; or a container's own bytes be sent all the same."""
    path = tmp_path / "data.img"
    for content in (b"\x01" * 1024, bytes(4096), bytes(32_769) + b"CD001" + bytes(32_762)):
        path.write_bytes(content)
        with ImageFile(path, data=True) as image:
            assert image.size == len(content)
    for content, message in (
        (gzip.compress(os.urandom(4096)).ljust(8192), "is compressed with gzip"),
        (b"vhdxfile" + bytes(504), "is a VHDX file"),
        (b"x" * 513, "is truncated or not a disk"),
        (b"", "is empty"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            ImageFile(path, data=True)


def test_a_stale_mark_does_not_matter_on_a_partitioned_disk(tmp_path: Path) -> None:
    """A disk that was formatted before it was partitioned would be refused."""
    path = tmp_path / "x.raw"
    content = bytearray(disk_bytes(["data"], 2 * MIB))
    content[1080:1082] = b"\x53\xef"
    path.write_bytes(content)
    with ImageFile(path) as image:
        assert (image.disk.table, image.disk.unbootable) == ("mbr", None)


@pytest.mark.disks
@pytest.mark.parametrize(
    ("kind", "reason"),
    [("ef00", None), ("0700", None), ("8300", "has no EFI system partition"), ("ef02", "has no EFI system partition")],
)
def test_a_disk_that_uefi_cannot_boot_is_told(tmp_path: Path, kind: str, reason: str | None) -> None:
    """An image made for BIOS would be deployed, and its machines never answer."""
    path = partitioned(tmp_path / "x.raw", "--new=1:2048:0", f"--typecode=1:{kind}")
    with ImageFile(path) as image:
        found = image.disk
    assert found.unbootable == reason
    if reason is not None:
        with pytest.raises(InputError, match=f"^image x.raw {reason}: machines boot with UEFI"):
            refuse_unbootable(found, name="x.raw")


def test_a_gpt_without_its_protective_mbr_is_told(gpt: Path, gpt_bytes: bytes) -> None:
    """No firmware believes such a table: the machines would end in the firmware's shell."""
    with ImageFile(gpt) as image:
        refuse_unbootable(image.disk, name="x")
    gpt.write_bytes(bytes(512) + gpt_bytes[512:])
    with ImageFile(gpt) as image:
        assert image.disk.unbootable == "has a GPT without a protective MBR, so its partitions are not recognized"


def test_an_mbr_disk_needs_an_efi_partition_too(tmp_path: Path) -> None:
    """A BIOS disk with an MBR, as older images have it, would be deployed."""
    path = disk_file(tmp_path / "x.raw")
    content = bytearray(path.read_bytes())
    content[450] = 0x83
    path.write_bytes(content)
    with ImageFile(path) as image:
        assert image.disk.unbootable == "has no EFI system partition"


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """A wrong path would end in a traceback, or in waiting for a pipe's writer."""
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path, "is a directory: name the disk image in it")
    refused(tmp_path / "none.raw", "does not exist: build it, or correct the path")
    refused(tmp_path / "pipe", "is not a regular file: use the path of a disk image file")


def test_the_identity_is_what_sha256sum_says(gpt: Path) -> None:
    """Nobody could compare a snapshot's tag with a file, and padding would make two images one."""
    said = subprocess.run(["sha256sum", str(gpt)], check=True, capture_output=True, text=True).stdout.split()[0]
    assert identify(gpt) == f"sha256:{said}"


marks = st.sampled_from(
    [b"EFI PART", b"QFI\xfb", b"conectix", b"vhdxfile", b"KDMV", b"\x1f\x8b", b"CD001", b"\x55\xaa", b"\xee", bytes(64)]
)
places = st.sampled_from([0, 64, 446, 450, 510, 512, 1024, 4096, 32_769, 65_000])


@given(
    head=st.binary(max_size=700),
    patches=st.lists(st.tuples(places, st.one_of(marks, st.binary(max_size=128))), max_size=4),
    size=st.one_of(st.integers(0, 1 << 66), st.sampled_from([512, MIB, MIB + 1, 4 * MIB, 1 << 46])),
)
def test_any_bytes_are_judged_or_refused(head: bytes, patches: list[tuple[int, bytes]], size: int) -> None:
    """A crafted or broken header would end in a traceback instead of a line that names the remedy."""
    content = bytearray(head.ljust(HEAD_BYTES, b"\0"))
    for at, magic in patches:
        content[at : at + len(magic)] = magic
    judged(bytes(content[: min(size, HEAD_BYTES)]), size)


@given(
    header_size=st.sampled_from([92, 512, 0, 600]),
    lbas=st.lists(st.integers(0, (1 << 64) - 1) | st.integers(0, 9000), min_size=4, max_size=4),
    entries=st.tuples(*(st.integers(0, (1 << width) - 1) | st.integers(0, 200) for width in (64, 32, 32, 32))),
)
def test_any_gpt_header_is_judged_or_refused(
    header_size: int, lbas: list[int], entries: tuple[int, int, int, int]
) -> None:
    """A header whose own checksum is right, but whose numbers are absurd, would crash or eat all memory."""

    def header(crc: int) -> bytes:
        values = (b"EFI PART", 0x10000, header_size, crc, 0, 1, *lbas[:3], bytes(16), *entries)
        return struct.pack("<8sIIIIQQQQ16sQIII", *values).ljust(512, b"\0")

    content = bytes(512) + header(zlib.crc32(header(0)[:header_size]))
    judged(content.ljust(HEAD_BYTES, b"\0"), 4 * MIB)


def judged(head: bytes, size: int) -> None:
    try:
        disk = inspect(head, head[-TAIL_BYTES:], size, name="x.raw")
    except InputError as error:
        # Most of the examples are refused, not all, so `pytest.raises` does not fit.
        assert re.fullmatch(r"image x\.raw [^\n]+", str(error))  # noqa: PT017
    else:
        assert disk.size == size
        assert size % 512 == 0
