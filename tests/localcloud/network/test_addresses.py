"""A guest gets the address of its network interface, by DHCP, as clients expect it of EC2."""

from __future__ import annotations

import struct
from ipaddress import IPv4Network

import pytest

from localcloud.network.addresses import LINK_LOCAL, Lease, arp, dhcp
from localcloud.network.frames import BROADCAST, Arp, Datagram, ip, mac, text

GUEST, ROUTER = mac("0a:00:00:00:00:04"), mac("06:aa:0a:42:01:00")
HERE = ip("10.66.1.4")
LEASE = Lease(HERE, GUEST, IPv4Network("10.66.1.0/24"), ip("10.66.0.2"), "ec2.internal", ROUTER)
NOBODY = text(bytes(4))
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)


def ask(
    kind: int, options: dict[int, bytes] | None = None, *, client: bytes = b"\0" * 4, flags: int = 0, by: bytes = GUEST
) -> bytes | None:
    """The answer to a client's message."""
    head = struct.pack("!BBBBIHH", 1, 1, 6, 0, 0x1234, 3, flags) + client + b"\0" * 12 + by.ljust(16, b"\0")
    body = b"".join(bytes([code, len(value)]) + value for code, value in {53: bytes([kind]), **(options or {})}.items())
    data = head + b"\0" * 192 + b"\x63\x82\x53\x63" + b"\0" + body + b"\xff"
    return dhcp(Datagram(BROADCAST, by, client, b"\xff" * 4, 68, 67, data), LEASE)


def read(frame: bytes | None) -> tuple[Datagram, str, dict[int, bytes]]:
    """An answer: the datagram, the address that it gives, its options."""
    assert frame is not None
    packet = Datagram.read(frame)
    assert packet is not None
    options, at = {}, 240
    while packet.data[at] != 255:
        length = packet.data[at + 1]
        options[packet.data[at]] = packet.data[at + 2 : at + 2 + length]
        at += 2 + length
    assert (packet.source_port, packet.target_port) == (67, 68)
    assert packet.data[4:8] == struct.pack("!I", 0x1234)
    return packet, text(packet.data[16:20]), options


def test_a_lease_has_what_a_client_needs() -> None:
    """systemd-networkd, dhcpcd or udhcpc would have an address and no way out, no names, or no time to renew."""
    packet, address, options = read(ask(DISCOVER))
    assert (address, options[53]) == ("10.66.1.4", bytes([OFFER]))
    assert text(options[54]) == text(options[3]) == "10.66.1.1"
    assert (text(options[1]), text(options[28]), text(options[6])) == ("255.255.255.0", "10.66.1.255", "10.66.0.2")
    assert (options[15], options[12], options[26]) == (b"ec2.internal", b"ip-10-66-1-4", struct.pack("!H", 9001))
    lease, renew, rebind = (struct.unpack("!I", options[code])[0] for code in (51, 58, 59))
    assert renew < rebind < lease == 3600
    assert packet.to == GUEST
    assert len(packet.data) >= 300  # a BOOTP message; some clients drop shorter ones
    _, address, options = read(ask(REQUEST, {50: HERE, 54: ip("10.66.1.1")}))
    assert (address, options[53]) == ("10.66.1.4", bytes([ACK]))


def test_a_client_that_asks_for_a_broadcast_gets_one_and_one_that_renews_does_not() -> None:
    """A client without an address would not see the answer; one that renews would keep the lease to its end only."""
    packet, _, _ = read(ask(DISCOVER, flags=0x8000))
    assert (packet.to, text(packet.target)) == (BROADCAST, "255.255.255.255")
    packet, address, options = read(ask(REQUEST, client=HERE))
    assert (packet.to, packet.target, packet.data[12:16]) == (GUEST, HERE, HERE)
    assert (address, options[53]) == ("10.66.1.4", bytes([ACK]))


def test_another_address_is_refused() -> None:
    """A disk that was used in another subnet would keep the address of that."""
    for message in ({50: ip("10.9.0.4")}, {50: ip("10.66.1.5"), 54: ip("10.66.1.1")}):
        packet, address, options = read(ask(REQUEST, message))
        assert (address, options[53], packet.to) == (NOBODY, bytes([NAK]), BROADCAST)
        assert 51 not in options


def test_who_has_an_address_is_told_the_rest() -> None:
    """A machine with a fixed address would not learn its name server."""
    packet, address, options = read(ask(INFORM, client=HERE))
    assert (address, options[53], packet.target) == (NOBODY, bytes([ACK]), HERE)
    assert 51 not in options
    assert 6 in options


@pytest.mark.parametrize("kind", [RELEASE, DECLINE, OFFER, ACK])
def test_some_messages_get_no_answer(kind: int) -> None:
    """A client that gives its address back would be told something that it cannot place."""
    assert ask(kind) is None


def test_only_the_interface_s_own_messages_are_answered() -> None:
    """A guest would get the address of another one; or the answer of a server that it did not choose."""
    assert ask(DISCOVER, by=mac("0a:00:00:00:00:05")) is None
    assert ask(REQUEST, {50: HERE, 54: ip("10.66.1.9")}) is None
    assert dhcp(Datagram(BROADCAST, GUEST, b"\0" * 4, b"\xff" * 4, 68, 67, b"short"), LEASE) is None


def test_arp_finds_the_router_neighbours_and_aws_s_own_addresses() -> None:
    """A guest would not reach its subnet's router, another machine, or its metadata."""
    neighbour = mac("0a:00:00:00:00:05")
    interfaces = {ip("10.66.1.5"): neighbour}
    for address, expected in (
        (ip("10.66.1.1"), ROUTER),
        (ip("10.66.1.5"), neighbour),
        *((one, ROUTER) for one in LINK_LOCAL.values()),
    ):
        frame = arp(Arp(1, GUEST, HERE, b"\0" * 6, address), LEASE, interfaces)
        found = Arp.read(frame or b"")
        assert found is not None
        assert (found.sender_mac, found.sender) == (expected, address)


def test_nobody_answers_for_a_guest_s_own_address_nor_for_a_free_one() -> None:
    """A guest would take its own address for taken, and give it up."""
    for address in (HERE, ip("10.66.1.77")):
        assert arp(Arp(1, GUEST, b"\0" * 4, b"\0" * 6, address), LEASE, {}) is None
    assert arp(Arp(2, GUEST, HERE, b"\0" * 6, ip("10.66.1.1")), LEASE, {}) is None
