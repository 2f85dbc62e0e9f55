"""Finds the parent of the next snapshot, and makes sure that it holds what its block map says.

It decides what is checked of a candidate, in this order: EC2's description, the map, the whole list of its blocks
against the map, and a few blocks that are unchanged in the image, read back. It never starts or changes a snapshot. Its
cost: a request per 4,096 blocks of the list, per 16,384 of the map, and per sample.

Memory: the parent's map (32 bytes per block), one page of the list, two blocks.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from fleetswap.domain.errors import CloudError, InputError
from fleetswap.domain.image.blockmap import BadMap, BlockMap
from fleetswap.domain.image.blocks import BLOCK_SIZE, block_count, digest
from fleetswap.domain.image.lineage import candidates, disagreement, unfit
from fleetswap.domain.image.snapshots import Snapshot, Wanted
from fleetswap.domain.tags import COPY, IMAGE, LINEAGE, STACK
from fleetswap.workflows.image.block_list import listing, read_map
from fleetswap.workflows.image.image_file import ImageFile
from fleetswap.workflows.image.ports import Snapshots
from fleetswap.workflows.image.request import AUTO, NONE, UploadRequest
from fleetswap.workflows.retry import GaveUp, Patience

TRIES = 8
"""Blocks of the image that are hashed for each sample that is wanted, until an unchanged one is found."""


class NoParent(Exception):
    """A snapshot cannot be the parent; the message names it and says why."""


@dataclass(frozen=True)
class Parent:
    """A snapshot that was looked at, and its map."""

    snapshot: Snapshot
    block_map: BlockMap

    @property
    def snapshot_id(self) -> str:
        """Its id."""
        return self.snapshot.snapshot_id


class Promotion(Protocol):
    """Parents out of what other accounts share; implemented by `fleetswap.workflows.image.promote.Copies`."""

    def parent(self) -> Parent | None:
        """One that was compared with the image block by block, or None."""

    def verified(self, copy: Snapshot) -> Parent:
        """The copy that an earlier run has made, likewise. `NoParent` if it cannot be the parent."""


class Search:
    """The search for the parent of one image."""

    def __init__(
        self,
        port: Snapshots,
        patience: Callable[[], Patience],
        image: ImageFile,
        wanted: Wanted,
        *,
        stacks: Sequence[str],
        samples: int,
        copies: Promotion | None = None,
    ) -> None:
        """`patience` gives the time budget of one candidate. Only a snapshot of `stacks` is chosen without being named:

        what a child inherits is not sent and not read, so whoever makes a parent decides what machines boot
        (docs/decisions/0012-whose-snapshot-is-believed.md). `copies` makes one of what other accounts share.
        """
        self._port = port
        self._patience = patience
        self._image = image
        self._wanted = wanted
        self._stacks = stacks
        self._samples = samples
        self._copies = copies

    def newest(self, lineage: str, say: Callable[[str], None]) -> Parent | None:
        """The best parent in a lineage; or None, and `say` got one line with the reason.

        Whatever is wrong with a candidate, refused or silent: the image is then sent whole, which is always right.
        """
        found = [
            each
            for stack in self._stacks
            for each in self._patience().call(partial(self._port.find, {LINEAGE: lineage, STACK: stack}))
            if not each.unfinished
        ]
        reasons = []
        for each in candidates(found, self._wanted):
            try:
                return self._look(each)
            except NoParent as reason:
                reasons.append(str(reason))
            except CloudError as error:
                reasons.append(f"snapshot {each.snapshot_id} cannot be read ({error})")
                if isinstance(error, GaveUp):
                    break  # the others would be as silent
        if not found:
            stacks = " or ".join(self._stacks)
            say(f"sending every block: lineage {lineage} has no completed snapshot of stack {stacks} yet")
        elif not reasons:
            last = max(found, key=lambda each: each.started)
            say(f"sending every block: snapshot {last.snapshot_id} {unfit(last, self._wanted)}")
        else:
            say(f"sending every block: {reasons[0]}")
        return None

    def chosen(self, request: UploadRequest, say: Callable[[str], None]) -> Parent | None:
        """The parent that a request asks for: the one it names, none, or the newest of its lineage.

        If that is of another image, what another account shares of this one is better: no block need be sent.
        """
        if request.parent == NONE:
            return None
        if request.parent != AUTO:
            return self.asked_for(request.parent)
        reasons: list[str] = []
        found = self.newest(request.lineage, reasons.append) if request.lineage else None
        if self._copies is not None and (found is None or found.snapshot.tags.get(IMAGE) != request.identity):
            copied = self._copies.parent()
            if copied is not None:
                return copied
        for reason in reasons:
            say(reason)
        return found

    def own(self, snapshot_id: str) -> Parent:
        """The snapshot as a parent that nobody has named: as `named`, and it must be of one of the stacks."""
        return self.named(snapshot_id, stacks=self._stacks)

    def named(self, snapshot_id: str, *, stacks: Sequence[str] | None = None) -> Parent:
        """The snapshot as a parent. `NoParent` says why it cannot be, `CloudError` that it cannot be read."""
        patience = self._patience()
        snapshot = patience.call(lambda: self._port.describe(snapshot_id))
        if stacks is not None and snapshot.tags.get(STACK) not in stacks:
            raise NoParent(f"snapshot {snapshot_id} belongs to stack {snapshot.tags.get(STACK)}, which is not trusted")
        if (reason := unfit(snapshot, self._wanted)) is not None:
            raise NoParent(f"snapshot {snapshot_id} {reason}")
        return self._look(snapshot)

    def asked_for(self, snapshot_id: str) -> Parent:
        """The parent that the user named: `InputError` if it cannot be one."""
        try:
            return self.named(snapshot_id)
        except NoParent as reason:
            raise InputError(f"{reason}: choose another parent, or none") from reason

    def _look(self, snapshot: Snapshot) -> Parent:
        if self._copies is not None and COPY in snapshot.tags:
            return self._copies.verified(snapshot)
        patience = self._patience()
        try:
            block_map = read_map(self._port, patience, snapshot.snapshot_id, snapshot.volume_gib)
            self._check(snapshot.snapshot_id, block_map, patience)
        except BadMap as reason:
            raise NoParent(f"snapshot {snapshot.snapshot_id} cannot be the parent: its block map {reason}") from reason
        return Parent(snapshot, block_map)

    def _check(self, snapshot_id: str, block_map: BlockMap, patience: Patience) -> None:
        unchanged = self._unchanged(block_map)
        tokens = {}
        listed = bytearray(block_map.count)
        for index, token in listing(self._port, patience, snapshot_id, 0, block_map.count):
            listed[index] = 1
            if index in unchanged:
                tokens[index] = token
        if (wrong := disagreement(block_map, listed)) is not None:
            there = "has" if listed[wrong] else "does not have"
            raise BadMap(f"does not match the snapshot, which {there} block {wrong}")
        for index, token in tokens.items():
            data = patience.call(partial(self._port.get, snapshot_id, index, token))
            if digest(data) != block_map.digest(index):
                raise BadMap(f"does not match block {index} of the snapshot")

    def _unchanged(self, block_map: BlockMap) -> set[int]:
        """Indexes of a few blocks that the image has as the map says, drawn at random."""
        count = min(block_map.count, block_count(self._image.size))
        buffer = bytearray(BLOCK_SIZE)
        chosen: set[int] = set()
        for index in random.sample(range(count), min(count, self._samples * TRIES)):
            if len(chosen) == self._samples:
                break
            self._image.read(index, buffer)
            if digest(buffer) == block_map.digest(index):
                chosen.add(index)
        return chosen
