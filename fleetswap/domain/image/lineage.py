"""Which snapshot may be the parent of the next one, and which blocks must then be sent.

It decides from what EC2 and the block map say, and from the digests of the image's blocks. It never reads or sends.
Only the parent's own map can show that a block is unchanged or absent.

One of three things is known about each block that a child inherits:

    its digest     the parent's map has it: it need not be sent if the image's block has the same
    nothing there  the parent's map says so: only then may a hole of the image be skipped
    unknown        past the parent's image lies its manifest or map, or what an ancestor left: it is always sent
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from fleetswap.domain.image import blocks
from fleetswap.domain.image.blockmap import NO_MANIFEST, NOT_THERE, BlockMap, Layout, Sealed, name_of
from fleetswap.domain.image.blocks import DIGEST_SIZE
from fleetswap.domain.image.snapshots import Snapshot, Wanted, is_others
from fleetswap.domain.tags import IMAGE

CANDIDATES = 3
"""Snapshots that are tried as the parent. The newest is right nearly always; each that is not costs a few requests."""


def candidates(found: Iterable[Snapshot], wanted: Wanted) -> list[Snapshot]:
    """Of a lineage's snapshots those that may be the parent, the best first: of the same image, then the newest."""
    fit = [each for each in found if unfit(each, wanted) is None]
    fit.sort(key=lambda each: (each.tags.get(IMAGE) == wanted.identity, each.started, each.snapshot_id), reverse=True)
    return fit[:CANDIDATES]


def unfit(snapshot: Snapshot, wanted: Wanted) -> str | None:
    """Why a snapshot cannot be the parent, in words that follow its id; None if it can, as far as EC2 knows.

    A child inherits its parent's encryption and key, because StartSnapshot takes a parent or `Encrypted`, not both. So
    a request for encryption needs an encrypted parent; one without takes either, like an adopted snapshot.
    """
    if not snapshot.completed:
        return f"is {snapshot.state}, not completed"
    if snapshot.archived:
        return "is archived: restore it first"
    if snapshot.volume_gib > wanted.volume_gib:
        needs = f"has a volume of {snapshot.volume_gib} GiB, but the image needs {wanted.volume_gib}"
        return f"{needs}: a child cannot be smaller than its parent"
    if wanted.encrypted and not snapshot.encrypted:
        return "is not encrypted, but the new snapshot must be"
    if wanted.kms_key is not None and snapshot.kms_key != wanted.kms_key:
        return f"is encrypted with {snapshot.kms_key}, not with {wanted.kms_key}"
    others = is_others(snapshot, wanted.kms_key)
    return f"is encrypted with a stack's own key, {snapshot.kms_key}, and the upload names none" if others else None


class Plan:
    """Which blocks of an image a snapshot is sent, decided one by one as their digests become known.

    Safe for many threads as long as each block is looked at by one at a time. To look at a block again is harmless.
    A block's entry is the parent's until the block is looked at.
    Memory: 33 bytes a block of the image, 8 more with `is_hole`.
    """

    def __init__(self, layout: Layout, parent: BlockMap | None, *, is_hole: Callable[[int], bool] | None) -> None:
        """`is_hole` says which holes of the image may be skipped; None: they are sent like all else."""
        self.layout = layout
        self._is_hole = is_hole
        self._digests = bytearray(layout.count * DIGEST_SIZE)
        self._written = bytearray(layout.count)
        self._known = layout.count if parent is None else min(layout.count, parent.count)
        if parent is not None:
            end = self._known * DIGEST_SIZE
            self._digests[:end] = parent.digests[:end]

    def indexes(self) -> Sequence[int]:
        """The blocks to look at: all, but for holes that nothing lies under."""
        if self._is_hole is None:
            return range(self.layout.count)
        every = range(self.layout.count)
        return array("L", (index for index in every if not self._is_empty(index) or not self._is_hole(index)))

    def wants(self, index: int, digest: bytes) -> bool:
        """Whether the snapshot must be sent this block; remembers the digest."""
        at = index * DIGEST_SIZE
        if not self._written[index] and self._digests[at : at + DIGEST_SIZE] == digest:
            return False
        self._digests[at : at + DIGEST_SIZE] = digest
        self._written[index] = 1
        return True

    def block_map(self, snapshot_id: str, identity: str, manifest: Sealed = NO_MANIFEST) -> BlockMap:
        """The map of the snapshot, of the image of this identity. Only when every block was looked at."""
        return BlockMap(snapshot_id, self.layout.size, self._digests, name_of(identity), manifest)

    @property
    def written(self) -> int:
        """Blocks of the image that were sent, by this run or an earlier one."""
        return self._written.count(1)

    def checksum(self, behind: Mapping[int, bytes]) -> str:
        """The LINEAR checksum of all that is written: the image's blocks, then manifest's and map's, given by index."""
        return blocks.linear_checksum(chain(self._runs(), (digest for _, digest in sorted(behind.items()))))

    def _runs(self) -> Iterator[bytearray]:
        """The digests of what is written, run by run, because a copy of all of them would double the memory."""
        at = self._written.find(1)
        while at >= 0:
            end = self._written.find(0, at)
            end = len(self._written) if end < 0 else end
            yield self._digests[at * DIGEST_SIZE : end * DIGEST_SIZE]
            at = self._written.find(1, end)

    def _is_empty(self, index: int) -> bool:
        """Whether it is known that nothing lies at this block, because there is no parent or the parent has nothing."""
        at = index * DIGEST_SIZE
        return index < self._known and self._digests[at : at + DIGEST_SIZE] == NOT_THERE


def disagreement(block_map: BlockMap, listed: bytes | bytearray) -> int | None:
    """The first block that the map has and the snapshot's list lacks, or the other way round; None if they agree.

    `listed` has a byte for each block of the map's image: 1 if ListSnapshotBlocks named it. A block that the map says
    is not there, and is, means that somebody else wrote to the snapshot: then the map is not of what is there.
    """
    for index in range(block_map.count):
        claimed = block_map.digests[index * DIGEST_SIZE : (index + 1) * DIGEST_SIZE] != NOT_THERE
        if claimed != bool(listed[index]):
            return index
    return None
