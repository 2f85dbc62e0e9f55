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
ListChangedBlocks), the user guide's "EBS direct APIs FAQ" (a snapshot can be read only when it is completed) and
botocore's model `ebs/2019-11-02` (names and reasons of the errors).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import threading
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BLOCK_SIZE = 524_288  # the only size there is (API reference: PutSnapshotBlock, DataLength)
BLOCKS_PER_GIB = 2**30 // BLOCK_SIZE
MAX_VOLUME_GIB = 65_536  # API reference: StartSnapshot, VolumeSize
MAX_PENDING = 100  # quota "Pending snapshots per account"
DEFAULT_TIMEOUT_MINUTES = 60
TIMEOUT_MINUTES = range(10, 4_321)  # API reference: StartSnapshot, Timeout
SETTLE_SECONDS = 0.3  # CompleteSnapshot answers `pending`; clients must poll, so the local cloud makes them, briefly

_RECORD = struct.Struct(">I32s")
_ZERO_DIGEST = hashlib.sha256(bytes(BLOCK_SIZE)).digest()
_PAGE = 4_096
_GARBAGE_STEP = 16 * _PAGE

State = Literal["pending", "completed", "error"]


class StoreError(Exception):
    """A request that EBS refuses. `code` is the exception's name in the API, `reason` its `Reason`, if it has one."""

    def __init__(self, code: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message


def _invalid(reason: str, message: str) -> StoreError:
    return StoreError("ValidationException", reason, message)


@dataclass(frozen=True)
class Request:
    """What StartSnapshot asks for. Two requests with one client token must be equal (user guide: idempotency)."""

    volume_size_gib: int
    parent: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    description: str = ""
    encrypted: bool = False
    kms_key_arn: str | None = None
    timeout_minutes: int = DEFAULT_TIMEOUT_MINUTES


@dataclass
class Snapshot:
    """One snapshot. `key` is the KMS key that it is encrypted with, asked for or inherited from the parent."""

    id: str
    request: Request
    start_time: float
    encrypted: bool
    key: str | None
    lineage: str
    client_token: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    sealed_at: float | None = None
    failed: bool = False
    inherited: dict[int, bytes] = field(default_factory=dict, repr=False)
    written: dict[int, bytes] = field(default_factory=dict, repr=False)
    touched_at: float = 0.0

    @property
    def volume_size_gib(self) -> int:
        """The size of the volume that the snapshot stands for, in GiB."""
        return self.request.volume_size_gib

    def digest(self, index: int) -> bytes | None:
        """Digest of a block, or None if the snapshot lacks it."""
        return self.written.get(index) or self.inherited.get(index)

    def blocks(self) -> dict[int, bytes]:
        """Digest of every block that a volume made of the snapshot gets from it, by index."""
        return {**self.inherited, **self.written}


class SnapshotStore:
    """All snapshots below `root`. Safe for many threads; one process at a time.

    `clock` gives seconds since the epoch; `settle_seconds` is how long a snapshot stays pending after CompleteSnapshot.
    """

    def __init__(
        self, root: Path, *, clock: Callable[[], float] = time.time, settle_seconds: float = SETTLE_SECONDS
    ) -> None:
        self._root = root
        self._clock = clock
        self._settle = settle_seconds
        self._lock = threading.RLock()
        self._snapshots: dict[str, Snapshot] = {}
        self._tokens: dict[str, str] = {}
        self._references: dict[bytes, int] = {}
        (root / "blocks").mkdir(parents=True, exist_ok=True)
        self._load()

    # Reading

    def all(self) -> list[Snapshot]:
        """Every snapshot, oldest first."""
        with self._lock:
            return sorted(self._snapshots.values(), key=lambda snapshot: snapshot.start_time)

    def find(self, snapshot_id: str) -> Snapshot:
        """The snapshot of this id. Raises StoreError ResourceNotFoundException."""
        with self._lock:
            try:
                return self._snapshots[snapshot_id]
            except KeyError:
                raise StoreError(
                    "ResourceNotFoundException", "SNAPSHOT_NOT_FOUND", f"The snapshot '{snapshot_id}' does not exist."
                ) from None

    def status(self, snapshot_id: str) -> State:
        """`pending` until shortly after CompleteSnapshot; `error` when no block came for the timeout asked for."""
        with self._lock:
            snapshot = self.find(snapshot_id)
            if snapshot.failed:
                return "error"
            now = self._clock()
            if snapshot.sealed_at is not None:
                return "completed" if now >= snapshot.sealed_at + self._settle else "pending"
            if now > snapshot.touched_at + snapshot.request.timeout_minutes * 60:
                snapshot.failed = True
                self._save(snapshot)
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
                raise _invalid("UNRELATED_SNAPSHOTS", f"'{first_id}' and '{second_id}' are of different volumes.")
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
                raise _invalid("INVALID_BLOCK", f"'{snapshot_id}' has no block {index}.")
            self._hold([digest])  # so that nobody removes it while it is read, outside the lock
        try:
            return self._block_path(digest).read_bytes(), digest
        finally:
            self._release([digest])

    def materialize(self, snapshot_id: str, dest: Path, *, size_gib: int, encrypted: bool) -> None:
        """Write the raw disk of a volume of `size_gib` GiB made of the snapshot to `dest`, sparse where it can be.

        A block that the snapshot lacks reads as zeros from a plain volume, and as garbage from an encrypted one, as in
        EBS (coldsnap issues 395 and 470). The garbage is the same each time. To save time and disk, only one page in
        sixteen of such a block is garbage, and past the snapshot's own size only the block's first page. `dest` appears
        complete or not at all. Raises StoreError when the snapshot is not completed or larger than the volume.
        """
        with self._lock:
            snapshot = self._completed(snapshot_id)
            if size_gib < snapshot.volume_size_gib:
                raise _invalid(
                    "INVALID_VOLUME_SIZE",
                    f"A volume of {size_gib} GiB is smaller than '{snapshot_id}' ({snapshot.volume_size_gib} GiB).",
                )
            blocks = snapshot.blocks()
            self._hold(blocks.values())  # so that nobody removes them while they are copied, outside the lock
        partial = dest.with_name(f"{dest.name}.{uuid.uuid4().hex}.partial")
        try:
            with partial.open("wb") as out:
                out.truncate(size_gib * 2**30)
                for index, digest in blocks.items():
                    if digest != _ZERO_DIGEST:
                        self._copy_block(digest, out.fileno(), index * BLOCK_SIZE)
                if encrypted:
                    garbage = hashlib.shake_256(snapshot_id.encode()).digest(_PAGE)
                    for index in range(size_gib * BLOCKS_PER_GIB):
                        step = _GARBAGE_STEP if index < snapshot.volume_size_gib * BLOCKS_PER_GIB else BLOCK_SIZE
                        for offset in range(0, 0 if index in blocks else BLOCK_SIZE, step):
                            os.pwrite(out.fileno(), garbage, index * BLOCK_SIZE + offset)
            partial.replace(dest)
        finally:
            partial.unlink(missing_ok=True)
            self._release(blocks.values())

    # Writing

    def start(self, request: Request, *, client_token: str | None = None) -> Snapshot:
        """A new pending snapshot. With a client token seen before and an equal request: the snapshot made then.

        Raises StoreError: ConflictException (token used for another request), ResourceNotFoundException (no such
        parent), ValidationException, ConcurrentLimitExceededException.
        """
        with self._lock:
            if client_token is not None and client_token in self._tokens:
                known = self._snapshots[self._tokens[client_token]]
                if known.request != request:
                    raise StoreError(
                        "ConflictException", "", f"The client token was used for '{known.id}' with other parameters."
                    )
                return known
            parent = self._check(request)
            now = self._clock()
            snapshot_id = f"snap-0{uuid.uuid4().hex[:16]}"
            snapshot = Snapshot(
                id=snapshot_id,
                request=request,
                start_time=now,
                encrypted=parent.encrypted if parent else request.encrypted,
                key=parent.key if parent else request.kms_key_arn,
                lineage=parent.lineage if parent else snapshot_id,
                client_token=client_token,
                tags=dict(request.tags),
                inherited=parent.blocks() if parent else {},
                touched_at=now,
            )
            directory = self._root / snapshot.id
            directory.mkdir()
            (directory / "inherited").write_bytes(b"".join(_RECORD.pack(*item) for item in snapshot.inherited.items()))
            (directory / "written").touch()
            self._save(snapshot)
            self._adopt(snapshot)
            return snapshot

    def put(self, snapshot_id: str, index: int, data: bytes, checksum: bytes) -> None:
        """Write a block; a block written before is overwritten. The same block twice has the effect of once.

        `checksum` is the SHA-256 digest that the client claims. Raises StoreError INVALID_BLOCK (size, checksum or
        index), INVALID_SNAPSHOT_ID (not pending), ResourceNotFoundException.
        """
        if len(data) != BLOCK_SIZE:
            raise _invalid("INVALID_BLOCK", f"A block has {BLOCK_SIZE} bytes, not {len(data)}.")
        digest = hashlib.sha256(data).digest()
        if digest != checksum:
            raise _invalid("INVALID_BLOCK", f"The checksum does not match the data of block {index}.")
        with self._lock:
            snapshot = self._pending(snapshot_id)
            if not 0 <= index < snapshot.volume_size_gib * BLOCKS_PER_GIB:
                raise _invalid(
                    "INVALID_BLOCK", f"Block {index} lies outside a volume of {snapshot.volume_size_gib} GiB."
                )
            self._hold([digest])  # before the file is looked for: nobody may remove it from here on
        try:
            self._write_block(digest, data)
            with self._lock:
                self._pending(snapshot_id)  # it may have been sealed or deleted meanwhile
                with (self._root / snapshot_id / "written").open("ab") as log:
                    log.write(_RECORD.pack(index, digest))
                replaced = snapshot.written.get(index)
                snapshot.written[index] = digest
                snapshot.touched_at = self._clock()
        except BaseException:  # whatever stopped the write, the block is not the snapshot's
            self._release([digest])
            raise
        if replaced is not None:
            self._release([replaced])

    def complete(self, snapshot_id: str, changed_blocks: int, checksum: bytes | None = None) -> State:
        """Seal the snapshot; it is completed shortly after. Sealing a sealed one again with a right count is harmless.

        `changed_blocks` must be the number of distinct blocks put. `checksum`, if given, must be the LINEAR aggregate:
        the SHA-256 over the digests of those blocks (raw bytes) in order of index, as coldsnap computes it.
        Raises StoreError INVALID_PARAMETER_VALUE, INVALID_SNAPSHOT_ID, ResourceNotFoundException.
        """
        with self._lock:
            snapshot = self.find(snapshot_id)
            if snapshot.sealed_at is None:
                self._pending(snapshot_id)
            if changed_blocks != len(snapshot.written):
                raise _invalid(
                    "INVALID_PARAMETER_VALUE",
                    f"ChangedBlocksCount is {changed_blocks}, but {len(snapshot.written)} blocks were written.",
                )
            if checksum is not None and checksum != linear_checksum(snapshot.written):
                raise _invalid("INVALID_PARAMETER_VALUE", "The checksum does not match the blocks written.")
            if snapshot.sealed_at is None:
                snapshot.sealed_at = self._clock()
                self._save(snapshot)
            return self.status(snapshot_id)

    def set_tags(self, snapshot_id: str, tags: dict[str, str]) -> None:
        """Keep the tags that EC2 shows, so that they outlive a restart. Raises StoreError for an unknown snapshot."""
        with self._lock:
            snapshot = self.find(snapshot_id)
            snapshot.tags = dict(tags)
            self._save(snapshot)

    def delete(self, snapshot_id: str) -> None:
        """Remove the snapshot, and the blocks that no other one needs: children keep what they inherited."""
        with self._lock:
            snapshot = self.find(snapshot_id)
            directory = self._root / snapshot_id
            (directory / "meta.json").unlink()  # from here on a restart knows that it is to go
            shutil.rmtree(directory)
            del self._snapshots[snapshot_id]
            if snapshot.client_token is not None:
                self._tokens.pop(snapshot.client_token, None)
            self._release([*snapshot.inherited.values(), *snapshot.written.values()])

    # Within

    def _check(self, request: Request) -> Snapshot | None:
        if not 1 <= request.volume_size_gib <= MAX_VOLUME_GIB:
            raise _invalid("INVALID_VOLUME_SIZE", f"A volume has 1 to {MAX_VOLUME_GIB} GiB.")
        if request.timeout_minutes not in TIMEOUT_MINUTES:
            raise _invalid("INVALID_PARAMETER_VALUE", "Timeout must be 10 to 4320 minutes.")
        if request.kms_key_arn and not request.encrypted:
            raise _invalid("INVALID_PARAMETER_VALUE", "KmsKeyArn needs Encrypted.")
        if sum(1 for snapshot_id in self._snapshots if self.status(snapshot_id) == "pending") >= MAX_PENDING:
            raise StoreError("ConcurrentLimitExceededException", "", f"There are {MAX_PENDING} pending snapshots.")
        if request.parent is None:
            return None
        if request.encrypted:
            raise _invalid("INVALID_PARAMETER_VALUE", "Encrypted and ParentSnapshotId exclude each other.")
        parent = self._completed(request.parent)
        if request.volume_size_gib < parent.volume_size_gib:
            raise _invalid(
                "INVALID_VOLUME_SIZE",
                f"A volume of {request.volume_size_gib} GiB is smaller than its parent '{parent.id}'.",
            )
        return parent

    def _completed(self, snapshot_id: str) -> Snapshot:
        state = self.status(snapshot_id)
        if state != "completed":
            raise _invalid("INVALID_SNAPSHOT_ID", f"The snapshot '{snapshot_id}' is {state}, not completed.")
        return self._snapshots[snapshot_id]

    def _pending(self, snapshot_id: str) -> Snapshot:
        snapshot = self.find(snapshot_id)
        if snapshot.sealed_at is not None or self.status(snapshot_id) != "pending":
            raise _invalid("INVALID_SNAPSHOT_ID", f"The snapshot '{snapshot_id}' is not pending.")
        return snapshot

    def _block_path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._root / "blocks" / name[:2] / name

    def _write_block(self, digest: bytes, data: bytes) -> None:
        path = self._block_path(digest)
        if path.exists():
            return
        path.parent.mkdir(exist_ok=True)
        partial = path.with_name(f"{uuid.uuid4().hex}.partial")
        try:
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _copy_block(self, digest: bytes, out: int, offset: int) -> None:
        with self._block_path(digest).open("rb") as block:
            os.lseek(out, offset, os.SEEK_SET)
            left = BLOCK_SIZE
            while left:
                copied = os.sendfile(out, block.fileno(), None, left)
                if copied == 0:
                    raise OSError(f"block {digest.hex()} is shorter than {BLOCK_SIZE} bytes")
                left -= copied

    def _hold(self, digests: Iterable[bytes]) -> None:
        with self._lock:
            for digest in digests:
                self._references[digest] = self._references.get(digest, 0) + 1

    def _release(self, digests: Iterable[bytes]) -> None:
        with self._lock:
            for digest in digests:
                self._references[digest] -= 1
                if self._references[digest] == 0:
                    del self._references[digest]
                    self._block_path(digest).unlink(missing_ok=True)

    def _adopt(self, snapshot: Snapshot) -> None:
        self._snapshots[snapshot.id] = snapshot
        if snapshot.client_token is not None:
            self._tokens[snapshot.client_token] = snapshot.id
        self._hold((*snapshot.inherited.values(), *snapshot.written.values()))

    def _save(self, snapshot: Snapshot) -> None:
        path = self._root / snapshot.id / "meta.json"
        kept = {
            key: getattr(snapshot, key)
            for key in (
                "id",
                "start_time",
                "encrypted",
                "key",
                "lineage",
                "client_token",
                "tags",
                "sealed_at",
                "failed",
            )
        }
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({**kept, "request": asdict(snapshot.request)}), encoding="utf-8")
        partial.replace(path)

    def _load(self) -> None:
        for directory in sorted(self._root.glob("snap-*")):
            meta = directory / "meta.json"
            if not meta.exists():  # killed between the directory and its meta.json, or while being deleted
                shutil.rmtree(directory)
                continue
            kept = json.loads(meta.read_text(encoding="utf-8"))
            asked = kept.pop("request")
            asked["tags"] = tuple((key, value) for key, value in asked["tags"])
            written = directory / "written"
            self._adopt(
                Snapshot(
                    **kept,
                    request=Request(**asked),
                    inherited=dict(_records(directory / "inherited")),
                    written=dict(_records(written)),
                    touched_at=written.stat().st_mtime,
                )
            )
        for path in (self._root / "blocks").glob("*/*"):
            if path.suffix or bytes.fromhex(path.name) not in self._references:
                path.unlink()


def linear_checksum(digests: dict[int, bytes]) -> bytes:
    """The LINEAR aggregate of blocks: SHA-256 over their digests in order of index."""
    return hashlib.sha256(b"".join(digest for _, digest in sorted(digests.items()))).digest()


def _records(path: Path) -> Iterator[tuple[int, bytes]]:
    data = path.read_bytes()
    whole = len(data) - len(data) % _RECORD.size
    if whole < len(data):  # a killed process left half a record; what is appended next must not be read as its end
        os.truncate(path, whole)
    yield from _RECORD.iter_unpack(data[:whole])
