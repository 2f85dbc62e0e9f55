"""What is downloaded is the image, or there is no file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fleetswap.domain.errors import CloudError, FleetswapError, InputError, TryAgain
from fleetswap.domain.image.meter import Progress
from fleetswap.workflows.image.download import Downloaded, download
from fleetswap.workflows.image.read_back import Mismatch
from tests.fakes.ebs import BLOCK, FakeClock, disk_bytes, nothing
from tests.fakes.reads import SNAPSHOT, Finished, mapped
from tests.image.test_verify import flipped

CONTENT = disk_bytes(["data", "zero", "same"], 7 * BLOCK - 512)


def run(port: Finished, path: Path, *, force: bool = False, whole_volume: bool = False) -> tuple[Downloaded, list[str]]:
    said: list[str] = []
    made = download(
        SNAPSHOT,
        path,
        port,
        said.append,
        force=force,
        whole_volume=whole_volume,
        progress=nothing,
        clock=FakeClock(),
        connections=3,
    )
    return made, said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "disk.raw"


def test_the_file_is_the_image(path: Path) -> None:
    """The file would have other bytes, another size, or the map at its end."""
    port = mapped(CONTENT, holes=(4,))
    made, said = run(port, path)
    assert path.read_bytes() == CONTENT
    assert (made.size, made.volume_gib, made.map_problem, made.blocks_read) == (len(CONTENT), 1, None, 6)
    assert said == []
    assert list(path.parent.iterdir()) == [path]


def test_zeros_are_holes_of_the_file(path: Path) -> None:
    """A large empty disk would fill this one."""
    run(mapped(disk_bytes(["data", *["zero"] * 63], 64 * BLOCK)), path)
    assert path.stat().st_blocks * 512 < 4 * BLOCK


def test_a_snapshot_without_a_map_gives_the_whole_volume(path: Path) -> None:
    """The file would be cut off, or the user not told why it is larger than the image."""
    port = mapped(CONTENT)
    del port.held[2047]
    made, said = run(port, path)
    assert made.size == path.stat().st_size == 1 << 30
    assert made.map_problem == "is missing"
    with path.open("rb") as file:
        assert file.read(len(CONTENT)) == CONTENT
    assert said == [
        f"the block map of snapshot {SNAPSHOT} is missing, so its blocks are not compared with it; the whole volume is"
        " downloaded"
    ]


def test_the_whole_volume_on_request(path: Path) -> None:
    """Nobody could see what lies past the image's end."""
    port = mapped(CONTENT)
    made, _ = run(port, path, whole_volume=True)
    assert made.size == path.stat().st_size == 1 << 30
    with path.open("rb") as file:
        file.seek(2047 * BLOCK)
        assert file.read() == port.held[2047]


def test_a_file_that_is_there_stays(path: Path) -> None:
    """Somebody's disk would be overwritten."""
    path.write_text("mine")
    port = mapped(CONTENT)
    port.before = lambda operation, _index: pytest.fail(operation)
    with pytest.raises(InputError, match="--force"):
        run(port, path)
    assert path.read_text() == "mine"


def test_a_file_that_comes_meanwhile_stays(path: Path) -> None:
    """Two downloads at once would overwrite each other's file."""
    port = mapped(CONTENT)
    port.before = lambda *_: path.write_text("mine")  # type: ignore[assignment]
    with pytest.raises(InputError, match="--force"):
        run(port, path)
    assert path.read_text() == "mine"
    assert list(path.parent.iterdir()) == [path]


def test_force_replaces_a_file_and_nothing_else(path: Path) -> None:
    """--force would not, or would replace a folder or a device; or a link, and not the file that it leads to."""
    path.write_text("old")
    link = path.with_name("link.raw")
    link.symlink_to(path)
    run(mapped(CONTENT), link, force=True)
    assert link.is_symlink()
    assert path.read_bytes() == CONTENT
    for other in (path.parent, Path(os.devnull)):
        with pytest.raises(InputError, match="not a regular file"):
            run(mapped(CONTENT), other, force=True)


@pytest.mark.parametrize("name", ["absent/disk.raw", "x" * 300, "a\0b"])
def test_a_name_that_cannot_be_is_refused_in_a_line(tmp_path: Path, name: str) -> None:
    """A user would see a traceback."""
    with pytest.raises(InputError, match="cannot be created"):
        run(mapped(CONTENT), tmp_path / name)


def test_a_file_system_without_links(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing could be downloaded to a FAT disk."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    run(mapped(CONTENT), path)
    assert path.read_bytes() == CONTENT


def damaged() -> Finished:
    port = mapped(CONTENT)
    port.held[3] = flipped(port.held[3], 77)
    return port


def lacking() -> Finished:
    port = mapped(CONTENT)
    del port.held[3]
    return port


def unknown() -> Finished:
    port = mapped(CONTENT, holes=(3,))
    port.held[3] = b"x" * BLOCK
    return port


@pytest.mark.parametrize("make", [damaged, lacking, unknown])
def test_a_snapshot_that_is_not_what_its_map_says_gives_no_file(path: Path, make: object) -> None:
    """A damaged disk would be booted from."""
    path.write_text("old")
    with pytest.raises(Mismatch, match=r"block 3 \(byte 1572864\)") as caught:
        run(make(), path, force=True)  # type: ignore[operator]
    assert caught.value.exit_status == 4
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [CloudError("access denied"), TryAgain("503"), KeyboardInterrupt()])
def test_nothing_is_left_after_an_error(path: Path, error: BaseException) -> None:
    """Half a disk would be left, under the file's name or another."""
    port = mapped(CONTENT)

    def fail(operation: str, index: int) -> None:
        if operation == "get" and index == 5:
            raise error

    port.before = fail
    with pytest.raises(CloudError if isinstance(error, CloudError) else KeyboardInterrupt):
        run(port, path)
    assert list(path.parent.iterdir()) == []


def test_an_interrupt_leaves_nothing(path: Path) -> None:
    """Ctrl-C on the calling thread would leave half a disk."""

    def interrupt(reading: Progress) -> None:
        if reading.blocks:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(SNAPSHOT, path, mapped(CONTENT), nothing, progress=interrupt, clock=FakeClock())
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("call", ["ftruncate", "pwrite", "fsync"])
def test_a_disk_that_is_full_is_told_in_a_line(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A user would see a traceback, or find a file that is cut off."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(FleetswapError, match=r"disk\.raw cannot be written: No space left on device: free some space"):
        run(mapped(CONTENT), path)
    assert list(path.parent.iterdir()) == []
