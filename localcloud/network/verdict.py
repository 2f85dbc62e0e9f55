"""Whether a new flow passes, where it goes, and if not, why: security groups, network ACLs, routes.

Decides as a VPC does, with nothing but a `Topology`; it does no I/O. A flow that passed is tracked (`flows`): its
answers pass without being asked about here. Nothing that is not known to be allowed passes.

Sources: VPC user guide ("Security groups", "Network ACLs", "Route tables", "NAT gateways", "Gateway endpoints"). As
there, security groups filter neither the metadata service nor Amazon's DNS server; the router answers those itself and
does not ask here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from localcloud.network.topology import EVERY, Exit, Interface, Rule, Subnet, Topology

if TYPE_CHECKING:
    from collections.abc import Iterable

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17}
EPHEMERAL = (1024, 65_535)
"""Ports that answers come back to (VPC user guide, "Ephemeral ports")."""

HTTP, HTTPS = 80, 443

LOOPBACK = "127."
"""What the names of load balancers begin with: where they listen on this computer."""

PREFIX_LIST = "pl-"


@dataclass(frozen=True)
class Packet:
    """The first packet of a flow: the protocol's number, where to, and the port there (of ICMP: the type; code 0)."""

    protocol: int
    to: str
    port: int = 0


@dataclass(frozen=True)
class Passes:
    """A flow that is allowed: to an interface in the VPC, or to an `exit`'s port on this machine."""

    interface: Interface | None = None
    port: int | None = None


@dataclass(frozen=True)
class Rejected:
    """A flow that is not; `reason` says by what, with ids."""

    reason: str


class Judge:
    """Decides over one topology."""

    def __init__(self, topology: Topology) -> None:
        self._groups = {group.id: group for group in topology.groups}
        self._subnets = {subnet.id: subnet for subnet in topology.subnets}
        self._nats = {nat.id: nat for nat in topology.nats}
        self._prefix_lists = dict(topology.prefix_lists)
        self._exits = dict(topology.exits)
        self._listeners = frozenset(topology.listeners)
        self._at = {(self._subnets[one.subnet].vpc, one.address): one for one in topology.interfaces}
        self._owned: dict[str, list[Interface]] = {}
        for one in topology.interfaces:
            self._owned.setdefault(one.owner, []).append(one)

    def owned(self, owner: str) -> list[Interface]:
        """The interfaces of an instance, an endpoint or a load balancer."""
        return self._owned.get(owner, [])

    def at(self, vpc: str, address: str) -> Interface | None:
        """The interface that has an address in a VPC."""
        return self._at.get((vpc, address))

    def subnet(self, interface: Interface) -> Subnet:
        """The subnet of an interface."""
        return self._subnets[interface.subnet]

    def leaves(self, source: Interface, packet: Packet) -> Passes | Rejected:
        """Whether a flow that begins at `source` passes, and to where."""
        subnet = self._subnets[source.subnet]
        target = self.at(subnet.vpc, packet.to)
        if not self._lets(source.groups, "egress", packet, packet.to, target.groups if target else ()):
            return Rejected(f"no egress rule of {_told(source.groups)}")
        route = self._route(subnet, packet.to)
        if route is None:
            return Rejected(f"no route in {subnet.id}")
        if route == "local":
            if target is None:
                return Rejected("no interface has the address")
            return self.between(source, target, packet)
        if refused := self._acl(subnet, packet, packet.to, egress=True):
            return Rejected(refused)
        return self._out(source, route, packet)

    def between(self, source: Interface, target: Interface, packet: Packet) -> Passes | Rejected:
        """Whether a flow from one interface of a VPC to another passes."""
        if not self._lets(source.groups, "egress", packet, target.address, target.groups):
            return Rejected(f"no egress rule of {_told(source.groups)}")
        here, there = self._subnets[source.subnet], self._subnets[target.subnet]
        if here.id != there.id:  # within a subnet no network ACL counts
            for subnet, other, egress in ((here, target, True), (there, source, False)):
                if refused := self._acl(subnet, packet, other.address, egress=egress):
                    return Rejected(refused)
        if not self._lets(target.groups, "ingress", packet, source.address, source.groups):
            return Rejected(f"no ingress rule of {_told(target.groups)} of {target.owner}")
        return self._at_port(target, packet)

    def _at_port(self, target: Interface, packet: Packet) -> Passes | Rejected:
        """Whether something at an interface takes a flow that is allowed. What a machine takes, it decides itself."""
        if target.owner in self._exits:  # an endpoint
            if (packet.protocol, packet.port) != (PROTOCOLS["tcp"], HTTPS):
                return Rejected(f"{target.owner} takes TCP at port {HTTPS} only")
            return Passes(target, self._exits[target.owner].tls)
        if target.owner.startswith(LOOPBACK) and (
            packet.protocol != PROTOCOLS["tcp"] or (target.owner, packet.port) not in self._listeners
        ):
            # Whatever else of this computer listens there is no part of the VPC.
            return Rejected(f"the load balancer {target.owner} has no listener there")
        return Passes(target)

    def _out(self, source: Interface, route: str, packet: Packet) -> Passes | Rejected:
        """Out of the VPC by a route's target."""
        if route.startswith("vpce-"):
            return self._exit(route, packet)
        if route.startswith("nat-"):
            return self._translated(source, route, packet)
        if route.startswith("igw-"):
            if source.public is None:
                return Rejected(f"{source.owner} has no public address for {route}")
            return self._exit(source.public, packet)
        return Rejected(f"the local cloud carries nothing to {route}")

    def _translated(self, source: Interface, route: str, packet: Packet) -> Passes | Rejected:
        """Out through a NAT gateway. Its subnet has routes and a network ACL of its own."""
        nat = self._nats.get(route)
        if nat is None or not nat.available or nat.subnet not in self._subnets:
            return Rejected(f"{route} is not available")
        subnet = self._subnets[nat.subnet]
        outward = self._route(subnet, packet.to)
        if nat.public is None or outward is None or not outward.startswith("igw-"):
            return Rejected(f"{route} has no way to the internet: an address, and a route to an internet gateway")
        refused = None
        if subnet.id != source.subnet:
            refused = self._acl(subnet, packet, source.address, egress=False)
        refused = refused or self._acl(subnet, packet, packet.to, egress=True)
        return Rejected(refused) if refused else self._exit(nat.public, packet)

    def _exit(self, name: str, packet: Packet) -> Passes | Rejected:
        ways = self._exits.get(name, Exit(0))
        port = {HTTPS: ways.tls, HTTP: ways.plain}.get(packet.port)
        if packet.protocol != PROTOCOLS["tcp"] or not port:
            return Rejected("nothing outside of the VPC answers there: the local cloud has HTTP and HTTPS only")
        return Passes(port=port)

    def _route(self, subnet: Subnet, address: str) -> str | None:
        """Where the most specific route leads."""
        found: tuple[int, str] | None = None
        for route in subnet.routes:
            listed = route.destination.startswith(PREFIX_LIST)  # one that is not known has IPv6 blocks only
            for cidr in self._prefix_lists.get(route.destination, () if listed else (route.destination,)):
                length = int(cidr.partition("/")[2])
                if (found is None or length > found[0]) and _within(address, cidr):
                    found = length, route.target
        return found[1] if found else None

    def _lets(self, groups: Iterable[str], side: str, packet: Packet, address: str, peers: Iterable[str]) -> bool:
        """Whether a rule of the groups lets a packet pass to or from an address whose interface has groups `peers`."""
        rules: Iterable[Rule] = (
            rule for name in groups if name in self._groups for rule in getattr(self._groups[name], side)
        )
        return any(_covers(rule, packet) and self._names(rule, address, peers) for rule in rules)

    def _names(self, rule: Rule, address: str, peers: Iterable[str]) -> bool:
        if rule.group is not None:
            return rule.group in peers
        cidrs = self._prefix_lists.get(rule.prefix_list, ()) if rule.prefix_list else (rule.cidr,)
        return any(cidr is not None and _within(address, cidr) for cidr in cidrs)

    def _acl(self, subnet: Subnet, packet: Packet, other: str, *, egress: bool) -> str | None:
        """What a network ACL refuses of a flow between the subnet and an address outside of it: there, or the answer.

        `egress` is whether the flow leaves the subnet. Not tracked: the answers must pass, too, to ephemeral ports.
        """
        there = (packet.port, packet.port)
        for answer in (False, True):
            ports = EPHEMERAL if answer else there
            side = "egress" if egress != answer else "ingress"
            if not _acl_allows(subnet, packet.protocol, other, ports, side):
                way = "answers" if answer else "packets"
                return f"the network ACL of {subnet.id} refuses the {way}"
        return None


def _acl_allows(subnet: Subnet, protocol: int, other: str, ports: tuple[int, int], side: str) -> bool:
    for entry in sorted(subnet.acl, key=lambda entry: entry.number):
        if entry.side != side or not _within(other, entry.cidr):
            continue
        if entry.protocol not in {EVERY, str(protocol)}:
            continue
        portless = entry.protocol == EVERY or protocol == PROTOCOLS["icmp"]
        if not portless and not (entry.first <= ports[0] and ports[1] <= entry.last):
            # Which ephemeral port is taken is the guest's choice: a rule that refuses some of them may refuse it.
            if entry.action == "deny" and entry.first <= ports[1] and ports[0] <= entry.last:
                return False
            continue
        return entry.action == "allow"
    return False


def _covers(rule: Rule, packet: Packet) -> bool:
    if rule.protocol == EVERY:
        return True
    if PROTOCOLS.get(rule.protocol, rule.protocol) not in {packet.protocol, str(packet.protocol)}:
        return False
    if packet.protocol == PROTOCOLS["icmp"]:  # its "ports" are type and code; -1 is every one of them
        return rule.first in {-1, packet.port} and rule.last in {-1, 0}
    return rule.first <= packet.port <= rule.last


def _within(address: str, cidr: str) -> bool:
    network = _network(cidr)
    return network is not None and _address(address) in network


@lru_cache(8192)
def _network(cidr: str) -> IPv4Network | None:
    return None if ":" in cidr else IPv4Network(cidr, strict=False)


@lru_cache(8192)
def _address(text: str) -> IPv4Address:
    return IPv4Address(text)


def _told(groups: Iterable[str]) -> str:
    return ", ".join(groups) or "no security group"
