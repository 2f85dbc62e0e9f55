"""Images that another account shares: no block is sent again, and nothing that it says is believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.image import blockmap
from fleetswap.domain.image.blocks import digest
from fleetswap.domain.tags import COPY, OWN_KEY, STACK
from fleetswap.workflows.image.estimate import estimate
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.upload import Uploaded
from tests.fakes.ebs import BLOCK, FakeClock, FakeSnapshots, Held, nothing, spelled
from tests.image.uploads import upload

STAGING = "444455556666"
THEIRS, OURS = (f"arn:aws:kms:us-east-1:{account}:key/1" for account in (STAGING, "123456789012"))
LETTERS = "aAb0c"
LAST = 2047
IDENTITY = "/nix/store/web"


class Cloud:
    """The account of production, in which staging shares the snapshot that it has uploaded."""

    def __init__(self, folder: Path, **encryption: Any) -> None:
        self.port = FakeSnapshots()
        self.port.foreign_parents = False
        self.path = folder / "image"
        self.content = spelled(self.path, LETTERS)
        self.lines: list[str] = []
        self.first: str = self.send(stack="staging", trusted_accounts=(), **encryption).snapshot_id
        self.port.give(self.first, STAGING)
        self.port.calls.clear()
        self.lines.clear()

    def send(self, say: Callable[[str], None] = nothing, **changes: Any) -> Uploaded:
        """Upload the image, as production if nothing else is said."""
        asked: dict[str, Any] = {
            "identity": IDENTITY,
            "stack": "prod",
            "description": IDENTITY,
            "lineage": "web",
            "trusted_accounts": (STAGING,),
        }

        def told(line: str) -> None:
            self.lines.append(line)
            say(line)

        request = UploadRequest(**(asked | changes))
        return upload(self.path, request, self.port, self.port, told, clock=FakeClock(), connections=2)

    @property
    def shared(self) -> Held:
        """What staging shares."""
        return self.port.held[self.first]

    def check(self, sent: Uploaded) -> Held:
        """The snapshot is production's and holds the image, and no copy is left."""
        held = self.port.held[sent.snapshot_id]
        for index in range(len(LETTERS)):
            wanted = self.content[index * BLOCK : (index + 1) * BLOCK]
            assert held.blocks[index] == wanted, f"block {index}"
        assert {*held.blocks} == {*range(len(LETTERS)), LAST}
        said = blockmap.decode(held.blocks[LAST], snapshot_id=held.id, volume_gib=1)
        assert [said.digest(index) for index in range(said.count)] == [
            digest(held.blocks[index]) for index in range(len(LETTERS))
        ]
        assert {*self.port.held} <= {self.first, held.id}
        return held

    def forge(self, index: int, data: bytes = b"evil" * (BLOCK // 4)) -> None:
        """Put another block into what staging shares; its map and its description stay as they are."""
        self.shared.inherited = {**self.shared.blocks, index: data}
        self.shared.written = {}


def test_no_block_of_the_image_is_sent_again(tmp_path: Path) -> None:
    """A promotion would send what AWS has already."""
    cloud = Cloud(tmp_path)
    sent = cloud.send()
    assert (sent.blocks_sent, cloud.port.calls.count("put"), cloud.port.calls.count("copy")) == (1, 1, 1)
    cloud.check(sent)
    again = cloud.send()
    assert (again.adopted, again.snapshot_id) == (True, sent.snapshot_id)


@pytest.mark.parametrize("samples", [0, 8])
@pytest.mark.parametrize("index", range(len(LETTERS)))
def test_a_forged_block_is_not_on_the_disk(tmp_path: Path, index: int, samples: int) -> None:
    """Whoever can write to staging's snapshots would decide what production's machines boot."""
    cloud = Cloud(tmp_path)
    cloud.forge(index)
    sent = cloud.send(samples=samples)
    cloud.check(sent)
    # Found by a sample: another disk, of which nothing is taken. Else just this block is sent.
    assert sent.blocks_sent == (2 if samples == 0 else len(LETTERS) + 1)


def test_a_block_that_staging_left_out_is_sent(tmp_path: Path) -> None:
    """It would read as garbage from an encrypted volume."""
    cloud = Cloud(tmp_path)
    blocks = cloud.shared.blocks
    del blocks[3]
    cloud.shared.inherited, cloud.shared.written = blocks, {}
    sent = cloud.send()
    cloud.check(sent)
    assert sent.blocks_sent == 2


@pytest.mark.parametrize("index", [len(LETTERS), 1000, LAST - 1])
def test_what_lies_behind_the_image_is_not_inherited(tmp_path: Path, index: int) -> None:
    """Nobody compares it, and a kernel that looks for RAID at the end of a disk would find what was put there."""
    cloud = Cloud(tmp_path)
    cloud.forge(index)
    sent = cloud.send()
    cloud.check(sent)
    assert sent.blocks_sent == len(LETTERS) + 1
    assert any(f"has block {index} behind the image" in line for line in cloud.lines)


def test_the_map_of_the_other_account_is_never_read(tmp_path: Path) -> None:
    """A map that lies about a block, well-formed as it is, would be believed."""
    cloud = Cloud(tmp_path)
    blob = bytearray(cloud.shared.blocks[LAST])
    said = blockmap.decode(blob, snapshot_id=cloud.first, volume_gib=1)
    lies = bytearray(said.digests)
    lies[:32] = digest(b"evil" * (BLOCK // 4))
    blockmap.Encoded(replace(said, digests=lies)).fill(0, blob)
    cloud.forge(LAST, bytes(blob))
    sent = cloud.send()
    cloud.check(sent)
    assert sent.blocks_sent == 1


def test_an_older_image_of_ones_own_is_the_worse_parent(tmp_path: Path) -> None:
    """The second promotion would send what is new in the image, which staging has sent already."""
    cloud = Cloud(tmp_path)
    other = tmp_path / "older"
    spelled(other, "aAbxy")
    mine, cloud.path = cloud.path, other
    cloud.send(identity="/nix/store/older", trusted_accounts=())
    cloud.path = mine
    assert cloud.send().blocks_sent == 1


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_copy_has_the_key_of_production(tmp_path: Path, encrypted: bool) -> None:  # noqa: FBT001 (a parameter)
    """Machines of production would need a key of staging, which can delete it."""
    cloud = Cloud(tmp_path, **({"encrypted": True, "kms_key": THEIRS} if encrypted else {}))
    cloud.port.usable_keys = {THEIRS}
    sent = cloud.send(encrypted=True, kms_key=OURS, tags={OWN_KEY: "prod"})
    assert sent.blocks_sent == 1
    assert cloud.check(sent).about.kms_key == OURS


def test_a_key_that_is_not_shared_costs_all_blocks(tmp_path: Path) -> None:
    """The upload would fail, or wait for a copy that never comes; and nobody would know why."""
    cloud = Cloud(tmp_path, encrypted=True, kms_key=THEIRS)
    sent = cloud.send()
    assert sent.blocks_sent == len(LETTERS) + 1
    cloud.check(sent)
    assert any("Given key ID is not accessible" in line and "its key must be shared" in line for line in cloud.lines)


def test_a_plain_image_that_must_be_encrypted_is(tmp_path: Path) -> None:
    """Production's snapshot would be plain because staging's is."""
    cloud = Cloud(tmp_path)
    sent = cloud.send(encrypted=True)
    assert sent.blocks_sent == 1
    assert cloud.check(sent).about.encrypted


@pytest.mark.parametrize("call", ["shared", "copy", "describe", "list_blocks", "get"])
def test_what_goes_away_in_the_middle_costs_all_blocks(tmp_path: Path, call: str) -> None:
    """A deploy of production would fail because somebody in staging has cleaned up."""
    cloud = Cloud(tmp_path)
    cloud.port.pending_reads = 2
    gone = False

    def unshare(_: int, name: str) -> None:
        nonlocal gone
        if name == call and not gone and "shared" in cloud.port.calls:
            gone = True
            raise CloudError("InvalidSnapshot.NotFound: it is not shared any more")

    cloud.port.before = unshare
    sent = cloud.send()
    cloud.port.before = nothing
    assert gone
    assert sent.blocks_sent == len(LETTERS) + 1
    cloud.check(sent)


def test_nothing_shared_is_told_and_costs_all_blocks(tmp_path: Path) -> None:
    """Nobody would find out that staging does not share."""
    cloud = Cloud(tmp_path)
    sent = cloud.send(identity="/nix/store/other", description="/nix/store/other")
    assert sent.blocks_sent == len(LETTERS) + 1
    assert f"account {STAGING} shares no snapshot of this image with this account" in cloud.lines
    assert "copy" not in cloud.port.calls


def test_a_lost_answer_makes_no_second_copy(tmp_path: Path) -> None:
    """Each copy is of the whole image, and costs as much."""
    cloud = Cloud(tmp_path)

    def lose(_: int, name: str) -> None:
        if name == "copy" and cloud.port.calls.count("copy") == 1:
            raise TryAgain("the answer was lost")

    cloud.port.after = lose
    sent = cloud.send()
    assert cloud.port.calls.count("copy") == 1
    assert sent.blocks_sent == 1
    cloud.check(sent)


class Killed(BaseException):
    """What ends the process."""


@pytest.mark.parametrize("call", ["describe", "get", "start", "put", "complete"])
def test_a_killed_run_s_copy_is_used_and_deleted_by_the_next(tmp_path: Path, call: str) -> None:
    """Copies would be left, one a run; or the next run would start over."""
    cloud = Cloud(tmp_path)
    dead = False

    def kill(_: int, name: str) -> None:
        nonlocal dead
        if dead or (name == call and "copy" in cloud.port.calls):
            dead = True  # and nothing is cleaned up
            raise Killed

    cloud.port.before = kill
    with pytest.raises(Killed):
        cloud.send()
    cloud.port.before = nothing
    (copy,) = [each for each in cloud.port.held.values() if COPY in each.about.tags]
    assert copy.about.tags == {STACK: "prod", COPY: IDENTITY}
    sent = cloud.send()
    assert cloud.port.calls.count("copy") == 1
    assert sent.blocks_sent <= 1
    cloud.check(sent)


def test_a_copy_that_cannot_be_deleted_is_told(tmp_path: Path) -> None:
    """It would cost money for ever, and nobody would know of it."""
    cloud = Cloud(tmp_path)

    def refuse(_: int, name: str) -> None:
        if name == "delete":
            raise CloudError("UnauthorizedOperation")

    cloud.port.before = refuse
    assert cloud.send().blocks_sent == 1
    assert any("delete it with `aws ec2 delete-snapshot --snapshot-id snap-" in line for line in cloud.lines)


def test_a_copy_that_takes_too_long_costs_all_blocks(tmp_path: Path) -> None:
    """A deploy would wait for ever for what EBS promises for no time."""
    cloud = Cloud(tmp_path)
    cloud.port.pending_reads = 2

    def slow(_: int, name: str) -> None:
        if name == "copy":
            cloud.port.pending_reads = 100_000
        elif name == "start":
            cloud.port.pending_reads = 2

    cloud.port.before = slow
    sent = cloud.send()
    assert sent.blocks_sent == len(LETTERS) + 1
    assert any("is not there after 10 min" in line for line in cloud.lines)
    cloud.check(sent)


def test_a_preview_tells_what_a_promotion_sends(tmp_path: Path) -> None:
    """A preview would announce minutes of sending that no one needs, or look for what it does not need."""
    cloud = Cloud(tmp_path)
    request = UploadRequest(IDENTITY, "prod", lineage="web", trusted_accounts=(STAGING,))
    planned = estimate(cloud.path, request, cloud.port, cloud.lines.append, clock=FakeClock())
    assert planned is not None
    assert (planned.blocks, planned.blocks_sent, planned.parent) == (len(LETTERS), 1, cloud.first)
    assert f"account {STAGING} shares a snapshot of this image, which is copied and compared" in cloud.lines
    assert "copy" not in cloud.port.calls
