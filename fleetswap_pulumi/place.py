"""Where the stack's fleet runs (account, region and network), compared with what the ledger says.

What cannot change under a running fleet is refused here, before the first resource is declared. Otherwise AWS would
replace the network, or Pulumi would create a second fleet and delete the one that serves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pulumi

from fleetswap.domain.access import REMEDY
from fleetswap.domain.errors import CloudError, InputError
from fleetswap.domain.network.subnets import HALVES, SEPARATE
from fleetswap.domain.release.hardware import Requirements
from fleetswap.domain.release.instance_types import InstanceType, cores_of, misfits, unfit
from fleetswap.domain.release.ledger import Entry, Identity, Ledger, Network
from fleetswap.domain.release.placement import PlacementGroup, Sizes, refusal, warning
from fleetswap.domain.text import counted
from fleetswap_pulumi.settings import Settings

NAMED = 5
"""Instance types that a preview names, of those that match."""


class Whereabouts(Protocol):
    """The account and region of the credentials; implemented by `fleetswap.aws.account.Account`."""

    def id(self) -> str:
        """The account's 12 digits."""

    def zones(self) -> tuple[str, ...]:
        """The letters of the region's zones in which this account can create subnets, in order."""

    def offered(self, instance_types: Collection[str], zones: Collection[str]) -> frozenset[str]:
        """The instance types that at least one of the zones offers."""

    def matching(self, requirements: Requirements, architecture: str) -> tuple[str, ...]:
        """The region's instance types that have these attributes."""

    def instance_types(self, names: Collection[str]) -> tuple[InstanceType, ...]:
        """What those of the instance types can launch that the region has."""

    def placement_group(self, name: str) -> PlacementGroup | None:
        """The region's placement group of this name; None if there is none."""

    def encrypts_with_aws_key(self) -> bool:
        """Whether every new snapshot is encrypted with the AWS managed key, which cannot be shared."""


@dataclass(frozen=True)
class Place:
    """The ledger of this run, and the account, region and network of its fleet."""

    ledger: Ledger
    identity: Identity
    network: Network


def place(ledger: Ledger, settings: Settings, whereabouts: Whereabouts) -> Place:
    """Where the stack's fleet will run. `InputError` if a running fleet is elsewhere, or belongs to another stack."""
    account = whereabouts.id()
    settings.aws.access.check(account)
    if settings.account not in (None, account):
        raise InputError(
            f"these credentials belong to AWS account {account}, but fleetswap:account is {settings.account}: {REMEDY}"
        )
    identity = Identity(settings.stack, settings.service, settings.region, account)
    ledger = ledger.of(identity)
    network = _network(ledger, settings, whereabouts)
    return Place(ledger.on(network), identity, network)


def _network(ledger: Ledger, settings: Settings, whereabouts: Whereabouts) -> Network:
    """The network that the settings ask for. A fleet that runs in a network of an older layout keeps the layout."""
    asked, runs = settings.network, ledger.network
    if asked.vpc is not None:
        return Network(vpc=asked.vpc.id)
    # A ledger without a network is a new stack's, or so old that only one layout existed.
    layout = (HALVES if ledger.entries else SEPARATE) if runs is None else runs.layout
    return Network(asked.cidr, _zones(ledger, settings, whereabouts), layout, ipv6=asked.ipv6)


def _zones(ledger: Ledger, settings: Settings, whereabouts: Whereabouts) -> tuple[str, ...]:
    """The zones asked for; else those that the fleet stands in, and for a new one the first two of the account's."""
    named = settings.network.zones
    if ledger.network is not None and ledger.network.vpc is None:
        return named or ledger.network.zones
    there = whereabouts.zones()
    if len(there) < 2:  # what an Application Load Balancer needs (CreateLoadBalancer, Subnets)
        raise InputError(f"{settings.region} has fewer than two availability zones for this account: choose another")
    missing = [zone for zone in named or () if zone not in there]
    if missing:
        raise InputError(
            f"fleetswap:network.zones: this account has no zone {' and no zone '.join(missing)} in {settings.region}:"
            f" choose two or more of {', '.join(there)}, or remove the setting"
        )
    return named or there[:2]


def check_offers(entry: Entry, here: Place, zones: Sequence[str], whereabouts: Whereabouts) -> None:
    """Refuse a new release with an instance type that no zone of the fleet offers, or that cannot launch its AMI.

    Its group could not be created, or would fail to launch after the image was sent. Auto Scaling wants types that the
    region and the zones support (CreateAutoScalingGroup, LaunchTemplateOverrides), and any of them may be launched. A
    release that the ledger has was launched already, and is not asked about again. `zones` are names of zones.
    """
    if entry.release in {each.release for each in here.ledger.entries}:
        return
    types, letters = entry.machine.instance_types, [zone.removeprefix(here.identity.region) for zone in zones]
    if entry.machine.requirements is not None:
        _check_attributes(entry, entry.machine.requirements, letters, whereabouts)
        return
    offered = whereabouts.offered(types, letters)
    missing = [each for each in types if each not in offered]
    problems = misfits(entry.image.info, whereabouts.instance_types(types))
    if missing:
        problems.append(
            f"{here.identity.region} has no {', no '.join(missing)} in its zones {' and '.join(letters)}:"
            f" leave {'it' if len(missing) == 1 else 'them'} out"
        )
    if problems:
        raise InputError(f"fleetswap:machine.instance_types: {'; '.join(problems)}")


def check_placement(entry: Entry, here: Place, zones: Collection[str], sizes: Sizes, whereabouts: Whereabouts) -> None:
    """Refuse a new release whose placement group takes none of its machines, and warn of one that may be too small.

    EC2 looks at the group when it launches a machine, so no template or group would be refused for it. As in
    `check_offers`, a release that the ledger has is not asked about again. Who may not look, or gets no answer, is
    warned: the gate sees whether machines start.
    """
    name = entry.machine.placement_group
    if name is None or entry.release in {each.release for each in here.ledger.entries}:
        return
    try:
        group = whereabouts.placement_group(name)
    except CloudError as error:
        pulumi.log.warn(f"fleetswap:machine.placement_group: whether {name} takes the machines is unknown: {error}")
        return
    if refused := refusal(entry, group, sizes, len(zones)):
        raise InputError(f"fleetswap:machine.placement_group: {refused}")
    if group is not None and (told := warning(entry, group, sizes, len(zones))):
        pulumi.log.warn(f"fleetswap:machine.placement_group: {told}")


def _check_attributes(entry: Entry, asked: Requirements, letters: Sequence[str], whereabouts: Whereabouts) -> None:
    """Refuse attributes that no instance type has, or also one that cannot launch the AMI.

    Auto Scaling looks at the architecture of the AMI only, so it would launch that one too, and fail.
    """
    info = entry.image.info
    named = whereabouts.matching(asked, info.architecture)
    found = sorted(whereabouts.offered(named, letters)) if named else []
    where = f"in zones {' and '.join(letters)}"
    if not found:
        raise InputError(
            f"fleetswap:machine.requirements: no instance type for {info.architecture} has these attributes {where}:"
            " ask for less"
        )
    bad = unfit(info, whereabouts.instance_types(found))
    if bad:
        raise InputError(
            f"fleetswap:machine.requirements: the AMI ({info.boot_mode}{', NitroTPM' if info.tpm else ''}) cannot be"
            f" launched with all instance types that match: add {', '.join(bad)} to `exclude`, or take them out of"
            " `allow`"
        )
    pulumi.log.info(f"fleetswap:machine.requirements: {_some(found)} can be launched {where}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{counted(len(names), 'instance type')} ({', '.join(names[:NAMED])}{more})"


def with_cores(entry: Entry, ledger: Ledger, whereabouts: Whereabouts) -> Entry:
    """A new release with the number of cores that EC2 asks for with the threads per core. One that the ledger has is as
    it was made. Raises `InputError` if its instance types do not have the same number.
    """
    threads = entry.machine.threads_per_core
    if threads is None or entry.release in {each.release for each in ledger.entries}:
        return entry
    try:
        return replace(entry, cores=cores_of(whereabouts.instance_types(entry.machine.instance_types), threads))
    except ValueError as error:
        raise InputError(f"fleetswap:machine.threads_per_core: {error}") from error
