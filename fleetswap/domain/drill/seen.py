"""What a drill has read in AWS: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetswap.domain.rollout.health import HTTP1, ProbeProtocol


@dataclass(frozen=True)
class Launches:
    """How an auto scaling group launches machines. `types` are the weights of its instance types; without types, it
    chooses them by their attributes, or its launch template names one.
    """

    arn: str
    template: str
    version: str
    subnets: tuple[str, ...]
    types: Mapping[str, int] = field(default_factory=dict)
    by_attributes: bool = False
    suspended: tuple[str, ...] = ()
    """Its processes that someone has suspended (SuspendProcesses)."""


@dataclass(frozen=True)
class Template:
    """A version of a launch template. `keys` are the keys that it names for volumes."""

    image: str
    security_groups: tuple[str, ...] = ()
    instance_type: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ami:
    """An AMI and the snapshots of its volumes."""

    state: str
    snapshots: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """A snapshot. `key` is empty if it is not encrypted."""

    state: str
    key: str = ""


@dataclass(frozen=True)
class Subnet:
    """A subnet: its zone (`us-east-1a`), and how many addresses are free."""

    zone: str
    free: int


@dataclass(frozen=True)
class Front:
    """How a release is reached through its preview rule: `host` is the `Host`, if not the URL's; `codes` are the
    statuses of a healthy response.
    """

    url: str
    codes: str = "200"
    host: str | None = None
    protocol: ProbeProtocol = HTTP1


@dataclass(frozen=True)
class Caller:
    """Whose permissions are simulated: `arn` is the user's or the role's own. The root may do everything."""

    account: str
    arn: str
    is_root: bool = False


@dataclass(frozen=True)
class SwitchRole:
    """The role of the dead man's switch. `modifies`: whether its policies let it modify the rule."""

    arn: str
    modifies: bool
