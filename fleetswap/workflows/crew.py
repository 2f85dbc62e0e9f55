"""The threads of a sender and the buffers they share: how many there are, and when one more is worth its memory.

It never knows what the threads do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from fleetswap.domain.blocks import BLOCK_SIZE
from fleetswap.workflows.retry import Stopped

IDLE_SECONDS = 0.05
"""How long a thread that waits for a buffer does so without a look at `stop`."""


class Buffers:
    """At most `limit` blocks of memory, made when needed. The one given back last is taken first: it is in the cache,
    and the others are perhaps never made.
    """

    def __init__(self, limit: int, stop: threading.Event) -> None:
        """`stop` ends every wait."""
        self._stop = stop
        self._unmade = limit
        self._free: list[bytearray] = []
        self._change = threading.Condition()

    @property
    def available(self) -> bool:
        """Whether `take` would return at once."""
        return bool(self._free) or self._unmade > 0

    def take(self) -> bytearray:
        """A buffer of one block, with whatever was in it, when there is one. Raises `Stopped`."""
        with self._change:
            while not self._free and not self._unmade:
                if self._stop.is_set():
                    raise Stopped
                self._change.wait(IDLE_SECONDS)
            if self._free:
                return self._free.pop()
            self._unmade -= 1
        return bytearray(BLOCK_SIZE)

    def give(self, buffer: bytearray) -> None:
        """Give a buffer back."""
        with self._change:
            self._free.append(buffer)
            self._change.notify()


class Crew:
    """Threads that run `work`, a few at first and one more whenever all of them are `away` from the desk."""

    def __init__(
        self, work: Callable[[], None], failed: Callable[[BaseException], None], *, desk: int, limit: int
    ) -> None:
        """At most `desk` threads are at the desk at once, and `limit` in all. `failed` is told how one ended badly."""
        self._work = work
        self._failed = failed
        self._limit = limit
        self._seats: SimpleQueue[None] = SimpleQueue()
        self._desk = min(desk, limit)
        self._threads: list[threading.Thread] = []
        self._away = 0
        self._lock = threading.Lock()
        for _ in range(self._desk):
            self._seats.put(None)

    def start(self) -> None:
        """Start the first threads, as many as fit at the desk."""
        for _ in range(self._desk):
            with self._lock:
                self._add()

    def join(self) -> None:
        """Wait until all have ended. Nobody may be waiting for something that never comes."""
        for thread in self._threads:  # a thread that is started meanwhile is appended, and waited for as well
            thread.join()

    @contextmanager
    def desk(self) -> Iterator[None]:
        """A seat at the desk, when there is one."""
        self._seats.get()
        try:
            yield
        finally:
            self._seats.put(None)

    def away(self, *, more: bool) -> None:
        """The calling thread is going to wait. If none is left then, and there is `more` to do, another is started."""
        with self._lock:
            self._away += 1
            if more and self._away == len(self._threads) < self._limit:
                self._add()

    def back(self) -> None:
        """The calling thread waits no more."""
        with self._lock:
            self._away -= 1

    def _add(self) -> None:
        # Daemons, so that a second Ctrl-C ends the program even if a name server does not answer.
        thread = threading.Thread(target=self._run, name=f"send-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # "can't start new thread": those that there are must do
            if not self._threads:
                raise
            self._limit = len(self._threads)
        else:
            self._threads.append(thread)

    def _run(self) -> None:
        try:
            self._work()
        except Stopped:
            pass  # whoever stopped it has the reason
        except BaseException as error:  # noqa: BLE001 (told to whoever waits for the threads)
            self._failed(error)
