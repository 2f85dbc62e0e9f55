"""The workflow against a strict fake: contents, faults at every call, adoption, two at once, changed files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap.domain.errors import CloudError, FleetswapError, InputError, NotFound, TryAgain
from fleetswap.domain.image.meter import Progress
from fleetswap.domain.image.snapshots import Start, Wanted, adoptable
from fleetswap.domain.tags import UPLOAD
from fleetswap.workflows.image.image_file import identify
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.upload import Uploaded
from tests.fakes.ebs import BLOCK, FakeClock, FakeSnapshots, Held, disk_bytes, disk_file, nothing, read_back
from tests.fakes.reads import mapped
from tests.image.uploads import upload

STACK = "demo/local"
STORE_PATH = "/nix/store/abc-image"
MARK = {"fleetswap:stack": STACK, "fleetswap:image": STORE_PATH}
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"


def run(
    path: Path,
    port: FakeSnapshots,
    *,
    clock: FakeClock | None = None,
    say: Callable[[str], None] = nothing,
    connections: int = 3,
    **changes: Any,
) -> Uploaded:
    asked: dict[str, Any] = {"identity": STORE_PATH, "stack": STACK, "tags": {"team": "a"}} | changes
    return upload(path, UploadRequest(**asked), port, port, say, clock=clock or FakeClock(), connections=connections)


def left(token: str, *, identity: str = STORE_PATH, stack: str = STACK, encrypted: bool = False, gib: int = 1) -> Start:
    return Start(token, gib, {"fleetswap:stack": stack, "fleetswap:image": identity}, "", encrypted, None)


def claimed(held: Held) -> Held:
    """With the tag by which an upload says that it has started the snapshot."""
    held.about = replace(held.about, tags={**held.about.tags, UPLOAD: held.id})
    return held


def holding(port: FakeSnapshots, start: Start, image: Path, *, age: int = 0, identity: str | None = STORE_PATH) -> Held:
    """A finished snapshot of the image, with the map that an upload leaves in it."""
    held = port.add(start, state="completed", age=age)
    held.written = mapped(image.read_bytes(), snapshot_id=held.id, identity=identity).held
    return held


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return disk_file(tmp_path / "image.raw")


@settings(max_examples=40, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["zero", "data", "same"]), min_size=1, max_size=5),
    sectors=st.integers(min_value=2048, max_value=9 * 1024),
    connections=st.integers(min_value=1, max_value=5),
    seed=st.integers(0, 1000),
)
def test_holds_the_image(kinds: list[str], sectors: int, connections: int, seed: int) -> None:
    """A machine would boot from other bytes than the image's, or from garbage where a zero block was left out."""
    size = sectors * 512
    content = disk_bytes(kinds, size, seed)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "image.raw")
        path.write_bytes(content)
        port = FakeSnapshots()
        uploaded = run(path, port, connections=connections, identity=identify(path))
    (held,) = port.of_state("completed")
    assert read_back(held, size) == content.ljust(-(-size // BLOCK) * BLOCK, b"\0")
    assert uploaded.snapshot_id == held.about.snapshot_id
    assert (uploaded.blocks, uploaded.volume_gib, uploaded.adopted) == (len(held.blocks) - 1, 1, False)
    assert (uploaded.blocks_sent, uploaded.bytes_sent) == (len(held.blocks), len(held.blocks) * BLOCK)


def test_starts_what_was_ordered(image: Path) -> None:
    """A snapshot would lack the tags by which it is found again, or be encrypted with another key."""
    port = FakeSnapshots()
    run(image, port, encrypted=True, kms_key=KEY, description="an image")
    (held,) = port.of_state("completed")
    assert held.start.tags == {"team": "a", "fleetswap:parent": "none"} | MARK
    assert (held.start.description, held.start.encrypted, held.start.kms_key) == ("an image", True, KEY)


def test_is_adopted_the_second_time(image: Path) -> None:
    """Every `pulumi up` would pay for another copy of an image that is there already."""
    port = FakeSnapshots()
    first = run(image, port)
    again = run(image, port)
    assert (again.snapshot_id, again.adopted, again.bytes_sent) == (first.snapshot_id, True, 0)
    assert port.calls.count("start") == 1


def test_adopts_the_newest_of_its_own(image: Path) -> None:
    """A stack would depend on a snapshot that another stack may delete, on another image, or on an older copy."""
    port = FakeSnapshots()
    holding(port, left("a", identity="/nix/store/other"), image)
    holding(port, left("b"), image, age=1)
    newest = holding(port, left("c"), image)
    holding(port, left("d", stack="demo/prod"), image)
    assert run(image, port).snapshot_id == newest.about.snapshot_id


def backed_up(held: Held) -> Start:
    """What a backup tool makes of a snapshot's tags, or of those of a volume that has them: the same ones."""
    return Start("backup", 1, dict(held.about.tags), "Created by policy-1", encrypted=False, kms_key=None)


def test_a_backup_with_the_same_tags_is_not_taken_for_the_image(image: Path) -> None:
    """A machine's backup (Data Lifecycle Manager copies tags) would be deployed in the image's place."""
    port, lines = FakeSnapshots(), list[str]()
    first = port.held[run(image, port).snapshot_id]
    foreign = port.add(backed_up(first), state="completed")
    foreign.written = {**first.blocks, 1: b"state" * (BLOCK // 5) + b"abc"}
    assert run(image, port).snapshot_id == first.id
    del port.held[first.id]
    again = run(image, port, say=lines.append)
    assert not again.adopted
    assert again.snapshot_id != foreign.id
    reason = f"its block map belongs to {first.id}: the snapshot was made from a volume, or is a copy"
    assert f"not adopting snapshot {foreign.id}: {reason}" in lines
    assert foreign.id in port.held, "it is not ours to delete"


@pytest.mark.parametrize("state", ["pending", "error"])
def test_a_backup_under_way_is_neither_written_to_nor_deleted(image: Path, state: str) -> None:
    """A deploy would delete the backup of a machine because it has the machine's tags."""
    port = FakeSnapshots()
    first = port.held[run(image, port).snapshot_id]
    whole = port.add(backed_up(first), state=state)
    of_volume = port.add(replace(left("c"), token="volume"), state=state)  # noqa: S106 (no secret)
    del port.held[first.id]
    assert run(image, port).snapshot_id not in (whole.id, of_volume.id)
    for backup in (whole, of_volume):
        assert port.held[backup.id].about.state == state
        assert not backup.written


def test_a_snapshot_that_names_another_image_is_not_adopted(image: Path) -> None:
    """A tag that somebody set by hand would decide what is deployed; of what has no name, nobody knows it."""
    port = FakeSnapshots()
    renamed = claimed(holding(port, left("a"), image, identity="/nix/store/other"))
    unnamed = claimed(holding(port, left("b"), image, identity=None))
    uploaded = run(image, port)
    assert not uploaded.adopted
    assert {renamed.id, unnamed.id} < set(port.held)


def test_a_look_that_is_refused_costs_an_upload_and_no_deploy(image: Path) -> None:
    """A role without the right to read snapshots could ship an image only once; or all would be believed unread."""
    port, lines = FakeSnapshots(), list[str]()
    held = holding(port, left("a"), image)

    def refuse(_: int, name: str) -> None:
        if name == "list_blocks":
            raise CloudError("access denied: allow ebs:ListSnapshotBlocks")

    port.before = refuse
    assert run(image, port, say=lines.append).snapshot_id != held.id
    assert lines[0] == f"not adopting snapshot {held.id}: access denied: allow ebs:ListSnapshotBlocks"


def test_a_finished_snapshot_that_is_not_readable_yet_is_waited_for(image: Path) -> None:
    """For up to two minutes a new snapshot may "not exist" for EBS direct: the image would be sent a second time."""
    port, clock = FakeSnapshots(), FakeClock()
    held = claimed(holding(port, left("a"), image))

    def late(_: int, name: str) -> None:
        if name == "list_blocks" and clock.now() < 20:
            raise NotFound("does not exist")

    port.before = late
    assert run(image, port, clock=clock).snapshot_id == held.id


@pytest.mark.parametrize("misfit", [left("a"), left("a", encrypted=True)], ids=["plain", "other key"])
def test_does_not_adopt_a_misfit(image: Path, misfit: Start) -> None:
    """A request for an encrypted snapshot with a key would be answered with a plain one, or one of another key."""
    port = FakeSnapshots()
    old = port.add(misfit, state="completed")
    uploaded = run(image, port, encrypted=True, kms_key=KEY)
    assert not uploaded.adopted
    assert old.about.snapshot_id in port.held, "a finished snapshot may be in use and is not ours to delete"


def test_does_not_adopt_a_smaller_volume() -> None:
    """A snapshot too small for the image cannot hold it, whatever its tags say."""
    held = FakeSnapshots().add(left("a", gib=2), state="completed")
    assert adoptable([held.about], Wanted(STORE_PATH, 2, encrypted=False, kms_key=None)) == [held.about]
    assert adoptable([held.about], Wanted(STORE_PATH, 3, encrypted=False, kms_key=None)) == []


@pytest.mark.parametrize("state", ["pending", "error"])
def test_clears_what_was_left_unfinished(image: Path, state: str) -> None:
    """Killed runs would pile up snapshots until the account's quota of pending ones is full."""
    port = FakeSnapshots()
    old = claimed(port.add(left("a"), state=state))
    other = claimed(port.add(left("b", stack="demo/prod"), state=state))
    run(image, port)
    assert old.about.snapshot_id not in port.held
    assert other.about.snapshot_id in port.held, "another stack's upload must not be touched"


def test_adopts_what_is_finished_while_it_looks(image: Path) -> None:
    """A snapshot that another upload finishes right now would be deleted under its release."""
    port = FakeSnapshots()
    old = claimed(holding(port, left("a"), image))
    old.about = replace(old.about, state="pending")
    old.reads_until_completed = 0
    assert run(image, port).snapshot_id == old.about.snapshot_id


def test_never_deletes_what_is_finished_while_it_looks(image: Path) -> None:
    """A finished snapshot that does not suit this request may suit another one, and be in use already."""
    port = FakeSnapshots()
    old = claimed(port.add(left("a")))
    old.reads_until_completed = 0
    uploaded = run(image, port, encrypted=True)
    assert not uploaded.adopted
    assert old.about.snapshot_id in port.held


def test_the_mark_is_not_the_users_to_change(image: Path) -> None:
    """A tag of the user's would hide the snapshot from the next upload, or pass it off as another stack's."""
    port = FakeSnapshots()
    upload(
        image,
        UploadRequest(STORE_PATH, STACK, {"fleetswap:stack": "x", "a": "b"}),
        port,
        port,
        nothing,
        clock=FakeClock(),
    )
    (held,) = port.of_state("completed")
    assert held.start.tags == {"a": "b", "fleetswap:parent": "none"} | MARK


def clean_calls(image: Path) -> list[str]:
    port = FakeSnapshots()
    claimed(port.add(left("a")))
    run(image, port)
    return port.calls


def faulty(number: int, error: BaseException, *, lost: bool) -> FakeSnapshots:
    """A port with something to clear first, whose call `number` fails: undone, or done and its answer lost."""
    port = FakeSnapshots()
    claimed(port.add(left("a")))

    def fail(at: int, _: str) -> None:
        if at == number:
            raise error

    if lost:
        port.after = fail
    else:
        port.before = fail
    return port


def test_a_refusal_at_any_call_leaves_nothing_unfinished(image: Path) -> None:
    """A failed deploy would leave a snapshot that costs money, or tell of the clean-up instead of the cause."""
    content = image.read_bytes()
    calls = clean_calls(image)
    assert calls[:4] == ["find", "describe", "delete", "start"]
    assert calls[-4:] == ["describe"] * 4
    for number, name in enumerate(calls, 1):
        refusal = CloudError(f"call {number} refused")
        port = faulty(number, refusal, lost=False)
        if name == "tag":  # without it a killed run is only harder to go on with
            assert not run(image, port).adopted
            continue
        with pytest.raises(CloudError) as caught:
            run(image, port)
        assert caught.value is refusal, name
        assert str(refusal) == f"call {number} refused", "nothing to add: the clean-up worked"
        if number > 3:  # before that, the old one could not be cleared
            assert not port.of_state("pending"), name
        for held in port.of_state("completed"):
            assert read_back(held, len(content))[: len(content)] == content
        port.before = nothing
        uploaded = run(image, port)
        assert read_back(port.held[uploaded.snapshot_id], len(content))[: len(content)] == content


@pytest.mark.parametrize("lost", [False, True], ids=["not done", "answer lost"])
def test_a_passing_fault_at_any_call_does_not_matter(image: Path, *, lost: bool) -> None:
    """A single 500, throttle or cut connection would fail a deploy, or do something twice."""
    content = image.read_bytes()
    for number, name in enumerate(clean_calls(image), 1):
        port = faulty(number, TryAgain("503"), lost=lost)
        uploaded = run(image, port)
        assert [each.about.snapshot_id for each in port.held.values()] == [uploaded.snapshot_id], name
        assert read_back(port.held[uploaded.snapshot_id], len(content))[: len(content)] == content


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a defect")], ids=["Ctrl-C", "defect"])
def test_an_interruption_cleans_up_too(image: Path, error: BaseException) -> None:
    """Ctrl-C or a defect in the middle of the blocks would leave the unfinished snapshot behind."""
    number = clean_calls(image).index("put") + 3
    port = faulty(number, error, lost=False)
    with pytest.raises(type(error)) as caught:
        run(image, port)
    assert caught.value is error
    assert not port.held


def test_names_what_it_could_not_clean_up(image: Path) -> None:
    """A snapshot that is left would go unnoticed, or the failed deletion would hide why the upload failed."""
    port = FakeSnapshots()

    def fail(_: int, name: str) -> None:
        if name == "put":
            raise CloudError("access denied: allow ebs:PutSnapshotBlock")
        if name == "delete":
            raise CloudError("access denied: allow ec2:DeleteSnapshot")

    port.before = fail
    with pytest.raises(
        CloudError, match=r"^access denied: allow ebs:PutSnapshotBlock; snapshot snap-0001 could not be"
    ):
        run(image, port)


def test_says_that_a_start_in_the_dark_may_have_worked(image: Path) -> None:
    """A snapshot whose id nobody ever learned would be left without a word."""
    port = FakeSnapshots()

    def lose(_: int, name: str) -> None:
        if name == "start":
            raise TryAgain("timed out")

    port.after = lose
    with pytest.raises(CloudError, match=r"^timed out; gave up after 300 s without a success; a pending snapshot"):
        run(image, port)
    assert len(port.held) == 1, "each attempt must use the same token"


def test_a_refused_start_has_started_nothing(image: Path) -> None:
    """A user whose key does not exist would be sent looking for a snapshot that never was."""
    port = FakeSnapshots()

    def refuse(_: int, name: str) -> None:
        if name == "start":
            raise NotFound("no such key")

    port.before = refuse
    with pytest.raises(CloudError, match=r"^no such key$"):
        run(image, port)


def test_a_refused_completion_is_told_at_once(image: Path) -> None:
    """A wrong count would be answered by minutes of waiting for a snapshot that nothing completes."""
    port, clock = FakeSnapshots(), FakeClock()

    def spoil(_: int, name: str) -> None:
        if name == "complete":
            del next(iter(port.held.values())).written[0]

    port.before = spoil
    with pytest.raises(CloudError, match="wrong changed blocks count"):
        run(image, port, clock=clock)
    assert clock.now() < 1
    assert not port.held


def test_a_finished_snapshot_is_left_to_be_adopted(image: Path) -> None:
    """A failure of the last look would throw away a finished snapshot, perhaps one that another upload just adopted."""
    port = FakeSnapshots(pending_reads=0)

    def refuse(_: int, name: str) -> None:
        if name == "describe" and port.calls.count("describe") == 2:
            raise CloudError("access denied")

    port.before = refuse
    with pytest.raises(CloudError, match=r"^access denied$"):
        run(image, port)
    (held,) = port.of_state("completed")
    assert run(image, port).snapshot_id == held.about.snapshot_id


def test_one_stale_read_neither_proves_nor_ends_anything(image: Path) -> None:
    """EC2's answers are eventually consistent: one of them would decide about an upload."""
    port, clock = FakeSnapshots(pending_reads=0), FakeClock()

    def stale(_: int, name: str) -> None:
        clock.advance(200 if name == "complete" else 0)  # long past the time for which a new snapshot may not exist
        if name == "describe" and port.calls.count("describe") == 3:
            raise NotFound("does not exist")

    port.before = stale
    run(image, port, clock=clock)
    assert port.calls.count("describe") == 2 + 1 + 3


def test_a_new_snapshot_may_not_exist_for_a_while(image: Path) -> None:
    """Uploads would fail whenever EBS needs up to two minutes to know its own new snapshot (coldsnap issue 43)."""
    port, clock = FakeSnapshots(), FakeClock()

    def hide(_: int, name: str) -> None:
        if name in ("put", "describe") and clock.now() < 100:
            raise NotFound("does not exist")

    port.before = hide
    assert not run(image, port, clock=clock).adopted


def test_a_snapshot_that_is_deleted_meanwhile_is_begun_anew(image: Path) -> None:
    """A clean-up script, or another upload with other settings, would fail a deploy; or it would try for ever."""
    port, clock, lines = FakeSnapshots(), FakeClock(), list[str]()

    def vanish(number: int, name: str) -> None:
        if number == 4:
            assert name == "put"
            clock.advance(200)
            port.held.clear()

    port.before = vanish
    uploaded = run(image, port, clock=clock, say=lines.append)
    assert "snapshot snap-0001 was deleted in the meantime: starting over" in lines
    assert [each.id for each in port.of_state("completed")] == [uploaded.snapshot_id]
    assert read_back(port.held[uploaded.snapshot_id], 5 * BLOCK) == image.read_bytes()[: 5 * BLOCK]


def test_deleted_right_after_completion_is_begun_anew(image: Path) -> None:
    """A snapshot that only looked completed for a moment would be registered as an AMI."""
    port = FakeSnapshots(pending_reads=1)

    def vanish(_: int, name: str) -> None:
        if name == "describe" and port.calls.count("describe") == 3:
            port.held.clear()

    port.after = vanish
    assert list(port.held) == [] != [run(image, port).snapshot_id] == list(port.held)


@pytest.mark.parametrize("age", [0.0, 1000.0], ids=["age unknown", "old"])
def test_gives_way_to_whoever_deletes_for_ever(image: Path, age: float) -> None:
    """Two uploads with other settings would delete each other's snapshots for ever."""
    port, clock = FakeSnapshots(), FakeClock()
    port.repeat_age = age

    def vanish(_: int, name: str) -> None:
        if name == "complete":
            clock.advance(200)
            port.held.clear()

    port.before = vanish
    with pytest.raises(CloudError, match=f"^3 snapshots of {STORE_PATH} were deleted while they were written: another"):
        run(image, port, clock=clock)
    assert port.calls.count("complete") >= 3
    port.before = nothing
    assert not run(image, port, clock=clock).adopted


@pytest.mark.parametrize("age", [0.0, 1000.0], ids=["age unknown", "old"])
def test_a_token_whose_snapshot_is_gone_is_no_obstacle(image: Path, age: float) -> None:
    """An image that was destroyed could not be shipped again as long as EBS remembers its client token."""
    port = FakeSnapshots()
    port.repeat_age = age
    for _ in range(10):
        clock = FakeClock()
        uploaded = run(image, port, clock=clock)
        assert not uploaded.adopted
        assert list(port.held) == [uploaded.snapshot_id]
        port.held.clear()
        if age:
            assert clock.now() < 30, "an old snapshot need not be waited for"


def test_a_failed_look_at_an_old_snapshot_leaves_nothing(image: Path) -> None:
    """A role that may not describe snapshots would leave one behind with each deploy."""
    port = FakeSnapshots()
    port.repeat_age = 10
    held = port.add(UploadRequest(STORE_PATH, STACK, {"team": "a"}).start(1, None, "0"))
    held.about = replace(held.about, tags={})  # EC2 does not show them yet

    def refuse(_: int, name: str) -> None:
        if name == "describe" and port.calls.count("describe") == 1:
            raise CloudError("access denied")

    port.before = refuse
    with pytest.raises(CloudError, match=r"^access denied$"):
        run(image, port)
    assert not port.held


@pytest.mark.parametrize("state", ["error", "completed"])
def test_a_token_leads_to_what_became_of_its_snapshot(image: Path, state: str) -> None:
    """A run whose tags EC2 does not show yet would write into what is finished, or into what can never be."""
    port = FakeSnapshots()
    first = run(image, port)
    port.repeat_age = 10
    held = port.held[first.snapshot_id]
    held.about = replace(held.about, state=state, tags={})
    again = run(image, port)
    assert (again.snapshot_id == first.snapshot_id) == (state == "completed") == again.adopted
    assert list(port.held) == [again.snapshot_id]


def test_an_error_state_is_told_and_cleared(image: Path) -> None:
    """A snapshot that EBS could not finish would be waited for, or taken for good."""
    port = FakeSnapshots()

    def spoil(_: int, name: str) -> None:
        if name == "describe":
            for held in port.held.values():
                object.__setattr__(held.about, "state", "error")
                object.__setattr__(held.about, "state_message", "no such key")

    port.before = spoil
    with pytest.raises(CloudError, match=r"EBS could not complete snapshot snap-0001 \(no such key\)"):
        run(image, port)
    assert not port.held


def test_completion_is_not_waited_for_without_end(image: Path) -> None:
    """A snapshot that never completes would hang the deploy."""
    port, clock = FakeSnapshots(pending_reads=10**9), FakeClock()
    with pytest.raises(CloudError, match=r"still not completed after 30 minutes"):
        run(image, port, clock=clock)
    assert not port.held


@pytest.mark.parametrize("change", ["write", "grow", "cut", "replace", "remove"])
def test_a_file_that_changes_is_an_error(image: Path, change: str) -> None:
    """A snapshot would be completed from half of one image and half of another."""
    port = FakeSnapshots()
    spare = shutil.copy2(image, image.with_suffix(".spare"))

    def disturb(number: int, name: str) -> None:
        if number != 4:
            return
        assert name == "put"
        if change == "write":
            with image.open("r+b") as file:
                file.seek(4 * BLOCK)
                file.write(b"x")
            os.utime(image, ns=(0, image.stat().st_mtime_ns + 1))
        elif change == "grow":
            os.truncate(image, 9 * BLOCK)
        elif change == "cut":
            os.truncate(image, 2 * BLOCK)
        elif change == "replace":
            Path(spare).replace(image)
        else:
            image.unlink()

    port.before = disturb
    with pytest.raises(FleetswapError, match=r"image\.raw changed while it was read: run again"):
        run(image, port, connections=1)
    assert not port.held
    assert "complete" not in port.calls
    if change in ("write", "grow", "cut"):
        assert port.calls.count("put") < 6, "it was noticed at once, not only in the end"


def test_a_change_after_the_last_read_is_an_error(image: Path) -> None:
    """A build that still writes when the last block is on its way would be taken for finished."""
    port = FakeSnapshots()

    def disturb(_: int, name: str) -> None:
        if name == "put" and port.calls.count("put") == 6:
            os.utime(image, ns=(0, image.stat().st_mtime_ns + 1))

    port.before = disturb
    with pytest.raises(FleetswapError, match=r"image\.raw changed while it was read"):
        run(image, port, connections=1)
    assert not port.held


def test_progress_is_told_in_figures_and_what_is_decided_in_lines(image: Path) -> None:
    """A long upload would be silent, or flood the log with a line every few seconds."""
    port, lines, figures = FakeSnapshots(), list[str](), list[Progress]()
    request = UploadRequest(STORE_PATH, STACK, tags={"team": "a"})
    upload(image, request, port, port, lines.append, progress=figures.append, clock=FakeClock(), connections=1)
    assert lines == ["uploading image.raw to snapshot snap-0001: 6 blocks of 512 KiB"]
    assert figures[-1].done == figures[-1].total > 6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"identity": ""}, "identity"),
        ({"kms_key": KEY}, "kms_key needs encrypted"),
        ({"encrypted": True, "kms_key": "alias/mine"}, "not the ARN of a key"),
        ({"parent": "ami-1"}, "parent ami-1 is not auto, none or a snapshot ID"),
        ({"sparse": "zeros"}, "sparse zeros is not none or holes"),
        ({"samples": -1}, "samples -1 is negative"),
    ],
)
def test_a_wrong_order_is_refused_before_anything(image: Path, wrong: dict[str, Any], message: str) -> None:
    """A mistake in the settings would be found only by EBS, after the image was built."""
    port = FakeSnapshots()
    with pytest.raises(InputError, match=message):
        run(image, port, **wrong)
    assert not port.calls


def test_no_disk_creates_nothing(tmp_path: Path) -> None:
    """A qcow2's container bytes would be uploaded as if they were a disk."""
    path = tmp_path / "image.qcow2"
    path.write_bytes(b"QFI\xfb" + bytes(1 << 20))
    port = FakeSnapshots()
    with pytest.raises(InputError, match=r"image\.qcow2 is a qcow2 file"):
        run(path, port)
    assert not port.calls
