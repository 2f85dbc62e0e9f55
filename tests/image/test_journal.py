"""The local journal: what survives a kill, and that nothing else is believed."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.workflows.image.journal import STALE_SECONDS, Journal
from tests.fakes.ebs import nothing

RECORD = 20


def digest(value: int) -> bytes:
    return hashlib.sha256(value.to_bytes(8, "big")).digest()


def journal(folder: Path, *, snapshot: str = "snap-1", plan: str = "p", blocks: int = 100) -> Journal:
    return Journal(folder, snapshot_id=snapshot, plan=plan, blocks=blocks, tell=nothing)


def test_a_later_run_knows_what_was_acknowledged(tmp_path: Path) -> None:
    """A killed upload would begin from nothing."""
    with journal(tmp_path / "new") as first:
        assert not first.has(3, digest(3))
        first.add(3, digest(3))
        first.add(99, digest(4))
    with journal(tmp_path / "new") as second:
        assert second.has(3, digest(3))
        assert second.has(99, digest(4))
        assert not second.has(3, digest(4)), "the image has changed there"
        assert not second.has(4, digest(4))
        assert second.records == 2
        second.add(4, digest(4))
    with journal(tmp_path / "new") as third:
        assert third.records == 3


def test_another_snapshot_or_plan_is_another_journal(tmp_path: Path) -> None:
    """Blocks of one snapshot would be taken for another's, which would then lack them."""
    with journal(tmp_path) as first:
        first.add(3, digest(3))
    with journal(tmp_path, snapshot="snap-2") as other, journal(tmp_path, plan="q") as changed:
        assert not other.has(3, digest(3))
        assert not changed.has(3, digest(3))


@given(st.integers(0, 5 * RECORD), st.binary(max_size=3 * RECORD))
def test_a_torn_end_is_ignored(cut: int, junk: bytes) -> None:
    """A kill in the middle of a write would make a block count that was never sent, or end in a traceback."""
    with tempfile.TemporaryDirectory() as folder:
        with journal(Path(folder)) as first:
            for index in range(5):
                first.add(index, digest(index))
        (path,) = Path(folder).iterdir()
        path.write_bytes(path.read_bytes()[:cut] + junk)
        with journal(Path(folder)) as second:
            for index in range(100):
                assert not second.has(index, digest(index)) or index < 5
            for index in range(cut // RECORD):
                assert second.has(index, digest(index))


@given(st.integers(0, 3 * RECORD - 1), st.integers(1, 255))
def test_a_damaged_record_is_ignored(at: int, change: int) -> None:
    """A disk's bit error would make a block count that was never sent."""
    with tempfile.TemporaryDirectory() as folder:
        with journal(Path(folder)) as first:
            for index in range(3):
                first.add(index, digest(index))
        (path,) = Path(folder).iterdir()
        content = bytearray(path.read_bytes())
        content[at] ^= change
        path.write_bytes(content)
        with journal(Path(folder)) as second:
            assert second.records == at // RECORD


def test_two_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Two uploads of one image would tear each other's records."""
    with journal(tmp_path) as one, journal(tmp_path) as two:
        for index in range(50):
            one.add(index, digest(index))
            two.add(index + 25, digest(index + 25))
    with journal(tmp_path) as third:
        assert all(third.has(index, digest(index)) for index in range(75))


def test_what_two_runs_saw_differently_is_not_known(tmp_path: Path) -> None:
    """A block that another run wrote over would be taken for sent."""
    with journal(tmp_path) as one:
        one.add(3, digest(3))
    with journal(tmp_path) as two:
        two.add(3, digest(4))
    with journal(tmp_path) as third:
        assert not third.has(3, digest(3))
        assert not third.has(3, digest(4))


def test_it_is_gone_in_the_end(tmp_path: Path) -> None:
    """Each upload would leave files for ever; or a folder of others' files would be emptied."""
    (tmp_path / "mine.txt").write_text("x")
    old = tmp_path / "old.journal"
    old.write_text("x")
    os.utime(old, (0, tmp_path.stat().st_mtime - STALE_SECONDS - 60))
    with journal(tmp_path) as first:
        first.add(3, digest(3))
    with journal(tmp_path) as second:
        second.add(4, digest(4))
        second.forget()
        second.add(5, digest(5))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_unusable_folder_is_told_and_no_obstacle(tmp_path: Path) -> None:
    """A full or read-only disk would fail an upload that needs no disk."""
    (tmp_path / "file").write_text("x")
    told: list[str] = []
    with Journal(tmp_path / "file", snapshot_id="snap-1", plan="p", blocks=9, tell=told.append) as made:
        made.add(3, digest(3))
        assert not made.has(3, digest(3))
        made.forget()
    assert len(told) == 1
    assert "cannot keep a journal" in told[0]


def test_a_disk_that_fills_up_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records after half a one would be unreadable, or each block be reported."""
    told: list[str] = []
    with Journal(tmp_path, snapshot_id="snap-1", plan="p", blocks=9, tell=told.append) as made:
        monkeypatch.setattr(os, "write", lambda _fd, _data: 7)
        made.add(3, digest(3))
        made.add(4, digest(4))
    assert told == [
        f"cannot keep a journal in {tmp_path} ({os.strerror(errno.ENOSPC)}): an interrupted upload cannot be resumed"
    ]


def test_without_a_folder_nothing_is_kept() -> None:
    """An upload without a journal would write somewhere all the same."""
    with Journal(None, snapshot_id="snap-1", plan="p", blocks=9, tell=nothing) as made:
        made.add(3, digest(3))
        assert not made.has(3, digest(3))
        made.forget()
