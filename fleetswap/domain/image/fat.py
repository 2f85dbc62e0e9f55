"""Reads the names in a directory of a FAT file system: what UEFI firmware would start from an EFI system partition.

Follows Microsoft's "FAT32 File System Specification" 1.03, for FAT12, FAT16 and FAT32. It gets the bytes that it asks
for from its caller, never reads a file's content, and looks at short names only: those of UEFI's are 8.3 (UEFI 2.10,
3.5.1.1). A file system that cannot be followed is unknown here, and never an error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Read = Callable[[int, int], bytes]
"""The bytes from an offset in the file system, so many of them; fewer at its end."""

BPB = struct.Struct("<11xHBHBHHxHHHII")
"""From the start: bytes of a sector, sectors of a cluster, reserved sectors, FATs, entries of the root directory,
sectors (16 bits), sectors of a FAT (16 bits), two of geometry, hidden sectors, sectors (32 bits)."""

ENTRY = struct.Struct("<11sB8xH4xHI")
"""Of a directory: name, attributes, first cluster (high and low half), size."""

SIGNATURE = b"\x55\xaa"
LONG_NAME, LABEL, DIRECTORY = 0x0F, 0x08, 0x10
END, DELETED = 0x00, 0xE5

MAX_DIRECTORY = 65_536 * ENTRY.size
"""Bytes that a directory may have (Specification, "Limits"): a chain that is longer runs in a circle."""


def names(read: Read, folder: Sequence[str]) -> frozenset[str] | None:
    """The names in the folder at that path, in capitals; empty if it is not there, None if this is no FAT."""
    try:
        volume = _Volume.of(read)
        entries = list(volume.root())
        for part in folder:
            found = [cluster for name, cluster in entries if name == part and cluster is not None]
            if not found:
                return frozenset()
            entries = list(_entries(volume.chain(found[0])))
    except (struct.error, ValueError):
        return None
    return frozenset(name for name, _ in entries)


@dataclass(frozen=True)
class _Volume:
    """Offsets and lengths in bytes. `width` is of an entry of the FAT, in bits."""

    read: Read
    fat: int
    width: int
    fixed_root: tuple[int, int] | None
    root_cluster: int
    data: int
    cluster: int

    @classmethod
    def of(cls, read: Read) -> _Volume:
        head = read(0, 512)
        if head[510:512] != SIGNATURE:
            raise ValueError("no boot sector")
        sector, per_cluster, reserved, fats, root_entries, few, fat16, _, _, _, many = BPB.unpack_from(head)
        (fat32,) = struct.unpack_from("<I", head, 36)
        (root_cluster,) = struct.unpack_from("<I", head, 44)
        if sector not in {512, 1024, 2048, 4096} or not per_cluster or not reserved or not fats:
            raise ValueError("no parameter block")
        fat, root = reserved * sector, root_entries * ENTRY.size
        first = fat + fats * (fat16 or fat32) * sector
        data = first + -(-root // sector) * sector
        clusters = ((few or many) * sector - data) // (per_cluster * sector)
        if clusters < 1:
            raise ValueError("no clusters")
        # As firmware tells them apart (EDK II, FatPkg/EnhancedFatDxe/Init.c): `mkfs.fat -F 32` makes small ones, too.
        width = 32 if fat16 == 0 else 12 if clusters < 4085 else 16
        return cls(read, fat, width, None if width == 32 else (first, root), root_cluster, data, per_cluster * sector)

    def root(self) -> Iterator[tuple[str, int | None]]:
        if self.fixed_root is None:
            return _entries(self.chain(self.root_cluster))
        return _entries(self.read(*self.fixed_root))

    def chain(self, cluster: int) -> bytes:
        """The content of a directory."""
        content = bytearray()
        last = {12: 0xFF8, 16: 0xFFF8, 32: 0x0FFFFFF8}[self.width]
        while cluster < last:
            if cluster < 2 or len(content) > MAX_DIRECTORY:
                raise ValueError("a chain that leads nowhere")
            part = self.read(self.data + (cluster - 2) * self.cluster, self.cluster)
            if len(part) < self.cluster:  # past the end: were it a circle, the content would never grow
                raise ValueError("a chain that leads out of the file system")
            content += part
            cluster = self._next(cluster)
        return bytes(content)

    def _next(self, cluster: int) -> int:
        if self.width == 12:
            (pair,) = struct.unpack("<H", self.read(self.fat + cluster + cluster // 2, 2))
            return int(pair >> 4 if cluster % 2 else pair & 0xFFF)
        size = self.width // 8
        (entry,) = struct.unpack("<H" if size == 2 else "<I", self.read(self.fat + cluster * size, size))
        return int(entry) & 0x0FFFFFFF


def _entries(content: bytes) -> Iterator[tuple[str, int | None]]:
    """Names, and the first cluster of those that are directories."""
    for at in range(0, len(content) - ENTRY.size + 1, ENTRY.size):
        raw, attributes, high, low, _ = ENTRY.unpack_from(content, at)
        if raw[0] == END:
            return
        if raw[0] == DELETED or attributes & LABEL:  # a long name has the label's bit, too
            continue
        stem, suffix = raw[:8].decode("latin-1").rstrip(), raw[8:].decode("latin-1").rstrip()
        name = f"{stem}.{suffix}" if suffix else stem
        yield name.upper(), high << 16 | low if attributes & DIRECTORY else None
