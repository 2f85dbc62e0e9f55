"""What the router must know of the account's networks, as values: addresses, routes, security groups, endpoints.

Decides nothing. One `Topology` is everything at one moment; the local cloud makes it from moto (`reading`) and sends it
to the router's process whenever it changed, so nothing here imports moto. Addresses are text, as EC2 tells them.
"""

from __future__ import annotations

from dataclasses import dataclass

EVERY = "-1"
"""A rule's protocol that stands for all of them (EC2 API reference: IpPermission)."""


@dataclass(frozen=True)
class Rule:
    """One rule of a security group: protocol, ports, and exactly one of a CIDR block, a group or a prefix list."""

    protocol: str
    first: int = 0
    last: int = 65_535
    cidr: str | None = None
    group: str | None = None
    prefix_list: str | None = None


@dataclass(frozen=True)
class Group:
    """A security group."""

    id: str
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One entry of a network ACL: `side` is ingress or egress, `action` allow or deny. The lowest number decides."""

    number: int
    side: str
    action: str
    protocol: str
    cidr: str
    first: int = 0
    last: int = 65_535


@dataclass(frozen=True)
class Route:
    """A route: a CIDR block or the id of a prefix list, and the id of where it leads (`local`, igw-, nat-, vpce-…)."""

    destination: str
    target: str


@dataclass(frozen=True)
class Subnet:
    """A subnet with the routes and the network ACL that count for it. `vpc_cidrs` are all blocks of its VPC."""

    id: str
    vpc: str
    cidr: str
    vpc_cidrs: tuple[str, ...]
    routes: tuple[Route, ...] = ()
    acl: tuple[Entry, ...] = ()
    resolves: bool = True
    """Whether the VPC has Amazon's DNS server (EC2 API reference: enableDnsSupport)."""


@dataclass(frozen=True)
class Interface:
    """A network interface in use. `owner` is an instance's id, an endpoint's, or a load balancer's name in the DNS."""

    id: str
    owner: str
    address: str
    mac: str
    subnet: str
    groups: tuple[str, ...] = ()
    public: str | None = None
    hop_limit: int = 64
    """Of what the metadata service answers (EC2 API reference: HttpPutResponseHopLimit)."""


@dataclass(frozen=True)
class Nat:
    """A NAT gateway; `public` is its address in the internet."""

    id: str
    subnet: str
    public: str | None
    available: bool = True


@dataclass(frozen=True)
class Exit:
    """Where the loopback ports are that stand for what is outside of the VPC: `tls` for 443, `plain` for 80."""

    tls: int
    plain: int | None = None


@dataclass(frozen=True)
class Machine:
    """A guest: its instance, the folder of QEMU's sockets, and its metadata service's port."""

    instance: str
    folder: str
    metadata_port: int


@dataclass(frozen=True)
class Topology:
    """Everything at one moment. `names` are the DNS names of each VPC with their addresses.

    `listeners` are the ports of load balancers, by their names in the DNS. `callers` are the load balancers that send
    requests to a port of an instance. `exits` belong to endpoints, by their
    ids, and to what has a public address, by that address. `prefix_lists` are by id; `ranges`
    are an address of each service that gateway endpoints lead to.
    """

    region: str = "us-east-1"
    groups: tuple[Group, ...] = ()
    subnets: tuple[Subnet, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    nats: tuple[Nat, ...] = ()
    prefix_lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ranges: tuple[tuple[str, str], ...] = ()
    exits: tuple[tuple[str, Exit], ...] = ()
    names: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    listeners: tuple[tuple[str, int], ...] = ()
    callers: tuple[tuple[str, int, tuple[str, ...]], ...] = ()
    machines: tuple[Machine, ...] = ()
