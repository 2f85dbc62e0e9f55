"""The rollout: a dynamic provider, and the only owner of the weights and of a group's `desired` and `min`.

`diff` and `read` look at the real listener, so that a flip from outside, or a deployer that died half-way, shows in the
next preview and is mended by the next update. Nothing is decided here: see `fleetswap.workflows.rollout`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult
from pydantic import BaseModel, ConfigDict

from components.context import Context
from components.disk_image import check_failures
from fleetswap.aws.balancer import AwsBalancer, HttpProber
from fleetswap.aws.fleet import AwsFleet
from fleetswap.domain import rollout as domain
from fleetswap.workflows import rollout as workflow

SCHEMA = 1
"""Version of the inputs. A newer program must keep reading the states that older ones wrote."""


@dataclass(frozen=True)
class Side:
    """A release that traffic can be put on, once everything in `complete_after` exists."""

    release: str
    group: pulumi.Output[str]
    target_group: pulumi.Output[str]
    complete_after: Sequence[pulumi.Resource]
