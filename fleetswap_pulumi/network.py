"""The network: a VPC of the stack's own or an existing one, and security groups that let only the load balancer reach
the machines.

The machines have no public address. Where they may connect to is what the settings name; by default nowhere: everything
a machine needs is in its image. `network_routes` has the subnets, `network_groups` what may pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from fleetswap_pulumi.context import Context
from fleetswap_pulumi.ground import Ground
from fleetswap_pulumi.network_groups import ANYWHERE, Groups, declare_endpoints, declare_groups
from fleetswap_pulumi.network_routes import OwnVpc, Subnets, existing_subnets


@dataclass(frozen=True)
class NetworkArgs:
    """`ground` is what the network consists of. `front_port` is open to `sources`, `service_ports` to the front door.
    `redirect_port`, if given, is open like `front_port`.

    the security groups of an existing load balancer, in place of one of the stack's own.
    """

    context: Context
    ground: Ground
    front_port: int
    service_ports: Sequence[int]
    sources: Sequence[str] = (ANYWHERE,)
    redirect_port: int | None = None
    balancer_groups: Sequence[str] = ()


class Network(pulumi.ComponentResource):
    """Outputs the subnets and the security groups."""

    vpc_id: pulumi.Output[str]
    subnet_ids: list[pulumi.Output[str]]
    """Of the machines."""
    balancer_subnet_ids: list[pulumi.Output[str]]
    machine_group_id: pulumi.Output[str]
    front_group_id: pulumi.Output[str] | None
    """None if the load balancer is not the stack's own."""
    way_out: list[pulumi.Resource]
    """What makes the balancer's subnets public. A load balancer must be created after it and deleted before it."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetswap:components:Network", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        subnets = self._subnets(name, args, child)
        self.vpc_id = subnets.vpc_id
        self.subnet_ids, self.balancer_subnet_ids = list(subnets.machine_ids), list(subnets.balancer_ids)
        self.way_out = list(subnets.way_out)
        groups = Groups(
            sources=args.sources,
            front_port=args.front_port,
            redirect_port=args.redirect_port,
            service_ports=args.service_ports,
            balancer_groups=args.balancer_groups,
            egress=args.ground.egress,
            ipv6=args.ground.ipv6,
        )
        self.front_group_id, self.machine_group_id = declare_groups(name, args.context, subnets.vpc_id, groups, child)
        declare_endpoints(name, args.context, subnets, args.ground.endpoints, self.machine_group_id, child)
        self.register_outputs(
            {
                "vpcId": self.vpc_id,
                "subnetIds": self.subnet_ids,
                "frontGroupId": self.front_group_id,
                "machineGroupId": self.machine_group_id,
            }
        )

    def _subnets(self, name: str, args: NetworkArgs, child: pulumi.ResourceOptions) -> Subnets:
        division = args.ground.division
        if division is None:
            return existing_subnets(args.ground)
        return OwnVpc(name, args.context, args.ground, division, child).declare()
