"""Disk images of every format: the bytes are those that qemu-img reads, from any thread, and holes are holes."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.image import disk
from fleetswap.domain.image.blocks import block_count
from fleetswap.domain.image.qcow2 import OFFSET_MASK
from fleetswap.workflows.image.image_file import ImageFile, identify
from tests.fakes.ebs import BLOCK, disk_bytes, disk_file
from tests.image.images import MIB, convert, patch, qemu, qemu_bytes, raw_file, read_disk

pytestmark = pytest.mark.disks

CLUSTERS = ("512", "4k", "64k", "512k", "1M", "2M")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No size of it is a multiple of a block or of any cluster but the smallest."""
    return raw_file(tmp_path_factory.mktemp("raw") / "disk.raw", 5 * MIB + 3 * 512)


def holes(path: Path) -> str:
    """A letter for each block: hole, zero (known, but no hole), or data."""
    with ImageFile(path) as image:
        return "".join(
            "h" if image.is_hole(index) else "z" if image.is_zero(index) else "d"
            for index in range(block_count(image.size))
        )


@pytest.mark.parametrize("flags", [(), ("-c",)], ids=["plain", "compressed"])
@pytest.mark.parametrize("size", CLUSTERS)
@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_qcow2_is_read_as_qemu_reads_it(
    raw: Path, tmp_path: Path, compat: str, size: str, flags: tuple[str, ...]
) -> None:
    """An image of another cluster size or version would become a disk of wrong bytes."""
    path = convert(raw, tmp_path / "x.qcow2", "qcow2", f"compat={compat},cluster_size={size}", *flags)
    assert read_disk(path) == raw.read_bytes()


@pytest.mark.parametrize("preallocation", ["metadata", "falloc", "full"])
def test_a_preallocated_qcow2_is_read(raw: Path, tmp_path: Path, preallocation: str) -> None:
    """What was reserved and never written would be read as garbage, or taken for a hole of the disk."""
    path = convert(raw, tmp_path / "x.qcow2", "qcow2", f"preallocation={preallocation},lazy_refcounts=on")
    assert read_disk(path) == raw.read_bytes()


@pytest.mark.parametrize("force_size", ["on", "off"])
@pytest.mark.parametrize("subformat", ["fixed", "dynamic"])
def test_vhd_is_read_as_qemu_reads_it(raw: Path, tmp_path: Path, subformat: str, force_size: str) -> None:
    """An image would lose its end, or get the file's own bytes, because VHD says its size in two ways."""
    path = convert(raw, tmp_path / "x.vhd", "vpc", f"subformat={subformat},force_size={force_size}")
    content = read_disk(path)
    assert content == qemu_bytes(path, "vpc")
    # Without force_size qemu-img rounds the disk up to whole cylinders.
    assert content[: raw.stat().st_size] == raw.read_bytes()
    assert (len(content) == raw.stat().st_size) == (force_size == "on")


def test_a_vhd_of_several_blocks_is_read(tmp_path: Path) -> None:
    """Only the first 2 MiB of a dynamic VHD would be right."""
    source = raw_file(tmp_path / "x.raw", 17 * MIB)
    with source.open("r+b") as file:
        file.seek(9 * MIB)
        file.write(random.Random(1).randbytes(5 * MIB))  # noqa: S311 (content, not a secret)
        os.posix_fallocate(file.fileno(), 14 * MIB, MIB)
    path = convert(source, tmp_path / "x.vhd", "vpc", "subformat=dynamic,force_size=on")
    assert read_disk(path) == source.read_bytes()
    assert identify(path) == identify(source)


@pytest.mark.parametrize(("kind", "flags"), [("raw", ()), ("qcow2", ()), ("qcow2", ("-c",)), ("vpc", ())])
def test_the_identity_is_of_the_disk(raw: Path, tmp_path: Path, kind: str, flags: tuple[str, ...]) -> None:
    """The same disk in another file would be another release, and the tag could not be compared with sha256sum."""
    options = "subformat=fixed,force_size=on" if kind == "vpc" else ""
    path = convert(raw, tmp_path / "x", kind, options, *flags)
    assert identify(path) == f"sha256:{hashlib.sha256(raw.read_bytes()).hexdigest()}"
    with ImageFile(path) as image:
        assert (image.format, image.size) == ("vhd" if kind == "vpc" else kind, raw.stat().st_size)


def test_the_active_state_is_read_and_not_a_snapshot(raw: Path, tmp_path: Path) -> None:
    """An older state of the disk, or a mix of two, would be uploaded."""
    path = convert(raw, tmp_path / "x.qcow2", "qcow2")
    qemu("img", "snapshot", "-c", "before", path)
    qemu("io", "-f", "qcow2", "-c", "write -P 0x5a 1M 200k", path)
    qemu("img", "snapshot", "-c", "between", path)
    qemu("io", "-f", "qcow2", "-c", "write -P 0xa5 1100k 64k", path)
    content = read_disk(path)
    assert content == qemu_bytes(path, "qcow2")
    assert content != raw.read_bytes()


def test_zeros_that_were_written_are_no_holes(tmp_path: Path) -> None:
    """`sparse: holes` would skip them, and an encrypted volume would have garbage where zeros were written."""
    source = disk_file(tmp_path / "x.raw", ["data"], 6 * BLOCK)
    patch(source, 4 * BLOCK, bytes(2 * BLOCK))
    path = convert(source, tmp_path / "x.qcow2", "qcow2")
    assert holes(path) == "ddddhh"
    for command in (f"write -z {BLOCK} {BLOCK}", f"write -z -u {2 * BLOCK} {BLOCK}", f"write -z {4 * BLOCK} {BLOCK}"):
        qemu("io", "-f", "qcow2", "-c", command, path)
    assert holes(path) == "dzzdzh"
    assert read_disk(path) == qemu_bytes(path, "qcow2")


def test_a_hole_is_a_whole_block_that_was_never_written(tmp_path: Path) -> None:
    """A byte in a hole would be lost; or nothing would ever be skipped."""
    path = tmp_path / "x.raw"
    path.write_bytes(disk_bytes(["data"], 12 * BLOCK - 512)[:BLOCK])
    os.truncate(path, 12 * BLOCK - 512)
    with path.open("r+b") as file:
        file.seek(3 * BLOCK - 1)
        file.write(b"\0")  # zeros are data
        file.seek(6 * BLOCK)
        file.write(b"x")
        os.fsync(file.fileno())
        os.posix_fallocate(file.fileno(), 8 * BLOCK, BLOCK)  # reserved, never written
    if path.stat().st_blocks * 512 >= 12 * BLOCK - 512:
        pytest.skip("this file system has no holes")
    assert holes(path) == "dhdhhhdhhhhh"
    assert read_disk(path) == path.read_bytes()


@pytest.mark.parametrize(("size", "flags"), [("64k", ("-c",)), ("2M", ("-c",)), ("4k", ())])
def test_threads_read_at_once(raw: Path, tmp_path: Path, size: str, flags: tuple[str, ...]) -> None:
    """Connections that read next to each other would get each other's bytes."""
    path = convert(raw, tmp_path / "x.qcow2", "qcow2", f"cluster_size={size}", *flags)
    content = raw.read_bytes()
    with ImageFile(path) as image:
        count = block_count(image.size)

        def read(number: int) -> bool:
            buffer = bytearray(BLOCK)
            index = number % count
            image.read(index, buffer)
            return buffer[: image.size - index * BLOCK] == content[index * BLOCK : (index + 1) * BLOCK]

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(10 * count)))


@pytest.mark.parametrize("kind", ["raw", "qcow2", "vpc"])
def test_a_change_is_noticed(raw: Path, tmp_path: Path, kind: str) -> None:
    """Half of one image and half of another would be uploaded as one."""
    path = convert(raw, tmp_path / "x", kind)
    buffer = bytearray(BLOCK)
    with ImageFile(path) as image:
        image.check_unchanged()
        path.rename(tmp_path / "y")
        image.read(1, buffer)  # the open file is the same
        with pytest.raises(FleetswapError, match=r"changed while it was read: run again"):
            image.check_unchanged()
        patch(tmp_path / "y", 0, b"\0" * 600)
        os.utime(tmp_path / "y", ns=(1, 1))
        with pytest.raises(FleetswapError, match=r"changed while it was read: run again"):
            image.read(1, buffer)


def test_a_file_that_changes_is_not_called_damaged(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs a machine on the image meanwhile would be told to build it again."""
    path = convert(raw, tmp_path / "x", "qcow2", "cluster_size=4k")
    content = path.read_bytes()
    (l1_at,) = struct.unpack_from(">Q", content, 40)
    second = struct.unpack_from(">QQ", content, l1_at)[1] & OFFSET_MASK
    buffer = bytearray(BLOCK)
    with ImageFile(path) as image:  # reads the first and the last table
        patch(path, second, b"\x3f" * 4096)
        os.utime(path, ns=(1, 1))
        with pytest.raises(FleetswapError, match="changed while it was read") as caught:
            image.read(5, buffer)
        assert not isinstance(caught.value, InputError)
    with ImageFile(path) as image, pytest.raises(InputError, match="is a damaged qcow2 file"):
        image.read(5, buffer)

    def write_and_refuse(*_: object, **__: object) -> None:
        os.utime(raw, ns=(2, 2))
        raise InputError("is no disk")

    monkeypatch.setattr(disk, "inspect", write_and_refuse)
    with pytest.raises(FleetswapError, match="changed while it was read"):
        ImageFile(raw)


def test_only_blocks_of_the_disk_are_read(raw: Path) -> None:
    """A wrong index would read as zeros, and a short buffer as a short block."""
    with ImageFile(raw) as image:
        for index in (-1, 11):
            for look in (image.is_hole, image.is_zero, lambda index: image.read(index, bytearray(BLOCK))):
                with pytest.raises(IndexError, match="of a disk of"):
                    look(index)
        with pytest.raises(ValueError, match="a buffer of 5 bytes"):
            image.read(0, bytearray(5))


def test_memory_does_not_grow_with_the_disk(tmp_path: Path) -> None:
    """An image of 60 TiB, or a file that only says so, would take the machine's memory."""
    path = tmp_path / "x.qcow2"
    qemu("img", "create", "-q", "-f", "qcow2", path, "60T")
    start = disk_file(tmp_path / "start", size=2 * MIB)
    qemu("io", "-f", "qcow2", "-c", f"write -s {start} 0 2M", "-c", "write -P 7 30T 4M", path)
    buffer = bytearray(BLOCK)
    tracemalloc.start()
    try:
        with ImageFile(path) as image:
            last = block_count(image.size) - 1
            for index in (0, last // 2, last // 2 + 1, last, *range(0, last, last // 50)):
                image.read(index, buffer)
            assert not image.is_hole(0)
            assert image.is_hole(last)
        assert tracemalloc.get_traced_memory()[1] < 12 * MIB
    finally:
        tracemalloc.stop()
