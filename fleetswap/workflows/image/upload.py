"""Puts a disk image into a completed EBS snapshot: adopts one, or chooses a parent, starts, sends, completes.

It decides the order of the steps and what remains: after a failure no pending snapshot of this run (unless it is to be
resumed), and it names whatever could not be cleaned up. It never touches a completed snapshot, and never calls AWS
itself.

    adopt, join or start (`acquire`, `parent`) → send the missing blocks (`send`) → send manifest and map → `complete`

If it is killed at any moment, the next run of the same request resumes: it finds the snapshot by its tags and its
client token, and the acknowledged blocks in the local journal. Two runs at once write the same blocks into the same
snapshot. Whichever completes it first does so with the count and the checksum of every block, so either it is the image
or EBS refuses it, and the other run adopts it. If a snapshot is deleted during a run, the run starts over, up to
`ATTEMPTS` times.

The image's identity is not proved here: many threads read the blocks once, in any order, and a digest of the whole
would take a second pass. Whoever names an image by its content has just read all of it. From the moment the file is
opened until it is sent, `ImageFile.check_unchanged` detects changes, and a run that resumes hashes every block again.

Memory: what `send` takes, plus 33 bytes per block of the image, 32 more with a parent, 9 more if a journal is read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fleetswap.domain.errors import CloudError, Invalid, NotFound
from fleetswap.domain.image import blockmap, manifest
from fleetswap.domain.image.blockmap import Encoded, Layout
from fleetswap.domain.image.blocks import BLOCK_SIZE, block_count
from fleetswap.domain.image.lineage import Plan
from fleetswap.domain.image.meter import Progress
from fleetswap.domain.image.snapshots import Snapshot
from fleetswap.workflows.clock import Clock, SystemClock
from fleetswap.workflows.image.acquire import GENERATIONS, Acquisition, Claim
from fleetswap.workflows.image.adopt import Proof
from fleetswap.workflows.image.complete import Completion, Target
from fleetswap.workflows.image.hashes import Hashes
from fleetswap.workflows.image.image_file import ImageFile
from fleetswap.workflows.image.journal import Journal
from fleetswap.workflows.image.parent import Search
from fleetswap.workflows.image.ports import Puts, Snapshots
from fleetswap.workflows.image.promote import Copies
from fleetswap.workflows.image.request import HOLES, UploadRequest
from fleetswap.workflows.image.send import BUFFERS, CONNECTIONS, Sender
from fleetswap.workflows.retry import Patience

FIRST_PATIENCE_SECONDS = 30.0
"""Silence until the first answer: a wrong endpoint or region is likelier then than an outage."""

PATIENCE_SECONDS = 300.0
"""Silence after which an upload is given up; longer than the two minutes for which a snapshot may "not exist"."""

ATTEMPTS = 3
"""Snapshots that are written before a run gives way to whoever deletes them."""


@dataclass(frozen=True)
class Uploaded:
    """A finished snapshot of the image."""

    snapshot_id: str
    volume_gib: int
    blocks: int
    """Blocks of the image."""

    bytes_sent: int
    seconds: float
    adopted: bool
    """It was there already, or another run finished it."""

    blocks_sent: int = 0
    """Blocks that this run had acknowledged, the manifest's and the map's too."""

    parent: str | None = None
    throttled: int = 0
    retried: int = 0
    resumed: bool = False
    """This run went on in a snapshot that another had begun."""


def upload(
    image: ImageFile,
    request: UploadRequest,
    port: Snapshots,
    puts: Puts,
    say: Callable[[str], None],
    *,
    progress: Callable[[Progress], None] | None = None,
    clock: Clock | None = None,
    connections: int = CONNECTIONS,
) -> Uploaded:
    """Return a finished snapshot of the image, made now or by an earlier upload of the same stack.

    What was looked at since `image` was opened is what is sent, or it raises. To repeat it is harmless: what is
    finished is adopted, what was left unfinished is gone on with or deleted. `say` gets what is decided, `progress` the
    figures, several times a second, both on the calling thread. Raises `InputError` before anything is created,
    `CloudError` if AWS refuses or is silent for `PATIENCE_SECONDS`, `FleetswapError` if the image changes.
    """
    return Upload(request, image, port, puts, say, progress, clock or SystemClock(), connections).run()


class Upload:
    """One run: what its steps share."""

    def __init__(
        self,
        request: UploadRequest,
        image: ImageFile,
        port: Snapshots,
        puts: Puts,
        say: Callable[[str], None],
        progress: Callable[[Progress], None] | None,
        clock: Clock,
        connections: int,
        *,
        hashes: Hashes | None = None,
        buffers: int = BUFFERS,
        resumable: tuple[type[BaseException], ...] = (),
    ) -> None:
        """See `upload`. `hashes` are shared with other uploads of the image that run now. What fails as one of
        `resumable` leaves its unfinished snapshot to the next run.
        """
        self._image = image
        self._hashes = hashes
        self._buffers = buffers
        self._resumable = resumable
        self.snapshot_id: str | None = None
        """The snapshot that is written to, or was."""
        self._port = port
        self._puts = puts
        self._say = say
        self._clock = clock
        self._connections = connections
        self._began = clock.now()
        self._layout = blockmap.layout(image.size)
        self._request = request if self._has_room(request.manifest) else replace(request, manifest=b"")
        self._figures = _Figures(progress)

    def _has_room(self, data: bytes) -> bool:
        """Whether the manifest fits between image and map. A larger volume for its sake would cost more than it is
        worth: what was uploaded before would not be adopted, and a root volume of the settings be too small.
        """
        fits = block_count(len(data)) <= self._layout.free
        if not fits:
            volume = f"the volume of {self._layout.volume_gib} GiB"
            self._say(f"leaving out the manifest: behind the image, {volume} has no room for it")
        return fits

    def run(self) -> Uploaded:
        """Acquire, fill and complete; again if the snapshot is deleted meanwhile, or holds what was not sent."""
        copies = self._copies()
        try:
            uploaded = self._run(self._acquisition(copies))
        except BaseException as error:
            if not isinstance(error, self._resumable):  # the next run needs the parent of what is left unfinished
                copies.clean_up()
            raise
        copies.clean_up()
        return uploaded

    def _run(self, acquisition: Acquisition) -> Uploaded:
        join, gone, written = True, None, 0
        for _ in range(ATTEMPTS + GENERATIONS):
            target = acquisition.acquire(join=join)
            if isinstance(target, Snapshot):
                self._say(f"snapshot {target.snapshot_id} already has this image: nothing to send")
                return self._uploaded(target.snapshot_id, target.volume_gib, adopted=True)
            sent = self._figures.all.blocks
            try:
                return self._fill(target)
            except NotFound as error:
                gone = error
                # One that took no block was gone before: its client token is an old one.
                written += self._figures.all.blocks > sent
                if written == ATTEMPTS:
                    break
                self._say(f"snapshot {target.snapshot_id} was deleted in the meantime: starting over")
            except Invalid as error:
                if not (join and target.shared):
                    raise
                join = False
                self._say(f"snapshot {target.snapshot_id} contained other blocks ({error}): starting over")
            self._figures.next()
            acquisition.lost(target.snapshot_id)
        raise CloudError(
            f"{written} snapshots of {self._request.identity} were deleted while they were written: another upload of"
            " it is at work with other settings; run again when it is done"
        ) from gone

    def _patience(self) -> Patience:
        return Patience(self._clock, threading.Event(), seconds=FIRST_PATIENCE_SECONDS)

    def _copies(self) -> Copies:
        def waiting(what: str) -> None:
            self._figures.tell(Progress(total=self._layout.count, trouble=what))

        return Copies(
            self._request,
            self._layout,
            self._image,
            self._port,
            self._patience,
            self._clock,
            self._say,
            waiting,
        )

    def _acquisition(self, copies: Copies) -> Acquisition:
        request, clock, patience = self._request, self._clock, self._patience
        wanted = request.wanted(self._layout.volume_gib)
        stacks = (request.stack, *request.trusted_stacks)
        return Acquisition(
            request,
            self._layout,
            self._port,
            Search(self._port, patience, self._image, wanted, stacks=stacks, samples=request.samples, copies=copies),
            Proof(self._port, patience, clock, self._say),
            patience=patience,
            starting=Patience(clock, threading.Event(), seconds=PATIENCE_SECONDS),
            clock=clock,
            say=self._say,
        )

    def _fill(self, target: Target) -> Uploaded:
        """Send what the snapshot lacks and complete it. Whatever happens, no unfinished snapshot is left behind."""
        request, layout = self._request, self._layout
        self.snapshot_id = target.snapshot_id
        parent_id = target.parent.snapshot_id if target.parent is not None else None
        completion = Completion(target, self._port, self._clock, seconds=PATIENCE_SECONDS)
        plan = Plan(
            layout,
            target.parent.block_map if target.parent is not None else None,
            is_hole=self._image.is_hole if request.sparse == HOLES else None,
        )
        with Journal(
            request.journal,
            snapshot_id=target.snapshot_id,
            plan=f"{layout.size} {parent_id} {request.sparse}",
            blocks=layout.count,
            tell=self._say,
        ) as journal:
            try:
                beside = f", sending only those that differ from {parent_id}" if parent_id is not None else ""
                blocks = f"{layout.count} blocks of 512 KiB{beside}"
                self._say(f"uploading {self._image.path.name} to snapshot {target.snapshot_id}: {blocks}")
                finished_by_another = self._send_and_complete(target, plan, journal, completion)
            except BaseException as first:
                if not isinstance(first, self._resumable) and completion.clean_up(first):
                    journal.forget()
                raise
            journal.forget()
        if finished_by_another:
            self._say(f"another upload completed snapshot {target.snapshot_id}")
            return self._uploaded(target.snapshot_id, layout.volume_gib, adopted=True)
        return self._uploaded(target.snapshot_id, layout.volume_gib, parent=parent_id, resumed=target.shared)

    def _send_and_complete(self, target: Target, plan: Plan, journal: Journal, completion: Completion) -> bool:
        """Whether another run has finished the snapshot; else this one has."""
        try:
            behind = self._send(target, plan, journal)
        except Invalid as refusal:
            if not completion.completed_by_another(refusal):
                raise
            return True
        completion.complete(plan.written + len(behind), plan.checksum(behind))
        return False

    def _send(self, target: Target, plan: Plan, journal: Journal) -> Mapping[int, bytes]:
        """Send the image's blocks, then manifest and map, and return the digests of these two's blocks by index."""
        digests: dict[int, bytes] = {}
        claim = Claim(target.snapshot_id, self._port, self._clock, self._say)
        claim.attempt()

        def tell(now: Progress) -> None:
            claim.attempt()
            self._figures.tell(now)

        stop = threading.Event()

        def wanted_behind(index: int, digest: bytes) -> bool:
            digests[index] = digest
            return True

        with Sender(
            self._puts,
            target.snapshot_id,
            patience=Patience(self._clock, stop, seconds=PATIENCE_SECONDS),
            clock=self._clock,
            absent_until=target.absent_until,
            stop=stop,
            connections=self._connections,
            buffers=self._buffers,
        ) as sender:
            sender.run(
                self._image,
                plan.indexes(),
                wanted=lambda index, digest: plan.wants(index, digest) and not journal.has(index, digest),
                acknowledged=journal.add,
                tell=tell,
                hashes=self._hashes,
            )
            self._image.check_unchanged()
            self._figures.next()
            request = self._request
            block_map = plan.block_map(target.snapshot_id, request.identity, manifest.seal(request.manifest))
            behind = BehindImage(request.manifest, Encoded(block_map), self._layout)
            sender.run(
                behind,
                behind.indexes,
                wanted=wanted_behind,
                acknowledged=lambda _index, _digest: None,
                tell=tell,
            )
        self._figures.next()
        return digests

    def _uploaded(
        self,
        snapshot_id: str,
        volume_gib: int,
        *,
        adopted: bool = False,
        parent: str | None = None,
        resumed: bool = False,
    ) -> Uploaded:
        figures = self._figures.all
        return Uploaded(
            snapshot_id,
            volume_gib,
            self._layout.count,
            figures.bytes,
            self._clock.now() - self._began,
            adopted,
            blocks_sent=figures.blocks,
            parent=parent,
            throttled=figures.throttled,
            retried=figures.retried,
            resumed=resumed,
        )


class BehindImage:
    """Manifest and map as `Sender` reads them, under the indexes that they have on the volume."""

    def __init__(self, data: bytes, encoded: Encoded, layout: Layout) -> None:
        self._data = data
        self._encoded = encoded
        self._map_first = layout.map_first
        self.indexes = range(layout.map_first - block_count(len(data)), layout.map_indexes.stop)

    def read(self, index: int, into: bytearray) -> None:
        """Fill `into` with the block of this index."""
        if index >= self._map_first:
            self._encoded.fill(index - self._map_first, into)
        else:
            at = (index - self.indexes.start) * BLOCK_SIZE
            into[:] = manifest.padded(self._data[at : at + BLOCK_SIZE])

    def is_zero(self, index: int) -> bool:  # noqa: ARG002 (as of any source)
        """Nobody knows."""
        return False

    def check_unchanged(self) -> None:
        """Nothing can change it."""


class _Figures:
    """Adds up what `Sender` tells."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self._progress = progress
        self._before = Progress()
        self.all = Progress()
        """Of all that the run has sent: `done` and `total` are of the image and of what came after it."""

    def tell(self, now: Progress) -> None:
        """Called by the sender, on the calling thread."""
        before = self._before
        self.all = before + now
        if self._progress is not None:
            self._progress(self.all)

    def next(self) -> None:
        """What is told from here on comes on top."""
        self._before = self.all
