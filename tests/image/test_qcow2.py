"""qcow2 files that are damaged, hostile, or need what we do not read: refused in one line, or read right."""

from __future__ import annotations

import re
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.image import qcow2
from tests.fakes.ebs import BLOCK, disk_file
from tests.image.images import MIB, agrees_with_qemu, convert, patch, qemu, qemu_bytes, raw_file, read_disk

pytestmark = pytest.mark.disks

CLUSTER = 4096
SIZE = 5 * BLOCK + 1536
"""Of the disk: two L2 tables of 512 entries for clusters of 4 KiB."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("qcow2")


@pytest.fixture(scope="module")
def raw(folder: Path) -> Path:
    return raw_file(folder / "x.raw", SIZE)


@pytest.fixture(scope="module")
def plain(folder: Path, raw: Path) -> bytes:
    return convert(raw, folder / "plain", "qcow2", f"cluster_size={CLUSTER}").read_bytes()


@pytest.fixture(scope="module")
def packed(folder: Path, raw: Path) -> bytes:
    return convert(raw, folder / "packed", "qcow2", f"cluster_size={CLUSTER}", "-c").read_bytes()


def tables(content: bytes | bytearray) -> tuple[int, list[int]]:
    """Where the L1 table and the L2 tables begin."""
    entries, at = struct.unpack_from(">IQ", content, 36)
    return at, [entry & qcow2.OFFSET_MASK for entry in struct.unpack_from(f">{entries}Q", content, at)]


def refused(path: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_disk(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


CONVERT = r"which is not supported: convert it with `qemu-img convert -O raw "


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "compression_type=zstd"], f"is a qcow2 file with zstd compression, {CONVERT}"),
        (["-o", "extended_l2=on"], f"is a qcow2 file with extended L2 entries, {CONVERT}"),
        (["-o", "data_file=data"], f"is a qcow2 file with its data in another file, {CONVERT}"),
        (["-F", "raw", "-b", "base.raw"], f"is a qcow2 file with a backing file, {CONVERT}"),
        (
            [
                "--object",
                "secret,id=s,data=secret",
                "-o",
                "encrypt.format=aes,encrypt.key-secret=s",
            ],
            f"is a qcow2 file with encryption, {CONVERT}",
        ),
    ],
)
def test_what_is_not_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    """A disk would be uploaded that lacks what lies elsewhere, or is encrypted, or packed in an unknown way."""
    monkeypatch.chdir(tmp_path)
    disk_file(tmp_path / "base.raw")
    qemu("img", "create", "-q", "-f", "qcow2", *options, tmp_path / "x.qcow2", "4M")
    refused(tmp_path / "x.qcow2", message)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (4, ">I1", f"is a qcow2 file with version 1, {CONVERT}"),
        (4, ">I4", f"is a qcow2 file with version 4, {CONVERT}"),
        (8, ">Q4096", f"is a qcow2 file with a backing file, {CONVERT}"),
        (20, ">I8", r"is a damaged qcow2 file \(clusters of 2\^8 bytes\): copy or build it again"),
        (20, ">I63", "clusters of 2^63 bytes"),
        (24, f">Q{1 << 62}", "its L1 table has 2 entries, but a disk of 4611686018427387904 bytes needs"),
        (24, ">Q0", "is empty"),
        (32, ">I2", f"is a qcow2 file with encryption, {CONVERT}"),
        (36, ">I1", "its L1 table has 1 entries, but a disk of 2622976 bytes needs 2"),
        (40, ">Q1", "its L1 table is not valid"),
        (36, f">I{(4 << 20) + 1}", "its L1 table is not valid"),
        (48, ">Q1", "its refcount table is not valid"),
        (56, ">I0", "it has no refcount table"),
        (56, ">I2049", "its refcount table is not valid"),
        (60, ">I65537", "its table of internal snapshots is not valid"),
        (64, ">Q8", "its table of internal snapshots is not valid"),
        (96, ">I7", r"refcounts of 2\^7 bits"),
        (112, f">Q{0x12345678FFFFFFFF}", "an extension of its header reaches past it"),
        (112, f">Q{0x05_37_BE_77_00_00_00_08}", "an encryption header without encryption"),
        (112, f">Q{0x23_85_28_75_00_00_00_08}", "an extension of its header has 8 bytes"),
        (40, ">Q0", "its L1 table is outside the file"),
        (40, f">Q{1 << 60}", "its L1 table is outside the file"),
        (72, ">Q2", r"is marked as corrupt: build it again, or repair it with `qemu-img check -r all "),
        (72, ">Q32", rf"is a qcow2 file with unknown features \(0x20\), {CONVERT}"),
        (72, ">Q8", "its compression type is 0, its features say otherwise"),
        (88, ">Q2", "its data is raw in another file, its features say otherwise"),
        (100, ">I96", "a header of 96 bytes"),
        (100, ">I105", "a header of 105 bytes"),
        (100, ">I8192", "a header of 8192 bytes"),
        (104, ">B1", "its compression type is 1, its features say otherwise"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path: Path, plain: bytes, at: int, value: str, message: str) -> None:
    """A header that contradicts itself would be believed, or a feature ignored that changes what the bytes mean."""
    path = tmp_path / "x.qcow2"
    path.write_bytes(plain)
    patch(path, at, struct.pack(value[:2], int(value[2:])))
    refused(path, message.replace("^63", r"\^63"))


def test_huge_disks_in_tiny_clusters_are_refused() -> None:
    """The L1 table alone would take more memory than an upload may."""
    head = struct.pack(">4sIQIIQIIQQIIQ", qcow2.MAGIC, 2, 0, 0, 9, 64 << 30, 0, 2 << 20, 512, 512, 1, 0, 0).ljust(
        512, b"\0"
    )
    with pytest.raises(
        InputError, match=f"image x is a qcow2 file with 68719476736 bytes in clusters of only 512, {CONVERT}"
    ):
        qcow2.parse(head, 64 << 30, name="x")


def test_a_header_longer_than_what_is_read_of_it_is_refused(tmp_path: Path) -> None:
    """Extensions past the first 64 KiB would be ignored, or end in a traceback."""
    path = convert(disk_file(tmp_path / "x.raw"), tmp_path / "x", "qcow2", "cluster_size=2M")
    refused(patch(path, 112, struct.pack(">II", 0x1234_5678, 65_536)), f"with a header of more than 64 KiB, {CONVERT}")


@pytest.fixture(scope="module")
def marked(folder: Path, raw: Path) -> bytes:
    """With a bitmap, as backups make them."""
    path = convert(raw, folder / "marked", "qcow2", f"cluster_size={CLUSTER}")
    qemu("img", "bitmap", "--add", path, "backup")
    return path.read_bytes()


def test_bitmaps_of_backups_are_no_obstacle(tmp_path: Path, marked: bytes, raw: Path) -> None:
    """An image of a machine that was backed up would be refused, or its bitmap be taken for the disk."""
    (tmp_path / "x").write_bytes(marked)
    assert read_disk(tmp_path / "x") == raw.read_bytes()


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, ">I0"), (0, ">I65536"), (4, ">I1"), (8, f">Q{1024 * 65_535 + 1}"), (16, f">Q{CLUSTER + 8}")],
    ids=["none", "too many", "reserved", "too large", "not at a cluster"],
)
def test_bitmaps_that_make_no_sense_are_refused(tmp_path: Path, marked: bytes, at: int, value: str) -> None:
    """A file that contradicts itself would be taken for sound; QEMU does not open it."""
    path = tmp_path / "x"
    path.write_bytes(marked)
    patch(path, bitmaps(marked) + at, struct.pack(value[:2], int(value[2:])))
    refused(path, "its bitmaps are not valid")
    assert agrees_with_qemu(b"", path, "qcow2")


def test_a_file_that_ends_within_its_header_is_refused(tmp_path: Path, marked: bytes) -> None:
    """The first bytes of a download would end in a traceback, or be called a header that is too long."""
    path = tmp_path / "x"
    path.write_bytes(marked[: bitmaps(marked) + 8])
    refused(path, "its header is truncated")
    for size in (112, 116):
        path.write_bytes(marked[:size])
        refused(path, "its L1 table is outside the file")


def bitmaps(content: bytes) -> int:
    """Where the extension of the bitmaps begins, behind its type and its length."""
    return content.index(struct.pack(">II", qcow2.BITMAPS, 24)) + 8


@pytest.mark.parametrize("extra", [qcow2.MAX_EXTRA_BYTES + 1, 1 << 31], ids=["just too large", "absurd"])
def test_snapshots_that_make_no_sense_are_refused(tmp_path: Path, raw: Path, extra: int) -> None:
    """A file that contradicts itself would be taken for sound; QEMU does not open it."""
    path = convert(raw, tmp_path / "x", "qcow2", f"cluster_size={CLUSTER}")
    qemu("img", "snapshot", "-c", "one", path)
    at = int.from_bytes(path.read_bytes()[64:72], "big")
    refused(
        patch(path, at + qcow2.SNAPSHOT.size - 4, struct.pack(">I", extra)),
        "its table of internal snapshots is not valid",
    )
    assert agrees_with_qemu(b"", path, "qcow2")


def test_a_dirty_image_is_read(tmp_path: Path, plain: bytes, raw: Path) -> None:
    """An image with lazy refcounts would be refused, though only what writers need is stale in it."""
    (tmp_path / "x").write_bytes(plain)
    assert read_disk(patch(tmp_path / "x", 72, struct.pack(">Q", qcow2.DIRTY))) == raw.read_bytes()


def l1(content: bytearray) -> int:
    return tables(content)[0]


def l2(content: bytearray) -> int:
    return tables(content)[1][0]


def first_cluster(content: bytearray) -> int:
    return int.from_bytes(content[l2(content) : l2(content) + 8], "big") & qcow2.OFFSET_MASK


@pytest.mark.parametrize(
    ("where", "what", "message"),
    [
        (l1, lambda _: 1 << 50, r"an L2 table at byte \d+ is outside the file: truncated\?"),
        (l1, lambda c: l2(c) + 512, "L1 entry 0x[0-9a-f]{16} is not valid"),
        (l1, lambda c: l2(c) | 1 << 60, "L1 entry 0x[0-9a-f]{16} is not valid"),
        (l1, lambda c: l1(c), r"an L2 table at byte \d+ overlaps something else"),
        (l1, lambda c: tables(c)[1][1], r"an L2 table at byte \d+ overlaps something else"),
        (l2, lambda _: 1 << 50, r"a cluster at byte \d+ is outside the file: truncated\?"),
        (l2, lambda c: first_cluster(c) + 512, "L2 entry 0x[0-9a-f]{16} is not valid"),
        (l2, lambda c: first_cluster(c) | 1 << 57, "L2 entry 0x[0-9a-f]{16} is not valid"),
        (l2, lambda _: qcow2.COPIED, "L2 entry 0x8000000000000000 is not valid"),
        (l2, lambda c: l1(c), r"a cluster at byte \d+ overlaps a table"),
        (l2, lambda c: l2(c), r"a cluster at byte \d+ overlaps a table"),
        (l2, lambda c: tables(c)[1][1], r"a cluster at byte \d+ overlaps a table"),
        (l2, lambda _: qcow2.COMPRESSED | 1, r"a cluster at byte \d+ overlaps a table"),
        (l2, lambda c: qcow2.COMPRESSED | len(c), r"a cluster at byte \d+ is outside the file"),
        (l2, lambda c: qcow2.COMPRESSED | first_cluster(c), r"the compressed cluster at byte \d+ cannot be unpacked"),
        (l2, lambda c: qcow2.COMPRESSED | qcow2.COPIED | first_cluster(c), "L2 entry 0x[0-9a-f]{16} is not valid"),
    ],
)
def test_a_table_that_points_to_nonsense_is_refused(
    tmp_path: Path,
    plain: bytes,
    where: Callable[[bytearray], int],
    what: Callable[[bytearray], int],
    message: str,
) -> None:
    """Zeros, or the file's own tables, would be uploaded in place of the disk's bytes."""
    content = bytearray(plain)
    struct.pack_into(">Q", content, where(content), what(content))
    (tmp_path / "x").write_bytes(content)
    refused(tmp_path / "x", message)


def test_the_zero_flag_is_of_version_3(tmp_path: Path, raw: Path) -> None:
    """In version 2 the bit is reserved: a file that has it is damaged."""
    path = convert(raw, tmp_path / "x", "qcow2", f"cluster_size={CLUSTER},compat=0.10")
    content = bytearray(path.read_bytes())
    struct.pack_into(">Q", content, l2(content) + 8, first_cluster(content) | 1)
    path.write_bytes(content)
    refused(path, "L2 entry 0x[0-9a-f]{16} is not valid")


@pytest.mark.parametrize("kind", ["plain", "packed"])
def test_a_truncated_file_is_never_read_wrong(
    tmp_path: Path, raw: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """Half a download would be uploaded, with zeros for the other half."""
    content = request.getfixturevalue(kind)
    path = tmp_path / "x"
    for size in [*range(4, 200, 7), *range(512, len(content), 7000), len(content) - CLUSTER, len(content) - 1000]:
        path.write_bytes(content[:size])
        try:
            assert read_disk(path) == raw.read_bytes()
        except InputError as error:
            # Most lengths are refused; only what lies past the last byte of the disk may be missing.
            assert "\n" not in str(error)  # noqa: PT017
            assert size < len(content) - 512 or kind == "plain"


hostile = st.sampled_from([512, 4096, 65_536, 1 << 31, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 1])


@pytest.mark.usefixtures("plain", "packed")  # as arguments their bytes would be shown
@settings(deadline=None, max_examples=80)
@given(
    kind=st.sampled_from(["plain", "packed"]),
    changes=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 1 << 20), st.integers(0, 7) | st.just(8) | hostile),
        min_size=1,
        max_size=3,
    ),
)
def test_any_damage_is_refused_or_read_as_qemu_reads_it(
    folder: Path, kind: str, changes: list[tuple[int, int, int]]
) -> None:
    """A crafted or broken file would end in a traceback, take all memory, or become a disk of wrong bytes."""
    content = bytearray((folder / kind).read_bytes())
    l1_at, l2_at = tables(content)
    areas = [range(4, 112), range(l1_at, l1_at + 16), *(range(at, at + 64) for at in l2_at), range(len(content) - 600)]
    for area, offset, value in changes:
        at = areas[area][offset % len(areas[area])]
        if value < 8:
            content[at] ^= 1 << value
        else:
            struct.pack_into(">Q", content, at - at % 8, l2_at[-1] if value == 8 else value)
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
    assert agrees_with_qemu(disk, path, "qcow2")


@given(
    head=st.binary(max_size=40),
    fields=st.tuples(*(st.integers(0, (1 << bits) - 1) | st.sampled_from([0, 3, 16]) for bits in (32, 64, 32, 64))),
    file_size=st.integers(0, 1 << 50),
)
def test_any_header_is_read_or_refused(head: bytes, fields: tuple[int, ...], file_size: int) -> None:
    """A header of absurd numbers would be acted on: allocated, or sought to."""
    bits, size, entries, at = fields
    content = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, bits % 24, size >> size % 64, 0, entries, at & ~511, 0, 0, 0, 0
    )
    for candidate in (content + head, qcow2.MAGIC + head):
        try:
            header = qcow2.parse(candidate, file_size, name="x")
        except InputError as error:
            assert re.fullmatch(r"image x [^\n]+", str(error))  # noqa: PT017
        else:
            assert header.tables * 8 <= qcow2.MAX_L1_BYTES
            assert header.l1_at + header.tables * 8 <= file_size


@given(entry=st.integers(0, (1 << 64) - 1), bits=st.sampled_from(qcow2.CLUSTER_BITS), version=st.sampled_from([2, 3]))
def test_any_entry_is_read_or_refused(entry: int, bits: int, version: int) -> None:
    """A length or an offset from a table would be without bounds."""
    header = qcow2.Header("x", version, bits, 1 << 30, 1 << bits, 1, 0, 0)
    for masked in (entry, entry & (qcow2.OFFSET_MASK | qcow2.COPIED | 1), entry & ~qcow2.COPIED | qcow2.COMPRESSED):
        try:
            cluster = header.cluster(masked)
        except InputError:
            continue
        assert 0 <= cluster.at < 1 << 56
        assert cluster.stored <= 2 << bits
        if cluster.kind is qcow2.Kind.DATA:
            assert cluster.at % (1 << bits) == 0 < cluster.at


def test_a_compressed_cluster_of_a_larger_window_is_read(tmp_path: Path, raw: Path) -> None:
    """What other tools than QEMU pack, with the 32 KiB window of plain deflate, would be refused."""
    path = convert(raw, tmp_path / "x", "qcow2")
    content = bytearray(path.read_bytes())
    cluster = raw.read_bytes()[65_536:85_536] * 4
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(cluster[:65_536]) + packer.flush()
    assert len(packed) < 24_000
    entry = l2(content) + 8
    at = int.from_bytes(content[entry : entry + 8], "big") & qcow2.OFFSET_MASK
    struct.pack_into(">Q", content, entry, qcow2.COMPRESSED | (len(packed) // 512) << 54 | at)
    content[at : at + len(packed)] = packed
    path.write_bytes(content)
    disk = read_disk(path)
    assert disk[65_536:131_072] == cluster[:65_536]
    assert disk == qemu_bytes(path, "qcow2")
