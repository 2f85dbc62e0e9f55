"""VPC endpoints by the names of the settings: which service is meant, of which kind, and in which zones it can be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

GATEWAY = "Gateway"
INTERFACE = "Interface"
"""The kinds of endpoints that are made, in EC2's words (DescribeVpcEndpointServices, ServiceType)."""

GATEWAYS = frozenset({"s3", "dynamodb"})
"""Services with gateway endpoints, which cost nothing (VPC user guide, "Gateway endpoints"). They also have interface
endpoints, which a full service name does not ask for either."""

KMS = "kms"


@dataclass(frozen=True)
class Service:
    """An endpoint service that the region has. `zones` are names of zones; a gateway has them all."""

    name: str
    kind: str
    zones: frozenset[str] = frozenset()
    private_dns: bool = False


@dataclass(frozen=True)
class Endpoint:
    """An endpoint to create. `name` is that of the settings, `zones` are those of the machines that it can be in."""

    name: str
    service: str
    kind: str
    zones: tuple[str, ...] = ()
    private_dns: bool = False

    @property
    def label(self) -> str:
        """The name as part of a resource's name."""
        return self.name.replace(".", "-")


def with_kms(names: Sequence[str], region: str, *, needs_kms: bool) -> tuple[str, ...]:
    """The endpoints of a VPC of the stack's own: without KMS, no machine could decrypt its secrets."""
    there = {KMS, *service_names(KMS, region)} & set(names)
    return (*names, KMS) if needs_kms and not there else tuple(names)


def service_names(name: str, region: str) -> tuple[str, ...]:
    """The services that a name of the settings may mean. A full name means itself.

    Most of them are `com.amazonaws.REGION.NAME`, in China some are `cn.com.amazonaws.REGION.NAME` (VPC user guide,
    "AWS services that integrate with AWS PrivateLink").
    """
    if f".{region}." in name:
        return (name,)
    return f"com.amazonaws.{region}.{name}", f"cn.com.amazonaws.{region}.{name}"


@dataclass(frozen=True)
class Choice:
    """The endpoints to create, and what is wrong with the names."""

    endpoints: tuple[Endpoint, ...] = ()
    problems: tuple[str, ...] = ()


def choose(names: Sequence[str], region: str, zones: Sequence[str], offered: Collection[Service]) -> Choice:
    """What the names mean, for machines in zones of these names; `offered` are the services that the region has.

    Of a service that some of the zones lack, the endpoint is in the others: machines reach it across zones.
    """
    found: list[Endpoint] = []
    problems: list[str] = []
    for name in names:
        service = _service(name, region, offered)
        if service is None:
            problems.append(f"{region} has no endpoint service {name}: correct it, or remove it from `endpoints`")
            continue
        here = tuple(zone for zone in zones if zone in service.zones)
        if service.kind == INTERFACE and not here:
            problems.append(
                f"the endpoint service {service.name} is in none of the zones {', '.join(zones)}, only in"
                f" {', '.join(sorted(service.zones)) or 'none'}: choose other zones, or remove {name} from `endpoints`"
            )
        if service.kind == INTERFACE:
            found.append(Endpoint(name, service.name, service.kind, here, service.private_dns))
        else:
            found.append(Endpoint(name, service.name, service.kind))
    return Choice(tuple(found), (*problems, *_doubled(found)))


def doubled_rules(
    endpoints: Collection[Endpoint], allowed: Collection[str], services: Mapping[str, str]
) -> Iterator[str]:
    """Prefix lists that `egress` names although an endpoint brings the same rule, which AWS refuses to have twice.

    `allowed` are those that it names with TCP at port 443 alone, `services` the services of prefix lists by their IDs.
    """
    by_service = {each.service: each.name for each in endpoints if each.kind == GATEWAY}
    for each in allowed:
        name = by_service.get(services.get(each, ""))
        if name is not None:
            yield f"{each} is the prefix list of the endpoint {name}, which brings its rule: remove it from `egress`"


def _service(name: str, region: str, offered: Collection[Service]) -> Service | None:
    meant = service_names(name, region)
    there = {each.kind: each for each in offered if each.name in meant}
    kinds = (GATEWAY, INTERFACE) if name in GATEWAYS else (INTERFACE, GATEWAY)
    return next((there[kind] for kind in kinds if kind in there), None)


def _doubled(found: Sequence[Endpoint]) -> Iterator[str]:
    for n, each in enumerate(found):
        other = next((one for one in found[:n] if (one.service, one.kind) == (each.service, each.kind)), None)
        if other is not None:
            yield f"{other.name} and {each.name} are the same endpoint service: remove one from `endpoints`"
