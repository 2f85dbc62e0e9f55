"""The local journal: which blocks of a pending snapshot EBS has acknowledged, so that the next run can resume a killed
upload.

It decides nothing. It saves requests, and the count and the checksum with which the snapshot is completed prove what it
says. So it may be lost, truncated or damaged; then blocks are sent again. It never fails an upload.

A journal is a set of files in one directory, named after the snapshot and the plan of the blocks. Each run appends to
its own file, so that two runs at once cannot mix their records, and reads the files of all. A record is the block's
index (8 bytes), the start of its digest (8) and a CRC-32 of the two (4). A run that was killed, or a computer that lost
power, leaves half a record or zeros at the end of a file; reading stops there.

Memory: 9 bytes per block. Disk: 20 bytes per block.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import struct
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

VERSION = "1"
"""Part of the name: another version does not see the files."""

STALE_SECONDS = 3 * 24 * 3600
"""Files older than this are removed. EBS gives an unfinished snapshot up after an hour (`PENDING_MINUTES`)."""

PREFIX_SIZE = 8
"""Bytes of a digest that are kept. A chance match (1 in 2^64) would be refused at the completion."""

_BODY = struct.Struct(f">Q{PREFIX_SIZE}s")
_RECORD_SIZE = _BODY.size + 4
_SUFFIX = ".journal"
_DISPUTED = 2


class Journal:
    """The blocks of one snapshot that were acknowledged. A context manager; safe to use from several threads."""

    def __init__(
        self, folder: Path | None, *, snapshot_id: str, plan: str, blocks: int, tell: Callable[[str], None]
    ) -> None:
        """Read what earlier runs wrote. `plan` stands for all that decides which blocks are written.

        Without a folder nothing is kept. `tell` gets a line if the folder cannot be used.
        """
        key = hashlib.sha256("\0".join((VERSION, snapshot_id, plan)).encode()).hexdigest()[:32]
        self._folder = folder
        self._key = key
        self._tell = tell
        self._fd = -1
        self._lock = threading.Lock()  # a file must not be closed, and its number taken by another, under a write
        self._known = bytearray()
        self._prefixes = bytearray()
        self.records = 0
        """Records that were read."""
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _remove_stale(folder)
            for path in sorted(folder.glob(f"{key}.*{_SUFFIX}")):
                self._read(path, blocks)
            own = folder / f"{key}.{secrets.token_hex(8)}{_SUFFIX}"
            self._fd = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_EXCL, 0o600)
        except OSError as error:
            self._broken(error)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def has(self, index: int, digest: bytes) -> bool:
        """Whether an earlier run got this block acknowledged with this content."""
        if index >= len(self._known) or self._known[index] != 1:
            return False
        at = index * PREFIX_SIZE
        return self._prefixes[at : at + PREFIX_SIZE] == digest[:PREFIX_SIZE]

    def add(self, index: int, digest: bytes) -> None:
        """Remember a block that EBS has acknowledged."""
        body = _BODY.pack(index, digest[:PREFIX_SIZE])
        record = body + zlib.crc32(body).to_bytes(4, "big")
        try:
            with self._lock:
                if self._fd < 0 or os.write(self._fd, record) == len(record):
                    return
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # half a record: nothing can follow it
        except OSError as error:
            self._broken(error)

    def forget(self) -> None:
        """Delete the journal, of other runs too: the snapshot is finished, or gone."""
        self._close()
        self._known = bytearray()
        if self._folder is None:
            return
        for path in self._folder.glob(f"{self._key}.*{_SUFFIX}"):
            _remove(path)

    def _read(self, path: Path, blocks: int) -> None:
        if not self._known:
            self._known = bytearray(blocks)
            self._prefixes = bytearray(blocks * PREFIX_SIZE)
        with path.open("rb") as file:
            while len(record := file.read(_RECORD_SIZE)) == _RECORD_SIZE:
                body = record[: _BODY.size]
                if zlib.crc32(body) != int.from_bytes(record[_BODY.size :], "big"):
                    return
                index, prefix = _BODY.unpack(body)
                if index >= blocks:
                    return
                at = slice(index * PREFIX_SIZE, (index + 1) * PREFIX_SIZE)
                # Two runs that saw different content: nobody knows which of the two was written last.
                self._known[index] = 1 if not self._known[index] or self._prefixes[at] == prefix else _DISPUTED
                self._prefixes[at] = prefix
                self.records += 1

    def _broken(self, error: OSError) -> None:
        self._close()
        self._tell(
            f"cannot keep a journal in {self._folder} ({error.strerror}): an interrupted upload cannot be resumed"
        )

    def _close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                fd, self._fd = self._fd, -1
                os.close(fd)


def _remove_stale(folder: Path) -> None:
    oldest = time.time() - STALE_SECONDS
    for path in folder.glob(f"*{_SUFFIX}"):
        try:
            stale = path.stat().st_mtime < oldest
        except OSError:
            continue  # another run has removed it
        if stale:
            _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # it is removed as stale another day
