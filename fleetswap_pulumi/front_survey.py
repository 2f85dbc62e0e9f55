"""What the front door will be, from the settings and from what AWS says: an own load balancer or an existing listener,
and the hosted zone of its domain.

It is all decided before the first resource is declared, and everything that is wrong is reported at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fleetswap.domain.access import account_of
from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout import listener, zone
from fleetswap.domain.rollout.listener import Seen
from fleetswap.domain.rollout.rule import Rules
from fleetswap.domain.rollout.zone import HostedZone
from fleetswap_pulumi.front_settings import DomainSettings
from fleetswap_pulumi.settings import Settings


class Fronts(Protocol):
    """What AWS says of front doors; implemented by `fleetswap.aws.rollout.fronts.Fronts`."""

    def listener(self, arn: str) -> Seen | None:
        """A listener with its load balancer and rules; None if there is none."""

    def zones(self, name: str) -> tuple[HostedZone, ...]:
        """The hosted zones of this name."""

    def zone(self, zone_id: str) -> HostedZone | None:
        """A hosted zone by its id, with its VPCs; None if there is none."""


@dataclass(frozen=True)
class Approach:
    """The front door. `seen` is the existing listener, None for an own load balancer; `zone` is that of the domain."""

    rules: Rules
    drain: int
    seen: Seen | None = None
    zone: HostedZone | None = None
    warnings: tuple[str, ...] = ()


def approach(settings: Settings, account: str, fronts: Fronts) -> Approach:
    """The front door that the settings ask for. Raises `InputError` with all that is wrong."""
    front = settings.front
    rules = Rules(front.priorities, front.hosts, front.paths, front.preview_sources)
    problems, warnings = [], _short_drain(settings)
    seen, found = None, None
    try:
        if front.listener_arn is not None:
            seen, warnings = _existing(settings, front.listener_arn, account, rules, fronts)
    except InputError as error:
        problems.append(str(error))
    internal = front.internal if seen is None else seen.internal
    try:
        if front.domain is not None and not problems:
            found = _zone(front.domain, internal=internal, fronts=fronts)
            warnings += zone.unknown_in(found, _vpc(settings, seen), front.domain.name)
    except InputError as error:
        problems.append(str(error))
    if problems:
        raise InputError("; ".join(problems))
    drain = settings.drain if seen is None or settings.health.drain is not None else seen.drain
    return Approach(rules, drain, seen, found, warnings)


def _short_drain(settings: Settings) -> tuple[str, ...]:
    """Settings of older versions may have a drain below the default idle timeout. Locally nobody waits for requests."""
    drain, timeout = settings.health.drain, settings.front.idle_timeout
    if settings.endpoint is not None or settings.front.listener_arn is not None or drain is None or drain >= timeout:
        return ()
    return (
        f"fleetswap:health.drain ({drain}) is less than the load balancer's idle timeout ({timeout}), so a request that"
        " is silent for longer is cut off when its machine is terminated: raise it, or set front.idle_timeout",
    )


def _existing(settings: Settings, arn: str, account: str, rules: Rules, fronts: Fronts) -> tuple[Seen, tuple[str, ...]]:
    its_account = account_of(arn)
    if its_account != account:
        raise InputError(
            f"fleetswap:front.listener_arn: {arn} is in AWS account {its_account}, and these credentials belong to"
            f" {account}: correct it, or select another account with AWS_PROFILE"
        )
    seen = fronts.listener(arn)
    if seen is None:
        raise InputError(f"fleetswap:front.listener_arn: there is no listener {arn}: correct it")
    vpc = settings.network.vpc.id if settings.network.vpc is not None else None
    version, drain = settings.health.protocol_version, settings.health.drain
    return seen, listener.check(seen, rules, vpc=vpc, version=version, drain=drain)


def _vpc(settings: Settings, seen: Seen | None) -> str | None:
    """The load balancer's VPC; None if the stack makes it, when nobody can have associated a zone with it yet."""
    if seen is not None:
        return seen.vpc
    return settings.network.vpc.id if settings.network.vpc is not None else None


def _zone(domain: DomainSettings, *, internal: bool, fronts: Fronts) -> HostedZone:
    if domain.zone_id is not None:
        return zone.check(domain.name, domain.zone_id, fronts.zone(domain.zone_id), internal=internal)
    name = domain.zone or ""
    chosen = zone.choose(name, fronts.zones(name), internal=internal)
    # A list of zones does not tell their VPCs.
    return (fronts.zone(chosen.id) or chosen) if chosen.private else chosen
