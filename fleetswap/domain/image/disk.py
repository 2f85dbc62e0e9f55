"""Tells a disk image from the other files that people mistake for one.

It decides from the first and last bytes alone, by the published layouts, and never reads a file. What it accepts has a
complete partition table that fits on the disk, unless a data volume is requested, which needs none. Whether a machine
boots from the disk is for `fleetswap.domain.image.boot` to say.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from fleetswap.domain.errors import InputError
from fleetswap.domain.image import qcow2, vhd
from fleetswap.domain.image.blocks import MAX_VOLUME_GIB, volume_gib

SECTOR = 512
"""Bytes of a logical sector of an EBS volume."""

MIN_BYTES = 1 << 20
"""Nothing smaller holds a system: sgdisk, parted and systemd-repart all begin the first partition at 1 MiB."""

HEAD_BYTES = 65_536
"""How much of the beginning is looked at: beyond a GPT of 128 entries (17 KiB) and ISO 9660's magic bytes (32 KiB)."""

TAIL_BYTES = 512
"""How much of its end: a VHD's footer."""

Format = Literal["raw", "vhd", "qcow2"]
"""What a file can be that holds a disk and is read here."""

CONTAINERS = (
    # Defined in QEMU docs/interop/qcow2.rst, MS-VHDX 2.1, VMware "Virtual Disk Format 5.0", QEMU block/vdi.c.
    (0, qcow2.MAGIC, "qcow2"),
    (0, b"vhdxfile", "VHDX"),
    (0, b"KDMV", "VMDK"),
    (0, b"COWD", "VMDK"),
    (0, b"# Disk DescriptorFile", "VMDK"),
    (64, b"\x7f\x10\xda\xbe", "VDI"),
    (0, b"QED\0", "QED"),  # QEMU docs/interop/qed_spec.txt
    (0, b"WithoutFreeSpace", "Parallels"),  # QEMU docs/interop/parallels.txt, which has the other one too
    (0, b"WithouFreSpacExt", "Parallels"),
    # "Virtual Hard Disk Image Format Specification", Microsoft 2006: a dynamic disk begins with a copy of its footer.
    (0, vhd.MAGIC, "VHD"),
)
"""Formats that hold a disk and are not a disk: offset, magic bytes, name. Some are read all the same, see `tell`."""

COMPRESSED = (
    (b"\x1f\x8b", "gzip", "gunzip"),  # RFC 1952
    (b"\xfd7zXZ\x00", "xz", "unxz"),  # The .xz File Format 2.1.1.1
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),  # RFC 8878
    (b"BZh", "bzip2", "bunzip2"),
    (b"PK\x03\x04", "zip", "unzip"),  # APPNOTE.TXT 4.3.7
)
"""Compressed files: magic bytes, name, tool that unpacks."""

TAR_MAGIC = (257, b"ustar")
"""POSIX.1-1988, "ustar Interchange Format": magic."""

VOLUMES = (
    # Linux: fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h, fs/erofs/erofs_fs.h, fs/squashfs/squashfs_fs.h, mm/swapfile.c.
    (1080, b"\x53\xef", "an ext2, ext3 or ext4 file system"),
    (0, b"XFSB", "an XFS file system"),
    (1024, b"\xe2\xe1\xf5\xe0", "an EROFS file system"),
    (0, b"hsqs", "a squashfs file system"),
    (4086, b"SWAPSPACE2", "swap space"),
    # LVM2 lib/label/label.h: the label is in one of the first four sectors, the second as a rule; LUKS1 and LUKS2.
    (512, b"LABELONE", "an LVM physical volume"),
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    # Microsoft "FAT32 File System Specification" 1.03: BS_FilSysType.
    (54, b"FAT1", "a FAT file system"),
    (82, b"FAT32", "a FAT file system"),
    (3, b"NTFS    ", "an NTFS file system"),
)
"""What a volume holds that was never partitioned: offset, magic bytes, what. Asked only where there is no good table,
because old magic bytes may stand on a disk that was partitioned since."""

ISO_MAGIC = (32_769, b"CD001")
"""ECMA-119 8.1.2: the identifier of the first volume descriptor, in sector 16 of 2,048 bytes."""

GPT_SIGNATURE = b"EFI PART"
GPT_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
"""UEFI 2.10, table 5.5: signature, revision, header size, CRC, reserved, this LBA, the other header's LBA, first and
last usable LBA, disk GUID, LBA of the entries, number and size of the entries, CRC of the entries."""

MBR_ENTRY = struct.Struct("<B3sB3sII")
"""UEFI 2.10, table 5.2: status, first CHS, type, last CHS, first LBA, sectors."""

MBR_SIGNATURE = b"\x55\xaa"
"""UEFI 2.10, table 5.1: the last two bytes of LBA 0."""

NO_EFI = "has no EFI system partition"

BOOT_CODE = 440
"""Bytes of the boot code at the beginning of LBA 0, which a BIOS runs (UEFI 2.10, table 5.1)."""

NO_BOOT_CODE = "has no boot code in its master boot record"

GPT_ENTRY = struct.Struct("<16s16sQQ")
"""UEFI 2.10, table 5.6: type, unique GUID, first and last LBA."""

PROTECTIVE = 0xEE
"""The MBR partition type that says: the real table is a GPT."""

EFI_GPT = frozenset(
    UUID(kind).bytes_le for kind in ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")
)
"""GPT types of a partition that UEFI may boot from: EFI system (UEFI 2.10, table 5.7), and Microsoft's basic data, as
some tools mark a FAT partition; EDK II, which EC2's firmware is made of, looks into any FAT."""

EFI_MBR = frozenset({0xEF, 0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E})
"""The same of an MBR: EFI system (UEFI 2.10, 5.2.2) and FAT."""


@dataclass(frozen=True)
class Disk:
    """What is known of a disk: its size in bytes and which partition table it has."""

    size: int
    table: Literal["gpt", "mbr", "none"]
    unbootable: str | None = None
    """Why no UEFI firmware boots from it, in words that follow its name; None if one may."""
    unbootable_by_bios: str | None = None
    """The same of a BIOS."""
    efi: tuple[tuple[int, int], ...] = ()
    """Where partitions begin that UEFI may boot from, and how long they are, in bytes."""
    partitions: int = 0
    """How many it has; 0 also if the table is one that is not read."""


def tell(head: bytes, tail: bytes) -> Format:
    """The format of a file, from its first bytes and its last 512. "raw" is what begins and ends like no other.

    Magic bytes decide, whatever else the file has: no boot code begins like a qcow2 file, and no disk ends in a VHD's
    footer unless somebody put one there. So a container's own bytes are never taken for a disk.
    """
    if head.startswith(qcow2.MAGIC):
        return "qcow2"
    # A fixed VHD is the disk with a footer behind it, so its beginning looks like a raw disk.
    if head.startswith(vhd.MAGIC) or tail[-TAIL_BYTES:].startswith(vhd.MAGIC):
        return "vhd"
    return "raw"


def inspect(head: bytes, tail: bytes, size: int, *, name: str, data: bool = False) -> Disk:
    """Say what disk these are the first `HEAD_BYTES` and last `TAIL_BYTES` of (fewer if it is smaller).

    `size` is the disk's in bytes, `name` what the user calls the file. Raises `InputError`, one line with the remedy,
    for all that is not a disk with a whole partition table: also for a container, so one inside of another is refused.
    With `data` no partition table is needed: a file system, or anything else that is no container, is a disk as well.
    """
    if size == 0:
        raise InputError(f"image {name} is empty: build it again")
    _refuse_formats(head, tail, name, data=data)
    _check_size(size, name, data=data)
    if head[SECTOR : SECTOR + 8] == GPT_SIGNATURE:
        return Disk(size, "gpt", *_check_gpt(head, size, name))
    if data and _volume(head) is not None:
        return Disk(size, "none", "has no partition table", "has no partition table")
    if head[4096:4104] == GPT_SIGNATURE:
        raise InputError(
            f"image {name} is partitioned for 4096-byte sectors, but EBS volumes have sectors of {SECTOR}:"
            f" partition it with {SECTOR}-byte sectors"
        )
    try:
        return Disk(size, "mbr", *_check_mbr(head, size, name))
    except _NoTable:
        if data:
            return Disk(size, "none", "has no partition table", "has no partition table")
        raise
    except InputError:
        if (volume := _volume(head)) is not None:  # what it has in place of a table was misread
            raise _NoTable(_no_table(name, volume)) from None
        raise


def _check_size(size: int, name: str, *, data: bool) -> None:
    if size < MIN_BYTES and not data:
        raise InputError(
            f"image {name} is too small: it has {size} bytes, but a disk with a partition has at least {MIN_BYTES};"
            " use the whole disk image"
        )
    if size % SECTOR:
        raise InputError(
            f"image {name} is truncated or not a disk: its size, {size} bytes, is not a multiple of {SECTOR};"
            " build it again"
        )
    if (needed := volume_gib(size)) > MAX_VOLUME_GIB:
        raise InputError(
            f"image {name} is too large: it needs a volume of {needed} GiB, and the largest has {MAX_VOLUME_GIB}"
        )


class _NoTable(InputError):
    """The disk has no partition table, and nothing that was meant for one."""


def _no_table(name: str, volume: str | None) -> str:
    what = f"is {volume} without a partition table" if volume else "has no partition table (neither GPT nor MBR)"
    return (
        f"image {name} is not a disk: it {what}; use a whole disk image (`fleetswap upload --data` accepts it as it is)"
    )


def _volume(head: bytes) -> str | None:
    """What a disk without partitions holds, if its magic bytes are known."""
    return next((what for offset, magic, what in VOLUMES if head.startswith(magic, offset)), None)


def _refuse_formats(head: bytes, tail: bytes, name: str, *, data: bool) -> None:
    convert = f"not a raw disk: convert it with `qemu-img convert -O raw {name} disk.raw`"
    for offset, magic, what in CONTAINERS:
        if head.startswith(magic, offset):
            raise InputError(f"image {name} is a {what} file, {convert}")
    if tail[-TAIL_BYTES:].startswith(vhd.MAGIC):
        raise InputError(f"image {name} is a VHD file, {convert}")
    for magic, what, tool in COMPRESSED:
        if head.startswith(magic):
            raise InputError(f"image {name} is compressed with {what}, not a raw disk: unpack it with {tool}")
    if head.startswith(TAR_MAGIC[1], TAR_MAGIC[0]):
        raise InputError(f"image {name} is a tar archive, not a raw disk: unpack it with tar")
    # An "isohybrid" has a partition table as well, but its root is a read-only CD.
    if head.startswith(ISO_MAGIC[1], ISO_MAGIC[0]) and not data:
        raise InputError(f"image {name} is an ISO 9660 CD, not a disk: use a disk image with an installed system")


_Boots = tuple[str | None, str | None, tuple[tuple[int, int], ...], int]
"""Why UEFI does not boot it, why a BIOS does not, where UEFI may look, and how many partitions there are."""


def _check_gpt(head: bytes, size: int, name: str) -> _Boots:
    damaged = f"image {name} has a damaged GPT"
    header = head[SECTOR : 2 * SECTOR]
    fields = GPT_HEADER.unpack_from(header)
    header_size, header_crc = fields[2], fields[3]
    this_lba, other_lba, _, last_usable = fields[5:9]
    entries_lba, entry_count, entry_size, entries_crc = fields[10:14]
    if not GPT_HEADER.size <= header_size <= SECTOR or this_lba != 1:
        raise InputError(f"{damaged} (its header is not valid): build it again")
    if zlib.crc32(header[:16] + bytes(4) + header[20:header_size]) != header_crc:
        raise InputError(f"{damaged} (the header's checksum is wrong): build it again")
    end = (max(other_lba, last_usable) + 1) * SECTOR
    if end > size:
        raise InputError(
            f"image {name} is truncated: its GPT describes a disk of at least {end} bytes, but it has {size};"
            " copy or build it again"
        )
    entries = head[entries_lba * SECTOR : entries_lba * SECTOR + entry_count * entry_size]
    if len(entries) < entry_count * entry_size:
        # The table is larger, or elsewhere, than any common tool makes it: allowed, not ours to judge.
        return None, _by_bios(head), (), 0
    if zlib.crc32(entries) != entries_crc:
        raise InputError(f"{damaged} (the checksum of its entries is wrong): build it again")
    # An entry that begins with the zero type GUID is unused (UEFI 2.10, 5.3.3).
    kinds = [entries[at : at + 16] for at in range(0, len(entries), max(entry_size, 1))]
    if not any(map(any, kinds)):
        raise InputError(f"image {name} has an empty partition table: use an image with an installed system")
    # Firmware and kernels believe a GPT only behind such an MBR (UEFI 2.10, 5.2.3; EDK II, PartitionDxe/Gpt.c).
    if head[510:512] != MBR_SIGNATURE or not any(kind == PROTECTIVE and first == 1 for _, kind, first, _ in _mbr(head)):
        return "has a GPT without a protective MBR, so its partitions are not recognized", _by_bios(head), (), 0
    places = range(0, len(entries) - GPT_ENTRY.size + 1, max(entry_size, 1))
    parts = [GPT_ENTRY.unpack_from(entries, at) for at in places]
    efi = tuple((first * SECTOR, (last - first + 1) * SECTOR) for kind, _, first, last in parts if kind in EFI_GPT)
    return None if efi else NO_EFI, _by_bios(head), efi, sum(map(any, kinds))


def _by_bios(head: bytes) -> str | None:
    """A BIOS runs what stands in the first sector, whatever the partition table; without any it stops."""
    return None if any(head[:BOOT_CODE]) and head[510:512] == MBR_SIGNATURE else NO_BOOT_CODE


def _mbr(head: bytes) -> list[tuple[int, int, int, int]]:
    """Of each MBR entry status, type, first LBA and sectors."""
    entries = [MBR_ENTRY.unpack_from(head, 446 + 16 * number) for number in range(4)]
    return [(status, kind, first, sectors) for status, _, kind, _, first, sectors in entries]


def _check_mbr(head: bytes, size: int, name: str) -> _Boots:
    nothing = _no_table(name, _volume(head))
    if head[510:512] != MBR_SIGNATURE:
        raise _NoTable(nothing)
    entries = _mbr(head)
    used = [(kind, first, sectors) for _, kind, first, sectors in entries if kind and sectors]
    # A file system without partitions ends its first sector with 55 AA too; boot code in place of a table has an
    # impossible status (UEFI 2.10, 5.2.1: 0x80 or 0x00).
    if not used or any(status not in (0x00, 0x80) for status, *_ in entries):
        raise _NoTable(nothing)
    if any(kind == PROTECTIVE for kind, _, _ in used):
        raise InputError(f"image {name} has a damaged GPT (a protective MBR, but no GPT header): build it again")
    end = max(first + sectors for _, first, sectors in used) * SECTOR
    if end > size:
        raise InputError(
            f"image {name} is truncated: its partitions end at byte {end}, but it has {size}; copy or build it again"
        )
    efi = tuple((first * SECTOR, sectors * SECTOR) for kind, first, sectors in used if kind in EFI_MBR)
    return None if efi else NO_EFI, _by_bios(head), efi, len(used)
