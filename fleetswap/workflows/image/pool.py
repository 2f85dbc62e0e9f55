"""The threads of a transfer and the buffers they share: how many there are, and when one more is worth its memory.

It does not know what the threads do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from fleetswap.domain.image.blocks import BLOCK_SIZE
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.retry import Stopped

IDLE_SECONDS = 0.05
"""How long a thread that waits for a buffer does so without a look at `stop`."""


SENDING = 3
"""Threads that send at once, as a rule: enough to keep a core busy; more only make each other wait for it."""

STUCK_SECONDS = 0.25
"""If all of those still send after this long, the line is slow or far, and one more may help: on a long way a single
connection does not fill it."""


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


class Pool:
    """Threads that run `work`: preparing a block, then sending it, then waiting for an answer, and again.

    A few at first, and one more whenever none is left that would go on, and what keeps them is waiting and not the
    machine: more threads that send would not send more, as long as each of them gets on.
    """

    def __init__(
        self,
        work: Callable[[], None],
        failed: Callable[[BaseException], None],
        clock: Clock,
        *,
        name: str,
        preparing: int,
        limit: int,
    ) -> None:
        """At most `preparing` threads prepare at once, and `limit` in all. `failed` is told how one ended badly.

        `name` is what the threads' names begin with.
        """
        self._name = name
        self._work = work
        self._failed = failed
        self._clock = clock
        self._limit = limit
        self._preparing = min(preparing, limit)
        self._places: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._preparing):
            self._places.put(None)
        self._threads: list[threading.Thread] = []
        self._sending = 0
        self._waiting = 0
        self._stuck_at = clock.now() + STUCK_SECONDS  # when all that may send at once are taken to be stuck
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the first threads, as many as may prepare."""
        for _ in range(self._preparing):
            with self._lock:
                self._add()

    def join(self) -> None:
        """Wait until all have ended. Nobody may be waiting for something that never comes."""
        for thread in self._threads:  # a thread that is started meanwhile is appended, and waited for as well
            thread.join()

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """A place among the threads that prepare, when there is one."""
        self._places.get()
        try:
            yield
        finally:
            self._places.put(None)

    def sends(self, *, more: bool) -> None:
        """The calling thread begins to send. `more`: another thread would find something to do."""
        with self._lock:
            self._sending += 1
            self._grow(more=more)

    def waits(self, *, more: bool) -> None:
        """The calling thread has sent, and waits for the answer."""
        with self._lock:
            self._sending -= 1
            self._waiting += 1
            self._grow(more=more)

    def asks(self, *, more: bool) -> None:
        """The calling thread waits for an answer, and had nothing to send."""
        with self._lock:
            self._waiting += 1
            self._grow(more=more)

    def back(self) -> None:
        """The calling thread has its answer."""
        with self._lock:
            self._waiting -= 1

    def _grow(self, *, more: bool) -> None:
        if not more or self._sending + self._waiting < len(self._threads) or len(self._threads) >= self._limit:
            return
        now = self._clock.now()
        if self._sending < SENDING or now >= self._stuck_at:
            self._stuck_at = now + STUCK_SECONDS
            self._add()

    def _add(self) -> None:
        # Daemons, so that a second Ctrl-C ends the program even if a name server does not answer.
        thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True)
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
