"""What may pass: the security groups of load balancer, machines and endpoints, each rule a resource of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import ec2, vpc

from fleetswap.domain.network.endpoints import INTERFACE, Endpoint
from fleetswap.domain.network.existing import WORLD
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.network_routes import Subnets
from fleetswap_pulumi.network_settings import EgressRule

ANYWHERE, ANYWHERE_IPV6 = WORLD[4], WORLD[6]

HTTPS = 443
"""Where every AWS service listens."""


@dataclass(frozen=True)
class Groups:
    """What is let through; see `NetworkArgs`. With `ipv6`, a front door that is open to the world is so in IPv6 too."""

    sources: Sequence[str]
    front_port: int
    redirect_port: int | None
    service_ports: Sequence[int]
    balancer_groups: Sequence[str]
    egress: Sequence[EgressRule]
    ipv6: bool


def declare_groups(
    name: str, context: Context, vpc_id: pulumi.Output[str], groups: Groups, child: pulumi.ResourceOptions
) -> tuple[pulumi.Output[str] | None, pulumi.Output[str]]:
    """Declare the groups of the load balancer, unless it has its own, and of the machines. Returns their IDs."""
    front = None if groups.balancer_groups else _group(f"{name}-front", "front", context, vpc_id, child)
    machines = _group(f"{name}-machines", "machines", context, vpc_id, child)
    rules = _Rules(context, child)
    if front is not None:
        for label, source in _named_sources(groups):
            rules.ingress(f"{name}-{label}", front.id, source, "tcp", groups.front_port, groups.front_port)
            if (port := groups.redirect_port) is not None:
                rules.ingress(f"{name}-{label}-{port}", front.id, source, "tcp", port, port)
    # An existing load balancer needs to be let out by one of its groups, and its requests come from any of them.
    balancer: list[pulumi.Input[str]] = [front.id] if front is not None else [*groups.balancer_groups]
    for port in groups.service_ports:
        rules.egress(f"{name}-front-to-machines-{port}", balancer[0], {"group": machines.id}, "tcp", port, port)
        for n, each in enumerate(balancer):
            label = f"{name}-machines-from-front-{port}" + (f"-{n}" if n else "")
            rules.ingress(label, machines.id, {"group": each}, "tcp", port, port)
    for rule in groups.egress:
        for first, last in rule.ranges or ((None, None),):
            rules.egress(
                f"{name}-machines-to-{_label(rule, first, last)}",
                machines.id,
                _destination(rule),
                "-1" if rule.protocol == "all" else rule.protocol,
                first,
                last,
            )
    return None if front is None else front.id, machines.id


def declare_endpoints(
    name: str,
    context: Context,
    subnets: Subnets,
    endpoints: Sequence[Endpoint],
    machines: pulumi.Output[str],
    child: pulumi.ResourceOptions,
) -> None:
    """Declare the endpoints, each with a security group that the machines can reach, and let the machines out to it."""
    rules = _Rules(context, child)
    for each in endpoints:
        label, way = f"{name}-endpoint-{each.label}", f"{name}-machines-to-endpoint-{each.label}"
        if each.kind != INTERFACE:
            gateway = ec2.VpcEndpoint(
                label,
                vpc_id=subnets.vpc_id,
                service_name=each.service,
                vpc_endpoint_type=each.kind,
                route_table_ids=list(subnets.tables),
                tags=context.tags(label),
                opts=child,
            )
            rules.egress(way, machines, {"prefix_list": gateway.prefix_list_id}, "tcp", HTTPS, HTTPS)
            continue
        group = _group(label, f"endpoint {each.name}", context, subnets.vpc_id, child)
        rules.ingress(label, group.id, {"group": machines}, "tcp", HTTPS, HTTPS)
        ec2.VpcEndpoint(
            label,
            vpc_id=subnets.vpc_id,
            service_name=each.service,
            vpc_endpoint_type=each.kind,
            subnet_ids=[subnets.by_zone[zone] for zone in each.zones],
            security_group_ids=[group.id],
            private_dns_enabled=each.private_dns,
            tags=context.tags(label),
            opts=child,
        )
        rules.egress(way, machines, {"group": group.id}, "tcp", HTTPS, HTTPS)


def _group(
    label: str, what: str, context: Context, vpc_id: pulumi.Output[str], child: pulumi.ResourceOptions
) -> ec2.SecurityGroup:
    return ec2.SecurityGroup(
        label, description=f"{context.service}: {what}", vpc_id=vpc_id, tags=context.tags(label), opts=child
    )


def _named_sources(groups: Groups) -> Iterator[tuple[str, dict[str, str]]]:
    """Who may reach the load balancer. The first versions had one rule, whose name stays."""
    for source in groups.sources:
        yield "world-to-front" if source == ANYWHERE else f"{_slug(source)}-to-front", _block(source)
    if groups.ipv6 and ANYWHERE in groups.sources and ANYWHERE_IPV6 not in groups.sources:
        yield f"{_slug(ANYWHERE_IPV6)}-to-front", _block(ANYWHERE_IPV6)


def _block(cidr: str) -> dict[str, str]:
    return {"ipv6" if ":" in cidr else "ipv4": cidr}


def _destination(rule: EgressRule) -> dict[str, str]:
    if rule.cidr is not None:
        return _block(rule.cidr)
    return {"group": rule.security_group} if rule.security_group is not None else {"prefix_list": rule.destination}


def _label(rule: EgressRule, first: int | None, last: int | None) -> str:
    """What a rule is, so that the order in the settings does not matter. Two colons would end a part of a URN."""
    ports = "" if first is None else f"-{first}" if first == last else f"-{first}-{last}"
    return f"{_slug(rule.destination)}-{rule.protocol}{ports}"


def _slug(cidr: str) -> str:
    return cidr.replace("/", "_").replace(":", "-")


class _Rules:
    """Declares rules of security groups, each with the tags of its own name."""

    def __init__(self, context: Context, child: pulumi.ResourceOptions) -> None:
        self._context, self._child = context, child

    def ingress(self, label: str, group: pulumi.Input[str], source: dict[str, Any], *what: Any) -> None:  # noqa: ANN401
        """Let `source` in."""
        vpc.SecurityGroupIngressRule(label, **self._inputs(label, group, source, *what), opts=self._child)

    def egress(self, label: str, group: pulumi.Input[str], source: dict[str, Any], *what: Any) -> None:  # noqa: ANN401
        """Let out to `source`."""
        vpc.SecurityGroupEgressRule(label, **self._inputs(label, group, source, *what), opts=self._child)

    def _inputs(
        self,
        label: str,
        group: pulumi.Input[str],
        other: dict[str, Any],
        protocol: str,
        first: int | None,
        last: int | None,
    ) -> dict[str, Any]:
        names = {
            "ipv4": "cidr_ipv4",
            "ipv6": "cidr_ipv6",
            "group": "referenced_security_group_id",
            "prefix_list": "prefix_list_id",
        }
        return {
            "security_group_id": group,
            "ip_protocol": protocol,
            "from_port": first,
            "to_port": last,
            "tags": self._context.tags(label),
            **{names[kind]: value for kind, value in other.items()},
        }
