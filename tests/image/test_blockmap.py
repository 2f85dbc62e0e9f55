"""The block map: layout, round trip, and damage of every kind."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap.domain.errors import InputError
from fleetswap.domain.image import blockmap
from fleetswap.domain.image.blockmap import BadMap, BlockMap, Encoded

BLOCK = 524_288
TIB = 1 << 40
SNAPSHOT = "snap-0123456789abcdef0"


def digests(count: int, seed: bytes = b"") -> bytes:
    return b"".join(hashlib.sha256(seed + index.to_bytes(8, "big")).digest() for index in range(count))


def encoded(block_map: BlockMap) -> bytearray:
    made = Encoded(block_map)
    blob = bytearray()
    for number in range(made.count):
        block = bytearray(b"x" * BLOCK)
        made.fill(number, block)
        blob += block
    return blob


SMALL = BlockMap(SNAPSHOT, 5 * BLOCK - 7, digests(5))
BLOB = bytes(encoded(SMALL))


@given(st.integers(1, 64 * TIB - 8 * (1 << 30)))
def test_image_and_map_just_fit_the_volume(size: int) -> None:
    """The map would lie on the image's end, or a volume be larger than it must be."""
    layout = blockmap.layout(size)
    assert (layout.count - 1) * BLOCK < size <= layout.count * BLOCK
    assert layout.count <= layout.map_first
    assert layout.map_indexes[-1] == blockmap.last_block(layout.volume_gib) == layout.volume_gib * 2048 - 1
    assert (layout.map_blocks - 1) * BLOCK < layout.count * 32 + 4096 <= layout.map_blocks * BLOCK
    assert layout.volume_gib == 1 or layout.count + layout.map_blocks > (layout.volume_gib - 1) * 2048


@pytest.mark.parametrize(
    ("size", "count", "map_blocks", "gib"),
    [
        (1, 1, 1, 1),
        (2047 * BLOCK, 2047, 1, 1),
        ((1 << 30) - 1, 2048, 1, 2),
        (1 << 30, 2048, 1, 2),
        (16_256 * BLOCK, 16_256, 1, 8),
        (16_257 * BLOCK, 16_257, 2, 8),
        (64 << 30, 131_072, 9, 65),
        (64 * TIB - (4 << 30) - BLOCK, 134_209_535, 8192, 65_536),
    ],
)
def test_layouts_at_the_edges(size: int, count: int, map_blocks: int, gib: int) -> None:
    """A mistake by one at a limit would be found by the first image of just that size."""
    layout = blockmap.layout(size)
    assert (layout.count, layout.map_blocks, layout.volume_gib) == (count, map_blocks, gib)


def test_an_image_for_which_there_is_no_volume_is_refused() -> None:
    """EBS would refuse the start of the snapshot, without saying that it is the image."""
    with pytest.raises(InputError, match=r"too large: with its block map it needs a volume of 65541 GiB"):
        blockmap.layout(64 * TIB)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40_000), st.integers(0, BLOCK - 1), st.lists(st.integers(0, 40_000), max_size=3))
def test_what_is_written_is_read(count: int, short: int, absent: list[int]) -> None:
    """The next image would be compared with other blocks than the snapshot has."""
    entries = bytearray(digests(count))
    for index in absent:
        entries[index % count * 32 : index % count * 32 + 32] = bytes(32)
    block_map = BlockMap(SNAPSHOT, count * BLOCK - short, bytes(entries))
    blob = encoded(block_map)
    layout = blockmap.layout(block_map.size)
    assert len(blob) == layout.map_blocks * BLOCK
    read = blockmap.decode(blob, snapshot_id=SNAPSHOT, volume_gib=layout.volume_gib)
    assert (read.snapshot_id, read.size, bytes(read.digests), read.count) == (
        SNAPSHOT,
        block_map.size,
        bytes(entries),
        count,
    )
    for index in {0, count - 1, *(index % count for index in absent)}:
        entry = bytes(entries[index * 32 : index * 32 + 32])
        assert read.digest(index) == (entry if any(entry) else None)
    with pytest.raises(IndexError):
        read.digest(count)


def read(blob: bytes | bytearray, *, snapshot_id: str = SNAPSHOT, volume_gib: int = 1) -> BlockMap:
    return blockmap.decode(blob, snapshot_id=snapshot_id, volume_gib=volume_gib)


@given(
    st.one_of(st.integers(0, 159), st.integers(BLOCK - 4096, BLOCK - 1), st.integers(0, BLOCK - 1)), st.integers(1, 255)
)
def test_damage_of_any_byte_is_noticed(at: int, change: int) -> None:
    """A block that changed would be taken for unchanged, and the machine boot from another version's bytes."""
    blob = bytearray(BLOB)
    blob[at] ^= change
    with pytest.raises(BadMap):
        read(blob)


def test_damage_of_each_byte_of_the_header_is_noticed() -> None:
    """A field that no check covers would be believed after a flipped bit."""
    blob = bytearray(BLOB)
    for at in itertools.chain(range(BLOCK - 4096, BLOCK - 4096 + 200), range(BLOCK - 40, BLOCK)):
        blob[at] ^= 1
        with pytest.raises(BadMap):
            read(blob)
        blob[at] ^= 1
    read(blob)


@given(st.lists(st.tuples(st.integers(0, BLOCK - 1), st.binary(min_size=1, max_size=64)), min_size=1, max_size=4))
def test_any_overwriting_is_noticed(patches: list[tuple[int, bytes]]) -> None:
    """A volume whose file system wrote over the map, partly, would pass for the parent of the next image."""
    blob = bytearray(BLOB)
    for at, data in patches:
        blob[at : at + len(data)] = data[: BLOCK - at]
    if blob == BLOB:
        return
    with pytest.raises(BadMap):
        read(blob)


@pytest.mark.parametrize("length", [0, 1, 4096, BLOCK - 1, BLOCK + 1, 2 * BLOCK])
def test_a_wrong_length_is_noticed(length: int) -> None:
    """A map that was not read whole would be believed as far as it goes."""
    with pytest.raises(BadMap):
        read(BLOB[:length] if length <= BLOCK else bytes(length - BLOCK) + BLOB)


def forged(**changes: int | bytes) -> bytes:
    """A map whose header says something else, with the right checksum."""
    fields = list(blockmap._HEADER.unpack_from(BLOB[-4096:]))
    names = ["magic", "version", "block_size", "size", "count", "map_blocks", "snapshot", "entries"]
    for name, value in changes.items():
        fields[names.index(name)] = value
    header = blockmap._HEADER.pack(*fields).ljust(4096 - 32, b"\0")
    return BLOB[:-4096] + header + hashlib.sha256(header).digest()


@pytest.mark.parametrize(
    ("blob", "said"),
    [
        (bytes(BLOCK), "is missing"),
        (BLOB[::-1], "is missing"),
        (forged(version=2), "has version 2, but this Fleetswap reads version 1"),
        (forged(block_size=4096), "its sizes contradict each other"),
        (forged(size=6 * BLOCK), "its sizes contradict each other"),
        (forged(size=0), "its sizes contradict each other"),
        (forged(count=4), "its sizes contradict each other"),
        (forged(map_blocks=2), "its sizes contradict each other"),
        (forged(size=2048 * BLOCK, count=2048), "its sizes contradict each other"),
        (forged(entries=bytes(32)), "is damaged: the checksum of its entries"),
        (BLOB[:-1] + b"\0", "is damaged: the checksum of its header"),
    ],
    ids=itertools.count(),
)
def test_says_what_is_wrong(blob: bytes, said: str) -> None:
    """A full upload would be a riddle, or a newer version's map be read as this one's."""
    with pytest.raises(BadMap, match=said):
        read(blob)


def test_a_map_of_another_snapshot_is_not_believed() -> None:
    """A snapshot of a running volume carries the image's map, and the volume has been written to since."""
    with pytest.raises(BadMap, match=f"belongs to {SNAPSHOT}: the snapshot was made from a volume, or is a copy"):
        read(BLOB, snapshot_id="snap-1")


@pytest.mark.parametrize("index", [-1, 5])
def test_a_block_outside_the_image_has_no_digest(index: int) -> None:
    """A defect of the uploader would compare a block with another one's digest, or with the map's padding."""
    with pytest.raises(IndexError, match=str(index)):
        BlockMap(SNAPSHOT, 5 * BLOCK, digests(5)).digest(index)


def test_a_map_that_cannot_be_right_is_not_made() -> None:
    """A defect of the uploader would be written into a completed snapshot, and be found when its child is wrong."""
    with pytest.raises(ValueError, match="4 digests for 5 blocks"):
        Encoded(BlockMap(SNAPSHOT, 5 * BLOCK, digests(4)))
    with pytest.raises(ValueError, match="empty or too long"):
        Encoded(BlockMap("", 5 * BLOCK, digests(5)))
