"""How far the network of a machine got, out of its packets."""

from __future__ import annotations

import struct

import pytest

from fleetswap.domain.boot.machine import ADDRESS, MAC
from fleetswap.domain.boot.traffic import Traffic, read

NONE = "0.0.0.0"  # noqa: S104 - of a packet


def pcap(*frames: bytes, order: str = "<") -> bytes:
    head = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return head + b"".join(struct.pack(f"{order}IIII", 0, 0, len(each), len(each)) + each for each in frames)


def ipv4(source: str, mac: str = MAC, kind: int = 0x0800) -> bytes:
    frame = bytes(6) + bytes.fromhex(mac.replace(":", "")) + struct.pack(">H", kind)
    return frame + bytes(12) + bytes(map(int, source.split("."))) + bytes(24)


@pytest.mark.parametrize(
    ("frames", "seen"),
    [
        ((), Traffic()),
        ((b"cut",), Traffic()),
        ((ipv4(ADDRESS, mac="52:55:0a:00:02:02"),), Traffic()),
        ((ipv4(NONE),), Traffic(spoke=True)),
        ((ipv4(ADDRESS, kind=0x0806),), Traffic(spoke=True)),
        ((ipv4(ADDRESS)[:20],), Traffic(spoke=True)),
        ((ipv4(NONE), ipv4(ADDRESS)), Traffic(spoke=True, has_address=True)),
    ],
)
def test_how_far_it_got(frames: tuple[bytes, ...], seen: Traffic) -> None:
    """An image without a driver or without DHCP would be told as one whose service does not listen."""
    assert read(pcap(*frames)) == seen


def test_either_byte_order_is_read() -> None:
    """On another processor QEMU writes the other one, and every machine would be told as silent."""
    assert read(pcap(ipv4(ADDRESS), order=">")).has_address


def test_half_a_record_is_passed_over() -> None:
    """QEMU may be writing it just now."""
    assert read(pcap(ipv4(ADDRESS))[:-30]).spoke
    assert not read(pcap(ipv4(ADDRESS))[:30]).spoke
