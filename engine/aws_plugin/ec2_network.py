"""VPCs, subnets and internet gateways: facts and API calls of each type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from engine.aws_plugin import ec2_tags
from engine.aws_plugin.convert import tag_map
from engine.aws_plugin.kind import Boto, Call, Kind, code, forget_missing, gone, pick
from engine.aws_plugin.wire import Props


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
