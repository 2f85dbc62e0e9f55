"""Frames keep their checksums right when their addresses change, whatever is in them."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from localcloud.network.frames import ICMP, TCP, UDP, Arp, Datagram, Rewrite, checksum, ip, is_plain, key, mac, text

GUEST, ROUTER = mac("0a:00:00:00:00:04"), mac("06:aa:0a:42:01:00")
HERE, THERE = ip("10.66.1.4"), ip("198.18.0.1")


def packet(protocol: int, source: bytes, target: bytes, ports: tuple[int, int], data: bytes, ttl: int = 64) -> bytes:
    """A frame with right checksums, put together here a second time so that the code is not judged by itself."""
    ends = struct.pack("!HH", *ports)
    if protocol == TCP:
        body = ends + struct.pack("!IIBBHHH", 1, 2, 0x50, 0x02, 1000, 0, 0) + data
        at = 16
    elif protocol == UDP:
        body = ends + struct.pack("!HH", 8 + len(data), 0) + data
        at = 6
    else:
        body = struct.pack("!BBHHH", 8, 0, 0, *ports) + data
        at = 2
    pseudo = b"" if protocol == ICMP else source + target + struct.pack("!HH", protocol, len(body))
    body = body[:at] + struct.pack("!H", checksum(pseudo + body)) + body[at + 2 :]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0x4000, ttl, protocol, 0) + source + target
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return ROUTER + GUEST + b"\x08\x00" + head + body


def right(frame: bytes) -> bool:
    """Whether both checksums of a frame are right."""
    protocol, head, body = frame[23], frame[14:34], frame[34:]
    pseudo = b"" if protocol == ICMP else head[12:20] + struct.pack("!HH", protocol, len(body))
    return checksum(head) == 0 and checksum(pseudo + body) in {0, 0xFFFF}


ADDRESSES = st.binary(min_size=4, max_size=4)
PORTS = st.tuples(st.integers(0, 65_535), st.integers(0, 65_535))


@given(
    st.sampled_from([TCP, UDP]), ADDRESSES, ADDRESSES, PORTS, ADDRESSES, ADDRESSES, PORTS, st.binary(max_size=99),
    st.none() | st.integers(1, 255), st.integers(1, 255),
)  # fmt: skip
def test_a_packet_gets_other_ends_and_keeps_the_rest(
    protocol: int,
    source: bytes,
    target: bytes,
    ports: tuple[int, int],
    to_source: bytes,
    to_target: bytes,
    to_ports: tuple[int, int],
    data: bytes,
    ttl: int | None,
    old_ttl: int,
) -> None:
    """Some packets would be dropped by the guest for a wrong checksum: a stall once in a while, which nobody finds."""
    frame = packet(protocol, source, target, ports, data, old_ttl)
    assert right(frame)
    ends = to_source + to_target + struct.pack("!HH", *to_ports)
    moved = Rewrite.of(key(frame)[1:], ends, to=GUEST, by=ROUTER, ttl=ttl).apply(frame)
    assert right(moved)
    assert moved[:14] == GUEST + ROUTER + b"\x08\x00"
    assert moved[26:38] == ends
    assert moved[22] == (old_ttl if ttl is None else ttl)
    assert moved[42:] == frame[42:] if protocol == UDP else moved[52:] == frame[52:]


@given(ADDRESSES, ADDRESSES, PORTS, st.binary(max_size=99))
def test_an_echo_keeps_its_identifier(source: bytes, target: bytes, ports: tuple[int, int], data: bytes) -> None:
    """A ping would come back as another one."""
    frame = packet(ICMP, source, target, ports, data)
    ends = target + source + b"\0\0\0\0"
    moved = Rewrite.of(key(frame)[1:], ends, to=GUEST, by=ROUTER).apply(frame)
    assert moved[26:34] == target + source
    assert moved[34:] == frame[34:]
    assert right(moved)


def test_a_udp_packet_without_a_checksum_stays_without() -> None:
    """Its receiver would take it for broken."""
    frame = bytearray(packet(UDP, HERE, THERE, (1, 2), b"x"))
    frame[40:42] = b"\0\0"
    moved = Rewrite.of(key(bytes(frame))[1:], THERE + HERE + b"\0\1\0\2", to=GUEST, by=ROUTER).apply(bytes(frame))
    assert moved[40:42] == b"\0\0"


def test_pieces_and_options_and_other_protocols_are_told_apart() -> None:
    """Bytes of the middle of a packet would be taken for ports."""
    frame = packet(TCP, HERE, THERE, (1, 2), b"data")
    assert is_plain(frame)
    for at, byte in ((12, 0x86), (14, 0x46), (20, 0x20), (21, 0x01)):
        other = bytearray(frame)
        other[at] = byte
        assert not is_plain(bytes(other)), at
    assert not is_plain(frame[:40])


def test_a_datagram_is_read_and_answered() -> None:
    """The answers of DHCP and DNS would not reach whoever asked."""
    frame = packet(UDP, HERE, THERE, (68, 67), b"question")
    asked = Datagram.read(frame)
    assert asked is not None
    assert (asked.data, asked.source_port, text(asked.target)) == (b"question", 68, "198.18.0.1")
    answered = asked.reply(b"answer").frame()
    assert right(answered[: 42 + 6])
    back = Datagram.read(answered)
    assert back is not None
    assert (back.data, back.to, back.source, back.target_port) == (b"answer", GUEST, THERE, 68)
    assert Datagram.read(packet(TCP, HERE, THERE, (1, 2), b"")) is None
    assert Datagram.read(frame[:45]) is None  # cut short


def test_arp_is_read_and_answered() -> None:
    """A guest would not find its router."""
    asked = Arp(1, GUEST, HERE, b"\0" * 6, THERE)
    frame = b"\xff" * 6 + GUEST + b"\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01" + GUEST + HERE + b"\0" * 6 + THERE
    assert Arp.read(frame) == asked
    answered = Arp.read(asked.answer(ROUTER))
    assert answered == Arp(2, ROUTER, THERE, GUEST, HERE)
    assert Arp.read(packet(TCP, HERE, THERE, (1, 2), b"")) is None
