"""The digests of one image's blocks, for several uploads of it at once: each block is hashed once, by whoever needs it
first.

It keeps no bytes. An upload that comes to a block later reads it again, and only if its own snapshot does not have it.

Memory: 33 bytes per block.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fleetswap.domain.image.blocks import DIGEST_SIZE

LOCKS = 64
"""Blocks that are told apart while they are hashed; two that share a lock are hashed one after the other."""


class Hashes:
    """The digests that are known. Safe to use from several threads."""

    def __init__(self, count: int) -> None:
        """Of an image of `count` blocks."""
        self._known = bytearray(count)
        self._digests = bytearray(count * DIGEST_SIZE)
        self._locks = [threading.Lock() for _ in range(min(count, LOCKS))]

    def get(self, index: int) -> bytes | None:
        """The digest of a block, if it is known."""
        if not self._known[index]:
            return None
        return bytes(self._digests[index * DIGEST_SIZE : (index + 1) * DIGEST_SIZE])

    def put(self, index: int, digest: bytes) -> None:
        """Remember the digest of a block."""
        self._digests[index * DIGEST_SIZE : (index + 1) * DIGEST_SIZE] = digest
        self._known[index] = 1

    @contextmanager
    def turn(self, index: int) -> Iterator[bytes | None]:
        """The digest, if it is known; else nobody else hashes this block before the end of the context.

        Whoever is in it must not wait for a service: the others would wait as well.
        """
        with self._locks[index % len(self._locks)]:
            yield self.get(index)
