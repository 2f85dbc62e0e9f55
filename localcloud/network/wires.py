"""A cable to a network device of a QEMU: frames over a Unix stream socket, each after its length.

Decides when frames are lost: when the other end takes none and `QUEUED_BYTES` wait already, as in a switch. Never
waits. The format is that of QEMU's `-netdev stream` (qemu(1)): four bytes of length, big endian, then the frame.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from localcloud.processes.children import connect

if TYPE_CHECKING:
    from pathlib import Path

QUEUED_BYTES = 4 << 20
LONGEST_FRAME = 69_632  # QEMU's own buffer (include/net/net.h: NET_BUFSIZE)
_READ_BYTES = 1 << 18
_CONNECT_SECONDS = 1.0


class Wire:
    """One end of a cable. Raises OSError, and ValueError for what is no frame, when it is of no more use."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(0.0)
        self._socket = connection
        self._in = b""
        self._out = bytearray()

    @classmethod
    def to(cls, path: Path) -> Wire:
        """A cable to the device that listens at `path`."""
        return cls(connect(path, _CONNECT_SECONDS))

    def fileno(self) -> int:
        """The descriptor, to wait for."""
        return self._socket.fileno()

    @property
    def waits(self) -> bool:
        """Whether something is left to send."""
        return bool(self._out)

    def receive(self) -> list[bytes]:
        """The frames that have come."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            raise ConnectionResetError("the device is gone")
        data = self._in + data if self._in else data
        frames, at, end = [], 0, len(data)
        while end - at >= 4:
            length = int.from_bytes(data[at : at + 4], "big")
            if length > LONGEST_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            if end - at - 4 < length:
                break
            frames.append(data[at + 4 : at + 4 + length])
            at += 4 + length
        self._in = data[at:]
        return frames

    def put(self, frame: bytes) -> None:
        """Send a frame with the next `flush`."""
        if len(self._out) < QUEUED_BYTES:
            self._out += len(frame).to_bytes(4, "big") + frame

    def flush(self) -> None:
        """Send what the other end takes now."""
        if not self._out:
            return
        try:
            sent = self._socket.send(self._out)
        except BlockingIOError:
            return
        del self._out[:sent]

    def close(self) -> None:
        """Pull it out."""
        self._socket.close()
