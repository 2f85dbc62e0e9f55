"""How a command reaches AWS: what its options say, then the settings of a stack, then the environment.

It reads the project's files only, and never Pulumi's state.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fleetswap.cli import project
from fleetswap.cli.project import Project, StackFile
from fleetswap.domain.access import Access


@dataclass(frozen=True)
class Way:
    """A region, the endpoint of all services, and whose credentials; None is for the environment to say."""

    region: str | None = None
    endpoint: str | None = None
    access: Access = field(default_factory=Access)


def of_settings(settings: StackFile | None, region: str | None, endpoint: str | None, profile: str | None) -> Way:
    """The way of a stack, except for what options say. Raises `InputError` for settings that are not valid."""
    if settings is None:
        return Way(region, endpoint, Access(profile=profile))
    settings = settings.at(region)
    access = settings.access()
    return Way(
        region or settings.setting(project.REGION),
        endpoint or settings.setting(project.ENDPOINT),
        access if profile is None else replace(access, profile=profile),
    )


def of_stack(stack: str | None, region: str | None, endpoint: str | None, profile: str | None) -> Way:
    """The same for a stack of the project that we are in: the one that is named, else the only one."""
    return of_settings(settings_of(project.find(project.here()), None, stack), region, endpoint, profile)


def settings_of(here: Project | None, service: str | None, stack: str | None) -> StackFile | None:
    """The settings that are meant: those of the stack; without one, of the only stack there is."""
    if here is None:
        return None
    if stack is not None:
        return here.stack(stack)
    if service is not None:
        return None
    stacks = here.stacks()
    return stacks[0] if len(stacks) == 1 else None
