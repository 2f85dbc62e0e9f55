"""Small PE/COFF executables and unified kernel images, for the tests of what is measured."""

from __future__ import annotations

import struct
from collections.abc import Mapping

ALIGNED = 512
"""PE Format: FileAlignment."""


def executable(
    sections: Mapping[str, bytes], *, after: bytes = b"", signature: bytes = b"", directories: int = 16
) -> bytes:
    """With these sections in this order, what follows them, and an attribute certificate at the end."""
    header = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0"
    optional = bytearray(112 + 8 * directories)
    struct.pack_into("<H", optional, 0, 0x20B)
    start = -(-(64 + 24 + len(optional) + 40 * len(sections)) // ALIGNED) * ALIGNED
    struct.pack_into("<I", optional, 60, start)
    struct.pack_into("<I", optional, 108, directories)
    header += struct.pack("<HHIIIHH", 0x8664, len(sections), 0, 0, 0, len(optional), 0x22)
    table, body, address = b"", b"", 0x1000
    for name, content in sections.items():
        size = -(-len(content) // ALIGNED) * ALIGNED
        table += struct.pack(
            "<8sIIIIIIHHI", name.encode(), len(content), address, size, start + len(body), 0, 0, 0, 0, 0
        )
        body += content.ljust(size, b"\0")
        address += 0x10000
    if signature:
        struct.pack_into("<II", optional, 112 + 8 * 4, start + len(body) + len(after), len(signature))
    return (header + bytes(optional) + table).ljust(start, b"\0") + body + after + signature


def uki(
    stub: str = "257.13-1", command_line: str = "console=ttyS0", kernel: bytes | None = None, **more: bytes
) -> bytes:
    """A unified kernel image with a stub of that version; without `stub`, one that nobody knows."""
    sections = {".text": b"code"}
    if stub:
        sections[".sdmagic"] = f"#### LoaderInfo: systemd-stub {stub} ####".encode() + b"\0"
    sections[".cmdline"] = command_line.encode() + b"\0"
    sections[".linux"] = executable({".text": b"linux"}) if kernel is None else kernel
    return executable({**sections, **{f".{name}": content for name, content in more.items()}})
