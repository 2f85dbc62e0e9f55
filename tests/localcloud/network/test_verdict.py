"""What passes between interfaces, out of a VPC and into it, and the reason where nothing does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localcloud.network.topology import (
    Entry,
    Exit,
    Group,
    Interface,
    Nat,
    Route,
    Rule,
    Subnet,
    Topology,
)
from localcloud.network.verdict import Judge, Packet, Passes, Rejected

ICMP, TCP, UDP = 1, 6, 17
ALLOW_ALL = tuple(Entry(100, side, "allow", "-1", "0.0.0.0/0") for side in ("egress", "ingress"))
CIDRS = ("10.66.0.0/16",)
LOCAL = Route("10.66.0.0/16", "local")

WEB = Interface("eni-web", "i-web", "10.66.1.4", "0a:00:00:00:00:04", "subnet-a", ("sg-web",))
DB = Interface("eni-db", "i-db", "10.66.2.5", "0a:00:00:00:00:05", "subnet-b", ("sg-db",))
KMS = Interface("eni-kms", "vpce-kms", "10.66.1.9", "0a:00:00:00:00:09", "subnet-a", ("sg-kms",))
PUBLIC = Subnet("subnet-public", "vpc-1", "10.66.0.0/24", CIDRS, (LOCAL, Route("0.0.0.0/0", "igw-1")), ALLOW_ALL)
WORLD = Topology(
    groups=(
        Group(
            "sg-web",
            egress=(
                Rule("tcp", 5432, 5433, group="sg-db"),
                Rule("tcp", 443, 443, group="sg-kms"),
                Rule("tcp", 443, 443, prefix_list="pl-s3"),
                Rule("tcp", 443, 443, cidr="203.0.113.0/24"),
                Rule("udp", 0, 65_535, cidr="203.0.113.0/24"),
                Rule("icmp", 8, -1, cidr="10.66.0.0/16"),
            ),
        ),
        Group("sg-db", ingress=(Rule("tcp", 5432, 5432, group="sg-web"), Rule("icmp", -1, -1, cidr="10.66.1.0/24"))),
        Group("sg-kms", ingress=(Rule("tcp", 443, 443, group="sg-web"),)),
    ),
    subnets=(
        Subnet("subnet-a", "vpc-1", "10.66.1.0/24", CIDRS, (LOCAL,), ALLOW_ALL),
        Subnet("subnet-b", "vpc-1", "10.66.2.0/24", CIDRS, (LOCAL,), ALLOW_ALL),
        PUBLIC,
    ),
    interfaces=(WEB, DB, KMS),
    nats=(Nat("nat-1", "subnet-public", "198.51.100.7"),),
    prefix_lists=(("pl-s3", ("52.216.0.0/15",)),),
    exits=(("vpce-kms", Exit(4001, 4002)), ("vpce-s3", Exit(4003, 4004)), ("198.51.100.7", Exit(4005, 4006))),
)


def routed(*routes: Route, topology: Topology = WORLD, **changes: object) -> Topology:
    """The topology with more routes of the machine's subnet, and other changes of that."""
    subnets = tuple(
        replace(one, routes=(*one.routes, *routes), **changes) if one.id == "subnet-a" else one  # type: ignore[arg-type]
        for one in topology.subnets
    )
    return replace(topology, subnets=subnets)


def grouped(group: Group) -> Topology:
    """The topology with another security group in the place of the one that has its id."""
    return replace(WORLD, groups=tuple(group if one.id == group.id else one for one in WORLD.groups))


def judged(topology: Topology, to: str, port: int, protocol: int = TCP) -> str:
    """What becomes of a flow of the machine `WEB`: where it goes, or the reason why not."""
    verdict = Judge(topology).leaves(WEB, Packet(protocol, to, port))
    if isinstance(verdict, Rejected):
        return verdict.reason
    return f"port {verdict.port}" if verdict.port is not None else str(verdict.interface and verdict.interface.owner)


NAT = Route("0.0.0.0/0", "nat-1")
WITH_NAT = routed(NAT)
S3 = Route("pl-s3", "vpce-s3")


@pytest.mark.parametrize(
    ("topology", "to", "port", "protocol", "expected"),
    [
        (WORLD, "10.66.2.5", 5432, TCP, "i-db"),
        (WORLD, "10.66.2.5", 5433, TCP, "no ingress rule of sg-db of i-db"),
        (WORLD, "10.66.2.5", 22, TCP, "no egress rule of sg-web"),
        (WORLD, "10.66.2.5", 5432, UDP, "no egress rule of sg-web"),
        (WORLD, "10.66.2.5", 8, ICMP, "i-db"),
        (WORLD, "10.66.2.5", 13, ICMP, "no egress rule of sg-web"),
        (WORLD, "10.66.1.9", 443, TCP, "port 4001"),
        (WORLD, "10.66.1.9", 80, TCP, "no egress rule of sg-web"),
        (WORLD, "203.0.113.5", 443, TCP, "no route in subnet-a"),
        (WITH_NAT, "203.0.113.5", 443, TCP, "port 4005"),
        (WITH_NAT, "203.0.113.5", 53, UDP, "nothing outside of the VPC answers there"),
        (WITH_NAT, "52.216.0.10", 443, TCP, "port 4005"),
        (routed(NAT, S3), "52.216.0.10", 443, TCP, "port 4003"),
        (routed(S3), "52.216.0.10", 443, TCP, "port 4003"),
        (routed(S3), "203.0.113.5", 443, TCP, "no route in subnet-a"),
        (routed(Route("0.0.0.0/0", "igw-1")), "203.0.113.5", 443, TCP, "i-web has no public address for igw-1"),
        (routed(Route("203.0.113.0/24", "tgw-1")), "203.0.113.5", 443, TCP, "carries nothing to tgw-1"),
        (routed(NAT, Route("203.0.113.0/25", "blackhole")), "203.0.113.5", 443, TCP, "carries nothing to blackhole"),
    ],
)
def test_groups_and_routes(topology: Topology, to: str, port: int, protocol: int, expected: str) -> None:
    """A machine would reach here what it cannot reach in AWS, or the other way round."""
    assert expected in judged(topology, to, port, protocol)


def test_every_group_of_an_interface_counts_and_none_lets_nothing_pass() -> None:
    """A rule of a machine's second security group would count for nothing; one without a group would be open."""
    two = replace(WEB, groups=("sg-none", "sg-web"))
    none = replace(WEB, groups=())
    judge = Judge(WORLD)
    assert isinstance(judge.leaves(two, Packet(TCP, DB.address, 5432)), Passes)
    assert judge.leaves(none, Packet(TCP, DB.address, 5432)) == Rejected("no egress rule of no security group")


def test_an_address_that_nobody_has_is_silence() -> None:
    """A machine would get an answer of something that does not exist."""
    assert judged(grouped(Group("sg-web", egress=(Rule("-1", cidr="0.0.0.0/0"),))), "10.66.1.77", 80) == (
        "no interface has the address"
    )


def test_an_endpoint_takes_https_only_and_only_what_its_group_lets_in() -> None:
    """A deploy without an ingress rule of the endpoint's group would work here and hang in AWS."""
    everything = Group("sg-web", egress=(Rule("-1", cidr="0.0.0.0/0"),))
    assert judged(grouped(everything), KMS.address, 80) == "no ingress rule of sg-kms of vpce-kms"
    opened = replace(grouped(Group("sg-kms", ingress=(Rule("-1", cidr="10.66.0.0/16"),))))
    assert judged(replace(opened, groups=(*opened.groups[1:], everything)), KMS.address, 80) == (
        "vpce-kms takes TCP at port 443 only"
    )
    assert judged(grouped(Group("sg-kms")), KMS.address, 443) == "no ingress rule of sg-kms of vpce-kms"


@pytest.mark.parametrize(
    ("nats", "public"),
    [
        ((), PUBLIC),
        ((Nat("nat-1", "subnet-public", "198.51.100.7", available=False),), PUBLIC),
        ((Nat("nat-1", "subnet-public", None),), PUBLIC),
        (WORLD.nats, replace(PUBLIC, routes=(LOCAL,))),
        (WORLD.nats, replace(PUBLIC, acl=())),
    ],
)
def test_a_nat_gateway_without_a_way_out_lets_nothing_pass(nats: tuple[Nat, ...], public: Subnet) -> None:
    """A NAT gateway that is pending, private, or in a private subnet would work here and not in AWS."""
    subnets = tuple(public if one.id == "subnet-public" else one for one in WITH_NAT.subnets)
    assert not judged(replace(WITH_NAT, nats=nats, subnets=subnets), "203.0.113.5", 443).startswith("port")


def test_a_public_address_goes_out_by_an_internet_gateway() -> None:
    """A machine of an existing, public subnet would not reach what it reaches in AWS."""
    topology = routed(Route("0.0.0.0/0", "igw-1"))
    topology = replace(topology, exits=(*topology.exits, ("198.51.100.9", Exit(5001))))
    public = replace(WEB, public="198.51.100.9")
    assert Judge(topology).leaves(public, Packet(TCP, "203.0.113.5", 443)) == Passes(port=5001)
    assert isinstance(Judge(topology).leaves(public, Packet(TCP, "203.0.113.5", 80)), Rejected)


REFUSED = "the network ACL of subnet-a refuses the "
RETURN = Entry(90, "ingress", "allow", "6", "10.66.2.0/24", 1024, 65_535)


@pytest.mark.parametrize(
    ("acl", "expected"),
    [
        (ALLOW_ALL, "i-db"),
        ((), REFUSED),
        ((Entry(100, "egress", "allow", "-1", "0.0.0.0/0"),), REFUSED),  # the answers do not come back: not tracked
        ((Entry(100, "egress", "allow", "6", "10.66.2.0/24", 5432, 5432), RETURN), "i-db"),
        ((Entry(100, "egress", "allow", "17", "10.66.2.0/24", 5432, 5432), RETURN), REFUSED),
        ((Entry(100, "egress", "allow", "6", "10.66.3.0/24", 5432, 5432), RETURN), REFUSED),
        ((*ALLOW_ALL, Entry(50, "egress", "deny", "6", "10.66.2.5/32", 5000, 6000)), REFUSED),
        ((*ALLOW_ALL, Entry(150, "egress", "deny", "6", "10.66.2.5/32", 5000, 6000)), "i-db"),
        ((*ALLOW_ALL, Entry(50, "ingress", "deny", "6", "0.0.0.0/0", 40_000, 50_000)), REFUSED),
    ],
)
def test_network_acls_are_not_stateful_and_the_lowest_number_decides(acl: tuple[Entry, ...], expected: str) -> None:
    """An existing VPC's network ACL would cut machines off in AWS only."""
    assert expected in judged(routed(acl=acl), DB.address, 5432)


def test_within_a_subnet_no_network_acl_counts() -> None:
    """Machines of one subnet would not reach each other here."""
    assert judged(routed(acl=()), KMS.address, 443) == "port 4001"


def test_what_comes_in_is_judged_by_both_ends() -> None:
    """A load balancer whose group has no egress rule to the machines would still be healthy here."""
    node = Interface("elb/a", "127.66.0.1", "10.66.0.9", "0a:00:00:00:00:99", "subnet-public", ("sg-lb",))
    in_rule = Group("sg-db", ingress=(Rule("tcp", 8080, 8080, group="sg-lb"),))
    out_rule = Group("sg-lb", egress=(Rule("tcp", 8080, 8080, group="sg-db"),))
    packet = Packet(TCP, DB.address, 8080)
    for groups, passes in (((in_rule, out_rule), True), ((in_rule,), False), ((out_rule,), False)):
        verdict = Judge(replace(WORLD, groups=groups)).between(node, DB, packet)
        assert isinstance(verdict, Passes) == passes


def test_a_load_balancer_is_reached_at_its_listeners_and_nowhere_else() -> None:
    """A group that lets everything in would open every port of this computer to the machines, UDP included."""
    node = Interface("elb/a", "127.66.0.1", "10.66.1.20", "0a:00:00:00:00:99", "subnet-a", ("sg-lb",))
    topology = replace(
        WORLD,
        groups=(
            Group("sg-web", egress=(Rule("-1", cidr="10.66.0.0/16"),)),
            Group("sg-lb", ingress=(Rule("-1", cidr="10.66.0.0/16"),)),
        ),
        interfaces=(WEB, node),
        listeners=(("127.66.0.1", 443), ("127.66.0.2", 22)),
    )
    assert judged(topology, node.address, 443) == "127.66.0.1"
    for port, protocol in ((22, TCP), (80, TCP), (443, UDP), (8, ICMP)):
        assert judged(topology, node.address, port, protocol) == "the load balancer 127.66.0.1 has no listener there"


def test_a_route_to_a_prefix_list_of_ipv6_is_no_route_here() -> None:
    """Each new flow of a machine would be an error of the router."""
    assert judged(routed(NAT, Route("pl-ipv6", "eigw-1")), "203.0.113.5", 443) == "port 4005"


def test_another_vpc_with_the_same_addresses_is_another_world() -> None:
    """Two services whose VPCs have one CIDR block would reach each other's machines."""
    foreign = Subnet("subnet-x", "vpc-2", "10.66.2.0/24", CIDRS, (LOCAL,), ALLOW_ALL)
    twin = replace(DB, id="eni-x", owner="i-x", subnet="subnet-x")
    topology = replace(WORLD, subnets=(*WORLD.subnets, foreign), interfaces=(WEB, KMS, twin))
    assert judged(topology, DB.address, 5432) == "no egress rule of sg-web"
    assert judged(replace(topology, interfaces=(WEB, twin, DB)), DB.address, 5432) == "i-db"
