"""How far the network of a machine got, from the packets at its network interface in a pcap file.

Format: pcap, as QEMU's filter-dump writes it (draft-ietf-opsawg-pcap), Ethernet (IEEE 802.3), IPv4 (RFC 791). What is
cut off or not understood is passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fleetswap.domain.boot.machine import ADDRESS, MAC

_HEADER, _RECORD, _ETHERNET, _SOURCE = 24, 16, 14, 26
"""Bytes of the file's header, of a record's and of a frame's; where IPv4's source address is in a frame."""

_IPV4 = b"\x08\x00"
_MAC = bytes.fromhex(MAC.replace(":", ""))
_ADDRESS = bytes(map(int, ADDRESS.split(".")))


@dataclass(frozen=True)
class Traffic:
    """What the machine sent: anything, and anything from the address that DHCP gives it."""

    spoke: bool = False
    has_address: bool = False


def read(pcap: bytes) -> Traffic:
    """What the machine with `MAC` sent."""
    own = [frame for frame in _frames(pcap) if frame[6:12] == _MAC]
    from_address = (each[12:14] == _IPV4 and each[_SOURCE : _SOURCE + 4] == _ADDRESS for each in own)
    return Traffic(bool(own), any(from_address))


def _frames(pcap: bytes) -> Iterator[bytes]:
    """The frames, at least a header long. QEMU writes in the byte order of its computer."""
    order = "<" if pcap[:4] == b"\xd4\xc3\xb2\xa1" else ">"
    at = _HEADER
    while at + _RECORD <= len(pcap):
        kept = struct.unpack_from(f"{order}I", pcap, at + 8)[0]
        frame = pcap[at + _RECORD : at + _RECORD + kept]
        if len(frame) >= _ETHERNET:
            yield frame
        at += _RECORD + kept
