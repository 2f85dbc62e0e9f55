"""What an upload needs to know about an EBS snapshot, and which completed snapshot it may adopt.

It decides nothing about time: how long to retry is up to the workflow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fleetswap.domain.tags import OWN_KEY, UPLOAD

SNAPSHOT_ID = re.compile(r"snap-[0-9a-f]+")
"""How every snapshot's id is made (EC2 user guide, "Resource IDs")."""

PENDING_MINUTES = 60
"""EBS cancels a snapshot by itself if none of its blocks is written, or it is not completed, for this long: the
service's own default (StartSnapshot, Timeout), far above the longest silence that an upload survives."""

VISIBLE_SECONDS = 120
"""A new snapshot may "not exist" for up to two minutes (awslabs/coldsnap issue 43)."""


@dataclass(frozen=True)
class Start:
    """What a snapshot is started with. The same `token` again means the same snapshot."""

    token: str
    volume_gib: int
    tags: Mapping[str, str]
    description: str
    encrypted: bool
    kms_key: str | None
    parent: str | None = None
    """Snapshot whose blocks, encryption and key are inherited. With it, `encrypted` and `kms_key` are not sent."""


@dataclass(frozen=True)
class Started:
    """What StartSnapshot answered. A token that was used before is answered with the snapshot of that time."""

    snapshot_id: str
    age: float
    """Seconds since that snapshot was started, by the service's own clock."""


@dataclass(frozen=True)
class Page:
    """One answer of ListSnapshotBlocks: blocks that the snapshot has, each with the token that GetSnapshotBlock wants.

    Ascending; `next` is the token of the next page, None on the last one. A page may be empty and yet not the last.
    """

    blocks: list[tuple[int, str]]
    next: str | None
    volume_gib: int


class SnapshotState(StrEnum):
    """The states of a snapshot (EC2, DescribeSnapshots, State)."""

    PENDING = "pending"
    COMPLETED = "completed"
    ERROR = "error"
    RECOVERABLE = "recoverable"
    RECOVERING = "recovering"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot as EC2 describes it. `state` is a `SnapshotState`, or one that EC2 has added since."""

    snapshot_id: str
    state: str
    state_message: str
    volume_gib: int
    encrypted: bool
    kms_key: str | None
    started: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    archived: bool = False
    """Moved to the archive tier: neither EBS direct nor EC2 can read it ("You can't use EBS direct APIs with archived
    snapshots", EBS user guide, "Read Amazon EBS snapshots")."""

    @property
    def completed(self) -> bool:
        """Whether it can be read and registered."""
        return self.state == SnapshotState.COMPLETED

    @property
    def unfinished(self) -> bool:
        """Whether it will never be of use unless somebody goes on with it."""
        return self.state in {SnapshotState.PENDING, SnapshotState.ERROR}

    @property
    def uploaded(self) -> bool:
        """Whether an upload has started it: its tag says so of this very id. All other tags may be copies."""
        return self.tags.get(UPLOAD) == self.snapshot_id


@dataclass(frozen=True)
class Wanted:
    """What is asked of a snapshot of an image. `volume_gib` is 0 as long as nobody knows how large the image is."""

    identity: str
    volume_gib: int
    encrypted: bool
    kms_key: str | None


def is_others(snapshot: Snapshot, kms_key: str | None) -> bool:
    """Whether the own key of a stack encrypts it, and not for an upload with `kms_key`.

    A child inherits its parent's key, and the stack deletes its key when no release is known to need it. An upload that
    names no key takes any other.
    """
    return OWN_KEY in snapshot.tags and snapshot.kms_key != kms_key


def adoptable(found: Iterable[Snapshot], wanted: Wanted) -> list[Snapshot]:
    """The finished ones that can stand for a new upload, if they hold the image: the likeliest first.

    What they hold, tags cannot say. One that is encrypted serves a request without encryption as well: an account may
    encrypt by default, and then an upload would not make another. The opposite, or another key than the one asked for,
    does not serve.
    """
    fits = [
        each
        for each in found
        if each.completed
        and not each.archived
        and each.volume_gib >= wanted.volume_gib
        and (each.encrypted or not wanted.encrypted)
        and (wanted.kms_key is None or each.kms_key == wanted.kms_key)
        and not is_others(each, wanted.kms_key)
    ]
    return sorted(fits, key=lambda each: (each.uploaded, each.started, each.snapshot_id), reverse=True)
