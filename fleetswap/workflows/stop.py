"""How a rollout is asked to end early: requested from any thread, acted on once by the rollout's own."""

from __future__ import annotations

import threading


class Stop:
    """A request to end a rollout. Only the first counts: later ones must not interrupt the restore."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._why = ""

    def ask(self, why: str) -> None:
        """Request that the rollout ends, and wake it if it waits. `why` is shown to people; safe to repeat."""
        with self._lock:
            if not self._why:
                self._why = why
                self._wanted.set()

    @property
    def is_wanted(self) -> bool:
        """Whether there is a wish that was not taken yet."""
        return self._wanted.is_set()

    def take(self) -> str:
        """Why it is to end, returned once; empty if it is not."""
        if not self._wanted.is_set():
            return ""
        self._wanted.clear()
        return self._why

    def sleep(self, seconds: float) -> None:
        """Wait; a wish that was not taken yet ends the wait."""
        self._wanted.wait(seconds)
