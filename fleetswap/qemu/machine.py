"""The machines of boot tests: QEMU, in a folder of its own that goes with it.

The image is never written to. A raw image is the backing file of an overlay, which takes what the machine writes. Of
another format, our own decoder writes the disk into the folder first: it is what the upload decodes with, so what is
booted are the bytes that are sent. The disk is as large as the volume will be, with zeros behind the image.

Nothing outlives a machine: a `guard` ends QEMU and deletes the folder when this process ends, however it ends.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from fleetswap.domain.boot import machine as decisions
from fleetswap.domain.boot import traffic
from fleetswap.domain.boot.health import Check
from fleetswap.domain.boot.machine import Hardware
from fleetswap.domain.boot.traffic import Traffic
from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.image import blockmap
from fleetswap.domain.image.blocks import BLOCK_SIZE, GIB, block_count
from fleetswap.domain.rollout.health import Answer, ProbeProtocol
from fleetswap.domain.text import one_line
from fleetswap.qemu import programs
from fleetswap.qemu.programs import QEMU_IMG, Found

CONSOLE_BYTES = 262_144
"""How much of the end of a console is read."""

PACKET_BYTES = 4_194_304
"""How much of the beginning of the packets is read."""

PORT_TRIES = 5
"""Somebody else may take the free port of this computer before QEMU does."""

PORT_TAKEN = "Could not set up host forwarding rule"
"""QEMU's words for that (net/slirp.c)."""

END_SECONDS = 10.0
"""For the guard to end QEMU and delete the folder."""

HERE = Path(__file__).parent


class Disk(Protocol):
    """An open image; `fleetswap.workflows.image.image_file.ImageFile` is one."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def format(self) -> str:
        """Of the file; that of a disk as it is, is `raw`."""

    @property
    def size(self) -> int:
        """Bytes of the disk."""

    def is_zero(self, index: int) -> bool:
        """Whether a block is known to be zeros without reading it."""

    def read(self, index: int, into: bytearray) -> None:
        """Fill `into` with a block."""


class Prober(Protocol):
    """Makes requests; `fleetswap.aws.rollout.probe.HttpProber` is one."""

    def get(self, url: str, *, release: str | None, timeout: float) -> Answer:
        """GET, without a release; `timeout` in seconds, for connecting and each read."""


class QemuMachines:
    """Machines on this computer; implements `fleetswap.workflows.boot_test.Machines`."""

    def __init__(self, prober: Callable[[ProbeProtocol, str], Prober], accelerator: str = programs.AUTO) -> None:
        """`prober` makes what speaks the protocol of a health check, with the `Host` that it sends."""
        self._prober = prober
        self._accelerator = accelerator
        self._found: dict[Hardware, Found] = {}

    def ready(self, hardware: Hardware) -> str:
        """See the protocol."""
        return self._find(hardware).line

    @contextmanager
    def start(self, image: Disk, hardware: Hardware, check: Check, status: Callable[[str], None]) -> Iterator[Running]:
        """See the protocol. `FleetswapError` if there is no room for it."""
        found = self._find(hardware)
        folder = Path(tempfile.mkdtemp(prefix="fleetswap-boot-", dir=_temporary()))
        guard = _guard(folder)
        try:
            try:
                _make_disk(image, folder, status)
                if found.firmware is not None:
                    shutil.copyfile(found.firmware.nvram, folder / decisions.NVRAM)
                data = {"key": secrets.token_hex(32), **decisions.identity(hardware)}
                (folder / "metadata.json").write_text(json.dumps(data), encoding="utf-8")
            except OSError as error:
                raise FleetswapError(
                    f"there is no machine to boot {image.path.name} in: {folder.parent}: {error.strerror}"
                    " (TMPDIR names another folder)"
                ) from error
            prober = self._prober(check.spoken, f"{decisions.ADDRESS}:{check.port}")
            yield Running(guard, folder, hardware, found, check.port, prober)
        finally:
            _end(guard, folder)

    def _find(self, hardware: Hardware) -> Found:
        if hardware not in self._found:
            self._found[hardware] = programs.find(hardware, self._accelerator)
        return self._found[hardware]


class Running:
    """A machine that has been started; implements `fleetswap.workflows.boot_test.Machine`."""

    def __init__(
        self,
        guard: subprocess.Popen[bytes],
        folder: Path,
        hardware: Hardware,
        found: Found,
        port: int,
        prober: Prober,
    ) -> None:
        """Start it. `host_port` on loopback leads to `port` of the machine."""
        self._guard = guard
        self._folder = folder
        self._hardware = hardware
        self._found = found
        self._port = port
        self._prober = prober
        self._tries = 0
        self._why: str | None = None
        self._power_on()

    def ended(self) -> str | None:
        """See the protocol."""
        if self._why is None and self._guard.stdout is not None and select.select([self._guard.stdout], [], [], 0)[0]:
            status = os.read(self._guard.stdout.fileno(), 64).strip()
            said = one_line(_read(self._folder / "qemu.log", 4096))
            if PORT_TAKEN in said and self._tries < PORT_TRIES:
                self._power_on()
            elif status == b"0":
                self._why = "the machine shut down"
            else:
                self._why = f"QEMU ended ({said or status.decode(errors='replace') or 'its guard was killed'})"
        return self._why

    def console(self) -> str:
        """See the protocol."""
        said = _read(self._folder / decisions.CONSOLE, CONSOLE_BYTES)
        return said if len(said) >= CONSOLE_BYTES else _read(self._folder / decisions.BEFORE, CONSOLE_BYTES) + said

    def traffic(self) -> Traffic:
        """See the protocol."""
        with suppress(OSError), (self._folder / decisions.PACKETS).open("rb") as packets:
            return traffic.read(packets.read(PACKET_BYTES))
        return Traffic()

    def ask(self, check: Check) -> Answer:
        """See the protocol."""
        url = f"{check.protocol}://127.0.0.1:{self.host_port}{check.path}"
        return self._prober.get(url, release=None, timeout=check.timeout)

    def _power_on(self) -> None:
        self._tries += 1
        self.host_port = _free_port()
        metadata = shlex.join([sys.executable, "-I", "-S", str(HERE / "metadata.py"), "metadata.json"])
        command = decisions.command(
            self._hardware,
            self._found.firmware,
            self._found.accelerator,
            host_port=self.host_port,
            port=self._port,
            metadata=metadata,
        )
        line = json.dumps([str(self._found.program), *command[1:]])
        if self._guard.stdin is not None:
            with suppress(BrokenPipeError):  # the guard was killed: `ended` finds out
                self._guard.stdin.write(line.encode() + b"\n")
                self._guard.stdin.flush()


def _guard(folder: Path) -> subprocess.Popen[bytes]:
    """Started before there is anything in the folder."""
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(HERE / "guard.py"), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _end(guard: subprocess.Popen[bytes], folder: Path) -> None:
    if guard.stdin is not None:
        with suppress(OSError):
            guard.stdin.close()
    try:
        guard.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        guard.kill()
        guard.wait()
    if guard.stdout is not None:
        guard.stdout.close()
    shutil.rmtree(folder, ignore_errors=True)  # there only if the guard was killed


def _make_disk(image: Disk, folder: Path, status: Callable[[str], None]) -> None:
    """The overlay, and what it lies on."""
    base = image.path.resolve()
    if image.format != "raw":
        base = folder / "disk.raw"
        _decode(image, base, status)
    size = blockmap.layout(image.size).volume_gib * GIB
    done = subprocess.run(
        [QEMU_IMG, "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base), decisions.OVERLAY, str(size)],
        cwd=folder,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise FleetswapError(f"qemu-img cannot make a disk on top of {base}: {one_line(done.stderr)}")


def _decode(image: Disk, path: Path, status: Callable[[str], None]) -> None:
    """Write the disk as the upload would read it, without its zeros."""
    block = bytearray(BLOCK_SIZE)
    with path.open("wb") as raw:
        for index in range(block_count(image.size)):
            if image.is_zero(index):
                continue
            status(f"decoding the {image.format} image")
            image.read(index, block)
            if any(block):
                raw.seek(index * BLOCK_SIZE)
                raw.write(block)
        raw.truncate(image.size)


def _temporary() -> str:
    """TMPDIR, else /var/tmp: /tmp may be in memory, and a decoded disk is large."""
    return os.environ.get("TMPDIR") or ("/var/tmp" if Path("/var/tmp").is_dir() else tempfile.gettempdir())  # noqa: S108


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _read(path: Path, size: int) -> str:
    """The end of a file; empty if it is not there."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
