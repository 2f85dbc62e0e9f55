"""Watches the weights of a stack's listener while something else goes on."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from botocore.exceptions import BotoCoreError, ClientError

from tests.e2e.stack import LocalStack


class Weights:
    """`seen` are the weights, each time that they were others than before; releases without any are left out."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seen: list[dict[str, int]] = []

    def __enter__(self) -> Weights:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

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

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                weights = self._stack.weights()
            except (BotoCoreError, ClientError):
                continue  # it was told to fail
            if not self.seen or weights != self.seen[-1]:
                self.seen.append(weights)
            time.sleep(0.1)
