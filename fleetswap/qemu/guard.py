"""A process beside a machine that ends QEMU and deletes the machine's folder when its starter ends, however it ends.

Run as `python -I -S guard.py FOLDER`: only the standard library, and nothing of Fleetswap, so that it starts at once.
It reads command lines (JSON lists, one a line) from standard input, and starts each in FOLDER, with what it prints in
`qemu.log`; it writes a line with the exit status of each that ends. The end of standard input is the end of all: its
starter has closed it, or was killed. It runs in a session of its own, so Ctrl-C in a terminal does not reach it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

LOOK_SECONDS = 0.05
CONSOLE_BYTES = 8 << 20
"""How much of a console is kept, at least: its end."""

OTHER_BYTES = 8 << 20
"""How much of what else QEMU writes all the time is kept, at least: its beginning."""

CONSOLE, BEFORE, PACKETS, LOG = "console.log", "console.before", "packets.pcap", "qemu.log"
"""Names in the folder; `fleetswap.domain.boot.machine` has them, too."""

PR_SET_PDEATHSIG = 1  # prctl(2)


def main(folder: str) -> int:
    """Serve one machine."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(1))
    process: subprocess.Popen[bytes] | None = None
    waiting, place = b"", Path(folder)
    try:
        while True:
            if select.select([0], [], [], LOOK_SECONDS)[0]:
                more = os.read(0, 65_536)
                if not more:
                    return 0
                waiting += more
                while b"\n" in waiting:
                    line, _, waiting = waiting.partition(b"\n")
                    process = _start(json.loads(line), folder)
            _bound(place)
            if process is not None and process.poll() is not None:
                os.write(1, b"%d\n" % process.returncode)
                process = None
    finally:
        if process is not None:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _bound(folder: Path) -> None:
    """Keep what a machine can make QEMU write from filling the disk. QEMU appends to the console, so it goes on at its
    new end; into other files it goes on where it was, and nothing is stored of what was cut out.
    """
    with contextlib.suppress(OSError):
        console = folder / CONSOLE
        if console.stat().st_size > 2 * CONSOLE_BYTES:
            with contextlib.suppress(OSError), console.open("rb") as file:  # there may be no room for a copy
                file.seek(-CONSOLE_BYTES, os.SEEK_END)
                (folder / BEFORE).write_bytes(file.read(2 * CONSOLE_BYTES))
            os.truncate(console, 0)
    for name in (PACKETS, LOG):
        with contextlib.suppress(OSError):
            if os.stat(folder / name).st_blocks * 512 > 2 * OTHER_BYTES:  # noqa: PTH116
                os.truncate(folder / name, OTHER_BYTES)


def _start(command: list[str], folder: str) -> subprocess.Popen[bytes]:
    with (Path(folder) / LOG).open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - this process has one thread
        )


def _end_with_parent() -> None:
    """Even if this process is killed. Only Linux has it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
