"""Chains of images: whatever the parent, its map and the holes, a snapshot holds the image, byte for byte."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap.domain.errors import CloudError, InputError, NotFound, TryAgain
from fleetswap.domain.image import blockmap
from fleetswap.domain.image.blocks import digest
from fleetswap.domain.image.snapshots import Start
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.upload import Uploaded
from tests.fakes.ebs import BLOCK, HOLE, FakeClock, FakeSnapshots, Held, nothing, spelled
from tests.image.uploads import upload

KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
LAST = 2047


def run(
    path: Path,
    port: FakeSnapshots,
    *,
    clock: FakeClock | None = None,
    say: Callable[[str], None] = nothing,
    connections: int = 2,
    **changes: Any,
) -> Uploaded:
    asked: dict[str, Any] = {"identity": f"/nix/store/{path.name}", "stack": "s", "lineage": "web"}
    return upload(
        path, UploadRequest(**(asked | changes)), port, port, say, clock=clock or FakeClock(), connections=connections
    )


def image(directory: Path, letters: str, *, name: str = "image", cut: int = 0) -> tuple[Path, bytes]:
    path = directory / name
    return path, spelled(path, letters, cut=cut)


def check(held: Held, content: bytes, letters: str, *, sparse: str = "none") -> None:
    """The snapshot is the image on an encrypted volume, where what it lacks is garbage; and so says its map."""
    blocks = held.blocks
    (read,) = [blocks[LAST]]
    said = blockmap.decode(read, snapshot_id=held.id, volume_gib=1)
    assert said.size == len(content)
    for index, letter in enumerate(letters):
        wanted = content[index * BLOCK : (index + 1) * BLOCK].ljust(BLOCK, b"\0")
        if index not in blocks:
            assert sparse == "holes"
            assert letter == HOLE
            assert index > 0
            assert said.digest(index) is None
        else:
            assert blocks[index] == wanted, f"block {index}"
            assert said.digest(index) == digest(wanted)


DAMAGES = [
    "none",
    "map byte",
    "header byte",
    "map gone",
    "map version",
    "map of another",
    "block lost",
    "block added",
    "all content",
    "untagged",
]


def damage(held: Held, kind: str, at: int) -> None:
    """What can be wrong with a parent."""
    blocks = held.blocks
    blob = bytearray(blocks[LAST])
    if kind == "map byte":
        blob[at % len(blob)] ^= 0x11
    elif kind == "header byte":
        blob[-4096 + at % 4096] ^= 0x11
    elif kind == "map version":
        blob[-4096 + 16 : -4096 + 20] = (2).to_bytes(4, "big")
    elif kind == "map of another":
        said = blockmap.decode(blob, snapshot_id=held.id, volume_gib=1)
        blockmap.Encoded(replace(said, snapshot_id="snap-0bad")).fill(0, blob)
    blocks[LAST] = bytes(blob)
    if kind == "map gone":
        del blocks[LAST]
    elif kind == "block lost":
        del blocks[at % (len(blocks) - 1) if at % (len(blocks) - 1) in blocks else 0]
    elif kind == "block added":
        blocks[next(index for index in range(LAST) if index not in blocks)] = b"x" * BLOCK
    elif kind == "all content":
        blocks.update({index: b"y" * BLOCK for index in blocks if index != LAST})
    elif kind == "untagged":
        held.about = replace(held.about, tags={})
    held.inherited, held.written = blocks, {}


STEP = st.fixed_dictionaries(
    {
        "letters": st.text("abA0.", min_size=3, max_size=6),
        "cut": st.integers(0, 1023),
        "sparse": st.sampled_from(["none", "holes"]),
        "damage": st.sampled_from(["none", "none", "none", *DAMAGES]),
        "at": st.integers(0, BLOCK),
        "samples": st.sampled_from([8, 8, 0]),
    }
)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=4), st.booleans())
def test_a_snapshot_is_the_image_whatever_its_parent(steps: list[dict[str, Any]], encrypts: bool) -> None:  # noqa: FBT001
    """A machine would boot from a mixture of two versions, or from garbage."""
    port = FakeSnapshots(encrypts=encrypts)
    wrong_content = False
    with tempfile.TemporaryDirectory() as directory:
        for number, step in enumerate(steps):
            path, content = image(Path(directory), step["letters"], name=f"image{number}", cut=step["cut"])
            if wrong_content:
                step["samples"] = 8  # nothing else can find it
            uploaded = run(path, port, sparse=step["sparse"], samples=step["samples"])
            held = port.held[uploaded.snapshot_id]
            assert not uploaded.adopted
            assert not port.of_state("pending")
            check(held, content, step["letters"], sparse=step["sparse"])
            assert uploaded.blocks_sent == len(held.written)
            wrong_content |= step["damage"] == "all content"
            damage(held, step["damage"], step["at"])


def lines_of(port: FakeSnapshots, path: Path, **changes: Any) -> tuple[Uploaded, list[str]]:
    lines: list[str] = []
    return run(path, port, say=lines.append, **changes), lines


def test_only_what_differs_is_sent(tmp_path: Path) -> None:
    """Every deploy would cost the time of a first one."""
    port = FakeSnapshots()
    first, _ = image(tmp_path, "aabbcc0", name="one")
    second, content = image(tmp_path, "aabxcc00", name="two")
    one = run(first, port)
    two, lines = lines_of(port, second)
    assert (two.parent, two.blocks_sent) == (one.snapshot_id, 1 + 1 + 1 + 1), (
        "b→x, the MBR, what is past the end, the map"
    )
    blocks = f"8 blocks of 512 KiB, sending only those that differ from {one.snapshot_id}"
    assert lines == [f"uploading two to snapshot {two.snapshot_id}: {blocks}"]
    check(port.held[two.snapshot_id], content, "aabxcc00")
    assert port.held[two.snapshot_id].about.tags == {
        "fleetswap:stack": "s",
        "fleetswap:image": "/nix/store/two",
        "fleetswap:lineage": "web",
        "fleetswap:parent": one.snapshot_id,
        "fleetswap:upload": two.snapshot_id,
    }


def test_a_trusted_stacks_snapshot_of_the_image_costs_only_the_map(tmp_path: Path) -> None:
    """Each environment would send the image again, though its settings say that it need not."""
    port = FakeSnapshots()
    path, content = image(tmp_path, "abc")
    other, _ = image(tmp_path, "xyz", name="newer")
    one = run(path, port)
    run(other, port)
    two = run(path, port, stack="t", trusted_stacks=("elsewhere", "s"))
    assert (two.parent, two.blocks_sent, two.adopted) == (one.snapshot_id, 1, False)
    check(port.held[two.snapshot_id], content, "abc")


def lies(held: Held, at: int) -> None:
    """Other content in one block, and the digest of the honest block still in the map: what a forger would make."""
    held.written[at] = b"evil" * (BLOCK // 4)


def test_another_stacks_parent_gets_no_block_into_this_stacks_image(tmp_path: Path) -> None:
    """Whoever may upload for a preview stack could put a block of their own into what production boots."""
    port = FakeSnapshots()
    path, content = image(tmp_path, "abcdefgh")
    forged = port.held[run(path, port, stack="preview").snapshot_id]
    lies(forged, 5)
    uploaded, lines = lines_of(port, path, stack="production", samples=0)
    assert (uploaded.parent, uploaded.blocks_sent) == (None, 9)
    assert lines[0] == "sending every block: lineage web has no completed snapshot of stack production yet"
    check(port.held[uploaded.snapshot_id], content, "abcdefgh")


def test_an_unfinished_snapshot_on_another_stacks_parent_is_not_gone_on_with(tmp_path: Path) -> None:
    """The same block would get in by an unfinished snapshot with this stack's tags, which inherits it already."""
    port = FakeSnapshots()
    path, content = image(tmp_path, "abcd")
    forged = port.held[run(path, port, stack="preview").snapshot_id]
    lies(forged, 2)
    request = UploadRequest("/nix/store/image", "production", lineage="web")
    pending = port.add(request.start(1, forged.id, "0"))
    pending.about = replace(pending.about, tags={**pending.about.tags, "fleetswap:upload": pending.id})
    uploaded, lines = lines_of(port, path, stack="production", samples=0)
    assert uploaded.snapshot_id != pending.id
    assert lines[0] == (
        f"not resuming the upload to snapshot {pending.id}: snapshot {forged.id} belongs to stack"
        " preview, which is not trusted"
    )
    check(port.held[uploaded.snapshot_id], content, "abcd")


def test_what_became_zero_is_sent(tmp_path: Path) -> None:
    """The former content would stand where the image has zeros."""
    port = FakeSnapshots()
    run(image(tmp_path, "abcd", name="one")[0], port)
    path, content = image(tmp_path, "a0.d", name="two")
    two = run(path, port, sparse="holes")
    assert two.blocks_sent == 3
    check(port.held[two.snapshot_id], content, "a0.d")


def test_an_older_versions_snapshots_lead_to_a_full_upload(tmp_path: Path) -> None:
    """The first deploy after an update of Fleetswap would fail, or trust what it cannot know."""
    port = FakeSnapshots()
    path, content = image(tmp_path, "abc")
    tags = {"fleetswap:stack": "s", "fleetswap:image": "/nix/store/before"}
    port.add(Start("old", 1, tags, "", encrypted=False, kms_key=None), state="completed").written[0] = bytes(BLOCK)
    unfinished = port.add(
        Start("killed", 1, tags | {"fleetswap:image": "/nix/store/image"}, "", encrypted=False, kms_key=None)
    )
    unfinished.written[1] = b"z" * BLOCK
    uploaded, lines = lines_of(port, path)
    assert uploaded.parent is None
    assert unfinished.id in port.held, "whether an upload began it, nobody can know; EBS gives it up by itself"
    assert lines[0] == "sending every block: lineage web has no completed snapshot of stack s yet"
    check(port.held[uploaded.snapshot_id], content, "abc")


def changed(port: FakeSnapshots, uploaded: Uploaded, kind: str, at: int = 0) -> None:
    damage(port.held[uploaded.snapshot_id], kind, at)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("map gone", "its block map is missing"),
        ("map version", "its block map is damaged"),
        ("map byte", "its block map is damaged: the checksum of its entries is wrong"),
        ("map of another", "its block map belongs to snap-0bad: the snapshot was made from a volume, or is a copy"),
        ("block lost", "its block map does not match the snapshot, which does not have block 0"),
        ("all content", r"its block map does not match block \d of the snapshot"),
    ],
)
@pytest.mark.parametrize("named", [False, True], ids=["newest", "named"])
def test_says_why_a_parent_is_not_trusted(tmp_path: Path, kind: str, reason: str, *, named: bool) -> None:
    """A slow deploy would be a riddle; and a parent that the user named be left out without a word."""
    port = FakeSnapshots()
    path, _ = image(tmp_path, "abc")
    one = run(path, port)
    changed(port, one, kind)
    next_path, _ = image(tmp_path, "abcd", name="next")
    said = f"snapshot {one.snapshot_id} cannot be the parent: {reason}"
    if named:
        with pytest.raises(InputError, match=f"^{said}.*: choose another parent, or none$"):
            run(next_path, port, parent=one.snapshot_id)
        assert port.calls.count("start") == 1, "nothing was begun"
        return
    two, lines = lines_of(port, next_path)
    assert two.parent is None
    assert len(lines) == 2, lines
    assert re.fullmatch(f"sending every block: {said}.*", lines[0])


def test_an_older_one_stands_in_for_a_damaged_parent(tmp_path: Path) -> None:
    """One snapshot that was copied or damaged would cost a full upload, with a good one right behind it."""
    port = FakeSnapshots()
    one = run(image(tmp_path, "abcd", name="one")[0], port)
    two = run(image(tmp_path, "abce", name="two")[0], port)
    changed(port, two, "map gone")
    three, lines = lines_of(port, image(tmp_path, "abcf", name="three")[0])
    assert (three.parent, three.blocks_sent) == (one.snapshot_id, 2)
    assert len(lines) == 1


def test_a_shrunken_image_begins_a_new_lineage(tmp_path: Path) -> None:
    """StartSnapshot refuses a volume smaller than its parent's: no smaller image could ever be shipped."""
    port = FakeSnapshots()
    one = run(image(tmp_path, "abc", name="one")[0], port)
    held = port.held[one.snapshot_id]
    held.about = replace(held.about, volume_gib=2)
    two, lines = lines_of(port, image(tmp_path, "abd", name="two")[0])
    assert two.parent is None
    reason = "has a volume of 2 GiB, but the image needs 1: a child cannot be smaller than its parent"
    assert lines[0] == f"sending every block: snapshot {one.snapshot_id} {reason}"
    with pytest.raises(InputError, match="a child cannot be smaller than its parent: choose another parent, or none"):
        run(image(tmp_path, "abe", name="three")[0], port, parent=one.snapshot_id)


def test_without_a_lineage_or_with_no_parent_all_is_sent(tmp_path: Path) -> None:
    """`--no-parent` would be forgotten, or images that have nothing in common be chained."""
    port = FakeSnapshots()
    run(image(tmp_path, "abc", name="one")[0], port)
    for changes in ({"parent": "none"}, {"lineage": ""}):
        uploaded, lines = lines_of(port, image(tmp_path, "abd", name="two")[0], stack=str(changes), **changes)
        assert (uploaded.parent, uploaded.blocks_sent) == (None, 4)
        assert len(lines) == 1
        assert ("fleetswap:lineage" in port.held[uploaded.snapshot_id].about.tags) == ("parent" in changes)


def test_an_account_that_encrypts_by_default_refuses_a_plain_parent(tmp_path: Path) -> None:
    """The day somebody switches encryption on, no image could be shipped any more."""
    port = FakeSnapshots()
    one = run(image(tmp_path, "abc", name="one")[0], port)
    port.encrypts = True
    path, content = image(tmp_path, "abd", name="two")
    two, lines = lines_of(port, path)
    assert two.parent is None
    assert lines[0].startswith(f"sending every block: snapshot {one.snapshot_id} cannot be the parent (ValidationExc")
    check(port.held[two.snapshot_id], content, "abd")
    assert port.held[two.snapshot_id].about.tags["fleetswap:parent"] == "none"
    three = run(image(tmp_path, "abe", name="three")[0], port)
    assert three.parent == two.snapshot_id
    assert port.held[three.snapshot_id].about.encrypted
    with pytest.raises(CloudError, match="the parent is not encrypted"):
        run(image(tmp_path, "abf", name="four")[0], port, parent=one.snapshot_id)


def test_an_encrypted_parent_passes_its_key_on(tmp_path: Path) -> None:
    """EBS refuses Encrypted together with a parent; and a plain parent would make a plain child of a secret image."""
    port = FakeSnapshots()
    plain = run(image(tmp_path, "abc", name="one")[0], port)
    path, content = image(tmp_path, "abd", name="two")
    two, lines = lines_of(port, path, encrypted=True, kms_key=KEY)
    assert two.parent is None
    assert (
        lines[0] == f"sending every block: snapshot {plain.snapshot_id} is not encrypted, but the new snapshot must be"
    )
    path, content = image(tmp_path, "abe", name="three")
    three = run(path, port, encrypted=True, kms_key=KEY)
    held = port.held[three.snapshot_id]
    assert three.parent == two.snapshot_id
    assert (held.start.encrypted, held.start.kms_key) == (False, None)
    assert (held.about.encrypted, held.about.kms_key) == (True, KEY)
    check(held, content, "abe")
    other = run(image(tmp_path, "abf", name="four")[0], port, encrypted=True, kms_key=KEY + "2")
    assert other.parent is None


@pytest.mark.parametrize("state", ["completed", "pending"])
def test_the_own_key_of_a_stack_is_not_passed_on_to_an_upload_without_it(tmp_path: Path, state: str) -> None:
    """A snapshot would need a key that its stack does not know it needs, and be lost with the key."""
    port = FakeSnapshots()
    path, _ = image(tmp_path, "abc", name="one")
    one = run(path, port, encrypted=True, kms_key=KEY, tags={"fleetswap:own-key": "demo/local"})
    held = port.held[one.snapshot_id]
    held.about = replace(held.about, state=state)
    again = run(path, port)
    assert again.snapshot_id != one.snapshot_id, "neither adopted nor resumed"
    assert (again.parent, port.held[again.snapshot_id].about.encrypted) == (None, False)
    held.about = replace(held.about, state="completed")
    newer = run(image(tmp_path, "abd", name="two")[0], port, encrypted=True, kms_key=KEY)
    assert newer.parent == (one.snapshot_id if one.snapshot_id in port.held else None)


def test_a_parent_that_goes_away_is_done_without(tmp_path: Path) -> None:
    """A retention that deletes the parent in the wrong moment would fail the deploy."""
    port = FakeSnapshots()
    one = run(image(tmp_path, "abc", name="one")[0], port)

    def vanish(_: int, name: str) -> None:
        if name == "start":
            port.held.pop(one.snapshot_id, None)

    port.before = vanish
    path, content = image(tmp_path, "abd", name="two")
    two, lines = lines_of(port, path)
    assert two.parent is None
    assert lines[0].startswith(f"sending every block: snapshot {one.snapshot_id} cannot be the parent (snapshot")
    check(port.held[two.snapshot_id], content, "abd")


@pytest.mark.parametrize("call", ["list_blocks", "get"])
@pytest.mark.parametrize("error", [CloudError("access denied: allow ebs:X"), TryAgain("503"), NotFound("gone")])
def test_a_parent_that_cannot_be_read_is_done_without(tmp_path: Path, call: str, error: CloudError) -> None:
    """A role that may not read snapshots, or an outage of reading, would stop all shipping."""
    port, clock = FakeSnapshots(), FakeClock()
    one = run(image(tmp_path, "abc", name="one")[0], port)

    def refuse(_: int, name: str) -> None:
        if name == call:
            raise type(error)(*error.args)

    port.before = refuse
    path, content = image(tmp_path, "abd", name="two")
    two, lines = lines_of(port, path, clock=clock)
    assert two.parent is None
    assert lines[0].startswith(f"sending every block: snapshot {one.snapshot_id} cannot be read ({error}")
    assert clock.now() < 100
    check(port.held[two.snapshot_id], content, "abd")
    with pytest.raises(CloudError, match=f"^{error}"):
        run(image(tmp_path, "abe", name="three")[0], port, parent=one.snapshot_id)


def test_silence_is_waited_for_once(tmp_path: Path) -> None:
    """An outage of reading would be waited out for each candidate in turn."""
    port, clock = FakeSnapshots(), FakeClock()
    for name in ("one", "two", "three"):
        run(image(tmp_path, "abc", name=name)[0], port)

    def refuse(_: int, name: str) -> None:
        if name == "list_blocks":
            raise TryAgain("503")

    port.before = refuse
    run(image(tmp_path, "abd", name="four")[0], port, clock=clock)
    assert 30 <= clock.now() < 60


def test_a_parent_of_another_account_can_be_named(tmp_path: Path) -> None:
    """A company that bakes in one account and runs in another would send every block of every image."""
    port = FakeSnapshots()
    one = run(image(tmp_path, "abc", name="one")[0], port)
    held = port.held[one.snapshot_id]
    held.about = replace(held.about, owner="999999999999", tags={})
    two = run(image(tmp_path, "abd", name="two")[0], port, parent=one.snapshot_id)
    assert (two.parent, two.blocks_sent) == (one.snapshot_id, 2)


def test_samples_are_read_back(tmp_path: Path) -> None:
    """The setting would do nothing: a parent whose blocks are not what its map says would be built upon."""
    port = FakeSnapshots()
    run(image(tmp_path, "abcabc", name="one")[0], port)
    path, _ = image(tmp_path, "abcabx", name="two")
    for samples, read in ((0, 0), (2, 2), (50, 5)):
        port.calls.clear()
        run(path, port, samples=samples, stack=str(samples), parent="snap-0001")
        assert port.calls.count("get") == 2 + read, "the map's block, as the last and as the first, and the samples"
