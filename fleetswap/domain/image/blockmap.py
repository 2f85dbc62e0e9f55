"""The block map: what each snapshot has at the end of its volume, so that the next image can be sent as a difference.

It decides where the map is, what it says, and whether a map that was read can be trusted. It never reads or sends.

Version 1. The map fills whole blocks, and its last block is the last one of the volume, so it can be found from the
snapshot alone:

    image blocks 0 … n-1 | (unused) | manifest | entries, 32 bytes each | zeros | header, 4096 bytes | end of the volume

An entry is the SHA-256 of the image's block with that index, as EBS has it (the last block is padded with zeros), or 32
zero bytes if the snapshot does not have the block (a hole that was skipped). The header names the snapshot that the map
describes. A snapshot of a *volume* contains its ancestor's map, which is stale, and a copy has another ID; neither is
trusted. The header names the image too, so no snapshot is taken for an image only because of its tags, which may be
copied.

The header, big-endian: magic (16 bytes), version, block size (4 each), image size, block count, map blocks (8 each),
the snapshot's ID (64, padded with zeros), SHA-256 of everything before the header, SHA-256 of the image's identity
(zeros in the maps of the first Fleetswap versions), size and SHA-256 of the manifest (8 and 32; zeros without one),
zeros, and in the last 32 bytes SHA-256 of the header before it. So a change of any byte is detected, and each refusal
says which check failed.

The manifest (`fleetswap.domain.image.manifest`) fills whole blocks too, right before the entries. Only the header leads
to it: what an ancestor left there is never taken for this snapshot's. It came later, where all had zeros, so older
versions read such a map as any other.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.blocks import BLOCK_SIZE, DIGEST_SIZE, GIB, MAX_VOLUME_GIB, block_count

VERSION = 1
"""Raised with every change of the format. A reader takes its own version only: else, a full upload."""

MAGIC = b"fleetswap blocks"
HEADER_SIZE = 4_096
NOT_THERE = bytes(DIGEST_SIZE)
"""The entry of a block that the snapshot does not have."""

BLOCKS_PER_GIB = GIB // BLOCK_SIZE

UNNAMED = bytes(DIGEST_SIZE)
"""In place of the image's name in a map that has none."""

_HEADER = struct.Struct(">16sIIQQQ64s32s32sQ32s")
_CHECKED = HEADER_SIZE - DIGEST_SIZE


class BadMap(Exception):
    """The map cannot be believed; the message says why, in words that follow "its block map"."""


class NoMap(BadMap):
    """There is none that this version can judge by, though nothing is damaged: none at all, a newer or another's."""


@dataclass(frozen=True)
class Layout:
    """Where an image and its map lie on a volume. The volume is the smallest, in whole GiB, that holds both."""

    size: int
    """Bytes of the image."""

    count: int
    """Blocks of the image: 0 to count - 1."""

    map_blocks: int
    volume_gib: int

    @property
    def map_first(self) -> int:
        """Index of the map's first block."""
        return self.volume_gib * BLOCKS_PER_GIB - self.map_blocks

    @property
    def map_indexes(self) -> range:
        """Indexes of the map's blocks."""
        return range(self.map_first, self.map_first + self.map_blocks)

    @property
    def free(self) -> int:
        """Blocks between the image and its map. The volume is never made larger for what could be there."""
        return self.map_first - self.count


def layout(size: int) -> Layout:
    """The layout of an image of `size` bytes. `InputError` if no volume holds it with its map (64 TiB less 4 GiB)."""
    count = block_count(size)
    map_blocks = map_block_count(count)
    volume_gib = -(-(count + map_blocks) // BLOCKS_PER_GIB)
    if volume_gib > MAX_VOLUME_GIB:
        raise InputError(
            f"an image of {size} bytes is too large: with its block map it needs a volume of {volume_gib} GiB, and the"
            f" largest has {MAX_VOLUME_GIB}"
        )
    return Layout(size, count, map_blocks, volume_gib)


def name_of(identity: str) -> bytes:
    """How a map names the image of this identity: always 32 bytes, however long a store path is."""
    return hashlib.sha256(identity.encode()).digest()


def map_block_count(count: int) -> int:
    """Blocks that the map of an image of `count` blocks takes."""
    return block_count(count * DIGEST_SIZE + HEADER_SIZE)


def last_block(volume_gib: int) -> int:
    """Index of a volume's last block, which holds the header."""
    return volume_gib * BLOCKS_PER_GIB - 1


@dataclass(frozen=True)
class Sealed:
    """The manifest of a snapshot as its header states it: bytes, and SHA-256 of the whole blocks that they fill."""

    size: int = 0
    digest: bytes = bytes(DIGEST_SIZE)

    @property
    def blocks(self) -> int:
        """Blocks that it fills; 0: there is none."""
        return block_count(self.size)


NO_MANIFEST = Sealed()
"""Of a snapshot without a manifest, as all that older versions made."""


@dataclass(frozen=True)
class Header:
    """What the header says of the image and of the map. Read it with `read_header`."""

    size: int
    count: int
    map_blocks: int
    entries_digest: bytes
    image: bytes
    """See `BlockMap.image`."""

    manifest: Sealed = NO_MANIFEST


@dataclass(frozen=True)
class BlockMap:
    """The digests of an image's blocks in the snapshot `snapshot_id`."""

    snapshot_id: str
    size: int
    digests: bytes | bytearray | memoryview
    """32 bytes a block, in order."""

    image: bytes = UNNAMED
    """The image that the snapshot was made of: `name_of` its identity."""

    manifest: Sealed = NO_MANIFEST

    @property
    def count(self) -> int:
        """Blocks of the image."""
        return len(self.digests) // DIGEST_SIZE

    def digest(self, index: int) -> bytes | None:
        """The digest of a block of the image, None if the snapshot does not have it. `IndexError` past the image."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        entry = bytes(self.digests[index * DIGEST_SIZE : (index + 1) * DIGEST_SIZE])
        return None if entry == NOT_THERE else entry


class Encoded:
    """A map as blocks to be written, made one at a time: an image of 64 GiB has 4 MiB of entries already."""

    def __init__(self, block_map: BlockMap) -> None:
        """Reads all of the map once, for its checksum; it must not change afterwards."""
        count = block_count(block_map.size)
        if block_map.count != count:
            raise ValueError(f"{block_map.count} digests for {count} blocks")
        snapshot_id = block_map.snapshot_id.encode("ascii")
        if not 0 < len(snapshot_id) <= 64:
            raise ValueError(f"the snapshot's id {block_map.snapshot_id!r} is empty or too long")
        self.count = map_block_count(count)
        self._entries = memoryview(block_map.digests)
        checksum = hashlib.sha256(self._entries)
        checksum.update(bytes(self.count * BLOCK_SIZE - HEADER_SIZE - len(self._entries)))
        entries = checksum.digest()
        sizes = (VERSION, BLOCK_SIZE, block_map.size, count, self.count)
        manifest = (block_map.manifest.size, block_map.manifest.digest)
        header = _HEADER.pack(MAGIC, *sizes, snapshot_id, entries, block_map.image, *manifest)
        header = header.ljust(_CHECKED, b"\0")
        self._header = header + hashlib.sha256(header).digest()

    def fill(self, number: int, into: bytearray) -> None:
        """Write the map's block of this number (from 0) into a buffer of one block."""
        entries = self._entries[number * BLOCK_SIZE : (number + 1) * BLOCK_SIZE]
        into[:] = bytes(entries).ljust(BLOCK_SIZE, b"\0")
        if number == self.count - 1:
            into[-HEADER_SIZE:] = self._header


def manifest_first(of: Header | BlockMap, volume_gib: int) -> int:
    """Index of the first block of the manifest that a header or a map states."""
    return volume_gib * BLOCKS_PER_GIB - map_block_count(of.count) - of.manifest.blocks


def read_header(block: bytes | bytearray, *, snapshot_id: str, volume_gib: int) -> Header:
    """What the last block of a snapshot's volume says. `BadMap` unless it is a map of exactly this snapshot."""
    if len(block) != BLOCK_SIZE:
        raise BadMap(f"is truncated: its last block has {len(block)} bytes")
    header = bytes(block[-HEADER_SIZE:])
    fields = _HEADER.unpack_from(header)
    magic, version, block_size, size, count, map_blocks, named, entries, image, *sealed = fields
    if magic != MAGIC:
        raise NoMap("is missing")
    if hashlib.sha256(header[:_CHECKED]).digest() != header[_CHECKED:]:
        raise BadMap("is damaged: the checksum of its header is wrong")
    if version != VERSION:
        raise NoMap(f"has version {version}, but this Fleetswap reads version {VERSION}")
    described = named.rstrip(b"\0").decode("ascii", "replace")
    if described != snapshot_id:
        raise NoMap(f"belongs to {described}: the snapshot was made from a volume, or is a copy")
    manifest = Sealed(*sealed)
    sound = (
        block_size == BLOCK_SIZE
        and size > 0
        and count == block_count(size)
        and map_blocks == map_block_count(count)
        and count + manifest.blocks + map_blocks <= volume_gib * BLOCKS_PER_GIB
    )
    if not sound:
        raise BadMap("is damaged: its sizes contradict each other or the volume")
    return Header(size, count, map_blocks, entries, image, manifest)


def decode(blob: bytes | bytearray, *, snapshot_id: str, volume_gib: int) -> BlockMap:
    """The map in the last blocks of a snapshot's volume, joined in order. `BadMap` unless all of it checks."""
    header = read_header(blob[-BLOCK_SIZE:], snapshot_id=snapshot_id, volume_gib=volume_gib)
    if len(blob) != header.map_blocks * BLOCK_SIZE:
        raise BadMap(f"is truncated: it has {len(blob)} bytes instead of {header.map_blocks * BLOCK_SIZE}")
    if hashlib.sha256(memoryview(blob)[:-HEADER_SIZE]).digest() != header.entries_digest:
        raise BadMap("is damaged: the checksum of its entries is wrong")
    digests = memoryview(blob)[: header.count * DIGEST_SIZE]
    return BlockMap(snapshot_id, header.size, digests, header.image, header.manifest)
