"""Stand-in for EBS and EC2 behind the ports `Snapshots` and `Puts`, as strict as they are, with faults and a clock."""

from __future__ import annotations

import base64
import hashlib
import itertools
import random
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from fleetswap.domain.errors import CloudError, Invalid, NotFound
from fleetswap.domain.image.snapshots import Page, Snapshot, Start, Started

T = TypeVar("T")
BLOCK = 512 * 1024
MAX_PENDING = 100
ACCOUNT = "123456789012"
STATE = "INVALID_SNAPSHOT_ID"
VALUE = "INVALID_PARAMETER_VALUE"


def nothing(*_: object) -> None:
    """Neither a fault nor a line."""


class FakeClock:
    """Waiting takes no time; `now` says how much was waited."""

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
        if stop is None or not stop.is_set():
            self.advance(seconds)

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds


@dataclass
class Held:
    """A snapshot in the fake: what it inherited, and what was written to it."""

    about: Snapshot
    start: Start
    inherited: dict[int, bytes] = field(default_factory=dict)
    written: dict[int, bytes] = field(default_factory=dict)
    reads_until_completed: int = -1

    @property
    def blocks(self) -> dict[int, bytes]:
        """What a volume made of it gets."""
        return {**self.inherited, **self.written}

    @property
    def id(self) -> str:
        return self.about.snapshot_id


class FakeSnapshots:
    """Keeps blocks in memory. Rejects a wrong length, checksum, count, index, state, parent, token, encryption.

    `before` and `after` are called with the number of the call (from 1) and its name; what they raise the caller gets:
    from `before` nothing has happened, from `after` the answer was lost. `encrypts` is encryption by default.
    """

    def __init__(self, *, pending_reads: int = 2, encrypts: bool = False, first: int = 1) -> None:
        """`first` is the number of its first snapshot: those of two regions have different ids."""
        self.held: dict[str, Held] = {}
        self.calls: list[str] = []
        self.before: Callable[[int, str], None] = nothing
        self.after: Callable[[int, str], None] = nothing
        self.pending_reads = pending_reads
        self.encrypts = encrypts
        self.foreign_parents = True
        """Whether StartSnapshot takes another account's parent, which no document says."""
        self.usable_keys: set[str] = set()
        """Keys of others that copies may be decrypted with."""
        self.repeat_age = 0.0
        """How old a snapshot is when StartSnapshot answers with it again."""
        self._tokens: dict[str, tuple[Start, str]] = {}  # of deleted snapshots too: the strictest that EBS may be
        self._ids = itertools.count(first)
        self._lock = threading.RLock()

    def find(self, tags: Mapping[str, str]) -> list[Snapshot]:
        number = self._enter("find")
        with self._lock:
            ours = [each.about for each in self.held.values() if each.about.owner == ACCOUNT]
            found = [each for each in ours if tags.items() <= each.tags.items()]
        return self._leave(number, "find", found)

    def shared(self, account: str, description: str) -> list[Snapshot]:
        number = self._enter("shared")
        with self._lock:
            found = [
                replace(each.about, tags={})
                for each in self.held.values()
                if each.about.owner == account and each.start.description == description
            ]
        return self._leave(number, "shared", found)

    def copy(
        self, snapshot_id: str, tags: Mapping[str, str], *, description: str, encrypted: bool, kms_key: str | None
    ) -> str:
        number = self._enter("copy")
        with self._lock:
            source = self._completed(snapshot_id)
            if kms_key is not None and not (encrypted or source.about.encrypted):
                raise CloudError("InvalidParameterDependency: a key needs Encrypted")
            encrypts = encrypted or source.about.encrypted or self.encrypts
            asked = Start(f"copy {next(self._ids)}", source.about.volume_gib, tags, description, encrypts, kms_key)
            held = self.add(asked)
            held.inherited = source.blocks
            held.reads_until_completed = self.pending_reads
            if source.about.encrypted and source.about.kms_key not in self.usable_keys:
                held.about = replace(held.about, state="error", state_message="Given key ID is not accessible")
        return self._leave(number, "copy", held.id)

    def give(self, snapshot_id: str, account: str) -> None:
        """Make it a snapshot of another account, which shares it."""
        held = self.held[snapshot_id]
        held.about = replace(held.about, owner=account)

    def start(self, start: Start) -> Started:
        number = self._enter("start")
        with self._lock:
            if start.token in self._tokens:
                before, snapshot_id = self._tokens[start.token]
                if before != start:
                    raise CloudError("ConflictException: the token was used with other parameters")
                answer = Started(snapshot_id, self.repeat_age)
            else:
                answer = Started(self._started(start).id, 0.0)
        return self._leave(number, "start", answer)

    def connect(self) -> Line:
        """As `Puts`."""
        return Line(self)

    def put(self, snapshot_id: str, index: int, block: bytes | bytearray, digest: bytes) -> None:
        number = self._enter("put")
        with self._lock:
            held = self._pending(snapshot_id)
            if len(block) != BLOCK or hashlib.sha256(block).digest() != digest:
                raise Invalid("ValidationException: wrong length or checksum", "INVALID_BLOCK")
            if not 0 <= index < held.about.volume_gib * 2048:
                raise Invalid("ValidationException: block index out of range", "INVALID_BLOCK")
            held.written[index] = bytes(block)
        self._leave(number, "put", None)

    def complete(self, snapshot_id: str, block_count: int, checksum: str) -> None:
        number = self._enter("complete")
        with self._lock:
            held = self._pending(snapshot_id)
            if block_count != len(held.written):
                raise Invalid("ValidationException: wrong changed blocks count", VALUE)
            digests = b"".join(hashlib.sha256(held.written[index]).digest() for index in sorted(held.written))
            if base64.b64encode(hashlib.sha256(digests).digest()).decode() != checksum:
                raise Invalid("ValidationException: wrong checksum", VALUE)
            held.reads_until_completed = self.pending_reads
        self._leave(number, "complete", None)

    def tag(self, snapshot_id: str, tags: Mapping[str, str]) -> None:
        number = self._enter("tag")
        with self._lock:
            held = self._get(snapshot_id)
            held.about = replace(held.about, tags={**held.about.tags, **tags})
        self._leave(number, "tag", None)

    def describe(self, snapshot_id: str) -> Snapshot:
        number = self._enter("describe")
        with self._lock:
            held = self._get(snapshot_id)
            if held.reads_until_completed == 0:
                held.about = replace(held.about, state="completed")
            held.reads_until_completed = max(-1, held.reads_until_completed - 1)
            about = held.about
        return self._leave(number, "describe", about)

    def delete(self, snapshot_id: str) -> None:
        number = self._enter("delete")
        with self._lock:
            self._get(snapshot_id)
            del self.held[snapshot_id]
        self._leave(number, "delete", None)

    def list_blocks(self, snapshot_id: str, start: int, page: str | None) -> Page:
        """Pages of three at most, the first of them empty."""
        number = self._enter("list_blocks")
        with self._lock:
            held = self._completed(snapshot_id)
            indexes = sorted(index for index in held.blocks if index >= start)
            at = -1 if page is None else int(page)
            shown = indexes[at : at + 3] if at >= 0 else []
            following = str(max(0, at + 3) if at >= 0 else 0)
            more = at < 0 or at + 3 < len(indexes)
            answer = Page(
                [(index, f"{snapshot_id}/{index}") for index in shown],
                following if more else None,
                held.about.volume_gib,
            )
        return self._leave(number, "list_blocks", answer)

    def get(self, snapshot_id: str, index: int, token: str) -> bytes:
        number = self._enter("get")
        with self._lock:
            if token != f"{snapshot_id}/{index}":
                raise Invalid("ValidationException: wrong token", "INVALID_BLOCK_TOKEN")
            block = self._completed(snapshot_id).blocks[index]
        return self._leave(number, "get", block)

    def add(self, start: Start, *, state: str = "pending", age: int = 0) -> Held:
        """A snapshot that is there already, `age` hours older than the others."""
        serial = next(self._ids)
        when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=serial) - timedelta(hours=age)
        parent = self.held[start.parent] if start.parent is not None else None
        encrypted = parent.about.encrypted if parent is not None else start.encrypted or self.encrypts
        key = parent.about.kms_key if parent is not None else start.kms_key
        about = Snapshot(
            f"snap-{serial:04x}", state, "", start.volume_gib, encrypted, key, when, dict(start.tags), ACCOUNT
        )
        held = self.held[about.snapshot_id] = Held(about, start, parent.blocks if parent is not None else {})
        self._tokens[start.token] = (start, about.snapshot_id)
        return held

    def of_state(self, state: str) -> list[Held]:
        return [each for each in self.held.values() if each.about.state == state]

    def _started(self, start: Start) -> Held:
        if len(self.of_state("pending")) >= MAX_PENDING:
            raise CloudError("ConcurrentLimitExceededException: as many pending snapshots as it may have")
        if start.kms_key is not None and not start.encrypted:
            raise Invalid("ValidationException: a key needs Encrypted", VALUE)
        if start.parent is not None:
            if start.encrypted:
                raise Invalid("ValidationException: Encrypted and ParentSnapshotId exclude each other", VALUE)
            parent = self._completed(start.parent).about
            if parent.owner != ACCOUNT and not self.foreign_parents:
                raise CloudError("AccessDeniedException: the parent is another account's")
            if parent.volume_gib > start.volume_gib:
                raise Invalid("ValidationException: smaller than the parent", "INVALID_VOLUME_SIZE")
            if self.encrypts and not parent.encrypted:
                raise Invalid("ValidationException: the parent is not encrypted", VALUE)
        return self.add(start)

    def _pending(self, snapshot_id: str) -> Held:
        held = self._get(snapshot_id)
        if held.about.state != "pending" or held.reads_until_completed >= 0:
            raise Invalid(f"ValidationException: snapshot {snapshot_id} is not pending", STATE)
        return held

    def _completed(self, snapshot_id: str) -> Held:
        held = self._get(snapshot_id)
        if held.about.state != "completed":
            raise Invalid(f"ValidationException: snapshot {snapshot_id} is not completed", STATE)
        return held

    def _get(self, snapshot_id: str) -> Held:
        if snapshot_id not in self.held:
            raise NotFound(f"snapshot {snapshot_id} does not exist")
        return self.held[snapshot_id]

    def _enter(self, name: str) -> int:
        with self._lock:
            self.calls.append(name)
            number = len(self.calls)
        self.before(number, name)
        return number

    def _leave(self, number: int, name: str, result: T) -> T:
        self.after(number, name)
        return result


class Line:
    """A connection to the fake."""

    def __init__(self, snapshots: FakeSnapshots) -> None:
        self._snapshots = snapshots

    def put(
        self, snapshot_id: str, index: int, block: bytes | bytearray, digest: bytes, sent: Callable[[], None]
    ) -> None:
        kept = bytes(block)
        sent()  # the buffer may be overwritten from here on
        self._snapshots.put(snapshot_id, index, kept, digest)

    def close(self) -> None:
        """Nothing is open."""


def disk_bytes(kinds: list[str], size: int, seed: int = 0) -> bytes:
    """A raw disk with an MBR: `size` bytes whose blocks are, in turn, `zero`, `data` or `same`."""
    dice = random.Random(seed)  # noqa: S311 (content, not a secret)
    same = dice.randbytes(BLOCK)
    make = {"zero": lambda: bytes(BLOCK), "data": lambda: dice.randbytes(BLOCK), "same": lambda: same}
    content = bytearray(b"".join(make[kind]() for kind in itertools.islice(itertools.cycle(kinds), -(-size // BLOCK))))
    content[:520] = mbr(size) + bytes(8)
    return bytes(content[:size])


def mbr(size: int) -> bytes:
    """A first sector whose one partition, an EFI system partition, is all the disk."""
    partition = struct.pack("<B3sB3sII", 0, b"", 0xEF, b"", 1, size // 512 - 1)
    return bytes(446) + partition + bytes(48) + b"\x55\xaa"


def disk_file(path: Path, kinds: list[str] | None = None, size: int = 5 * BLOCK + 512, seed: int = 0) -> Path:
    path.write_bytes(disk_bytes(kinds or ["data", "zero", "same"], size, seed))
    return path


HOLE = "."
ZERO = "0"


def block_of(letter: str) -> bytes:
    """What a block of this letter holds: `.` and `0` zeros, a capital one byte throughout, else two kinds of bytes."""
    if letter in (HOLE, ZERO):
        return bytes(BLOCK)
    if letter.isupper():
        return letter.encode() * BLOCK
    return bytes(BLOCK - 4) + letter.encode("utf-8").rjust(4)


def spelled(path: Path, letters: str, *, cut: int = 0) -> bytes:
    """Write a disk whose blocks are spelled by letters, the first with an MBR, `cut` sectors short. Its content.

    Nothing is ever written to a block that is `.`; the first one is data whatever its letter.
    """
    size = len(letters) * BLOCK - cut * 512
    with path.open("wb") as file:
        file.truncate(size)
        for index, letter in enumerate(letters):
            if index and letter == HOLE:
                continue
            data = block_of(letter)
            file.seek(index * BLOCK)
            file.write((mbr(size) + data[512:] if index == 0 else data)[: size - index * BLOCK])
    return path.read_bytes()


def read_back(held: Held, size: int) -> bytes:
    """The first `size` bytes of a volume made from a snapshot; a block that it lacks is an error."""
    blocks = held.blocks
    return b"".join(blocks[index] for index in range(-(-size // BLOCK)))
