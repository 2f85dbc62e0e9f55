"""Stand-in for a finished snapshot behind the port `Reads`, with faults; and one that holds an image with its map."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from fleetswap.domain.errors import NotFound
from fleetswap.domain.image import blockmap
from fleetswap.domain.image.blockmap import NOT_THERE, BlockMap, Encoded
from fleetswap.domain.image.snapshots import Page, Snapshot
from tests.fakes.ebs import BLOCK, nothing

SNAPSHOT = "snap-0123"


class Finished:
    """One completed snapshot, `held` by index. Pages of `page` blocks, each second one empty, tokens that are checked.

    `before` is called with the operation and the index, in the thread that reads; what it raises the caller gets.
    """

    def __init__(self, held: Mapping[int, bytes], volume_gib: int = 1, *, page: int = 3) -> None:
        self.held = dict(held)
        self.volume_gib = volume_gib
        self.page = page
        self.before: Callable[[str, int], None] = nothing
        self.gets: list[int] = []
        self.at_once = self.most_at_once = 0
        self._empty: set[int] = set()
        self._lock = threading.Lock()

    def list_blocks(self, snapshot_id: str, start: int, page: str | None) -> Page:
        self.before("list", start)
        if snapshot_id != SNAPSHOT:
            raise NotFound(f"snapshot {snapshot_id} does not exist")
        start = start if page is None else int(page.removeprefix("from "))
        if page is None and start % 2 and start not in self._empty:
            self._empty.add(start)
            return Page([], f"from {start}", self.volume_gib)
        indexes = sorted(index for index in self.held if index >= start)
        shown, more = indexes[: self.page], len(indexes) > self.page
        blocks = [(index, f"{snapshot_id}/{index}") for index in shown]
        return Page(blocks, f"from {shown[-1] + 1}" if more else None, self.volume_gib)

    def describe(self, snapshot_id: str) -> Snapshot:
        self.before("describe", 0)
        if snapshot_id != SNAPSHOT:
            raise NotFound(f"snapshot {snapshot_id} does not exist")
        started = datetime(2026, 1, 1, tzinfo=UTC)
        return Snapshot(snapshot_id, "completed", "", self.volume_gib, False, None, started)  # noqa: FBT003 (plain)

    def get(self, snapshot_id: str, index: int, token: str) -> bytes:
        assert token == f"{snapshot_id}/{index}"
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.before("get", index)
            with self._lock:
                self.gets.append(index)
            return self.held[index]
        finally:
            with self._lock:
                self.at_once -= 1


def mapped(
    content: bytes, *, holes: tuple[int, ...] = (), snapshot_id: str = SNAPSHOT, identity: str | None = None
) -> Finished:
    """A snapshot as an upload of `content` leaves it; the blocks in `holes` were skipped.

    Without an identity its map names no image, as those of the first Fleetswaps.
    """
    layout = blockmap.layout(len(content))
    held = {
        index: content[index * BLOCK : (index + 1) * BLOCK].ljust(BLOCK, b"\0")
        for index in range(layout.count)
        if index not in holes
    }
    digests = b"".join(
        hashlib.sha256(held[index]).digest() if index in held else NOT_THERE for index in range(layout.count)
    )
    image = blockmap.UNNAMED if identity is None else blockmap.name_of(identity)
    encoded = Encoded(BlockMap(snapshot_id, len(content), digests, image))
    for number in range(encoded.count):
        block = bytearray(BLOCK)
        encoded.fill(number, block)
        held[layout.map_first + number] = bytes(block)
    return Finished(held, layout.volume_gib)
