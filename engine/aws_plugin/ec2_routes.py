"""Route tables, routes and associations: facts and API calls of each type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Iterator
from functools import partial
from typing import Any

from engine.aws_plugin import ec2_tags
from engine.aws_plugin.compare import Rules
from engine.aws_plugin.convert import tag_map
from engine.aws_plugin.ec2_network import describe
from engine.aws_plugin.kind import Call, Kind, OperationError, forget_missing, pick
from engine.aws_plugin.wire import Props

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


_ROUTE_RETRIES = frozenset({"InvalidParameterException", "InvalidTransitGatewayID.NotFound"})
"""What AWS says while a route's target is not everywhere yet."""


def _of_endpoint(route: dict[str, Any]) -> bool:
    return str(route.get("GatewayId", "")).startswith("vpce-") and bool(route.get("DestinationPrefixListId"))


def _same_block(one: str, other: str) -> bool:
    """Whether two destinations are one: AWS writes an IPv6 block its own way."""
    try:
        return ipaddress.ip_network(one) == ipaddress.ip_network(other)
    except ValueError:
        return one == other  # prefix lists


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
        """The table and its routes, but for those that AWS makes: the local one, and those of gateway endpoints."""
        table = describe(call, "describe_route_tables", "RouteTables", RouteTableIds=[resource_id])
        if table is None:
            return None
        routes = [
            {name: route[api] for name, api in {**_INLINE_DESTINATIONS, **_TARGETS}.items() if route.get(api)}
            for route in table.get("Routes", [])
            if route.get("GatewayId") != "local" and not _of_endpoint(route)
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


def _destination(props: Props) -> str:
    return next((str(props[name]) for name in _DESTINATIONS if props.get(name)), "")


_CONFLICTS = {
    "carrierGatewayId": "destinationIpv6CidrBlock",
    "egressOnlyGatewayId": "destinationCidrBlock",
    "vpcEndpointId": "destinationPrefixListId",
}
"""Targets, each with the destination that it cannot have."""


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
        for target, destination in _CONFLICTS.items():
            if props.get(target) and props.get(destination):
                yield target, f"not together with {destination}"

    @staticmethod
    def _id(table: str, destination: str) -> str:
        # As Terraform makes it: hashcode.String is CRC-32 (IEEE) of the destination.
        return f"r-{table}{zlib.crc32(destination.encode())}"

    def create(self, call: Call, props: Props) -> str:
        """Make it."""
        arguments = _arguments(props, _DESTINATIONS, _TARGETS)
        table, create = props["routeTableId"], call.client("ec2").create_route
        call.retry(_ROUTE_RETRIES, lambda: create(RouteTableId=table, **arguments))
        destination = _destination(props)
        call.made = self._id(table, destination)
        self._wait(call, table, destination, there=True)
        return call.made

    def _wait(self, call: Call, table: str, destination: str, *, there: bool) -> None:
        """Wait until the table has the route, or has it no longer."""
        what = f"the route of {table} to {destination} {'being found' if there else 'going away'}"
        call.wait(what, lambda: (self._find(call, table, destination) is not None) is there)

    @staticmethod
    def _find(call: Call, table_id: str, destination: str) -> dict[str, Any] | None:
        table = describe(call, "describe_route_tables", "RouteTables", RouteTableIds=[table_id]) or {}
        for route in table.get("Routes", []):
            if any(_same_block(destination, route[api]) for api in _DESTINATIONS.values() if route.get(api)):
                return dict(route)
        return None

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The route; an import id is `ROUTETABLEID_DESTINATION`."""
        table_id = known.get("routeTableId")
        destination = _destination(known)
        if not table_id:
            table_id, _, destination = resource_id.partition("_")
            if not destination:
                message = f"the import id of a route is ROUTETABLEID_DESTINATION, not {resource_id}"
                raise OperationError(message)
        route = self._find(call, table_id, destination)
        if route is None:
            return None
        found = {name: route.get(api) for name, api in {**_DESTINATIONS, **_TARGETS}.items()}
        if str(found["gatewayId"]).startswith("vpce-"):  # where AWS tells an endpoint
            found |= {"gatewayId": None, "vpcEndpointId": found["gatewayId"]}
        return {
            **found,
            **pick(route, "State", "Origin", "InstanceId", "InstanceOwnerId"),
            "routeTableId": table_id,
            "id": self._id(table_id, destination),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Lead it elsewhere."""
        target = {name: new[name] for name in changed if new.get(name)}
        call.client("ec2").replace_route(
            RouteTableId=new["routeTableId"], **_arguments(new, _DESTINATIONS), **_arguments(target, _TARGETS)
        )
        self._wait(call, new["routeTableId"], _destination(new), there=True)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it, and wait until it is gone."""
        arguments, table = _arguments(known, _DESTINATIONS), known["routeTableId"]
        delete = call.client("ec2").delete_route
        forget_missing(
            lambda: call.retry({"InvalidParameterException"}, lambda: delete(RouteTableId=table, **arguments))
        )
        self._wait(call, table, _destination(known), there=False)


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
