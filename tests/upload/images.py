"""Disk images for the tests of the formats: made by qemu-img, read by us and by qemu-img."""

from __future__ import annotations

import subprocess
from pathlib import Path

from fleetswap.domain.blocks import block_count
from fleetswap.workflows.image_file import ImageFile
from tests.upload.fake import BLOCK, disk_bytes

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
    """The disk in `path` as qemu-img reads it."""
    to = path.with_name(path.name + ".converted")
    qemu("img", "convert", "-f", kind, "-O", "raw", path, to)
    try:
        return to.read_bytes()
    finally:
        to.unlink()


def read_disk(path: Path) -> bytes:
    """The disk in `path` as we read it, with every promise of `Source` about it checked on the way."""
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
