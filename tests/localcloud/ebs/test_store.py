"""The block store by itself: what it keeps, what it refuses, what a volume reads, what survives a crash."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.ebs.blocks import BLOCK_SIZE
from localcloud.ebs.records import Request, StoreError
from localcloud.ebs.store import MAX_PENDING, AfterDelete, SnapshotStore, linear_checksum
from tests.localcloud.clients import block

GIB = 2**30
TOKEN = "once"


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def refused(store: SnapshotStore, method: str, *args: object, **kwargs: object) -> tuple[str, str]:
    with pytest.raises(StoreError) as caught:
        getattr(store, method)(*args, **kwargs)
    return caught.value.code, caught.value.reason


def completed(store: SnapshotStore, blocks: dict[int, bytes], **asked: object) -> str:
    snapshot = store.start(Request(volume_size_gib=1, **asked))  # type: ignore[arg-type] # any member of a request
    for index, data in blocks.items():
        store.put(snapshot.id, index, data, digest(data))
    store.complete(snapshot.id, len(blocks))
    return snapshot.id


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path, settle_seconds=0.0)


BLOCKS = st.dictionaries(
    st.sampled_from([0, 1, 2, 7, 2047]), st.integers(0, 3).map(block) | st.just(bytes(BLOCK_SIZE)), max_size=5
)


@settings(max_examples=15, deadline=None)
@given(first=BLOCKS, second=BLOCKS, restart=st.booleans())
def test_a_child_reads_its_own_blocks_over_its_parents(
    first: dict[int, bytes], second: dict[int, bytes], *, restart: bool
) -> None:
    """Wrong inheritance would boot machines from a mix of two images, and a delete of the parent would corrupt them."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "store"
        store = SnapshotStore(root, settle_seconds=0.0)
        parent = completed(store, first)
        child = completed(store, second, parent=parent)
        changed = {index for index, _, _ in store.list_changed(parent, child)}
        assert changed == {index for index, data in second.items() if first.get(index) != data}
        store.delete(parent)
        if restart:
            store = SnapshotStore(root, settle_seconds=0.0)
        expected = {**first, **second}
        assert dict(store.list_blocks(child)) == {index: digest(data) for index, data in expected.items()}
        volume = Path(directory) / "volume"
        store.materialize(child, volume, size_gib=1, encrypted=False)
        with volume.open("rb") as disk:
            for index in (0, 1, 2, 3, 7, 2047):
                disk.seek(index * BLOCK_SIZE)
                assert disk.read(BLOCK_SIZE) == expected.get(index, bytes(BLOCK_SIZE))


@settings(max_examples=15, deadline=None)
@given(blocks=BLOCKS, missing=st.integers(-2, 2), flip=st.booleans())
def test_completion_needs_the_exact_count_and_checksum(blocks: dict[int, bytes], missing: int, *, flip: bool) -> None:
    """An uploader that lost a block, or counts wrongly, would be told that its snapshot is complete."""
    with tempfile.TemporaryDirectory() as directory:
        store = SnapshotStore(Path(directory), settle_seconds=0.0)
        snapshot = store.start(Request(volume_size_gib=1))
        for index, data in blocks.items():
            store.put(snapshot.id, index, data, digest(data))
        right = linear_checksum({index: digest(data) for index, data in blocks.items()})
        claimed = bytes(32) if flip else right
        if missing or flip:
            refusal = refused(store, "complete", snapshot.id, len(blocks) + missing, claimed)
            assert refusal == ("ValidationException", "INVALID_PARAMETER_VALUE")
            assert store.status(snapshot.id) == "pending"
        store.complete(snapshot.id, len(blocks), right)
        assert store.status(snapshot.id) == "completed"


def test_a_block_put_twice_counts_once_and_the_last_one_stays(store: SnapshotStore) -> None:
    """A retried block would make the count wrong for ever."""
    snapshot = store.start(Request(volume_size_gib=1))
    for seed in (1, 2, 2):
        store.put(snapshot.id, 5, block(seed), digest(block(seed)))
    store.complete(snapshot.id, 1)
    assert store.get(snapshot.id, 5) == (block(2), digest(block(2)))


def test_a_missing_block_is_garbage_on_an_encrypted_volume(store: SnapshotStore, tmp_path: Path) -> None:
    """An uploader that skips zero blocks would pass here and corrupt disks in AWS."""
    snapshot = completed(store, {0: block(1), 3: bytes(BLOCK_SIZE)})
    for name in ("one", "two"):
        store.materialize(snapshot, tmp_path / name, size_gib=2, encrypted=True)
    with (tmp_path / "one").open("rb") as one, (tmp_path / "two").open("rb") as two:
        assert one.read(BLOCK_SIZE) == two.read(BLOCK_SIZE) == block(1)
        missing = one.read(BLOCK_SIZE)
        assert missing == two.read(BLOCK_SIZE)
        assert all(any(missing[at : at + 4_096]) for at in range(0, BLOCK_SIZE // 16, 4_096))
        one.seek(3 * BLOCK_SIZE)
        assert one.read(BLOCK_SIZE) == bytes(BLOCK_SIZE)
        one.seek(GIB)  # past the snapshot, within the volume
        assert any(one.read(4096))


def test_a_volume_is_made_of_a_completed_snapshot_that_fits(store: SnapshotStore, tmp_path: Path) -> None:
    """A machine would boot from half an image."""
    pending = store.start(Request(volume_size_gib=2))
    dest = tmp_path / "volume"
    assert refused(store, "materialize", pending.id, dest, size_gib=2, encrypted=False)[1] == "INVALID_SNAPSHOT_ID"
    store.complete(pending.id, 0)
    assert refused(store, "materialize", pending.id, dest, size_gib=1, encrypted=False)[1] == "INVALID_VOLUME_SIZE"
    assert not list(tmp_path.glob("volume*"))


def test_deleting_removes_the_blocks_that_nobody_needs(store: SnapshotStore, tmp_path: Path) -> None:
    """Every image ever uploaded would stay on the disk."""

    def stored() -> int:
        return sum(1 for path in (tmp_path / "blocks").rglob("*") if path.is_file())

    first = completed(store, {0: block(0), 1: block(1)})
    second = completed(store, {0: block(0), 1: block(2)})
    assert stored() == 3
    store.delete(first)
    assert stored() == 2
    store.delete(second)
    assert stored() == 0


def test_a_snapshot_without_a_put_for_its_timeout_fails(tmp_path: Path) -> None:
    """An abandoned upload would stay pending for ever, and a resumed one would never see the error AWS gives."""
    clock = Clock()
    store = SnapshotStore(tmp_path, clock=clock, settle_seconds=0.0)
    snapshot = store.start(Request(volume_size_gib=1, timeout_minutes=10))
    clock.now += 599
    store.put(snapshot.id, 0, block(0), digest(block(0)))
    clock.now += 599
    assert store.status(snapshot.id) == "pending"
    clock.now += 2
    assert store.status(snapshot.id) == "error"
    assert refused(store, "put", snapshot.id, 0, block(0), digest(block(0)))[1] == "INVALID_SNAPSHOT_ID"
    assert refused(store, "complete", snapshot.id, 1)[1] == "INVALID_SNAPSHOT_ID"


def test_a_completed_snapshot_is_pending_for_a_while(tmp_path: Path) -> None:
    """A client that does not wait for completion would pass here and fail in AWS."""
    clock = Clock()
    store = SnapshotStore(tmp_path, clock=clock, settle_seconds=5.0)
    snapshot = store.start(Request(volume_size_gib=1))
    assert store.complete(snapshot.id, 0) == "pending"
    assert refused(store, "list_blocks", snapshot.id)[1] == "INVALID_SNAPSHOT_ID"
    assert refused(store, "put", snapshot.id, 0, block(0), digest(block(0)))[1] == "INVALID_SNAPSHOT_ID"
    clock.now += 5
    assert store.status(snapshot.id) == "completed"


def test_what_version_0_1_kept_is_found(tmp_path: Path) -> None:
    """The local cloud of a checkout would not start any more after an update, until its folder is deleted."""
    done = completed(SnapshotStore(tmp_path, settle_seconds=0.0), {0: block(0)})
    meta = tmp_path / done / "meta.json"
    meta.write_text(meta.read_text().replace('"completed_at"', '"sealed_at"'))
    assert SnapshotStore(tmp_path, settle_seconds=0.0).status(done) == "completed"


def test_a_restart_finds_everything_and_drops_what_a_crash_left(tmp_path: Path) -> None:
    """A killed local cloud would lose snapshots that a stack refers to, or read half a record as a block."""
    store = SnapshotStore(tmp_path, settle_seconds=0.0)
    done = completed(store, {0: block(0)}, tags=(("a", "b"),))
    store.set_tags(done, {"a": "c"})
    pending = store.start(Request(volume_size_gib=1), client_token=TOKEN)
    store.put(pending.id, 1, block(1), digest(block(1)))
    with (tmp_path / pending.id / "written").open("ab") as log:
        log.write(b"half a rec")
    (tmp_path / "snap-0123" / "nothing").mkdir(parents=True)
    orphan = tmp_path / "blocks" / "ff" / f"ff{'0' * 62}"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"x")

    again = SnapshotStore(tmp_path, settle_seconds=0.0)
    assert [snapshot.id for snapshot in again.all()] == [done, pending.id]
    assert again.find(done).tags == {"a": "c"}
    assert again.start(Request(volume_size_gib=1), client_token=TOKEN).id == pending.id
    again.put(pending.id, 2, block(2), digest(block(2)))
    assert SnapshotStore(tmp_path).find(pending.id).written == {1: digest(block(1)), 2: digest(block(2))}
    assert not orphan.exists()
    assert not (tmp_path / "snap-0123").exists()


@pytest.mark.parametrize(("after_delete", "same"), [("id", True), ("new", False), ("conflict", None)])
def test_a_dead_token_does_what_was_chosen(tmp_path: Path, after_delete: AfterDelete, *, same: bool | None) -> None:
    """Of the things that AWS may do with the token of a deleted snapshot, only one could be tried."""
    store = SnapshotStore(tmp_path, after_delete=after_delete)
    first = store.start(Request(volume_size_gib=1), client_token=TOKEN)
    store.delete(first.id)
    if same is None:
        with pytest.raises(StoreError) as caught:
            store.start(Request(volume_size_gib=1), client_token=TOKEN)
        assert caught.value.code == "ConflictException"
    else:
        assert (store.start(Request(volume_size_gib=1), client_token=TOKEN).id == first.id) == same


def test_at_most_a_hundred_snapshots_are_pending(store: SnapshotStore) -> None:
    """An uploader that leaves failed snapshots behind would never meet the quota that stops it in AWS."""
    for _ in range(MAX_PENDING):
        last = store.start(Request(volume_size_gib=1))
    assert refused(store, "start", Request(volume_size_gib=1))[0] == "ConcurrentLimitExceededException"
    store.complete(last.id, 0)
    store.start(Request(volume_size_gib=1))
