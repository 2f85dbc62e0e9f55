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

from fleetswap.aws.rollout.probe import HttpProber
from fleetswap.domain.boot import machine as decisions
from fleetswap.domain.boot.machine import Hardware
from fleetswap.qemu import guard
from fleetswap.qemu.machine import Running
from fleetswap.qemu.programs import Found

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


LIMIT = 16 << 20

FLOOD = """
import pathlib, time
console, packets = open("console.log", "ab", 0), open("packets.pcap", "wb", 0)
packets.write(b"first")
for number in range(60):
    console.write(b"%d," % number * 400_000)
    packets.write(bytes(1 << 20))
pathlib.Path("flooded").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.01)
console.write(b"the end")
packets.write(b"more")
time.sleep(1000)
"""


def test_a_machine_that_floods_its_console_and_network_does_not_fill_the_disk(
    process: subprocess.Popen[bytes], folder: Path
) -> None:
    """A service that logs in a loop would fill the disk of the computer that deploys it, within one boot test."""

    def stored() -> dict[str, int]:
        return {each.name: each.stat().st_blocks * 512 for each in folder.iterdir()}

    def is_bounded() -> bool:
        return all(size <= LIMIT + 4096 for size in stored().values())

    send(process, sys.executable, "-c", FLOOD)
    # Were it full to the limit, the guard would cut out what comes next.
    wait(lambda: (folder / "flooded").exists() and is_bounded() and stored()["packets.pcap"] < LIMIT)
    (folder / "go").touch()
    wait(lambda: (folder / "packets.pcap").read_bytes().endswith(b"more"))
    assert is_bounded()
    said = (folder / "console.before").read_bytes() + (folder / "console.log").read_bytes()
    assert said.endswith(b"the end")
    assert len(said) > guard.CONSOLE_BYTES
    with (folder / "packets.pcap").open("rb") as packets:
        assert packets.read(5) == b"first", "what the traffic is read from"


def test_the_end_of_a_console_is_read_across_what_was_put_aside(folder: Path) -> None:
    """A panic that was printed just before the console became too large would not be seen."""
    assert (guard.CONSOLE, guard.BEFORE, guard.PACKETS) == (decisions.CONSOLE, decisions.BEFORE, decisions.PACKETS)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        machine = Running(cat, folder, Hardware(), Found(Path("qemu"), "", None, "tcg"), 80, HttpProber(lambda _: None))
        assert machine.console() == ""
        (folder / "console.log").write_text("one line\n")
        assert machine.console() == "one line\n"
        (folder / "console.before").write_text("Kernel panic\n")
        assert machine.console() == "Kernel panic\none line\n"


def test_a_machine_that_ends_is_told_and_another_can_be_started(process: subprocess.Popen[bytes], folder: Path) -> None:
    """A boot test would wait for a machine that is off, or not get another port when the first was taken."""
    assert process.stdout is not None
    send(process, "sh", "-c", "echo no port >&2; exit 3")
    assert process.stdout.read(16) == b"3\n"
    assert (folder / "qemu.log").read_text() == "no port\n"
    send(process, "true")
    assert process.stdout.read(16) == b"0\n"
