"""The guardian: a process beside a rollout that ends it properly if the rollout's own process is killed.

At a second Ctrl-C, the engine kills its providers after 5 seconds (Pulumi's `plugin.go`), and a canceled CI job is
killed about as soon: too early to restore the weights. So each rollout has a process in its own session, which neither
the terminal's signals nor the engine's kill reach. Through a pipe it reads the rollout's inputs and then every state,
before the state's action is performed. If the pipe closes without a final message, the provider is dead, and the
guardian continues from the last state, as the same run (`workflows.rollout.run.take_up`). It does what the provider
would have done after a first Ctrl-C, notifies the same people, and leaves alone what a newer rollout has started.

This module is the provider's end of the pipe; `fleetswap_pulumi.guardian_process` runs in that process.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleetswap.domain.rollout.state import State

SEND_SECONDS = 2.0
"""How long a guardian may take to make room in the pipe. It is idle, so only one that is held up takes that long."""

PARTING_SECONDS = 5.0
"""How long a guardian may take to go when the rollout is over; it only has to read a word."""


class Guardian:
    """The provider's end. If the guardian fails, the rollout continues; then only the dead man's switch remains."""

    def __init__(self, props: dict[str, Any]) -> None:
        """Start one for the rollout with these inputs, which hold no secret."""
        terminal = _terminal()
        try:
            # In the folder that the provider runs in: paths in the environment (AWS_CONFIG_FILE) may be relative to it.
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                [sys.executable, "-m", "fleetswap_pulumi.guardian_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if terminal is None else terminal,
                bufsize=0,
                start_new_session=True,
            )
        except OSError:
            self._process = None
            return
        finally:
            if terminal is not None:
                os.close(terminal)
        # A guardian that is held up must not hold up the rollout.
        os.set_blocking(self._pipe(self._process).fileno(), False)
        self._send(props)

    def keep(self, state: State) -> None:
        """Send the state, before its action is performed."""
        self._send(state)

    def dismiss(self) -> None:
        """The rollout is over: the guardian exits. Safe to repeat."""
        self._send(None)
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            self._pipe(process).close()
        try:
            process.wait(PARTING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _send(self, what: object) -> None:
        process = self._process
        if process is None:
            return
        try:
            _write(self._pipe(process).fileno(), pickle.dumps(what))
        except Exception:  # noqa: BLE001 - it is dead, or does not read: half a state is worse than no guardian
            self._process = None
            process.kill()
            process.wait()
            with contextlib.suppress(OSError):
                self._pipe(process).close()

    @staticmethod
    def _pipe(process: subprocess.Popen[bytes]) -> IO[bytes]:
        if process.stdin is None:
            raise TypeError("a guardian has a pipe")
        return process.stdin


@contextlib.contextmanager
def guarded(props: dict[str, Any]) -> Iterator[Guardian]:
    """A guardian for the duration of a rollout, however that ends."""
    guardian = Guardian(props)
    try:
        yield guardian
    finally:
        guardian.dismiss()


def _write(pipe: int, frame: bytes) -> None:
    """Write all of it, or raise `OSError`."""
    deadline = time.monotonic() + SEND_SECONDS
    left = memoryview(frame)
    while left:
        _, ready, _ = select.select([], [pipe], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError("the guardian does not read")
        left = left[os.write(pipe, left) :]


def _terminal() -> int | None:
    """The terminal of whoever deploys, if there is one: the guardian speaks when nothing else is left to do so."""
    try:
        return os.open("/dev/tty", os.O_WRONLY | os.O_NOCTTY)
    except OSError:
        return None
