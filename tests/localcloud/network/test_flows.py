"""What is tracked, for how long, and what a cable does with more than it can take."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest

from localcloud.network.flows import CLOSING_SECONDS, OPENING_SECONDS, UDP_SECONDS, Flow, Socket, sweep
from localcloud.network.frames import ACK, FIN, RST, SYN, TCP, UDP, Rewrite, key
from localcloud.network.guests import REMEMBERED, World
from localcloud.network.record import LONGEST, MOST, Record, tail
from localcloud.network.topology import Interface, Topology
from localcloud.network.verdict import Rejected
from localcloud.network.wires import QUEUED_BYTES, Wire
from tests.localcloud.network.test_frames import GUEST, HERE, ROUTER, THERE, packet

if TYPE_CHECKING:
    from pathlib import Path

ENDS = HERE + THERE + struct.pack("!HH", 4000, 80)
BACK = THERE + HERE + struct.pack("!HH", 80, 4000)


def segment(flags: int, *, back: bool = False) -> bytes:
    ends = (THERE, HERE, (80, 4000)) if back else (HERE, THERE, (4000, 80))
    frame = bytearray(packet(TCP, *ends, b""))
    frame[47] = flags
    return bytes(frame)


def tracked(protocol: int = TCP) -> tuple[Flow, Socket, Socket]:
    """A flow between two places, both ways."""
    first, second, flow = Socket(), Socket(), Flow(protocol, 0.0)
    name, back = bytes([protocol]) + ENDS, bytes([protocol]) + BACK
    flow.add(first, name, second, Rewrite.of(ENDS, ENDS, to=ROUTER, by=GUEST))
    flow.add(second, back, first, Rewrite.of(BACK, BACK, to=GUEST, by=ROUTER))
    return flow, first, second


def lives(first: Socket, second: Socket, now: float) -> bool:
    sweep([first.table, second.table], now)
    assert bool(first.table) == bool(second.table)
    return bool(first.table)


def test_a_connection_is_tracked_until_it_ends() -> None:
    """An idle connection to a database would be cut off; or one that ended be tracked for ever."""
    _, first, second = tracked()
    first.table[key(segment(SYN))].forward(segment(SYN), 1.0)
    assert lives(first, second, OPENING_SECONDS)
    second.table[key(segment(SYN | ACK, back=True))].forward(segment(SYN | ACK, back=True), 2.0)
    assert lives(first, second, 100_000.0)  # an hour and more of silence
    first.table[key(segment(FIN))].forward(segment(FIN | ACK), 100_000.0)
    assert lives(first, second, 100_000.0 + 2 * CLOSING_SECONDS)  # half of it is open
    second.table[key(segment(FIN, back=True))].forward(segment(FIN | ACK, back=True), 100_100.0)
    assert lives(first, second, 100_100.0 + CLOSING_SECONDS)
    assert not lives(first, second, 100_100.0 + CLOSING_SECONDS + 1)


def test_a_connection_that_nobody_answers_or_that_is_reset_is_forgotten_soon() -> None:
    """A guest that tries many addresses would fill the table."""
    _, first, second = tracked()
    assert not lives(first, second, OPENING_SECONDS + 1)
    _, first, second = tracked()
    second.table[key(segment(RST, back=True))].forward(segment(RST, back=True), 1.0)
    assert not lives(first, second, CLOSING_SECONDS + 2)
    _, first, second = tracked(UDP)
    assert not lives(first, second, UDP_SECONDS + 1)


def test_a_newer_flow_of_the_same_ends_stays() -> None:
    """A connection would be cut off because one before it, between the same ports, was forgotten."""
    old, first, second = tracked()
    new = Flow(TCP, 0.0)
    name = bytes([TCP]) + ENDS
    new.add(first, name, second, Rewrite.of(ENDS, ENDS, to=ROUTER, by=GUEST))
    old.forget()
    assert first.table[name].flow is new


def test_frames_come_whole_however_the_stream_is_cut() -> None:
    """A frame would be taken for two, and what comes after it for noise."""
    near, far = socket.socketpair()
    wire = Wire(near)
    frames = [bytes([n]) * (n * 400) for n in range(1, 4)]
    stream = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    got = []
    for at in range(0, len(stream), 7):
        far.sendall(stream[at : at + 7])
        got += wire.receive()
    assert got == frames
    assert wire.receive() == []
    far.sendall((1 << 20).to_bytes(4, "big"))
    with pytest.raises(ValueError, match="a frame of"):
        wire.receive()
    far.close()
    with pytest.raises(ConnectionResetError):
        wire.receive()
    wire.close()


def test_a_guest_that_takes_nothing_holds_up_nobody() -> None:
    """A machine that hangs would take the router's memory, or stop every other machine's packets."""
    near, far = socket.socketpair()
    wire = Wire(near)
    for _ in range(3 * QUEUED_BYTES // 9000):
        wire.put(b"x" * 9000)
        wire.flush()
    assert wire.waits
    assert len(wire._out) < QUEUED_BYTES + 9004
    far.close()
    wire.close()


def test_what_was_rejected_is_told_once_and_for_another_reason_again(tmp_path: Path) -> None:
    """Whoever looks for the reason would find it among thousands of the same, or not find the present one."""
    path = tmp_path / "rejected.log"
    assert tail(path) == []
    record = Record(path)
    interface = Interface("eni-1", "i-1", "10.66.1.4", "", "subnet-a")
    for port in (4000, 4001):
        name = bytes([TCP]) + HERE + THERE + struct.pack("!HH", port, 80)
        record.reject(interface, name, "no route in subnet-a")
    record.reject(interface, name, "no egress rule of sg-1")
    first, second = tail(path)
    assert first.startswith("2 123456789012 eni-1 10.66.1.4 198.18.0.1 4000 80 6 1 0 ")
    assert first.endswith(" REJECT OK i-1: no route in subnet-a")
    assert second.endswith(" REJECT OK i-1: no egress rule of sg-1")
    path.write_bytes(b"x" * (LONGEST + 1))
    record.reject(interface, name, "another")
    assert len(tail(path)) == 1


def test_a_guest_that_tries_every_address_is_told_of_so_often_and_no_more(tmp_path: Path) -> None:
    """A scan would write a line a packet, and hold up all other guests while it lasts."""
    record = Record(tmp_path / "rejected.log")
    interface = Interface("eni-1", "i-1", "10.66.1.4", "", "subnet-a")
    for port in range(3 * MOST):
        record.reject(interface, bytes([TCP]) + HERE + THERE + struct.pack("!HH", 4000, port), "no route")
    assert MOST <= len((tmp_path / "rejected.log").read_text().splitlines()) <= MOST + 1


def test_verdicts_of_a_scan_are_not_all_remembered() -> None:
    """A machine that tries every address and port would take all of this computer's memory."""
    world = World.of(Topology())
    for port in range(2 * REMEMBERED + 1):
        world.remember(("eni-1", TCP, THERE, port), Rejected("no route"))
    assert len(world.verdicts) == 1
