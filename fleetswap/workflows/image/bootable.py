"""Looks into an image for what firmware starts, and refuses one from which no machine of its AMI would boot."""

from __future__ import annotations

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
        names = fat.names(_reader(image, start, length), boot.FOLDER)
        if names is None:
            return None
        found |= names
    return frozenset(found) if image.disk.efi else None


def _reader(image: ImageFile, start: int, length: int) -> fat.Read:
    limit = min(start + length, image.size)

    @lru_cache(maxsize=BLOCKS_KEPT)
    def block(index: int) -> bytes:
        into = bytearray(BLOCK_SIZE)
        image.read(index, into)
        return bytes(into)

    def read(offset: int, size: int) -> bytes:
        begin, end = start + offset, min(start + offset + size, limit)
        found = b"".join(block(index) for index in range(begin // BLOCK_SIZE, -(-end // BLOCK_SIZE)))
        return found[begin % BLOCK_SIZE :][: max(0, end - begin)]

    return read
