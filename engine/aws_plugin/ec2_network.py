"""VPCs and subnets: facts and API calls of each type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from engine.aws_plugin import ec2_ipv6, ec2_tags
from engine.aws_plugin.convert import tag_map
from engine.aws_plugin.kind import Boto, Call, Kind, OperationError, forget_missing, gone, pick
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


_VPC_FLAGS = {"enableDnsHostnames": False, "enableDnsSupport": True, "enableNetworkAddressUsageMetrics": False}
"""The attributes of a VPC, and what they are in a new one."""


LINGERING = "AWS Lambda VPC ENI"
"""What the network interfaces are described as that a service keeps for a while after their users are gone."""


def refuse_lingering(call: Call, name: str, owner: str) -> None:
    """Raise OperationError if Lambda still has network interfaces here: the official plugin would wait and delete them.

    It asks before each delete of a subnet or a security group, so the right to ask is needed.
    """
    found = call.client("ec2").describe_network_interfaces(Filters=[{"Name": name, "Values": [owner]}])
    for interface in found["NetworkInterfaces"]:
        if str(interface.get("Description", "")).startswith(LINGERING):
            message = (
                f"{owner} still has {interface['NetworkInterfaceId']} of Lambda, which only the official plugin ends"
            )
            raise OperationError(message)


class Vpc(Kind):
    """A VPC (`aws_vpc`)."""

    type_name = "aws:ec2/vpc:Vpc"
    noun = "EC2 VPC"
    supported = frozenset(
        {"assignGeneratedIpv6CidrBlock", "cidrBlock", "instanceTenancy", "region", "tags", *_VPC_FLAGS}
    )
    replace = frozenset({"cidrBlock", "instanceTenancy"})
    defaults: ClassVar[Props] = {"enableDnsSupport": True, "instanceTenancy": "default"}
    computed = frozenset(
        {"arn", "defaultNetworkAclId", "defaultRouteTableId", "defaultSecurityGroupId", "dhcpOptionsId", "cidrBlock"}
        | {"mainRouteTableId", "ownerId", "enableDnsHostnames", "enableNetworkAddressUsageMetrics"}
        | {"ipv6AssociationId", "ipv6CidrBlock", "ipv6CidrBlockNetworkBorderGroup"}
    )
    moving = frozenset({"ipv6AssociationId", "ipv6CidrBlock"})

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """A VPC needs its addresses; pools are not implemented here."""
        if not props.get("cidrBlock"):
            yield "cidrBlock", "a VPC needs an IPv4 CIDR block (the stand-in has no IPAM pools)"

    def moves(self, changed: frozenset[str]) -> frozenset[str]:
        """AWS chooses the IPv6 block anew."""
        return self.moving if "assignGeneratedIpv6CidrBlock" in changed else frozenset()

    def create(self, call: Call, props: Props) -> str:
        """Make it with its IPv6 block, then set the attributes that the create call does not take."""
        ec2 = call.client("ec2")
        vpc = ec2.create_vpc(
            CidrBlock=props["cidrBlock"],
            AmazonProvidedIpv6CidrBlock=bool(props.get("assignGeneratedIpv6CidrBlock")),
            InstanceTenancy=props["instanceTenancy"],
            **ec2_tags.specification("vpc", props),
        )["Vpc"]
        call.made = vpc_id = str(vpc["VpcId"])
        ec2.get_waiter("vpc_available").wait(VpcIds=[vpc_id], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        if vpc.get("Ipv6CidrBlockAssociationSet"):
            association = str(vpc["Ipv6CidrBlockAssociationSet"][0]["AssociationId"])
            ec2_ipv6.wait_associated(call, vpc_id, association, lambda: self._find(call, vpc_id))
        for name, first in _VPC_FLAGS.items():
            if name in props and bool(props[name]) != first:
                self._set_flag(call, vpc_id, name, value=bool(props[name]))
        return vpc_id

    @staticmethod
    def _find(call: Call, vpc_id: str) -> dict[str, Any] | None:
        return describe(call, "describe_vpcs", "Vpcs", VpcIds=[vpc_id])

    @staticmethod
    def _set_flag(call: Call, vpc_id: str, name: str, *, value: bool) -> None:
        ec2 = call.client("ec2")
        ec2.modify_vpc_attribute(VpcId=vpc_id, **{name[0].upper() + name[1:]: {"Value": value}})
        call.wait(f"{name} of {vpc_id} being {value}", lambda: _vpc_flag(ec2, vpc_id, name) is value)

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The VPC with its attributes and the default things that AWS made with it."""
        ec2 = call.client("ec2")
        vpc = self._find(call, resource_id)
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
        block = ec2_ipv6.associated(vpc)
        return {
            **pick(vpc, "CidrBlock", "InstanceTenancy", "DhcpOptionsId", "OwnerId"),
            **{name: _vpc_flag(ec2, resource_id, name) for name in _VPC_FLAGS},
            "assignGeneratedIpv6CidrBlock": block.get("Ipv6Pool") == "Amazon" if block else None,
            "ipv6AssociationId": block.get("AssociationId", ""),
            "ipv6CidrBlock": block.get("Ipv6CidrBlock", ""),
            "ipv6CidrBlockNetworkBorderGroup": block.get("NetworkBorderGroup", ""),
            "arn": call.arn("ec2", f"vpc/{resource_id}"),
            "mainRouteTableId": table,
            "defaultRouteTableId": table,
            "defaultNetworkAclId": acl["NetworkAclId"] if acl else None,
            "defaultSecurityGroupId": group["GroupId"] if group else None,
            "tagsAll": tags,
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Attributes, the IPv6 block, and tags."""
        for name in _VPC_FLAGS:
            if name in changed:
                self._set_flag(call, resource_id, name, value=bool(new.get(name)))
        if "assignGeneratedIpv6CidrBlock" in changed:
            ec2 = call.client("ec2")
            if association := old.get("ipv6AssociationId"):
                ec2.disassociate_vpc_cidr_block(AssociationId=association)
                ec2_ipv6.wait_dissociated(call, resource_id, association, lambda: self._find(call, resource_id))
            if new.get("assignGeneratedIpv6CidrBlock"):
                answer = ec2.associate_vpc_cidr_block(VpcId=resource_id, AmazonProvidedIpv6CidrBlock=True)
                association = str(answer["Ipv6CidrBlockAssociation"]["AssociationId"])
                ec2_ipv6.wait_associated(call, resource_id, association, lambda: self._find(call, resource_id))
        ec2_tags.update(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it once nothing is left in it."""
        ec2 = call.client("ec2")
        forget_missing(lambda: call.retry({"DependencyViolation"}, lambda: ec2.delete_vpc(VpcId=resource_id)))
        call.wait(f"{resource_id} going away", lambda: self._find(call, resource_id) is None)


def _vpc_flag(ec2: Boto, vpc_id: str, name: str) -> bool:
    answer = ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute=name)
    return bool(answer[name[0].upper() + name[1:]]["Value"])


_PLACE = {
    "availabilityZone": "AvailabilityZone",
    "availabilityZoneId": "AvailabilityZoneId",
    "ipv6CidrBlock": "Ipv6CidrBlock",
}
_SUBNET_FLAGS = {
    "assignIpv6AddressOnCreation": "AssignIpv6AddressOnCreation",
    "enableDns64": "EnableDns64",
    "enableResourceNameDnsAaaaRecordOnLaunch": "EnableResourceNameDnsAAAARecord",
    "enableResourceNameDnsARecordOnLaunch": "EnableResourceNameDnsARecord",
    "mapPublicIpOnLaunch": "MapPublicIpOnLaunch",
}
"""The attributes of a subnet that are on or off, and what DescribeSubnets calls them."""


class Subnet(Kind):
    """A subnet (`aws_subnet`)."""

    type_name = "aws:ec2/subnet:Subnet"
    noun = "EC2 Subnet"
    supported = frozenset(
        {"vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId", "ipv6CidrBlock", "region", "tags"}
        | {"privateDnsHostnameTypeOnLaunch", *_SUBNET_FLAGS}
    )
    replace = frozenset({"vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId"})
    defaults: ClassVar[Props] = dict.fromkeys(_SUBNET_FLAGS, False)
    computed = frozenset(
        {"arn", "ownerId", "availabilityZone", "availabilityZoneId", "ipv6CidrBlock", "ipv6CidrBlockAssociationId"}
        | {"privateDnsHostnameTypeOnLaunch"}
    )
    moving = frozenset({"ipv6CidrBlockAssociationId"})

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """A subnet needs its addresses."""
        if not props.get("cidrBlock"):
            yield "cidrBlock", "a subnet needs an IPv4 CIDR block (the stand-in has no IPAM pools, and no IPv6 alone)"

    def replaces(self, name: str, old: Props, new: Props) -> bool:
        """Another IPv6 block is another subnet where network interfaces got addresses of it."""
        if name == "ipv6CidrBlock":
            return bool(old.get("assignIpv6AddressOnCreation"))
        return name in self.replace

    def moves(self, changed: frozenset[str]) -> frozenset[str]:
        """Another block is another association."""
        return self.moving if "ipv6CidrBlock" in changed else frozenset()

    def create(self, call: Call, props: Props) -> str:
        """Make it, then set what the create call does not take."""
        ec2 = call.client("ec2")
        place = {api: props[name] for name, api in _PLACE.items() if props.get(name)}
        subnet = ec2.create_subnet(
            VpcId=props["vpcId"], CidrBlock=props["cidrBlock"], **place, **ec2_tags.specification("subnet", props)
        )["Subnet"]
        call.made = subnet_id = str(subnet["SubnetId"])
        ec2.get_waiter("subnet_available").wait(SubnetIds=[subnet_id], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        for item in subnet.get("Ipv6CidrBlockAssociationSet") or []:
            ec2_ipv6.wait_associated(call, subnet_id, str(item["AssociationId"]), lambda: self._find(call, subnet_id))
        have = self._flags(subnet)
        for name in _SUBNET_FLAGS:
            if bool(props[name]) != have[name]:
                self._set(call, subnet_id, name, bool(props[name]))
        hostname = props.get("privateDnsHostnameTypeOnLaunch")
        if hostname and hostname != (subnet.get("PrivateDnsNameOptionsOnLaunch") or {}).get("HostnameType"):
            self._set(call, subnet_id, "privateDnsHostnameTypeOnLaunch", hostname)
        return subnet_id

    @staticmethod
    def _find(call: Call, subnet_id: str) -> dict[str, Any] | None:
        return describe(call, "describe_subnets", "Subnets", SubnetIds=[subnet_id])

    @staticmethod
    def _flags(subnet: dict[str, Any]) -> dict[str, bool]:
        """A subnet's flags, of which some lie deeper in the API's answer."""
        deep = subnet.get("PrivateDnsNameOptionsOnLaunch") or {}
        return {name: bool(subnet.get(api) or deep.get(api)) for name, api in _SUBNET_FLAGS.items()}

    def _set(self, call: Call, subnet_id: str, name: str, value: bool | str) -> None:  # noqa: FBT001 - any attribute's
        """Set one attribute, as the API wants, and wait until it is seen."""
        api = name[0].upper() + name[1:].replace("Aaaa", "AAAA")
        argument: Boto = {"Value": value} if isinstance(value, bool) else value
        call.client("ec2").modify_subnet_attribute(SubnetId=subnet_id, **{api: argument})

        def done() -> bool:
            seen = self.read(call, subnet_id, {}) or {}
            return bool(seen.get(name) == value)

        call.wait(f"{name} of {subnet_id} being {value}", done)

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The subnet."""
        subnet = self._find(call, resource_id)
        if subnet is None:
            return None
        dns = subnet.get("PrivateDnsNameOptionsOnLaunch") or {}
        block = ec2_ipv6.associated(subnet)
        return {
            **pick(subnet, "VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId", "OwnerId"),
            **self._flags(subnet),
            "privateDnsHostnameTypeOnLaunch": dns.get("HostnameType", "ip-name"),
            "ipv6CidrBlock": block.get("Ipv6CidrBlock", ""),
            "ipv6CidrBlockAssociationId": block.get("AssociationId", ""),
            "arn": subnet.get("SubnetArn") or call.arn("ec2", f"subnet/{resource_id}"),
            "tagsAll": tag_map(subnet.get("Tags")),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """The IPv6 block, attributes one by one (addresses of it are off before it goes, on after it came), tags."""
        ec2, assign = call.client("ec2"), "assignIpv6AddressOnCreation"
        if assign in changed and not new[assign]:
            self._set(call, resource_id, assign, value=False)
        if "ipv6CidrBlock" in changed:
            if association := old.get("ipv6CidrBlockAssociationId"):
                ec2.disassociate_subnet_cidr_block(AssociationId=association)
                ec2_ipv6.wait_dissociated(call, resource_id, association, lambda: self._find(call, resource_id))
            if new.get("ipv6CidrBlock"):
                answer = ec2.associate_subnet_cidr_block(SubnetId=resource_id, Ipv6CidrBlock=new["ipv6CidrBlock"])
                association = str(answer["Ipv6CidrBlockAssociation"]["AssociationId"])
                ec2_ipv6.wait_associated(call, resource_id, association, lambda: self._find(call, resource_id))
        for name in _SUBNET_FLAGS:
            if name in changed and (name != assign or new[assign]):
                self._set(call, resource_id, name, value=bool(new[name]))
        if "privateDnsHostnameTypeOnLaunch" in changed:
            self._set(call, resource_id, "privateDnsHostnameTypeOnLaunch", new["privateDnsHostnameTypeOnLaunch"])
        ec2_tags.update(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it once its instances are gone."""
        ec2 = call.client("ec2")
        refuse_lingering(call, "subnet-id", resource_id)
        forget_missing(lambda: call.retry({"DependencyViolation"}, lambda: ec2.delete_subnet(SubnetId=resource_id)))
