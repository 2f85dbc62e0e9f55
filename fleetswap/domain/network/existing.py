"""An existing VPC: whether a fleet can stand in it. Pure: everything that is wrong follows from facts read before.

Nothing here changes a VPC, and all that is wrong is reported at once, before the first resource.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fleetswap.domain.errors import InputError
from fleetswap.domain.network.endpoints import INTERFACE, KMS, Endpoint, service_names
from fleetswap.domain.network.subnets import BALANCER_FREE

FEWEST_ZONES = 2
"""Zones that an Application Load Balancer needs (CreateLoadBalancer, Subnets)."""

WORLD = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True)
class Route:
    """One route: a CIDR block or prefix list, and where it leads: the ID of a gateway, or `local`."""

    destination: str
    target: str
    active: bool = True


@dataclass(frozen=True)
class Subnet:
    """A subnet as EC2 tells it. `zone` is the zone's name, `free` the number of addresses that nobody has.

    `table` is the route table that it uses, its own or the VPC's main one. `public` and `ipv6`: whether an instance
    that is launched there gets a public IPv4 address, and an IPv6 address.
    """

    id: str
    zone: str
    free: int
    table: str
    routes: tuple[Route, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    public: bool = False
    ipv6: bool = False
    ipv6_blocks: tuple[str, ...] = ()
    ipv6_only: bool = False


@dataclass(frozen=True)
class Present:
    """An endpoint that the VPC has. `ours`: this stack made it."""

    id: str
    service: str
    kind: str
    private_dns: bool = False
    ours: bool = False


@dataclass(frozen=True)
class Vpc:
    """A VPC as EC2 tells it, with all its subnets. `groups` has the VPC of each security group that was asked for."""

    id: str
    region: str
    dns_support: bool = True
    dns_hostnames: bool = True
    subnets: tuple[Subnet, ...] = ()
    endpoints: tuple[Present, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Named:
    """Subnets of one kind, by IDs or by tags."""

    ids: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """What the settings want of an existing VPC.

    `balancer` is None if the load balancer is not the stack's own. `machines` and `balancer_free` are the addresses
    that must be free, the second in each subnet.
    """

    machine: Named
    balancer: Named | None = None
    internal: bool = False
    ipv6: bool = False
    machines: int = 0
    balancer_free: int = BALANCER_FREE
    cidrs: tuple[str, ...] = ()
    prefix_lists: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """Security groups that machines connect to, and those that they are members of."""
    needs_kms: bool = False
    https: bool = True
    """Whether the machines may connect to something at port 443, besides what `endpoints` bring."""


@dataclass(frozen=True)
class Chosen:
    """The subnets of each kind, in the order of their IDs in the settings, or sorted if they were named by tags."""

    machine: tuple[Subnet, ...]
    balancer: tuple[Subnet, ...] = ()

    @property
    def zones(self) -> tuple[str, ...]:
        """Names of the machines' zones."""
        return tuple(sorted({subnet.zone for subnet in self.machine}))

    @property
    def tables(self) -> tuple[str, ...]:
        """The route tables of the machines' subnets."""
        return tuple(sorted({subnet.table for subnet in self.machine}))


def choose(wanted: Wanted, vpc: Vpc) -> Chosen:
    """The subnets that the settings name, as far as the VPC has them."""
    return Chosen(
        tuple(_subnets(wanted.machine, vpc)), () if wanted.balancer is None else tuple(_subnets(wanted.balancer, vpc))
    )


def check(wanted: Wanted, vpc: Vpc, chosen: Chosen, endpoints: Sequence[Endpoint], found: Sequence[str] = ()) -> None:
    """Refuse a VPC in which the fleet would not run. One `InputError` tells all that is wrong, `found` included."""
    problems = [
        *found,
        *_machines(wanted, vpc, chosen),
        *(() if wanted.balancer is None else _balancer(wanted, wanted.balancer, vpc, chosen)),
        *wrong_groups(wanted.groups, wanted.destinations, vpc.groups, (vpc.id,)),
        *_routes(wanted, chosen, endpoints),
        *_endpoints(vpc, endpoints),
        *_kms(wanted, vpc, chosen, endpoints),
    ]
    if problems:
        raise InputError(f"fleetswap:network: {vpc.id} does not suit, nothing was changed: {'; '.join(problems)}")


def _subnets(named: Named, vpc: Vpc) -> Iterator[Subnet]:
    by_id = {subnet.id: subnet for subnet in vpc.subnets}
    if named.ids:
        yield from (by_id[each] for each in named.ids if each in by_id)
    else:
        for each in sorted(by_id):
            if named.tags.items() <= by_id[each].tags.items():
                yield by_id[each]


def _missing(named: Named, vpc: Vpc, kind: str, found: Sequence[Subnet]) -> Iterator[str]:
    known = {subnet.id for subnet in vpc.subnets}
    for each in named.ids:
        if each not in known:
            yield f"{each} is not one of its subnets: correct vpc.{kind}_subnets"
    zones = sorted({subnet.zone for subnet in found})
    if not named.ids and not found:
        yield f"none of its subnets has the tags {_pairs(named.tags)}: correct vpc.{kind}_subnet_tags, or tag subnets"
    elif len(zones) < FEWEST_ZONES:
        by = f"with the tags {_pairs(named.tags)} " if not named.ids else ""
        yield (
            f"the {kind} subnets {by}are in {' and '.join(zones) or 'no zone'}, and a load balancer needs two zones:"
            f" name more {kind} subnets"
        )


def _without_ipv4(subnets: Iterable[Subnet]) -> Iterator[str]:
    for subnet in subnets:
        if subnet.ipv6_only:
            yield f"{subnet.id} is for IPv6 only, and machines and load balancer need IPv4: name another"


def _pairs(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(tags.items()))


def _machines(wanted: Wanted, vpc: Vpc, chosen: Chosen) -> Iterator[str]:
    yield from _missing(wanted.machine, vpc, "machine", chosen.machine)
    yield from _without_ipv4(chosen.machine)
    free = sum(subnet.free for subnet in chosen.machine)
    if chosen.machine and free < wanted.machines:
        yield (
            f"the machine subnets have {free} free addresses, and {wanted.machines} more machines must fit"
            " (capacity.max for each release that starts): name larger subnets, or reduce capacity.max"
        )


def _balancer(wanted: Wanted, named: Named, vpc: Vpc, chosen: Chosen) -> Iterator[str]:
    yield from _missing(named, vpc, "balancer", chosen.balancer)
    yield from _without_ipv4(subnet for subnet in chosen.balancer if subnet not in chosen.machine)
    zones = [subnet.zone for subnet in chosen.balancer]
    for zone in sorted({zone for zone in zones if zones.count(zone) > 1}):
        yield f"the load balancer has several subnets in {zone}, and can use one: name one of them"
    if chosen.balancer:
        for zone in chosen.zones:
            if zone not in zones:
                yield f"the load balancer has no subnet in {zone}, so machines there get no requests: name one"
    for subnet in chosen.balancer:
        if subnet.free < wanted.balancer_free:
            yield (
                f"{subnet.id} has {subnet.free} free addresses, and a load balancer needs {wanted.balancer_free}: name"
                " a larger subnet of the same zone"
            )
        if not wanted.internal and not any(_leads_out(route, WORLD[4]) for route in subnet.routes):
            yield f"{subnet.id} has no route to an internet gateway: name a public subnet, or set front.internal"
        if wanted.ipv6 and not subnet.ipv6_blocks:
            yield f"{subnet.id} has no IPv6 CIDR block: associate one, or remove `ipv6`"


def _leads_out(route: Route, destination: str) -> bool:
    return route.active and route.destination == destination and route.target.startswith("igw-")


def wrong_groups(
    members: Collection[str], destinations: Collection[str], known: Mapping[str, str], vpcs: Collection[str]
) -> Iterator[str]:
    """What is wrong with security groups of which machines are members, or to which they connect.

    `known` has the VPC of each group that there is; `vpcs` are those of the machines.
    """
    for group in dict.fromkeys((*members, *destinations)):
        where = known.get(group)
        if where is None:
            yield f"the security group {group} does not exist in this account and region"
        elif group in members and where not in vpcs:
            here = " and ".join(sorted(vpcs)) or "the stack's own VPC"
            yield f"the security group {group} belongs to {where}, and machines can only be in groups of {here}"


def _routes(wanted: Wanted, chosen: Chosen, endpoints: Sequence[Endpoint]) -> Iterator[str]:
    for subnet in chosen.machine:
        for cidr in wanted.cidrs:
            if not _reaches(subnet, cidr):
                yield (
                    f"{subnet.id} has no route to {cidr}, which `egress` names: add one (NAT, peering, transit"
                    " gateway), or remove the rule"
                )
        for each in wanted.prefix_lists:
            # A gateway endpoint that is asked for brings the route to its prefix list.
            brought = any(endpoint.kind != INTERFACE for endpoint in endpoints)
            there = any(route.active and route.destination == each for route in subnet.routes)
            if not (there or brought or _reaches(subnet, WORLD[4])):
                yield f"{subnet.id} has no route to {each}, which `egress` names: add one, or remove the rule"


def _reaches(subnet: Subnet, cidr: str) -> bool:
    """Whether a machine there has a route to the block: to all of it, or, if it is private, to a part of it.

    Of the routes to all of it the most specific one counts, even if it leads nowhere (VPC user guide, "Route
    priority").
    """
    wanted = ipaddress.ip_network(cidr)
    blocks = [route for route in subnet.routes if not route.destination.startswith("pl-")]
    covering = [route for route in blocks if is_inside(cidr, route.destination)]
    counts = max(covering, key=lambda route: ipaddress.ip_network(route.destination).prefixlen, default=None)
    for route in blocks:
        if not route.active or (route in covering and route is not counts):
            continue
        there = ipaddress.ip_network(route.destination)
        if isinstance(wanted, ipaddress.IPv4Network) and isinstance(there, ipaddress.IPv4Network):
            covers = wanted.subnet_of(there) or (_is_private(cidr) and there.subnet_of(wanted))
            addressed = subnet.public
        elif isinstance(wanted, ipaddress.IPv6Network) and isinstance(there, ipaddress.IPv6Network):
            covers = wanted.subnet_of(there) or (_is_private(cidr) and there.subnet_of(wanted))
            addressed = subnet.ipv6
        else:
            continue
        # Behind an internet gateway nobody answers to an address that only the VPC knows.
        if covers and (addressed or not route.target.startswith(("igw-", "eigw-"))):
            return True
    return False


PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
"""Never in the internet (RFC 1918, RFC 6598, RFC 4193)."""


def _is_private(cidr: str) -> bool:
    return any(is_inside(cidr, each) for each in PRIVATE)


def is_inside(cidr: str, outer: str) -> bool:
    """Whether a CIDR block lies within another one of the same kind."""
    inner, whole = ipaddress.ip_network(cidr), ipaddress.ip_network(outer)
    if isinstance(inner, ipaddress.IPv6Network):
        return isinstance(whole, ipaddress.IPv6Network) and inner.subnet_of(whole)
    return isinstance(whole, ipaddress.IPv4Network) and inner.subnet_of(whole)


def _endpoints(vpc: Vpc, endpoints: Sequence[Endpoint]) -> Iterator[str]:
    if any(each.private_dns for each in endpoints) and not (vpc.dns_support and vpc.dns_hostnames):
        yield "interface endpoints need its attributes enableDnsSupport and enableDnsHostnames: turn both on"
    for each in endpoints:
        for there in vpc.endpoints:
            if (there.service, there.kind) == (each.service, each.kind) and not there.ours:
                yield (
                    f"it already has the endpoint {there.id} for {each.name}: remove {each.name} from `endpoints`,"
                    " and add its security group or prefix list to `egress`"
                )


def _kms(wanted: Wanted, vpc: Vpc, chosen: Chosen, endpoints: Collection[Endpoint]) -> Iterator[str]:
    names = service_names(KMS, vpc.region)
    if not wanted.needs_kms or any(each.service in names for each in endpoints):
        return
    there = next((there for there in vpc.endpoints if there.service in names and there.private_dns), None)
    if there is not None:
        if not wanted.https:
            yield (
                f"machines may not connect to KMS to decrypt their secrets: add the security group of its endpoint"
                f" {there.id} to `egress`, with port 443"
            )
        return
    lost = [subnet for subnet in chosen.machine if not _reaches(subnet, WORLD[4])]
    for subnet in lost:
        yield f"machines in {subnet.id} cannot reach KMS to decrypt their secrets: add kms to `endpoints`"
    if not lost and not wanted.https:
        yield "machines may not connect to KMS to decrypt their secrets: add kms to `endpoints`"
