"""Reads an existing VPC, and which endpoint services the region has. Changes nothing, and decides nothing.

The program calls it before it declares any resource, and only if the settings name a VPC or endpoints.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fleetswap.aws.errors import explained
from fleetswap.domain import tags
from fleetswap.domain.network.endpoints import Service
from fleetswap.domain.network.existing import Present, Route, Subnet, Vpc

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from fleetswap.aws.session import Cloud

TARGETS = (
    "NatGatewayId",
    "TransitGatewayId",
    "VpcPeeringConnectionId",
    "EgressOnlyInternetGatewayId",
    "LocalGatewayId",
    "CarrierGatewayId",
    "CoreNetworkArn",
    "NetworkInterfaceId",
    "InstanceId",
    "GatewayId",
)
"""Where a route may lead to (EC2 API reference, Route)."""

DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")

GONE = frozenset({"deleting", "deleted", "rejected", "failed", "expired"})
"""States of an endpoint that no longer serves, in lower case (VpcEndpoint, State)."""


class Networks:
    """The networks of a `Cloud`."""

    def __init__(self, cloud: Cloud, stack: str) -> None:
        """`stack` is `project/stack`, by whose tag its own endpoints are told from others. No call is made yet."""
        self._cloud = cloud
        self._stack = stack

    def endpoint_services(self, names: Collection[str]) -> tuple[Service, ...]:
        """Those of the services that the region has (DescribeVpcEndpointServices), one for each kind.

        Raises `TryAgain` or `CloudError`.
        """
        with explained("ec2:DescribeVpcEndpointServices", self._cloud.region):
            # As a filter: an unknown name is no error then, and the others are answered all the same.
            details = _all(
                self._cloud.small_ec2(), "describe_vpc_endpoint_services", "ServiceDetails", "service-name", names
            )
        return tuple(
            Service(
                name=str(detail["ServiceName"]),
                kind=str(kind["ServiceType"]),
                zones=frozenset(detail.get("AvailabilityZones", ())),
                private_dns=bool(detail.get("PrivateDnsName") or detail.get("PrivateDnsNames")),
            )
            for detail in details
            for kind in detail["ServiceType"]
        )

    def vpc(self, vpc_id: str, groups: Collection[str]) -> Vpc | None:
        """A VPC with its subnets, routes and endpoints, and the VPCs of these security groups; None if there is none.

        Raises `TryAgain` or `CloudError`.
        """
        region, ec2 = self._cloud.region, self._cloud.small_ec2()
        with explained("ec2:DescribeVpcs", region):
            if not _all(ec2, "describe_vpcs", "Vpcs", "vpc-id", [vpc_id]):
                return None
        with explained("ec2:DescribeVpcAttribute", region):
            support = ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute="enableDnsSupport")
            names = ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute="enableDnsHostnames")
        with explained("ec2:DescribeRouteTables", region):
            tables = _all(ec2, "describe_route_tables", "RouteTables", "vpc-id", [vpc_id])
        with explained("ec2:DescribeSubnets", region):
            subnets = _all(ec2, "describe_subnets", "Subnets", "vpc-id", [vpc_id])
        with explained("ec2:DescribeVpcEndpoints", region):
            endpoints = _all(ec2, "describe_vpc_endpoints", "VpcEndpoints", "vpc-id", [vpc_id])
        return Vpc(
            id=vpc_id,
            region=region,
            dns_support=bool(support["EnableDnsSupport"]["Value"]),
            dns_hostnames=bool(names["EnableDnsHostnames"]["Value"]),
            subnets=tuple(_subnet(each, tables) for each in subnets),
            endpoints=tuple(
                self._present(each) for each in endpoints if str(each.get("State", "")).lower() not in GONE
            ),
            groups=self.groups(groups),
        )

    def groups(self, ids: Collection[str]) -> Mapping[str, str]:
        """The VPCs of those of the security groups that there are. Raises `TryAgain` or `CloudError`."""
        if not ids:
            return {}
        with explained("ec2:DescribeSecurityGroups", self._cloud.region):
            known = _all(self._cloud.small_ec2(), "describe_security_groups", "SecurityGroups", "group-id", ids)
        return {str(each["GroupId"]): str(each["VpcId"]) for each in known}

    def own_vpcs(self) -> frozenset[str]:
        """The VPCs that this stack made. Raises `TryAgain` or `CloudError`."""
        with explained("ec2:DescribeVpcs", self._cloud.region):
            found = _all(self._cloud.small_ec2(), "describe_vpcs", "Vpcs", f"tag:{tags.STACK}", [self._stack])
        return frozenset(str(each["VpcId"]) for each in found)

    def prefix_lists(self, ids: Collection[str]) -> Mapping[str, str]:
        """The services of those of the prefix lists that are AWS's (DescribePrefixLists).

        Raises `TryAgain` or `CloudError`.
        """
        with explained("ec2:DescribePrefixLists", self._cloud.region):
            found = _all(self._cloud.small_ec2(), "describe_prefix_lists", "PrefixLists", "prefix-list-id", ids)
        return {str(each["PrefixListId"]): str(each["PrefixListName"]) for each in found}

    def _present(self, endpoint: Mapping[str, Any]) -> Present:
        return Present(
            id=str(endpoint["VpcEndpointId"]),
            service=str(endpoint["ServiceName"]),
            kind=str(endpoint["VpcEndpointType"]),
            private_dns=bool(endpoint.get("PrivateDnsEnabled")),
            ours=_tags(endpoint).get(tags.STACK) == self._stack,
        )


def _all(ec2: EC2Client, call: Any, key: str, name: str, values: Collection[str]) -> list[dict[str, Any]]:  # noqa: ANN401 - one of many literals
    """Every item, of all pages, that fits the filter."""
    pages = ec2.get_paginator(call).paginate(Filters=[{"Name": name, "Values": sorted(values)}])
    return [item for page in pages for item in page[key]]


def _tags(resource: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag["Key"]): str(tag["Value"]) for tag in resource.get("Tags", ())}


def _subnet(subnet: Mapping[str, Any], tables: list[dict[str, Any]]) -> Subnet:
    table = _table(subnet["SubnetId"], tables)
    blocks = [
        str(each["Ipv6CidrBlock"])
        for each in subnet.get("Ipv6CidrBlockAssociationSet", ())
        if each["Ipv6CidrBlockState"]["State"] == "associated"
    ]
    return Subnet(
        id=str(subnet["SubnetId"]),
        zone=str(subnet["AvailabilityZone"]),
        free=int(subnet["AvailableIpAddressCount"]),
        table=str(table["RouteTableId"]) if table else "",
        routes=tuple(_routes(table)) if table else (),
        tags=_tags(subnet),
        public=bool(subnet.get("MapPublicIpOnLaunch")),
        ipv6=bool(subnet.get("AssignIpv6AddressOnCreation")),
        ipv6_blocks=tuple(blocks),
        ipv6_only=bool(subnet.get("Ipv6Native")),
    )


def _table(subnet_id: str, tables: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The route table of a subnet: its own, or else the VPC's main one."""
    main = None
    for table in tables:
        for association in table.get("Associations", ()):
            if association.get("SubnetId") == subnet_id:
                return table
            main = table if association.get("Main") else main
    return main


def _routes(table: Mapping[str, Any]) -> Iterator[Route]:
    for route in table.get("Routes", ()):
        destination = next((route[key] for key in DESTINATIONS if route.get(key)), None)
        target = next((route[key] for key in TARGETS if route.get(key)), None)
        if destination is not None and target is not None:
            yield Route(str(destination), str(target), active=route.get("State") == "active")
