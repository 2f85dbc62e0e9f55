"""The account's networks as moto holds them, for the router.

Decides how what moto has becomes a `Topology`; takes `LOCK` and changes nothing. Where AWS has a network interface with
an address of its subnet and moto has none, as of a load balancer, it has an address near the end of the subnet, where
moto hands out none.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, ip_address
from typing import TYPE_CHECKING

from localcloud.moto_state import LOCK, REGION, Moto, backend
from localcloud.network.topology import EVERY, Entry, Group, Interface, Nat, Route, Rule, Subnet, Topology

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from localcloud.view import Cloud


@dataclass(frozen=True)
class Exits:
    """What leads out of the VPCs: endpoints with the name of their service, and public addresses."""

    endpoints: dict[str, str]
    public: frozenset[str]


class Callers:
    """Which load balancers send requests to which ports of an instance.

    A target group belongs to one load balancer for as long as both exist: its nodes may still send requests there that
    no rule asks for any more (see `balancer`).
    """

    def __init__(self) -> None:
        self._seen: dict[str, frozenset[str]] = {}

    def follow(self, cloud: Cloud) -> dict[str, dict[int, frozenset[str]]]:
        """For each instance its ports, with the load balancers that may call there."""
        seen = {arn: self._seen.get(arn, frozenset()) for arn in cloud.target_groups}
        for listener in cloud.listeners.values():
            for rule in listener.rules:
                for arn in rule.target_groups:
                    if arn in seen:
                        seen[arn] |= {listener.address}
        self._seen = seen
        found: dict[str, dict[int, frozenset[str]]] = {}
        for arn, balancers in seen.items():
            group = cloud.target_groups[arn]
            targets = [*group.targets.items(), *((name, port) for name, (port, _) in group.draining.items())]
            for name, port in targets:
                for used in {port, group.check.port or port}:
                    ports = found.setdefault(name, {})
                    ports[used] = ports.get(used, frozenset()) | balancers
        return found


def read() -> tuple[Topology, Exits]:
    """Everything but what the machines and their hosts know. Takes `LOCK`."""
    with LOCK:
        ec2, elbv2 = backend("ec2"), backend("elbv2")
        subnets = [
            _subnet(ec2, subnet) for zone in ec2.subnets.values() for subnet in zone.values() if subnet.cidr_block
        ]
        cidrs = {subnet.id: subnet.cidr for subnet in subnets}
        interfaces = _placed([*_interfaces(ec2), *_nodes(elbv2)], cidrs)
        endpoints = [one for one in ec2.vpc_end_points.values() if one.state == "available"]
        lists = {one.id: _cidrs(one) for one in ec2.managed_prefix_lists.values() if one.address_family != "IPv6"}
        nats = [_nat(gateway) for gateway in ec2.nat_gateways.values()]
        public = {nat.public for nat in nats if nat.public} | {one.public for one in interfaces if one.public}
        topology = Topology(
            region=REGION,
            groups=tuple(
                Group(group.id, tuple(_rules(group.ingress_rules)), tuple(_rules(group.egress_rules)))
                for groups in ec2.groups.values()
                for group in groups.values()
            ),
            subnets=tuple(subnets),
            interfaces=tuple(interfaces),
            nats=tuple(nats),
            prefix_lists=tuple(lists.items()),
            ranges=tuple(
                (one.prefix_list_name.rpartition(".")[2], str(IPv4Network(lists[one.id][0])[10]))
                for one in ec2.managed_prefix_lists.values()
                if one.owner_id == "AWS" and lists.get(one.id)
            ),
            names=tuple(_names(ec2, endpoints, interfaces)),
            listeners=tuple(sorted(_listeners(elbv2))),
        )
        return topology, Exits({one.id: one.service_name for one in endpoints}, frozenset(public))


def _subnet(ec2: Moto, subnet: Moto) -> Subnet:
    vpc = ec2.vpcs[subnet.vpc_id]
    tables = [table for table in ec2.route_tables.values() if table.vpc_id == subnet.vpc_id]
    own = [table for table in tables if subnet.id in table._associations.values()]
    main = [table for table in tables if table.main_association_id is not None]
    acls = [
        acl
        for acl in ec2.network_acls.values()
        if any(one.subnet_id == subnet.id for one in acl._associations.values())
    ]
    return Subnet(
        id=subnet.id,
        vpc=subnet.vpc_id,
        cidr=subnet.cidr_block,
        # The primary block first: the DNS server is there.
        vpc_cidrs=(vpc.cidr_block, *sorted({one["cidr_block"] for one in vpc.cidr_block_association_set})),
        routes=tuple(route for table in (own or main)[:1] for route in _routes(table)),
        acl=tuple(entry for acl in acls for entry in _entries(acl)),
        resolves=str(vpc.enable_dns_support).lower() == "true",
    )


def _routes(table: Moto) -> Iterator[Route]:
    for route in table.routes:
        prefixes = route.destination_prefix_list
        destination = prefixes.id if prefixes else route.destination_cidr_block
        if not destination:
            continue  # IPv6
        if route.local:
            yield Route(destination, "local")
            continue
        gateway = route.gateway
        if gateway is not None and gateway.id.startswith("igw-") and getattr(gateway, "vpc", None) is None:
            yield Route(destination, f"the detached {gateway.id}")
            continue
        others = (gateway, route.nat_gateway, route.instance, route.interface, route.transit_gateway, route.vpc_pcx)
        target = route.vpc_endpoint_id or next((other.id for other in others if other is not None), "nowhere")
        yield Route(destination, target)


def _entries(acl: Moto) -> Iterator[Entry]:
    for entry in acl.network_acl_entries:
        if not entry.cidr_block:
            continue
        ports = (entry.port_range_from, entry.port_range_to)
        first, last = (0, 65_535) if None in ports else (int(ports[0]), int(ports[1]))
        side = "egress" if _true(entry.egress) else "ingress"
        protocol, number = str(entry.protocol), int(entry.rule_number)
        yield Entry(number, side, entry.rule_action, protocol, entry.cidr_block, first=first, last=last)


def _interfaces(ec2: Moto) -> Iterator[Interface]:
    owners = {
        eni: endpoint.id
        for endpoint in ec2.vpc_end_points.values()
        if endpoint.state == "available"
        for eni in endpoint.network_interface_ids
    }
    groups = {endpoint.id: tuple(endpoint.security_group_ids) for endpoint in ec2.vpc_end_points.values()}
    for eni in ec2.enis.values():
        owner = owners.get(eni.id)
        if owner is not None:
            yield _interface(eni, owner, groups[owner])
    for reservation in ec2.reservations.values():
        for instance in reservation.instances:
            if instance.state in {"pending", "running"} and instance.nics:
                held = tuple(dict.fromkeys(group.id for group in instance.security_groups))
                one = _interface(instance.nics[0], instance.id, held, instance.public_ip)
                yield replace(one, hop_limit=int(instance.metadata_options.http_put_response_hop_limit or 1))


def _interface(eni: Moto, owner: str, groups: tuple[str, ...], public: str | None = None) -> Interface:
    return Interface(eni.id, owner, eni.private_ip_address, eni.mac_address, eni.subnet.id, groups, public)


def _nodes(elbv2: Moto) -> Iterator[Interface]:
    for balancer in elbv2.load_balancers.values():
        for subnet in balancer.subnets:
            name = f"{balancer.dns_name}/{subnet.id}"
            hardware = "0a:00:" + ":".join(f"{byte:02x}" for byte in zlib.crc32(name.encode()).to_bytes(4, "big"))
            yield Interface(name, balancer.dns_name, "", hardware, subnet.id, tuple(balancer.security_groups or ()))


def _listeners(elbv2: Moto) -> Iterator[tuple[str, int]]:
    for balancer in elbv2.load_balancers.values():
        for listener in balancer.listeners.values():
            yield balancer.dns_name, int(listener.port)


def _placed(interfaces: Iterable[Interface], cidrs: Mapping[str, str]) -> list[Interface]:
    """The interfaces whose subnets are known, each with an address of its subnet."""
    networks = {subnet: IPv4Network(cidr) for subnet, cidr in cidrs.items()}
    found = [one for one in interfaces if one.subnet in networks]
    inside = [one for one in found if one.address and ip_address(one.address) in networks[one.subnet]]
    taken = {one.address for one in inside}
    for one in found:
        if one.address in taken:
            continue
        network = networks[one.subnet]
        span = min(200, network.num_addresses // 2)
        first = zlib.crc32(one.id.encode())
        free = (str(network[-2 - (first + step) % span]) for step in range(span))
        address = next((address for address in free if address not in taken), None)
        if address is not None:  # a subnet that is full: AWS would not have let it be made
            taken.add(address)
            inside.append(replace(one, address=address))
    return inside


def _rules(rules: Iterable[Moto]) -> Iterator[Rule]:
    for rule in rules:
        protocol = str(rule.ip_protocol)
        first, last = (0, 65_535) if protocol == EVERY else (int(rule.from_port), int(rule.to_port))
        group, prefix_list = (rule.source_group or {}).get("GroupId"), rule.prefix_list_id
        cidr = (rule.ip_range or {}).get("CidrIp")
        if cidr or group or prefix_list:
            yield Rule(protocol, first, last, cidr=cidr, group=group, prefix_list=prefix_list)


def _nat(gateway: Moto) -> Nat:
    public = next((one.get("publicIp") for one in gateway.address_set if one.get("publicIp")), None)
    return Nat(gateway.id, gateway.subnet_id, public, gateway.state == "available")


def _cidrs(prefix_list: Moto) -> tuple[str, ...]:
    entries = prefix_list.entries or {}
    newest = prefix_list.version if prefix_list.version in entries else max(entries, default=None)
    return tuple(entry["Cidr"] for entry in entries.get(newest, ()))


def _names(
    ec2: Moto, endpoints: Iterable[Moto], interfaces: Iterable[Interface]
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for endpoint in endpoints:
        addresses = tuple(one.address for one in interfaces if one.owner == endpoint.id)
        if not addresses:
            continue
        for entry in endpoint.dns_entries or ():
            yield endpoint.vpc_id, entry["dns_name"].lower(), addresses
        vpc = ec2.vpcs[endpoint.vpc_id]
        hosts = str(vpc.enable_dns_hostnames).lower() == "true"
        if hosts and _true(endpoint.private_dns_enabled):
            for name in host_names(endpoint.service_name):
                yield endpoint.vpc_id, name, addresses
    for reservation in ec2.reservations.values():
        for instance in reservation.instances:
            if instance.state in {"pending", "running"} and instance.nics:
                yield instance.vpc_id, instance.private_dns_name, (instance.private_ip,)


def host_names(service_name: str) -> tuple[str, ...]:
    """The names that a service has in its region: `kms.us-east-1.amazonaws.com` for `com.amazonaws.us-east-1.kms`."""
    region, _, service = service_name.removeprefix("com.amazonaws.").partition(".")
    host = ".".join(reversed(service.split("."))) + f".{region}.amazonaws.com"
    return (host, f"*.{host}")


def _true(value: object) -> bool:
    return str(value).lower() == "true"
