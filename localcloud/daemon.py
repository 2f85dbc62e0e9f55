"""Starts the local cloud in the background and stops it for good.

Decides when it runs (its pid file names a live process that started it) and when it is gone (so are its children).
Files in its directory: `pid` (record and port), `log`, `children` (records, one a line, kept by the machines).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from localcloud.processes.process import Process
from localcloud.regions import KNOWN, REGION

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_PORT = 4510
START_SECONDS = 60.0  # a cold import of moto on a busy machine took 10
STOP_SECONDS = 20.0  # machines are given some seconds to end


class Refused(Exception):
    """The one line that a user sees instead of what was asked for."""


def start(directory: Path, port: int) -> str:
    """Start a local cloud in the background and wait until it answers. Harmless when it runs already.

    Raises Refused when the port is taken, or when it ends before it answers; then nothing is left but its log.
    """
    _refuse_unknown_region()
    directory = directory.absolute()
    running = _running(directory)
    if running is not None:
        process, running_port = running
        if running_port != port:
            raise Refused(
                f"The local cloud in {directory} runs at port {running_port}, not {port}: stop it first, with"
                f" `python -m localcloud stop --dir {directory}`."
            )
        return f"The local cloud runs already: http://127.0.0.1:{port} (pid {process.pid})."
    _refuse_taken(port)
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "log").open("ab") as log:
        command = [sys.executable, "-m", "localcloud", "serve", "--dir", str(directory), "--port", str(port)]
        # In a session of its own, so that a Ctrl-C at the terminal does not reach it.
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        _await_answer(directory, port, child)
    except BaseException:  # Ctrl-C too: nobody would know of a server that has not written its pid yet
        child.kill()
        child.wait()
        raise
    return f"The local cloud runs: http://127.0.0.1:{port} (pid {child.pid}, log {directory / 'log'})."


def _await_answer(directory: Path, port: int, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(port, child.pid):
        if child.poll() is not None:
            raise Refused(f"The local cloud ended before it answered: {_last_line(directory)}")
        if time.monotonic() > deadline:
            raise Refused(f"The local cloud did not answer within {START_SECONDS:.0f} s: see {directory / 'log'}.")
        time.sleep(0.05)


def stop(directory: Path) -> str:
    """Stop the local cloud and whatever it recorded as its children. Harmless when it does not run."""
    running = _running(directory)
    if running is not None:
        process, _ = running
        process.signal(signal.SIGTERM)
        if not process.wait(STOP_SECONDS):
            process.signal(signal.SIGKILL, group=True)
            process.wait(STOP_SECONDS)
    left = [child for child in _children(directory) if child.alive]
    for child in left:  # only when the server died without ending them
        child.signal(signal.SIGKILL)
    for child in left:
        child.wait(STOP_SECONDS)
    (directory / "pid").unlink(missing_ok=True)
    (directory / "children").unlink(missing_ok=True)
    return f"The local cloud in {directory} is stopped." if running else f"No local cloud runs in {directory}."


def status(directory: Path) -> dict[str, Any] | None:
    """What the running local cloud says of itself; None if none runs."""
    running = _running(directory)
    return _ask(running[1]) if running else None


def tell(directory: Path, instance_id: str, what: str, asked: dict[str, float]) -> str:
    """Have something happen to an instance: `interrupt`, `recommend` or `kill` (see `admin`).

    Raises Refused when no local cloud runs, or when it refuses.
    """
    running = _running(directory)
    if running is None:
        raise Refused(f"No local cloud runs in {directory}.")
    url = f"http://127.0.0.1:{running[1]}/_localcloud/instances/{instance_id}/{what}"
    try:
        with build_opener(ProxyHandler({})).open(url, json.dumps(asked).encode(), timeout=5):
            return f"{what}: {instance_id}"
    except HTTPError as error:
        raise Refused(json.load(error)["error"]) from None


def serve(directory: Path, port: int) -> str:
    """Run a local cloud in this process until SIGTERM or SIGINT, then end its machines and return.

    Raises Refused when one runs in the directory already or the port is taken.
    """
    _refuse_unknown_region()
    from localcloud.server import LocalCloud  # noqa: PLC0415 - moto: 1.9 s of CPU that other commands do without

    directory = directory.absolute()
    running = _running(directory)
    if running is not None and running[0].pid != os.getpid():
        raise Refused(f"The local cloud in {directory} runs already (pid {running[0].pid}).")
    _refuse_taken(port)
    asked_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.set())
    directory.mkdir(parents=True, exist_ok=True)
    cloud = LocalCloud(directory, port)
    try:
        me = Process.of(os.getpid())
        if me is None:
            raise RuntimeError("a running process has no entry in /proc")
        pid_file = directory / "pid"
        partial = directory / "pid.partial"
        partial.write_text(me.record() + f"{cloud.port}\n", encoding="utf-8")
        partial.replace(pid_file)
        try:
            cloud.start()
            asked_to_stop.wait()
        finally:
            cloud.stop()
            pid_file.unlink(missing_ok=True)
    finally:
        cloud.stop()
    return ""


def _running(directory: Path) -> tuple[Process, int] | None:
    try:
        lines = (directory / "pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    process = Process.parse(lines[0]) if lines else None
    if process is None or not process.alive or len(lines) < 2:
        return None
    return process, int(lines[1])


def _children(directory: Path) -> list[Process]:
    try:
        lines = (directory / "children").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [child for line in lines if (child := Process.parse(line)) is not None]


def _refuse_unknown_region() -> None:
    if REGION not in KNOWN:
        raise Refused(
            f"LOCALCLOUD_REGION is {REGION!r}: the local cloud knows {', '.join(KNOWN)}; set one of these, or unset it."
        )


def _refuse_taken(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Refused(
                f"Port {port} of 127.0.0.1 is not free ({error.strerror}): end what listens there, or choose another"
                " with --port (PORT=… with make)."
            ) from None


def _answers(port: int, pid: int) -> bool:
    shown = _ask(port)
    return shown is not None and shown["pid"] == pid


def _ask(port: int) -> dict[str, Any] | None:
    try:
        # Without the proxies of the environment: they would be asked for an address of this machine.
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/_localcloud/status", timeout=5) as answer:
            shown: dict[str, Any] = json.load(answer)
            return shown
    except (URLError, ConnectionError, TimeoutError, ValueError):
        return None


def _last_line(directory: Path) -> str:
    lines = (directory / "log").read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")
