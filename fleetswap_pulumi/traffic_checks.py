"""What a deploy must not lose: a release to roll back to, and what carries the traffic."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pulumi

from fleetswap.aws.image.amis import identities
from fleetswap.aws.rollout.finder import Finder
from fleetswap.aws.session import Cloud
from fleetswap.domain.errors import InputError
from fleetswap.domain.release.ledger import Ledger
from fleetswap.domain.rollout.view import Service

Images = Callable[[], Collection[str]]
"""The releases of the service that have an AMI, by `fleetswap.aws.image.amis`."""


Services = Callable[[], Collection[Service]]
"""The services of the name that there are, by their tags."""


def images_of(cloud: Cloud, stack: str, service: str) -> Images:
    """AWS, asked for the AMIs of a service."""
    return lambda: identities(cloud.ec2(), stack, service).keys()


def services_of(cloud: Cloud, service: str) -> Services:
    """AWS, asked for the services of a name."""
    return lambda: Finder(cloud.elbv2(), cloud.autoscaling()).find(service)


def check_rollback(ledger: Ledger, wanted: str, images: Images) -> None:
    """Raise `InputError` if the traffic is to leave a release that cannot launch machines: after a rollback its group
    could not grow. AWS is asked only if the traffic is to move.
    """
    live = ledger.live
    if live is not None and live != wanted and live not in images():
        raise InputError(
            f"the AMI of release {live}, which has the traffic, does not exist: {wanted} could not be rolled"
            f" back. Set fleetswap:release to {live} and run `pulumi up --refresh`, which makes it again"
        )


def refuse_replacement(
    stack: str, live: str, carrying: Mapping[str, pulumi.Output[str]], services: Services
) -> pulumi.Output[Any]:
    """In a preview, fail if the update would replace what carries the traffic of release `live`: the engine knows no
    ID then of what exists. `carrying` are the IDs, by what they are of.

    What was deleted outside of Pulumi has no ID in a preview either, and must be created: AWS is asked, and only then.
    """
    if not pulumi.runtime.is_dry_run():
        return pulumi.Output.from_input(True)  # noqa: FBT003 - a value, not an option

    async def judge() -> bool:
        lost = [what for what, output in carrying.items() if not await output.is_known()]
        ours = [service for service in services() if service.stack == stack] if lost else []
        if any(target.release == live for service in ours for target in service.releases):
            raise pulumi.RunError(
                f"this update would replace {' and '.join(lost)}, with which release {live} carries the traffic:"
                " undo the change, or deploy it as a new release"
            )

        return True

    # Nobody needs to take it: the SDK waits for every output, and fails with its error.
    return pulumi.Output.from_input(judge())
