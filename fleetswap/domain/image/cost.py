"""What an upload moves: blocks, the time at the account's quota, and what AWS charges for it. It sends nothing."""

from __future__ import annotations

from dataclasses import dataclass

from fleetswap.domain.image.blocks import BLOCK_SIZE, GIB
from fleetswap.domain.image.pace import DOCUMENTED_QUOTA
from fleetswap.domain.text import counted, duration

PUT_DOLLARS = 0.006 / 1_000
"""For each block written (EBS user guide, "Pricing for EBS direct APIs", read in November 2026: "in a Region that
charges $0.006 per 1,000 blocks written", as US East (N. Virginia) does). Regions differ: "Amazon EBS pricing" has the
list."""

STORED_DOLLARS = 0.05
"""For a GB-month in the standard tier, in US East (N. Virginia) ("Amazon EBS pricing", November 2026). "You're billed
only for changed blocks that are stored", so not for what a child inherits (AWS re:Post, "How am I billed for my Amazon
EBS snapshots?")."""


@dataclass(frozen=True)
class Estimate:
    """What an upload would send. `blocks_sent` counts those of the manifest and the block map."""

    blocks: int
    """Of the image."""

    blocks_sent: int
    parent: str | None = None
    adopted: str | None = None
    """A completed snapshot of the image, which is there already: nothing is sent."""

    @property
    def bytes_sent(self) -> int:
        """What goes over the network, without headers."""
        return self.blocks_sent * BLOCK_SIZE

    @property
    def seconds(self) -> float:
        """At the quota of an account that has not raised it, and if the network carries 524 MB/s."""
        return self.blocks_sent / DOCUMENTED_QUOTA

    @property
    def request_dollars(self) -> float:
        """Once, in US East (N. Virginia)."""
        return self.blocks_sent * PUT_DOLLARS

    @property
    def month_dollars(self) -> float:
        """A month of keeping the snapshot, in US East (N. Virginia): an upper limit, EBS may compress."""
        return self.bytes_sent / GIB * STORED_DOLLARS

    def __str__(self) -> str:
        """One line, in words that follow a name."""
        if self.adopted is not None:
            return f"nothing to send: snapshot {self.adopted} has the image"
        beside = f"; the others are in {self.parent}" if self.parent is not None else ""
        moved = f"{counted(self.blocks_sent, 'block')} to send (the image has {self.blocks:,}{beside})"
        size = f"{self.bytes_sent / (1 << 20):,.1f}".removesuffix(".0") + " MiB"
        time = f"at least {duration(self.seconds)}" if self.seconds >= 1 else "less than 1 s"
        price = f"{_dollars(self.request_dollars)} to send, {_dollars(self.month_dollars)} a month to keep"
        return f"{moved}: {size}, {time} at {DOCUMENTED_QUOTA:,.0f} blocks a second; {price} (in us-east-1)"


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 0.01 else "less than $0.01"
