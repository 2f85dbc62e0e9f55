"""What shipping an image and reading it back need from the outside, as `typing.Protocol`s.

`fleetswap.aws.image` implements those that call AWS; the tests have fakes that refuse what AWS refuses. All are safe to
use from several threads, except a `Connection`. Unless stated otherwise, a call is one attempt: a passing failure is
raised as `TryAgain`, a quota as `Throttled`, a missing resource as `NotFound`, a request that is not valid for its
resource as `Invalid`, everything else as `CloudError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from fleetswap.domain.image.manifest import Manifest
from fleetswap.domain.image.snapshots import Page, Snapshot, Start, Started
from fleetswap.workflows.image.image_file import ImageFile


class Reads(Protocol):
    """Reading a snapshot."""

    def list_blocks(self, snapshot_id: str, start: int, page: str | None) -> Page:
        """A page of the blocks that a completed snapshot has, its parents' too, from index `start` or after `page`."""

    def describe(self, snapshot_id: str) -> Snapshot:
        """What EC2 knows of a snapshot, of whatever account."""

    def get(self, snapshot_id: str, index: int, token: str) -> bytes:
        """A whole block of a completed snapshot, checked against the checksum that came with it."""


class Snapshots(Reads, Protocol):
    """EBS and EC2 as an upload sees them.

    A call whose response was lost may be repeated: none has its effect twice, except `complete`, which may then be
    refused because the snapshot is no longer pending.
    """

    def find(self, tags: Mapping[str, str]) -> list[Snapshot]:
        """All snapshots of this account that carry all of `tags`, in whatever state."""

    def shared(self, account: str, description: str) -> list[Snapshot]:
        """All snapshots of another account that it shares with this one, and that have this description.

        They come without tags, which are their owner's alone.
        """

    def copy(
        self, snapshot_id: str, tags: Mapping[str, str], *, description: str, encrypted: bool, kms_key: str | None
    ) -> str:
        """Begin to copy a snapshot of this account, or one that is shared with it, and return the copy's id.

        Not to be repeated blindly: each call makes another copy.
        """

    def start(self, start: Start) -> Started:
        """Start a snapshot, or return the one that the same token has started."""

    def complete(self, snapshot_id: str, block_count: int, checksum: str) -> None:
        """Complete a snapshot that was sent `block_count` blocks, with their LINEAR checksum."""

    def tag(self, snapshot_id: str, tags: Mapping[str, str]) -> None:
        """Give a snapshot these tags, besides those that it has."""

    def delete(self, snapshot_id: str) -> None:
        """Delete a snapshot in any state."""


class Connection(Protocol):
    """A connection to EBS, for one thread."""

    def put(
        self, snapshot_id: str, index: int, block: bytes | bytearray, digest: bytes, sent: Callable[[], None]
    ) -> None:
        """Write a block, in one attempt. Returns only if EBS has acknowledged it with the same digest.

        Calls `sent` as soon as it no longer needs `block`.
        """

    def close(self) -> None:
        """Close it; a `put` of another thread that is in progress fails. Safe to repeat."""


class Puts(Protocol):
    """Where blocks are written to."""

    def connect(self) -> Connection:
        """A new connection; costs nothing until it is used."""


class BlockSource(Protocol):
    """The bytes to send, block by block."""

    def read(self, index: int, into: bytearray) -> None:
        """Fill `into`, 512 KiB, with a block."""

    def is_zero(self, index: int) -> bool:
        """Whether the block is known to be zeros without reading it. False says nothing."""

    def check_unchanged(self) -> None:
        """Raise `FleetswapError` if the bytes are not what they were at first."""


TRIAL_SECONDS = 180
"""How long an image may take to become healthy in a trial, from the start of its machine."""


class Trial(Protocol):
    """What an image must pass before it is uploaded. `fleetswap.workflows.boot_test` boots it."""

    def ready(self) -> None:
        """Raise `InputError` if something that the trial needs is missing on this computer."""

    def run(self, image: ImageFile, name: str, say: Callable[[str], None], status: Callable[[str], None]) -> object:
        """Return if the image, whose identity is `name`, has passed; else raise `FleetswapError`.

        `say` gets what stays to be read, `status` what passes, several times a second.
        """


class Source(Protocol):
    """What makes an image. `fleetswap.nix.source` builds it; `ship.FileSource` has it in a file. For one thread."""

    def identity(self) -> str:
        """What image it would make now, without making it. `InputError` if it makes none."""

    def bring(self, say: Callable[[str], None]) -> Path:
        """The disk of the image on this machine. `say` gets what is done meanwhile, a few words at a time."""

    def manifest(self) -> Manifest | None:
        """What the brought image consists of; None if nothing says so. `InputError` if what says so is damaged."""

    def sent(self) -> None:
        """EBS has the whole image: what kept it on this machine is no longer needed."""
