"""Where moto keeps the state of the local cloud, and the lock that guards it.

Decides nothing. Everything that reads or changes moto's backends, from whatever thread, holds `LOCK` meanwhile: moto's
backends are plain dictionaries. Whoever holds `LOCK` must not wait for a thread that may want it.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol, TypeAlias

Moto: TypeAlias = Any  # moto ships no types that mypy can read

ACCOUNT_ID = "123456789012"  # moto's own, and what its STS answers
REGION = "us-east-1"

LOCK = threading.RLock()


def backend(service: str) -> Moto:
    """Moto's backend of a service (`ec2`, `autoscaling`, `elbv2`, `kms`, …) in our account and region."""
    from moto.backends import get_backend  # noqa: PLC0415 - importing moto takes a second; only a server needs it

    return get_backend(service)[ACCOUNT_ID]["aws" if service == "iam" else REGION]


class TargetHealth(Protocol):
    """The health of one target, in ELBv2's words: `initial`, `healthy`, `unhealthy`, `unused`, `draining`."""

    @property
    def target_id(self) -> str: ...  # noqa: D102 - the class says it
    @property
    def port(self) -> int: ...  # noqa: D102
    @property
    def state(self) -> str: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def description(self) -> str: ...  # noqa: D102


class MachineHooks(Protocol):
    """What the control plane asks of the machines. Called with `LOCK` held: answer from memory, wait for nothing."""

    def target_health(self, target_group_arn: str) -> list[TargetHealth]:
        """Health of every target of the group, draining ones too."""

    def kill(self, instance_id: str) -> None:
        """End an instance's machine as a power cut would. Harmless if it does not run."""

    def console_output(self, instance_id: str) -> str:
        """What the instance's console said last, at most 64 KiB; empty if nothing."""
