"""What of a network cannot be deleted yet, because something else is in it.

Decides which deletions EC2 refuses with DependencyViolation. Moto refuses hardly any, so a program that deletes in the
wrong order would look right. A load balancer's network interfaces, which moto does not have, go with it at once here;
in AWS they stay for a while.

Sources: EC2 API reference (DeleteSecurityGroup, DeleteSubnet, DetachInternetGateway, DeleteVpc).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moto.ec2.exceptions import DependencyViolationError, EC2ClientError
from moto.ec2.models.internet_gateways import InternetGatewayBackend
from moto.ec2.models.security_groups import SecurityGroupBackend
from moto.ec2.models.subnets import SubnetBackend
from moto.ec2.models.vpcs import VPCBackend

from localcloud.ec2 import endpoints, nat
from localcloud.moto_state import backend

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

_delete_group = SecurityGroupBackend.delete_security_group
_delete_subnet = SubnetBackend.delete_subnet
_detach_gateway = InternetGatewayBackend.detach_internet_gateway
_delete_vpc = VPCBackend.delete_vpc

DEFAULT = "default"  # every VPC's own security group


def patch(patches: Patches) -> None:
    """Make the deletions strict."""
    patches.methods(SecurityGroupBackend, delete_security_group)
    patches.methods(SubnetBackend, delete_subnet)
    patches.methods(InternetGatewayBackend, detach_internet_gateway)
    patches.methods(VPCBackend, delete_vpc)


def delete_security_group(self: Moto, name: str | None = None, group_id: str | None = None) -> None:
    """AWS keeps a group that an interface, a load balancer or another group's rule uses, and the default one."""
    group = self.get_security_group_by_name_or_id(group_id or name)
    if group is not None:
        if group.name == DEFAULT:
            raise EC2ClientError(
                "CannotDelete",
                f'the specified group: "{group.id}" name: "{DEFAULT}" cannot be deleted by a user',
            )
        _refuse_used(self, group)
    _delete_group(self, name, group_id)


def _refuse_used(ec2: Moto, group: Moto) -> None:
    others = [other for groups in ec2.groups.values() for other in groups.values() if other is not group]
    used = (
        any(group.id in {held.id for held in instance.security_groups} for instance in _instances(ec2))
        or any(group.id in {held.id for held in nic.group_set} for nic in ec2.enis.values())
        or any(group.id in (balancer.security_groups or ()) for balancer in _balancers())
        or any(
            (rule.source_group or {}).get("GroupId") == group.id
            for other in others
            for rule in (*other.ingress_rules, *other.egress_rules)
        )
    )
    if used:
        raise DependencyViolationError(f"resource {group.id} has a dependent object")


def delete_subnet(self: Moto, subnet_id: str) -> Moto:
    """AWS keeps a subnet with an interface of an instance, a load balancer or anything else in it."""
    used = (
        any(instance.subnet_id == subnet_id for instance in _instances(self))
        or any(nic.subnet.id == subnet_id for nic in self.enis.values())
        or any(subnet_id in {subnet.id for subnet in balancer.subnets} for balancer in _balancers())
    )
    if used:
        raise DependencyViolationError(f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")
    return _delete_subnet(self, subnet_id)


def detach_internet_gateway(self: Moto, internet_gateway_id: str, vpc_id: str) -> None:
    """AWS keeps a gateway attached while anything in the VPC has a public address through it."""
    public = (
        any(instance.vpc_id == vpc_id and instance.public_ip for instance in _instances(self))
        or any(balancer.vpc_id == vpc_id and balancer.scheme == "internet-facing" for balancer in _balancers())
        or any(gateway.connectivity_type == nat.PUBLIC for gateway in nat.there(self, vpc_id))
    )
    if public:
        raise DependencyViolationError(
            f"Network {vpc_id} has some mapped public address(es). Please unmap those public address(es) before"
            " detaching the gateway."
        )
    _detach_gateway(self, internet_gateway_id, vpc_id)


def delete_vpc(self: Moto, vpc_id: str) -> Moto:
    """AWS keeps a VPC with a gateway, an endpoint, or a security group or route table beside its own."""
    used = (
        any(gateway.vpc and gateway.vpc.id == vpc_id for gateway in self.internet_gateways.values())
        or any(gateway.vpc_id == vpc_id for gateway in self.egress_only_internet_gateways.values())
        or bool(endpoints.there(self, vpc_id))
        or bool(nat.there(self, vpc_id))
        or any(group.name != DEFAULT for group in self.groups.get(vpc_id, {}).values())
        or any(table.vpc_id == vpc_id and table.main_association_id is None for table in self.route_tables.values())
    )
    if used:
        raise DependencyViolationError(f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
    groups = self.groups.get(vpc_id, {})
    own = {key: group for key, group in groups.items() if group.name == DEFAULT}
    for key in own:  # moto would delete it as a user may not
        del groups[key]
    try:
        return _delete_vpc(self, vpc_id)
    except EC2ClientError:
        groups.update(own)
        raise


def _instances(ec2: Moto) -> list[Moto]:
    return [
        instance
        for reservation in ec2.reservations.values()
        for instance in reservation.instances
        if instance.state != "terminated"
    ]


def _balancers() -> list[Moto]:
    return list(backend("elbv2").load_balancers.values())
