"""The capacity of an auto scaling group in units, and which instances a scale-in takes of it.

With weights, a group launches until the capacity is reached, which the last instance may exceed, and a scale-in leaves
no less than is wanted. Sources: EC2 Auto Scaling API reference (LaunchTemplateOverrides), user guide ("Default
termination policy for Amazon EC2 Auto Scaling").
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from localcloud.autoscaling import mixed_instances

if TYPE_CHECKING:
    from localcloud.moto_state import Moto


def of(group: Moto, instance_type: str) -> str | None:
    """The weight of an instance as it is told: text, and nothing in a group without weights."""
    for each in mixed_instances.overrides_of(group.mixed_instances_policy):
        if each.get("InstanceType") == instance_type and each.get("WeightedCapacity"):
            return str(each["WeightedCapacity"])
    return None


def _weight(state: Moto) -> int:
    return int(state.weighted_capacity or 1)


def units(states: list[Moto]) -> int:
    """The capacity of instances: units of their weights, or how many there are."""
    return sum(map(_weight, states))


def first(states: list[Moto], spare: int) -> list[Moto]:
    """Of these instances, in their order, those that are no more than so many units together."""
    found = []
    for state in states:
        if _weight(state) <= spare:
            spare -= _weight(state)
            found.append(state)
    return found


def victims(live: list[Moto], spare: int) -> list[Moto]:
    """What a scale-in takes, at most so many units.

    From the zone with the most instances, the oldest template version, then the oldest.

    User guide: "Default termination policy for Amazon EC2 Auto Scaling". Instances protected from scale-in stay.
    """
    left = [state for state in live if not state.protected_from_scale_in and _weight(state) <= spare]
    found: list[Moto] = []
    while left:
        zones = Counter(state.availability_zone for state in left)
        victim = min(
            left,
            key=lambda state: (
                -zones[state.availability_zone],
                version(state.instance),
                state.instance.launch_time,
            ),
        )
        spare -= _weight(victim)
        found.append(victim)
        left = [state for state in left if state is not victim and _weight(state) <= spare]
    return found


def version(instance: Moto) -> int:
    """The version of the launch template that it was launched from."""
    tags = instance.ec2_backend.tags.get(instance.id, {})
    return int(tags.get("aws:ec2launchtemplate:version", 0))
