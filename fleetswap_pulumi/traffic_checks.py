"""What a deploy must not lose: a release to roll back to, what carries the traffic, and the state of what runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from fleetswap.aws.image.amis import identities
from fleetswap.aws.rollout.finder import Finder
from fleetswap.aws.rollout.fleet import found_groups
from fleetswap.aws.session import Cloud
from fleetswap.domain.errors import InputError
from fleetswap.domain.release import reversible
from fleetswap.domain.release.ledger import Entry, Ledger
from fleetswap.domain.release.plan import Plan
from fleetswap.domain.release.reversible import Offers
from fleetswap.domain.rollout.view import Service
from fleetswap_pulumi.front_settings import FrontSettings
from fleetswap_pulumi.place import Whereabouts

Images = Callable[[], Collection[str]]
"""The releases of the service that have an AMI, by `fleetswap.aws.image.amis`."""


Sizes = Callable[[], Mapping[str, int]]
"""The desired capacity of the releases that have a group, by release."""

Services = Callable[[], Collection[Service]]
"""The services of the name that there are, by their tags."""


def images_of(cloud: Cloud, stack: str, service: str) -> Images:
    """AWS, asked for the AMIs of a service."""
    return lambda: identities(cloud.ec2(), stack, service).keys()


def services_of(cloud: Cloud, service: str) -> Services:
    """AWS, asked for the services of a name."""
    return lambda: Finder(cloud.elbv2(), cloud.autoscaling()).find(service)


def sizes_of(cloud: Cloud, stack: str, service: str) -> Sizes:
    """AWS, asked for the sizes of a service's groups."""
    return lambda: {
        each.target.release: each.desired
        for each in reversed(found_groups(cloud.autoscaling(), service))  # of several, the largest counts
        if each.stack == stack
    }


@dataclass(frozen=True)
class Asked:
    """Whom `check_rollback` asks, each only if it matters. `zones` are the letters of the machines' zones, if they may
    have been changed in place.
    """

    images: Images
    sizes: Sizes
    whereabouts: Whereabouts
    zones: tuple[str, ...] = ()


def check_rollback(ledger: Ledger, plan: Plan, asked: Asked) -> None:
    """Raise `InputError` with all of an update that would make a rollback impossible: see
    `fleetswap.domain.release.reversible`. AWS is asked only if the traffic is to move, or the zones may change.
    """
    live, wanted = ledger.live, plan.wanted
    problems: list[str] = []
    if live is not None and live != wanted.release:
        problems += reversible.without_ami(live, wanted.release, asked.images())
        before = ledger.entry(live)
        if wanted.max_size < before.max_size:
            problems += reversible.too_small(before, wanted, asked.sizes().get(live))
    if asked.zones:
        for entry in reversible.others(plan, live):
            problems += reversible.without_types(entry, _offers(entry, asked))
    if problems:
        raise InputError("; ".join(problems))


def _offers(entry: Entry, asked: Asked) -> Offers:
    """The region is asked only about what the chosen zones do not offer."""
    types = entry.machine.instance_types
    chosen = asked.whereabouts.offered(types, asked.zones) if types else frozenset(types)
    lost = [each for each in types if each not in chosen]
    elsewhere = asked.whereabouts.offered(lost, asked.whereabouts.zones()) if lost and not chosen else frozenset()
    return Offers(chosen, chosen | elsewhere, asked.zones)


def check_https(front: FrontSettings, ledger: Ledger, url: str) -> None:
    """Raise `InputError` if the own listener of the live release, whose users have `url`, would no longer use HTTPS.

    The AWS provider cannot do that: it keeps the policy of TLS, which AWS refuses for HTTP (ValidationError of
    ModifyListener, terraform-provider-aws#1851), after the security group has closed the port of HTTPS.
    """
    is_own = front.listener_arn is None
    if is_own and front.certificate_arn is None and ledger.live is not None and url.startswith("https://"):
        raise InputError(
            f"fleetswap:front.certificate_arn cannot be removed while the fleet is live at {url}: restore the setting,"
            " or deploy a new stack"
        )


def refuse_replacement(
    stack: str, live: str, carrying: Mapping[str, pulumi.Output[str]], services: Services, *, back: bool = False
) -> pulumi.Output[Any]:
    """In a preview, fail if the update would replace what carries the traffic of release `live`: the engine knows no
    ID then of what exists. `carrying` are the IDs, by what they are of. `back`: a rollback goes to that release.

    What was deleted outside of Pulumi has no ID in a preview either, and must be created: AWS is asked, and only then.
    """
    if not pulumi.runtime.is_dry_run():
        return pulumi.Output.from_input(True)  # noqa: FBT003 - a value, not an option

    async def judge() -> bool:
        lost = [what for what, output in carrying.items() if not await output.is_known()]
        ours = [service for service in services() if service.stack == stack] if lost else []
        if any(target.release == live for service in ours for target in service.releases):
            use = (
                f"to which a rollback to {live} moves the traffic"
                if back
                else f"with which release {live} carries the traffic"
            )
            raise pulumi.RunError(
                f"this update would replace {' and '.join(lost)}, {use}: undo the change, or deploy it as a new release"
            )

        return True

    # Nobody needs to take it: the SDK waits for every output, and fails with its error.
    return pulumi.Output.from_input(judge())


def refuse_second(
    stack: str, service: str, made_first: Collection[pulumi.Output[Any]], services: Services
) -> pulumi.Output[Any]:
    """In a preview, fail if the service runs already and the state has nothing of it: the update would make a second
    one beside it. `made_first` is what a first update makes before any machine; if one is known, the state is not lost.

    AWS is asked only if none is known. Call it only if the ledger has no live release.
    """
    if not pulumi.runtime.is_dry_run():
        return pulumi.Output.from_input(True)  # noqa: FBT003 - a value, not an option

    async def judge() -> bool:
        if any([await output.is_known() for output in made_first]):
            return True
        for each in services():
            if each.stack == stack and each.releases:
                releases = ", ".join(target.release for target in each.releases)
                raise pulumi.RunError(
                    f"service {service} of stack {stack} runs already ({releases} at {each.listener}), and this state"
                    " has nothing of it, so the update would create a second one: restore the lost state, or give this"
                    " stack another name"
                )
        return True

    return pulumi.Output.from_input(judge())
