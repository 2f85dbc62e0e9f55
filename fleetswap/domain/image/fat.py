"""Reads directories and files of a FAT file system: what UEFI firmware would start from an EFI system partition.

Follows Microsoft's "FAT32 File System Specification" 1.03, for FAT12, FAT16 and FAT32. It gets the bytes that it asks
for from its caller, and looks at short names only: those of UEFI's are 8.3 (UEFI 2.10, 3.5.1.1). A file system that
cannot be followed is unknown here, and never an error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
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


@dataclass(frozen=True)
class Found:
    """An entry of a directory. `size` is in bytes."""

    cluster: int
    size: int
    is_folder: bool


def names(read: Read, folder: Sequence[str]) -> frozenset[str] | None:
    """The names in the folder at that path, in capitals; empty if it is not there, None if this is no FAT."""
    found = entries(read, folder)
    return None if found is None else frozenset(found)


def entries(read: Read, folder: Sequence[str]) -> Mapping[str, Found] | None:
    """What is in the folder at that path, as `names`, without the two entries that lead to itself and upwards."""
    try:
        volume = _Volume.of(read)
        found = dict(volume.root())
        for part in folder:
            if part not in found or not found[part].is_folder:
                return {}
            found = dict(_entries(volume.chain(found[part].cluster)))
    except (struct.error, ValueError):
        return None
    return {name: each for name, each in found.items() if name not in {".", ".."}}


def content(read: Read, file: Found) -> bytes | None:
    """The content of a file that `entries` found; None if it cannot be followed."""
    try:
        return _Volume.of(read).chain(file.cluster, file.size)
    except (struct.error, ValueError):
        return None


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

    def root(self) -> Iterator[tuple[str, Found]]:
        if self.fixed_root is None:
            return _entries(self.chain(self.root_cluster))
        return _entries(self.read(*self.fixed_root))

    def chain(self, cluster: int, size: int | None = None) -> bytes:
        """The content of a directory or, with its `size` in bytes, of a file."""
        content = bytearray()
        last = {12: 0xFF8, 16: 0xFFF8, 32: 0x0FFFFFF8}[self.width]
        while cluster < last and (size is None or len(content) < size):
            if cluster < 2 or (size is None and len(content) > MAX_DIRECTORY):
                raise ValueError("a chain that leads nowhere")
            part = self.read(self.data + (cluster - 2) * self.cluster, self.cluster)
            if len(part) < self.cluster:  # past the end: were it a circle, the content would never grow
                raise ValueError("a chain that leads out of the file system")
            content += part
            cluster = self._next(cluster)
        if size is not None and len(content) < size:
            raise ValueError("a file that ends too early")
        return bytes(content[:size])

    def _next(self, cluster: int) -> int:
        if self.width == 12:
            (pair,) = struct.unpack("<H", self.read(self.fat + cluster + cluster // 2, 2))
            return int(pair >> 4 if cluster % 2 else pair & 0xFFF)
        size = self.width // 8
        (entry,) = struct.unpack("<H" if size == 2 else "<I", self.read(self.fat + cluster * size, size))
        return int(entry) & 0x0FFFFFFF


def _entries(content: bytes) -> Iterator[tuple[str, Found]]:
    for at in range(0, len(content) - ENTRY.size + 1, ENTRY.size):
        raw, attributes, high, low, size = ENTRY.unpack_from(content, at)
        if raw[0] == END:
            return
        if raw[0] == DELETED or attributes & LABEL:  # a long name has the label's bit, too
            continue
        stem, suffix = raw[:8].decode("latin-1").rstrip(), raw[8:].decode("latin-1").rstrip()
        name = f"{stem}.{suffix}" if suffix else stem
        yield name.upper(), Found(high << 16 | low, size, bool(attributes & DIRECTORY))
