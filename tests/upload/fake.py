"""Stand-in for EBS and EC2 behind the port `Snapshots`, as strict as they are, with faults to order and a clock."""

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

from fleetswap.domain.errors import CloudError
from fleetswap.domain.snapshots import Absent, Snapshot, Start

T = TypeVar("T")
BLOCK = 512 * 1024


def nothing(*_: object) -> None:
    """Neither a fault nor a line."""


class FakeClock:
    """Waiting takes no time; `now` says how much was waited."""

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._now

    def wait(self, seconds: float, stop: threading.Event) -> None:
        if not stop.is_set():
            self.advance(seconds)

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds


@dataclass
class Held:
    """A snapshot in the fake."""

    about: Snapshot
    start: Start
    blocks: dict[int, bytes] = field(default_factory=dict)
    reads_until_completed: int = -1


class FakeSnapshots:
    """Keeps blocks in memory. Rejects a wrong length, checksum, count, index, state, and a token used otherwise.

    `before` and `after` are called with the number of the call (from 1) and its name; what they raise the caller gets:
    from `before` nothing has happened, from `after` the answer was lost.
    """

    def __init__(self, *, pending_reads: int = 2) -> None:
        self.held: dict[str, Held] = {}
        self.calls: list[str] = []
        self.before: Callable[[int, str], None] = nothing
        self.after: Callable[[int, str], None] = nothing
        self.pending_reads = pending_reads
        self._tokens: dict[str, Held] = {}
        self._ids = itertools.count(1)
        self._lock = threading.RLock()

    def find(self, tags: Mapping[str, str]) -> list[Snapshot]:
        number = self._enter("find")
        with self._lock:
            found = [each.about for each in self.held.values() if tags.items() <= each.start.tags.items()]
        return self._leave(number, "find", found)

    def start(self, start: Start) -> str:
        number = self._enter("start")
        with self._lock:
            held = self._tokens.get(start.token)
            if held is None:
                held = self.add(start)
            elif held.start != start:
                raise CloudError("ConflictException: the token was used with other parameters")
        return self._leave(number, "start", held.about.snapshot_id)

    def put(self, snapshot_id: str, index: int, block: bytes, digest: bytes) -> None:
        number = self._enter("put")
        with self._lock:
            held = self._pending(snapshot_id)
            if len(block) != BLOCK or hashlib.sha256(block).digest() != digest:
                raise CloudError("ValidationException: wrong length or checksum")
            if not 0 <= index < held.about.volume_gib * 2048:
                raise CloudError("ValidationException: block index out of range")
            held.blocks[index] = block
        self._leave(number, "put", None)

    def complete(self, snapshot_id: str, block_count: int, checksum: str) -> None:
        number = self._enter("complete")
        with self._lock:
            held = self._pending(snapshot_id)
            if block_count != len(held.blocks):
                raise CloudError("ValidationException: wrong changed blocks count")
            digests = b"".join(hashlib.sha256(held.blocks[index]).digest() for index in sorted(held.blocks))
            if base64.b64encode(hashlib.sha256(digests).digest()).decode() != checksum:
                raise CloudError("ValidationException: wrong checksum")
            held.reads_until_completed = self.pending_reads
        self._leave(number, "complete", None)

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

    def add(self, start: Start, *, state: str = "pending", age: int = 0) -> Held:
        """A snapshot that is there already, `age` hours older than the others."""
        serial = next(self._ids)
        when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=serial) - timedelta(hours=age)
        about = Snapshot(f"snap-{serial:04x}", state, "", start.volume_gib, start.encrypted, start.kms_key, when)
        held = self._tokens[start.token] = self.held[about.snapshot_id] = Held(about, start)
        return held

    def of_state(self, state: str) -> list[Held]:
        return [each for each in self.held.values() if each.about.state == state]

    def _pending(self, snapshot_id: str) -> Held:
        held = self._get(snapshot_id)
        if held.about.state != "pending" or held.reads_until_completed >= 0:
            raise CloudError(f"ValidationException: snapshot {snapshot_id} is not pending")
        return held

    def _get(self, snapshot_id: str) -> Held:
        if snapshot_id not in self.held:
            raise Absent(f"snapshot {snapshot_id} does not exist")
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


def disk_bytes(kinds: list[str], size: int, seed: int = 0) -> bytes:
    """A raw disk with an MBR: `size` bytes whose blocks are, in turn, `zero`, `data` or `same`."""
    dice = random.Random(seed)  # noqa: S311 (content, not a secret)
    same = dice.randbytes(BLOCK)
    make = {"zero": lambda: bytes(BLOCK), "data": lambda: dice.randbytes(BLOCK), "same": lambda: same}
    content = bytearray(b"".join(make[kind]() for kind in itertools.islice(itertools.cycle(kinds), -(-size // BLOCK))))
    content[:512] = (
        bytes(446) + struct.pack("<B3sB3sII", 0, b"", 0x83, b"", 1, size // 512 - 1) + bytes(48) + b"\x55\xaa"
    )
    content[512:520] = bytes(8)
    return bytes(content[:size])


def disk_file(path: Path, kinds: list[str] | None = None, size: int = 5 * BLOCK + 512, seed: int = 0) -> Path:
    path.write_bytes(disk_bytes(kinds or ["data", "zero", "same"], size, seed))
    return path


def read_back(held: Held, size: int) -> bytes:
    """The first `size` bytes of a volume made from a snapshot; a block that it lacks is an error."""
    return b"".join(held.blocks[index] for index in range(-(-size // BLOCK)))
