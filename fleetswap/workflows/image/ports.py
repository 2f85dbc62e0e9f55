"""EBS and EC2 as an upload sees them: the port that `fleetswap.aws.image.ebs` implements. The blocks themselves go
another way (`fleetswap.workflows.image.send`); how finished ones are read stands in
`fleetswap.workflows.image.read_back`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from fleetswap.domain.image.snapshots import Snapshot, Start, Started
from fleetswap.workflows.image.block_list import Reads


class Snapshots(Reads, Protocol):
    """One attempt a call, safe to use from several threads.

    A failure that may pass is raised as `TryAgain`, a snapshot that does not exist as `NotFound`, a request that does
    not fit as `Invalid`, all else as `CloudError`. A call whose answer was lost may be repeated: none does anything
    twice, except `complete`, which may then be refused because the snapshot is not pending any more.
    """

    def find(self, tags: Mapping[str, str]) -> list[Snapshot]:
        """All snapshots of this account that carry all of `tags`, in whatever state."""

    def start(self, start: Start) -> Started:
        """Start a snapshot, or be told again of the one that the same token has started."""

    def complete(self, snapshot_id: str, block_count: int, checksum: str) -> None:
        """Complete a snapshot that was sent `block_count` blocks, with their LINEAR checksum."""

    def tag(self, snapshot_id: str, tags: Mapping[str, str]) -> None:
        """Give a snapshot these tags, besides those that it has."""

    def describe(self, snapshot_id: str) -> Snapshot:
        """What EC2 knows of a snapshot, of whatever account."""

    def delete(self, snapshot_id: str) -> None:
        """Delete a snapshot in any state."""
