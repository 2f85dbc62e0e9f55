"""Makes the parent of an upload out of a snapshot of the same image that another account shares.

AWS documents no StartSnapshot with another account's parent, and such a child would need that account's key for ever.
So the snapshot is copied (EC2, CopySnapshot), with the key of this request, and the copy is the parent
(docs/decisions/0056-what-another-account-shares.md). It decides which snapshot is copied, how long that is waited for,
and what is believed of the copy: nothing. Tags of a shared snapshot are its owner's alone, so it is found by its
description, which anybody can write; and its block map says what its maker wanted. So every block of the copy that the
image has is read, and the parent's map is made of what was read: what differs from the image is sent like any other
block. Blocks behind the image that this upload will not write itself exclude the copy.

Whatever is wrong with the snapshot or its copy, the image is sent, which is always right. The copy is deleted at the
end; a child keeps what it has inherited. Of a killed run the next one of the same image takes the copy.

Memory: 32 bytes per block of the image, and what `read_back` takes.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from functools import partial

from fleetswap.domain.errors import CloudError, NotFound
from fleetswap.domain.image.blockmap import BlockMap, Layout
from fleetswap.domain.image.blocks import BLOCK_SIZE, DIGEST_SIZE, block_count, digest
from fleetswap.domain.image.lineage import unfit
from fleetswap.domain.image.snapshots import VISIBLE_SECONDS, Snapshot, SnapshotState, Wanted
from fleetswap.domain.tags import COPY, IMAGE, STACK
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.image.block_list import listing
from fleetswap.workflows.image.image_file import ImageFile
from fleetswap.workflows.image.parent import NoParent, Parent
from fleetswap.workflows.image.ports import Snapshots
from fleetswap.workflows.image.read_back import read_back
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.retry import Patience

COPY_SECONDS = 600.0
"""How long a copy is waited for. EBS promises nothing; at the quota of 1,000 blocks a second an upload sends 300 GiB in
this time."""

POLL_SECONDS = 2.0
"""Pause between two looks at a copy. It takes EBS seconds at least, for each of many that may be under way."""

READ_SECONDS = 300.0
"""Silence after which reading a copy is given up: as long as that of an upload."""


class Copies:
    """The copies that one upload makes or finds."""

    def __init__(
        self,
        request: UploadRequest,
        layout: Layout,
        image: ImageFile,
        port: Snapshots,
        patience: Callable[[], Patience],
        clock: Clock,
        say: Callable[[str], None],
        waiting: Callable[[str], None],
    ) -> None:
        """`patience` gives the time budget of a call; `waiting` is told what is waited for, every few seconds, and ends
        the upload by raising.
        """
        self._request = request
        self._layout = layout
        self._image = image
        self._wanted: Wanted = request.wanted(layout.volume_gib)
        self._port = port
        self._patience = patience
        self._clock = clock
        self._say = say
        self._waiting = waiting
        self._made: list[str] = []

    def parent(self) -> Parent | None:
        """A copy of what one of the trusted accounts shares, read and compared; or None, and `say` got the reasons."""
        for account in self._request.trusted_accounts:
            try:
                source = shared_by(account, self._port, self._patience, self._request, self._wanted)
                if source is None:
                    self._say(f"account {account} shares no snapshot of this image with this account")
                    continue
                return self.verified(self._copied(source))
            except (NoParent, CloudError) as reason:
                self._say(f"nothing is taken from account {account}: {reason}")
        return None

    def verified(self, copy: Snapshot) -> Parent:
        """The copy as a parent, with a map of what it really holds. `NoParent` if it cannot be one."""
        self._made.append(copy.snapshot_id)
        if (reason := unfit(copy, self._wanted)) is not None:
            raise NoParent(f"copy {copy.snapshot_id} {reason}")
        patience = Patience(self._clock, threading.Event(), seconds=READ_SECONDS)
        self._refuse_another(copy, patience)
        count = self._layout.count
        digests = bytearray(count * DIGEST_SIZE)

        def keep(index: int, data: bytes) -> None:
            digests[index * DIGEST_SIZE : (index + 1) * DIGEST_SIZE] = digest(data)

        self._say(f"comparing the copy {copy.snapshot_id} with the image, block by block")
        read_back(
            self._port,
            copy.snapshot_id,
            self._blocks(copy, patience),
            keep,
            patience=patience,
            clock=self._clock,
            stop=threading.Event(),
            total=count,
            tell=lambda now: self._waiting(f"reading the copy back: {100 * now.done // max(1, count)} %"),
        )
        return Parent(copy, BlockMap(copy.snapshot_id, self._layout.size, digests))

    def clean_up(self) -> None:
        """Delete the copies. What cannot be deleted is told, and is no error."""
        for each in dict.fromkeys(self._made):
            try:
                self._patience().call(partial(self._port.delete, each))
            except NotFound:
                pass  # which is what we want
            except CloudError as error:
                self._say(
                    f"snapshot {each}, a copy that is not needed, could not be deleted ({error}): delete it"
                    f" with `aws ec2 delete-snapshot --snapshot-id {each}`"
                )

    def _copied(self, source: Snapshot) -> Snapshot:
        """A completed copy of it, made now or by a run that was killed."""
        request = self._request
        marked = {key: value for key, value in request.tags.items() if key != IMAGE}  # it is not for adoption
        marked |= {STACK: request.stack, COPY: request.identity}

        def attempt() -> str:
            # A lost answer may have been that of a copy that was made.
            mine = self._port.find({STACK: request.stack, COPY: request.identity})
            usable = [each for each in mine if each.state in (SnapshotState.PENDING, SnapshotState.COMPLETED)]
            if usable:
                return max(usable, key=lambda each: (each.started, each.snapshot_id)).snapshot_id
            self._say(f"copying snapshot {source.snapshot_id} of account {source.owner}: it has the name of this image")
            return self._port.copy(
                source.snapshot_id,
                marked,
                description=f"copy of {source.snapshot_id}",
                encrypted=request.encrypted,
                kms_key=request.kms_key,
            )

        copy_id = self._patience().call(attempt)
        self._made.append(copy_id)
        began = self._clock.now()
        while True:
            # EC2 may show it some moments later.
            seen = self._patience().call(partial(self._port.describe, copy_id), absent_until=began + VISIBLE_SECONDS)
            if seen.completed:
                return seen
            if seen.state != SnapshotState.PENDING:
                raise NoParent(
                    f"EBS could not copy snapshot {source.snapshot_id} ({seen.state_message or seen.state}); if it is"
                    " encrypted, its key must be shared as well"
                )
            waited = self._clock.now() - began
            if waited >= COPY_SECONDS:
                raise NoParent(f"the copy of snapshot {source.snapshot_id} is not there after {waited / 60:.0f} min")
            self._waiting(f"copying snapshot {source.snapshot_id}")
            self._clock.sleep(POLL_SECONDS, threading.Event())

    def _refuse_another(self, copy: Snapshot, patience: Patience) -> None:
        """`NoParent` for a disk that has only the name of this image: a few blocks show that, before all are read."""
        buffer = bytearray(BLOCK_SIZE)
        count = self._layout.count
        for index in random.sample(range(count), min(count, self._request.samples)):
            for _, token in listing(self._port, patience, copy.snapshot_id, index, index + 1):
                self._image.read(index, buffer)
                if patience.call(partial(self._port.get, copy.snapshot_id, index, token)) != buffer:
                    raise NoParent(f"its snapshot has the name of this image, but another block {index}")

    def _blocks(self, copy: Snapshot, patience: Patience) -> Iterator[tuple[int, str]]:
        """The copy's blocks of the image. Those behind it must be ones that this upload writes: its manifest and map.

        What it did not write would be on the disk of every machine, and nobody would have looked at it.
        """
        written = self._layout.map_first - block_count(len(self._request.manifest))
        for index, token in listing(self._port, patience, copy.snapshot_id, 0):
            if index < self._layout.count:
                yield index, token
            elif index < written:
                raise NoParent(f"its snapshot has block {index} behind the image, which is not part of it")


def shared_by(
    account: str, port: Snapshots, patience: Callable[[], Patience], request: UploadRequest, wanted: Wanted
) -> Snapshot | None:
    """The newest snapshot that the account shares under the name of this image. Raises `CloudError`."""
    found = patience().call(partial(port.shared, account, request.identity))
    fits = [each for each in found if each.completed and not each.archived and each.volume_gib == wanted.volume_gib]
    return max(fits, key=lambda each: (each.started, each.snapshot_id), default=None)


def first_shared(
    port: Snapshots, patience: Callable[[], Patience], request: UploadRequest, wanted: Wanted
) -> Snapshot | None:
    """What an upload would copy, if EBS then can. Raises `CloudError`."""
    found = (shared_by(account, port, patience, request, wanted) for account in request.trusted_accounts)
    return next((each for each in found if each is not None), None)
