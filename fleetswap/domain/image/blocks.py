"""What EBS snapshots consist of: 512 KiB blocks, whole GiB, and a checksum of checksums.

It decides how an image is cut into blocks, and never touches the image or the network.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

BLOCK_SIZE = 524_288
"""Bytes of a block. "Currently, the only supported size is 524288" (PutSnapshotBlock, DataLength)."""

GIB = 1 << 30
"""Bytes of the unit that volumes are measured in."""

DIGEST_SIZE = 32
"""Bytes of a raw SHA-256 digest."""

MAX_VOLUME_GIB = 65_536
"""The largest volume: 64 TiB (StartSnapshot, VolumeSize)."""


def block_count(size: int) -> int:
    """Blocks that hold `size` bytes; the last one may be partly filled."""
    return -(-size // BLOCK_SIZE)


def volume_gib(size: int) -> int:
    """The smallest volume, in GiB, that holds `size` bytes. EBS has none below 1 GiB (StartSnapshot, VolumeSize)."""
    return max(1, -(-size // GIB))


def digest(data: bytes | bytearray) -> bytes:
    """The raw SHA-256 of `data`, the only algorithm that EBS has (PutSnapshotBlock, ChecksumAlgorithm)."""
    return hashlib.sha256(data).digest()


def encode(digest: bytes) -> str:
    """A digest as the API's headers carry it: base64."""
    return base64.b64encode(digest).decode("ascii")


def linear_checksum(digests: Iterable[bytes | bytearray]) -> str:
    """The checksum of a whole snapshot. `digests` are its blocks' raw digests in ascending order of index, in runs of
    any length.

    CompleteSnapshot's `LINEAR` aggregation: the checksums concatenated, then SHA-256 over all of them, in base64. Which
    form is concatenated the reference leaves open; it is the raw digests, as in awslabs/coldsnap, src/upload.rs.
    """
    whole = hashlib.sha256()
    for run in digests:
        whole.update(run)
    return encode(whole.digest())
