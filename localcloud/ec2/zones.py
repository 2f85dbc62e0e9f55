"""The region's Availability Zones: which letters there are, and that a subnet can be in no other.

Decides which zones DescribeAvailabilityZones tells of. Letters differ by region and by account (some accounts see a and
c only), so they can be set through the local cloud's own endpoint; at first they are all that the region has.

Moto takes any zone of any region for a subnet, and tells zones without what marks them as usable. Source: EC2 API
reference (AvailabilityZone, CreateSubnet).
"""

from __future__ import annotations

import copy
import ipaddress
from typing import TYPE_CHECKING, Any

from moto.ec2.exceptions import (
    EC2ClientError,
    InvalidAvailabilityZoneError,
    InvalidSubnetConflictError,
    InvalidSubnetRangeError,
)
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend, Zone
from moto.ec2.models.subnets import SubnetBackend

from localcloud.moto_state import LOCK, REGION

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

MIN_PREFIX, MAX_PREFIX = 16, 28  # of a subnet (VPC user guide, "Subnet CIDR blocks")

_ALL: dict[str, list[Any]] = RegionsAndZonesBackend.zones
_create_subnet = SubnetBackend.create_subnet


def patch(patches: Patches) -> None:
    """Make zones the region's own."""
    patches.set(RegionsAndZonesBackend, "zones", copy.copy(_ALL))
    patches.set(Zone, "opt_in_status", "opt-in-not-required")
    patches.set(Zone, "group_name", property(lambda self: f"{self.region_name}-zg-1"))
    patches.set(Zone, "network_border_group", property(lambda self: self.region_name))
    patches.methods(SubnetBackend, create_subnet)


def offer(letters: str) -> list[str]:
    """From now on the account has only these zones of the region; their names. What is in another one stays there.

    Raises ValueError if the region has no such zone.
    """
    with LOCK:
        known = {zone.name[-1]: zone for zone in _ALL[REGION]}
        unknown = [letter for letter in letters if letter not in known]
        if unknown or not letters:
            raise ValueError(f"{REGION} has the zones {''.join(known)}, not {letters!r}.")
        RegionsAndZonesBackend.zones[REGION] = [zone for letter, zone in known.items() if letter in letters]
        return [zone.name for zone in RegionsAndZonesBackend.zones[REGION]]


def create_subnet(
    self: Moto,
    vpc_id: str,
    cidr_block: str | None,
    ipv6_cidr_block: str | None = None,
    availability_zone: str | None = None,
    availability_zone_id: str | None = None,
    tags: Moto = None,
    **kwargs: Any,  # noqa: ANN401 - moto's own arguments
) -> Moto:
    """AWS takes the region's own zones only, and chooses one of them if none is named."""
    zones = RegionsAndZonesBackend.zones.get(self.region_name, [])
    if availability_zone is None and availability_zone_id is None:
        availability_zone = zones[0].name
    if not any(availability_zone == zone.name or availability_zone_id == zone.zone_id for zone in zones):
        raise InvalidAvailabilityZoneError(
            availability_zone or availability_zone_id, ", ".join(zone.name for zone in zones)
        )
    if cidr_block and not MIN_PREFIX <= ipaddress.ip_network(cidr_block, strict=False).prefixlen <= MAX_PREFIX:
        raise InvalidSubnetRangeError(cidr_block)
    if ipv6_cidr_block:
        _check_ipv6(self, vpc_id, ipv6_cidr_block)
    return _create_subnet(
        self, vpc_id, cidr_block, ipv6_cidr_block, availability_zone, availability_zone_id, tags=tags, **kwargs
    )


def _check_ipv6(ec2: Moto, vpc_id: str, asked: str) -> None:
    """AWS takes a /44 to /64, in steps of 4, of the VPC's own block, that no other subnet has (CreateSubnet)."""
    try:
        block = ipaddress.IPv6Network(asked)
    except ValueError:
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Value ({asked}) for parameter ipv6CidrBlock is invalid. This is not a valid CIDR block.",
        ) from None
    whole = [
        ipaddress.IPv6Network(each["cidr_block"])
        for each in ec2.get_vpc(vpc_id).get_cidr_block_association_set(ipv6=True)
    ]
    if block.prefixlen not in range(44, 65, 4) or not any(block.subnet_of(each) for each in whole):
        raise InvalidSubnetRangeError(asked)
    taken = [
        ipaddress.IPv6Network(each["ipv6CidrBlock"])
        for zone in ec2.subnets.values()
        for subnet in zone.values()
        if subnet.vpc_id == vpc_id
        for each in subnet.ipv6_cidr_block_associations.values()
        if each["ipv6CidrBlockState"]["State"] == "associated"
    ]
    if any(block.overlaps(each) for each in taken):
        raise InvalidSubnetConflictError(asked)
