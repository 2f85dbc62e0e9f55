"""Reads the header of qcow2 files and the entries of their tables: where the bytes of the disk are in the file.

It decides from the bytes that it is given, and never reads a file. All numbers are big-endian. "Spec" is QEMU's
docs/interop/qcow2.rst.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from fleetswap.domain.errors import InputError

MAGIC = b"QFI\xfb"
"""Begins the file (spec, "Header": magic)."""

HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
"""Magic, version, offset and length of the backing file's name, cluster bits, disk size, encryption, entries and offset
of the active L1 table, offset and clusters of the refcount table, number and offset of the snapshots."""

EXTENSION = struct.Struct(">QQQII")
"""Version 3 goes on: incompatible, compatible and auto-clear features, refcount order, length of the header."""

COMPRESSION_AT = HEADER.size + EXTENSION.size
"""Where the compression type stands, one byte, if the header is longer than this."""

HEAD_BYTES = 112
"""How much of the file `parse` wants at least. The header's extensions follow, as far as the first cluster reaches."""

MAX_TABLE_ENTRIES = 4 << 20
"""Of an L1 table, and MAX_REFCOUNT_BYTES of a refcount table, MAX_SNAPSHOTS of internal snapshots with so many bytes of
extra data: QEMU's own limits (block/qcow2.h), so that nothing is read here that `qemu-img` refuses to open."""

REFCOUNTS = "refcount table"
MAX_REFCOUNT_BYTES = 8 << 20
MAX_SNAPSHOTS = 65_536
MAX_EXTRA_BYTES = 1_024
MAX_SNAPSHOT_BYTES = MAX_SNAPSHOTS * 1_024
MAX_REFCOUNT_ORDER = 6

SNAPSHOT = struct.Struct(">QIHHIIQII")
"""Of an internal snapshot: offset and entries of its L1 table, bytes of its id and name, time, clock, state, bytes of
extra data (spec, "Snapshots"). Then come extra data, id and name, and zeros up to a multiple of 8."""

ENDED, BACKING_FORMAT, FULL_ENCRYPTION, BITMAPS = 0, 0xE279_2ACA, 0x0537_BE77, 0x2385_2875
"""Types of header extensions (spec, "Header extensions")."""

CLUSTER_BITS = range(9, 22)
"""512 bytes by the spec to 2 MiB, QEMU's own limit (spec, "Header": cluster_bits)."""

MAX_L1_BYTES = 4 << 20
"""Limit of the L1 table that is read: disks of 16 GiB in clusters of 512 bytes, of 1 TiB in those of 4 KiB, and more
than EBS has in those of 64 KiB. QEMU's own is 32 MiB (spec, "Header": size), which would be too much memory here."""

DIRTY, CORRUPT, EXTERNAL, COMPRESSION, SUBCLUSTERS = (1 << bit for bit in range(5))
"""Incompatible features. `DIRTY` only says that refcounts may be stale, which are for writers: it is no obstacle."""

RAW_EXTERNAL = 2
"""Auto-clear feature that there may only be with `EXTERNAL`."""

OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00
"""Bits 9 to 55 of an entry: where the L2 table or the cluster begins (spec, "Cluster mapping")."""

COPIED = 1 << 63
"""The refcount is one: for writers."""

COMPRESSED = 1 << 62
ZERO = 1
"""Bits of an L2 entry; `ZERO` only in version 3."""


class Kind(Enum):
    """What an L2 entry says of its cluster. `ZERO` was written, as zeros; `UNALLOCATED` never was."""

    UNALLOCATED = "unallocated"
    ZERO = "zero"
    DATA = "data"
    COMPRESSED = "compressed"


class Cluster(NamedTuple):
    """A cluster's place in the file, and the bytes there of one that is compressed (an upper bound)."""

    kind: Kind
    at: int = 0
    stored: int = 0


UNALLOCATED = Cluster(Kind.UNALLOCATED)
ZEROS = Cluster(Kind.ZERO)


@dataclass(frozen=True)
class Header:
    """What of the header is needed to read the disk. `tables` is how many L2 tables a disk of this size has."""

    name: str
    version: int
    cluster_bits: int
    size: int
    l1_at: int
    tables: int
    refcounts_at: int
    refcounts_size: int
    snapshots: int = 0
    snapshots_at: int = 0

    @property
    def cluster_size(self) -> int:
        """Bytes of a cluster, which is also what an L2 table has."""
        return 1 << self.cluster_bits

    def after_snapshot(self, at: int, data: bytes) -> int:
        """Where the internal snapshot behind the one at `at` begins. `data` is its fixed part. May raise `InputError`.

        Of no use for the active disk, but a file that contradicts itself here was not written by anything sound.
        """
        _, _, id_size, name_size, _, _, _, _, extra = SNAPSHOT.unpack_from(data)
        end: int = at + SNAPSHOT.size + extra + id_size + name_size
        if extra > MAX_EXTRA_BYTES or end - self.snapshots_at > MAX_SNAPSHOT_BYTES:
            raise damaged(self.name, "its table of internal snapshots is not valid")
        return -(-end // 8) * 8

    def table(self, entry: int) -> int:
        """Where the L2 table of an L1 entry begins in the file; 0 if there is none, so nothing of it is allocated."""
        at = entry & OFFSET_MASK
        if entry & ~(OFFSET_MASK | COPIED) or at & (self.cluster_size - 1):
            raise damaged(self.name, f"L1 entry {entry:#018x} is not valid")
        return at

    def cluster(self, entry: int) -> Cluster:
        """What an L2 entry says. Raises `InputError` for what the spec does not allow; does not know the file's end."""
        if entry == 0:
            return UNALLOCATED
        if entry & COMPRESSED:
            shift = 62 - (self.cluster_bits - 8)
            at = entry & ((1 << shift) - 1)
            sectors = ((entry & (COMPRESSED - 1)) >> shift) + 1
            if entry & COPIED or at >> 56:
                raise damaged(self.name, f"L2 entry {entry:#018x} is not valid")
            return Cluster(Kind.COMPRESSED, at, sectors * 512 - at % 512)
        at = entry & OFFSET_MASK
        zero = entry & ZERO
        if (
            entry & ~(OFFSET_MASK | COPIED | ZERO)
            or at & (self.cluster_size - 1)
            or (zero and self.version == 2)
            or not (at or zero)
        ):
            raise damaged(self.name, f"L2 entry {entry:#018x} is not valid")
        return ZEROS if zero else Cluster(Kind.DATA, at)


def damaged(name: str, why: str) -> InputError:
    """The error for a file that contradicts itself or the specification."""
    return InputError(f"image {name} is a damaged qcow2 file ({why}): copy or build it again")


def _foreign(name: str, what: str) -> InputError:
    return InputError(
        f"image {name} is a qcow2 file with {what}, which is not supported:"
        f" convert it with `qemu-img convert -O raw {name} disk.raw`"
    )


def parse(head: bytes, file_size: int, *, name: str) -> Header:
    """Read the header of a qcow2 file of `file_size` bytes, from its first `HEAD_BYTES` or more.

    What it returns is safe to act on: the L1 table lies in the file and has at most 4 MiB. Raises `InputError` for
    what is damaged, and for what this does not read: backing files, encryption, external data, features that it does
    not know (also extended L2 entries), zstd. Internal snapshots are no obstacle: the disk is the active state.
    """
    if len(head) < HEADER.size:
        raise damaged(name, "its header is truncated")
    _, version, backing_at, _, cluster_bits, size, encryption, l1_entries, l1_at, *others = HEADER.unpack_from(head)
    refcounts_at, refcount_clusters, snapshots, snapshots_at = others
    if version not in (2, 3):
        raise _foreign(name, f"version {version}")
    if cluster_bits not in CLUSTER_BITS:
        raise damaged(name, f"clusters of 2^{cluster_bits} bytes")
    cluster_size = 1 << cluster_bits
    if version == 3:
        _check_features(head, cluster_size, name)
    if backing_at:
        raise _foreign(name, "a backing file")
    if encryption:
        raise _foreign(name, "encryption")
    _check_extensions(head, file_size, cluster_size, version, name)
    _check_places(
        name,
        cluster_size,
        (REFCOUNTS, refcounts_at, refcount_clusters * cluster_size, MAX_REFCOUNT_BYTES),
        ("table of internal snapshots", snapshots_at, snapshots * SNAPSHOT.size, MAX_SNAPSHOTS * SNAPSHOT.size),
        ("L1 table", l1_at, l1_entries * 8, MAX_TABLE_ENTRIES * 8),
    )
    tables = -(-size // (cluster_size * (cluster_size // 8)))
    if tables > l1_entries:
        raise damaged(name, f"its L1 table has {l1_entries} entries, but a disk of {size} bytes needs {tables}")
    if tables * 8 > MAX_L1_BYTES:
        raise _foreign(name, f"{size} bytes in clusters of only {cluster_size}")
    if l1_at % cluster_size or not cluster_size <= l1_at <= file_size - tables * 8:
        raise damaged(name, "its L1 table is outside the file")
    return Header(
        name=name,
        version=version,
        cluster_bits=cluster_bits,
        size=size,
        l1_at=l1_at,
        tables=tables,
        refcounts_at=refcounts_at,
        refcounts_size=refcount_clusters * cluster_size,
        snapshots=snapshots,
        snapshots_at=snapshots_at,
    )


def _check_features(head: bytes, cluster_size: int, name: str) -> None:
    if len(head) < HEAD_BYTES:
        raise damaged(name, "its header is truncated")
    features, _, autoclear, _, length = EXTENSION.unpack_from(head, HEADER.size)
    if not COMPRESSION_AT <= length <= cluster_size or length % 8:
        raise damaged(name, f"a header of {length} bytes")
    if features & CORRUPT:
        raise InputError(
            f"image {name} is a qcow2 file that is marked as corrupt:"
            f" build it again, or repair it with `qemu-img check -r all {name}`"
        )
    if features & EXTERNAL:
        raise _foreign(name, "its data in another file")
    if features & SUBCLUSTERS:
        raise _foreign(name, "extended L2 entries")
    if autoclear & RAW_EXTERNAL:
        raise damaged(name, "its data is raw in another file, its features say otherwise")
    if unknown := features & ~(DIRTY | COMPRESSION):
        raise _foreign(name, f"unknown features ({unknown:#x})")
    compression = head[COMPRESSION_AT] if length > COMPRESSION_AT else 0
    if bool(compression) != bool(features & COMPRESSION):
        raise damaged(name, f"its compression type is {compression}, its features say otherwise")
    if compression:
        # Only deflate, type 0, is in Python's standard library (3.14 is the first that has zstd).
        raise _foreign(name, "zstd compression" if compression == 1 else f"compression of type {compression}")


def _check_places(name: str, cluster_size: int, *tables: tuple[str, int, int, int]) -> None:
    """Raise `InputError` if a table (what, offset, bytes, most bytes) is not where or as large as one can be."""
    for what, at, length, most in tables:
        if at % cluster_size or length > most or at + length >= 1 << 63:
            raise damaged(name, f"its {what} is not valid")
        if what == REFCOUNTS and not length:
            raise damaged(name, f"it has no {what}")


def _check_extensions(head: bytes, file_size: int, cluster_size: int, version: int, name: str) -> None:
    """Raise `InputError` unless the header's extensions follow each other up to an end within the first cluster."""
    at, autoclear = HEADER.size, 0
    if version == 3:
        _, _, autoclear, refcount_order, at = EXTENSION.unpack_from(head, HEADER.size)
        if refcount_order > MAX_REFCOUNT_ORDER:
            raise damaged(name, f"refcounts of 2^{refcount_order} bits")
    while at < cluster_size:
        if at + 8 > len(head):
            if len(head) < file_size:
                raise _foreign(name, "a header of more than 64 KiB")
            return  # what lies past the end of the file reads as zeros
        kind, length = struct.unpack_from(">II", head, at)
        at += 8
        if length > cluster_size - at:
            raise damaged(name, "an extension of its header reaches past it")
        if kind == ENDED:
            return
        _check_extension(kind, length, name)
        if kind == BITMAPS and autoclear & 1:
            _check_bitmaps(head[at : at + length], cluster_size, name)
        at += -(-length // 8) * 8


def _check_extension(kind: int, length: int, name: str) -> None:
    """Raise `InputError` for what QEMU does not open; extensions that nobody knows are no obstacle (spec)."""
    if (kind == BACKING_FORMAT and length >= 16) or (kind == BITMAPS and length != 24):
        raise damaged(name, f"an extension of its header has {length} bytes")
    if kind == FULL_ENCRYPTION:
        raise damaged(name, "an encryption header without encryption")


def _check_bitmaps(extension: bytes, cluster_size: int, name: str) -> None:
    """Raise `InputError` if what is said of the bitmaps makes no sense; they are of backups, and not read."""
    if len(extension) < 24:
        raise damaged(name, "its header is truncated")
    bitmaps, reserved, size, at = struct.unpack(">IIQQ", extension)
    if reserved or not 0 < bitmaps <= 65_535 or size > 1_024 * 65_535 or at % cluster_size:
        raise damaged(name, "its bitmaps are not valid")
