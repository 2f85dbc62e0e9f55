"""The targets of releases, with the units of capacity that their machines are.

ELBv2 does not know the weights of instance types; the auto scaling group has them for its machines. Of a group without
weights nothing is asked, and each machine is one unit.
"""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain.rollout.health import Target
from fleetswap.domain.rollout.model import Group, ReleaseTarget
from fleetswap.workflows.rollout.ports import Balancer, Fleet


class Weights:
    """Remembers the machines of groups with weights. A machine's weight never changes."""

    def __init__(self, balancer: Balancer, fleet: Fleet) -> None:
        """Both are of the same account and region."""
        self._balancer, self._fleet = balancer, fleet
        self._weighted: dict[str, ReleaseTarget] = {}
        self._units: dict[str, int] = {}

    def group(self, target: ReleaseTarget) -> Group | None:
        """A release's group, as `Fleet.group`."""
        group = self._fleet.group(target.group)
        if group is not None and group.weighted:
            self._weighted[target.target_group] = target
            self._units |= {machine.id: machine.weight for machine in group.machines}
        return group

    def targets(self, target_group: str) -> tuple[Target, ...]:
        """As `Balancer.targets`; the group is read again for machines that it has launched since."""
        found = self._balancer.targets(target_group)
        release = self._weighted.get(target_group)
        if release is None:
            return found
        if any(each.machine not in self._units for each in found if not each.is_leaving):
            self.group(release)
        return tuple(replace(each, weight=self._units.get(each.machine, 1)) for each in found)
