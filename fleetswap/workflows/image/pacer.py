"""Lets requests go one at a time, when the pace allows it, from any number of threads.

It counts the requests in flight and reports the outcome of each to the pace. `fleetswap.domain.image.pace` decides how
fast they go; whoever sends decides what is retried.
"""

from __future__ import annotations

import threading

from fleetswap.domain.errors import NotFound, Throttled, TryAgain
from fleetswap.domain.image.pace import Pace
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.retry import Stopped


class Pacer:
    """Lets the requests of one uploader or reader go. Safe to use from several threads.

    Each request that was let go is ended by `acknowledged` or `failed`, with its epoch, unless everything ends.
    """

    def __init__(self, clock: Clock, stop: threading.Event, *, least_wait: float = 0.0) -> None:
        """`stop` ends every wait. `least_wait` is in seconds: no wait is shorter."""
        self._clock = clock
        self._stop = stop
        self._least_wait = least_wait
        self._turn = threading.Lock()  # one at a time waits for the pace
        self._lock = threading.Lock()  # of what follows
        self._on_their_way = 0
        self.pace = Pace(clock.now())

    def take(self) -> int:
        """Return when the pace lets a request go, with its epoch. Raises `Stopped`."""
        with self._turn:
            while True:
                if self._stop.is_set():
                    raise Stopped
                with self._lock:
                    seconds = self.pace.ask(self._clock.now(), self._on_their_way)
                    if seconds <= 0:
                        self._on_their_way += 1
                        return self.pace.epoch
                self._clock.sleep(max(seconds, self._least_wait), self._stop)

    def acknowledged(self, epoch: int) -> None:
        """A request that was let go in `epoch` succeeded."""
        with self._lock:
            self._on_their_way -= 1
            self.pace.acknowledged(self._clock.now(), epoch)

    def failed(self, error: TryAgain | NotFound, now: float, epoch: int) -> bool:
        """A request that was let go in `epoch` failed at `now`: whether it was throttled."""
        throttled = isinstance(error, Throttled)
        with self._lock:
            self._on_their_way -= 1
            if throttled:
                self.pace.throttled(now, epoch)
            else:
                self.pace.failed()
        return throttled
