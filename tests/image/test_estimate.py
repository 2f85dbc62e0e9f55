"""What an upload would send: exactly what it then sends, and nothing is changed by asking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleetswap.domain.errors import CloudError, InputError
from fleetswap.domain.image import manifest
from fleetswap.domain.image.cost import Estimate
from fleetswap.workflows.image.estimate import estimate, seconds_left
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.upload import Uploaded
from tests.fakes.ebs import FakeClock, FakeSnapshots, nothing, spelled
from tests.image.test_manifest import WHOLE
from tests.image.uploads import upload

READS = {"find", "describe", "list_blocks", "get"}


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    spelled(path, "ab0A.c")
    return path


def request(**asked: Any) -> UploadRequest:
    return UploadRequest(**({"identity": "/nix/store/new-image", "stack": "s", "lineage": "web"} | asked))


def sent(port: FakeSnapshots, path: Path, **asked: Any) -> Uploaded:
    return upload(path, request(**asked), port, port, nothing, clock=FakeClock(), connections=1)


def asked_for(port: FakeSnapshots, path: Path, **asked: Any) -> Estimate:
    found = estimate(path, request(**asked), port, nothing, clock=FakeClock())
    assert found is not None
    return found


@pytest.mark.parametrize("before", [None, "ab0A.c", "xb0A.c", "ab", "ab0A.cdefg"])
@pytest.mark.parametrize("holds", [b"", manifest.encode(WHOLE)], ids=["plain", "manifest"])
@pytest.mark.parametrize("sparse", ["none", "holes"])
def test_it_is_what_the_upload_sends(disk: Path, tmp_path: Path, before: str | None, holds: bytes, sparse: str) -> None:
    """A reviewer would approve another number of blocks, another time and another price than the deploy takes."""
    port = FakeSnapshots()
    parent = None
    if before is not None:
        spelled(tmp_path / "before.raw", before)
        parent = sent(port, tmp_path / "before.raw", identity="/nix/store/old-image", sparse=sparse).snapshot_id
    port.calls.clear()
    found = asked_for(port, disk, manifest=holds, sparse=sparse)
    assert set(port.calls) <= READS
    made = sent(port, disk, manifest=holds, sparse=sparse)
    assert (found.blocks, found.blocks_sent) == (made.blocks, made.blocks_sent)
    assert (found.parent, found.adopted) == (made.parent, None) == (parent, None)
    assert found.bytes_sent == made.bytes_sent


def test_an_image_that_is_there_is_adopted(disk: Path) -> None:
    """A preview would announce an upload that never comes."""
    port = FakeSnapshots()
    there = sent(port, disk).snapshot_id
    found = asked_for(port, disk)
    assert (found.blocks_sent, found.adopted) == (0, there)
    assert str(found) == f"nothing to send: snapshot {there} has the image"


def test_the_named_parent_and_none_are_taken(disk: Path) -> None:
    """The options of the upload would not count."""
    port = FakeSnapshots()
    there = sent(port, disk, identity="/nix/store/old-image").snapshot_id
    assert asked_for(port, disk, parent="none").blocks_sent == 7
    assert asked_for(port, disk, parent=there, lineage="").blocks_sent == 1
    assert asked_for(port, disk, lineage="").blocks_sent == 7
    port.held[there].written.pop(2047)
    with pytest.raises(InputError, match="choose another parent"):
        asked_for(port, disk, parent=there)


def test_it_ends_when_it_takes_too_long(disk: Path) -> None:
    """A preview of a large image would take minutes."""
    port, clock = FakeSnapshots(), FakeClock()
    sent(port, disk, identity="/nix/store/old-image")
    assert estimate(disk, request(), port, nothing, enough=seconds_left(clock, 0), clock=clock) is None
    assert estimate(disk, request(), port, nothing, enough=seconds_left(clock, 1), clock=clock) is not None


def test_what_goes_wrong_while_blocks_are_compared_is_raised(disk: Path) -> None:
    """Blocks that could not be read would count as unchanged."""
    port = FakeSnapshots()
    sent(port, disk, identity="/nix/store/old-image")

    def broken() -> bool:
        raise CloudError("broken")

    with pytest.raises(CloudError, match="broken"):
        estimate(disk, request(), port, nothing, enough=broken, clock=FakeClock())


def test_the_line_has_blocks_size_time_and_price() -> None:
    """A reviewer would have to compute what a deploy takes and costs."""
    assert str(Estimate(2_500, 2_010, parent="snap-1")) == (
        "2,010 blocks to send (the image has 2,500; the others are in snap-1): 1,005 MiB, at least 2 s at 1,000 blocks"
        " a second; $0.01 to send, $0.05 a month to keep (in us-east-1)"
    )
    assert str(Estimate(1, 2)) == (
        "2 blocks to send (the image has 1): 1 MiB, less than 1 s at 1,000 blocks a second; less than $0.01 to"
        " send, less than $0.01 a month to keep (in us-east-1)"
    )
    assert ": 5,000,000 MiB, " in str(Estimate(10_000_000, 10_000_000))
    assert ": 1.5 MiB, " in str(Estimate(40, 3))
    assert "; $0.60 to send, $2.44 a month to keep (in us-east-1)" in str(Estimate(100_000, 100_000))


@pytest.mark.parametrize("encrypts", [True, False])
def test_a_plain_parent_serves_no_account_that_encrypts_by_default(
    disk: Path, tmp_path: Path, *, encrypts: bool
) -> None:
    """The preview would promise an upload of a few blocks, and the deploy send all."""
    port = FakeSnapshots()
    spelled(tmp_path / "before.raw", "xb0A.c")
    sent(port, tmp_path / "before.raw", identity="/nix/store/old-image")
    port.encrypts = encrypts
    lines: list[str] = []
    found = estimate(disk, request(), port, lines.append, clock=FakeClock(), encrypts=lambda: port.encrypts)
    assert found is not None
    made = sent(port, disk)
    assert (found.blocks_sent, found.parent) == (made.blocks_sent, made.parent)
    assert (made.parent is None) is encrypts
    assert any("the account encrypts all new snapshots" in line for line in lines) is encrypts
