"""A snapshot that is not the image is found out, whatever is wrong with it; one that is passes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.image import blockmap
from fleetswap.domain.image.blockmap import BadMap, NoMap
from fleetswap.workflows.image.verify import SHOWN, Verified, verify
from tests.fakes.ebs import BLOCK, FakeClock, disk_bytes, nothing
from tests.fakes.reads import SNAPSHOT, Finished, mapped

CONTENT = disk_bytes(["data", "zero", "same"], 7 * BLOCK - 512)


def run(port: Finished, file: Path | None = None) -> Verified:
    return verify(SNAPSHOT, file, port, progress=nothing, clock=FakeClock(), connections=3)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(CONTENT)
    return path


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_good_snapshot_passes_with_and_without_the_file(image: Path) -> None:
    """A good snapshot would be called bad."""
    alone, beside = run(mapped(CONTENT)), run(mapped(CONTENT), image)
    assert alone.matches
    assert beside.matches
    assert (alone.map_problem, alone.size, alone.blocks_read, alone.bytes_read) == (None, len(CONTENT), 7, 7 * BLOCK)
    assert (beside.differences, beside.problems, beside.blocks_lacking) == ((), (), 0)


def test_a_skipped_hole_passes_and_is_counted(image: Path) -> None:
    """A snapshot without the image's holes would be called bad, or nobody would be told of them."""
    found = run(mapped(CONTENT, holes=(1, 4)), image)
    assert found.matches
    assert (found.blocks_read, found.blocks_lacking) == (5, 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, len(CONTENT) - 1), st.booleans())
def test_every_flipped_byte_is_found(tmp_path_factory: pytest.TempPathFactory, at: int, beside: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    """A damaged block would pass, or the wrong place be named."""
    file = tmp_path_factory.getbasetemp() / "whole.raw"
    if not file.exists():
        file.write_bytes(CONTENT)
    port = mapped(CONTENT)
    index = at // BLOCK
    port.held[index] = flipped(port.held[index], at % BLOCK)
    found = run(port, file if beside else None)
    assert not found.matches
    assert found.differing == 1
    (difference,) = found.differences
    assert (difference.index, difference.offset) == (index, at if beside else index * BLOCK)
    assert "differs from the block map" in difference.reason
    assert ("differs from whole.raw" in difference.reason) == beside


def test_a_lacking_block_is_found(image: Path) -> None:
    """A block that the map has and the snapshot lacks is garbage on an encrypted volume."""
    port = mapped(CONTENT)
    del port.held[1], port.held[3]
    found = run(port, image)
    assert [(each.index, each.offset) for each in found.differences] == [(1, BLOCK), (3, 3 * BLOCK)]
    assert "but the block map has it" in found.differences[0].reason
    assert "no zeros in" not in found.differences[0].reason
    assert "not zero in disk.raw" in found.differences[1].reason


def test_a_block_that_the_map_does_not_know_is_found() -> None:
    """Somebody else has written to the snapshot, and the next child would inherit it."""
    port = mapped(CONTENT, holes=(1,))
    port.held[1] = b"x" * BLOCK
    (difference,) = run(port).differences
    assert (difference.index, difference.reason) == (1, "is in the snapshot, but the block map does not have it")


def test_another_file_is_found(tmp_path: Path) -> None:
    """A snapshot of another image would be taken for this one."""
    other = tmp_path / "other.raw"
    other.write_bytes(disk_bytes(["data"], len(CONTENT), seed=9))
    found = run(mapped(CONTENT), other)
    assert not found.matches
    assert found.differing == 7
    longer = tmp_path / "longer.raw"
    longer.write_bytes(CONTENT + bytes(BLOCK))
    found = run(mapped(CONTENT), longer)
    assert not found.matches
    assert found.differing == 0
    assert "disk in longer.raw has" in found.problems[0]


def test_only_the_first_differences_are_kept_and_all_are_counted() -> None:
    """A wrong snapshot of a large disk would fill the memory and the screen, or its first block not be named."""
    content = disk_bytes(["data"], 30 * BLOCK)
    port = mapped(content)
    for index in range(3, 30):
        port.held[index] = flipped(port.held[index], 7)
    found = run(port)
    assert found.differing == 27
    assert [each.index for each in found.differences] == list(range(3, 3 + SHOWN))


def test_without_a_map_only_the_file_is_a_judge(image: Path) -> None:
    """A snapshot that something else made would be called bad, or one with other bytes good."""
    port = mapped(CONTENT)
    del port.held[2047]
    port.held[6] = CONTENT[6 * BLOCK :] + b"y" * 512  # past the file's end: not the file's business
    port.held[100] = b"x" * BLOCK
    alone = run(port)
    assert alone.matches
    assert (alone.map_problem, alone.size, alone.blocks_read) == ("is missing", None, 8)
    beside = run(port, image)
    assert beside.matches
    assert (beside.size, beside.blocks_read) == (len(CONTENT), 7)
    port.held[5] = flipped(port.held[5], 9)
    (difference,) = run(port, image).differences
    assert (difference.index, difference.offset) == (5, 5 * BLOCK + 9)
    del port.held[5]
    (difference,) = run(port, image).differences
    assert difference.reason == "is missing from the snapshot, but not zero in disk.raw"


def test_a_volume_smaller_than_the_file_is_found(tmp_path: Path) -> None:
    """The file's end would not be compared with anything."""
    port = Finished({index: CONTENT[index * BLOCK :][:BLOCK].ljust(BLOCK, b"\0") for index in range(7)}, page=500)
    file = tmp_path / "large.raw"
    file.write_bytes(CONTENT)
    os.truncate(file, (1 << 30) + BLOCK)
    found = run(port, file)
    assert not found.matches
    assert "the volume has" in found.problems[0]


def test_a_damaged_map_is_a_mismatch_and_another_ones_map_is_none() -> None:
    """Damage would pass for a snapshot without a map, or every copy of a snapshot be called bad."""
    port = mapped(CONTENT)
    port.held[2047] = flipped(port.held[2047], 40)
    found = run(port)
    assert not found.matches
    assert "checksum of its entries is wrong" in found.problems[0]
    copied = run(mapped(CONTENT, snapshot_id="snap-0999"))
    assert copied.matches
    assert copied.map_problem is not None
    assert "belongs to snap-0999" in copied.map_problem


def test_the_reasons_for_no_map_are_the_ones_that_blockmap_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map that is only another's, or a newer one, would count as damage, or damage for none."""
    block = mapped(CONTENT).held[2047]
    with monkeypatch.context() as patch:
        patch.setattr(blockmap, "VERSION", 2)
        newer = mapped(CONTENT).held[2047]
    cases = (bytes(BLOCK), SNAPSHOT), (block, "snap-0999"), (flipped(block, BLOCK - 9), SNAPSHOT), (newer, SNAPSHOT)
    expected = {"is missing", "belongs to", "has version", "damage"}
    reasons = set()
    for data, name in cases:
        with pytest.raises(BadMap) as caught:
            blockmap.read_header(data, snapshot_id=name, volume_gib=1)
        told = str(caught.value) if isinstance(caught.value, NoMap) else "damage"
        reasons.add(next(begin for begin in expected if told.startswith(begin)))
    assert reasons == expected


def test_a_file_that_changes_meanwhile_is_no_judge(image: Path) -> None:
    """A good snapshot would be called bad because of a file that is being written to."""
    port = mapped(CONTENT)

    def change(operation: str, index: int) -> None:
        if operation == "get" and index == 3:
            with image.open("r+b") as file:
                file.seek(9)
                file.write(b"new")
            os.utime(image, ns=(1, 1))

    port.before = change
    with pytest.raises(FleetswapError, match=r"disk\.raw"):
        run(port, image)


def test_a_file_that_is_replaced_meanwhile_is_no_judge(image: Path) -> None:
    """The file of that name would pass for what was compared."""
    port = mapped(CONTENT)

    def replace(operation: str, index: int) -> None:
        if operation == "get" and index == 6:
            other = image.with_name("new.raw")
            other.write_bytes(CONTENT)
            other.replace(image)

    port.before = replace
    with pytest.raises(FleetswapError, match=r"disk\.raw"):
        run(port, image)


def test_what_is_no_disk_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    """A mistyped name would cost the reading of a whole snapshot."""
    port = mapped(CONTENT)
    port.before = lambda operation, _index: pytest.fail(operation)
    with pytest.raises(InputError):
        run(port, tmp_path / "absent.raw")
