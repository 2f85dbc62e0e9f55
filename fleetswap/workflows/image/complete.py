"""The end of an upload: completes the snapshot and waits until it can be used, or deletes one that never will be.

It decides when a state is trusted, and what a refused completion means: another run may have completed the snapshot
first. It never deletes a completed snapshot.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from fleetswap.domain.errors import CloudError, FleetswapError, Invalid, NotFound, TryAgain
from fleetswap.domain.image.snapshots import SnapshotState
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.image.parent import Parent
from fleetswap.workflows.image.ports import Snapshots
from fleetswap.workflows.retry import Patience

CLEAN_UP_SECONDS = 30.0
"""Silence after which the deletion of a failed snapshot is given up: the user is waiting for the first error."""

COMPLETION_SECONDS = 1_800.0
"""How long EBS may take to finish a snapshot whose blocks it has; it took minutes for the largest that were seen."""

WATCH_SECONDS = 300.0
"""How long a refused snapshot is watched until it is completed by whoever asked for that."""

GOOD_READS = 3
"""Reads in a row that must agree before a state is believed: EC2's answers are eventually consistent (EC2 API
reference, "Eventual consistency"; awslabs/bottlerocket's pubsys does the same)."""

CONFIRM_SECONDS = 0.15
"""Between two of them: together long enough for a run that saw the snapshot pending, and deletes it, to have done so;
short enough that a small upload does not consist of it."""

POLL_SECONDS = (0.5, 5.0)
"""Pause between two reads of a snapshot's state: the first, and what it grows to."""

NOT_PENDING = "INVALID_SNAPSHOT_ID"
"""The reason of a ValidationException about the snapshot, and not about a block or a number."""


@dataclass(frozen=True)
class Target:
    """An unfinished snapshot to write to."""

    snapshot_id: str
    parent: Parent | None
    shared: bool
    """Another run has, or had, a hand in it."""

    absent_until: float
    """Time of the clock until which it may "not exist" because it is new."""


class Completion:
    """The end of one snapshot."""

    def __init__(self, target: Target, port: Snapshots, clock: Clock, *, seconds: float) -> None:
        """`seconds` is the budget of silence."""
        self._target = target
        self._port = port
        self._clock = clock
        self._stop = threading.Event()  # never set: what stopped the sending must not stop this
        self._patience = Patience(clock, self._stop, seconds=seconds)

    def complete(self, block_count: int, checksum: str) -> None:
        """Complete the snapshot and return when it can be used, whoever has completed it with these very blocks.

        `Invalid` if the count or the checksum is not that of the blocks that EBS has. `NotFound` if it is gone.
        """
        snapshot_id = self._target.snapshot_id
        lost = False

        def attempt() -> None:
            nonlocal lost
            try:
                self._port.complete(snapshot_id, block_count, checksum)
            except (TryAgain, NotFound):
                lost = True
                raise

        try:
            self._patience.call(attempt, absent_until=self._target.absent_until)
        except Invalid as refusal:
            # After a lost answer, the refusal may only mean that the completion was done already.
            if not self.completed_by_another(refusal, watch=lost):
                raise
        else:
            self._await(self._clock.now() + COMPLETION_SECONDS, self._too_slow)

    def completed_by_another(self, refusal: Invalid, *, watch: bool = False) -> bool:
        """Whether the snapshot, refusing blocks or its completion, is completed, or will be while it is watched.

        It is watched if the refusal is about the snapshot's state; else one look is enough, so that a mistake of our
        own is reported at once.
        """
        if not (watch or refusal.reason == NOT_PENDING or self._is_completed(self._patience)):
            return False
        try:
            self._await(self._clock.now() + WATCH_SECONDS, lambda: refusal)
        except Invalid as told:
            if told is not refusal:
                raise
            return False
        return True

    def clean_up(self, first: BaseException) -> bool:
        """Delete the snapshot unless it is finished (then the next upload adopts it). Whether it is no more of use.

        Raises nothing of its own; what could not be deleted is named in the first error.
        """
        snapshot_id = self._target.snapshot_id
        patience = Patience(self._clock, threading.Event(), seconds=CLEAN_UP_SECONDS)
        try:
            if self._is_completed(patience):
                return True
            patience.call(lambda: self._port.delete(snapshot_id), absent_until=self._target.absent_until)
        except NotFound:
            return True  # which is what we want
        except Exception as second:  # noqa: BLE001 (whatever it is, it must not hide the first error)
            add_note(
                first,
                f"snapshot {snapshot_id} could not be deleted ({second}): run the upload again to resume it, or delete"
                f" it with `aws ec2 delete-snapshot --snapshot-id {snapshot_id}`",
            )
            return False
        return True

    def _await(self, deadline: float, late: Callable[[], CloudError]) -> None:
        """Return when `GOOD_READS` reads in a row say that the snapshot is completed."""
        snapshot_id = self._target.snapshot_id
        pause, longest = POLL_SECONDS
        completed = absent = 0
        while True:
            try:
                seen = self._patience.call(lambda: self._port.describe(snapshot_id))
            except NotFound:
                completed, absent = 0, absent + 1
                if absent >= GOOD_READS and self._clock.now() >= self._target.absent_until:
                    raise
            else:
                completed, absent = completed + 1 if seen.completed else 0, 0
                if completed == GOOD_READS:
                    return
                if seen.state == SnapshotState.ERROR:
                    raise CloudError(
                        f"EBS could not complete snapshot {snapshot_id}"
                        f" ({seen.state_message or 'no reason given'}): run again"
                    )
            if not completed:
                pause = min(longest, pause * 1.5)
                if self._clock.now() >= deadline:
                    raise late()
            self._clock.sleep(CONFIRM_SECONDS if completed else pause, self._stop)

    def _too_slow(self) -> CloudError:
        return CloudError(
            f"snapshot {self._target.snapshot_id} is still not completed after {COMPLETION_SECONDS / 60:.0f} minutes:"
            " run again"
        )

    def _is_completed(self, patience: Patience) -> bool:
        try:
            return patience.call(lambda: self._port.describe(self._target.snapshot_id)).completed
        except CloudError:
            return False  # what follows meets the same trouble, or none


def add_note(first: BaseException, note: str) -> None:
    """Add a note to an error without hiding it: to the one line that the user sees, if the error has one."""
    if isinstance(first, FleetswapError):
        first.args = (f"{first}; {note}",)
    else:
        first.add_note(note)
