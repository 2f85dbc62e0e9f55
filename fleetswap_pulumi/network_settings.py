"""The settings of the network: a VPC of the stack's own or an existing one, and where machines may connect to.

What only AWS knows (which zones, endpoint services and subnets there are) is checked later, but also before the first
resource: `fleetswap_pulumi.place` and `fleetswap.domain.network`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from fleetswap.domain.errors import InputError
from fleetswap.domain.network import subnets
from fleetswap.domain.network.existing import PRIVATE, is_inside
from fleetswap_pulumi.checks import Strict
from fleetswap_pulumi.names import (
    Cidr,
    EndpointName,
    Ports,
    PrefixListId,
    SecurityGroupId,
    SubnetId,
    VpcId,
    Zone,
    distinct,
)

FEWEST = 2
"""Zones that a load balancer needs (ELBv2, CreateLoadBalancer, Subnets)."""


class EgressRule(Strict):
    """A destination of the machines: exactly one of `cidr`, `security_group` and `prefix_list`, with ports."""

    cidr: Cidr | None = Field(default=None, examples=["10.0.0.0/8"])
    """IPv4 or IPv6 CIDR block."""
    security_group: SecurityGroupId | None = Field(default=None, examples=["sg-0a1b2c3d4e5f60718"])
    """ID of a security group, such as that of a database."""
    prefix_list: PrefixListId | None = Field(default=None, examples=["pl-0a1b2c3d4e5f60718"])
    """ID of a prefix list."""
    protocol: Literal["tcp", "udp", "all"] = "tcp"
    """`tcp`, `udp`, or `all`, which has no ports."""
    ports: Annotated[tuple[Ports, ...], AfterValidator(distinct)] = Field(
        default=(), validate_default=True, examples=[[5432]]
    )
    """Ports and ranges of ports (`8000-8010`)."""

    @field_validator("ports")
    @classmethod
    def _suit_the_protocol(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("protocol") == "all" and value:
            raise ValueError("protocol `all` has no ports: remove them")
        if info.data.get("protocol") in {"tcp", "udp"} and not value:
            raise ValueError("is empty: name the ports that the machines may connect to")
        return value

    @model_validator(mode="after")
    def _has_one_destination(self) -> EgressRule:
        if sum(each is not None for each in (self.cidr, self.security_group, self.prefix_list)) != 1:
            raise ValueError("give exactly one of `cidr`, `security_group` and `prefix_list`")
        return self

    @property
    def destination(self) -> str:
        """The one that is set."""
        return self.cidr or self.security_group or self.prefix_list or ""

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """First and last port of each range; protocol `all` has none."""
        split = [each.partition("-") for each in self.ports]
        return tuple((int(first), int(last or first)) for first, _, last in split)


class VpcSettings(Strict):
    """An existing VPC. Nothing in it is changed; what is added is security groups, and endpoints if you name some."""

    id: VpcId = Field(examples=["vpc-0a1b2c3d4e5f60718"])
    """ID of the VPC. It cannot change while a fleet runs."""
    machine_subnets: Annotated[tuple[SubnetId, ...], AfterValidator(distinct)] = Field(
        default=(), examples=[["subnet-0a1b2c3d4e5f60718", "subnet-1a1b2c3d4e5f60718"]]
    )
    """IDs of the subnets of the machines, in two zones or more. A change applies in place."""
    machine_subnet_tags: dict[str, str] = Field(default={}, validate_default=True, examples=[{"tier": "private"}])
    """Tags of the subnets of the machines, instead of their IDs."""
    balancer_subnets: Annotated[tuple[SubnetId, ...], AfterValidator(distinct)] = Field(
        default=(), examples=[["subnet-2a1b2c3d4e5f60718", "subnet-3a1b2c3d4e5f60718"]]
    )
    """IDs of the subnets of the load balancer, one in each zone of the machines."""
    balancer_subnet_tags: dict[str, str] = Field(default={}, validate_default=True, examples=[{"tier": "public"}])
    """Tags of the subnets of the load balancer, instead of their IDs."""

    @field_validator("machine_subnets", "balancer_subnets")
    @classmethod
    def _are_two(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) == 1:
            raise ValueError("names one subnet: name two or more, in different zones")
        return value

    @field_validator("machine_subnet_tags", "balancer_subnet_tags")
    @classmethod
    def _ids_or_tags(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        ids = str(info.field_name).replace("_tags", "s")
        if info.data.get(ids) and value:
            raise ValueError(f"`{ids}` names them already: remove one of the two")
        if ids == "machine_subnets" and info.data.get(ids) == () and not value:
            raise ValueError(f"give `{ids}` or `{info.field_name}`")
        return value

    @property
    def names_balancer_subnets(self) -> bool:
        """Whether there are subnets for a load balancer of the stack's own."""
        return bool(self.balancer_subnets or self.balancer_subnet_tags)


class NetworkSettings(Strict):
    """The VPC: one of the stack's own, or an existing one (`vpc`), and where the machines may connect to.

    The machines have no public address, and reach nothing but the endpoints and what `egress` allows.
    """

    vpc: VpcSettings | None = Field(
        default=None,
        examples=[
            {
                "id": "vpc-0a1b2c3d4e5f60718",
                "machine_subnets": ["subnet-0a1b2c3d4e5f60718", "subnet-1a1b2c3d4e5f60718"],
                "balancer_subnets": ["subnet-2a1b2c3d4e5f60718", "subnet-3a1b2c3d4e5f60718"],
            }
        ],
    )
    """An existing VPC. Unset: the stack creates its own. Cannot change while a fleet runs."""
    cidr: Cidr = "10.66.0.0/16"
    """IPv4 CIDR block of the stack's own VPC, from /16 to /24. Cannot change while a fleet runs."""
    zones: Annotated[tuple[Zone, ...], Field(min_length=FEWEST), AfterValidator(distinct)] | None = Field(
        default=None, examples=[["a", "b"]]
    )
    """Letters of the Availability Zones of the stack's own VPC, two or more. Unset: the first two that the account has.
    Cannot change while a fleet runs, even if AWS adds others."""
    nat: Literal["none", "single", "per-zone"] = "none"
    """NAT gateways of the stack's own VPC: `none`, a `single` one for all zones, or one `per-zone`. Without one, the
    machines have no route to the internet. Also needs `egress`. A change applies in place."""
    endpoints: Annotated[tuple[EndpointName, ...], AfterValidator(distinct)] = Field(
        default=(), examples=[["kms", "logs", "s3"]]
    )
    """VPC endpoints of AWS services to create, such as `kms`, `logs`, `ssm`, `ssmmessages`, `ec2messages`,
    `monitoring`, `ecr.api`; `s3` and `dynamodb` are gateway endpoints. The machines may connect to them without a rule
    in `egress`. A change applies in place."""
    egress: tuple[EgressRule, ...] = Field(default=(), examples=[[{"cidr": "10.0.0.0/8", "ports": [5432]}]])
    """Where the machines may connect to, besides the VPC endpoints. None: nowhere. A change applies in place, also to
    running machines."""
    ipv6: bool = Field(default=False, validate_default=True)
    """Whether the network is dual-stack. In an existing VPC, the subnets must have IPv6 CIDR blocks. It can be turned
    on while a fleet runs, but not off."""

    @field_validator("cidr", "zones", "nat")
    @classmethod
    def _is_of_an_own_vpc(cls, value: object, info: ValidationInfo) -> object:
        """Runs only for what was given."""
        if info.data.get("vpc") is not None:
            raise ValueError("does not apply to an existing VPC: remove it, or `vpc`")
        return value

    @field_validator("cidr")
    @classmethod
    def _is_a_network(cls, value: str) -> str:
        network = ipaddress.ip_network(value)
        if network.version != 4:
            raise ValueError(f"{value} is an IPv6 CIDR block: name an IPv4 one (`ipv6` adds AWS's own)")
        if not 16 <= network.prefixlen <= 24:
            raise ValueError(f"the prefix is /{network.prefixlen}, and AWS and two zones need one from /16 to /24")
        loose = network.is_loopback or network.is_link_local or network.is_multicast or network.is_reserved
        if loose or is_inside(value, "0.0.0.0/8"):  # of no host (RFC 1122, 3.2.1.3)
            raise ValueError(f"{value} is not a network for hosts: use a private range, such as 10.66.0.0/16")
        return value

    @field_validator("zones")
    @classmethod
    def _fit(cls, value: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        if value is not None and info.data.get("cidr"):
            try:
                subnets.divide(info.data["cidr"], value, subnets.SEPARATE)
            except InputError as error:
                raise ValueError(str(error)) from error
        return value

    @field_validator("egress")
    @classmethod
    def _is_reachable_once(cls, value: tuple[EgressRule, ...], info: ValidationInfo) -> tuple[EgressRule, ...]:
        problems = [*_doubled(value), *_unroutable(value, info.data)]
        if problems:
            raise ValueError("; ".join(problems))
        return value

    @field_validator("ipv6")
    @classmethod
    def _has_addresses(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic calls it
        wide = [each.cidr for each in info.data.get("egress", ()) if each.cidr is not None and ":" in each.cidr]
        if wide and not value and info.data.get("vpc") is None:
            raise ValueError(f"is false, and egress names {', '.join(wide)}: the machines have IPv4 addresses only")
        return value


def _doubled(rules: tuple[EgressRule, ...]) -> Iterator[str]:
    """AWS refuses the same rule twice (InvalidPermission.Duplicate)."""
    every = [(rule.destination, rule.protocol, ports) for rule in rules for ports in (rule.ports or ("",))]
    for destination, protocol, ports in sorted({each for each in every if every.count(each) > 1}):
        yield f"names {' '.join(filter(None, [destination, protocol, ports]))} twice"


def _unroutable(rules: tuple[EgressRule, ...], given: Mapping[str, Any]) -> Iterator[str]:
    """Destinations in the internet, from a VPC of the stack's own without a NAT gateway."""
    if given.get("vpc") is not None or given.get("nat") != "none":
        return
    for rule in rules:
        # A program may add a route to what is private, such as that of a peering.
        near = (*PRIVATE, given.get("cidr", PRIVATE[0]))
        if rule.cidr is not None and not any(is_inside(rule.cidr, each) for each in near):
            yield f"{rule.cidr} is in the internet, and the machines have no route there: set `nat`"
