"""Ethernet frames and what is in them: taken apart, put together, and their addresses changed in place.

Decides nothing. Knows IPv4 without options, ARP, UDP and TCP; the rest is told apart and left alone. Checksums are
changed by what changed (RFC 1624), which costs the same for a packet of 9,000 bytes as for one of 60.
Sources: RFC 791, 768, 793, 826, 1071.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

ARP, IPV4 = 0x0806, 0x0800
ICMP, TCP, UDP = 1, 6, 17
BROADCAST = b"\xff" * 6

SYN, RST, FIN, ACK = 0x02, 0x04, 0x01, 0x10
_FIRST_BYTE, _FLAGS, _TTL, _PROTOCOL = 14, 47, 22, 23
_CHECKSUM_AT = {TCP: 50, UDP: 40}
NEWEST = 14 + 20 + 8
"""The shortest frame with an IPv4 header and ports."""


def mac(text: str) -> bytes:
    """The bytes of a hardware address."""
    return bytes.fromhex(text.replace(":", ""))


def ip(text: str) -> bytes:
    """The bytes of an IPv4 address."""
    return IPv4Address(text).packed


def text(address: bytes) -> str:
    """An IPv4 address as text."""
    return ".".join(map(str, address))


def is_plain(frame: bytes) -> bool:
    """Whether it is a whole IPv4 packet without options, long enough for ports, and no piece of a larger one."""
    return (
        len(frame) >= NEWEST
        and frame[12:14] == b"\x08\x00"
        and frame[_FIRST_BYTE] == 0x45
        and not int.from_bytes(frame[20:22], "big") & 0x3FFF
    )


def key(frame: bytes) -> bytes:
    """What names a packet's flow in its direction: protocol, addresses, ports; of ICMP the identifier for the ports."""
    if frame[_PROTOCOL] == ICMP:
        return frame[23:24] + frame[26:34] + frame[38:40] * 2
    return frame[23:24] + frame[26:38]


def flags(frame: bytes) -> int:
    """The flags of a TCP segment."""
    return frame[_FLAGS] if len(frame) > _FLAGS else 0


def connects(frame: bytes) -> bool:
    """Whether a packet opens a TCP connection."""
    return frame[_PROTOCOL] == TCP and flags(frame) & (SYN | ACK) == SYN


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    return ~_folded(sum(struct.unpack(f"!{len(data) // 2}H", data))) & 0xFFFF


def _folded(total: int) -> int:
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _sum(data: bytes) -> int:
    return sum(struct.unpack(f"!{len(data) // 2}H", data))


@dataclass(frozen=True)
class Rewrite:
    """New hardware addresses, addresses and ports for the packets of one direction of a flow."""

    ethernet: bytes
    ends: bytes
    ip_delta: int
    ports_delta: int
    ttl: int | None

    @classmethod
    def of(cls, was: bytes, ends: bytes, *, to: bytes, by: bytes, ttl: int | None = None) -> Rewrite:
        """`was` and `ends` are two addresses and two ports, 12 bytes; `to` and `by` are hardware addresses."""
        addresses = _folded(_sum(ends[:8]) + 0xFFFF * 4 - _sum(was[:8]))
        both = _folded(_sum(ends) + 0xFFFF * 6 - _sum(was))
        return cls(to + by + b"\x08\x00", ends, addresses, both, ttl)

    def apply(self, frame: bytes) -> bytes:
        """The frame with its new ends. Of ICMP only the addresses change."""
        out = bytearray(frame)
        out[0:14] = self.ethernet
        protocol, ip_delta = frame[_PROTOCOL], self.ip_delta
        if self.ttl is not None:
            ip_delta += ((self.ttl - frame[_TTL]) << 8) + 0xFFFF00
            out[_TTL] = self.ttl
        out[24:26] = _changed(frame[24:26], ip_delta)
        if protocol == ICMP:
            out[26:34] = self.ends[:8]
            return bytes(out)
        out[26:38] = self.ends
        at = _CHECKSUM_AT[protocol]
        if protocol == TCP or frame[at : at + 2] != b"\0\0":  # a UDP checksum of zero is none
            out[at : at + 2] = _changed(frame[at : at + 2], self.ports_delta)
        return bytes(out)


def _changed(was: bytes, delta: int) -> bytes:
    """A checksum after a change of what it sums (RFC 1624, equation 3)."""
    return (~_folded((~int.from_bytes(was, "big") & 0xFFFF) + delta) & 0xFFFF).to_bytes(2, "big")


@dataclass(frozen=True)
class Arp:
    """An ARP packet: operation 1 asks for `target`, 2 answers."""

    operation: int
    sender_mac: bytes
    sender: bytes
    target_mac: bytes
    target: bytes

    @classmethod
    def read(cls, frame: bytes) -> Arp | None:
        """What is in a frame; None if that is no ARP for IPv4."""
        if len(frame) < 42 or frame[12:22] != b"\x08\x06\x00\x01\x08\x00\x06\x04" + frame[20:22]:
            return None
        operation = int.from_bytes(frame[20:22], "big")
        return cls(operation, frame[22:28], frame[28:32], frame[32:38], frame[38:42])

    def answer(self, hardware: bytes) -> bytes:
        """The frame that tells whoever asked that `target` is at `hardware`."""
        head = self.sender_mac + hardware + b"\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02"
        return (head + hardware + self.target + self.sender_mac + self.sender).ljust(60, b"\0")


@dataclass(frozen=True)
class Datagram:
    """A UDP packet with all its addresses."""

    to: bytes
    by: bytes
    source: bytes
    target: bytes
    source_port: int
    target_port: int
    data: bytes

    @classmethod
    def read(cls, frame: bytes) -> Datagram | None:
        """What is in a frame that `is_plain`; None if that is no UDP, or cut short."""
        if frame[_PROTOCOL] != UDP:
            return None
        source_port, target_port, length = struct.unpack_from("!HHH", frame, 34)
        if length < 8 or len(frame) < 34 + length:
            return None
        return cls(
            frame[0:6], frame[6:12], frame[26:30], frame[30:34], source_port, target_port, frame[42 : 34 + length]
        )

    def frame(self) -> bytes:
        """The frame of it, with both checksums."""
        length = 8 + len(self.data)
        udp = struct.pack("!HHHH", self.source_port, self.target_port, length, 0) + self.data
        pseudo = self.source + self.target + struct.pack("!HH", UDP, length)
        udp = udp[:6] + (checksum(pseudo + udp) or 0xFFFF).to_bytes(2, "big") + udp[8:]
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, UDP, 0) + self.source + self.target
        head = head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
        return (self.to + self.by + b"\x08\x00" + head + udp).ljust(60, b"\0")

    def reply(self, data: bytes) -> Datagram:
        """The datagram that goes back."""
        return Datagram(self.by, self.to, self.target, self.source, self.target_port, self.source_port, data)
