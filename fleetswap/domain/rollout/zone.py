"""Which hosted zone of Route 53 the alias record belongs to. Pure; `fleetswap.aws.rollout.fronts` reads the zones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleetswap.domain.errors import InputError


@dataclass(frozen=True)
class HostedZone:
    """A hosted zone. `name` is without the dot at the end.

    `vpcs` are those in which a private zone is known, if it was read by its id.
    """

    id: str
    name: str
    private: bool
    vpcs: tuple[str, ...] = ()


def choose(name: str, zones: Sequence[HostedZone], *, internal: bool) -> HostedZone:
    """The zone of this name for a load balancer that is internal, or not. `InputError` if there is not exactly one.

    A public record must not point at private addresses that others can see, unless there is no private zone.
    """
    named = [zone for zone in zones if zone.name == name]
    public = [zone for zone in named if not zone.private]
    fit = ([zone for zone in named if zone.private] or public) if internal else public
    if len(fit) == 1:
        return fit[0]
    if fit:
        ids = ", ".join(sorted(zone.id for zone in fit))
        raise InputError(f"fleetswap:front.domain.zone: {name} is the name of {ids}: set front.domain.zone_id")
    others = ", ".join(sorted(zone.id for zone in named))
    only = f" (only the private {others}, and the load balancer is not internal)" if others else ""
    raise InputError(f"fleetswap:front.domain.zone: there is no public hosted zone {name}{only}: create it first")


def check(name: str, zone_id: str, zone: HostedZone | None, *, internal: bool) -> HostedZone:
    """The zone with this id, for a record of this name. `InputError` if there is none, or it is another's."""
    if zone is None:
        raise InputError(f"fleetswap:front.domain.zone_id: this account has no hosted zone {zone_id}: correct it")
    if name != zone.name and not name.endswith(f".{zone.name}"):
        raise InputError(f"fleetswap:front.domain.name: {name} is not in zone {zone_id}, which is {zone.name}")
    if zone.private and not internal:
        raise InputError(
            f"fleetswap:front.domain.zone_id: {zone_id} is a private zone, and the load balancer is not internal"
        )
    return zone


def unknown_in(zone: HostedZone, vpc: str | None, name: str) -> tuple[str, ...]:
    """A warning if the name will not be known in the load balancer's own VPC, where other VPCs may be what is meant."""
    if not zone.private or vpc is None or vpc in zone.vpcs:
        return ()
    known = ", ".join(sorted(zone.vpcs)) or "none"
    return (
        f"fleetswap:front.domain: {name} will be in private zone {zone.id}, which is not associated with {vpc} (only"
        f" with {known}), so it does not resolve there: associate the zone with the VPC if it should",
    )
