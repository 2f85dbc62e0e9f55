"""Uploads one image to several destinations at once, regions or accounts: hashed once, sent everywhere.

It decides who waits for whom. Each destination is an upload of its own (`upload`), with its own parent, pace, journal,
retries and completion, on a thread of its own; all they share is the open file and the digests of its blocks
(`hashes`). So none holds up another: one that is behind reads again, from the file, the blocks that its snapshot does
not have. Why not the others' buffers: docs/decisions/0050-hash-once-send-everywhere.md.

What fails stays with its destination. If that was silence, its unfinished snapshot is left, and the next run resumes
it.

Memory: that of an upload for each destination, but the buffers of all are about as many as those of one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.image import blockmap
from fleetswap.domain.image.meter import Progress
from fleetswap.domain.text import one_line
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.image.complete import add_note
from fleetswap.workflows.image.hashes import Hashes
from fleetswap.workflows.image.image_file import ImageFile
from fleetswap.workflows.image.ports import Puts, Snapshots
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.send import BUFFERS, CONNECTIONS, TELL_SECONDS
from fleetswap.workflows.image.upload import Upload, Uploaded
from fleetswap.workflows.retry import GaveUp

FEWEST_BUFFERS = 8
"""Of a destination. More blocks than that seldom wait for the line at once."""

MOST_CONNECTIONS = 640
"""Of all destinations: each is a file descriptor, of which a process may have 1,024 as a rule (`ulimit -n`)."""

LATE_SECONDS = 60.0
"""The least time that the others have after the first destination is done, where that is not to wait for them."""

CANCELLED = "cancelled"


@dataclass(frozen=True)
class Destination:
    """Where an image is to be: what its snapshot there is to be, and the way there."""

    name: str
    """The region, or whatever tells it from the others, as progress and errors say it."""

    request: UploadRequest
    port: Snapshots
    puts: Puts
    connections: int = CONNECTIONS


@dataclass(frozen=True)
class Failed:
    """A destination that does not have the image."""

    error: BaseException
    snapshot_id: str | None = None
    """The snapshot that was written to last, if there was one."""

    def __str__(self) -> str:
        """One line: the snapshot, and what went wrong."""
        known = isinstance(self.error, FleetswapError)
        told = str(self.error) if known else f"{type(self.error).__name__}: {one_line(self.error)}"
        return f"snapshot {self.snapshot_id}: {told}" if self.snapshot_id and self.snapshot_id not in told else told


class Late(FleetswapError):
    """An upload was stopped because nobody waits for it any longer; the next run resumes it."""


def fan_out(
    image: ImageFile,
    destinations: Sequence[Destination],
    say: Callable[[str], None],
    *,
    progress: Callable[[Mapping[str, Progress]], None] = lambda _now: None,
    ended: Callable[[str, Uploaded | Failed], None] = lambda _name, _outcome: None,
    clock: Clock,
    wait: bool = True,
) -> list[Uploaded | Failed]:
    """Upload the image to all `destinations`, and return what became of each, in their order.

    `say` gets lines that begin with the destination's name, `progress` the figures of all that have any, by name, and
    `ended` each outcome as it happens; all on the calling thread. What one of these raises, and Ctrl-C, ends all
    uploads as it ends a single one, and is raised when they have ended. Without `wait`, the others have as much time
    again as the first took, or `LATE_SECONDS`; what is not done then has `Failed` with `Late`.

    To repeat it is harmless, as it is for `upload`.
    """
    return _FanOut(image, destinations, say, progress, ended, clock).run(wait=wait)


class _Cancelled(FleetswapError):
    """The whole run was ended."""


class _Halt:
    """A reason to end one upload, raised once, in whichever of its threads looks first: what it does to clean up must
    not be ended as well.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def ask(self, error: BaseException) -> None:
        """End it."""
        with self._lock:
            self._error = error

    def check(self) -> None:
        """Raise the reason, if there is one that was not raised yet."""
        with self._lock:
            error, self._error = self._error, None
        if error is not None:
            raise error


class _HaltedClock:
    """A clock whose waits end with the reason to end."""

    def __init__(self, clock: Clock, halt: _Halt) -> None:
        self._clock = clock
        self._halt = halt

    def now(self) -> float:
        return self._clock.now()

    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
        self._clock.sleep(seconds, stop)
        self._halt.check()


class _FanOut:
    """One run."""

    def __init__(
        self,
        image: ImageFile,
        destinations: Sequence[Destination],
        say: Callable[[str], None],
        progress: Callable[[Mapping[str, Progress]], None],
        ended: Callable[[str, Uploaded | Failed], None],
        clock: Clock,
    ) -> None:
        self._image = image
        self._destinations = destinations
        self._say = say
        self._progress = progress
        self._ended = ended
        self._clock = clock
        self._hashes = Hashes(blockmap.layout(image.size).count)
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()  # what the calling thread is to do
        self._halts = [_Halt() for _ in destinations]
        self._figures: dict[str, Progress] = {}
        self._outcomes: dict[int, Uploaded | Failed] = {}

    def run(self, *, wait: bool) -> list[Uploaded | Failed]:
        threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"upload-{each.name}", daemon=True)
            for number, each in enumerate(self._destinations)
        ]
        began, late_at = self._clock.now(), float("inf")
        try:
            for thread in threads:
                thread.start()
            while len(self._outcomes) < len(threads):
                self._attend()
                now = self._clock.now()
                if not wait and late_at == float("inf") and 0 in self._outcomes:
                    late_at = now + max(LATE_SECONDS, now - began)
                if now >= late_at:
                    self._halt("it was not done when the deployment had to go on")
                    late_at = float("inf")
                    wait = True
        except BaseException as error:
            self._cancel(threads, error)
            raise
        return [self._outcomes[number] for number in range(len(threads))]

    def _cancel(self, threads: Sequence[threading.Thread], error: BaseException) -> None:
        """End all uploads for this reason, which gets a note for each snapshot that could not be deleted."""
        reasons = [_Cancelled(CANCELLED) for _ in self._halts]
        for halt, reason in zip(self._halts, reasons, strict=True):
            halt.ask(reason)
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        for each, reason in zip(self._destinations, reasons, strict=True):
            if note := str(reason).removeprefix(CANCELLED).removeprefix("; "):
                add_note(error, f"{each.name}: {note}")

    def _attend(self) -> None:
        """Do what the uploads have asked for since, or wait a moment for that."""
        try:
            event = self._events.get(timeout=TELL_SECONDS)
        except Empty:
            return
        event()

    def _halt(self, why: str) -> None:
        for number, halt in enumerate(self._halts):
            if number not in self._outcomes:
                halt.ask(Late(why))

    def _serve(self, number: int) -> None:
        """What the thread of a destination does."""
        each, halt = self._destinations[number], self._halts[number]

        def say(line: str) -> None:
            self._events.put(partial(self._say, f"{each.name}: {line}"))

        def tell(now: Progress) -> None:
            halt.check()
            self._events.put(partial(self._tell, each.name, now))

        count = len(self._destinations)
        upload = None
        outcome: Uploaded | Failed
        try:
            upload = Upload(
                each.request,
                self._image,
                each.port,
                each.puts,
                say,
                tell,
                _HaltedClock(self._clock, halt),
                max(1, min(each.connections, MOST_CONNECTIONS // count)),
                hashes=self._hashes,
                buffers=max(FEWEST_BUFFERS, BUFFERS // count),
                resumable=(GaveUp, Late),
            )
            outcome = upload.run()
        except BaseException as error:  # noqa: BLE001 (told to whoever waits; the others go on)
            outcome = Failed(error, upload.snapshot_id if upload is not None else None)
        self._events.put(partial(self._end, number, outcome))

    def _tell(self, name: str, now: Progress) -> None:
        self._figures[name] = now
        self._progress(self._figures)

    def _end(self, number: int, outcome: Uploaded | Failed) -> None:
        self._outcomes[number] = outcome
        self._ended(self._destinations[number].name, outcome)
