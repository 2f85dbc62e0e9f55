"""Whether a snapshot is what its tags say: created by an upload, and of the requested image.

Tags get copied: by backups (Data Lifecycle Manager and AWS Backup give a snapshot its volume's tags, and a machine's
volume has those of its release), by snapshot copies, and manually. So a completed snapshot is trusted only if the block
map in it names this very snapshot and this image. One is deleted only if that map or its own tag
(`fleetswap.domain.tags.UPLOAD`) shows that an upload created it. This module never starts, changes or deletes a
snapshot.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from fleetswap.domain.errors import CloudError, NotFound
from fleetswap.domain.image import blockmap
from fleetswap.domain.image.blockmap import BadMap, Header
from fleetswap.domain.image.snapshots import VISIBLE_SECONDS, Snapshot, Wanted, adoptable
from fleetswap.domain.tags import IMAGE, STACK
from fleetswap.workflows.clock import Clock, SystemClock
from fleetswap.workflows.image.block_list import read_header
from fleetswap.workflows.image.ports import Snapshots
from fleetswap.workflows.retry import GaveUp, Patience

LOOKS = 8
"""Finished snapshots whose map is looked at, at most. Those that an upload has tagged come first, so only backups and
copies are passed over."""

PATIENCE_SECONDS = 30.0
"""Silence after which a look is given up."""


class Proof:
    """Looks into snapshots."""

    def __init__(
        self, port: Snapshots, patience: Callable[[], Patience], clock: Clock, say: Callable[[str], None]
    ) -> None:
        """`patience` gives the time budget of a look; `say` gets a line for what is passed over."""
        self._port = port
        self._patience = patience
        self._clock = clock
        self._say = say

    def holding(self, wanted: Wanted, found: Iterable[Snapshot]) -> Snapshot | None:
        """Of `found` the best finished one that holds the image, or None. Whoever adopts a snapshot asks here; see
        `fleetswap.domain.image.snapshots.adoptable`.

        One that cannot be read is passed over: then the image is sent, which is always right.
        """
        for each in adoptable(found, wanted)[:LOOKS]:
            try:
                header = self._header(each)
            except BadMap as reason:
                self._say(f"not adopting snapshot {each.snapshot_id}: its block map {reason}")
            except CloudError as error:
                self._say(f"not adopting snapshot {each.snapshot_id}: {error}")
                if isinstance(error, GaveUp):
                    break  # the others would be as silent
            else:
                if header.image == blockmap.name_of(wanted.identity):
                    return each
                self._say(f"not adopting snapshot {each.snapshot_id}: its block map is of another image")
        return None

    def uploaded(self, snapshot: Snapshot) -> bool:
        """Whether an upload made this snapshot. Raises `CloudError` if that cannot be known."""
        if snapshot.uploaded:
            return True
        if not snapshot.completed or snapshot.archived:
            return False
        try:
            self._header(snapshot)
        except BadMap:
            return False
        return True

    def _header(self, snapshot: Snapshot) -> Header:
        # EC2 has just shown it; EBS direct may know it some moments later.
        absent_until = self._clock.now() + VISIBLE_SECONDS if snapshot.uploaded else None
        return read_header(
            self._port, self._patience(), snapshot.snapshot_id, snapshot.volume_gib, absent_until=absent_until
        )


def finished(port: Snapshots, stack: str, wanted: Wanted, say: Callable[[str], None], clock: Clock) -> Snapshot | None:
    """A finished snapshot of the image that an upload of this stack has made, or None.

    Raises `CloudError` if EC2 does not answer.
    """
    found = _patience(clock).call(lambda: port.find({STACK: stack, IMAGE: wanted.identity}))
    return _proof(port, say, clock).holding(wanted, found)


def is_ours(port: Snapshots, snapshot_id: str) -> bool:
    """Whether an upload made this snapshot, or it is gone. Raises `CloudError` if that cannot be known."""
    clock = SystemClock()
    try:
        snapshot = _patience(clock).call(lambda: port.describe(snapshot_id))
    except NotFound:
        return True
    return _proof(port, lambda _line: None, clock).uploaded(snapshot)


def _proof(port: Snapshots, say: Callable[[str], None], clock: Clock) -> Proof:
    return Proof(port, lambda: _patience(clock), clock, say)


def _patience(clock: Clock) -> Patience:
    return Patience(clock, threading.Event(), seconds=PATIENCE_SECONDS)
