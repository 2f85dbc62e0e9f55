"""Downloads a snapshot into a raw disk file: complete and verified, or no file at all.

It decides how large the file is (the image's own size if the snapshot has a map that can be trusted, otherwise the
volume's). It leaves nothing half-written: the blocks go into a temporary file in the same directory, which is flushed
to the disk and then renamed. It never changes the snapshot, and replaces an existing file only if asked to.

Zero blocks, and blocks that the snapshot does not have, are holes in the file.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.image.blockmap import BlockMap
from fleetswap.domain.image.blocks import BLOCK_SIZE, GIB, block_count, digest
from fleetswap.domain.image.meter import Progress
from fleetswap.workflows.clock import Clock, SystemClock
from fleetswap.workflows.image.block_list import listing, look
from fleetswap.workflows.image.ports import Reads
from fleetswap.workflows.image.read_back import (
    CONNECTIONS,
    FIRST_PATIENCE_SECONDS,
    PATIENCE_SECONDS,
    Mismatch,
    read_back,
)
from fleetswap.workflows.retry import Patience

_ZEROS = bytes(BLOCK_SIZE)


@dataclass(frozen=True)
class Downloaded:
    """A finished file."""

    snapshot_id: str
    path: Path
    size: int
    """Bytes of the file."""

    volume_gib: int
    map_problem: str | None
    """Why the blocks were checked against no map, in words that follow "its block map"; None if they were."""

    blocks_read: int
    bytes_read: int
    throttled: int
    retried: int
    seconds: float


def download(
    snapshot_id: str,
    path: Path,
    port: Reads,
    say: Callable[[str], None],
    *,
    force: bool = False,
    whole_volume: bool = False,
    progress: Callable[[Progress], None],
    clock: Clock | None = None,
    connections: int = CONNECTIONS,
) -> Downloaded:
    """Make a file of a finished snapshot. To repeat it is harmless.

    Raises `InputError` if the file is there already, without `force`, or cannot be made; `Mismatch` if the snapshot
    does not hold what its map says; `CloudError` if it cannot be read; `FleetswapError` if the file cannot be written.
    Whatever it raises, no file is made or changed.
    """
    clock = clock or SystemClock()
    target = _target(path, force=force)
    found = look(port, snapshot_id, clock, seconds=FIRST_PATIENCE_SECONDS)
    block_map = found.block_map
    size = found.volume_gib * GIB if block_map is None or whole_volume else block_map.size
    if block_map is None:
        told = "" if whole_volume else "; the whole volume is downloaded"
        say(f"the block map of snapshot {snapshot_id} {found.problem}, so its blocks are not compared with it{told}")
    with _made(target, size, force=force) as fd:
        writer = _Writer(fd, snapshot_id, path, size, block_map)
        stop = threading.Event()
        patience = Patience(clock, stop, seconds=PATIENCE_SECONDS)
        reading = read_back(
            port,
            snapshot_id,
            writer.noting(listing(port, patience, snapshot_id, 0, block_count(size))),
            writer.write,
            patience=patience,
            clock=clock,
            stop=stop,
            total=block_count(size),
            tell=progress,
            connections=connections,
        )
        writer.finish()
    return Downloaded(
        snapshot_id=snapshot_id,
        path=path,
        size=size,
        volume_gib=found.volume_gib,
        map_problem=found.problem if block_map is None else None,
        blocks_read=reading.blocks,
        bytes_read=reading.bytes,
        throttled=reading.throttled,
        retried=reading.retried,
        seconds=reading.seconds,
    )


class _Writer:
    """Puts blocks where they belong. `write` may be called from several threads."""

    def __init__(self, fd: int, snapshot_id: str, path: Path, size: int, block_map: BlockMap | None) -> None:
        self._fd = fd
        self._snapshot_id = snapshot_id
        self._path = path
        self._size = size
        self._map = block_map
        self._listed = bytearray(block_map.count if block_map is not None else 0)

    def noting(self, blocks: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
        """Pass the list on, and remember which blocks of the image are in it."""
        for index, token in blocks:
            if index < len(self._listed):
                self._listed[index] = 1
            yield index, token

    def write(self, index: int, data: bytes) -> None:
        """Check a block and write it, unless it is zeros: the file has them already."""
        if self._map is not None and index < self._map.count and self._map.digest(index) != digest(data):
            raise self._mismatch(index, "differs from the block map")
        if data == _ZEROS:
            return
        offset = index * BLOCK_SIZE
        with _writing(self._path), memoryview(data)[: self._size - offset] as view:
            written = 0
            while written < len(view):  # a write may be cut short by a signal, or by a full disk before it says so
                written += os.pwrite(self._fd, view[written:], offset + written)

    def finish(self) -> None:
        """Make sure that no block is lacking that the map has."""
        index = self._listed.find(0)
        while index >= 0:
            if self._map is not None and self._map.digest(index) is not None:
                raise self._mismatch(index, "is missing from the snapshot, but the block map has it")
            index = self._listed.find(0, index + 1)

    def _mismatch(self, index: int, reason: str) -> Mismatch:
        return Mismatch(
            f"snapshot {self._snapshot_id} is damaged: block {index} (byte {index * BLOCK_SIZE}) {reason};"
            f" `fleetswap verify {self._snapshot_id}` lists every difference"
        )


def _target(path: Path, *, force: bool) -> Path:
    """Where the file is to be, symbolic links followed. `InputError` if there is something that must stay."""
    with _asking(path):
        target = path.resolve()
        if not target.parent.is_dir():
            raise InputError(f"{path} cannot be created: there is no folder {target.parent}")
        try:
            there = target.stat()
        except FileNotFoundError:
            return target
    if not stat.S_ISREG(there.st_mode):
        raise InputError(f"{path} exists and is not a regular file: choose another")
    if not force:
        raise _taken(path)
    return target


def _taken(path: Path) -> InputError:
    return InputError(f"{path} already exists: choose another file, or overwrite it with --force")


@contextmanager
def _made(target: Path, size: int, *, force: bool) -> Iterator[int]:
    """A new file of so many zeros to write to. It becomes `target` at the end; after an error nothing is left of it."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    fd = -1
    try:
        try:
            with _asking(target):  # within: an interrupt may come as soon as the file is there
                fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            with _writing(target):
                os.ftruncate(fd, size)
            yield fd
            with _writing(target):
                os.fsync(fd)
        finally:
            if fd >= 0:
                os.close(fd)
        with _writing(target):
            _name(part, target, force=force)
            _sync_folder(target.parent)
    finally:
        with suppress(OSError):  # it has its name by now; or the first error is the one to be told
            part.unlink(missing_ok=True)


def _name(part: Path, target: Path, *, force: bool) -> None:
    """Give the finished file its name. Without `force`, a file that has come since the beginning stays."""
    if not force:
        try:
            os.link(part, target)  # rename(2) would replace what is there
        except FileExistsError:
            raise _taken(target) from None
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
                raise
            if target.exists():  # a file system without hard links, as FAT: then this has to do
                raise _taken(target) from None
        else:
            return
    part.replace(target)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # not every file system can
            os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _asking(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links; a name with a zero byte
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{path} cannot be created: {reason}") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = (
            ": free some space, or choose a file on another disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        )
        raise FleetswapError(f"{path} cannot be written: {error.strerror or error}{remedy}") from error
