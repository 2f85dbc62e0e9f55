"""Makes the disk images that are uploaded, and knows what a snapshot of one must hold.

It decides their layout: random data, so that nothing can be saved by compressing or by finding two blocks alike, behind
a partition table, so that they pass for disks. It never reads an image of a user.
"""

from __future__ import annotations

import hashlib
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

BLOCK = 512 * 1024
GIB = 1 << 30
BLOCKS_A_GIB = GIB // BLOCK
ZERO_DIGEST = hashlib.sha256(bytes(BLOCK)).digest()
ABSENT = bytes(32)
"""What the server says of a block that a snapshot does not have."""

_CHUNK = 8 * 1024 * 1024
_SECTOR = 512


def dense(path: Path) -> None:
    """1 GiB of data."""
    _write(path, GIB, lambda _: True)


def sparse(path: Path) -> None:
    """4 GiB, of which 1 GiB is data, in runs of 16 MiB with holes of 48 MiB between them."""
    _write(path, 4 * GIB, lambda chunk: chunk % 8 < 2)


def large(path: Path) -> None:
    """64 GiB, of which 1 GiB is data, in runs of 8 MiB spread over all of it; the rest are holes."""
    _write(path, 64 * GIB, lambda chunk: chunk % 64 == 0)


def changed(path: Path, parent: Path) -> None:
    """The parent with one byte changed in 1 % of its blocks, chosen at random with a fixed seed."""
    count = parent.stat().st_size // BLOCK
    dice = random.Random(1)  # noqa: S311 (the same blocks in each run)
    with parent.open("rb") as source, path.open("wb") as file:
        while data := source.read(_CHUNK):
            file.write(data)
        for index in dice.sample(range(1, count), count // 100):
            file.seek(index * BLOCK + dice.randrange(BLOCK - 1))
            file.write(b"\0\1")  # two bytes: one alone could be what was there
        _sync(file.fileno())


def _write(path: Path, size: int, has_data: Callable[[int], bool]) -> None:
    with path.open("wb") as file:
        file.truncate(size)
        for chunk in range(size // _CHUNK):
            if has_data(chunk):
                file.seek(chunk * _CHUNK)
                file.write(os.urandom(_CHUNK))
        file.seek(0)
        file.write(partition_table(size))
        file.flush()
        _sync(file.fileno())


def _sync(fd: int) -> None:
    os.fsync(fd)  # now, and not while something is measured


def partition_table(size: int) -> bytes:
    """A master boot record with one Linux partition, from 1 MiB to the end (UEFI 2.10, table 5.2)."""
    first = (1 << 20) // _SECTOR
    entry = struct.pack("<B3sB3sII", 0, bytes(3), 0x83, bytes(3), first, size // _SECTOR - first)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def digests(path: Path) -> list[bytes]:
    """The SHA-256 of each block. Reads no holes."""
    count = path.stat().st_size // BLOCK
    found = [ZERO_DIGEST] * count
    with path.open("rb") as file:
        for index in _with_data(file.fileno(), count):
            file.seek(index * BLOCK)
            found[index] = hashlib.sha256(file.read(BLOCK)).digest()
    return found


def _with_data(fd: int, count: int) -> Iterator[int]:
    done, position = 0, 0
    while position < count * BLOCK:
        try:
            begin = os.lseek(fd, position, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole up to the end
            return
        position = os.lseek(fd, begin, os.SEEK_HOLE)
        first = max(done, begin // BLOCK)
        done = -(-position // BLOCK)
        yield from range(first, done)


def difference(wanted: list[bytes], held: bytes, *, zeros_may_lack: bool) -> str:
    """What is wrong with a snapshot that should hold the blocks `wanted`; empty if nothing. More blocks are no wrong.

    `held` is what `Server.digests` says. With `zeros_may_lack`, a block of zeros need not be in it.
    """
    for index, digest in enumerate(wanted):
        there = held[index * 32 : index * 32 + 32] or ABSENT
        if there == digest or (zeros_may_lack and there == ABSENT and digest == ZERO_DIGEST):
            continue
        return f"block {index} of the snapshot is {'missing' if there == ABSENT else 'not that of the image'}"
    return ""
