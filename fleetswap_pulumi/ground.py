"""What the network will consist of, from the settings and from what AWS says of it: subnets, zones, endpoints.

It is all decided before the first resource is declared, and everything that is wrong is reported at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from fleetswap.domain.errors import InputError
from fleetswap.domain.network import endpoints, existing, subnets
from fleetswap.domain.network.endpoints import Choice, Endpoint, Service
from fleetswap.domain.network.existing import Chosen, Named, Vpc, Wanted
from fleetswap.domain.network.subnets import Division
from fleetswap.domain.release.ledger import Ledger
from fleetswap_pulumi.network_settings import EgressRule, VpcSettings
from fleetswap_pulumi.place import Place
from fleetswap_pulumi.settings import Settings

HTTPS = (443, 443)
"""The ports of a rule that lets machines out to a gateway endpoint (see `network_groups`)."""


class Networks(Protocol):
    """What AWS says of networks; implemented by `fleetswap.aws.network.Networks`."""

    def endpoint_services(self, names: Collection[str]) -> tuple[Service, ...]:
        """Those of the endpoint services that the region has."""

    def groups(self, ids: Collection[str]) -> Mapping[str, str]:
        """The VPCs of those of the security groups that there are."""

    def own_vpcs(self) -> frozenset[str]:
        """The VPCs that this stack made."""

    def prefix_lists(self, ids: Collection[str]) -> Mapping[str, str]:
        """The services of those of the prefix lists that are AWS's."""

    def vpc(self, vpc_id: str, groups: Collection[str]) -> Vpc | None:
        """A VPC, and the VPCs of these security groups."""


@dataclass(frozen=True)
class Ground:
    """`zones` are names of the machines' zones. Set are `division` and `cidr` (an own VPC), or `chosen` and `vpc`."""

    zones: tuple[str, ...]
    endpoints: tuple[Endpoint, ...] = ()
    division: Division | None = None
    chosen: Chosen | None = None
    nat: str = "none"
    egress: tuple[EgressRule, ...] = ()
    ipv6: bool = False
    cidr: str = ""
    vpc: str | None = None


def survey(
    settings: Settings, here: Place, networks: Networks, wanted: str | None = None, *, needs_kms: bool = False
) -> Ground:
    """What the network will consist of. `wanted` is the ID of the wanted release: one that has machines needs no
    addresses, so a rollback is not refused for want of them. `needs_kms`: the machines decrypt secrets with KMS.

    Raises `InputError` with all that is wrong.
    """
    if settings.network.vpc is not None:
        addresses = _addresses(here.ledger, wanted, settings.capacity.max)
        return _existing(settings, settings.network.vpc, here, networks, addresses, needs_kms=needs_kms)
    return _own(settings, here, networks, needs_kms=needs_kms)


def _own(settings: Settings, here: Place, networks: Networks, *, needs_kms: bool) -> Ground:
    asked, network, region = settings.network, here.network, settings.region
    zones = tuple(f"{region}{zone}" for zone in network.zones)
    division = subnets.divide(network.cidr, network.zones, network.layout)
    choice = _endpoints(endpoints.with_kms(asked.endpoints, region, needs_kms=needs_kms), region, zones, networks)
    problems = [*choice.problems, *_doubled(asked.egress, choice.endpoints, networks)]
    named = sorted({*settings.machine.security_groups, *_groups_of(asked.egress)})
    if named and here.ledger.entries:
        problems += _own_groups(settings, networks.groups(named), networks)
    elif named:
        problems.append(
            f"the security groups {', '.join(named)} cannot be in the stack's own VPC, which this"
            " deploy creates: name an existing VPC in network.vpc, or deploy without them first"
        )
    if network.layout == subnets.HALVES:
        problems += [
            f"{key} cannot be turned on: this fleet's subnets are those of the first versions, which its machines"
            " share with the load balancer: remove it, or deploy a new stack"
            for key, on in (("nat", asked.nat != "none"), ("ipv6", asked.ipv6))
            if on
        ]
    else:
        # An interface endpoint has an address in each of its subnets.
        taken = sum(len(each.zones) for each in choice.endpoints)
        needed = 2 * settings.capacity.max
        if division.room - taken < needed:
            problems.append(
                f"the subnets of {network.cidr} have room for {division.room - taken} machines, and two releases of"
                f" capacity.max machines need {needed}: choose a larger cidr, or reduce capacity.max"
            )
    if problems:
        raise InputError(f"fleetswap:network: nothing was changed: {'; '.join(problems)}")
    return Ground(
        zones,
        choice.endpoints,
        division,
        nat=asked.nat,
        egress=asked.egress,
        ipv6=asked.ipv6,
        cidr=network.cidr,
    )


def _own_groups(settings: Settings, known: Mapping[str, str], networks: Networks) -> Iterator[str]:
    """What is wrong with the security groups that the settings name, for a VPC of the stack's own."""
    members = settings.machine.security_groups
    own = networks.own_vpcs() if members else frozenset()
    yield from existing.wrong_groups(members, _groups_of(settings.network.egress), known, own)


def _groups_of(egress: tuple[EgressRule, ...]) -> tuple[str, ...]:
    return tuple(rule.security_group for rule in egress if rule.security_group is not None)


def _allows_https(rule: EgressRule) -> bool:
    port, _ = HTTPS
    return rule.protocol == "all" or (
        rule.protocol == "tcp" and any(first <= port <= last for first, last in rule.ranges)
    )


def _doubled(egress: tuple[EgressRule, ...], chosen: tuple[Endpoint, ...], networks: Networks) -> Iterator[str]:
    """Rules that a gateway endpoint brings as well: only AWS knows whose a prefix list is."""
    allowed = [
        rule.prefix_list
        for rule in egress
        if rule.prefix_list is not None and rule.protocol == "tcp" and HTTPS in rule.ranges
    ]
    if allowed and any(each.kind == endpoints.GATEWAY for each in chosen):
        yield from endpoints.doubled_rules(chosen, allowed, networks.prefix_lists(allowed))


def _endpoints(names: tuple[str, ...], region: str, zones: tuple[str, ...], networks: Networks) -> Choice:
    if not names:
        return Choice()
    meant = [service for name in names for service in endpoints.service_names(name, region)]
    return endpoints.choose(names, region, zones, networks.endpoint_services(meant))


def _existing(
    settings: Settings, named: VpcSettings, here: Place, networks: Networks, addresses: int, *, needs_kms: bool
) -> Ground:
    asked = settings.network
    destinations = _groups_of(asked.egress)
    vpc = networks.vpc(named.id, sorted({*settings.machine.security_groups, *destinations}))
    if vpc is None:
        raise InputError(
            f"fleetswap:network.vpc.id: account {here.identity.account} has no {named.id} in {settings.region}:"
            " correct it, or select another account with AWS_PROFILE"
        )
    wanted = Wanted(
        machine=Named(named.machine_subnets, named.machine_subnet_tags),
        balancer=Named(named.balancer_subnets, named.balancer_subnet_tags) if named.names_balancer_subnets else None,
        internal=settings.front.internal,
        ipv6=asked.ipv6,
        machines=addresses,
        balancer_free=subnets.BALANCER_FREE if here.ledger.live is None else 0,
        cidrs=tuple(rule.cidr for rule in asked.egress if rule.cidr is not None),
        prefix_lists=tuple(rule.prefix_list for rule in asked.egress if rule.prefix_list is not None),
        destinations=destinations,
        groups=settings.machine.security_groups,
        needs_kms=needs_kms,
        # Groups of one's own may let machines out as well.
        https=bool(settings.machine.security_groups) or any(_allows_https(rule) for rule in asked.egress),
    )
    chosen = existing.choose(wanted, vpc)
    choice = _endpoints(asked.endpoints, settings.region, chosen.zones, networks) if chosen.machine else Choice()
    problems = (*choice.problems, *_doubled(asked.egress, choice.endpoints, networks))
    existing.check(wanted, vpc, chosen, choice.endpoints, problems)
    return Ground(chosen.zones, choice.endpoints, chosen=chosen, egress=asked.egress, ipv6=asked.ipv6, vpc=named.id)


def _addresses(ledger: Ledger, wanted: str | None, max_size: int) -> int:
    """Addresses that must be free: for two releases at their largest, of which the live one already has its own."""
    if ledger.live is None:
        return 2 * max_size
    return 0 if wanted in {ledger.live, ledger.standby} else max_size
