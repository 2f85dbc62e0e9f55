"""One guest at the router: what becomes of each frame that its machine sends, and of each that comes for it.

Decides with `verdict` about new flows and lets tracked ones pass. A guest has two sockets: `nic`, its network device,
and `host`, the user network of its QEMU (libslirp), which ends TCP connections at this computer's loopback. Only what
was rewritten here to a known port reaches it, so a guest reaches nothing else of this computer.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from localcloud.network import addresses, names
from localcloud.network.flows import MOST, Flow, Socket
from localcloud.network.frames import (
    ICMP,
    TCP,
    UDP,
    Arp,
    Datagram,
    Rewrite,
    connects,
    ip,
    is_plain,
    key,
    mac,
    text,
)
from localcloud.network.verdict import HTTP, LOOPBACK, Judge, Packet, Passes, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.network.topology import Interface, Machine, Topology

HOST = ip("198.18.0.1")
"""This computer's loopback in a guest's user network; see `hypervisor`."""

HOST_MAC = bytes.fromhex("525500000002")
_ECHO = 8
_SEGMENT = frozenset({TCP, UDP})
_NATS = range(32_768, 60_999)
REMEMBERED = 10_000


@dataclass(frozen=True)
class World:
    """What all guests share at one moment. `verdicts` are remembered: a load balancer's flows are alike.

    At most `REMEMBERED` of them, or a guest that tries every address would fill this computer's memory.
    """

    topology: Topology
    judge: Judge
    callers: dict[tuple[str, int], tuple[str, ...]]
    ranges: dict[str, str]
    verdicts: dict[tuple[str, int, bytes, int], Passes | Rejected]

    @classmethod
    def of(cls, topology: Topology) -> World:
        """The world of a topology."""
        callers = {(instance, port): balancers for instance, port, balancers in topology.callers}
        return cls(topology, Judge(topology), callers, dict(topology.ranges), {})

    def remember(self, asked: tuple[str, int, bytes, int], verdict: Passes | Rejected) -> None:
        """Keep a verdict."""
        if len(self.verdicts) >= REMEMBERED:
            self.verdicts.clear()
        self.verdicts[asked] = verdict


class Guest:
    """A machine at the router."""

    def __init__(self, tell: Callable[[Interface, bytes, str], None]) -> None:
        self.nic, self.host = Socket(), Socket()
        self._tell = tell

    def follow(self, machine: Machine, interface: Interface, world: World, peers: dict[str, Guest]) -> None:
        """Be this machine in this world from now on. `peers` are all guests by their instances."""
        self.machine, self.interface, self._world, self._peers = machine, interface, world, peers
        subnet = world.judge.subnet(interface)
        network = IPv4Network(subnet.cidr)
        self.mac, self.address = mac(interface.mac), ip(interface.address)
        self._resolver = (IPv4Network(subnet.vpc_cidrs[0]).network_address + 2).packed
        self._resolves = subnet.resolves
        region = world.topology.region
        self.lease = addresses.Lease(
            address=self.address,
            hardware=self.mac,
            subnet=network,
            resolver=self._resolver,
            domain="ec2.internal" if region == "us-east-1" else f"{region}.compute.internal",
            gateway_mac=_router_mac(network),
        )
        self._neighbours = {
            ip(one.address): mac(one.mac)
            for one in world.topology.interfaces
            if one.subnet == interface.subnet and one.id != interface.id
        }
        self._names = {name: found for vpc, name, found in world.topology.names if vpc == subnet.vpc}

    def sent(self, frame: bytes, now: float) -> None:
        """Take a frame that the guest sent."""
        if frame[6:12] != self.mac:
            return
        if not is_plain(frame):
            asked = Arp.read(frame)
            if asked is not None and asked.sender in {self.address, b"\0" * 4}:
                self._answer(addresses.arp(asked, self.lease, self._neighbours))
            return
        if frame[26:30] != self.address:
            if not self._dhcp(frame) and frame[26:30] != b"\0" * 4:
                self._reject(frame, "its source is not the address of the interface")
            return
        name = key(frame)
        opens = connects(frame)
        hop = self.nic.table.get(name)
        if hop is not None and not opens:
            hop.forward(frame, now)
        elif opens or frame[23] != TCP:  # what is left of a connection that is not tracked, is dropped
            if hop is not None:
                hop.flow.forget()
            self._open(frame, name, now)

    def came(self, frame: bytes, now: float) -> None:
        """Take a frame that comes from this computer."""
        if not is_plain(frame):
            asked = Arp.read(frame)
            if asked is not None and asked.operation == 1 and self.host.wire is not None:
                self.host.wire.put(asked.answer(self.mac))
            return
        name = key(frame)
        opens = connects(frame)
        hop = self.host.table.get(name)
        if hop is not None and not opens:
            hop.forward(frame, now)
        elif opens:
            if hop is not None:
                hop.flow.forget()
            self._called(frame, name, now)

    def _dhcp(self, frame: bytes) -> bool:
        asked = Datagram.read(frame)
        if asked is None or (asked.source_port, asked.target_port) != (addresses.CLIENT, addresses.SERVER):
            return False
        self._answer(addresses.dhcp(asked, self.lease))
        return True

    def _open(self, frame: bytes, name: bytes, now: float) -> None:
        """A new flow of the guest."""
        protocol, target = frame[23], frame[30:34]
        port = int.from_bytes(frame[36:38], "big") if protocol in _SEGMENT else frame[34]
        if target in {self._resolver, addresses.RESOLVER} and (protocol, port) == (UDP, names.PORT):
            self._resolve(frame)
        elif self._dhcp(frame):  # a lease that is renewed
            return
        elif target == addresses.METADATA and (protocol, port) == (TCP, HTTP):
            self._to_host(frame, name, HOST, self.machine.metadata_port, now, ttl=self.interface.hop_limit)
        elif target[0] >= 224 or target == self.lease.subnet.broadcast_address.packed:
            return  # a VPC carries neither multicast nor broadcast
        else:
            self._judge(frame, name, now)

    def _judge(self, frame: bytes, name: bytes, now: float) -> None:
        """A new flow to somewhere that security groups and routes decide about."""
        protocol, target = frame[23], frame[30:34]
        port = int.from_bytes(frame[36:38], "big") if protocol in _SEGMENT else frame[34]
        if target[:2] == b"\xa9\xfe":
            self._reject(frame, "nothing answers there in the local cloud")
            return
        if protocol not in {TCP, UDP, ICMP} or (protocol == ICMP and port != _ECHO):
            self._reject(frame, "the local cloud carries TCP, UDP and ICMP echo only")
            return
        asked = (self.interface.id, protocol, target, port)
        verdict = self._world.verdicts.get(asked)
        if verdict is None:
            verdict = self._world.judge.leaves(self.interface, Packet(protocol, text(target), port))
            self._world.remember(asked, verdict)
        if isinstance(verdict, Rejected):
            self._reject(frame, verdict.reason)
        elif verdict.port is not None:
            self._to_host(frame, name, HOST, verdict.port, now)
        elif verdict.interface is not None:
            self._to_interface(frame, name, verdict.interface, now)

    def _to_interface(self, frame: bytes, name: bytes, target: Interface, now: float) -> None:
        peer = self._peers.get(target.owner)
        if peer is not None:
            if peer is not self:
                self._to_peer(frame, name, peer, now)
        elif target.owner.startswith(LOOPBACK):  # at one of its listeners: the verdict knows no others
            self._to_host(frame, name, ip(target.owner), int.from_bytes(frame[36:38], "big"), now)
        else:
            self._reject(frame, f"{target.owner} does not run")

    def _to_peer(self, frame: bytes, name: bytes, peer: Guest, now: float) -> None:
        near = peer.lease.subnet == self.lease.subnet
        flow = Flow(frame[23], now)
        ends = name[1:]
        back = ends[4:8] + ends[:4] + ends[10:12] + ends[8:10]
        by, by_back = (self.mac, peer.mac) if near else (peer.lease.gateway_mac, self.lease.gateway_mac)
        if not self._room(frame, self.nic, peer.nic):
            return
        flow.add(self.nic, name, peer.nic, Rewrite.of(ends, ends, to=peer.mac, by=by))
        flow.add(peer.nic, name[:1] + back, self.nic, Rewrite.of(back, back, to=self.mac, by=by_back))
        self.nic.table[name].forward(frame, now)

    def _to_host(
        self, frame: bytes, name: bytes, address: bytes, port: int, now: float, *, ttl: int | None = None
    ) -> None:
        """Let a TCP flow pass to a port of this computer."""
        if not self._room(frame, self.nic, self.host):
            return
        ends, own = name[1:], name[9:11]
        target = port.to_bytes(2, "big")
        # Two flows from one port of the guest to two places may lead to one port here.
        while name[:1] + address + self.address + target + own in self.host.table:
            own = secrets.choice(_NATS).to_bytes(2, "big")
        there = self.address + address + own + target
        back = address + self.address + target + own
        was = ends[4:8] + ends[:4] + ends[10:12] + ends[8:10]
        flow = Flow(frame[23], now)
        flow.add(self.nic, name, self.host, Rewrite.of(ends, there, to=HOST_MAC, by=self.mac))
        router = self.lease.gateway_mac
        flow.add(self.host, name[:1] + back, self.nic, Rewrite.of(back, was, to=self.mac, by=router, ttl=ttl))
        self.nic.table[name].forward(frame, now)

    def _called(self, frame: bytes, name: bytes, now: float) -> None:
        """A new flow to the guest, from one of the load balancers."""
        port = int.from_bytes(frame[36:38], "big")
        if frame[26:30] != HOST:
            return
        found = self._caller(port)
        if found is None:
            return
        node, verdict = found
        ends = name[1:]
        seen = ip(node.address) + self.address + ends[8:12]
        if isinstance(verdict, Rejected):
            self._tell(self.interface, name[:1] + seen, verdict.reason)
            return
        if not self._room(frame, self.nic, self.host):
            return
        flow = Flow(TCP, now)
        flow.add(self.host, name, self.nic, Rewrite.of(ends, seen, to=self.mac, by=self.lease.gateway_mac))
        back = seen[4:8] + seen[:4] + seen[10:12] + seen[8:10]
        was = ends[4:8] + ends[:4] + ends[10:12] + ends[8:10]
        flow.add(self.nic, name[:1] + back, self.host, Rewrite.of(back, was, to=HOST_MAC, by=self.mac))
        self.host.table[name].forward(frame, now)

    def _caller(self, port: int) -> tuple[Interface, Passes | Rejected] | None:
        """The node of a load balancer that a new flow to a port of the guest comes from, and whether it passes.

        Where more than one load balancer has the instance and port as a target it is one whose requests pass.
        """
        found = None
        for balancer in self._world.callers.get((self.machine.instance, port), ()):
            node = next(iter(self._world.judge.owned(balancer)), None)
            if node is None:
                continue
            asked = (node.id, TCP, self.address, port)
            verdict = self._world.verdicts.get(asked)
            if verdict is None:
                verdict = self._world.judge.between(node, self.interface, Packet(TCP, self.interface.address, port))
                self._world.remember(asked, verdict)
            found = node, verdict
            if isinstance(verdict, Passes):
                break
        return found

    def _room(self, frame: bytes, *sockets: Socket) -> bool:
        if all(len(socket.table) < MOST for socket in sockets):
            return True
        self._reject(frame, f"{MOST} flows are tracked already")
        return False

    def _resolve(self, frame: bytes) -> None:
        asked = Datagram.read(frame)
        if asked is None or not self._resolves:
            return
        data = names.answer(asked.data, self._names, self._world.ranges)
        if data is not None:
            self._answer(asked.reply(data).frame())

    def _answer(self, frame: bytes | None) -> None:
        if frame is not None and self.nic.wire is not None:
            self.nic.wire.put(frame)

    def _reject(self, frame: bytes, reason: str) -> None:
        self._tell(self.interface, key(frame), reason)


def _router_mac(subnet: IPv4Network) -> bytes:
    """The hardware address of a subnet's router: locally administered, the same for as long as the subnet is."""
    return b"\x06\xaa" + subnet.network_address.packed
