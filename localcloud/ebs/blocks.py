"""The blocks of all snapshots as files named after their SHA-256, shared and counted.

Decides when a block's file may go: when nobody holds it any more. Knows nothing of snapshots.
"""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BLOCK_SIZE = 524_288  # the only size there is (API reference: PutSnapshotBlock, DataLength)
BLOCKS_PER_GIB = 2**30 // BLOCK_SIZE

_ZERO_DIGEST = hashlib.sha256(bytes(BLOCK_SIZE)).digest()
_PAGE = 4_096
_GARBAGE = 8 * _PAGE  # of each block: in one piece, because a file of many pieces takes seconds to delete


class Blocks:
    """Block files below `root`. Safe for many threads. Whoever names a block holds it, and releases it once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._references: dict[bytes, int] = {}
        root.mkdir(parents=True, exist_ok=True)

    def hold(self, digests: Iterable[bytes]) -> None:
        """Nobody removes these from now on."""
        with self._lock:
            for digest in digests:
                self._references[digest] = self._references.get(digest, 0) + 1

    def release(self, digests: Iterable[bytes]) -> None:
        """Remove those of these that nobody else holds."""
        with self._lock:
            for digest in digests:
                self._references[digest] -= 1
                if self._references[digest] == 0:
                    del self._references[digest]
                    self._path(digest).unlink(missing_ok=True)

    def write(self, digest: bytes, data: bytes) -> None:
        """Store a block that is held. It appears complete or not at all."""
        path = self._path(digest)
        if path.exists():
            return
        path.parent.mkdir(exist_ok=True)
        partial = path.with_name(f"{uuid.uuid4().hex}.partial")
        try:
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def read(self, digest: bytes) -> bytes:
        """A block that is held."""
        return self._path(digest).read_bytes()

    def sweep(self) -> None:
        """Remove the files that nobody holds: what a killed process left."""
        for path in self._root.glob("*/*"):
            if path.suffix or bytes.fromhex(path.name) not in self._references:
                path.unlink()

    def volume(self, dest: Path, blocks: dict[int, bytes], *, size_gib: int, own_gib: int, garbage: str | None) -> None:
        """Write the disk of a volume of `size_gib` GiB with these blocks, which are held, to `dest`.

        What is in no block is zeros, or, with `garbage` (any text; it seeds it), garbage: to save time and disk only
        the first sixteenth of each block, and past the first `own_gib` GiB its first page. `dest` appears complete or
        not at all.
        """
        partial = dest.with_name(f"{dest.name}.{uuid.uuid4().hex}.partial")
        try:
            with partial.open("wb") as out:
                out.truncate(size_gib * 2**30)
                for index, digest in blocks.items():
                    if digest != _ZERO_DIGEST:
                        self._copy(digest, out.fileno(), index * BLOCK_SIZE)
                if garbage is not None:
                    pages = hashlib.shake_256(garbage.encode()).digest(_GARBAGE)
                    for index in range(size_gib * BLOCKS_PER_GIB):
                        if index not in blocks:
                            some = pages if index < own_gib * BLOCKS_PER_GIB else pages[:_PAGE]
                            os.pwrite(out.fileno(), some, index * BLOCK_SIZE)
            partial.replace(dest)
        finally:
            partial.unlink(missing_ok=True)

    def _path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._root / name[:2] / name

    def _copy(self, digest: bytes, out: int, offset: int) -> None:
        with self._path(digest).open("rb") as block:
            os.lseek(out, offset, os.SEEK_SET)
            left = BLOCK_SIZE
            while left:
                copied = os.sendfile(out, block.fileno(), None, left)
                if copied == 0:
                    raise OSError(f"block {digest.hex()} is shorter than {BLOCK_SIZE} bytes")
                left -= copied
