"""The record of rejected flows: a file with a line each, as VPC Flow Logs have them, and the reason.

Decides what is worth a line: the same again only after `QUIET_SECONDS`. Source: VPC user guide, "Flow log records"
(the default format's fields, version 2); `reason` is our own field after the last.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Final

from localcloud.network.frames import text

if TYPE_CHECKING:
    from pathlib import Path

    from localcloud.network.topology import Interface

QUIET_SECONDS: Final = 30.0
MOST: Final = 1000
"""Lines in a time of `QUIET_SECONDS`: a guest that tries every address must not hold up the others' packets."""
LONGEST: Final = 1 << 20  # bytes; then the file becomes `.1`, and that one goes
TOLD: Final = 20  # lines that `tail` gives
_ACCOUNT: Final = "123456789012"  # moto's own


class Record:
    """The record in the file `path`. Belongs to one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told: dict[bytes, float] = {}
        self._swept = 0.0

    def reject(self, interface: Interface, name: bytes, reason: str) -> None:
        """Tell of a flow that begins with a packet of the key `name` (`frames.key`), seen at an interface."""
        now = time.time()
        source_port, port = struct.unpack("!HH", name[9:13])
        known = name[:9] + name[11:13] + f"{interface.id} {reason}".encode()
        if now - self._told.get(known, 0.0) < QUIET_SECONDS:
            return
        if len(self._told) >= MOST:
            if now - self._swept < QUIET_SECONDS:
                return
            self._swept = now
            self._told = {one: at for one, at in self._told.items() if now - at < QUIET_SECONDS}
        self._told[known] = now
        ends = f"{text(name[1:5])} {text(name[5:9])} {source_port} {port} {name[0]}"
        line = f"2 {_ACCOUNT} {interface.id} {ends} 1 0 {now:.0f} {now:.0f} REJECT OK {interface.owner}: {reason}\n"
        if self._path.exists() and self._path.stat().st_size > LONGEST:
            self._path.replace(self._path.with_name(self._path.name + ".1"))
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)


def tail(path: Path) -> list[str]:
    """The last lines of a record; none if there is no record yet."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TOLD * 300))
            return file.read().decode("utf-8", "replace").splitlines()[-TOLD:]
    except FileNotFoundError:
        return []
