"""Manifests in snapshots: sent with the image, found by AWS alone, never another snapshot's, and never in the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.image import blockmap, manifest
from fleetswap.domain.image.blockmap import layout
from fleetswap.domain.image.manifest import Manifest
from fleetswap.workflows.image import read_manifest
from fleetswap.workflows.image.read_manifest import NoManifest, manifest_in, manifest_of
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.ship import ship
from fleetswap.workflows.image.upload import Uploaded
from fleetswap.workflows.image.verify import verify
from tests.fakes.ebs import BLOCK, FakeClock, FakeSnapshots, Held, disk_file, nothing, read_back
from tests.image.test_manifest import IDENTITY, LISTED, WHOLE
from tests.image.test_ship import Maker
from tests.image.uploads import upload

BEFORE = "/nix/store/before-image"
WHERE = 2047 - 1
"""The block of a manifest of one block: before the one of the map."""


class Parting(Exception):
    """Ends an upload where a test wants it."""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return disk_file(tmp_path / "disk.raw")


def sent(
    port: FakeSnapshots,
    disk: Path,
    made: Manifest | None = WHOLE,
    *,
    say: Callable[[str], None] = nothing,
    **asked: Any,
) -> Uploaded:
    data = b"" if made is None else manifest.encode(made)
    request = UploadRequest(**({"identity": IDENTITY, "stack": "s", "lineage": "web", "manifest": data} | asked))
    return upload(disk, request, port, port, say, clock=FakeClock(), connections=1)


def found(port: FakeSnapshots, identity: str = IDENTITY) -> tuple[Manifest | None, list[str]]:
    warned: list[str] = []
    return manifest_of(port, "s", identity, warned.append, clock=FakeClock()), warned


def test_what_was_uploaded_is_found_by_the_tags(disk: Path) -> None:
    """A preview would know nothing of the live image, or an upload's checksum miss the manifest's blocks."""
    port = FakeSnapshots()
    uploaded = sent(port, disk)
    assert found(port) == (WHOLE, [])
    assert manifest_in(port, uploaded.snapshot_id, clock=FakeClock()) == WHOLE
    held = port.held[uploaded.snapshot_id]
    assert set(held.written) == {*range(6), WHERE, 2047}
    assert uploaded.blocks_sent == 8
    assert read_back(held, disk.stat().st_size)[: disk.stat().st_size] == disk.read_bytes()


def test_a_source_that_knows_what_it_made_ships_that(disk: Path) -> None:
    """No image of Nix would ever have a manifest."""
    port = FakeSnapshots()
    request = UploadRequest(identity=IDENTITY, stack="s")
    ship(request, Maker(disk, makes=IDENTITY, contains=LISTED), port, port, nothing, clock=FakeClock(), connections=1)
    assert found(port) == (LISTED, [])


def test_a_snapshot_of_an_older_version_is_as_before(disk: Path) -> None:
    """A snapshot that was deployed would be sent again, or previews warn of every image that is older."""
    port = FakeSnapshots()
    old = sent(port, disk, None)
    assert "fleetswap:manifest" not in port.held[old.snapshot_id].start.tags
    assert set(port.held[old.snapshot_id].written) == {*range(6), 2047}
    assert found(port) == (None, [])
    again = sent(port, disk)
    assert (again.adopted, again.snapshot_id, again.blocks_sent) == (True, old.snapshot_id, 0)


def test_the_header_without_a_manifest_is_the_old_one() -> None:
    """A running version would not trust the snapshots of a newer one, and send every image whole."""
    encoded = blockmap.Encoded(blockmap.BlockMap("snap-1", 1, bytes(32), bytes(32)))
    block = bytearray(BLOCK)
    encoded.fill(0, block)
    assert bytes(block[-4096 + 176 : -32]) == bytes(4096 - 176 - 32)


def test_a_child_does_not_take_its_parents_manifest_for_its_own(disk: Path, tmp_path: Path) -> None:
    """A child that was sent without one, or with another, would show what its parent consists of."""
    port = FakeSnapshots()
    sent(port, disk, identity=BEFORE)
    child = sent(port, disk_file(tmp_path / "next.raw", seed=2), None)
    assert port.held[child.snapshot_id].inherited[WHERE] == port.held[child.snapshot_id].blocks[WHERE]
    assert found(port) == (None, [])
    other = sent(port, disk_file(tmp_path / "third.raw", seed=3), LISTED, identity="/nix/store/third")
    assert other.parent is not None
    assert found(port, "/nix/store/third") == (LISTED, [])


def test_a_volume_without_room_is_not_made_larger_for_it(tmp_path: Path) -> None:
    """The root volume of the settings would be too small, or the map be written over the image's end."""
    path = tmp_path / "disk.raw"
    disk_file(path)
    with path.open("r+b") as file:
        file.truncate(2047 * BLOCK)
    assert layout(2047 * BLOCK).free == 0
    port, lines = FakeSnapshots(), list[str]()
    uploaded = sent(port, path, say=lines.append, sparse="holes")
    assert uploaded.volume_gib == 1
    assert found(port) == (None, [])
    assert "leaving out the manifest: behind the image, the volume of 1 GiB has no room for it" in lines


def test_one_block_of_room_is_enough(tmp_path: Path) -> None:
    """A manifest that fits would be left out, or overwrite the last block of the image."""
    path = tmp_path / "disk.raw"
    disk_file(path)
    with path.open("r+b") as file:
        file.truncate(2046 * BLOCK)
    port = FakeSnapshots()
    sent(port, path, sparse="holes")
    assert found(port) == (WHOLE, [])


@pytest.mark.parametrize(("first", "second"), [(WHOLE, None), (None, WHOLE), (WHOLE, LISTED)])
def test_an_upload_with_another_manifest_is_not_resumed(
    disk: Path, first: Manifest | None, second: Manifest | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EBS would count blocks of the first run that the second does not know of, and refuse the snapshot."""
    port = FakeSnapshots()
    monkeypatch.setattr("fleetswap.workflows.image.complete.Completion.clean_up", lambda *_: False)

    def part(_: int, name: str) -> None:
        if name == "complete":
            raise Parting

    port.before = part
    with pytest.raises(Parting):
        sent(port, disk, first)
    (left,) = port.held
    port.before = nothing
    uploaded = sent(port, disk, second)
    assert not uploaded.resumed
    assert list(port.held) == [uploaded.snapshot_id] != [left]
    assert found(port)[0] == second


def test_an_upload_with_the_same_manifest_is_resumed(
    disk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every killed upload of an image of Nix would start over."""
    port = FakeSnapshots()
    monkeypatch.setattr("fleetswap.workflows.image.complete.Completion.clean_up", lambda *_: False)

    def part(_: int, name: str) -> None:
        if name == "complete":
            raise Parting

    port.before = part
    with pytest.raises(Parting):
        sent(port, disk, journal=tmp_path / "journal")
    port.before, port.repeat_age = nothing, 5.0
    uploaded = sent(port, disk, journal=tmp_path / "journal")
    assert (uploaded.resumed, uploaded.blocks_sent) == (True, 2)
    assert found(port) == (WHOLE, [])


def damaged(held: Held) -> None:
    held.written[WHERE] = bytes([held.written[WHERE][0] ^ 1]) + held.written[WHERE][1:]


def missing(held: Held) -> None:
    del held.written[WHERE]


def archived(held: Held) -> None:
    held.about = replace(held.about, archived=True)


def without_map(held: Held) -> None:
    held.written[2047] = bytes(BLOCK)


def of_another(held: Held) -> None:
    held.about = replace(held.about, tags={**held.about.tags, "fleetswap:image": "/nix/store/other"})


@pytest.mark.parametrize(
    ("change", "identity", "said"),
    [
        (damaged, IDENTITY, "snapshot snap-0001: its manifest is damaged: its checksum is wrong"),
        (missing, IDENTITY, "snapshot snap-0001: its manifest is truncated: 1 of its blocks are missing"),
        (archived, IDENTITY, "snapshot snap-0001 is archived: restore it first"),
        (without_map, IDENTITY, "snapshot snap-0001 cannot be believed: its block map is missing"),
        (of_another, "/nix/store/other", "snapshot snap-0001 is of another image, in spite of its tags"),
        (nothing, "/nix/store/gone", "the stack has no completed snapshot of it"),
    ],
)
def test_what_cannot_be_believed_is_told_in_one_line(
    disk: Path, change: Callable[[Held], None], identity: str, said: str
) -> None:
    """A preview would end with an error, or show packages that are not in the image."""
    port = FakeSnapshots()
    change(port.held[sent(port, disk).snapshot_id])
    got, warned = found(port, identity)
    assert got is None
    (line,) = warned
    assert line.startswith(f"what {identity} consists of is not known: {said}")


def test_a_copy_has_none(disk: Path) -> None:
    """A copy's blocks may be another volume's, whatever it is tagged with."""
    port = FakeSnapshots()
    held = port.held[sent(port, disk).snapshot_id]
    copy = port.add(replace(held.start, token="copy"), state="completed")  # noqa: S106 (no secret)
    copy.written.update(held.blocks)
    with pytest.raises(
        NoManifest, match=f"its block map belongs to {held.id}: the snapshot was made from a volume, or is"
    ):
        manifest_in(port, copy.id, clock=FakeClock())
    assert found(port) == (WHOLE, [])  # the original is asked next


def test_a_newer_and_larger_one_is_not_read(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write to a snapshot could make a preview read all of it."""
    port = FakeSnapshots()
    sent(port, disk)
    monkeypatch.setattr(read_manifest, "MAX_BLOCKS", 0)
    got, warned = found(port)
    assert got is None
    assert "has 1 blocks, but this Fleetswap reads 0 at most" in warned[0]


@pytest.mark.parametrize("name", ["find", "list_blocks", "get"])
@pytest.mark.parametrize("error", [CloudError("access denied: allow ebs:GetSnapshotBlock"), TryAgain("no answer")])
def test_who_may_not_read_or_gets_no_answer_is_told(disk: Path, name: str, error: CloudError) -> None:
    """A preview with an old policy would fail, or one without a network never end."""
    port = FakeSnapshots()
    sent(port, disk)

    def refuse(_: int, called: str) -> None:
        if called == name:
            raise error

    port.before = refuse
    got, warned = found(port)
    assert got is None
    (line,) = warned
    assert str(error) in line


def test_verify_judges_the_manifest(disk: Path) -> None:
    """A damaged manifest would be found by a preview first."""
    port = FakeSnapshots()
    uploaded = sent(port, disk)
    sound = verify(uploaded.snapshot_id, disk, port, progress=nothing, clock=FakeClock(), connections=1)
    assert (sound.matches, sound.manifest) == (True, True)
    damaged(port.held[uploaded.snapshot_id])
    wrong = verify(uploaded.snapshot_id, disk, port, progress=nothing, clock=FakeClock(), connections=1)
    assert wrong.problems == ("the manifest is damaged: its checksum is wrong",)
    old = sent(port, disk, None, stack="t")
    plain = verify(old.snapshot_id, disk, port, progress=nothing, clock=FakeClock(), connections=1)
    assert (plain.matches, plain.manifest) == (True, False)


def test_the_token_without_a_manifest_is_the_one_of_older_versions() -> None:
    """An upload that an older version began would be started a second time, and EBS keep both."""
    asked: dict[str, Any] = {"identity": IDENTITY, "stack": "s", "lineage": "web"}
    token = UploadRequest(**asked).start(1, None, "0").token
    assert token == "7caa645c6b34e45dbb5067b91628778ca1e8580060d6cfec93c80b12a588ce35"
    assert UploadRequest(**asked, manifest=b"x").start(1, None, "0").token != token


def test_as_many_tags_as_before_fit(disk: Path) -> None:
    """A command that was accepted before there were manifests would be refused."""
    port = FakeSnapshots()
    uploaded = sent(port, disk, tags={f"k{number}": "v" for number in range(45)})
    about = port.held[uploaded.snapshot_id].about
    assert len(about.tags) == 50
    assert "fleetswap:manifest" not in about.tags
    assert found(port) == (WHOLE, [])
