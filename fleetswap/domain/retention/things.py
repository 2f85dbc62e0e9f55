"""What Fleetswap makes in an account, as far as it matters for whether something is deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fleetswap.domain.release.ledger import Ledger


class Kind(StrEnum):
    """The kinds of things, in the order in which they are deleted: first what refers to others."""

    PIN = "pin"
    ACTION = "scheduled action"
    SCHEDULE = "schedule"
    TEMPLATE = "launch template"
    TARGET_GROUP = "target group"
    IMAGE = "AMI"
    SNAPSHOT = "snapshot"


ORDER = {kind: number for number, kind in enumerate(Kind)}
"""Of deletion."""


@dataclass(frozen=True)
class Thing:
    """One thing in a region, as AWS describes it.

    `uses` are the IDs of what cannot be deleted while this is there: an AMI's snapshots, a launch template's AMIs, the
    parent of an upload that runs.
    `holders` say in words who in AWS refers to it, and `doubts` what could not be read of it. `made` is when it was
    made, of a schedule when it is due; None: AWS does not say. `until`: it is in the Recycle Bin up to then.
    """

    kind: Kind
    region: str
    id: str
    stack: str = ""
    service: str = ""
    release: str = ""
    image: str = ""
    made: datetime | None = None
    uses: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    state: str = ""
    protected: bool = False
    until: datetime | None = None

    def __str__(self) -> str:
        """As a message names it."""
        return f"{self.kind} {self.id}"


@dataclass(frozen=True)
class Stack:
    """What is known of a stack that has things in the account.

    `ledgers` are those of all its regions, `state` the IDs of all that its state knows, `unread` why either cannot be
    read. `busy`: its state has operations that were begun and not ended. `gone`: the backend does not have it. `named`:
    the user says that it is gone. `running` is what AWS has of it that traffic or an update needs: then it is not gone,
    whatever the backend says. `hidden` are regions that cannot be read, where it may run as well.
    """

    name: str
    ledgers: tuple[Ledger, ...] = ()
    state: frozenset[str] = frozenset()
    unread: str = ""
    busy: bool = False
    gone: bool = False
    named: bool = False
    running: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """A region: its things, what runs there by stack, and what could not be read at all."""

    region: str
    things: tuple[Thing, ...] = ()
    running: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
