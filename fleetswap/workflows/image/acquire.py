"""How an upload gets its snapshot: a completed one to adopt, a pending one to resume, or a new one.

It decides which pending snapshots of the same image are useful (it deletes the others: killed runs left them) and which
client token starts a new one. It never touches a completed snapshot, or one that no upload started, and sends no block.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from functools import partial

from fleetswap.domain import tags
from fleetswap.domain.errors import CloudError, NotFound, TryAgain
from fleetswap.domain.image.blockmap import Layout, name_of
from fleetswap.domain.image.snapshots import (
    PENDING_MINUTES,
    VISIBLE_SECONDS,
    Snapshot,
    SnapshotState,
    Start,
    Started,
    adoptable,
    is_others,
)
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.image.adopt import Proof
from fleetswap.workflows.image.complete import Completion, Target, add_note
from fleetswap.workflows.image.parent import NoParent, Parent, Search
from fleetswap.workflows.image.ports import Snapshots
from fleetswap.workflows.image.request import AUTO, NONE, UploadRequest
from fleetswap.workflows.retry import GaveUp, Patience

GENERATIONS = 8
"""Client tokens that are tried in turn when EBS answers with snapshots that are gone. Then a random one: two runs at
once may not meet in it, but an image that was shipped and destroyed often need not be looked for for ever."""

SHARED_SECONDS = 1.0
"""A snapshot that is older than this when StartSnapshot answers with it was perhaps started by somebody else, or is
gone. The age comes from a `Date` in whole seconds."""

GONE_SECONDS = 20.0
"""Age of a snapshot that StartSnapshot answers with, and EC2 does not know, at which it is taken for gone. EC2 shows
new ones within seconds. If this one was only late, it stays behind unfinished, and EBS gives it up."""

LOOK_SECONDS = 1.0
"""Pause between two looks at it."""


class Acquisition:
    """Finds or makes the snapshot of a request; asked again, another one, if the last was deleted meanwhile."""

    def __init__(
        self,
        request: UploadRequest,
        layout: Layout,
        port: Snapshots,
        search: Search,
        proof: Proof,
        *,
        patience: Callable[[], Patience],
        starting: Patience,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        """`patience` gives the budget for looking around, `starting` is that of StartSnapshot."""
        self._request = request
        self._volume_gib = layout.volume_gib
        self._wanted = request.wanted(layout.volume_gib)
        self._port = port
        self._search = search
        self._proof = proof
        self._patience = patience
        self._starting = starting
        self._clock = clock
        self._say = say
        self._generation = 0
        self._gone: set[str] = set()

    def acquire(self, *, join: bool) -> Snapshot | Target:
        """A finished snapshot, or one to write to. Other unfinished ones of uploads are gone; without `join`, all."""
        patience = self._patience()
        found = patience.call(lambda: self._port.find(self._request.own_tags))
        found = [each for each in found if each.snapshot_id not in self._gone]
        if (finished := self._fit(found)) is not None:
            return finished
        taken: Target | None = None
        for each in sorted(found, key=lambda each: (each.started, each.snapshot_id), reverse=True):
            if not each.unfinished or not each.uploaded:
                continue  # a backup under way may have the same tags
            try:
                # Looked at once more, right before it is deleted: another upload may have finished it since.
                now = patience.call(partial(self._port.describe, each.snapshot_id))
                if (finished := self._fit([now])) is not None:
                    return finished
                if taken is None and join and (taken := self._joined(now)) is not None:
                    continue
                if now.unfinished:
                    patience.call(partial(self._port.delete, each.snapshot_id))
            except NotFound:
                pass  # somebody else has deleted it
            self._gone.add(each.snapshot_id)
        return taken or self._start()

    def lost(self, snapshot_id: str) -> None:
        """The snapshot is gone: it must not be found again, whatever a late answer of EC2 says."""
        self._gone.add(snapshot_id)

    def _is_the_image(self, parent: Parent) -> bool:
        """Whether the parent is this request's own snapshot: its tags say so, and its map."""
        marked = self._request.own_tags.items() <= parent.snapshot.tags.items()
        return marked and parent.block_map.image == name_of(self._request.identity)

    def _fit(self, found: list[Snapshot]) -> Snapshot | None:
        """The first that may be adopted and holds the image."""
        return self._proof.holding(self._wanted, found)

    def _joined(self, now: Snapshot) -> Target | None:
        """The unfinished snapshot as a target; None if this request would have made another one."""
        request = self._request
        named = now.tags.get(tags.PARENT)
        parent_id = None if named == NONE else named
        same = (
            now.state == SnapshotState.PENDING
            and named is not None
            and request.allows(parent_id)
            and now.tags.get(tags.LINEAGE, "") == request.lineage
            and now.tags.get(tags.MANIFEST, "") == request.manifest_tag
            and now.volume_gib == self._volume_gib
            and (now.encrypted or not request.encrypted)
            and (request.kms_key is None or now.kms_key == request.kms_key)
            and not is_others(now, request.kms_key)
        )
        if not same:
            return None
        parent = None
        if parent_id is not None:
            try:
                parent = self._search.named(parent_id) if self._request.parent != AUTO else self._search.own(parent_id)
            except (NoParent, CloudError) as reason:
                self._say(f"not resuming the upload to snapshot {now.snapshot_id}: {reason}")
                return None
        self._say(f"resuming the interrupted upload to snapshot {now.snapshot_id}")
        return Target(now.snapshot_id, parent, shared=True, absent_until=self._clock.now() + VISIBLE_SECONDS)

    def _start(self) -> Snapshot | Target:
        parent, refused = self._search.chosen(self._request, self._say), None
        # Another run of this request may have finished since it was looked for: then its snapshot is the best parent.
        if parent is not None and self._is_the_image(parent):
            return parent.snapshot
        while True:
            generation = str(self._generation) if self._generation < GENERATIONS else uuid.uuid4().hex
            parent_id = parent.snapshot_id if parent is not None else None
            start = self._request.start(self._volume_gib, parent_id, generation)
            try:
                started = self._call_start(start)
            except GaveUp:
                raise
            except CloudError as refusal:
                # An account that encrypts by default refuses a plain parent; the parent may be gone, or its key closed.
                if parent is None or self._request.parent != AUTO:
                    raise
                parent, refused = None, f"snapshot {parent_id} cannot be the parent ({refusal})"
                continue
            if refused is not None:
                self._say(f"sending every block: {refused}")
                refused = None
            if (begun := self._look(started, parent)) is not None:
                return begun
            self._generation += 1

    def _serves(self, finished: Snapshot) -> bool:
        """Whether what EBS answers this request's own token with is still of use: the token says what it holds."""
        return bool(adoptable([finished], self._wanted))

    def _look(self, started: Started, parent: Parent | None) -> Snapshot | Target | None:
        """What StartSnapshot answered with; None if it is an old snapshot that is of no use."""
        if started.snapshot_id in self._gone:
            return None
        until = self._clock.now() + max(0.0, VISIBLE_SECONDS - started.age)
        target = Target(started.snapshot_id, parent, shared=started.age >= SHARED_SECONDS, absent_until=until)
        if not target.shared:
            return target
        try:
            now = self._seen(started)
            if now is None:
                self._say(f"snapshot {target.snapshot_id} of an earlier upload no longer exists: starting a new one")
            elif now.completed:
                if self._serves(now):
                    return now
            elif now.state == SnapshotState.PENDING:
                return target
            elif now.state == SnapshotState.ERROR:
                self._patience().call(lambda: self._port.delete(target.snapshot_id))
        except NotFound:
            pass  # somebody else has deleted it
        except BaseException as first:
            Completion(target, self._port, self._clock, seconds=0).clean_up(first)
            raise
        self._gone.add(target.snapshot_id)
        return None

    def _seen(self, started: Started) -> Snapshot | None:
        """The snapshot as EC2 describes it, as soon as it does; None if it is old enough to be gone."""
        gone_at = self._clock.now() + GONE_SECONDS - started.age
        while True:
            try:
                return self._patience().call(lambda: self._port.describe(started.snapshot_id))
            except NotFound:
                if self._clock.now() >= gone_at:
                    return None
            self._clock.sleep(LOOK_SECONDS, threading.Event())

    def _call_start(self, start: Start) -> Started:
        """Start. If that fails in the dark, there may be a snapshot whose id nobody knows, and it says so."""
        dark = False

        def attempt() -> Started:
            nonlocal dark
            try:
                return self._port.start(start)
            except CloudError as error:
                dark = dark or isinstance(error, TryAgain)
                raise
            except BaseException:
                dark = True
                raise

        try:
            return self._starting.call(attempt)
        except BaseException as first:
            if dark:
                add_note(
                    first,
                    "a pending snapshot of the image may exist nevertheless: the next upload resumes it,"
                    f" or EBS ends it after {PENDING_MINUTES} minutes",
                )
            raise


class Claim:
    """Writes into a snapshot's tags that an upload has started it, as soon as EC2 shows the snapshot.

    Without this tag a killed run's snapshot is gone on with only as long as EBS remembers the client token, and EBS
    gives it up by itself. So whatever goes wrong here is no error.
    """

    def __init__(self, snapshot_id: str, port: Snapshots, clock: Clock, say: Callable[[str], None]) -> None:
        self._snapshot_id = snapshot_id
        self._port = port
        self._clock = clock
        self._say = say
        self._next: float | None = clock.now()

    def attempt(self) -> None:
        """Write the tag, unless it is written, or was tried a moment ago. One request at most."""
        if self._next is None or self._clock.now() < self._next:
            return
        try:
            self._port.tag(self._snapshot_id, {tags.UPLOAD: self._snapshot_id})
        except (TryAgain, NotFound):
            self._next = self._clock.now() + LOOK_SECONDS
        except CloudError as refusal:
            self._next = None
            self._say(f"if this upload is interrupted, the next one may have to start over ({refusal})")
        else:
            self._next = None
