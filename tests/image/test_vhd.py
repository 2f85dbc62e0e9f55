"""VHD files that are damaged, hostile, or need another file: refused in one line, or read right."""

from __future__ import annotations

import itertools
import re
import struct
import tracemalloc
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.image import vhd
from fleetswap.workflows.image.image_file import ImageFile
from tests.fakes.ebs import BLOCK, disk_file
from tests.image.images import MIB, agrees_with_qemu, convert, qemu, qemu_bytes, raw_file, read_disk

pytestmark = pytest.mark.disks

SIZE = 5 * MIB + 1536
"""Of the disk: three blocks of 2 MiB."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vhd")


@pytest.fixture(scope="module")
def raw(folder: Path) -> Path:
    return raw_file(folder / "x.raw", SIZE)


@pytest.fixture(scope="module")
def dynamic(folder: Path, raw: Path) -> bytes:
    return convert(raw, folder / "dynamic", "vpc", "subformat=dynamic,force_size=on").read_bytes()


@pytest.fixture(scope="module")
def fixed(folder: Path, raw: Path) -> bytes:
    return convert(raw, folder / "fixed", "vpc", "subformat=fixed,force_size=on").read_bytes()


def checksum(content: bytearray, at: int, length: int, checksum_at: int) -> None:
    """Make the checksum of a footer or a header right again."""
    content[at + checksum_at : at + checksum_at + 4] = bytes(4)
    struct.pack_into(">I", content, at + checksum_at, ~sum(content[at : at + length]) & 0xFFFF_FFFF)


def set_footer(content: bytes, at: int, data: bytes, *, copy: bool = True) -> bytes:
    """Overwrite some bytes of the footer, and of its copy if there is one, with the checksums right."""
    changed = bytearray(content)
    for footer in (len(changed) - 512, 0):
        if changed[footer : footer + 8] == vhd.MAGIC and (footer or copy):
            changed[footer + at : footer + at + len(data)] = data
            checksum(changed, footer, 512, 64)
    return bytes(changed)


def set_header(content: bytes, at: int, data: bytes) -> bytes:
    changed = bytearray(content)
    changed[512 + at : 512 + at + len(data)] = data
    checksum(changed, 512, 1024, 36)
    return bytes(changed)


def set_entry(content: bytes, block: int, start: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(">I", changed, 1536 + 4 * block, start)
    return bytes(changed)


def refused(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_disk(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "creator", [b"vpc ", b"qemu", b"qem2", b"win ", b"d2v ", b"tap\0", b"CTXS", b"vbox", b"wa\0\0"]
)
@pytest.mark.parametrize("geometry", [(40, 4, 17), (65_535, 16, 255)], ids=["smaller", "largest"])
@pytest.mark.parametrize("subformat", ["fixed", "dynamic"])
def test_the_size_is_what_qemu_says(
    tmp_path: Path, subformat: str, geometry: tuple[int, int, int], creator: bytes
) -> None:
    """The end of the disk would be cut off, or not be there: VHD has two sizes, and the creator decides."""
    source = disk_file(tmp_path / "x.raw", size=MIB)
    raw = raw_file(tmp_path / "y.raw", 3 * MIB)
    with raw.open("r+b") as file:
        file.write(source.read_bytes())
    content = convert(raw, tmp_path / "x.vhd", "vpc", f"subformat={subformat},force_size=on").read_bytes()
    path = tmp_path / "x.vhd"
    path.write_bytes(set_footer(set_footer(content, 28, creator), 56, struct.pack(">HBB", *geometry)))
    with ImageFile(path) as image:
        size = image.size
    by_geometry = creator in vhd.BY_GEOMETRY and geometry[0] == 40
    assert size == (40 * 4 * 17 * 512 if by_geometry else 3 * MIB)
    assert read_disk(path) == qemu_bytes(path, "vpc")


@pytest.mark.parametrize(
    ("at", "data", "message"),
    [
        (60, struct.pack(">I", 4), "is a differencing VHD, which contains only what differs from its parent: merge"),
        (
            60,
            struct.pack(">I", 6),
            r"is a damaged VHD file \(a disk of type 6, which does not exist\): copy or build it",
        ),
        (12, struct.pack(">I", 2), "the footer has an unknown version"),
        (
            48,
            struct.pack(">Q", 1 << 62),
            "a disk of 4611686018427387904 bytes, but the format allows at most 2190433320960",
        ),
        (48, struct.pack(">Q", 0), "is empty"),
    ],
)
@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
def test_a_footer_of_what_is_not_read_is_refused(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, at: int, data: bytes, message: str
) -> None:
    """A disk would be uploaded that lacks what its parent has, or whose size is nonsense."""
    refused(tmp_path / "x", set_footer(request.getfixturevalue(kind), at, data), message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:-512], "the footer at its end is missing, so it is truncated"),
        (lambda d: d[:100], "the footer at its end is missing|it is truncated"),
        (lambda d: d + bytes(512), "the footer at its end is missing, so it is truncated"),
        (lambda d: d[:-100] + b"x" + d[-99:], "the checksum of the footer is wrong"),
        (lambda d: d[:100] + b"x" + d[101:], "the checksum of the copy of its footer is wrong"),
        (lambda d: bytes(512) + d[512:], "the copy of its footer at its beginning is missing"),
        (lambda d: set_footer(d, 48, struct.pack(">Q", MIB), copy=False), "the copy of its footer differs from it"),
        (lambda d: set_footer(d, 60, struct.pack(">I", 2)), "it begins like a dynamic disk and ends like a fixed one"),
        (lambda d: set_footer(d, 16, struct.pack(">Q", 1 << 60)), "its header is outside the file"),
        (lambda d: set_footer(d, 16, struct.pack(">Q", 4096)), "its header is missing"),
        (
            lambda d: set_footer(d, 48, struct.pack(">Q", 64 * MIB)),
            "its table has 3 entries, but the disk has 32 blocks",
        ),
        (lambda d: d[:700] + b"x" + d[701:], "the checksum of its header is wrong"),
        (lambda d: set_header(d, 24, struct.pack(">I", 2)), "its header has an unknown version"),
        (lambda d: set_header(d, 32, struct.pack(">I", 0)), "blocks of 0 bytes"),
        (lambda d: set_header(d, 32, struct.pack(">I", 4096)), "blocks of 4096 bytes"),
        (lambda d: set_header(d, 32, struct.pack(">I", 3 * MIB)), "blocks of 3145728 bytes"),
        (lambda d: set_header(d, 32, struct.pack(">I", 1 << 31)), "blocks of 2147483648 bytes"),
        (lambda d: set_header(d, 28, struct.pack(">I", 2)), "its table has 2 entries, but the disk has 3 blocks"),
        (lambda d: set_header(d, 16, struct.pack(">Q", 1 << 60)), "its table is outside the file"),
        (lambda d: set_header(d, 16, struct.pack(">Q", 0)), "its table is outside the file"),
        (lambda d: set_entry(d, 1, 1 << 30), r"a block at sector 1073741824 is outside the file"),
        (lambda d: set_entry(d, 1, len(d) // 512 - 4000), r"a block at sector \d+ is outside the file"),
        (lambda d: set_entry(d, 1, 0), r"a block at sector 0 overlaps its header or table"),
        (lambda d: set_entry(d, 0, 3), r"a block at sector 3 overlaps its header or table"),
        (lambda d: set_entry(d, 1, entry(d, 0)), r"a block at sector \d+ overlaps another"),
        (lambda d: set_entry(d, 1, entry(d, 0) + 4000), r"a block at sector \d+ overlaps another"),
        (lambda d: set_entry(d, 0, entry(d, 1) - 4000), r"a block at sector \d+ overlaps another"),
    ],
)
def test_a_damaged_dynamic_disk_is_refused(
    tmp_path: Path, dynamic: bytes, change: Callable[[bytes], bytes], message: str
) -> None:
    """Half a download, or a file that contradicts itself, would become a disk."""
    refused(tmp_path / "x", change(dynamic), message)


def test_entries_past_the_disks_end_lie_in_the_file(tmp_path: Path, dynamic: bytes, raw: Path) -> None:
    """Half a download would become a disk whose table is longer than it, as that of a disk that was made smaller."""
    longer = set_header(dynamic, 28, struct.pack(">I", 4))
    sound, cut = set_entry(longer, 3, entry(dynamic, 0)), set_entry(longer, 3, len(dynamic) // 512)
    refused(tmp_path / "x", cut, "a block past the disk's end is outside the file, so it may be truncated")
    assert agrees_with_qemu(b"", tmp_path / "x", "vpc")
    (tmp_path / "x").write_bytes(sound)
    assert read_disk(tmp_path / "x") == raw.read_bytes() == qemu_bytes(tmp_path / "x", "vpc")


def entry(content: bytes, block: int) -> int:
    start: int = struct.unpack_from(">I", content, 1536 + 4 * block)[0]
    return start


def test_a_cut_off_fixed_disk_is_refused(tmp_path: Path, fixed: bytes) -> None:
    """The disk's last bytes would be the footer, or missing."""
    refused(
        tmp_path / "x", fixed[:MIB] + fixed[-512:], "its disk has 5244416 bytes, the file 1049088, so it is truncated"
    )


def test_a_raw_disk_that_ends_like_a_vhd_is_refused(tmp_path: Path, raw: Path) -> None:
    """A footer that is damaged would be taken for the disk's last sector."""
    refused(
        tmp_path / "x",
        raw.read_bytes()[:-512] + vhd.MAGIC + bytes(504),
        r"is a damaged VHD file \(the checksum of the footer is wrong\)",
    )


def test_sectors_that_were_never_written_are_zeros(tmp_path: Path, raw: Path, dynamic: bytes) -> None:
    """The garbage that lies in the file for them would be uploaded."""
    content, expected = bytearray(dynamic), bytearray(raw.read_bytes())
    bitmap = entry(dynamic, 0) * 512
    for sector in (3, 8, 9, 1500, *range(2048, 3072)):
        content[bitmap + sector // 8] &= ~(0x80 >> sector % 8)
        content[bitmap + 512 + sector * 512 :][:512] = b"\xee" * 512
        expected[sector * 512 : (sector + 1) * 512] = bytes(512)
    path = tmp_path / "x"
    path.write_bytes(content)
    assert read_disk(path) == expected
    with ImageFile(path) as image:
        assert [image.is_hole(index) for index in range(4)] == [False, False, True, False]


def test_blocks_that_were_never_written_are_zeros(tmp_path: Path, raw: Path, dynamic: bytes) -> None:
    """The bytes at the end of the file would be uploaded, or the disk be refused."""
    path = tmp_path / "x"
    path.write_bytes(set_entry(dynamic, 1, vhd.UNUSED))
    disk = raw.read_bytes()
    assert read_disk(path) == disk[: 2 * MIB] + bytes(2 * MIB) + disk[4 * MIB :] == qemu_bytes(path, "vpc")


def test_blocks_of_512_kib_are_read(tmp_path: Path) -> None:
    """A VHD that Hyper-V made with small blocks would be read wrong: its bitmaps have another size."""
    source = disk_file(tmp_path / "x.raw", ["data"], 3 * BLOCK)
    qemu("img", "create", "-q", "-f", "vpc", "-o", "subformat=dynamic,force_size=on", tmp_path / "x", str(3 * BLOCK))
    content = set_header((tmp_path / "x").read_bytes(), 28, struct.pack(">II", 3, BLOCK))
    disk = source.read_bytes()
    footer, body = content[-512:], bytearray(content[:-512])
    body[1536:1548] = struct.pack(">III", 4 + 2 * 1025, 4, 4 + 1025)
    body = body[:2048].ljust(2048, b"\0")
    for block in (1, 2, 0):
        body += b"\xff" * 128 + bytes(384) + disk[block * BLOCK : (block + 1) * BLOCK]
    (tmp_path / "x").write_bytes(body + footer)
    assert read_disk(tmp_path / "x") == disk == qemu_bytes(tmp_path / "x", "vpc")


hostile = st.sampled_from([512, 4096, 1 << 21, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])


@pytest.mark.usefixtures("dynamic", "fixed")  # as arguments their bytes would be shown
@settings(deadline=None, max_examples=80)
@given(
    kind=st.sampled_from(["dynamic", "fixed"]),
    changes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 87), st.integers(0, 7) | hostile), max_size=3),
    whole=st.booleans(),
    copied=st.booleans(),
    cut=st.none() | st.none() | st.floats(0, 1),
)
def test_any_damage_is_refused_or_read_as_qemu_reads_it(
    folder: Path,
    kind: str,
    changes: list[tuple[int, int, int]],
    whole: bool,  # noqa: FBT001 (hypothesis gives it)
    copied: bool,  # noqa: FBT001
    cut: float | None,
) -> None:
    """A crafted or broken file would end in a traceback, take all memory, or become a disk of wrong bytes."""
    content = bytearray((folder / kind).read_bytes())
    areas = [range(len(content) - 512, len(content) - 424), range(88), range(512, 556), range(1536, 1548)]
    for area, offset, value in changes:
        at = areas[area][offset % len(areas[area])]
        if value < 8:
            content[at] ^= 1 << value
        else:
            struct.pack_into(">I", content, at - at % 4, value)
    if whole:
        checksum(content, len(content) - 512, 512, 64)
        if content[:8] == vhd.MAGIC:
            checksum(content, 512, 1024, 36)
            if copied:
                content[:512] = content[-512:]
    if cut is not None:
        del content[int(cut * len(content)) :]
    path = folder / "fuzzed"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        disk = read_disk(path)
    except FleetswapError as error:
        # Most of the examples are refused, not all, so `pytest.raises` does not fit.
        assert re.fullmatch(rf"image {path} [^\n]+", str(error))  # noqa: PT017
        return
    finally:
        assert tracemalloc.get_traced_memory()[1] < 24 * MIB
        tracemalloc.stop()
    if vhd.MAGIC in (content[:8], content[-512:-504]):
        assert agrees_with_qemu(disk, path, "vpc")
    else:
        assert disk == content


@given(head=st.binary(max_size=90), file_size=st.integers(0, 1 << 50), header_at=st.integers(0, 1 << 50))
def test_any_footer_is_read_or_refused(head: bytes, file_size: int, header_at: int) -> None:
    """A footer of absurd numbers would be acted on."""
    content = bytearray((vhd.MAGIC + head).ljust(512, b"\0"))
    struct.pack_into(">I", content, 12, vhd.VERSION)
    struct.pack_into(">Q", content, 16, header_at)
    struct.pack_into(">I", content, 60, len(head) % 5)
    checksum(content, 0, 512, 64)
    try:
        footer = vhd.parse_footer(bytes(content), bytes(content), file_size, name="x")
    except InputError as error:
        assert re.fullmatch(r"image x [^\n]+", str(error))  # noqa: PT017
    else:
        assert footer.header_at + vhd.HEADER_BYTES <= file_size
        assert footer.size <= 2040 << 30


@given(starts=st.lists(st.integers(0, 40_000) | st.just(vhd.UNUSED), max_size=8), end=st.integers(5000, 45_000))
def test_blocks_that_lie_on_each_other_are_found(starts: list[int], end: int) -> None:
    """Two blocks of the disk would have the same bytes; or a sound file would be refused."""
    header = vhd.Header(512, 2 * MIB, 512, 1536, len(starts), len(starts))
    used = sorted(start for start in starts if start != vhd.UNUSED)
    sound = (
        all(later - earlier >= header.stride for earlier, later in itertools.pairwise(used))
        and all(start >= 4 for start in used[:1])
        and all(start + header.stride <= end for start in used)
    )
    try:
        vhd.check_table(array("I", starts), [], header, end * 512 + 512, name="x")
    except InputError:
        assert not sound
    else:
        assert sound
