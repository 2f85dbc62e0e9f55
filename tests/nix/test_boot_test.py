"""Boot tests with real machines: the demo image and what is wrong with it, and that nothing is left of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from fleetswap.aws.rollout.probe import health_checker
from fleetswap.domain.boot.health import Check
from fleetswap.domain.boot.machine import GATEWAY, INSTANCE, Hardware
from fleetswap.domain.boot.traffic import Traffic
from fleetswap.domain.rollout.health import Answer, ProbeProtocol
from fleetswap.qemu.machine import Prober, QemuMachines, Running
from fleetswap.workflows.boot_test import BootTest, Unhealthy
from fleetswap.workflows.clock import SystemClock
from fleetswap.workflows.image.image_file import ImageFile
from tests.fakes.ebs import nothing

pytestmark = pytest.mark.machines

DEADLINE = 180
"""Seconds. A boot takes 7 on an idle machine; this is for one that is busy with other things."""

HARDWARE = Hardware(memory=256)
CHECK = Check(8080, "/healthz")

Demo = Callable[[str], Path]
T = TypeVar("T")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the machines' folders are, with what a command line or a shell would take for something else."""
    folder = tmp_path / "a, b"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


class Impatient(SystemClock):
    """A clock that runs on when a machine has answered so often that it would not change its mind."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = 0

    def now(self) -> float:
        return super().now() + (DEADLINE if self.answers >= 5 else 0)

    def prober(self, protocol: ProbeProtocol, host: str) -> Prober:
        clock, real = self, health_checker(protocol, host)

        class Counting:
            def get(self, url: str, *, release: str | None, timeout: float) -> Answer:
                answer = real.get(url, release=release, timeout=timeout)
                clock.answers += answer.status is not None
                return answer

        return Counting()


def tried(disk: Path, kept: Path, say: Callable[[str], None]) -> None:
    clock = Impatient()
    test = BootTest(QemuMachines(clock.prober, "tcg"), HARDWARE, CHECK, folder=kept, seconds=DEADLINE, clock=clock)
    with ImageFile(disk) as image:
        test.run(image, str(disk), say, nothing)


def disk_of(output: Path) -> Path:
    (disk,) = output.glob("*.raw")
    return disk


@pytest.mark.parametrize(
    ("version", "told", "printed"),
    [
        (
            "broken",
            r"not healthy after [\d:]+( s)?: its health check got status 503\.",
            f"serving on :8080 as {INSTANCE}",
        ),
        ("panic", r"the kernel panicked after", "Kernel panic - not syncing"),
    ],
)
def test_a_broken_image_is_refused_with_its_console(
    demo: Demo, tmp_path: Path, folder: Path, version: str, told: str, printed: str
) -> None:
    """It would be uploaded, and cost a deploy to find out; or nobody know why it was refused."""
    lines: list[str] = []
    with pytest.raises(Unhealthy, match=told):
        tried(disk_of(demo(version)), tmp_path / "kept", lines.append)
    assert printed in "\n".join(line for line in lines if line.startswith("console | "))
    assert list(folder.iterdir()) == []


def test_a_disk_without_a_system_is_refused_as_soon_as_the_firmware_gives_up(tmp_path: Path) -> None:
    """It would be waited for as long as for a slow machine."""
    disk = tmp_path / "empty.raw"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["sgdisk", "-n", "1:2048:+32M", "-t", "1:ef00", disk], check=True, capture_output=True)
    with pytest.raises(Unhealthy, match="the firmware found nothing to boot after"):
        tried(disk, tmp_path / "kept", nothing)


def test_a_machine_reaches_its_metadata_and_nothing_else(demo: Demo, tmp_path: Path, folder: Path) -> None:
    """An image that needs something else at boot would pass. It is booted from a qcow2 image, whose file stays as it
    is, and which our own decoder reads.
    """
    disk = tmp_path / "spy.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", disk_of(demo("spy")), disk], check=True)
    before = disk.read_bytes()
    until = time.monotonic() + DEADLINE
    machines = QemuMachines(health_checker, "tcg")
    with socket.create_server(("127.0.0.1", 0)) as here, ImageFile(disk) as image:
        here.settimeout(0.1)
        with machines.start(image, HARDWARE, CHECK, nothing) as machine:
            while machine.ask(CHECK).status != 200:
                assert machine.ended() is None, machine.console()
                assert time.monotonic() < until, machine.console()
            assert INSTANCE in _get(machine, "/")
            assert _get(machine, "/try/169.254.169.254/80") == "HTTP/1.1 401 Unauthorized"
            assert _get(machine, f"/try/{GATEWAY}/{here.getsockname()[1]}") == "nothing"
            with pytest.raises(TimeoutError):
                here.accept()
            assert machine.traffic() == Traffic(spoke=True, has_address=True)
        image.check_unchanged()
    assert disk.read_bytes() == before
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_command_ends_with_its_machine_whoever_ends_it(
    demo: Demo, tmp_path: Path, folder: Path, number: signal.Signals
) -> None:
    """A machine would run on after Ctrl-C, or after a CI system has killed the deploy, and its disk stay."""
    command, environment = _command(disk_of(demo("panic"))), _environment(tmp_path)
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        qemu = _wait(lambda: _qemu(folder)) or 0
        process.send_signal(number)
        said = process.communicate(timeout=DEADLINE)[1]
    _wait(lambda: not _runs(qemu))
    _wait(lambda: list(folder.iterdir()) == [])
    if number == signal.SIGTERM:
        assert process.returncode == 128 + signal.SIGTERM
        assert said.splitlines()[-1] == "error: terminated by SIGTERM"


def test_the_command_says_that_an_image_is_healthy(demo: Demo, tmp_path: Path, folder: Path) -> None:
    """The documented result and status would be others. The image is read-only, as all of Nix's store."""
    disk = disk_of(demo("1"))
    done = subprocess.run(
        _command(disk, "--json"), env=_environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["file"], result["format"], result["path"]) == (str(disk), "raw", "/healthz")
    assert result["seconds"] > 0
    assert list(folder.iterdir()) == []


def _command(disk: Path, *options: str) -> list[str]:
    fleetswap = [sys.executable, "-m", "fleetswap", "boot-test", str(disk), "--memory", "256", "--accelerator", "tcg"]
    return [*fleetswap, "--timeout", str(DEADLINE), *options]


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(home / "cache")}


def _qemu(folder: Path) -> int | None:
    """The process of the machine whose folder is in `folder`."""
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if (each / "comm").read_text().startswith("qemu-system") and folder in (each / "cwd").readlink().parents:
                return int(each.name)
        except OSError:
            continue
    return None


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def _wait(look: Callable[[], T]) -> T:
    until = time.monotonic() + DEADLINE
    while not (found := look()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def _get(machine: Running, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{machine.host_port}{path}", timeout=30) as response:
        said: str = response.read().decode()
    return said.strip()
