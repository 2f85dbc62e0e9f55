"""Internet gateways, those of IPv6, NAT gateways and their addresses: facts and API calls of each type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from engine.aws_plugin import ec2_tags
from engine.aws_plugin.convert import tag_map
from engine.aws_plugin.ec2_network import describe
from engine.aws_plugin.kind import Call, Kind, OperationError, code, forget_missing, gone, pick
from engine.aws_plugin.wire import Props


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


_EIP_ARGUMENTS = {
    "address": "Address",
    "domain": "Domain",
    "networkBorderGroup": "NetworkBorderGroup",
    "publicIpv4Pool": "PublicIpv4Pool",
}


class Eip(Kind):
    """An Elastic IP address that something else associates, such as a NAT gateway (`aws_eip`)."""

    type_name = "aws:ec2/eip:Eip"
    noun = "EC2 EIP"
    supported = frozenset({*_EIP_ARGUMENTS, "region", "tags"})
    replace = frozenset(_EIP_ARGUMENTS)
    computed = frozenset(
        {"allocationId", "arn", "associationId", "carrierIp", "customerOwnedIp", "domain", "instance", "ipamPoolId"}
        | {"networkBorderGroup", "networkInterface", "privateDns", "privateIp", "ptrRecord", "publicDns", "publicIp"}
        | {"publicIpv4Pool"}
    )

    def create(self, call: Call, props: Props) -> str:
        """Allocate it, and wait until it can be found."""
        arguments = {api: props[name] for name, api in _EIP_ARGUMENTS.items() if props.get(name)}
        answer = call.client("ec2").allocate_address(**arguments, **ec2_tags.specification("elastic-ip", props))
        call.made = allocation = str(answer["AllocationId"])
        call.wait(f"EIP {allocation} being found", lambda: self._find(call, allocation) is not None)
        return allocation

    @staticmethod
    def _find(call: Call, allocation: str) -> dict[str, Any] | None:
        return describe(call, "describe_addresses", "Addresses", AllocationIds=[allocation])

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The address, what it is associated with, and its reverse record."""
        address = self._find(call, resource_id)
        if address is None:
            return None
        public, private = address.get("PublicIp"), address.get("PrivateIpAddress")
        return {
            **pick(address, "AllocationId", "AssociationId", "Domain", "NetworkBorderGroup", "PublicIpv4Pool"),
            **pick(address, "CarrierIp", "CustomerOwnedIp", "PublicIp"),
            "instance": address.get("InstanceId"),
            "networkInterface": address.get("NetworkInterfaceId"),
            "privateIp": private,
            "privateDns": _dns_name("ip", private, call) if private else None,
            "publicDns": _dns_name("ec2", public, call) if public else None,
            "ptrRecord": self._reverse_record(call, resource_id),
            "arn": call.arn("ec2", f"elastic-ip/{resource_id}"),
            "tagsAll": tag_map(address.get("Tags")),
        }

    @staticmethod
    def _reverse_record(call: Call, allocation: str) -> str | None:
        try:
            found = describe(
                call, "describe_addresses_attribute", "Addresses", AllocationIds=[allocation], Attribute="domain-name"
            )
        except ClientError as error:
            if code(error) == "InvalidAction":  # partitions without it
                return None
            raise
        return str((found or {}).get("PtrRecord") or "").removesuffix(".") or None

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Tags."""
        ec2_tags.update(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Take it off what it is associated with, then release it."""
        ec2 = call.client("ec2")
        if known.get("associationId"):
            forget_missing(lambda: ec2.disassociate_address(AssociationId=known["associationId"]))
        group = {"NetworkBorderGroup": known["networkBorderGroup"]} if known.get("networkBorderGroup") else {}
        forget_missing(lambda: ec2.release_address(AllocationId=resource_id, **group))


def _dns_name(kind: str, address: str, call: Call) -> str:
    """The name that AWS's DNS has for an address; us-east-1 has names of its own."""
    region = call.region
    host = f"{kind}-{address.replace('.', '-')}"
    if kind == "ip":
        return f"{host}.ec2.internal" if region == "us-east-1" else f"{host}.{region}.compute.internal"
    zone = "compute-1" if region == "us-east-1" else f"{region}.compute"
    return f"{host}.{zone}.{call.dns_suffix}"


_NAT_ARGUMENTS = {
    "allocationId": "AllocationId",
    "connectivityType": "ConnectivityType",
    "privateIp": "PrivateIpAddress",
    "subnetId": "SubnetId",
}


class NatGateway(Kind):
    """A zonal NAT gateway with one address (`aws_nat_gateway`)."""

    type_name = "aws:ec2/natGateway:NatGateway"
    noun = "EC2 NAT Gateway"
    supported = frozenset({*_NAT_ARGUMENTS, "region", "tags"})
    replace = frozenset(_NAT_ARGUMENTS)
    defaults: ClassVar[Props] = {"connectivityType": "public"}
    computed = frozenset(
        {"associationId", "networkInterfaceId", "privateIp", "publicIp", "vpcId", "availabilityMode", "routeTableId"}
        | {"secondaryAllocationIds", "secondaryPrivateIpAddressCount", "secondaryPrivateIpAddresses"}
        | {"autoProvisionZones", "autoScalingIps", "regionalNatGatewayAddresses", "regionalNatGatewayAutoMode"}
        | {"availabilityZoneAddresses"}
    )
    timeout = 600.0

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """A private gateway has no public address."""
        if props.get("connectivityType") == "private" and props.get("allocationId"):
            yield "allocationId", "not supported with a connectivityType of private"

    def create(self, call: Call, props: Props) -> str:
        """Make it and wait until it is available."""
        arguments = {api: props[name] for name, api in _NAT_ARGUMENTS.items() if props.get(name)}
        answer = call.client("ec2").create_nat_gateway(
            ClientToken=uuid.uuid4().hex, **arguments, **ec2_tags.specification("natgateway", props)
        )
        call.made = gateway_id = str(answer["NatGateway"]["NatGatewayId"])
        call.wait(f"NAT gateway {gateway_id} becoming available", lambda: self._available(call, gateway_id))
        return gateway_id

    @staticmethod
    def _find(call: Call, gateway_id: str) -> dict[str, Any] | None:
        """The gateway; AWS tells of a deleted one for about an hour."""
        gateway = describe(call, "describe_nat_gateways", "NatGateways", NatGatewayIds=[gateway_id])
        return None if gateway is None or gateway.get("State") == "deleted" else gateway

    @classmethod
    def _available(cls, call: Call, gateway_id: str) -> bool:
        gateway = cls._find(call, gateway_id) or {}
        if gateway.get("State") == "failed":
            message = f"NAT gateway {gateway_id} failed: {gateway.get('FailureCode')}: {gateway.get('FailureMessage')}"
            raise OperationError(message)
        return gateway.get("State") == "available"

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The gateway and its addresses."""
        gateway = self._find(call, resource_id)
        if gateway is None:
            return None
        addresses: list[dict[str, Any]] = gateway.get("NatGatewayAddresses") or []
        first = next((item for item in addresses if item.get("IsPrimary") or len(addresses) == 1), {})
        others = [item for item in addresses if item is not first]
        private = [item["PrivateIp"] for item in others if item.get("PrivateIp")]
        return {
            **pick(first, "AllocationId", "AssociationId", "NetworkInterfaceId", "PrivateIp", "PublicIp"),
            **pick(gateway, "ConnectivityType", "SubnetId", "VpcId", "AvailabilityMode"),
            "secondaryAllocationIds": [item["AllocationId"] for item in others if item.get("AllocationId")],
            "secondaryPrivateIpAddresses": private,
            "secondaryPrivateIpAddressCount": len(private),
            "tagsAll": tag_map(gateway.get("Tags")),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Tags."""
        ec2_tags.update(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it, and wait until its network interface and its address are free."""
        forget_missing(lambda: call.client("ec2").delete_nat_gateway(NatGatewayId=resource_id))
        call.wait(f"NAT gateway {resource_id} going away", lambda: self._find(call, resource_id) is None)


class EgressOnlyInternetGateway(Kind):
    """An internet gateway for IPv6 that lets nothing in (`aws_egress_only_internet_gateway`)."""

    type_name = "aws:ec2/egressOnlyInternetGateway:EgressOnlyInternetGateway"
    noun = "EC2 Egress-only Internet Gateway"
    supported = frozenset({"vpcId", "region", "tags"})
    replace = frozenset({"vpcId"})

    def create(self, call: Call, props: Props) -> str:
        """Make it, attached to its VPC, and wait until it can be found."""
        answer = call.client("ec2").create_egress_only_internet_gateway(
            ClientToken=uuid.uuid4().hex,
            VpcId=props["vpcId"],
            **ec2_tags.specification("egress-only-internet-gateway", props),
        )
        call.made = gateway_id = str(answer["EgressOnlyInternetGateway"]["EgressOnlyInternetGatewayId"])
        what = f"egress-only internet gateway {gateway_id} being found"
        call.wait(what, lambda: self._find(call, gateway_id) is not None)
        return gateway_id

    @staticmethod
    def _find(call: Call, gateway_id: str) -> dict[str, Any] | None:
        return describe(
            call,
            "describe_egress_only_internet_gateways",
            "EgressOnlyInternetGateways",
            EgressOnlyInternetGatewayIds=[gateway_id],
        )

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The gateway and the VPC that it is attached to."""
        gateway = self._find(call, resource_id)
        if gateway is None:
            return None
        attachments = gateway.get("Attachments") or []
        attached = len(attachments) == 1 and attachments[0].get("State") == "attached"
        return {
            "vpcId": attachments[0]["VpcId"] if attached else None,
            "tagsAll": tag_map(gateway.get("Tags")),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Tags."""
        ec2_tags.update(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it."""
        delete = call.client("ec2").delete_egress_only_internet_gateway
        forget_missing(lambda: delete(EgressOnlyInternetGatewayId=resource_id))
