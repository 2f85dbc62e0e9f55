"""A process beside a machine that ends QEMU and deletes the machine's folder when its starter ends, however it ends.

Run as `python -I -S guard.py FOLDER`: only the standard library, and nothing of Fleetswap, so that it starts at once.
It reads command lines (JSON lists, one a line) from standard input, and starts each in FOLDER, with what it prints in
`qemu.log`; it writes a line with the exit status of each that ends. The end of standard input is the end of all: its
starter has closed it, or was killed. It runs in a session of its own, so Ctrl-C in a terminal does not reach it.
"""

from __future__ import annotations

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
PR_SET_PDEATHSIG = 1  # prctl(2)


def main(folder: str) -> int:
    """Serve one machine."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(1))
    process: subprocess.Popen[bytes] | None = None
    waiting = b""
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
            if process is not None and process.poll() is not None:
                os.write(1, b"%d\n" % process.returncode)
                process = None
    finally:
        if process is not None:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _start(command: list[str], folder: str) -> subprocess.Popen[bytes]:
    with (Path(folder) / "qemu.log").open("wb") as log:
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
