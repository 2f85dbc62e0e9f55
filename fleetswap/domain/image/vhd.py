"""Reads the headers of VHD files: which disk a file holds, and where its blocks are in the file.

It decides from the bytes that it is given, and never reads a file. All numbers are big-endian. "Spec" is Microsoft's
"Virtual Hard Disk Image Format Specification", version 1.0, 2006.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from fleetswap.domain.errors import InputError

SECTOR = 512
"""Bytes of a sector, the unit of the table and of the bitmaps (spec, "Overview")."""

MAGIC = b"conectix"
"""Begins the footer (spec, "Hard Disk Footer Format": cookie)."""

FOOTER_BYTES = 512
FOOTER = struct.Struct(">8sIIQI4sI4sQQHBBII")
"""Cookie, features, version, data offset, time, creator, its version and system, original and current size, cylinders,
heads, sectors a track, type, checksum; then an id, the saved state, and zeros (spec, "Hard Disk Footer Format")."""

HEADER_BYTES = 1024
HEADER = struct.Struct(">8sQQIIII")
"""Cookie, data offset, table offset, version, entries of the table, block size, checksum; then what only differencing
disks have (spec, "Dynamic Disk Header Format")."""

VERSION = 0x0001_0000
"""Of the footer and of the header of a dynamic disk: the only one there is."""

FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
"""Disk types (spec, "Hard Disk Footer Format": the others are reserved or deprecated)."""

UNUSED = 0xFFFF_FFFF
"""An entry of the table of a block that was never written (spec, "Block Allocation Table and Data Blocks")."""

BLOCK_SIZES = range(512 * 1024, 256 * 1024 * 1024 + 1)
"""Bytes of a block: a power of two. 2 MiB says the spec; Hyper-V also makes 512 KiB. A block of EBS fits in one."""

MAX_SECTORS = 2040 * (1 << 30) // SECTOR
"""The largest disk, 2040 GiB: what sectors numbered in 32 bits can address with bitmaps between them (also QEMU's
limit, block/vpc.c VHD_MAX_SECTORS)."""

MAX_GEOMETRY = 65_535 * 16 * 255
"""Sectors of the largest geometry (spec, "CHS Calculation"): a disk with this one is larger than geometry can say."""

BY_GEOMETRY = (b"vpc ", b"qemu")
"""Creators whose disks are as large as their geometry, not as `current size` says: Virtual PC, and QEMU before it
wrote `qem2` (QEMU 10.0, block/vpc.c vpc_ignore_current_size; its older versions also took creators that they did not
know for such)."""


@dataclass(frozen=True)
class Footer:
    """The footer: type, size of the disk in bytes, and for a dynamic one where its header begins."""

    kind: int
    size: int
    header_at: int


@dataclass(frozen=True)
class Header:
    """The header of a dynamic disk: bytes of a block, bytes of the sector bitmap before each, and the table's place."""

    at: int
    block_size: int
    bitmap_size: int
    table_at: int
    blocks: int
    entries: int
    """Of the table: as many as there are blocks, or more."""

    @property
    def stride(self) -> int:
        """Sectors of a block with its bitmap."""
        return (self.bitmap_size + self.block_size) // SECTOR


def damaged(name: str, why: str) -> InputError:
    """The error for a file that contradicts itself or the specification."""
    return InputError(f"image {name} is a damaged VHD file ({why}): copy or build it again")


def parse_footer(footer: bytes, head: bytes, file_size: int, *, name: str) -> Footer:
    """Say what a VHD file of `file_size` bytes holds, from its last 512 bytes and its first (at least as many).

    The footer at the end is what counts. A dynamic disk has a copy of it at the beginning, which must say the same.
    Raises `InputError` for what is damaged, cut off, or needs another file.
    """
    if not footer.startswith(MAGIC):
        raise damaged(name, "the footer at its end is missing, so it is truncated")
    found = _footer(footer, name, "footer")
    if found.kind == DIFFERENCING:
        raise InputError(
            f"image {name} is a differencing VHD, which contains only what differs from its parent:"
            f" merge the two, or use a dynamic or fixed VHD"
        )
    if found.kind == FIXED:
        if head.startswith(MAGIC):
            raise damaged(name, "it begins like a dynamic disk and ends like a fixed one")
        if found.size > file_size - FOOTER_BYTES:
            raise damaged(name, f"its disk has {found.size} bytes, the file {file_size}, so it is truncated")
    elif found.kind == DYNAMIC:
        if not head.startswith(MAGIC):
            raise damaged(name, "the copy of its footer at its beginning is missing")
        if _footer(head[:FOOTER_BYTES], name, "copy of its footer") != found:
            raise damaged(name, "the copy of its footer differs from it")
        if not FOOTER_BYTES <= found.header_at <= file_size - FOOTER_BYTES - HEADER_BYTES:
            raise damaged(name, "its header is outside the file")
    else:
        raise damaged(name, f"a disk of type {found.kind}, which does not exist")
    return found


def _footer(data: bytes, name: str, what: str) -> Footer:
    if len(data) != FOOTER_BYTES:
        raise damaged(name, "it is truncated")
    fields = FOOTER.unpack_from(data)
    version, header_at, creator, current = fields[2], fields[3], fields[5], fields[9]
    cylinders, heads, sectors_per_track, kind, checksum = fields[10:15]
    # The checksum is the last of the fields that are unpacked.
    if _checksum(data, FOOTER.size - 4) != checksum:
        raise damaged(name, f"the checksum of the {what} is wrong")
    if version != VERSION:
        raise damaged(name, f"the {what} has an unknown version")
    sectors = cylinders * heads * sectors_per_track
    if creator not in BY_GEOMETRY or sectors == MAX_GEOMETRY:
        sectors = current // SECTOR
    if sectors > MAX_SECTORS:
        raise damaged(name, f"a disk of {sectors * SECTOR} bytes, but the format allows at most {MAX_SECTORS * SECTOR}")
    return Footer(kind=kind, size=sectors * SECTOR, header_at=header_at)


def parse_header(data: bytes, footer: Footer, file_size: int, *, name: str) -> Header:
    """Read the header of a dynamic disk, `data` being `HEADER_BYTES` bytes from `footer.header_at`.

    What it returns is safe to act on: the table lies in the file and has at most 4 Mi entries. Raises `InputError`.
    """
    cookie, _, table_at, version, entries, block_size, checksum = HEADER.unpack_from(data)
    if cookie != b"cxsparse":
        raise damaged(name, "its header is missing")
    if _checksum(data, HEADER.size - 4) != checksum:
        raise damaged(name, "the checksum of its header is wrong")
    if version != VERSION:
        raise damaged(name, "its header has an unknown version")
    if block_size not in BLOCK_SIZES or block_size & (block_size - 1):
        raise damaged(name, f"blocks of {block_size} bytes")
    blocks = -(-footer.size // block_size)
    if blocks > entries:
        raise damaged(name, f"its table has {entries} entries, but the disk has {blocks} blocks")
    if not FOOTER_BYTES <= table_at <= file_size - FOOTER_BYTES - 4 * entries:
        raise damaged(name, "its table is outside the file")
    # "The sector bitmap is padded to a 512-byte sector boundary" (spec, "Block Allocation Table and Data Blocks").
    bitmap_size = -(-block_size // SECTOR // 8 // SECTOR) * SECTOR
    return Header(footer.header_at, block_size, bitmap_size, table_at, blocks, entries)


def check_table(table: Sequence[int], rest: Sequence[int], header: Header, file_size: int, *, name: str) -> None:
    """Raise `InputError` if a block lies outside of the file, on another, or on what describes them.

    `table` holds the first sector of each block's bitmap, or `UNUSED`; `rest` is what follows past the disk's end: its
    blocks need only lie in the file, as QEMU has it (block/vpc.c, vpc_open). Needs 4 bytes for each block that fits in
    the file, of which sectors numbered in 32 bits allow 4 Mi.
    """
    stride = header.stride
    end = (file_size - FOOTER_BYTES) // SECTOR
    if any(start != UNUSED and start + stride > file_size // SECTOR for start in rest):
        raise damaged(name, "a block past the disk's end is outside the file, so it may be truncated")
    used = ((0, FOOTER_BYTES), (header.at, HEADER_BYTES), (header.table_at, 4 * len(table)))
    kept = [(at // SECTOR, -(-(at + length) // SECTOR)) for at, length in used]
    # One place for each `stride` sectors of the file. Two blocks that begin in the same place overlap, and one that
    # overlaps another begins in the same place or in one beside it. No block begins at sector 0.
    places = array("I", bytes(4 * (min(end, UNUSED) // stride + 3)))
    for start in table:
        if start == UNUSED:
            continue
        if start + stride > end:
            raise damaged(name, f"a block at sector {start} is outside the file, so it may be truncated")
        if any(start < last and first < start + stride for first, last in kept):
            raise damaged(name, f"a block at sector {start} overlaps its header or table")
        place = start // stride + 1
        before, same, behind = places[place - 1 : place + 2]
        if same or (before and before + stride > start) or (behind and start + stride > behind):
            raise damaged(name, f"a block at sector {start} overlaps another")
        places[place] = start


def _checksum(data: bytes, at: int) -> int:
    """Of `data`: "a one's complement of the sum of all the bytes in the footer without the checksum field" (spec)."""
    return ~(sum(data) - sum(data[at : at + 4])) & 0xFFFF_FFFF
