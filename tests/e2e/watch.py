"""Watches a stack while something else goes on."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from botocore.exceptions import BotoCoreError, ClientError

from tests.e2e.stack import LocalStack


class Watcher:
    """Looks again and again in a thread of its own, within a context; what is told to fail is looked at again."""

    PAUSE = 0.2
    """Seconds between two looks."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def look(self) -> None:
        """Look once."""
        raise NotImplementedError

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except (BotoCoreError, ClientError):
                continue
            time.sleep(self.PAUSE)


class Weights(Watcher):
    """`seen` are the weights, each time that they were others than before; releases without any are left out."""

    def __init__(self, stack: LocalStack) -> None:
        super().__init__()
        self._stack = stack
        self.seen: list[dict[str, int]] = []

    def parts(self) -> list[tuple[int, ...]]:
        """The weights without the releases, the smallest first."""
        return [tuple(sorted(weights.values())) for weights in self.seen]

    def wait_for(self, *parts: int, seconds: float) -> bool:
        """Wait until these are the weights; whether they ever were."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.seen and tuple(sorted(self.seen[-1].values())) == parts:
                return True
            time.sleep(0.02)
        return False

    def look(self) -> None:
        """What the weights are now."""
        weights = self._stack.weights()
        if not self.seen or weights != self.seen[-1]:
            self.seen.append(weights)
