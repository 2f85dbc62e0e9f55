"""The flows that passed: where the packets of each direction go, and when a flow is forgotten.

Decides how long a flow is tracked. One that is tracked goes on when the rule that let it pass is gone, as in AWS; a new
connection, even between the same ports, is asked about anew. Source: EC2 user guide, "Security group connection
tracking" (idle timeouts).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localcloud.network.frames import FIN, RST, TCP, UDP, Rewrite, flags

if TYPE_CHECKING:
    from localcloud.network.wires import Wire

ESTABLISHED_SECONDS, OPENING_SECONDS, CLOSING_SECONDS = 432_000.0, 60.0, 30.0
UDP_SECONDS, OTHER_SECONDS = 180.0, 30.0
MOST = 20_000
"""Flows of one machine. An instance of AWS has such a limit, too, by its type."""


class Table(dict[bytes, "Hop"]):
    """What becomes of the packets that come in at one place, by their key (`frames.key`)."""


class Socket:
    """A place for a wire, which may be plugged in later, and what becomes of what comes in there."""

    def __init__(self) -> None:
        self.wire: Wire | None = None
        self.table = Table()


@dataclass
class Flow:
    """A tracked flow. Times are monotonic seconds."""

    protocol: int
    seen: float
    ends: list[tuple[Table, bytes]] = field(default_factory=list)
    answered: bool = False
    finished: int = 0  # bits: the first and the second direction said FIN
    over: bool = False

    def add(self, at: Socket, key: bytes, to: Socket, rewrite: Rewrite) -> None:
        """Let packets pass from one place to another. The first call is for the direction that opened the flow."""
        at.table[key] = Hop(self, to, rewrite, len(self.ends))
        self.ends.append((at.table, key))

    def expired(self, now: float) -> bool:
        """Whether it is to be forgotten."""
        if self.protocol == TCP:
            if self.over or self.finished == 0b11:
                limit = CLOSING_SECONDS
            else:
                limit = ESTABLISHED_SECONDS if self.answered else OPENING_SECONDS
        else:
            limit = UDP_SECONDS if self.protocol == UDP else OTHER_SECONDS
        return now - self.seen > limit

    def forget(self) -> None:
        """Let no more packets of it pass. Doing it again is harmless."""
        for table, key in self.ends:
            hop = table.get(key)
            if hop is not None and hop.flow is self:
                del table[key]


@dataclass(frozen=True)
class Hop:
    """Where packets of one direction go. `direction` is 0 for the one that opened the flow."""

    flow: Flow
    to: Socket
    rewrite: Rewrite
    direction: int

    def forward(self, frame: bytes, now: float) -> Wire | None:
        """Send a packet on; the wire that has it now."""
        flow = self.flow
        flow.seen = now
        if self.direction:
            flow.answered = True
        if flow.protocol == TCP:
            said = flags(frame)
            if said & RST:
                flow.over = True
            elif said & FIN:
                flow.finished |= 1 << self.direction
        wire = self.to.wire
        if wire is not None:
            wire.put(self.rewrite.apply(frame))
        return wire


def sweep(tables: list[Table], now: float) -> None:
    """Forget the flows that are over, or idle for too long."""
    for table in tables:
        for hop in list(table.values()):
            if hop.flow.expired(now):
                hop.flow.forget()
