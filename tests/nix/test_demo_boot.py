"""The demo image on an emulated machine: firmware, kernel, metadata service, HTTP."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.machines

DEADLINE = 180
"""Seconds. A boot takes 7 on an idle machine; this is for one that is busy with other things."""

FIRMWARE = "/usr/share/ovmf/OVMF.fd"


class Metadata(BaseHTTPRequestHandler):
    """Stand-in for the instance metadata service: a token for a PUT, the instance id for the token."""

    def do_PUT(self) -> None:
        known = self.path == "/latest/api/token" and "x-aws-ec2-metadata-token-ttl-seconds" in self.headers
        self.answer(200 if known else 400, b"token==")

    def do_GET(self) -> None:
        known = self.headers.get("X-aws-ec2-metadata-token") == "token=="
        self.answer(200 if known and self.path == "/latest/meta-data/instance-id" else 401, b"i-0123456789abcdef0")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@dataclass
class Machine:
    """A machine that runs, with its console in a file and its port 8080 on this one's."""

    process: subprocess.Popen[bytes]
    console_file: Path
    port: int

    def console(self) -> str:
        return self.console_file.read_text(errors="replace") if self.console_file.exists() else ""

    def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        """Status, content type and body."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers.get("Content-Type", ""), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers.get("Content-Type", ""), error.read().decode()

    def outcome(self, *, patience: float) -> int | str:
        """What a user gets: a status, `closed` or, after so many seconds, `timeout`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        except TimeoutError:
            return "timeout"
        except (http.client.RemoteDisconnected, ConnectionResetError):
            return "closed"
        finally:
            connection.close()

    def wait_for(self, line: str) -> None:
        end = time.monotonic() + DEADLINE
        while line not in self.console():
            assert self.process.poll() is None, f"the machine ended: {self.console()}"
            assert time.monotonic() < end, f"no {line!r} on the console: {self.console()}"
            time.sleep(0.1)

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


@contextmanager
def booted(image: Path, folder: Path) -> Iterator[Machine]:
    disk = folder / "disk.raw"
    shutil.copyfile(image / "disk.raw", disk)
    with disk.open("r+b") as file:
        file.truncate(1024**3)  # as a volume of one GiB, the least that EBS has
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    metadata = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=metadata.serve_forever)
    thread.start()
    console = folder / "console"
    network = (
        "user,id=net,net=169.254.0.0/16,host=169.254.0.2,dhcpstart=169.254.0.15,restrict=on,"
        f"hostfwd=tcp:127.0.0.1:{port}-:8080,"
        f"guestfwd=tcp:169.254.169.254:80-cmd:busybox nc 127.0.0.1 {metadata.server_address[1]}"
    )
    command = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", "q35,smm=off", "-accel", "tcg"]
    command += ["-cpu", "max", "-m", "256", "-bios", FIRMWARE, "-serial", f"file:{console}"]
    command += ["-drive", f"if=none,id=root,format=raw,file={disk}", "-device", "nvme,drive=root,serial=vol1"]
    command += ["-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile="]
    command += ["-device", "pvpanic-pci", "-action", "panic=pause"]
    try:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
            try:
                yield Machine(process, console, port)
            finally:
                process.kill()
    finally:
        metadata.shutdown()
        metadata.server_close()
        thread.join()


@pytest.fixture
def boot(demo: Callable[[str], Path], tmp_path: Path) -> Iterator[Callable[[str], Machine]]:
    """Boots a version of the demo image."""
    running = []

    def start(version: str) -> Machine:
        folder = tmp_path / version
        folder.mkdir()
        context = booted(demo(version), folder)
        running.append(context)
        return context.__enter__()

    yield start
    for context in running:
        context.__exit__(None, None, None)


def test_a_version_boots_and_serves(boot: Callable[[str], Machine]) -> None:
    """No machine of a release would become healthy, or nobody could tell which version and instance answered."""
    machine = boot("1.2-rc_3")
    machine.wait_for("fleetswap-demo version 1.2-rc_3: serving on :8080 as i-0123456789abcdef0 after ")
    assert machine.get("/") == (200, "text/plain", "version 1.2-rc_3 on i-0123456789abcdef0\n")
    assert machine.get("/version")[::2] == (200, "1.2-rc_3\n")
    assert machine.get("/healthz")[::2] == (200, "ok\n")
    assert machine.get("/nowhere")[0] == 404


def test_broken_serves_but_is_not_healthy(boot: Callable[[str], Machine]) -> None:
    """The rehearsal of a release that fails its health check would rehearse something else."""
    machine = boot("broken")
    machine.wait_for("fleetswap-demo version broken: serving on :8080 as i-0123456789abcdef0 after ")
    assert machine.get("/healthz")[::2] == (503, "broken\n")
    assert machine.get("/")[::2] == (200, "version broken on i-0123456789abcdef0\n")
    assert machine.get("/healthz")[0] == 503


def test_flaky_fails_for_users_only(boot: Callable[[str], Machine]) -> None:
    """The rehearsal of a release that only traffic shows to be bad would be caught by the health check, or never."""
    machine = boot("flaky")
    machine.wait_for("fleetswap-demo version flaky: serving on :8080 as i-0123456789abcdef0 after ")
    assert machine.get("/healthz")[::2] == (200, "ok\n")
    assert machine.get("/", **{"X-Fleetswap-Release": "web-1"})[0] == 200
    assert machine.get("/")[::2] == (500, "version flaky fails for users\n")


def test_dropping_and_hanging_misbehave_for_users_only(boot: Callable[[str], Machine]) -> None:
    """The rehearsal of a release whose users get no answer would be caught by the health check, or never."""
    for version in ("dropping", "hanging"):
        machine = boot(version)
        machine.wait_for(f"fleetswap-demo version {version}: serving on :8080 as i-0123456789abcdef0 after ")
        for _ in range(5):
            assert machine.get("/healthz")[::2] == (200, "ok\n")
            assert machine.get("/", **{"X-Fleetswap-Release": "web-1"})[0] == 200
        if version == "dropping":
            outcomes = Counter(machine.outcome(patience=60) for _ in range(30))
            assert set(outcomes) == {200, "closed"}
            assert 7 <= outcomes["closed"] <= 28  # 18 expected; outside with a probability of 1e-5
        else:
            assert [machine.outcome(patience=2) for _ in range(2)] == ["timeout"] * 2


def test_panic_stops_with_the_reason_on_its_console(boot: Callable[[str], Machine]) -> None:
    """A release that never boots would leave no reason, restart for ever, or take a processor while it stands."""
    machine = boot("panic")
    machine.wait_for("Kernel panic - not syncing: Attempted to kill init!")
    used = machine.cpu()
    time.sleep(1)
    assert machine.process.poll() is None
    assert machine.cpu() - used < 0.5
