"""Tells one process from another that got its pid later, and ends what was recorded.

Decides nothing. A record is a line `PID START` with the start time that /proc/PID/stat gives (proc(5), field 22, in
clock ticks since boot): the pair names one process for as long as the machine is up.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process of this boot."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this pid now; None if none has, or only a zombie."""
        try:
            # The command's name stands in brackets and may hold anything, so the fields are counted from its end.
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]))

    @classmethod
    def parse(cls, line: str) -> Process | None:
        """The process of a record; None for a line that is not one."""
        words = line.split()
        if len(words) != 2 or not all(word.isdigit() for word in words):
            return None
        return cls(int(words[0]), int(words[1]))

    def record(self) -> str:
        """The line that names this process."""
        return f"{self.pid} {self.start}\n"

    @property
    def alive(self) -> bool:
        """Whether the process still runs; a later one with its pid does not count."""
        return Process.of(self.pid) == self

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the process, with `group` to all of the group if it leads one. Harmless when it is gone."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                (os.killpg if group and os.getpgid(self.pid) == self.pid else os.kill)(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it came in time."""
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True
