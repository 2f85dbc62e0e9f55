"""How a rollout is asked to end early: requested from any thread, acted on once by the rollout's own."""

from __future__ import annotations

import threading


class Stop:
    """A wish to end. Only the first counts: what follows it must not interrupt the put-back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._why = ""

    def ask(self, why: str) -> None:
        """Wish that the rollout ends, and wake it if it waits. People are told `why`; repeating it is harmless."""
        with self._lock:
            if not self._why:
                self._why = why
                self._wanted.set()

    def take(self) -> str:
        """Why it is to end, told once; empty if it is not."""
        if not self._wanted.is_set():
            return ""
        self._wanted.clear()
        return self._why

    def sleep(self, seconds: float) -> None:
        """Wait; a wish that was not taken yet ends the wait."""
        self._wanted.wait(seconds)
