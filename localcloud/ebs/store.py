"""Stand-in for the block store behind EBS snapshots: blocks on disk, with the rules of the EBS direct API.

Decides what a snapshot may take (which blocks, when, from whom inherited) and what a volume made of it reads.
Never speaks HTTP (that is `ebs`), never knows EC2 (that is `mirror`).

On disk, under the store's root:

    blocks/ab/abcdef…        one block of 512 KiB, named after its SHA-256; snapshots share them
    snap-…/meta.json         what StartSnapshot asked for, and the state; replaced by an atomic rename
    snap-…/inherited         the parent's blocks at the start: records of (index, digest); so a parent may be deleted
    snap-…/written           the snapshot's own blocks: the same records, appended; the last one of an index counts

A block is in place before the record that names it is written, so a killed process leaves at worst a block that nobody
names, and the next start removes it.

The rules come from the API reference of EBS direct (StartSnapshot, PutSnapshotBlock, CompleteSnapshot,
ListChangedBlocks), the user guide ("EBS direct APIs FAQ": a snapshot can be read only when it is completed, and public
ones not at all; "Encryption outcomes for EBS direct APIs": a table of what StartSnapshot encrypts and refuses; "Ensure
idempotency in StartSnapshot API requests") and botocore's model `ebs/2019-11-02` (names and reasons of the errors).

Where AWS says nothing, the store does the nastier thing that it may do:

- A client token whose snapshot was deleted: the guide promises "the result of the original request", so the dead
  snapshot's id is answered, for as long as the process lives. `after_delete` selects `conflict` or `new` instead.
- A parent that another account shares: whether StartSnapshot takes one is documented nowhere (of snapshots of volumes
  the guide says that such a child is a full one), so it is refused with AccessDeniedException; one that is not shared
  does not exist.
- KmsKeyArn together with an unencrypted parent: the table's cells are merged ambiguously; refused.
"""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from typing import TYPE_CHECKING, Literal

from localcloud.ebs import records
from localcloud.ebs.blocks import BLOCK_SIZE, BLOCKS_PER_GIB, Blocks
from localcloud.ebs.records import Request, Snapshot, State, StoreError, invalid, unknown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_VOLUME_GIB = 65_536  # API reference: StartSnapshot, VolumeSize
MAX_PENDING = 100  # quota "Pending snapshots per account"
TIMEOUT_MINUTES = range(10, 4_321)  # API reference: StartSnapshot, Timeout
SETTLE_SECONDS = 0.3  # CompleteSnapshot answers `pending`; clients must poll, so the local cloud makes them, briefly

AfterDelete = Literal["id", "conflict", "new"]


class SnapshotStore:
    """All snapshots below `root`. Safe for many threads; one process at a time.

    `clock` gives seconds since the epoch; `settle_seconds` is how long a snapshot stays pending after CompleteSnapshot;
    `after_delete` is what a client token gets whose snapshot was deleted: the dead `id`, a `conflict`, or a `new` one.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Callable[[], float] = time.time,
        settle_seconds: float = SETTLE_SECONDS,
        after_delete: AfterDelete = "id",
    ) -> None:
        self._root = root
        self._clock = clock
        self._settle = settle_seconds
        self._lock = threading.RLock()
        self._snapshots: dict[str, Snapshot] = {}
        self._tokens: dict[str, Snapshot] = {}
        self._after_delete = after_delete
        self._blocks = Blocks(root / "blocks")
        for snapshot in records.load(root):
            self._adopt(snapshot)
        self._blocks.sweep()

    # Reading

    def all(self) -> list[Snapshot]:
        """Every snapshot, oldest first."""
        with self._lock:
            return sorted(self._snapshots.values(), key=lambda snapshot: snapshot.start_time)

    def find(self, snapshot_id: str) -> Snapshot:
        """The snapshot of this id. Raises StoreError ResourceNotFoundException."""
        with self._lock:
            if snapshot_id not in self._snapshots:
                raise unknown(snapshot_id)
            return self._snapshots[snapshot_id]

    def status(self, snapshot_id: str) -> State:
        """`pending` until shortly after CompleteSnapshot; `error` when no block came for the timeout asked for."""
        with self._lock:
            snapshot = self.find(snapshot_id)
            if snapshot.failed:
                return "error"
            now = self._clock()
            if snapshot.completed_at is not None:
                return "completed" if now >= snapshot.completed_at + self._settle else "pending"
            if now > snapshot.touched_at + snapshot.request.timeout_minutes * 60:
                snapshot.failed = True
                records.save(self._root, snapshot)
                return "error"
            return "pending"

    def list_blocks(self, snapshot_id: str) -> list[tuple[int, bytes]]:
        """(index, digest) of every block in the snapshot, its parents' too, in order of index."""
        with self._lock:
            return sorted(self._completed(snapshot_id).blocks().items())

    def list_changed(self, first_id: str, second_id: str) -> list[tuple[int, bytes | None, bytes | None]]:
        """(index, digest in first, digest in second) where the two differ; None where one lacks the block.

        Raises StoreError UNRELATED_SNAPSHOTS when the two share no ancestor.
        """
        with self._lock:
            first, second = self._completed(first_id), self._completed(second_id)
            if first.lineage != second.lineage:
                raise invalid("UNRELATED_SNAPSHOTS", f"'{first_id}' and '{second_id}' are of different volumes.")
            before, after = first.blocks(), second.blocks()
            return [
                (index, before.get(index), after.get(index))
                for index in sorted(before.keys() | after.keys())
                if before.get(index) != after.get(index)
            ]

    def get(self, snapshot_id: str, index: int) -> tuple[bytes, bytes]:
        """(data, digest) of a block. Raises StoreError INVALID_BLOCK for a block that the snapshot lacks."""
        with self._lock:
            digest = self._completed(snapshot_id).digest(index)
            if digest is None:
                raise invalid("INVALID_BLOCK", f"'{snapshot_id}' has no block {index}.")
            self._blocks.hold([digest])  # so that nobody removes it while it is read, outside the lock
        try:
            return self._blocks.read(digest), digest
        finally:
            self._blocks.release([digest])

    def materialize(self, snapshot_id: str, dest: Path, *, size_gib: int, encrypted: bool) -> None:
        """Write the raw disk of a volume of `size_gib` GiB made of the snapshot to `dest`, sparse where it can be.

        A block that the snapshot lacks reads as zeros from a plain volume, and as garbage from an encrypted one, as in
        EBS (coldsnap issues 395 and 470). The garbage is the same each time (see `Blocks.volume` for how much of it).
        `dest` appears complete or not at all. Raises StoreError when the snapshot is not completed or larger than the
        volume.
        """
        with self._lock:
            snapshot = self._completed(snapshot_id)
            if size_gib < snapshot.volume_size_gib:
                raise invalid(
                    "INVALID_VOLUME_SIZE",
                    f"A volume of {size_gib} GiB is smaller than '{snapshot_id}' ({snapshot.volume_size_gib} GiB).",
                )
            blocks = snapshot.blocks()
            self._blocks.hold(blocks.values())  # so that nobody removes them while they are copied, outside the lock
        try:
            self._blocks.volume(
                dest,
                blocks,
                size_gib=size_gib,
                own_gib=snapshot.volume_size_gib,
                garbage=snapshot_id if encrypted else None,
            )
        finally:
            self._blocks.release(blocks.values())

    # Writing

    def start(
        self, request: Request, *, client_token: str | None = None, key: str | None = None, by_default: bool = False
    ) -> Snapshot:
        """A new pending snapshot. With a client token seen before and an equal request: the snapshot made then.

        `key` is the KMS key of a snapshot without a parent, None for an unencrypted one; `by_default` says whether the
        account encrypts by default. Raises StoreError: ConflictException (token used for another request),
        ResourceNotFoundException (no such parent), AccessDeniedException (another account's parent),
        ValidationException, ConcurrentLimitExceededException.
        """
        with self._lock:
            known = self._tokens.get(client_token or "")
            if known is not None and not (known.dead and self._after_delete == "new"):
                if known.request != request or (known.dead and self._after_delete == "conflict"):
                    raise StoreError(
                        "ConflictException", "", f"The client token was used for '{known.id}' with other parameters."
                    )
                return known
            parent = self._check(request, by_default=by_default)
            now = self._clock()
            snapshot_id = f"snap-0{uuid.uuid4().hex[:16]}"
            snapshot = Snapshot(
                id=snapshot_id,
                request=request,
                start_time=now,
                encrypted=parent.encrypted if parent else key is not None,
                key=parent.key if parent else key,
                lineage=parent.lineage if parent else snapshot_id,
                client_token=client_token,
                tags=dict(request.tags),
                inherited=parent.blocks() if parent else {},
                touched_at=now,
            )
            records.create(self._root, snapshot)
            self._adopt(snapshot)
            return snapshot

    def put(self, snapshot_id: str, index: int, data: bytes, checksum: bytes) -> None:
        """Write a block; a block written before is overwritten. The same block twice has the effect of once.

        `checksum` is the SHA-256 digest that the client claims. Raises StoreError INVALID_BLOCK (size, checksum or
        index), INVALID_SNAPSHOT_ID (not pending), ResourceNotFoundException.
        """
        if len(data) != BLOCK_SIZE:
            raise invalid("INVALID_BLOCK", f"A block has {BLOCK_SIZE} bytes, not {len(data)}.")
        digest = hashlib.sha256(data).digest()
        if digest != checksum:
            raise invalid("INVALID_BLOCK", f"The checksum does not match the data of block {index}.")
        with self._lock:
            snapshot = self._pending(snapshot_id)
            if not 0 <= index < snapshot.volume_size_gib * BLOCKS_PER_GIB:
                raise invalid(
                    "INVALID_BLOCK", f"Block {index} lies outside a volume of {snapshot.volume_size_gib} GiB."
                )
            self._blocks.hold([digest])  # before the file is looked for: nobody may remove it from here on
        try:
            self._blocks.write(digest, data)
            with self._lock:
                self._pending(snapshot_id)  # it may have been completed or deleted meanwhile
                records.append(self._root, snapshot_id, index, digest)
                replaced = snapshot.written.get(index)
                snapshot.written[index] = digest
                snapshot.touched_at = self._clock()
        except BaseException:  # whatever stopped the write, the block is not the snapshot's
            self._blocks.release([digest])
            raise
        if replaced is not None:
            self._blocks.release([replaced])

    def complete(self, snapshot_id: str, changed_blocks: int, checksum: bytes | None = None) -> State:
        """Complete the snapshot; EC2 shows that shortly after. To complete it again with a right count is harmless.

        `changed_blocks` must be the number of distinct blocks put. `checksum`, if given, must be the LINEAR aggregate:
        the SHA-256 over the digests of those blocks (raw bytes) in order of index, as coldsnap computes it.
        Raises StoreError INVALID_PARAMETER_VALUE, INVALID_SNAPSHOT_ID, ResourceNotFoundException.
        """
        with self._lock:
            snapshot = self.find(snapshot_id)
            if snapshot.completed_at is None:
                self._pending(snapshot_id)
            if changed_blocks != len(snapshot.written):
                raise invalid(
                    "INVALID_PARAMETER_VALUE",
                    f"ChangedBlocksCount is {changed_blocks}, but {len(snapshot.written)} blocks were written.",
                )
            if checksum is not None and checksum != linear_checksum(snapshot.written):
                raise invalid("INVALID_PARAMETER_VALUE", "The checksum does not match the blocks written.")
            if snapshot.completed_at is None:
                snapshot.completed_at = self._clock()
                records.save(self._root, snapshot)
            return self.status(snapshot_id)

    def copy(self, source_id: str, request: Request, *, key: str | None, failed: bool = False) -> Snapshot:
        """A copy of a snapshot of this account, or of one that is shared with it: all its blocks, no lineage of its.

        It is pending as long as one that was just completed (EBS user guide, "Copy an Amazon EBS snapshot"); one that
        `failed` is in error, as EBS says of a key that it cannot use only afterwards. Raises StoreError.
        """
        with self._lock:
            source = self._completed(source_id)
            now = self._clock()
            snapshot_id = f"snap-0{uuid.uuid4().hex[:16]}"
            snapshot = Snapshot(
                id=snapshot_id,
                request=request,
                start_time=now,
                encrypted=key is not None,
                key=key,
                lineage=snapshot_id,
                tags=dict(request.tags),
                inherited={} if failed else source.blocks(),
                touched_at=now,
                completed_at=None if failed else now,
                failed=failed,
            )
            records.create(self._root, snapshot)
            self._adopt(snapshot)
            return snapshot

    def set_tags(self, snapshot_id: str, tags: dict[str, str]) -> None:
        """Keep the tags that EC2 shows, so that they outlive a restart. Raises StoreError for an unknown snapshot."""
        with self._lock:
            snapshot = self.find(snapshot_id)
            snapshot.tags = dict(tags)
            records.save(self._root, snapshot)

    def delete(self, snapshot_id: str) -> None:
        """Remove the snapshot, and the blocks that no other one needs: children keep what they inherited."""
        with self._lock:
            snapshot = self.find(snapshot_id)
            records.remove(self._root, snapshot_id)
            del self._snapshots[snapshot_id]
            snapshot.dead = True
            self._blocks.release([*snapshot.inherited.values(), *snapshot.written.values()])

    def give(self, snapshot_id: str, owner: str | None, *, shared: bool) -> None:
        """Make a snapshot that of another account, which shares it or does not; None makes it this account's again."""
        with self._lock:
            snapshot = self.find(snapshot_id)
            snapshot.owner, snapshot.shared = owner, shared
            records.save(self._root, snapshot)

    # Within

    def _check(self, request: Request, *, by_default: bool) -> Snapshot | None:
        if not 1 <= request.volume_size_gib <= MAX_VOLUME_GIB:
            raise invalid("INVALID_VOLUME_SIZE", f"A volume has 1 to {MAX_VOLUME_GIB} GiB.")
        if request.timeout_minutes not in TIMEOUT_MINUTES:
            raise invalid("INVALID_PARAMETER_VALUE", "Timeout must be 10 to 4320 minutes.")
        if sum(1 for snapshot_id in self._snapshots if self.status(snapshot_id) == "pending") >= MAX_PENDING:
            raise StoreError("ConcurrentLimitExceededException", "", f"There are {MAX_PENDING} pending snapshots.")
        if request.parent is None:
            if request.encrypted is False and (by_default or request.kms_key_arn):
                raise invalid("INVALID_PARAMETER_VALUE", "The snapshot would be encrypted, but Encrypted is false.")
            return None
        if request.encrypted is not None or request.kms_key_arn:
            raise invalid("INVALID_PARAMETER_VALUE", "Encrypted and KmsKeyArn exclude ParentSnapshotId.")
        parent = self._completed(request.parent)
        if parent.owner is not None:
            raise StoreError(
                "AccessDeniedException", "UNAUTHORIZED_ACCOUNT", f"The snapshot '{parent.id}' is of another account."
            )
        if by_default and not parent.encrypted:
            raise invalid(
                "INVALID_PARAMETER_VALUE",
                f"The account encrypts by default, and the parent '{parent.id}' is not encrypted: copy it first.",
            )
        if request.volume_size_gib < parent.volume_size_gib:
            raise invalid(
                "INVALID_VOLUME_SIZE",
                f"A volume of {request.volume_size_gib} GiB is smaller than its parent '{parent.id}'.",
            )
        return parent

    def _completed(self, snapshot_id: str) -> Snapshot:
        state = self.status(snapshot_id)
        if (found := self._snapshots[snapshot_id]).owner is not None and not found.shared:
            raise unknown(snapshot_id)
        if state != "completed":
            raise invalid("INVALID_SNAPSHOT_ID", f"The snapshot '{snapshot_id}' is {state}, not completed.")
        return self._snapshots[snapshot_id]

    def _pending(self, snapshot_id: str) -> Snapshot:
        snapshot = self.find(snapshot_id)
        if snapshot.owner is not None:
            raise unknown(snapshot_id)
        if snapshot.completed_at is not None or self.status(snapshot_id) != "pending":
            raise invalid("INVALID_SNAPSHOT_ID", f"The snapshot '{snapshot_id}' is not pending.")
        return snapshot

    def _adopt(self, snapshot: Snapshot) -> None:
        self._snapshots[snapshot.id] = snapshot
        if snapshot.client_token is not None:
            self._tokens[snapshot.client_token] = snapshot
        self._blocks.hold((*snapshot.inherited.values(), *snapshot.written.values()))


def linear_checksum(digests: dict[int, bytes]) -> bytes:
    """The LINEAR aggregate of blocks: SHA-256 over their digests in order of index."""
    return hashlib.sha256(b"".join(digest for _, digest in sorted(digests.items()))).digest()
