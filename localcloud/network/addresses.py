"""DHCP and ARP of a subnet, as a guest in a VPC meets them.

Decides which address a guest gets (the one of its network interface, always), who answers for which address, and when
silence is the answer. Nothing is remembered: a lease cannot be taken by another, so each request is answered from the
interface alone, and RELEASE and DECLINE change nothing.

Sources: RFC 2131, 2132, 3442 and 5227; VPC user guide, "Subnet CIDR blocks" (the first addresses of a subnet),
"DHCP option sets", "Jumbo frames" (MTU 9001).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Network

from localcloud.network.frames import BROADCAST, Arp, Datagram, ip

LEASE_SECONDS = 3600  # what EC2's DHCP server gives
MTU = 9001

LINK_LOCAL = {name: ip(name) for name in ("169.254.169.254", "169.254.169.253", "169.254.169.123")}
METADATA, RESOLVER = LINK_LOCAL["169.254.169.254"], LINK_LOCAL["169.254.169.253"]

SERVER, CLIENT = 67, 68
_COOKIE = b"\x63\x82\x53\x63"
_DISCOVER, _OFFER, _REQUEST, _ACK, _NAK, _INFORM = 1, 2, 3, 5, 6, 8
_BROADCAST_FLAG = 0x8000


@dataclass(frozen=True)
class Lease:
    """What a guest gets: its address, its subnet, the VPC's DNS server, its domain and name."""

    address: bytes
    hardware: bytes
    subnet: IPv4Network
    resolver: bytes
    domain: str
    gateway_mac: bytes

    @property
    def gateway(self) -> bytes:
        """The subnet's router: the first address after the network's own."""
        return (self.subnet.network_address + 1).packed

    @property
    def host_name(self) -> str:
        """The name that EC2 gives to an address."""
        return "ip-" + "-".join(map(str, self.address))


def arp(asked: Arp, lease: Lease, interfaces: dict[bytes, bytes]) -> bytes | None:
    """The answer to a guest's ARP request; None where nobody answers.

    `interfaces` are the hardware addresses of the subnet's other addresses. For its own address nobody answers, or the
    guest would take it for taken (RFC 5227); nor for one that no interface has.
    """
    if asked.operation != 1 or asked.target == lease.address:
        return None
    if asked.target == lease.gateway or asked.target in LINK_LOCAL.values() or asked.target == lease.resolver:
        return asked.answer(lease.gateway_mac)
    hardware = interfaces.get(asked.target)
    return None if hardware is None else asked.answer(hardware)


def dhcp(packet: Datagram, lease: Lease) -> bytes | None:
    """The frame that answers a guest's DHCP message; None for one that gets no answer."""
    data = packet.data
    if len(data) < 241 or data[0] != 1 or data[236:240] != _COOKIE or data[28:34] != lease.hardware:
        return None
    options = _options(data[240:])
    kind = options.get(53, b"\0")[0]
    server = options.get(54)
    if kind in {_DISCOVER, _INFORM}:
        answer = _OFFER if kind == _DISCOVER else _ACK
    elif kind == _REQUEST:
        if server is not None and server != lease.gateway:
            return None  # it took another server's offer
        wanted = options.get(50) or data[12:16]
        answer = _ACK if wanted == lease.address else _NAK
    else:
        return None  # RELEASE and DECLINE get no answer; the rest is a server's
    return _message(data, answer, lease, inform=kind == _INFORM).frame()


def _message(asked: bytes, kind: int, lease: Lease, *, inform: bool) -> Datagram:
    broadcast = struct.unpack_from("!H", asked, 10)[0] & _BROADCAST_FLAG
    client = asked[12:16]
    yours = b"\0" * 4 if inform or kind == _NAK else lease.address
    head = struct.pack("!BBBB", 2, 1, 6, 0) + asked[4:8] + b"\0\0" + asked[10:12]
    head += (client if kind == _ACK else b"\0" * 4) + yours + b"\0" * 8 + asked[28:44] + b"\0" * 192 + _COOKIE
    options = [(53, bytes([kind])), (54, lease.gateway)]
    if kind != _NAK:
        if not inform:
            seconds = (LEASE_SECONDS, LEASE_SECONDS // 2, LEASE_SECONDS * 7 // 8)
            options += [(code, struct.pack("!I", value)) for code, value in zip((51, 58, 59), seconds, strict=True)]
        options += [
            (1, lease.subnet.netmask.packed),
            (28, lease.subnet.broadcast_address.packed),
            (3, lease.gateway),
            (6, lease.resolver),
            (15, lease.domain.encode()),
            (12, lease.host_name.encode()),
            (26, struct.pack("!H", MTU)),
        ]
    body = b"".join(bytes([code, len(value)]) + value for code, value in options) + b"\xff"
    # A client that has its address already gets the answer there; else it may have to be broadcast (RFC 2131, 4.1).
    has_address = client == lease.address and kind != _NAK
    everyone = not has_address and (broadcast or kind == _NAK)
    return Datagram(
        BROADCAST if everyone else lease.hardware,
        lease.gateway_mac,
        lease.gateway,
        b"\xff" * 4 if everyone else lease.address,
        SERVER,
        CLIENT,
        (head + body).ljust(300, b"\0"),
    )


def _options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 1 < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        length = data[at + 1]
        found.setdefault(data[at], data[at + 2 : at + 2 + length])
        at += 2 + length
    return {code: value for code, value in found.items() if value}
