"""Broken qcow2 and VHD files, always the same ones: what we read, qemu-img reads too, and reads the same."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.image import vhd
from tests.image.images import MIB, convert, qemu, qemu_bytes, raw_file, read_disk

pytestmark = pytest.mark.disks

EXAMPLES = 900
"""Of each format: half a minute in all. What we refuse costs a millisecond, the other half a run of qemu-img each."""

NUMBERS = (0, 1, 2, 3, 7, 8, 63, 64, 127, 255, 511, 512, 513, 4095, 4096, 65_535, 65_536, 65_537, 1 << 20, 1 << 31)
LARGE = (*NUMBERS, 1 << 32, (1 << 32) - 1, 1 << 40, 1 << 55, 1 << 62, 1 << 63, (1 << 63) | 65_536, (1 << 64) - 1)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw_file(tmp_path_factory.mktemp("raw") / "raw", 2 * MIB + 1024)


def test_broken_qcow2(raw: Path, tmp_path: Path) -> None:
    """A file that is damaged, cut off, or made to deceive would become a disk of other bytes than its maker's."""
    made = [
        convert(raw, tmp_path / "v3", "qcow2"),
        convert(raw, tmp_path / "small", "qcow2", "cluster_size=4k"),
        convert(raw, tmp_path / "tiny", "qcow2", "cluster_size=512"),
        convert(raw, tmp_path / "v2", "qcow2", "compat=0.10"),
        convert(raw, tmp_path / "packed", "qcow2", "", "-c"),
        convert(raw, tmp_path / "snapshots", "qcow2"),
        convert(raw, tmp_path / "bitmaps", "qcow2"),
    ]
    qemu("img", "snapshot", "-c", "one", made[5])
    qemu("img", "bitmap", "--add", made[6], "b")
    bases = [path.read_bytes() for path in made]

    def areas(content: bytes) -> list[range]:
        l1_at = int.from_bytes(content[40:48], "big")
        l2_at = int.from_bytes(content[l1_at : l1_at + 8], "big") & 0x00FF_FFFF_FFFF_FE00
        tables = [int.from_bytes(content[at : at + 8], "big") for at in (48, 64)]
        header = [range(4, 112)] * 5 + [range(104, 420)]
        return [*header, range(l1_at, l1_at + 16), *(range(at, at + 128) for at in (l2_at, *filter(None, tables)))]

    fuzz(bases, areas, tmp_path / "x", "qcow2")


def test_broken_vhd(raw: Path, tmp_path: Path) -> None:
    """The same of VHD."""
    made = [
        convert(raw, tmp_path / "dynamic", "vpc", "force_size=on"),
        convert(raw, tmp_path / "geometry", "vpc"),
        convert(raw, tmp_path / "fixed", "vpc", "subformat=fixed,force_size=on"),
    ]

    def areas(content: bytes) -> list[range]:
        end = len(content)
        header = [range(512, 556), range(1536, 1540)] if content.startswith(vhd.MAGIC) else []
        return [range(end - 512, end - 424), *header, range(88)]

    def checksum(content: bytearray, dice: random.Random) -> None:
        places = [(len(content) - 512, 512, 64)]
        if content.startswith(vhd.MAGIC):
            if dice.random() < 0.8:
                content[:512] = content[-512:]
            places += [(0, 512, 64), (512, 1024, 36)]
        for at, length, field in places:
            if at >= 0 and dice.random() < 0.9 and at + length <= len(content):
                rest = sum(content[at : at + length]) - sum(content[at + field : at + field + 4])
                struct.pack_into(">I", content, at + field, ~rest & 0xFFFF_FFFF)

    fuzz([path.read_bytes() for path in made], areas, tmp_path / "x", "vpc", checksum)


def fuzz(
    bases: list[bytes],
    areas: Callable[[bytes], list[range]],
    path: Path,
    kind: str,
    checksum: Callable[[bytearray, random.Random], None] = lambda _content, _dice: None,
) -> None:
    """Break the files, always in the same ways. Whatever we read, qemu-img must read the same."""
    dice = random.Random(8)  # noqa: S311 (no secret)
    read = refused = 0
    for number in range(EXAMPLES):
        content = bytearray(dice.choice(bases))
        changed = [change(content, dice.choice(areas(bytes(content))), dice) for _ in range(dice.randint(1, 2))]
        if dice.random() < 0.1:
            del content[dice.randrange(len(content) // 2, len(content)) :]
            changed.append(len(content))
        checksum(content, dice)
        path.write_bytes(content)
        try:
            disk = read_disk(path)
        except InputError:
            refused += 1
            continue
        if kind == "vpc" and vhd.MAGIC not in (content[:8], content[-512:-504]):
            continue  # no VHD any more, for anybody
        read += 1
        try:
            judged = qemu_bytes(path, kind)
        except AssertionError as error:
            # What bitmaps say is of backups, and no byte of the disk depends on it: they are not read here.
            if "itmap" in str(error):
                continue
            pytest.fail(f"example {number} ({changed}): qemu-img refuses it: {error}")
        assert disk == judged, f"example {number} ({changed})"
    assert min(read, refused) > EXAMPLES / 20, f"{read} read, {refused} refused: these files prove nothing"


def change(content: bytearray, area: range, dice: random.Random) -> int:
    """Break one place of the area: a bit, a number of 32 bits, or one of 64. The place."""
    at = min(dice.choice(area), len(content) - 9)
    match dice.randrange(3):
        case 0:
            content[at] ^= 1 << dice.randrange(8)
        case 1:
            struct.pack_into(">I", content, at - at % 4, dice.choice(NUMBERS))
        case 2:
            struct.pack_into(">Q", content, at - at % 8, dice.choice(LARGE))
    return at
