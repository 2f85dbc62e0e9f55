"""Runs the `pulumi` on PATH: selects a stack, reads its outputs, previews and updates it.

It knows nothing about releases. The output of pulumi goes to standard error, like our own progress.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.text import one_line

STDERR = 2
"""Where pulumi's own words go, by number: what stands for `sys.stderr` may be no file."""


class EngineError(FleetswapError):
    """pulumi failed and has printed why; its exit status becomes ours."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_status = status


@dataclass(frozen=True)
class Engine:
    """pulumi, for one project."""

    program: str
    folder: Path

    def selected(self) -> str:
        """The selected stack. Raises `EngineError`."""
        return self._ask(None, "stack", "--show-name", "--non-interactive").strip()

    def outputs(self, stack: str) -> dict[str, Any]:
        """The outputs of a stack. Raises `EngineError`."""
        answer = self._ask(stack, "stack", "output", "--json", "--non-interactive")
        try:
            outputs = json.loads(answer)
        except ValueError as error:
            raise EngineError(
                f"cannot read the outputs of stack {stack}: `pulumi stack output` did not print JSON", 1
            ) from error
        return outputs if isinstance(outputs, dict) else {}

    def stacks(self) -> list[dict[str, Any]]:
        """All stacks of the backend, of whatever project, as `pulumi stack ls` tells them. Raises `EngineError`."""
        found: list[dict[str, Any]] = self._json(list, "stack", "ls", "--all", "--json", "--non-interactive")
        return found

    def state(self, stack: str) -> dict[str, Any]:
        """The state of a stack, its secrets sealed. Raises `EngineError`."""
        found: dict[str, Any] = self._json(dict, "stack", "export", "--stack", stack, "--non-interactive")
        return found

    def _json(self, kind: type, *words: str) -> Any:  # noqa: ANN401 (JSON)
        """What pulumi prints as JSON of this kind. Raises `EngineError`."""
        answer = self._ask(None, *words)
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        if not isinstance(found, kind):
            raise EngineError(f"`pulumi {' '.join(words[:2])}` did not print the JSON that it should", 1)
        return found

    def set(self, stack: str, key: str, value: str) -> None:
        """Write one setting of the stack. Raises `EngineError`."""
        self._ask(stack, "config", "set", key, value, "--non-interactive")

    def run(self, stack: str, *words: str) -> int:
        """Run it with its output visible to the user, and return its exit status as a shell would.

        It is never left alone: Ctrl-C reaches it from the terminal too, and it first ends the operation that it is in.
        The interruption is raised when it has ended.
        """
        plain = [] if sys.stderr.isatty() else ["--non-interactive", "--suppress-progress"]
        command = [self.program, *words, "--stack", stack, *plain]
        interrupted: KeyboardInterrupt | None = None
        with subprocess.Popen(command, cwd=self.folder, stdout=STDERR) as process:
            while True:
                try:
                    status = _as_shell(process.wait())
                    break
                except KeyboardInterrupt as end:
                    interrupted = interrupted or end
                    if hasattr(end, "number"):  # a SIGTERM (`fleetswap.cli.app.Ended`) has reached only us
                        process.send_signal(signal.SIGINT)
        if interrupted is not None:
            interrupted.add_note(f"pulumi {words[0]} exited with status {status}")
            raise interrupted
        return status

    def _ask(self, stack: str | None, *words: str) -> str:
        command = [self.program, *words, *(["--stack", stack] if stack is not None else [])]
        done = subprocess.run(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            why = one_line(done.stderr or done.stdout).removeprefix("error: ")
            asked = " ".join(words[:2])
            raise EngineError(f"`pulumi {asked}` failed: {why or 'no message'}", _as_shell(done.returncode))
        return done.stdout


def find(folder: Path, otherwise: str = "") -> Engine:
    """The pulumi on PATH, or `InputError`: `otherwise` is what can be done without it."""
    program = shutil.which("pulumi")
    if program is None:
        raise InputError(f"`pulumi` is not on PATH: install it{otherwise}")
    return Engine(program, folder)


def _as_shell(status: int) -> int:
    return status if status >= 0 else 128 - status
