"""Finds the service of a command, from its options or from a Pulumi project's settings, and creates its ports.

It reads files only, never Pulumi's state: the commands that use it must work while the state is not available.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from fleetswap.aws.keys import Keys
from fleetswap.aws.rollout.adapters import Adapters
from fleetswap.aws.rollout.finder import Finder
from fleetswap.aws.rollout.previews import Previews
from fleetswap.aws.session import Cloud
from fleetswap.cli import project
from fleetswap.cli.connect import configured, in_region, joining
from fleetswap.cli.project import Project, StackFile
from fleetswap.cli.way import Way, of_settings, settings_of
from fleetswap.domain import tags
from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout import view
from fleetswap.workflows.rollout.ports import Balancer, Fleet, Switch
from fleetswap.workflows.rollout.service import find as find_service

Service = Annotated[
    str | None,
    typer.Option(metavar="NAME", show_default="the settings'", help="Name of the service, as in the resource tags."),
]
Stack = Annotated[
    str | None,
    typer.Option(
        metavar="STACK",
        show_default="the only one",
        help="PROJECT/STACK, as in the resource tags. In a Pulumi project the stack name is enough: the settings say"
        " the rest.",
    ),
]
Region = Annotated[
    str | None,
    typer.Option(
        metavar="REGION",
        show_default="the settings', AWS_REGION, or the profile's",
        help="Region of the service.",
    ),
]
EndpointUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        show_default="the settings', or AWS's own",
        help="Endpoint to send API requests to, such as the local cloud.",
    ),
]

Profile = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", show_default="the settings', or AWS_PROFILE", help="Profile of the AWS shared configuration."
    ),
]


@dataclass(frozen=True)
class Place:
    """A service in an account and region, and the ports that reach it."""

    service: view.Service
    balancer: Balancer
    fleet: Fleet
    switch: Switch
    previews: Previews
    keys: Keys
    cloud: Cloud
    settings: StackFile | None
    """The settings of its stack, if we are in its project."""


def find(
    service: str | None, stack: str | None, region: str | None, endpoint: str | None, profile: str | None = None
) -> Place:
    """The requested service. Options take precedence over settings, and settings over the environment.

    Raises `InputError` if none or several may be meant, or AWS's settings are wrong, and `CloudError`.
    """
    here = project.find(project.here())
    settings = settings_of(here, service, stack)
    if settings is not None:
        service = service or settings.setting(project.SERVICE)
    if service is None:
        raise InputError(_which(here, stack, settings))
    way = of_settings(settings, region, endpoint, profile)
    return _open(here, service, settings.tag if settings else stack, way)


def _which(here: Project | None, stack: str | None, settings: StackFile | None) -> str:
    """Why no service is meant, and what to do."""
    if settings is not None:
        return f"{settings.path.name} does not set {project.SERVICE}: name the service with --service"
    if here is None:
        return "which service? Name it with --service, or run this in its Pulumi project"
    if stack is not None:
        return f"stack {stack} has no {here.file(stack).name} here: name the service with --service"
    stacks = ", ".join(each.stack for each in here.stacks()) or "none"
    return f"which service? Name it with --service, or its stack with --stack ({here.name} has: {stacks})"


def _open(here: Project | None, service: str, stack: str | None, way: Way) -> Place:
    with joining(way) as cloud:
        finder = Finder(cloud.elbv2(), cloud.autoscaling())
    with in_region(cloud.region, way.endpoint):
        found = find_service(finder, service, stack)
    with configured():
        aws = Adapters(
            cloud,
            stack=found.stack,
            service=found.name,
            listener=found.listener,
            tags=tags.policy(found.stack, found.name, name=found.name),
            rules=found.rules,
        )
    settings = here.stack(found.stack) if here is not None else None
    return Place(found, aws.balancer, aws.fleet, aws.switch, aws.previews, aws.keys, cloud, settings)
