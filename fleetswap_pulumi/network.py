"""The network: a VPC, two subnets, and security groups that let only the load balancer reach the machines.

The machines have no public address and no route to the internet: everything a machine needs is in its image.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2, vpc

from fleetswap_pulumi.context import Context

ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class NetworkArgs:
    """`cidr` is split into two halves, one per zone. `front_port` is open to the world, `service_ports` to the front
    door.
    """

    context: Context
    cidr: str
    zones: Sequence[str]
    front_port: int
    service_ports: Sequence[int]


class Network(pulumi.ComponentResource):
    """Outputs the subnets and the two security groups."""

    subnet_ids: list[pulumi.Output[str]]
    front_group_id: pulumi.Output[str]
    machine_group_id: pulumi.Output[str]
    vpc_id: pulumi.Output[str]
    way_out: list[pulumi.Resource]
    """What makes the subnets public. A load balancer must be created after it and deleted before it."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetswap:components:Network", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        context = args.context
        self._vpc = ec2.Vpc(name, cidr_block=args.cidr, enable_dns_hostnames=True, tags=context.tags(name), opts=child)
        self.vpc_id = self._vpc.id
        self.subnet_ids = self._subnets(name, args)
        self.front_group_id, self.machine_group_id = self._groups(name, args)
        self.register_outputs(
            {
                "vpcId": self.vpc_id,
                "subnetIds": self.subnet_ids,
                "frontGroupId": self.front_group_id,
                "machineGroupId": self.machine_group_id,
            }
        )

    def _subnets(self, name: str, args: NetworkArgs) -> list[pulumi.Output[str]]:
        child = pulumi.ResourceOptions(parent=self)
        context = args.context
        gateway = ec2.InternetGateway(name, vpc_id=self.vpc_id, tags=context.tags(name), opts=child)
        table = ec2.RouteTable(name, vpc_id=self.vpc_id, tags=context.tags(name), opts=child)
        route = ec2.Route(
            name, route_table_id=table.id, destination_cidr_block=ANYWHERE, gateway_id=gateway.id, opts=child
        )
        self.way_out = [route]
        ids = []
        for zone, block in zip(args.zones, ipaddress.IPv4Network(args.cidr).subnets(prefixlen_diff=1), strict=True):
            subnet = ec2.Subnet(
                f"{name}-{zone}",
                vpc_id=self.vpc_id,
                cidr_block=str(block),
                availability_zone=f"{context.region}{zone}",
                tags=context.tags(f"{name}-{zone}"),
                opts=child,
            )
            self.way_out.append(
                ec2.RouteTableAssociation(f"{name}-{zone}", subnet_id=subnet.id, route_table_id=table.id, opts=child)
            )
            ids.append(subnet.id)
        return ids

    def _groups(self, name: str, args: NetworkArgs) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        child = pulumi.ResourceOptions(parent=self)
        context = args.context
        front, machines = (
            ec2.SecurityGroup(
                f"{name}-{what}",
                description=f"{context.service}: {what}",
                vpc_id=self.vpc_id,
                tags=context.tags(f"{name}-{what}"),
                opts=child,
            )
            for what in ("front", "machines")
        )
        vpc.SecurityGroupIngressRule(
            f"{name}-world-to-front",
            security_group_id=front.id,
            cidr_ipv4=ANYWHERE,
            ip_protocol="tcp",
            from_port=args.front_port,
            to_port=args.front_port,
            tags=context.tags(f"{name}-world-to-front"),
            opts=child,
        )
        for port in args.service_ports:
            vpc.SecurityGroupEgressRule(
                f"{name}-front-to-machines-{port}",
                security_group_id=front.id,
                referenced_security_group_id=machines.id,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                tags=context.tags(f"{name}-front-to-machines-{port}"),
                opts=child,
            )
            vpc.SecurityGroupIngressRule(
                f"{name}-machines-from-front-{port}",
                security_group_id=machines.id,
                referenced_security_group_id=front.id,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                tags=context.tags(f"{name}-machines-from-front-{port}"),
                opts=child,
            )
        return front.id, machines.id
