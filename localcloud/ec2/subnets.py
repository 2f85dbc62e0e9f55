"""The attributes of a subnet: that each can be set, one a call, and that its IPv6 block is told as AWS tells it.

Decides which attributes ModifySubnetAttribute takes. Moto drops some of them in silence, and puts the state of an IPv6
block into one string.

Sources: EC2 API reference (ModifySubnetAttribute: "You can only modify one attribute at a time"; Subnet).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from moto.core.responses import EmptyResult
from moto.ec2.exceptions import EC2ClientError, InvalidParameterValueError
from moto.ec2.models.subnets import Subnet
from moto.ec2.responses.subnets import Subnets

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

_PLAIN: Final = {
    "AssignIpv6AddressOnCreation": "assign_ipv6_address_on_creation",
    "EnableDns64": "enable_dns64",
    "MapPublicIpOnLaunch": "map_public_ip_on_launch",
}
"""Of each attribute that is on or off: where moto keeps it."""

_NAMES: Final = {
    "EnableResourceNameDnsAAAARecordOnLaunch": "EnableResourceNameDnsAAAARecord",
    "EnableResourceNameDnsARecordOnLaunch": "EnableResourceNameDnsARecord",
}
"""The same, of the names that machines get in DNS."""

_HOSTNAMES: Final = frozenset({"ip-name", "resource-name"})


def patch(patches: Patches) -> None:
    """Make the attributes whole."""
    patches.set(Subnet, "enable_dns64", value=False)
    patches.set(Subnet, "ipv6_cidr_block_association_set", property(_blocks))
    patches.methods(Subnets, modify_subnet_attribute)


def _blocks(self: Moto) -> list[dict[str, Any]]:
    """The IPv6 blocks that the subnet has."""
    return [
        {
            "associationId": association["associationId"],
            "ipv6CidrBlock": association["ipv6CidrBlock"],
            "ipv6CidrBlockState": {"state": association["ipv6CidrBlockState"]["State"]},
        }
        for association in self.ipv6_cidr_block_associations.values()
        if association["ipv6CidrBlockState"]["State"] == "associated"
    ]


def modify_subnet_attribute(self: Moto) -> EmptyResult:
    """AWS sets one attribute in a call; addresses of IPv6 need an IPv6 block."""
    subnet = self.ec2_backend.get_subnet(self._get_param("SubnetId"))
    flags = {name: self._get_bool_param(f"{name}.Value") for name in (*_PLAIN, *_NAMES)}
    asked: dict[str, bool | str] = {name: value for name, value in flags.items() if value is not None}
    if hostname := self._get_param("PrivateDnsHostnameTypeOnLaunch"):
        asked["PrivateDnsHostnameTypeOnLaunch"] = hostname
    if len(asked) != 1:
        raise EC2ClientError("InvalidParameterCombination", "Exactly one attribute of the subnet must be specified")
    ((name, value),) = asked.items()
    if name == "AssignIpv6AddressOnCreation" and value and not subnet.ipv6_cidr_block_association_set:
        raise EC2ClientError("InvalidParameterValue", f"The subnet {subnet.id} does not have an IPv6 CIDR block")
    if name in _PLAIN:
        setattr(subnet, _PLAIN[name], value)
    elif name in _NAMES:
        subnet.private_dns_name_options_on_launch[_NAMES[name]] = value
    elif value in _HOSTNAMES:
        subnet.private_dns_name_options_on_launch["HostnameType"] = value
    else:
        raise InvalidParameterValueError(value)
    return EmptyResult()
