"""Disk images for the tests of the formats: made by qemu-img, read by us and by qemu-img."""

from __future__ import annotations

import subprocess
from pathlib import Path

from fleetswap.domain.image import vhd
from fleetswap.domain.image.blocks import block_count
from fleetswap.workflows.image.image_file import ImageFile
from tests.fakes.ebs import BLOCK, disk_bytes

MIB = 1 << 20


def qemu(tool: str, *arguments: str | Path) -> str:
    """What `qemu-img` or `qemu-io` prints; fails if it fails."""
    done = subprocess.run([f"qemu-{tool}", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def raw_file(path: Path, size: int) -> Path:
    """A raw disk with all that converters treat differently: random bytes, zeros, scattered sectors, holes."""
    path.write_bytes(disk_bytes(["data", "zero", "same"], min(size, 3 * BLOCK)))
    with path.open("r+b") as file:
        for at in range(3 * BLOCK, size - 5000, 700_000):
            file.seek(at)
            file.write(b"scattered" * 500)
        file.truncate(size)
    return path


def convert(raw: Path, to: Path, kind: str, options: str = "", *flags: str) -> Path:
    """`raw` in another format."""
    chosen = ["-o", options] if options else []
    qemu("img", "convert", "-f", "raw", "-O", kind, *chosen, *flags, raw, to)
    return to


def qemu_bytes(path: Path, kind: str) -> bytes:
    """The disk in `path` as qemu-img reads it.

    Before 10.0 it took the geometry of a VHD for its size unless it knew the creator, as it does now only with two of
    them (QEMU, block/vpc.c). So that any version is a judge here, it is told to do as the later ones.
    """
    to = path.with_name(path.name + ".converted")
    options = f"driver={kind},file.filename={path}"
    if kind == "vpc" and path.read_bytes()[-512 + 28 : -512 + 32] not in vhd.BY_GEOMETRY:
        options += ",force_size_calc=current_size"
    qemu("img", "convert", "--image-opts", options, "-O", "raw", to)
    try:
        return to.read_bytes()
    finally:
        to.unlink()


def agrees_with_qemu(disk: bytes, path: Path, kind: str) -> bool:
    """Whether qemu-img reads the same from a damaged file, or refuses it.

    It refuses more than we do: what only writers need, such as refcounts, and entries past the disk's end.
    """
    try:
        return disk == qemu_bytes(path, kind)
    except AssertionError as error:
        if "Could not open" in str(error) or "error while reading" in str(error):
            return True
        raise


def read_disk(path: Path) -> bytes:
    """The disk in `path` as we read it, with every promise of `BlockSource` about it checked on the way."""
    disk = bytearray()
    with ImageFile(path) as image:
        for index in range(block_count(image.size)):
            block = bytearray(b"\xee" * BLOCK)
            image.read(index, block)
            if image.is_hole(index):
                assert image.is_zero(index)
            if image.is_zero(index):
                assert not any(block), f"block {index} is said to be zero"
            disk += block
        assert not any(disk[image.size :]), "past the end there must be zeros"
        return bytes(disk[: image.size])


def patch(path: Path, at: int, data: bytes) -> Path:
    """Overwrite some bytes of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    return path
