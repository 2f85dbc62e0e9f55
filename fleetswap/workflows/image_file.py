"""Reads a disk image from a file, block by block, and notices if it changes meanwhile.

It decides nothing about the content (`fleetswap.domain.disk` does) and never writes.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from fleetswap.domain import blocks, disk
from fleetswap.domain.errors import FleetswapError, InputError

IDENTITY_PREFIX = "sha256:"
"""How the identity of an image begins that is named by its content; any other is a Nix store path."""


class ImageFile:
    """An open raw disk image. A context manager; `InputError` if it is not a raw disk or cannot be opened."""

    def __init__(self, path: Path) -> None:
        """Open and inspect `path`; reads 64 KiB."""
        self.path = path
        self._fd = _open(path)
        try:
            self._opened = os.fstat(self._fd)
            self.size = self._opened.st_size
            head = self._read(min(self.size, disk.HEAD_BYTES), 0)
            tail = self._read(min(self.size, disk.TAIL_BYTES), max(0, self.size - disk.TAIL_BYTES))
            self.disk = disk.inspect(head, tail, self.size, name=str(path))
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> ImageFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def blocks(self) -> Iterator[bytes]:
        """All blocks in ascending order, the last one maybe shorter. Raises `FleetswapError` if the file changed."""
        for offset in range(0, self.size, blocks.BLOCK_SIZE):
            data = self._read(min(blocks.BLOCK_SIZE, self.size - offset), offset)
            self.check_unchanged()
            yield data

    def check_unchanged(self) -> None:
        """Raise `FleetswapError` unless the path still leads to the file that was opened, not written to since.

        The kernel stamps writes with a coarse clock (4 ms or so); a change that it cannot tell is left to the caller
        to find by the content's hash.
        """
        try:
            there = self.path.stat()
        except OSError as error:
            raise self._changed() from error
        if not _same(os.fstat(self._fd), self._opened) or not _same(there, self._opened):
            raise self._changed()

    def _read(self, length: int, offset: int) -> bytes:
        try:
            data = os.pread(self._fd, length, offset)
            # A read may stop short for no reason; only an empty one means the end of the file.
            while len(data) < length and (more := os.pread(self._fd, length - len(data), offset + len(data))):
                data += more
        except OSError as error:
            raise FleetswapError(f"image {self.path} cannot be read at byte {offset}: {error.strerror}") from error
        if len(data) < length:
            raise self._changed()
        return data

    def _changed(self) -> FleetswapError:
        return FleetswapError(f"image {self.path} changed while it was read: run again when nothing writes to it")


def identify(path: Path) -> str:
    """The identity of an image file: `sha256:` and the hex digest that `sha256sum` prints. Reads all of the file.

    Raises `InputError` if it is not a raw disk, `FleetswapError` if it changes meanwhile.
    """
    whole = hashlib.sha256()
    with ImageFile(path) as image:
        for block in image.blocks():
            whole.update(block)
    return IDENTITY_PREFIX + whole.hexdigest()


def _open(path: Path) -> int:
    try:
        # Looked at before it is opened: opening a pipe would wait for a writer.
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"image {path} is a directory: name the disk image in it")
        if not stat.S_ISREG(mode):
            raise InputError(f"image {path} is not a regular file: give a file")
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise InputError(f"image {path} does not exist: build it, or correct the path") from None
    except OSError as error:
        raise InputError(f"image {path} cannot be opened: {error.strerror}") from error


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) == (
        other.st_dev,
        other.st_ino,
        other.st_size,
        other.st_mtime_ns,
    )
