"""Runs one command on the cores that it is given, and says what it cost.

It decides nothing about what is good; it never leaves a process of the command's group behind.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True)
class Cost:
    """What a command cost: seconds by the clock, CPU-seconds and peak memory in MiB of it and of what it waited for.

    `status` is its exit status, None if it was stopped because its time was over. `words` is the end of what it said.
    """

    seconds: float
    cpu: float
    peak: float
    status: int | None
    words: str


def start(
    command: Sequence[str], *, cores: Collection[int], env: Mapping[str, str], cwd: Path, output: Path
) -> subprocess.Popen[bytes]:
    """Start a command on `cores` in a process group of its own; what it says goes to the file `output`."""
    mine = os.sched_getaffinity(0)
    # A child starts with its parent's cores. Set here, so that every thread of the child has it from the first on.
    os.sched_setaffinity(0, cores)
    try:
        with output.open("wb") as sink:
            return subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                # No new session: the kernel shares the cores out among sessions, and this is one work.
                process_group=0,
            )
    finally:
        os.sched_setaffinity(0, mine)


def run(
    command: Sequence[str],
    *,
    cores: Collection[int],
    env: Mapping[str, str],
    cwd: Path,
    output: Path,
    timeout: float,
    until: socket.socket | None = None,
) -> Cost:
    """Run a command to its end, or for `timeout` seconds; then its whole group is killed.

    With `until`, a socket that listens, it ends with the first request to it, which nobody answers; `status` is then 0.

    The kernel keeps a process's peak memory over exec, so that no figure is below what this process has itself
    (about 20 MiB): the modules of the benchmark import little.
    """
    began = time.monotonic()
    process = start(command, cores=cores, env=env, cwd=cwd, output=output)
    ended = asked = False
    with ExitStack() as held:
        try:
            handle = os.pidfd_open(process.pid)
            held.callback(os.close, handle)
            ready = select.select([handle, *([] if until is None else [until])], [], [], timeout)[0]
            ended = handle in ready
            if until is not None and until in ready and not ended:
                caller = held.enter_context(until.accept()[0])  # closed when the command is gone: an end costs it time
                caller.settimeout(timeout)
                asked = bool(caller.recv(1))
        finally:
            if not ended:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            seconds = time.monotonic() - began
            _, status, usage = os.wait4(process.pid, 0)  # wait4 and not getrusage: the peak of this child alone
            process.returncode = os.waitstatus_to_exitcode(status)
            with suppress(ProcessLookupError):  # whatever it started and did not wait for
                os.killpg(process.pid, signal.SIGKILL)
    return Cost(
        seconds=seconds,
        cpu=usage.ru_utime + usage.ru_stime,
        peak=usage.ru_maxrss * 1024 / MIB,  # Linux counts in KiB
        status=process.returncode if ended else 0 if asked else None,
        words=_last_words(output),
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that `start` began, and wait for it."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_words(output: Path) -> str:
    with output.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - MIB))  # coldsnap says all that went wrong in one line
        lines = file.read().decode(errors="replace").split("\n")
    told = [line.strip() for line in lines if line.strip()]
    return told[-1][:160] if told else ""
