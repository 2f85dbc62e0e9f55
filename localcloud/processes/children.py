"""Starts the processes that the machines are made of, such that none outlives the local cloud.

Decides how a child dies: asked first, killed after a while, and killed by the kernel when the thread that started it
ends. So start children from a thread that lives as long as they should. Never starts anything on its own.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from localcloud.processes.process import Process

if TYPE_CHECKING:
    from collections.abc import Sequence

START_SECONDS = 60.0  # some ms, on an idle computer
KILL_AFTER = 3.0  # seconds; QEMU and HAProxy end within some 10 ms when asked


class Child:
    """One running process. `log` holds what it said on standard output and error."""

    def __init__(self, command: Sequence[str], *, cwd: Path, log: Path, inherited: Sequence[int] = ()) -> None:
        self.log = log
        # setpriv (util-linux) sets the parent death signal and executes the command: see prctl(2), PR_SET_PDEATHSIG.
        # A preexec_fn would run Python in a fork of a process that has many threads.
        setpriv = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                setpriv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=inherited
            )
        self.pid = self._process.pid
        # Until it is no longer setpriv (nor, just before that, a copy of this process), the kernel has not been told.
        not_yet = {_arguments("self"), b"".join(os.fsencode(word) + b"\0" for word in setpriv)}
        deadline = time.monotonic() + START_SECONDS
        while self.running and _arguments(str(self.pid)) in not_yet and time.monotonic() < deadline:
            time.sleep(0.001)
        self._kill_at: float | None = None

    @property
    def running(self) -> bool:
        """Whether it still runs. Reaps it if not."""
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    @property
    def ending(self) -> bool:
        """Whether it was asked to end."""
        return self._kill_at is not None

    def end(self) -> bool:
        """Ask it to end, and kill it when it was asked long enough ago; whether it has ended. Never waits."""
        if not self.running:
            return True
        now = time.monotonic()
        if self._kill_at is None:
            self._kill_at = now + KILL_AFTER
            self._process.terminate()
        elif now > self._kill_at:
            self._process.kill()
        return not self.running

    def kill(self) -> None:
        """Kill it at once, as a power cut would, and reap it. Harmless when it has ended."""
        self._process.kill()
        self._process.wait()


class Children:
    """All of them, recorded in the file `record` for whoever must end them when this process cannot."""

    def __init__(self, record: Path) -> None:
        self._record = record
        self._children: list[Child] = []
        self._lock = threading.Lock()

    def start(self, command: Sequence[str], *, cwd: Path, log: Path, inherited: Sequence[int] = ()) -> Child:
        """Start a process in `cwd`; whoever it is, it ends with this thread. A program that is missing ends at once.

        It gets the file descriptors `inherited` under their own numbers.
        """
        child = Child(command, cwd=cwd, log=log, inherited=inherited)
        with self._lock:
            self._children = [*(other for other in self._children if other.running), child]
            found = (Process.of(other.pid) for other in self._children)
            partial = self._record.with_name(self._record.name + ".partial")
            partial.write_text("".join(process.record() for process in found if process), encoding="utf-8")
            partial.replace(self._record)
        return child

    def end_all(self) -> None:
        """End every child and wait for it."""
        with self._lock:
            left = list(self._children)
            while left := [child for child in left if not child.end()]:
                time.sleep(0.02)
            self._children = []
            self._record.unlink(missing_ok=True)


def _arguments(process: str) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def connect(path: Path, seconds: float) -> socket.socket:
    """A connection to the Unix socket at `path`, however long the path is. Raises OSError."""
    # An address holds 108 bytes (unix(7)), so the folder is named by a descriptor instead.
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(seconds)
        try:
            connection.connect(f"/proc/self/fd/{folder}/{path.name}")
        except OSError:
            connection.close()
            raise
        return connection
    finally:
        os.close(folder)
