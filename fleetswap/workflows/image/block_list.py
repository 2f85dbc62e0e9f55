"""What a completed snapshot consists of: the list of its blocks, its volume, and its block map.

It decides in which order pages are requested. It reads no blocks except those of the map, and judges only the map.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from fleetswap.domain.errors import CloudError, NotFound
from fleetswap.domain.image import blockmap
from fleetswap.domain.image.blockmap import BadMap, BlockMap, Header, NoMap
from fleetswap.domain.image.blocks import BLOCK_SIZE
from fleetswap.domain.image.snapshots import VISIBLE_SECONDS
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.image.ports import Reads
from fleetswap.workflows.retry import Patience


@dataclass(frozen=True)
class Look:
    """What a snapshot says of itself: its volume, and its block map or why it has none that can be believed."""

    volume_gib: int
    block_map: BlockMap | None
    problem: str = ""
    """In words that follow "its block map"."""
    damaged: bool = False
    """Whether there is a map, and it is not as it was written."""


def look(port: Reads, snapshot_id: str, clock: Clock, *, seconds: float) -> Look:
    """The volume and the block map of a completed snapshot. Raises `CloudError` if it cannot be read.

    `seconds` is the budget of silence. One that EC2 calls completed and EBS direct does not know is new: it is waited
    for. One that EC2 does not know either is reported at once: whoever mistypes an id need not wait.
    """
    patience = Patience(clock, threading.Event(), seconds=seconds)
    first = partial(port.list_blocks, snapshot_id, 0, None)
    try:
        volume_gib = patience.call(first).volume_gib
    except NotFound:
        if not _completed(port, snapshot_id, patience):
            raise
        waiting = Patience(clock, threading.Event(), seconds=VISIBLE_SECONDS)
        volume_gib = waiting.call(first, absent_until=clock.now() + VISIBLE_SECONDS).volume_gib
    try:
        return Look(volume_gib, read_map(port, patience, snapshot_id, volume_gib))
    except BadMap as reason:
        return Look(volume_gib, None, str(reason), damaged=not isinstance(reason, NoMap))


def _completed(port: Reads, snapshot_id: str, patience: Patience) -> bool:
    try:
        return patience.call(lambda: port.describe(snapshot_id)).completed
    except CloudError:
        return False  # it is gone, or one may not ask


def read_header(
    port: Reads, patience: Patience, snapshot_id: str, volume_gib: int, *, absent_until: float | None = None
) -> Header:
    """The header of a completed snapshot's map: two requests. `BadMap` unless it is that of exactly this snapshot.

    `absent_until` is as in `Patience.call`: for a snapshot that is known to be there.
    """
    last = blockmap.last_block(volume_gib)
    token = dict(listing(port, patience, snapshot_id, last, absent_until=absent_until)).get(last)
    if token is None:
        raise NoMap("is missing")
    block = patience.call(lambda: port.get(snapshot_id, last, token), absent_until=absent_until)
    return blockmap.read_header(block, snapshot_id=snapshot_id, volume_gib=volume_gib)


def read_map(
    port: Reads, patience: Patience, snapshot_id: str, volume_gib: int, *, absent_until: float | None = None
) -> BlockMap:
    """The block map of a completed snapshot, out of the snapshot itself. `BadMap` unless all of it checks."""
    header = read_header(port, patience, snapshot_id, volume_gib, absent_until=absent_until)
    first = blockmap.last_block(volume_gib) + 1 - header.map_blocks
    blob = bytearray(header.map_blocks * BLOCK_SIZE)
    read = 0
    for index, each in listing(port, patience, snapshot_id, first):
        data = patience.call(partial(port.get, snapshot_id, index, each))
        blob[(index - first) * BLOCK_SIZE : (index - first + 1) * BLOCK_SIZE] = data
        read += 1
    if read < header.map_blocks:
        raise BadMap(f"is truncated: {header.map_blocks - read} of its blocks are missing from the snapshot")
    return blockmap.decode(blob, snapshot_id=snapshot_id, volume_gib=volume_gib)


def listing(
    port: Reads,
    patience: Patience,
    snapshot_id: str,
    first: int,
    end: int | None = None,
    *,
    absent_until: float | None = None,
) -> Iterator[tuple[int, str]]:
    """The blocks that a snapshot has from index `first` on and before `end`, each with its token, ascending.

    Each page is asked for by the index that it begins at, because a page's token lives for an hour only, and whoever
    takes the blocks may be slow. Only an empty page leads on by its token.
    """
    start, page = first, None
    while end is None or start < end:
        answer = patience.call(partial(port.list_blocks, snapshot_id, start, page), absent_until=absent_until)
        page = answer.next
        for index, token in answer.blocks:
            if index < start:
                continue  # told already
            if end is not None and index >= end:
                return
            yield index, token
            start, page = index + 1, None
        if answer.next is None:
            return
