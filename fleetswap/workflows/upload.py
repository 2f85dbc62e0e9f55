"""Puts a disk image into a finished EBS snapshot: adopt one, or start, send, complete, and wait until it can be used.

It decides the order of the calls and what is left behind: after a failure no unfinished snapshot of this run, and
whatever could not be cleaned up is named. It never touches a finished snapshot, and never speaks to AWS itself.

Two uploads of one image at once: each sends into a snapshot of its own, so that neither can spoil the other's. The one
that begins later deletes what the earlier one has not finished, and the earlier one fails, saying so.

Memory: (connections + 1) blocks of 512 KiB, and 32 bytes a block of the image for its digest.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from fleetswap.domain import blocks, tags
from fleetswap.domain.errors import CloudError, FleetswapError, InputError
from fleetswap.domain.snapshots import PENDING_MINUTES, VISIBLE_SECONDS, Absent, Snapshot, Start, TryAgain, adoptable
from fleetswap.workflows.image_file import IDENTITY_PREFIX, ImageFile, identify
from fleetswap.workflows.retry import Clock, GaveUp, Patience, SystemClock
from fleetswap.workflows.send import send

__all__ = ["CONNECTIONS", "Order", "Snapshots", "Uploaded", "identify", "upload"]

CONNECTIONS = 32
"""Blocks on their way at once. boto3 on one core sends no more than 800 blocks a second, and answers take 10 to 100 ms;
16 MiB of memory."""

FIRST_PATIENCE_SECONDS = 30.0
"""Silence until the first answer: a wrong endpoint or region is likelier then than an outage."""

PATIENCE_SECONDS = 300.0
"""Silence after which an upload is given up; longer than the two minutes for which a snapshot may "not exist"."""

CLEAN_UP_SECONDS = 30.0
"""Silence after which the deletion of a failed snapshot is given up: the user is waiting for the first error."""

COMPLETION_SECONDS = 1_800.0
"""How long EBS may take to finish a snapshot whose blocks it has; it took minutes for the largest that were seen."""

GOOD_READS = 3
"""Reads in a row that must agree before a state is believed: EC2's answers are eventually consistent (EC2 API
reference, "Eventual consistency"; awslabs/bottlerocket's pubsys does the same)."""

POLL_SECONDS = (0.5, 5.0)
"""Pause between two reads of a snapshot's state: the first, and what it grows to."""

PROGRESS_SECONDS = 3.0
"""Least time between two lines of progress."""


class Snapshots(Protocol):
    """EBS and EC2, as an upload sees them: one attempt a call, safe to use from several threads.

    A failure that may pass is raised as `TryAgain`, a snapshot that does not exist as `Absent`, all else as
    `CloudError`. A call whose answer was lost may be repeated: none does anything twice, except `complete`, which may
    then be refused because the snapshot is not pending any more.
    """

    def find(self, tags: Mapping[str, str]) -> list[Snapshot]:
        """All snapshots of this account that carry all of `tags`, in whatever state."""

    def start(self, start: Start) -> str:
        """Start a snapshot and return its id."""

    def put(self, snapshot_id: str, index: int, block: bytes, digest: bytes) -> None:
        """Write one whole block. Returns only if EBS has acknowledged it with the same digest."""

    def complete(self, snapshot_id: str, block_count: int, checksum: str) -> None:
        """Seal a snapshot of `block_count` written blocks with their LINEAR checksum."""

    def describe(self, snapshot_id: str) -> Snapshot:
        """What EC2 knows of a snapshot."""

    def delete(self, snapshot_id: str) -> None:
        """Delete a snapshot in any state."""


@dataclass(frozen=True)
class Order:
    """An image to upload.

    `identity` says what the image is: its Nix store path, or `identify(path)`, which is checked while sending. `stack`
    says whose it is. Both go into the tags, whatever `tags` says. `kms_key` is a key's ARN, for encrypted snapshots
    only; without it EBS takes the account's default key. Wrong values raise `InputError`.
    """

    path: Path
    identity: str
    stack: str
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    encrypted: bool = False
    kms_key: str | None = None

    def __post_init__(self) -> None:
        if not self.identity or not self.stack:
            raise InputError("an upload needs the identity of its image and the name of its stack")
        if self.kms_key is not None and not self.encrypted:
            raise InputError("kms_key is given but encrypted is not set: set it, or leave the key out")
        if self.kms_key is not None and ":key/" not in self.kms_key:
            raise InputError(f"kms_key {self.kms_key} is not the ARN of a key (arn:aws:kms:…:key/…), as EBS needs it")

    @property
    def mark(self) -> dict[str, str]:
        """The tags that tell this stack's snapshots of this image."""
        return {tags.STACK: self.stack, tags.IMAGE: self.identity}


@dataclass(frozen=True)
class Uploaded:
    """A finished snapshot. `blocks` is what the image has; `bytes_sent` is 0 if the snapshot was `adopted`."""

    snapshot_id: str
    volume_gib: int
    blocks: int
    bytes_sent: int
    seconds: float
    adopted: bool


def upload(
    order: Order,
    port: Snapshots,
    say: Callable[[str], None],
    *,
    clock: Clock | None = None,
    connections: int = CONNECTIONS,
) -> Uploaded:
    """Return a finished snapshot of the image, made now or by an earlier upload of the same stack.

    To repeat it is harmless: what is finished is adopted, what was left unfinished is deleted and made anew. `say`
    gets a line every few seconds at most, always on the calling thread. Raises `InputError` before anything is
    created, `CloudError` if AWS refuses or is silent for `PATIENCE_SECONDS`, `FleetswapError` if the image changes.
    """
    clock = clock or SystemClock()
    began = clock.now()
    with ImageFile(order.path) as image:
        volume_gib = blocks.volume_gib(image.size)
        block_count = blocks.block_count(image.size)
        adopted = _adopt_or_clear(order, port, volume_gib, clock)
        if adopted is not None:
            say(f"snapshot {adopted.snapshot_id} already holds the image: nothing to send")
            return Uploaded(adopted.snapshot_id, adopted.volume_gib, block_count, 0, clock.now() - began, adopted=True)
        start = Start(
            # Fresh in each run, because nobody can know whether EBS still answers a token of the content with a
            # snapshot that was deleted since. What earlier runs left is found by its tags.
            token=uuid.uuid4().hex,
            volume_gib=volume_gib,
            tags=dict(order.tags) | order.mark,
            description=order.description,
            encrypted=order.encrypted,
            kms_key=order.kms_key,
        )
        run = _Run(port, clock, say)
        run.start(start)
        try:
            say(f"uploading {order.path.name} to snapshot {run.snapshot_id}: {block_count} blocks of 512 KiB")
            digests = run.send(image, order.identity, connections)
            run.complete(digests)
            run.await_completed()
        except BaseException as first:
            run.clean_up(first)
            raise
    sent = block_count * blocks.BLOCK_SIZE
    return Uploaded(run.snapshot_id, volume_gib, block_count, sent, clock.now() - began, adopted=False)


def _adopt_or_clear(order: Order, port: Snapshots, volume_gib: int, clock: Clock) -> Snapshot | None:
    """A finished snapshot to adopt; or None, and then the unfinished ones of the same image are gone."""
    patience = Patience(clock, threading.Event(), seconds=FIRST_PATIENCE_SECONDS)

    def fit(found: list[Snapshot]) -> Snapshot | None:
        return adoptable(found, volume_gib=volume_gib, encrypted=order.encrypted, kms_key=order.kms_key)

    found = patience.call(lambda: port.find(order.mark))
    if (finished := fit(found)) is not None:
        return finished
    for each in found:
        if not each.unfinished:
            continue
        try:
            # Looked at once more, right before it is deleted: another upload may have finished it since.
            now = patience.call(partial(port.describe, each.snapshot_id))
            if (finished := fit([now])) is not None:
                return finished
            if now.unfinished:
                patience.call(partial(port.delete, each.snapshot_id))
        except Absent:
            continue  # somebody else has deleted it
    return None


class _Run:
    """One snapshot from its start to its end; holds what the steps of `upload` share."""

    def __init__(self, port: Snapshots, clock: Clock, say: Callable[[str], None]) -> None:
        self._port = port
        self._clock = clock
        self._say = say
        self._stop = threading.Event()
        self._patience = Patience(clock, self._stop, seconds=PATIENCE_SECONDS)
        self.snapshot_id = ""
        self._absent_until = 0.0
        self._sealing = False
        self._refusal: CloudError | None = None

    def start(self, start: Start) -> None:
        """Start the snapshot. If that fails in the dark, there may be one whose id nobody knows, and it says so."""
        dark = False

        def attempt() -> str:
            nonlocal dark
            try:
                return self._port.start(start)
            except CloudError as error:
                dark = dark or (isinstance(error, TryAgain) and not isinstance(error, Absent))
                raise
            except BaseException:
                dark = True
                raise

        try:
            self.snapshot_id = self._patience.call(attempt)
        except BaseException as first:
            if dark:
                _add(
                    first,
                    "an unfinished snapshot of the image may exist all the same: the next upload deletes it,"
                    f" or EBS by itself after {PENDING_MINUTES} minutes",
                )
            raise
        self._absent_until = self._clock.now() + VISIBLE_SECONDS

    def send(self, image: ImageFile, identity: str, connections: int) -> bytes:
        """Send every block of the image, zero or not, and return their digests in order, joined.

        Every one, because what a snapshot lacks reads as garbage from an encrypted volume (coldsnap issues 395, 470).
        """
        count = blocks.block_count(image.size)
        digests = bytearray(count * blocks.DIGEST_SIZE)
        whole = hashlib.sha256()
        progress = _Progress(self._clock, self._say, count)

        def read() -> Iterator[bytes]:
            for data in image.blocks():
                whole.update(data)
                yield blocks.pad(data)

        def put(index: int, block: bytes) -> None:
            digest = blocks.digest(block)
            self._patience.call(
                lambda: self._port.put(self.snapshot_id, index, block, digest), absent_until=self._absent_until
            )
            digests[index * blocks.DIGEST_SIZE : (index + 1) * blocks.DIGEST_SIZE] = digest

        send(read(), put, connections=connections, stop=self._stop, sent=progress.tell)
        image.check_unchanged()
        if identity.startswith(IDENTITY_PREFIX) and identity != IDENTITY_PREFIX + whole.hexdigest():
            raise FleetswapError(f"image {image.path} is not {identity}: it changed since it was identified; run again")
        return bytes(digests)

    def complete(self, digests: bytes) -> None:
        """Seal the snapshot. A refusal that follows a lost answer is kept until the snapshot's state tells more."""
        count = len(digests) // blocks.DIGEST_SIZE
        checksum = blocks.linear_checksum(digests)
        lost = False

        def attempt() -> None:
            nonlocal lost
            try:
                self._port.complete(self.snapshot_id, count, checksum)
            except TryAgain:
                lost = True
                raise

        self._sealing = True
        try:
            self._patience.call(attempt, absent_until=self._absent_until)
        except (GaveUp, Absent):
            raise
        except CloudError as refusal:
            if not lost:
                raise
            self._refusal = refusal

    def await_completed(self) -> None:
        """Return when `GOOD_READS` reads in a row say that the snapshot is completed."""
        deadline = self._clock.now() + (COMPLETION_SECONDS if self._refusal is None else PATIENCE_SECONDS)
        pause, longest = POLL_SECONDS
        completed = absent = 0
        while True:
            try:
                seen = self._patience.call(lambda: self._port.describe(self.snapshot_id))
            except Absent:
                completed, absent = 0, absent + 1
                if absent >= GOOD_READS and self._clock.now() >= self._absent_until:
                    raise
            else:
                completed, absent = completed + 1 if seen.completed else 0, 0
                if completed == GOOD_READS:
                    return
                if seen.state == "error":
                    raise CloudError(
                        f"EBS could not complete snapshot {self.snapshot_id}"
                        f" ({seen.state_message or 'it gives no reason'}): run again"
                    )
            if not completed:
                pause = min(longest, pause * 1.5)
                if self._clock.now() >= deadline:
                    raise self._refusal or CloudError(
                        f"snapshot {self.snapshot_id} is still not completed after {COMPLETION_SECONDS / 60:.0f}"
                        " minutes: run again"
                    )
            self._clock.wait(POLL_SECONDS[0] if completed else pause, self._stop)

    def clean_up(self, first: BaseException) -> None:
        """Delete the snapshot unless it is finished (then the next upload adopts it). Raises nothing of its own."""
        if isinstance(first, Absent):
            _add(first, "another upload of the same image may have taken over: run again")
        patience = Patience(self._clock, threading.Event(), seconds=CLEAN_UP_SECONDS)
        try:
            if self._sealing and self._is_completed(patience):
                return
            patience.call(lambda: self._port.delete(self.snapshot_id), absent_until=self._absent_until)
        except Absent:
            return  # which is what we want
        except Exception as second:  # noqa: BLE001 (whatever it is, it must not hide the first error)
            _add(
                first,
                f"snapshot {self.snapshot_id} could not be deleted ({second}): delete it with"
                f" `aws ec2 delete-snapshot --snapshot-id {self.snapshot_id}`",
            )

    def _is_completed(self, patience: Patience) -> bool:
        try:
            return patience.call(lambda: self._port.describe(self.snapshot_id)).completed
        except CloudError:
            return False  # the deletion that follows meets the same trouble, or none


class _Progress:
    """Says how far an upload is, every `PROGRESS_SECONDS` at most."""

    def __init__(self, clock: Clock, say: Callable[[str], None], count: int) -> None:
        self._clock = clock
        self._say = say
        self._count = count
        self._began = self._last = clock.now()

    def tell(self, done: int) -> None:
        now = self._clock.now()
        if now - self._last < PROGRESS_SECONDS:
            return
        self._last = now
        rate = done * blocks.BLOCK_SIZE / (now - self._began) / 1e6
        self._say(f"uploading {100 * done // self._count} % ({done} of {self._count} blocks, {rate:.0f} MB/s)")


def _add(first: BaseException, note: str) -> None:
    """Add a note to an error without hiding it: to the one line that the user sees, if the error has one."""
    if isinstance(first, FleetswapError):
        first.args = (f"{first}; {note}",)
    else:
        first.add_note(note)
