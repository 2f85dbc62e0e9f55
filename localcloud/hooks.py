"""What the control plane asks of the machines, and the words that the two share. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class TargetHealth:
    """The health of one target, in ELBv2's words (API reference, TargetHealth): `initial`, `healthy`, `draining`, …"""

    target_id: str
    port: int
    state: str
    reason: str = ""
    description: str = ""


class MachineHooks(Protocol):
    """The machines, for the control plane. Called with `LOCK` held: answer from memory, wait for nothing."""

    def target_health(self, target_group_arn: str) -> list[TargetHealth]:
        """Health of every target of the group, draining ones too."""

    def drained(self, target_group_arn: str, instance_id: str) -> bool:
        """Whether a deregistered target is known to have no request left."""

    def kill(self, instance_id: str) -> None:
        """End an instance's machine as a power cut would. Harmless if it does not run."""

    def console_output(self, instance_id: str) -> str:
        """What the instance's console said last, at most 64 KiB; empty if nothing."""
