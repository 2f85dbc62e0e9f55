"""Reads a snapshot back and reports whether it holds what its own block map says, and what a file holds.

It decides what counts as a difference, and never changes a snapshot or a file. The port checks the checksum of each
block in transit; this module judges the content:

- Against the map: every block that the map has exists with the same digest, and the image has no others.
- Against a file, byte for byte: the snapshot starts with the disk that the file holds. A missing block counts as zeros,
  because that is what a volume that is not encrypted reads there, and is counted, because an encrypted volume reads
  garbage (awslabs/coldsnap issues 395, 470).

A snapshot without a map is compared with the file alone, and what its volume holds past the file's end is not judged.
Without a file as well, all that is known is that its blocks can be read. Of what lies between the image and its map,
only the manifest is judged, by the checksum of the header: the rest is not part of the image.

Memory: 33 bytes per block of the image, and what `read_back` takes, twice with a file.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from fleetswap.domain.image.blockmap import BLOCKS_PER_GIB
from fleetswap.domain.image.blocks import BLOCK_SIZE, GIB, block_count, digest
from fleetswap.domain.image.manifest import BadManifest
from fleetswap.domain.image.meter import Progress
from fleetswap.workflows.clock import Clock, SystemClock
from fleetswap.workflows.image.block_list import Look, listing, look
from fleetswap.workflows.image.image_file import ImageFile
from fleetswap.workflows.image.ports import Reads
from fleetswap.workflows.image.read_back import (
    CONNECTIONS,
    FIRST_PATIENCE_SECONDS,
    PATIENCE_SECONDS,
    read_back,
)
from fleetswap.workflows.image.read_manifest import read_blocks
from fleetswap.workflows.retry import Patience

SHOWN = 10
"""Differing blocks that are named, the first ones. The others are counted."""

_ZEROS = bytes(BLOCK_SIZE)


@dataclass(frozen=True)
class Difference:
    """A block that is not as it should be."""

    index: int
    offset: int
    """The first byte of the disk that differs, as far as that is known, or the block's first."""

    reason: str


@dataclass(frozen=True)
class Verified:
    """What was found."""

    snapshot_id: str
    volume_gib: int
    map_problem: str | None
    """Why the snapshot has no map to be judged by, in words that follow "its block map"; None if it has one."""

    size: int | None
    """Bytes of the image: the map's word, or else the file's size."""

    blocks_read: int
    bytes_read: int
    blocks_lacking: int
    """Blocks of the image that the snapshot lacks, as it may: they were skipped as holes."""

    problems: tuple[str, ...]
    """What is wrong with the whole, and with no block."""

    differing: int
    differences: tuple[Difference, ...]
    """The first `SHOWN` of them, by index."""

    throttled: int
    retried: int
    seconds: float
    manifest: bool = False
    """Whether it has a manifest; whether that is as it was written, `problems` says."""

    @property
    def matches(self) -> bool:
        """Whether nothing is wrong, as far as it could be judged."""
        return not self.differing and not self.problems


def verify(
    snapshot_id: str,
    file: Path | None,
    port: Reads,
    *,
    progress: Callable[[Progress], None],
    clock: Clock | None = None,
    connections: int = CONNECTIONS,
) -> Verified:
    """Read the snapshot back and judge it. To repeat it is harmless.

    `progress` is called on the calling thread. Raises `InputError` if the file is no disk, `FleetswapError` if it
    changes meanwhile, `CloudError` if the snapshot cannot be read; a difference is no error.
    """
    clock = clock or SystemClock()
    with ImageFile(file, data=True) if file is not None else nullcontext() as image:
        found = look(port, snapshot_id, clock, seconds=FIRST_PATIENCE_SECONDS)
        check = _Check(found, image)
        stop = threading.Event()
        patience = Patience(clock, stop, seconds=PATIENCE_SECONDS)
        reading = read_back(
            port,
            snapshot_id,
            check.noting(listing(port, patience, snapshot_id, 0, check.end)),
            check.deliver,
            patience=patience,
            clock=clock,
            stop=stop,
            total=check.end,
            tell=progress,
            connections=connections,
        )
        check.finish()
        check.read_manifest(port, patience, snapshot_id)
        if image is not None:
            image.check_unchanged()
    return check.verdict(snapshot_id, reading)


class _Check:
    """The judgement of each block. `deliver` may be called from several threads."""

    def __init__(self, found: Look, image: ImageFile | None) -> None:
        self._found = found
        self._map = found.block_map
        self._image = image
        self._buffers = threading.local()
        self._lock = threading.Lock()
        self._differing = 0
        self._first: list[tuple[int, Difference]] = []  # a heap whose top is the one to drop
        volume = found.volume_gib * BLOCKS_PER_GIB
        in_file = min(block_count(image.size), volume) if image is not None else 0
        self.end = self._map.count if self._map is not None else in_file or volume
        """How many blocks are looked at, from the first on."""
        self._compared = min(in_file, self.end)
        self._listed = bytearray(self.end if self._map is not None or image is not None else 0)
        self._lacking = 0
        self._wrong_manifest = ""

    def noting(self, blocks: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
        """Pass the list on, and remember which blocks are in it."""
        for index, token in blocks:
            if self._listed:
                self._listed[index] = 1
            yield index, token

    def deliver(self, index: int, data: bytes) -> None:
        """Judge a block that the snapshot has."""
        reasons, offset = [], index * BLOCK_SIZE
        if self._map is not None:
            told = self._map.digest(index)
            if told is None:
                reasons.append("is in the snapshot, but the block map does not have it")
            elif told != digest(data):
                reasons.append("differs from the block map")
        if self._image is not None and index < self._compared:
            wrong = self._first_wrong(self._image, index, data)
            if wrong is not None:
                reasons.append(f"differs from {self._image.path.name}")
                offset += wrong
        self._note(index, offset, reasons)

    def finish(self) -> None:
        """Judge the blocks that the snapshot lacks."""
        index = self._listed.find(0)
        while index >= 0:
            reasons, offset = [], index * BLOCK_SIZE
            if self._map is not None and self._map.digest(index) is not None:
                reasons.append("is missing from the snapshot, but the block map has it")
            if self._image is not None and index < self._compared and not self._image.is_zero(index):
                wrong = self._first_wrong(self._image, index, _ZEROS)
                if wrong is not None:
                    reasons.append(f"is missing from the snapshot, but not zero in {self._image.path.name}")
                    offset += wrong
            self._note(index, offset, reasons)
            self._lacking += not reasons
            index = self._listed.find(0, index + 1)

    def read_manifest(self, port: Reads, patience: Patience, snapshot_id: str) -> None:
        """Judge the manifest, if the map names one."""
        if self._map is None or not self._map.manifest.blocks:
            return
        try:
            read_blocks(port, patience, snapshot_id, self._found.volume_gib, self._map)
        except BadManifest as reason:
            self._wrong_manifest = f"the manifest {reason}"

    def verdict(self, snapshot_id: str, reading: Progress) -> Verified:
        """The end."""
        volume = self._found.volume_gib * GIB
        problems = []
        if self._found.damaged:
            problems.append(f"the block map {self._found.problem}")
        if self._wrong_manifest:
            problems.append(self._wrong_manifest)
        size = self._map.size if self._map is not None else None
        if self._image is not None:
            if size is not None and size != self._image.size:
                problems.append(
                    f"the image has {size} bytes, but the disk in {self._image.path.name} has {self._image.size}"
                )
            elif self._image.size > volume:
                problems.append(
                    f"the volume has {volume} bytes, but the disk in {self._image.path.name} has {self._image.size}"
                )
            size = size or self._image.size
        return Verified(
            snapshot_id=snapshot_id,
            volume_gib=self._found.volume_gib,
            map_problem=self._found.problem if self._map is None else None,
            size=size,
            blocks_read=reading.blocks,
            bytes_read=reading.bytes,
            blocks_lacking=self._lacking,
            problems=tuple(problems),
            differing=self._differing,
            differences=tuple(each for _, each in sorted(self._first, key=lambda pair: -pair[0])),
            throttled=reading.throttled,
            retried=reading.retried,
            seconds=reading.seconds,
            manifest=self._map is not None and self._map.manifest.blocks > 0,
        )

    def _first_wrong(self, image: ImageFile, index: int, data: bytes) -> int | None:
        """The first byte of the block that is another one in the file; None if all are the same."""
        if not hasattr(self._buffers, "block"):
            self._buffers.block = bytearray(BLOCK_SIZE)
        block: bytearray = self._buffers.block
        image.read(index, block)
        length = min(BLOCK_SIZE, image.size - index * BLOCK_SIZE)
        if block[:length] == data[:length]:
            return None
        low, high = 0, length  # the first `low` bytes are the same, the first `high` are not
        while high - low > 1:
            middle = (low + high) // 2
            if block[low:middle] == data[low:middle]:
                low = middle
            else:
                high = middle
        return low

    def _note(self, index: int, offset: int, reasons: list[str]) -> None:
        if not reasons:
            return
        with self._lock:
            self._differing += 1
            heapq.heappush(self._first, (-index, Difference(index, offset, "; ".join(reasons))))
            if len(self._first) > SHOWN:
                heapq.heappop(self._first)
