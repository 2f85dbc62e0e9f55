"""An open file: reads at any position from any thread, finds holes, and detects whether somebody writes to it
meanwhile.

It knows nothing about the file's content, and never writes.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from types import TracebackType

from fleetswap.domain.errors import FleetswapError, InputError


class OpenFile:
    """A regular file, open for reading; a context manager. `size` is in bytes.

    `InputError` if it is none, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`; reads nothing."""
        self.path = path
        self.name = str(path)
        self._fd = _open(path)
        self._opened = os.fstat(self._fd)
        self.size = self._opened.st_size

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def read(self, length: int, offset: int) -> bytes:
        """The bytes of a place that lies in the file. The caller has checked `length` against the file's size."""
        data = bytearray(length)
        self.read_into(memoryview(data), offset)
        return bytes(data)

    def read_into(self, view: memoryview, offset: int) -> None:
        """Fill `view` from a place that lies in the file; if the file ends before, then it changed."""
        try:
            done = os.preadv(self._fd, [view], offset)
            # A read may stop short for no reason; only an empty one means the end of the file.
            while done < len(view):
                more = os.preadv(self._fd, [view[done:]], offset + done)
                if not more:
                    raise self._changed()
                done += more
        except OSError as error:
            raise FleetswapError(f"image {self.name} cannot be read at byte {offset}: {error.strerror}") from error

    def is_hole(self, offset: int, length: int) -> bool:
        """Whether the file system says that nothing was ever written there: `SEEK_DATA`, lseek(2).

        Blocks that were reserved (fallocate) and never written count as holes. A file system that has no holes, or
        does not tell, answers that all is data. The file's own position moves, which `preadv` does not use.
        """
        try:
            return os.lseek(self._fd, offset, os.SEEK_DATA) >= offset + length
        except OSError as error:
            # ENXIO: there is no data from here to the end. Anything else: the file system cannot tell.
            return error.errno == errno.ENXIO

    def check_open(self) -> None:
        """Raise `FleetswapError` if the open file was written to or resized. One fstat(2): cheap enough for each read.

        The kernel stamps writes with a coarse clock (4 ms or so); a change that it cannot tell is left to the caller
        to find by the content's hash.
        """
        if not _same(os.fstat(self._fd), self._opened):
            raise self._changed()

    def check_unchanged(self) -> None:
        """As `check_open`, and also raise if the path leads to another file by now."""
        try:
            there = os.stat(self.name)  # noqa: PTH116  pathlib's costs four times as much
        except OSError as error:
            raise self._changed() from error
        if not _same(there, self._opened):
            raise self._changed()
        self.check_open()

    def _changed(self) -> FleetswapError:
        return FleetswapError(f"image {self.name} changed while it was read: run again when nothing writes to it")


def _open(path: Path) -> int:
    try:
        # Looked at before it is opened: opening a pipe would wait for a writer.
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"image {path} is a directory: name the disk image in it")
        if not stat.S_ISREG(mode):
            raise InputError(f"image {path} is not a regular file: use the path of a disk image file")
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise InputError(f"image {path} does not exist: build it, or correct the path") from None
    except OSError as error:
        raise InputError(f"image {path} cannot be opened: {error.strerror}") from error


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (
        one.st_mtime_ns == other.st_mtime_ns
        and one.st_size == other.st_size
        and one.st_ino == other.st_ino
        and one.st_dev == other.st_dev
    )
