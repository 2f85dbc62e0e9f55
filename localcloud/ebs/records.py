"""What is kept of a snapshot, in memory and on disk (see `snapshots` for the files), and how a request is refused.

Decides nothing: the store does.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

DEFAULT_TIMEOUT_MINUTES = 60  # API reference: StartSnapshot, Timeout

_RECORD = struct.Struct(">I32s")
_KEPT = (
    "id",
    "start_time",
    "encrypted",
    "key",
    "lineage",
    "client_token",
    "tags",
    "completed_at",
    "failed",
    "owner",
    "shared",
)

State = Literal["pending", "completed", "error"]


class StoreError(Exception):
    """A request that EBS refuses. `code` is the exception's name in the API, `reason` its `Reason`, if it has one."""

    def __init__(self, code: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message


def invalid(reason: str, message: str) -> StoreError:
    """The refusal of a request that is wrong for this reason."""
    return StoreError("ValidationException", reason, message)


def unknown(snapshot_id: str) -> StoreError:
    """The refusal of a request for a snapshot that there is not, or that may not be seen."""
    return StoreError(
        "ResourceNotFoundException", "SNAPSHOT_NOT_FOUND", f"The snapshot '{snapshot_id}' does not exist."
    )


@dataclass(frozen=True)
class Request:
    """What StartSnapshot asks for. Two requests with one client token must be equal (user guide: idempotency).

    `encrypted` is None if the request does not say, which is not the same as saying no.
    """

    volume_size_gib: int
    parent: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    description: str = ""
    encrypted: bool | None = None
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
    completed_at: float | None = None
    failed: bool = False
    inherited: dict[int, bytes] = field(default_factory=dict, repr=False)
    written: dict[int, bytes] = field(default_factory=dict, repr=False)
    touched_at: float = 0.0
    owner: str | None = None  # None: this account
    shared: bool = False
    dead: bool = False  # deleted, and only remembered for its client token

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


def create(root: Path, snapshot: Snapshot) -> None:
    """Begin to keep a new snapshot."""
    directory = root / snapshot.id
    directory.mkdir()
    (directory / "inherited").write_bytes(b"".join(_RECORD.pack(*item) for item in snapshot.inherited.items()))
    (directory / "written").touch()
    save(root, snapshot)


def save(root: Path, snapshot: Snapshot) -> None:
    """Keep everything but the blocks as it is now."""
    path = root / snapshot.id / "meta.json"
    kept = {key: getattr(snapshot, key) for key in _KEPT}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({**kept, "request": asdict(snapshot.request)}), encoding="utf-8")
    partial.replace(path)


def append(root: Path, snapshot_id: str, index: int, digest: bytes) -> None:
    """Keep a block that was written."""
    with (root / snapshot_id / "written").open("ab") as log:
        log.write(_RECORD.pack(index, digest))


def remove(root: Path, snapshot_id: str) -> None:
    """Keep a snapshot no longer."""
    directory = root / snapshot_id
    (directory / "meta.json").unlink()  # from here on a restart knows that it is to go
    shutil.rmtree(directory)


def load(root: Path) -> Iterable[Snapshot]:
    """Every snapshot that is kept; what a killed process left of others is removed."""
    for directory in sorted(root.glob("snap-*")):
        meta = directory / "meta.json"
        if not meta.exists():  # killed between the directory and its meta.json, or while being deleted
            shutil.rmtree(directory)
            continue
        kept = json.loads(meta.read_text(encoding="utf-8"))
        if "sealed_at" in kept:  # what version 0.1 called it
            kept["completed_at"] = kept.pop("sealed_at")
        asked = kept.pop("request")
        asked["tags"] = tuple((key, value) for key, value in asked["tags"])
        written = directory / "written"
        yield Snapshot(
            **kept,
            request=Request(**asked),
            inherited=dict(_records(directory / "inherited")),
            written=dict(_records(written)),
            touched_at=written.stat().st_mtime,
        )


def _records(path: Path) -> Iterator[tuple[int, bytes]]:
    data = path.read_bytes()
    whole = len(data) - len(data) % _RECORD.size
    if whole < len(data):  # a killed process left half a record; what is appended next must not be read as its end
        os.truncate(path, whole)
    yield from _RECORD.iter_unpack(data[:whole])
