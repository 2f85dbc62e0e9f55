"""What of an update would make a rollback impossible, so that the preview refuses it. Pure.

A release is left for another one only if it could take the traffic back: it has an AMI, and its instance types are to
be had where machines start. Whatever a person has broken outside of the settings must not keep anybody from deploying
away from it, so only what the settings themselves cause is refused, but for the AMI.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from fleetswap.domain.release.ledger import Entry
from fleetswap.domain.release.plan import Plan


@dataclass(frozen=True)
class Offers:
    """Which of a release's instance types the zones of the settings offer, and which any zone of the region does."""

    chosen: Collection[str]
    anywhere: Collection[str]
    zones: tuple[str, ...]


def others(plan: Plan, live: str | None) -> tuple[Entry, ...]:
    """The releases that a rollback may go to once the plan is carried out: those beside the wanted one that have, or
    may at once have, machines, the live one first.
    """
    found = [each for each in plan.running if each.release != plan.wanted.release]
    return tuple(sorted(found, key=lambda each: each.release != live))


def without_ami(live: str | None, wanted: str, images: Collection[str]) -> Iterator[str]:
    """The traffic is to leave a release that cannot launch machines: after a rollback its group could not grow."""
    if live is not None and live != wanted and live not in images:
        yield (
            f"the AMI of release {live}, which has the traffic, does not exist: {wanted} could not be rolled"
            f" back. Set fleetswap:release to {live} and run `pulumi up --refresh`, which makes it again"
        )


def without_types(entry: Entry, offers: Offers) -> Iterator[str]:
    """The zones of the settings offer no instance type of a release, although the region has some."""
    types = entry.machine.instance_types
    there = [each for each in types if each in offers.anywhere]
    if there and not any(each in offers.chosen for each in types):
        yield (
            f"fleetswap:network: zones {' and '.join(offers.zones)} do not offer {', '.join(there)}, which"
            f" release {entry.release} launches, so a rollback to it could start no machine: keep a subnet in a zone"
            " that does, or deploy with other machine.instance_types until no release that is warm has these"
        )


def too_small(live: Entry, wanted: Entry, size: int | None) -> Iterator[str]:
    """The wanted release may have fewer machines than serve now. None: how many serve is not known."""
    if size is not None and size > wanted.max_size:
        yield (
            f"fleetswap:capacity.max is {wanted.max_size}, and release {live.release}, which has the traffic, has"
            f" {size}: raise it, or deploy when fewer serve"
        )
