"""VPC endpoints: which there can be, their network interfaces, names and routes, and that they come and go late.

Decides what CreateVpcEndpoint refuses: moto takes any service, subnets of other VPCs and two endpoints with the same
private name, gives an interface an address outside its subnet, and has an endpoint at once. Of a change it drops
private DNS, the policy's reset, the interfaces and routes.

Sources: EC2 API reference (CreateVpcEndpoint, ModifyVpcEndpoint, DeleteVpcEndpoints, VpcEndpoint) and the PrivateLink
guide ("Access an AWS service using an interface VPC endpoint", "Gateway endpoints").
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidServiceName
from moto.ec2.models.vpcs import VPCBackend, VPCEndPoint
from moto.ec2.responses.vpcs import VPCs
from moto.ec2.utils import random_vpc_ep_id

from localcloud.ec2 import managed
from localcloud.ec2.endpoint_services import Service, offered
from localcloud.regions import KNOWN, REGION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

GATEWAY, INTERFACE = "Gateway", "Interface"

_describe_vpc_endpoints = VPCBackend.describe_vpc_endpoints
_modify_vpc_endpoint = VPCs.modify_vpc_endpoint


def patch(patches: Patches) -> None:
    """Make endpoints whole."""
    patches.set(VPCEndPoint, "ip_address_type", "ipv4")
    patches.set(VPCEndPoint, "requester_managed", value=False)
    patches.set(VPCEndPoint, "service_region", property(lambda self: self.ec2_backend.region_name))
    patches.set(VPCEndPoint, "dns_options", property(_dns_options))
    patches.methods(VPCs, delete_vpc_endpoints, modify_vpc_endpoint)
    patches.methods(VPCBackend, create_vpc_endpoint)


def _dns_options(self: Moto) -> dict[str, str]:
    return {"DnsRecordIpType": "ipv4" if self.vpc_endpoint_type == INTERFACE else "service-defined"}


def there(ec2: Moto, vpc_id: str) -> list[Moto]:
    """The endpoints of a VPC that are not deleted."""
    return [each for each in ec2.vpc_end_points.values() if each.vpc_id == vpc_id and each.state != "deleted"]


def create_vpc_endpoint(
    self: Moto,
    vpc_id: str,
    service_name: str,
    endpoint_type: str | None,
    policy_document: str | None,
    route_table_ids: list[str],
    subnet_ids: list[str] | None = None,
    client_token: str | None = None,
    security_group_ids: list[str] | None = None,
    tags: dict[str, str] | None = None,
    private_dns_enabled: bool | None = None,  # noqa: FBT001 - moto's own arguments
    **_: Any,  # noqa: ANN401 - the same
) -> Moto:
    """An endpoint is a gateway endpoint unless it is asked otherwise. The same token is the same endpoint."""
    vpc = self.get_vpc(vpc_id)
    known = [each for each in self.vpc_end_points.values() if client_token and each.client_token == client_token]
    if known:
        return known[0]
    kind = endpoint_type or GATEWAY
    service = _service(self, service_name, kind)
    endpoint_id = random_vpc_ep_id()
    endpoint = VPCEndPoint(
        self,
        endpoint_id,
        vpc_id,
        service_name,
        kind,
        policy_document,
        list(route_table_ids),
        list(subnet_ids or ()),
        [],
        dns_entries=[],
        client_token=client_token,
        security_group_ids=list(security_group_ids or ()),
        tags=tags,
        private_dns_enabled=private_dns_enabled and kind == INTERFACE,
    )
    if kind == INTERFACE:
        _check_interface(self, vpc, endpoint, service)
        endpoint.security_group_ids = endpoint.security_group_ids or [self.get_default_security_group(vpc_id).id]
        _add_interfaces(self, endpoint, endpoint.subnet_ids)
        _name(endpoint, service)
        endpoint.state = "pending"
        managed.later(self, "endpoints", endpoint_id, partial(_become, endpoint, "pending", "available"))
        self.vpc_end_points[endpoint_id] = endpoint
        return endpoint
    if subnet_ids or security_group_ids:
        raise EC2ClientError("InvalidParameter", f"Endpoint type ({kind}) does not support subnets or security groups.")
    endpoint.destination_prefix_list_id = _prefix_list(self, service_name)
    _check_tables(self, endpoint, endpoint.route_table_ids)
    self.vpc_end_points[endpoint_id] = endpoint
    _add_routes(self, endpoint, endpoint.route_table_ids)
    return endpoint


def _service(ec2: Moto, name: str, kind: str) -> Service:
    found = [each for each in offered(ec2) if each.name == name]
    if not found:
        raise InvalidServiceName(name)
    for each in found:
        if each.kind == kind:
            return each
    kinds = ", ".join(each.kind for each in found)
    raise EC2ClientError(
        "InvalidParameter", f"Endpoint type ({kind}) does not match available service types ([{kinds}])."
    )


def _become(endpoint: Moto, before: str, after: str) -> None:
    if endpoint.state == before:
        endpoint.state = after


def _check_interface(ec2: Moto, vpc: Moto, endpoint: Moto, service: Service) -> None:
    _check_subnets(ec2, endpoint, endpoint.subnet_ids, service)
    _check_groups(ec2, vpc.id, endpoint.security_group_ids)
    if endpoint.private_dns_enabled:
        _check_private_dns(ec2, vpc, endpoint, service)


def _check_subnets(ec2: Moto, endpoint: Moto, added: Iterable[str], service: Service) -> None:
    zones = {ec2.get_subnet(each).availability_zone for each in endpoint.subnet_ids if each not in set(added)}
    for subnet_id in added:
        subnet = ec2.get_subnet(subnet_id)
        if subnet.vpc_id != endpoint.vpc_id:
            raise EC2ClientError("InvalidParameter", f"Subnet {subnet_id} is not in VPC {endpoint.vpc_id}.")
        zone = subnet.availability_zone
        if zone in zones:
            raise EC2ClientError(
                "DuplicateSubnetsInSameZone",
                f"Found another VPC endpoint subnet in the availability zone of {subnet_id}.",
            )
        if zone not in service.zones:
            raise EC2ClientError(
                "InvalidParameter",
                f"The VPC endpoint service {service.name} does not support the availability zone of the subnet:"
                f" {subnet_id}.",
            )
        zones.add(zone)


def _check_groups(ec2: Moto, vpc_id: str, groups: Iterable[str]) -> None:
    for group_id in groups:
        group = ec2.get_security_group_from_id(group_id)
        if group is None:
            raise EC2ClientError("InvalidGroup.NotFound", f"The security group '{group_id}' does not exist")
        if group.vpc_id != vpc_id:
            raise EC2ClientError("InvalidParameter", f"Security group {group_id} is not in VPC {vpc_id}.")


def _check_private_dns(ec2: Moto, vpc: Moto, endpoint: Moto, service: Service) -> None:
    if not service.private_name:
        raise EC2ClientError(
            "InvalidParameter", f"Private DNS can't be enabled because {service.name} has no private name."
        )
    if not _on(vpc.enable_dns_support) or not _on(vpc.enable_dns_hostnames):
        raise EC2ClientError(
            "InvalidParameter",
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for"
            f" {vpc.id}",
        )
    for other in there(ec2, vpc.id):
        if other is not endpoint and other.service_name == service.name and other.private_dns_enabled:
            raise EC2ClientError(
                "InvalidParameter",
                f"private-dns-enabled cannot be set because there is already a conflicting DNS domain for"
                f" {service.private_name} in the VPC {vpc.id}",
            )


def _on(value: object) -> bool:
    return str(value).lower() == "true"


def _add_interfaces(ec2: Moto, endpoint: Moto, subnets: Iterable[str]) -> None:
    for subnet_id in subnets:
        interface = managed.hold(
            ec2,
            ec2.get_subnet(subnet_id),
            "vpc_endpoint",
            f"VPC Endpoint Interface {endpoint.id}",
            endpoint.security_group_ids,
        )
        endpoint.network_interface_ids.append(interface.id)


def _name(endpoint: Moto, service: Service) -> None:
    """The names of an interface endpoint: regional, of each zone, and the service's own with private DNS."""
    base, ec2 = f"{endpoint.id}-{endpoint.id[-8:]}", endpoint.ec2_backend
    zones = sorted(ec2.get_subnet(each).availability_zone for each in endpoint.subnet_ids)
    names = [f"{base}.{service.base}", *(f"{base}-{zone}.{service.base}" for zone in zones)]
    if endpoint.private_dns_enabled and service.private_name is not None:
        names.append(service.private_name)
    endpoint.dns_entries = [{"dns_name": name, "hosted_zone_id": KNOWN[REGION].endpoints} for name in names]


def _prefix_list(ec2: Moto, service_name: str) -> str:
    return next(str(each.id) for each in ec2.managed_prefix_lists.values() if each.prefix_list_name == service_name)


def _check_tables(ec2: Moto, endpoint: Moto, tables: Iterable[str]) -> None:
    prefixes = endpoint.destination_prefix_list_id
    for table_id in tables:
        table = ec2.get_route_table(table_id)
        if table.vpc_id != endpoint.vpc_id:
            raise EC2ClientError("InvalidParameter", f"Route table {table_id} is not in VPC {endpoint.vpc_id}.")
        if any(
            route.destination_prefix_list and route.destination_prefix_list.id == prefixes for route in table.routes
        ):
            raise EC2ClientError(
                "RouteAlreadyExists",
                f"route table {table_id} already has a route with destination-prefix-list-id {prefixes}",
            )


def _add_routes(ec2: Moto, endpoint: Moto, tables: Iterable[str]) -> None:
    for table_id in tables:
        ec2.create_route(
            table_id,
            None,
            gateway_id=endpoint.id,
            destination_prefix_list_id=endpoint.destination_prefix_list_id,
        )


def _remove_routes(ec2: Moto, endpoint: Moto, tables: Iterable[str]) -> None:
    for table_id in tables:
        if table_id in ec2.route_tables:
            ec2.delete_route(table_id, endpoint.destination_prefix_list_id)


def delete_vpc_endpoints(self: Moto) -> ActionResult:
    """AWS deletes those that exist, and says of each other that it does not. Interfaces go a little later."""
    ec2, missing = self.ec2_backend, []
    for endpoint_id in self._get_param("VpcEndpointIds", []):
        endpoint = ec2.vpc_end_points.get(endpoint_id)
        if endpoint is None or endpoint.state == "deleted":
            message = f"The Vpc Endpoint Id '{endpoint_id}' does not exist"
            missing.append(
                {"ResourceId": endpoint_id, "Error": {"Code": "InvalidVpcEndpointId.NotFound", "Message": message}}
            )
        elif endpoint.state != "deleting":
            _delete(ec2, endpoint)
    return ActionResult({"Unsuccessful": missing})


def _delete(ec2: Moto, endpoint: Moto) -> None:
    endpoint.state = "deleting"
    if endpoint.vpc_endpoint_type == GATEWAY:
        _remove_routes(ec2, endpoint, endpoint.route_table_ids)
    managed.later(ec2, "endpoints", f"{endpoint.id} goes", partial(_gone, ec2, endpoint))


def _gone(ec2: Moto, endpoint: Moto) -> None:
    for interface in endpoint.network_interface_ids:
        managed.release(ec2, interface)
    endpoint.state = "deleted"


def modify_vpc_endpoint(self: Moto) -> ActionResult:
    """AWS changes routes, interfaces and names together with what an endpoint is tied to."""
    ec2, asked = self.ec2_backend, self._get_param
    endpoint = ec2.get_vpc_end_point(asked("VpcEndpointId"))
    service = _service(ec2, endpoint.service_name, endpoint.vpc_endpoint_type)
    added, groups = asked("AddSubnetIds", []), asked("AddSecurityGroupIds", [])
    tables = asked("AddRouteTableIds", [])
    private_dns = self._get_bool_param("PrivateDnsEnabled")
    removed = set(asked("RemoveSubnetIds", []))
    _check_groups(ec2, endpoint.vpc_id, groups)
    _check_tables(ec2, endpoint, tables)
    _drop_interfaces(ec2, endpoint, removed)
    _check_subnets(ec2, endpoint, added, service)
    if private_dns and not endpoint.private_dns_enabled:
        _check_private_dns(ec2, ec2.get_vpc(endpoint.vpc_id), endpoint, service)
    answer: ActionResult = _modify_vpc_endpoint(self)
    if self._get_bool_param("ResetPolicy"):
        endpoint.policy_document = json.dumps(VPCEndPoint.DEFAULT_POLICY)
    if private_dns is not None:
        endpoint.private_dns_enabled = private_dns
    if endpoint.vpc_endpoint_type == GATEWAY:
        _add_routes(ec2, endpoint, tables)
        _remove_routes(ec2, endpoint, asked("RemoveRouteTableIds", []))
        return answer
    _add_interfaces(ec2, endpoint, added)
    for interface in endpoint.network_interface_ids:
        managed.regroup(ec2, interface, endpoint.security_group_ids)
    _name(endpoint, service)
    return answer


def _drop_interfaces(ec2: Moto, endpoint: Moto, subnets: set[str]) -> None:
    for interface in list(endpoint.network_interface_ids):
        if ec2.enis[interface].subnet.id in subnets:
            endpoint.network_interface_ids.remove(interface)
            managed.release(ec2, interface)
    endpoint.subnet_ids = [each for each in endpoint.subnet_ids if each not in subnets]
