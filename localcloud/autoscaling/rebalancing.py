"""Capacity Rebalancing: which Spot Instances a group replaces before EC2 takes them, and when.

Decides how many instances a group launches beyond its desired capacity, and which of its instances leave, from what its
machines are said to be. Never launches or retires anything: `scaling` does.

At a rebalance recommendation a group launches first, waits until the new instance passes its health check, and then
terminates the old one, as it terminates any: deregistered, drained, ended. At the two-minute notice it no longer waits:
it terminates so at once, and launches another at the same time (user guide, "Capacity Rebalancing in Auto Scaling to
replace at-risk Spot Instances"; and what a termination hook gets at a notice, aws-node-termination-handler pull request
759). A group without it does nothing until the instance is gone and a health check has found that (`ec2.spot`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localcloud.autoscaling import weights
from localcloud.ec2 import spot
from localcloud.elbv2 import targets

if TYPE_CHECKING:
    from localcloud.moto_state import Moto

MARGIN = 10
"""Percent of the desired capacity, and at least one instance, by which a group may exceed its maximum size meanwhile
(user guide, as above; that a part of one counts as one is from "Availability Zone rebalancing")."""

REPLACED = "an instance was taken out of service in response to an EC2 instance rebalance recommendation."
NOTICED = "an instance was taken out of service in response to an EC2 Spot Instance interruption notice."


def beyond(group: Moto, live: list[Moto]) -> int:
    """How many instances the group has beyond its desired capacity, while those at risk are replaced."""
    if not group.capacity_rebalance:
        return 0
    desired = group.desired_capacity or 0
    room: int = max(group.max_size - desired, -(-desired * MARGIN // 100))
    at_risk = weights.units([state for state in live if _at_risk(state)])
    return min(at_risk, desired, room)


def leaving(group: Moto, live: list[Moto]) -> list[tuple[Moto, str]]:
    """The instances to terminate now, with the cause: what has its notice, and what others have replaced."""
    if not group.capacity_rebalance:
        return []
    found = [(state, NOTICED) for state in live if spot.notice(state.instance) is not None]
    noticed = [state for state, _ in found]
    at_risk = [state for state in live if _at_risk(state) and state not in noticed]
    others = [state for state in live if state not in noticed and state not in at_risk]
    ready = weights.units([state for state in others if _is_healthy(group, state)])
    spare = ready + weights.units(at_risk) - (group.desired_capacity or 0)
    return found + [(state, REPLACED) for state in weights.first(at_risk, spare)]


def _at_risk(state: Moto) -> bool:
    return spot.recommendation(state.instance) is not None


def _is_healthy(group: Moto, state: Moto) -> bool:
    if state.instance.state != "running":
        return False
    if "ELB" not in (group.health_check_type or "EC2").split(","):
        return True
    return targets.healthy(group.target_group_arns, state.instance.id)
