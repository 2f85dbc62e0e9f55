"""A command that a hook runs: a process group of its own, which never outlives its time.

It decides nothing about the rollout, and keeps only the end of what the command writes, however much that is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from fleetswap.domain.rollout.moments import HookResult

TAIL_BYTES = 8192
"""How much of the output is kept."""

POLL_SECONDS = 0.05
"""How often a command is asked whether it has ended. It is not waited for: its group could then no longer be killed
without the risk that the number has been given to another one."""

DRAIN_SECONDS = 1.0
"""How long the rest of the output may take once the group is dead: what has left the group may hold the pipe."""


class Command:
    """One run. Everything that it starts in its group is killed when it ends, at its time, and by `stop`."""

    def __init__(
        self,
        arguments: Sequence[str],
        document: bytes,
        *,
        environment: Mapping[str, str],
        timeout: float,
        words: Callable[[bytes], str],
    ) -> None:
        """Start it, in the present folder, without a shell. `words` makes one line of the end of its output."""
        self.done = threading.Event()
        self.result: HookResult | None = None
        self._stop = threading.Event()
        self._words = words
        self._tail = b""
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            self._end(HookResult(ok=False, words=words(f"{arguments[0]} cannot be started: {why}".encode())))
            return
        self._beside(self._feed, document)
        self._reader = self._beside(self._read)
        self._beside(self._watch, time.monotonic() + timeout)

    def stop(self) -> None:
        """Kill it, if it still runs. Does not wait."""
        self._stop.set()

    @staticmethod
    def _beside(what: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        thread.start()
        return thread

    def _feed(self, document: bytes) -> None:
        """A command need not read what it is told."""
        stdin = self._process.stdin
        if stdin is None:
            raise TypeError("a command has an input")
        with contextlib.suppress(OSError):
            stdin.write(document)
        with contextlib.suppress(OSError):
            stdin.close()

    def _read(self) -> None:
        stdout = self._process.stdout
        if stdout is None:
            raise TypeError("a command has an output")
        with stdout:
            while part := os.read(stdout.fileno(), 65_536):
                self._tail = (self._tail + part)[-TAIL_BYTES:]

    def _watch(self, deadline: float) -> None:
        pid, late = self._process.pid, False
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            late = time.monotonic() >= deadline
            if late or self._stop.wait(POLL_SECONDS):
                break
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        status = self._process.wait()
        self._reader.join(DRAIN_SECONDS)
        said = self._words(self._tail)
        if late or status == 0:
            self._end(HookResult(ok=not late, words=said if late else "", late=late))
            return
        how = f"exit status {status}" if status > 0 else f"ended by signal {-status}"
        self._end(HookResult(ok=False, words=": ".join(part for part in (how, said) if part)))

    def _end(self, result: HookResult) -> None:
        self.result = result
        self.done.set()
