"""Tells a disk image from everything else that people hand in for one.

It decides from the first and last bytes alone, by the published layouts, and never reads a file. What it lets through
has a partition table that is whole and fits on the disk; whether a system boots from it only a boot can tell.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Literal

from fleetswap.domain import qcow2, vhd
from fleetswap.domain.blocks import GIB, MAX_VOLUME_GIB, volume_gib
from fleetswap.domain.errors import InputError

SECTOR = 512
"""Bytes of a logical sector of an EBS volume."""

MIN_BYTES = 1 << 20
"""Nothing smaller holds a system: sgdisk, parted and systemd-repart all begin the first partition at 1 MiB."""

HEAD_BYTES = 65_536
"""How much of the beginning is looked at: beyond a GPT of 128 entries (17 KiB) and ISO 9660's mark (32 KiB)."""

TAIL_BYTES = 512
"""How much of its end: a VHD's footer."""

Format = Literal["raw", "vhd", "qcow2"]
"""What a file can be that holds a disk and is read here."""

CONTAINERS = (
    # Defined in QEMU docs/interop/qcow2.rst, MS-VHDX 2.1, VMware "Virtual Disk Format 5.0", QEMU block/vdi.c.
    (0, qcow2.MARK, "qcow2"),
    (0, b"vhdxfile", "VHDX"),
    (0, b"KDMV", "VMDK"),
    (0, b"COWD", "VMDK"),
    (0, b"# Disk DescriptorFile", "VMDK"),
    (64, b"\x7f\x10\xda\xbe", "VDI"),
    # "Virtual Hard Disk Image Format Specification", Microsoft 2006: a dynamic disk begins with a copy of its footer.
    (0, vhd.MARK, "VHD"),
)
"""Formats that hold a disk and are no disk: offset, mark, name. Some are read all the same, see `tell`."""

COMPRESSED = (
    (b"\x1f\x8b", "gzip", "gunzip"),  # RFC 1952
    (b"\xfd7zXZ\x00", "xz", "unxz"),  # The .xz File Format 2.1.1.1
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),  # RFC 8878
    (b"BZh", "bzip2", "bunzip2"),
    (b"PK\x03\x04", "zip", "unzip"),  # APPNOTE.TXT 4.3.7
)
"""Compressed files: mark, name, tool that unpacks."""

ISO_MARK = (32_769, b"CD001")
"""ECMA-119 8.1.2: the identifier of the first volume descriptor, in sector 16 of 2,048 bytes."""

GPT_SIGNATURE = b"EFI PART"
GPT_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
"""UEFI 2.10, table 5.5: signature, revision, header size, CRC, reserved, this LBA, the other header's LBA, first and
last usable LBA, disk GUID, LBA of the entries, number and size of the entries, CRC of the entries."""

MBR_ENTRY = struct.Struct("<B3sB3sII")
"""UEFI 2.10, table 5.2: status, first CHS, type, last CHS, first LBA, sectors."""

PROTECTIVE = 0xEE
"""The MBR partition type that says: the real table is a GPT."""


@dataclass(frozen=True)
class Disk:
    """What is known of a disk: its size in bytes and which partition table it has."""

    size: int
    table: Literal["gpt", "mbr"]


def tell(head: bytes, tail: bytes) -> Format:
    """The format of a file, from its first bytes and its last 512. "raw" is what begins and ends like no other.

    A mark decides, whatever else the file has: no boot code begins like a qcow2 file, and no disk ends in a VHD's
    footer unless somebody put one there. So a container's own bytes are never taken for a disk.
    """
    if head.startswith(qcow2.MARK):
        return "qcow2"
    # A fixed VHD is the disk with a footer behind it, so its beginning looks like a raw disk.
    if head.startswith(vhd.MARK) or tail[-TAIL_BYTES:].startswith(vhd.MARK):
        return "vhd"
    return "raw"


def inspect(head: bytes, tail: bytes, size: int, *, name: str) -> Disk:
    """Say what disk these are the first `HEAD_BYTES` and last `TAIL_BYTES` of (fewer if it is smaller).

    `size` is the disk's in bytes, `name` what the user calls the file. Raises `InputError`, one line with the remedy,
    for all that is not a disk with a whole partition table: also for a container, so one inside of another is refused.
    """
    if size == 0:
        raise InputError(f"image {name} is empty: build it again")
    _refuse_formats(head, tail, name)
    if size < MIN_BYTES:
        raise InputError(
            f"image {name} is too small: it has {size} bytes, and a disk with a partition has {MIN_BYTES} or more;"
            " give the whole disk image"
        )
    if size % SECTOR:
        raise InputError(
            f"image {name} is cut off or no disk: its size, {size} bytes, is no multiple of {SECTOR}; build it again"
        )
    if volume_gib(size) > MAX_VOLUME_GIB:
        raise InputError(f"image {name} is too large: it has {size // GIB} GiB, an EBS volume at most {MAX_VOLUME_GIB}")
    if head[SECTOR : SECTOR + 8] == GPT_SIGNATURE:
        _check_gpt(head, size, name)
        return Disk(size=size, table="gpt")
    if head[4096:4104] == GPT_SIGNATURE:
        raise InputError(
            f"image {name} is partitioned for sectors of 4096 bytes, and EBS volumes have sectors of {SECTOR}:"
            f" partition it with {SECTOR}-byte sectors"
        )
    _check_mbr(head, size, name)
    return Disk(size=size, table="mbr")


def _refuse_formats(head: bytes, tail: bytes, name: str) -> None:
    convert = f"not a raw disk: convert it with `qemu-img convert -O raw {name} disk.raw`"
    for offset, mark, what in CONTAINERS:
        if head.startswith(mark, offset):
            raise InputError(f"image {name} is a {what} file, {convert}")
    if tail[-TAIL_BYTES:].startswith(vhd.MARK):
        raise InputError(f"image {name} is a VHD file, {convert}")
    for mark, what, tool in COMPRESSED:
        if head.startswith(mark):
            raise InputError(f"image {name} is compressed with {what}, not a raw disk: unpack it with {tool}")
    # An "isohybrid" has a partition table as well, but its root is a read-only CD.
    if head.startswith(ISO_MARK[1], ISO_MARK[0]):
        raise InputError(f"image {name} is an ISO 9660 CD, not a disk: give a disk image with the system installed")


def _check_gpt(head: bytes, size: int, name: str) -> None:
    damaged = f"image {name} has a damaged GPT"
    header = head[SECTOR : 2 * SECTOR]
    fields = GPT_HEADER.unpack_from(header)
    header_size, header_crc = fields[2], fields[3]
    this_lba, other_lba, _, last_usable = fields[5:9]
    entries_lba, entry_count, entry_size, entries_crc = fields[10:14]
    if not GPT_HEADER.size <= header_size <= SECTOR or this_lba != 1:
        raise InputError(f"{damaged} (its header makes no sense): build it again")
    if zlib.crc32(header[:16] + bytes(4) + header[20:header_size]) != header_crc:
        raise InputError(f"{damaged} (the header's checksum is wrong): build it again")
    end = (max(other_lba, last_usable) + 1) * SECTOR
    if end > size:
        raise InputError(
            f"image {name} is cut off: its GPT is of a disk of {end} bytes or more, and it has {size};"
            " copy or build it again"
        )
    entries = head[entries_lba * SECTOR : entries_lba * SECTOR + entry_count * entry_size]
    if len(entries) < entry_count * entry_size:
        return  # the table is larger, or elsewhere, than any common tool makes it: allowed, and not ours to judge
    if zlib.crc32(entries) != entries_crc:
        raise InputError(f"{damaged} (the checksum of its entries is wrong): build it again")
    # An entry that begins with the zero type GUID is unused (UEFI 2.10, 5.3.3).
    if not any(any(entries[at : at + 16]) for at in range(0, len(entries), max(entry_size, 1))):
        raise InputError(f"image {name} has an empty partition table: give an image with a system on it")


def _check_mbr(head: bytes, size: int, name: str) -> None:
    nothing = f"image {name} is not a disk: it has no partition table (neither GPT nor MBR); give a whole disk image"
    if head[510:512] != b"\x55\xaa":
        raise InputError(nothing)
    entries = [MBR_ENTRY.unpack_from(head, 446 + 16 * number) for number in range(4)]
    used = [(kind, first, sectors) for _, _, kind, _, first, sectors in entries if kind and sectors]
    # A file system without partitions ends its first sector with 55 AA too; boot code in place of a table has an
    # impossible status (UEFI 2.10, 5.2.1: 0x80 or 0x00).
    if not used or any(status not in (0x00, 0x80) for status, *_ in entries):
        raise InputError(nothing)
    if any(kind == PROTECTIVE for kind, _, _ in used):
        raise InputError(f"image {name} has a damaged GPT (a protective MBR, but no GPT header): build it again")
    end = max(first + sectors for _, first, sectors in used) * SECTOR
    if end > size:
        raise InputError(
            f"image {name} is cut off: its partitions end at byte {end}, and it has {size}; copy or build it again"
        )
