"""VPCs, subnets, internet gateways, route tables, routes and associations: facts and API calls of each type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from localcloud.plugin import ec2_tags
from localcloud.plugin.compare import Rules
from localcloud.plugin.convert import tag_map
from localcloud.plugin.kind import Boto, Call, Kind, OperationError, code, forget_missing, gone, pick
from localcloud.plugin.wire import Props


def describe(call: Call, operation: str, key: str, **arguments: Boto) -> dict[str, Any] | None:
    """The first of what an EC2 describe call finds, None if there is nothing or it is gone."""
    try:
        found = getattr(call.client("ec2"), operation)(**arguments)[key]
    except ClientError as error:
        if gone(error):
            return None
        raise
    return dict(found[0]) if found else None


class Vpc(Kind):
    """A VPC (`aws_vpc`)."""

    type_name = "aws:ec2/vpc:Vpc"
    noun = "EC2 VPC"
    supported = frozenset(
        {"cidrBlock", "enableDnsHostnames", "enableDnsSupport", "instanceTenancy", "region", "tags"},
    )
    replace = frozenset({"cidrBlock", "instanceTenancy"})
    defaults: ClassVar[Props] = {"enableDnsSupport": True, "instanceTenancy": "default"}
    computed = frozenset(
        {"arn", "defaultNetworkAclId", "defaultRouteTableId", "defaultSecurityGroupId", "dhcpOptionsId", "cidrBlock"}
        | {"mainRouteTableId", "ownerId", "enableDnsHostnames", "ipv6AssociationId"}
    )

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """A VPC needs its addresses; pools are not implemented here."""
        if not props.get("cidrBlock"):
            yield "cidrBlock", "a VPC needs an IPv4 CIDR block (the stand-in has no IPAM pools)"

    def create(self, call: Call, props: Props) -> str:
        """Make it, then set its DNS attributes, which the create call does not take."""
        ec2 = call.client("ec2")
        vpc = ec2.create_vpc(
            CidrBlock=props["cidrBlock"],
            InstanceTenancy=props["instanceTenancy"],
            **ec2_tags.specification("vpc", props),
        )["Vpc"]
        call.made = str(vpc["VpcId"])
        ec2.get_waiter("vpc_available").wait(VpcIds=[call.made], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        self._set_dns(call, call.made, props)
        return call.made

    @staticmethod
    def _set_dns(call: Call, vpc_id: str, props: Props) -> None:
        ec2 = call.client("ec2")
        ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsSupport={"Value": props["enableDnsSupport"]})
        if "enableDnsHostnames" in props:
            ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsHostnames={"Value": props["enableDnsHostnames"]})

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The VPC with its attributes and the default things that AWS made with it."""
        ec2 = call.client("ec2")
        vpc = describe(call, "describe_vpcs", "Vpcs", VpcIds=[resource_id])
        if vpc is None:
            return None
        of_vpc = {"Name": "vpc-id", "Values": [resource_id]}
        main = describe(
            call,
            "describe_route_tables",
            "RouteTables",
            Filters=[of_vpc, {"Name": "association.main", "Values": ["true"]}],
        )
        acl = describe(
            call, "describe_network_acls", "NetworkAcls", Filters=[of_vpc, {"Name": "default", "Values": ["true"]}]
        )
        group = describe(
            call,
            "describe_security_groups",
            "SecurityGroups",
            Filters=[of_vpc, {"Name": "group-name", "Values": ["default"]}],
        )
        table = main["RouteTableId"] if main else None
        tags = tag_map(vpc.get("Tags"))
        return {
            **pick(vpc, "CidrBlock", "InstanceTenancy", "DhcpOptionsId", "OwnerId"),
            "enableDnsSupport": _vpc_flag(ec2, resource_id, "enableDnsSupport"),
            "enableDnsHostnames": _vpc_flag(ec2, resource_id, "enableDnsHostnames"),
            "arn": call.arn("ec2", f"vpc/{resource_id}"),
            "mainRouteTableId": table,
            "defaultRouteTableId": table,
            "defaultNetworkAclId": acl["NetworkAclId"] if acl else None,
            "defaultSecurityGroupId": group["GroupId"] if group else None,
            "ipv6AssociationId": "",
            "tagsAll": tags,
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """DNS attributes and tags."""
        if changed & {"enableDnsSupport", "enableDnsHostnames"}:
            self._set_dns(call, resource_id, new)
        ec2_tags.update(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it once nothing is left in it."""
        ec2 = call.client("ec2")
        forget_missing(lambda: call.retry({"DependencyViolation"}, lambda: ec2.delete_vpc(VpcId=resource_id)))


def _vpc_flag(ec2: Boto, vpc_id: str, name: str) -> bool:
    answer = ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute=name)
    return bool(answer[name[0].upper() + name[1:]]["Value"])


class Subnet(Kind):
    """A subnet (`aws_subnet`)."""

    type_name = "aws:ec2/subnet:Subnet"
    noun = "EC2 Subnet"
    supported = frozenset(
        {"vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId", "mapPublicIpOnLaunch", "region", "tags"}
    )
    replace = frozenset({"vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId"})
    defaults: ClassVar[Props] = {
        "mapPublicIpOnLaunch": False,
        "assignIpv6AddressOnCreation": False,
        "enableDns64": False,
    }
    computed = frozenset(
        {"arn", "ownerId", "availabilityZone", "availabilityZoneId", "ipv6CidrBlockAssociationId"}
        | {"privateDnsHostnameTypeOnLaunch"}
    )

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """A subnet needs its addresses."""
        if not props.get("cidrBlock"):
            yield "cidrBlock", "a subnet needs an IPv4 CIDR block (the stand-in has no IPAM pools and no IPv6)"

    def create(self, call: Call, props: Props) -> str:
        """Make it, then set what the create call does not take."""
        ec2 = call.client("ec2")
        place = {
            api: props[name]
            for name, api in (("availabilityZone", "AvailabilityZone"), ("availabilityZoneId", "AvailabilityZoneId"))
            if props.get(name)
        }
        subnet = ec2.create_subnet(
            VpcId=props["vpcId"], CidrBlock=props["cidrBlock"], **place, **ec2_tags.specification("subnet", props)
        )["Subnet"]
        call.made = str(subnet["SubnetId"])
        ec2.get_waiter("subnet_available").wait(SubnetIds=[call.made], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        if props["mapPublicIpOnLaunch"]:
            ec2.modify_subnet_attribute(SubnetId=call.made, MapPublicIpOnLaunch={"Value": True})
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The subnet."""
        subnet = describe(call, "describe_subnets", "Subnets", SubnetIds=[resource_id])
        if subnet is None:
            return None
        dns = subnet.get("PrivateDnsNameOptionsOnLaunch") or {}
        return {
            **pick(subnet, "VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId", "OwnerId"),
            "mapPublicIpOnLaunch": bool(subnet.get("MapPublicIpOnLaunch")),
            "assignIpv6AddressOnCreation": bool(subnet.get("AssignIpv6AddressOnCreation")),
            "privateDnsHostnameTypeOnLaunch": dns.get("HostnameType", "ip-name"),
            "ipv6CidrBlockAssociationId": "",
            "arn": subnet.get("SubnetArn") or call.arn("ec2", f"subnet/{resource_id}"),
            "tagsAll": tag_map(subnet.get("Tags")),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Public addresses and tags."""
        if "mapPublicIpOnLaunch" in changed:
            call.client("ec2").modify_subnet_attribute(
                SubnetId=resource_id, MapPublicIpOnLaunch={"Value": bool(new["mapPublicIpOnLaunch"])}
            )
        ec2_tags.update(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it once its instances are gone."""
        ec2 = call.client("ec2")
        forget_missing(lambda: call.retry({"DependencyViolation"}, lambda: ec2.delete_subnet(SubnetId=resource_id)))


class InternetGateway(Kind):
    """An internet gateway, with its attachment (`aws_internet_gateway`)."""

    type_name = "aws:ec2/internetGateway:InternetGateway"
    noun = "EC2 Internet Gateway"
    supported = frozenset({"vpcId", "region", "tags"})
    computed = frozenset({"arn", "ownerId", "vpcId"})

    def create(self, call: Call, props: Props) -> str:
        """Make it and attach it."""
        ec2 = call.client("ec2")
        gateway = ec2.create_internet_gateway(**ec2_tags.specification("internet-gateway", props))["InternetGateway"]
        call.made = str(gateway["InternetGatewayId"])
        if props.get("vpcId"):
            ec2.attach_internet_gateway(InternetGatewayId=call.made, VpcId=props["vpcId"])
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The gateway and the VPC that it is attached to."""
        gateway = describe(call, "describe_internet_gateways", "InternetGateways", InternetGatewayIds=[resource_id])
        if gateway is None:
            return None
        attachments = gateway.get("Attachments") or []
        return {
            "vpcId": attachments[0]["VpcId"] if attachments else None,
            "ownerId": gateway.get("OwnerId"),
            "arn": call.arn("ec2", f"internet-gateway/{resource_id}"),
            "tagsAll": tag_map(gateway.get("Tags")),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Attach it elsewhere; tags."""
        if "vpcId" in changed:
            self._detach(call, resource_id, old.get("vpcId"))
            if new.get("vpcId"):
                call.client("ec2").attach_internet_gateway(InternetGatewayId=resource_id, VpcId=new["vpcId"])
        ec2_tags.update(call, resource_id, old, new)

    @staticmethod
    def _detach(call: Call, resource_id: str, vpc_id: str | None) -> None:
        ec2 = call.client("ec2")
        if not vpc_id:
            return
        try:
            call.retry(
                {"DependencyViolation"},
                lambda: ec2.detach_internet_gateway(InternetGatewayId=resource_id, VpcId=vpc_id),
            )
        except ClientError as error:
            if not gone(error) and code(error) != "Gateway.NotAttached":
                raise

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Detach it, then delete it."""
        ec2 = call.client("ec2")
        self._detach(call, resource_id, known.get("vpcId"))
        forget_missing(
            lambda: call.retry(
                {"DependencyViolation"}, lambda: ec2.delete_internet_gateway(InternetGatewayId=resource_id)
            )
        )


_TARGETS = {
    "carrierGatewayId": "CarrierGatewayId",
    "egressOnlyGatewayId": "EgressOnlyInternetGatewayId",
    "gatewayId": "GatewayId",
    "localGatewayId": "LocalGatewayId",
    "natGatewayId": "NatGatewayId",
    "networkInterfaceId": "NetworkInterfaceId",
    "transitGatewayId": "TransitGatewayId",
    "vpcEndpointId": "VpcEndpointId",
    "vpcPeeringConnectionId": "VpcPeeringConnectionId",
}
"""What a route leads to: property and API name."""

_DESTINATIONS = {
    "destinationCidrBlock": "DestinationCidrBlock",
    "destinationIpv6CidrBlock": "DestinationIpv6CidrBlock",
    "destinationPrefixListId": "DestinationPrefixListId",
}
_INLINE_DESTINATIONS = {
    "cidrBlock": "DestinationCidrBlock",
    "ipv6CidrBlock": "DestinationIpv6CidrBlock",
    "destinationPrefixListId": "DestinationPrefixListId",
}


def _arguments(props: Props, *tables: dict[str, str]) -> dict[str, Any]:
    return {api: props[name] for table in tables for name, api in table.items() if props.get(name)}


class RouteTable(Kind):
    """A route table, with its inline routes if any are given (`aws_route_table`)."""

    type_name = "aws:ec2/routeTable:RouteTable"
    noun = "EC2 Route Table"
    supported = frozenset({"vpcId", "routes", "region", "tags"})
    replace = frozenset({"vpcId"})
    computed = frozenset({"arn", "ownerId", "routes", "propagatingVgws"})
    rules = Rules(sets=frozenset({"routes"}))

    def create(self, call: Call, props: Props) -> str:
        """Make it and its inline routes."""
        ec2 = call.client("ec2")
        table = ec2.create_route_table(VpcId=props["vpcId"], **ec2_tags.specification("route-table", props))
        call.made = str(table["RouteTable"]["RouteTableId"])
        for route in props.get("routes") or []:
            ec2.create_route(RouteTableId=call.made, **_arguments(route, _INLINE_DESTINATIONS, _TARGETS))
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The table and its routes but the local one, which AWS makes."""
        table = describe(call, "describe_route_tables", "RouteTables", RouteTableIds=[resource_id])
        if table is None:
            return None
        routes = [
            {name: route[api] for name, api in {**_INLINE_DESTINATIONS, **_TARGETS}.items() if route.get(api)}
            for route in table.get("Routes", [])
            if route.get("GatewayId") != "local"
        ]
        return {
            **pick(table, "VpcId", "OwnerId"),
            "routes": routes,
            "propagatingVgws": [item["GatewayId"] for item in table.get("PropagatingVgws", [])],
            "arn": call.arn("ec2", f"route-table/{resource_id}"),
            "tagsAll": tag_map(table.get("Tags")),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Inline routes (taken away first, since two cannot have one destination) and tags."""
        ec2 = call.client("ec2")
        if "routes" in changed:
            before, after = old.get("routes") or [], new.get("routes") or []
            for route in (item for item in before if item not in after):
                arguments = _arguments(route, _INLINE_DESTINATIONS)
                forget_missing(partial(ec2.delete_route, RouteTableId=resource_id, **arguments))
            for route in (item for item in after if item not in before):
                ec2.create_route(RouteTableId=resource_id, **_arguments(route, _INLINE_DESTINATIONS, _TARGETS))
        ec2_tags.update(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it once no subnet uses it."""
        ec2 = call.client("ec2")
        forget_missing(
            lambda: call.retry({"DependencyViolation"}, lambda: ec2.delete_route_table(RouteTableId=resource_id))
        )


class Route(Kind):
    """One route of a route table (`aws_route`)."""

    type_name = "aws:ec2/route:Route"
    noun = "EC2 Route"
    supported = frozenset({"routeTableId", "region", *_DESTINATIONS, *_TARGETS})
    replace = frozenset({"routeTableId", *_DESTINATIONS})
    computed = frozenset({"instanceId", "instanceOwnerId", "networkInterfaceId", "origin", "state"})

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """One destination, one target."""
        if sum(1 for name in _DESTINATIONS if props.get(name)) != 1:
            yield "destinationCidrBlock", f"a route has exactly one of {', '.join(_DESTINATIONS)}"
        if sum(1 for name in _TARGETS if props.get(name)) != 1:
            yield "gatewayId", f"a route has exactly one of {', '.join(_TARGETS)}"

    @staticmethod
    def _id(table: str, destination: str) -> str:
        # As Terraform makes it: hashcode.String is CRC-32 (IEEE) of the destination.
        return f"r-{table}{zlib.crc32(destination.encode())}"

    def create(self, call: Call, props: Props) -> str:
        """Make it."""
        arguments = _arguments(props, _DESTINATIONS, _TARGETS)
        call.client("ec2").create_route(RouteTableId=props["routeTableId"], **arguments)
        destination = next(str(props[name]) for name in _DESTINATIONS if props.get(name))
        call.made = self._id(props["routeTableId"], destination)
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The route; an import id is `ROUTETABLEID_DESTINATION`."""
        table_id = known.get("routeTableId")
        destination = next((str(known[name]) for name in _DESTINATIONS if known.get(name)), "")
        if not table_id:
            table_id, _, destination = resource_id.partition("_")
            if not destination:
                message = f"the import id of a route is ROUTETABLEID_DESTINATION, not {resource_id}"
                raise OperationError(message)
        table = describe(call, "describe_route_tables", "RouteTables", RouteTableIds=[table_id])
        for route in (table or {}).get("Routes", []):
            if destination in {route.get(api) for api in _DESTINATIONS.values()}:
                found = {name: route.get(api) for name, api in {**_DESTINATIONS, **_TARGETS}.items()}
                return {
                    **found,
                    **pick(route, "State", "Origin", "InstanceId", "InstanceOwnerId"),
                    "routeTableId": table_id,
                    "id": self._id(table_id, destination),
                }
        return None

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Lead it elsewhere."""
        target = {name: new[name] for name in changed if new.get(name)}
        call.client("ec2").replace_route(
            RouteTableId=new["routeTableId"], **_arguments(new, _DESTINATIONS), **_arguments(target, _TARGETS)
        )

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it."""
        arguments = _arguments(known, _DESTINATIONS)
        forget_missing(
            lambda: call.client("ec2").delete_route(RouteTableId=known["routeTableId"], **arguments),
        )


class RouteTableAssociation(Kind):
    """Which route table a subnet uses (`aws_route_table_association`)."""

    type_name = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    noun = "EC2 Route Table Association"
    supported = frozenset({"routeTableId", "subnetId", "gatewayId", "region"})
    replace = frozenset({"subnetId", "gatewayId"})

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """Exactly one side beside the table."""
        if bool(props.get("subnetId")) == bool(props.get("gatewayId")):
            yield "subnetId", "an association has exactly one of subnetId, gatewayId"

    def create(self, call: Call, props: Props) -> str:
        """Associate."""
        target = _arguments(props, {"subnetId": "SubnetId", "gatewayId": "GatewayId"})
        answer = call.client("ec2").associate_route_table(RouteTableId=props["routeTableId"], **target)
        call.made = str(answer["AssociationId"])
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The association, found by what it joins: its id changes when the table does. Import id `SUBNET/TABLE`."""
        target = known.get("subnetId") or known.get("gatewayId") or resource_id.partition("/")[0]
        name = "association.gateway-id" if str(target).startswith("igw-") else "association.subnet-id"
        table = describe(call, "describe_route_tables", "RouteTables", Filters=[{"Name": name, "Values": [target]}])
        for item in (table or {}).get("Associations", []):
            if target in {item.get("SubnetId"), item.get("GatewayId")}:
                return {
                    **pick(item, "RouteTableId", "SubnetId", "GatewayId"),
                    "id": item["RouteTableAssociationId"],
                }
        return None

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Use another table."""
        association = self.read(call, resource_id, old)
        if association is None:
            message = f"{resource_id} is gone: run `pulumi refresh`"
            raise OperationError(message)
        call.client("ec2").replace_route_table_association(
            AssociationId=association["id"], RouteTableId=new["routeTableId"]
        )

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Dissociate."""
        association = self.read(call, resource_id, known)
        if association is not None:
            forget_missing(
                lambda: call.client("ec2").disassociate_route_table(AssociationId=association["id"]),
            )
