"""Load balancers as strict as ELBv2: their names, subnets, security groups and attributes that need something else.

Decides what is refused, which address a load balancer gets, and what is told of it. It is active at once here.

Words and limits: Elastic Load Balancing API reference (CreateLoadBalancer, SetSubnets, SetSecurityGroups,
SetIpAddressType), user guide for Application Load Balancers ("Quotas", "Create an Application Load Balancer").
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from moto.core.responses import ActionResult
from moto.ec2.exceptions import InvalidSubnetIdError
from moto.elbv2.exceptions import (
    DuplicateLoadBalancerName,
    ELBClientError,
    LoadBalancerNotFoundError,
    SubnetNotFoundError,
)
from moto.elbv2.models import AvailabilityZone, ELBv2Backend
from moto.elbv2.responses import ELBV2Response

from localcloud.elbv2 import attributes
from localcloud.regions import KNOWN, REGION, addresses

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

# Load balancer n has the address 127.66.0.n in us-east-1, which is also its DNS name.
ADDRESSES: Final = addresses(REGION)
HOSTED_ZONE: Final = KNOWN[REGION].balancers
MAX_BALANCERS: Final = 50
FREE_ADDRESSES: Final = 8  # that a subnet must have left

LIMITS: Final = {
    "application-load-balancers": MAX_BALANCERS,
    "certificates-per-application-load-balancer": 25,
    "condition-values-per-alb-rule": 5,
    "condition-wildcards-per-alb-rule": 6,
    "listeners-per-application-load-balancer": 50,
    "rules-per-application-load-balancer": 100,
    "target-groups": 3_000,
    "target-groups-per-action-on-application-load-balancer": 5,
    "target-groups-per-application-load-balancer": 100,
    "targets-per-application-load-balancer": 1_000,
}
"""What DescribeAccountLimits tells (API reference, Limit; user guide, "Quotas")."""

_create_load_balancer = ELBv2Backend.create_load_balancer
_delete_load_balancer = ELBv2Backend.delete_load_balancer


def patch(patches: Patches) -> None:
    """Make load balancers strict."""
    patches.methods(ELBv2Backend, create_load_balancer, describe_load_balancers)
    patches.methods(ELBv2Backend, set_subnets, set_security_groups, set_ip_address_type)
    patches.set(ELBV2Response, "describe_account_limits", describe_account_limits)


def _refused(message: str) -> ELBClientError:
    return ELBClientError("InvalidConfigurationRequest", message)


def _check_name(name: str) -> None:
    """API reference: CreateLoadBalancer, Name."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,32}", name):
        raise ELBClientError(
            "ValidationError",
            f"The load balancer name '{name}' can only have 1 to 32 characters that are alphanumeric or hyphens(-)",
        )
    if name.startswith("-") or name.endswith("-"):
        raise ELBClientError("ValidationError", f"The load balancer name '{name}' cannot begin or end with '-'")
    if name.startswith("internal-"):
        raise ELBClientError("ValidationError", f"The load balancer name '{name}' cannot begin with 'internal-'")


def create_load_balancer(
    self: Moto,
    name: str,
    security_groups: list[str],
    subnet_ids: list[str],
    subnet_mappings: list[dict[str, str]] | None = None,
    scheme: str | None = None,
    loadbalancer_type: str | None = None,
    ip_address_type: str = "ipv4",
    tags: list[dict[str, str]] | None = None,
) -> Moto:
    """AWS checks name, subnets, zones, gateway and security groups; moto hardly any. It is active at once here."""
    _check_name(name)
    if any(balancer.name == name for balancer in self.load_balancers.values()):
        raise DuplicateLoadBalancerName
    if len(self.load_balancers) >= MAX_BALANCERS:
        raise ELBClientError("TooManyLoadBalancers", f"An account has at most {MAX_BALANCERS} load balancers a region")
    scheme = scheme or "internet-facing"
    subnets = _subnets(self, [*subnet_ids, *(mapping["SubnetId"] for mapping in subnet_mappings or [])])
    vpc_id = subnets[0].vpc_id if subnets else ""
    if (loadbalancer_type or "application") == "application":
        _check_subnets(self, subnets, scheme, ip_address_type)
        security_groups = security_groups or [self.ec2_backend.get_default_security_group(vpc_id).id]
    _check_groups(self, security_groups or [], vpc_id)
    address = _free_address(self)
    balancer = _create_load_balancer(
        self,
        name,
        security_groups,
        subnet_ids,
        subnet_mappings,
        scheme=scheme,
        loadbalancer_type=loadbalancer_type,
        ip_address_type=ip_address_type,
        tags=tags,
    )
    balancer.dns_name = address
    balancer.state = "active"
    balancer.canonical_hosted_zone_id = HOSTED_ZONE
    if balancer.type == "application":
        balancer.attrs = attributes.first(attributes.BALANCER)
    return balancer


def _subnets(elbv2: Moto, chosen: list[str]) -> list[Moto]:
    try:
        return [elbv2.ec2_backend.get_subnet(subnet_id) for subnet_id in chosen]
    except InvalidSubnetIdError:
        raise SubnetNotFoundError from None


def _check_subnets(elbv2: Moto, subnets: list[Moto], scheme: str, ip_address_type: str) -> None:
    zones = [subnet.availability_zone for subnet in subnets]
    if len(set(zones)) < 2:
        raise ELBClientError(
            "ValidationError", "At least two subnets in two different Availability Zones must be specified"
        )
    if len(set(zones)) < len(zones):
        raise _refused("A load balancer cannot be attached to multiple subnets in the same Availability Zone")
    vpcs = sorted({subnet.vpc_id for subnet in subnets})
    if len(vpcs) > 1:
        raise _refused(f"All subnets must belong to the same VPC: '{', '.join(vpcs)}'")
    for subnet in subnets:
        if subnet.available_ip_address_count < FREE_ADDRESSES:
            raise ELBClientError(
                "InvalidSubnet",
                f"Not enough IP space available in {subnet.id}."
                f" ELB requires at least {FREE_ADDRESSES} free IP addresses in each subnet.",
            )
    gateways = [gateway.vpc.id for gateway in elbv2.ec2_backend.internet_gateways.values() if gateway.vpc]
    if scheme != "internal" and vpcs[0] not in gateways:
        raise ELBClientError("InvalidSubnet", f"VPC {vpcs[0]} has no internet gateway")
    if ip_address_type == "dualstack":
        _check_ipv6(subnets)


def _check_ipv6(subnets: list[Moto]) -> None:
    for subnet in subnets:
        if not subnet.ipv6_cidr_block_association_set:
            raise ELBClientError("ValidationError", "You must specify subnets with an associated IPv6 CIDR block.")


def _check_groups(elbv2: Moto, groups: list[str], vpc_id: str) -> None:
    for group_id in groups:
        group = elbv2.ec2_backend.get_security_group_from_id(group_id)
        if group is None:
            raise ELBClientError("InvalidSecurityGroup", f"The security group '{group_id}' does not exist")
        if group.vpc_id != vpc_id:
            raise _refused("One or more security groups are invalid")


def _free_address(elbv2: Moto) -> str:
    taken = {balancer.dns_name for balancer in elbv2.load_balancers.values()}
    return next(address for number in range(1, 255) if (address := f"{ADDRESSES}{number}") not in taken)


def describe_load_balancers(self: Moto, arns: list[str] | None, names: list[str] | None) -> list[Moto]:
    """AWS refuses what it does not know; moto answers with the one before in the list."""
    found = list(self.load_balancers.values())
    if arns or names:
        found = [b for b in found if b.arn in (arns or []) or b.name in (names or [])]
        if len(found) < len(set(arns or [])) + len(set(names or [])):
            raise ELBClientError("LoadBalancerNotFound", f"One or more load balancers not found: {arns or names}")
    return found


def _balancer(elbv2: Moto, arn: str) -> Moto:
    balancer = elbv2.load_balancers.get(arn)
    if balancer is None:
        raise LoadBalancerNotFoundError
    return balancer


def set_subnets(self: Moto, arn: str, subnets: list[str], subnet_mappings: list[dict[str, Any]]) -> list[Moto]:
    """AWS checks the subnets as when a load balancer is created, which must stay in its VPC; moto only counts zones."""
    balancer = _balancer(self, arn)
    chosen = _subnets(self, [*subnets, *(mapping["SubnetId"] for mapping in subnet_mappings)])
    if any(subnet.vpc_id != balancer.vpc_id for subnet in chosen):
        raise _refused(f"The subnets must be in the VPC of the load balancer, '{balancer.vpc_id}'")
    _check_subnets(self, chosen, balancer.scheme, balancer.ip_address_type)
    balancer.subnets = chosen
    return [AvailabilityZone(subnet) for subnet in chosen]


def set_security_groups(self: Moto, arn: str, sec_groups: list[str]) -> None:
    """AWS wants a security group at least, of the load balancer's VPC; moto takes none, or another VPC's."""
    balancer = _balancer(self, arn)
    if not sec_groups:
        raise ELBClientError("ValidationError", "At least one security group must be specified")
    _check_groups(self, sec_groups, balancer.vpc_id)
    balancer.security_groups = sec_groups


def set_ip_address_type(self: Moto, arn: str, ip_type: str) -> None:
    """AWS wants subnets with IPv6 for `dualstack`; moto does not look."""
    balancer = _balancer(self, arn)
    if ip_type == "dualstack":
        _check_ipv6(balancer.subnets)
    balancer.ip_address_type = ip_type


def delete_load_balancer(self: Moto, arn: str) -> None:
    """AWS keeps a load balancer that is protected."""
    balancer = self.load_balancers.get(arn)
    if balancer is not None and balancer.attrs.get("deletion_protection.enabled") == "true":
        raise ELBClientError(
            "OperationNotPermitted", f"Load balancer '{arn}' cannot be deleted because deletion protection is enabled"
        )
    _delete_load_balancer(self, arn)


def describe_account_limits(self: Moto) -> Moto:
    """AWS tells every quota as it is; moto some, and old ones."""
    del self
    return ActionResult({"Limits": [{"Name": name, "Max": str(limit)} for name, limit in LIMITS.items()]})
