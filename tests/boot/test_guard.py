"""The process beside a machine: what it starts ends with whoever started it. `sleep` stands for QEMU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetswap.qemu import guard

SECONDS = 60
"""For what takes some hundredths of one."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "machine"
    folder.mkdir()
    return folder


@pytest.fixture
def process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A guard."""
    command = [sys.executable, "-I", "-S", guard.__file__, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        yield process
        process.kill()


def send(process: subprocess.Popen[bytes], *command: str) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(command).encode() + b"\n")


def wait(look: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < until
        time.sleep(0.01)


def runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def started(process: subprocess.Popen[bytes], folder: Path) -> int:
    """A process that runs for ever, and its id."""
    send(process, "sh", "-c", "echo $$ >pid; exec sleep 1000")
    wait(lambda: (folder / "pid").exists() and (folder / "pid").read_text().endswith("\n"))
    return int((folder / "pid").read_text())


def test_the_end_of_the_pipe_ends_the_machine(process: subprocess.Popen[bytes], folder: Path) -> None:
    """A machine would outlive a deploy that was killed, and its folder stay."""
    pid = started(process, folder)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(SECONDS) == 0
    assert not runs(pid)
    assert not folder.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_end_of_the_guard_ends_the_machine(
    process: subprocess.Popen[bytes], folder: Path, number: signal.Signals
) -> None:
    """Whoever ends the guard would leave a machine that nobody knows of."""
    pid = started(process, folder)
    os.kill(process.pid, number)
    process.wait(SECONDS)
    wait(lambda: not runs(pid))
    assert folder.exists() == (number == signal.SIGKILL)


def test_a_machine_that_ends_is_told_and_another_can_be_started(process: subprocess.Popen[bytes], folder: Path) -> None:
    """A boot test would wait for a machine that is off, or not get another port when the first was taken."""
    assert process.stdout is not None
    send(process, "sh", "-c", "echo no port >&2; exit 3")
    assert process.stdout.read(16) == b"3\n"
    assert (folder / "qemu.log").read_text() == "no port\n"
    send(process, "true")
    assert process.stdout.read(16) == b"0\n"
