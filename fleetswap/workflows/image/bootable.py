"""Looks into an image for what firmware starts, and refuses one from which no machine of its AMI would boot."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from fleetswap.domain.image import boot, fat
from fleetswap.domain.image.blocks import BLOCK_SIZE
from fleetswap.domain.image.info import ImageInfo
from fleetswap.workflows.image.image_file import ImageFile

BLOCKS_KEPT = 4
"""A directory and the file system's table are seldom in the same block, and are read in turns."""


def refuse_unbootable(image: ImageFile, info: ImageInfo) -> None:
    """Raise `InputError` as `fleetswap.domain.image.boot` decides; reads little, and changes nothing."""
    boot.refuse_unbootable(image.disk, info, name=str(image.path), found=loaders(image))


def loaders(image: ImageFile) -> frozenset[str] | None:
    """The names in `\\EFI\\BOOT` of all partitions that UEFI may boot from. None if one of them cannot be read: it may
    have what the others have not.
    """
    found: set[str] = set()
    for start, length in image.disk.efi:
        names = fat.names(read_partition(blocks_of(image), start, min(length, image.size - start)), boot.FOLDER)
        if names is None:
            return None
        found |= names
    return frozenset(found) if image.disk.efi else None


def blocks_of(image: ImageFile) -> Callable[[int], bytes]:
    """The blocks of an image, one at a time."""

    def block(index: int) -> bytes:
        into = bytearray(BLOCK_SIZE)
        image.read(index, into)
        return bytes(into)

    return block


def read_partition(block: Callable[[int], bytes], start: int, length: int) -> fat.Read:
    """Reads the partition that begins at `start` and has `length` bytes, out of the blocks of a disk."""
    block = lru_cache(maxsize=BLOCKS_KEPT)(block)

    def read(offset: int, size: int) -> bytes:
        begin, end = start + offset, start + max(offset, min(offset + size, length))
        first = begin // BLOCK_SIZE
        found = [block(index) for index in range(first, -(-end // BLOCK_SIZE))]
        whole = found[0] if len(found) == 1 else b"".join(found)
        return whole[begin - first * BLOCK_SIZE : end - first * BLOCK_SIZE]

    return read
