"""The subnets of machines and load balancer, and their routes: those of a VPC of the stack's own, or existing ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2

from fleetswap.domain.network import subnets
from fleetswap.domain.network.existing import WORLD
from fleetswap.domain.network.subnets import Division, Subnet
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.ground import Ground

V4, V6 = WORLD[4], WORLD[6]


@dataclass(frozen=True)
class Subnets:
    """Where machines and load balancer stand. `by_zone` are the machines' subnets of each zone, by its name.

    `tables` are the machines' route tables, `way_out` what makes the load balancer's subnets public.
    """

    vpc_id: pulumi.Output[str]
    machine_ids: Sequence[pulumi.Output[str]]
    balancer_ids: Sequence[pulumi.Output[str]]
    by_zone: Mapping[str, pulumi.Output[str]]
    tables: Sequence[pulumi.Output[str]]
    way_out: Sequence[pulumi.Resource] = ()


def existing_subnets(ground: Ground) -> Subnets:
    """Those of an existing VPC, in which nothing is declared here."""
    chosen, out = ground.chosen, pulumi.Output.from_input
    if chosen is None or ground.vpc is None:
        raise ValueError("neither a VPC to create nor an existing one")
    return Subnets(
        vpc_id=out(ground.vpc),
        machine_ids=[out(subnet.id) for subnet in chosen.machine],
        balancer_ids=[out(subnet.id) for subnet in chosen.balancer],
        # One in a zone: an interface endpoint takes no more (CreateVpcEndpoint, SubnetIds).
        by_zone={subnet.zone: out(subnet.id) for subnet in reversed(chosen.machine)},
        tables=[out(table) for table in chosen.tables],
    )


class OwnVpc:
    """A VPC of the stack's own. In layout 1, the machines are in the load balancer's subnets, under the names of then.

    In layout 2 they have subnets of their own, with a route table for each zone: so NAT gateways come and go by routes,
    and no subnet ever changes its table.
    """

    def __init__(
        self, name: str, context: Context, ground: Ground, division: Division, child: pulumi.ResourceOptions
    ) -> None:
        """Declare the VPC. `child` has its parent."""
        self._name, self._context, self._ground, self._division, self._child = name, context, ground, division, child
        self._separate = division.machines != division.balancer
        self._vpc = ec2.Vpc(
            name,
            cidr_block=ground.cidr,
            enable_dns_hostnames=True,
            assign_generated_ipv6_cidr_block=True if ground.ipv6 else None,
            tags=context.tags(name),
            opts=child,
        )

    def declare(self) -> Subnets:
        """Declare its subnets and their routes."""
        public, table, way_out = self._public()
        private, tables = self._private(public, way_out) if self._separate else (public, [table])
        machine_ids = [subnet.id for subnet in private]
        return Subnets(
            vpc_id=self._vpc.id,
            machine_ids=machine_ids,
            balancer_ids=[subnet.id for subnet in public],
            by_zone=dict(zip(self._ground.zones, machine_ids, strict=True)),
            tables=[table.id for table in tables],
            way_out=way_out,
        )

    def _public(self) -> tuple[list[ec2.Subnet], ec2.RouteTable, list[pulumi.Resource]]:
        """The load balancer's subnets, their route table, and what makes them public."""
        name, context, child = self._name, self._context, self._child
        gateway = ec2.InternetGateway(name, vpc_id=self._vpc.id, tags=context.tags(name), opts=child)
        table = ec2.RouteTable(name, vpc_id=self._vpc.id, tags=context.tags(name), opts=child)
        way_out: list[pulumi.Resource] = [
            ec2.Route(name, route_table_id=table.id, destination_cidr_block=V4, gateway_id=gateway.id, opts=child)
        ]
        if self._ground.ipv6:
            way_out.append(
                ec2.Route(
                    f"{name}-ipv6",
                    route_table_id=table.id,
                    destination_ipv6_cidr_block=V6,
                    gateway_id=gateway.id,
                    opts=child,
                )
            )
        found = []
        for planned in self._division.balancer:
            label = f"{name}-public-{planned.zone}" if self._separate else f"{name}-{planned.zone}"
            subnet = self._subnet(label, planned)
            way_out.append(ec2.RouteTableAssociation(label, subnet_id=subnet.id, route_table_id=table.id, opts=child))
            found.append(subnet)
        return found, table, way_out

    def _private(
        self, public: Sequence[ec2.Subnet], way_out: Sequence[pulumi.Resource]
    ) -> tuple[list[ec2.Subnet], list[ec2.RouteTable]]:
        """The machines' subnets, each with a route table of its zone, and the routes to NAT gateways."""
        found, tables = [], []
        for planned in self._division.machines:
            label = f"{self._name}-machines-{planned.zone}"
            subnet = self._subnet(label, planned, addresses_of_ipv6=self._ground.ipv6)
            table = ec2.RouteTable(label, vpc_id=self._vpc.id, tags=self._context.tags(label), opts=self._child)
            ec2.RouteTableAssociation(label, subnet_id=subnet.id, route_table_id=table.id, opts=self._child)
            found.append(subnet)
            tables.append(table)
        if self._ground.nat != "none":
            self._nat(public, tables, way_out)
        return found, tables

    def _nat(
        self, public: Sequence[ec2.Subnet], tables: Sequence[ec2.RouteTable], way_out: Sequence[pulumi.Resource]
    ) -> None:
        """NAT gateways in public subnets: one, or one in each zone. IPv6 leaves by an egress-only internet gateway."""
        name, context, child = self._name, self._context, self._child
        # AWS refuses a NAT gateway in a VPC without an internet gateway (Gateway.NotAttached).
        after = pulumi.ResourceOptions(parent=self._child.parent, depends_on=list(way_out))
        zones = [planned.zone for planned in self._division.machines]
        many = len(zones) if self._ground.nat == "per-zone" else 1
        gateways = []
        for zone, subnet in zip(zones[:many], public[:many], strict=True):
            label = f"{name}-nat-{zone}"
            address = ec2.Eip(label, domain="vpc", tags=context.tags(label), opts=after)
            gateways.append(
                ec2.NatGateway(
                    label, allocation_id=address.id, subnet_id=subnet.id, tags=context.tags(label), opts=after
                )
            )
        egress_only = None
        if self._ground.ipv6:
            egress_only = ec2.EgressOnlyInternetGateway(name, vpc_id=self._vpc.id, tags=context.tags(name), opts=child)
        for n, (zone, table) in enumerate(zip(zones, tables, strict=True)):
            label = f"{name}-machines-{zone}"
            ec2.Route(
                label,
                route_table_id=table.id,
                destination_cidr_block=V4,
                nat_gateway_id=gateways[n % many].id,
                opts=child,
            )
            if egress_only is not None:
                ec2.Route(
                    f"{label}-ipv6",
                    route_table_id=table.id,
                    destination_ipv6_cidr_block=V6,
                    egress_only_gateway_id=egress_only.id,
                    opts=child,
                )

    def _subnet(self, label: str, planned: Subnet, *, addresses_of_ipv6: bool = False) -> ec2.Subnet:
        block = self._vpc.ipv6_cidr_block.apply(lambda whole: subnets.ipv6_block(whole, planned) if whole else None)
        return ec2.Subnet(
            label,
            vpc_id=self._vpc.id,
            cidr_block=planned.cidr,
            ipv6_cidr_block=block if self._ground.ipv6 else None,
            assign_ipv6_address_on_creation=True if addresses_of_ipv6 else None,
            availability_zone=f"{self._context.region}{planned.zone}",
            tags=self._context.tags(label),
            opts=self._child,
        )
