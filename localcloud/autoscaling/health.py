"""Which instances of auto scaling groups are unhealthy, and the health that EC2 Auto Scaling gives them.

`unhealthy` decides, without I/O; `replace` retires them, and `scaling` then launches others. Never scales a group.
Source: EC2 Auto Scaling user guide, "Health checks for instances in an Auto Scaling group".
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from localcloud.autoscaling import scaling
from localcloud.ec2 import spot
from localcloud.moto_state import LOCK, backend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from localcloud.hooks import TargetHealth
    from localcloud.view import AutoScalingGroup, Cloud

EC2 = "an instance was taken out of service in response to an EC2 health check indicating it has been terminated or stopped."  # noqa: E501 - AWS's words
ELB = "an instance was taken out of service in response to an ELB system health check failure."

log = logging.getLogger(__name__)


def unhealthy(cloud: Cloud, health: Callable[[str], Iterable[TargetHealth]], now: float) -> dict[str, dict[str, str]]:
    """Instances to replace and the cause, by auto scaling group. `now` is seconds since the epoch.

    An instance that does not run is unhealthy at once. With the health check type ELB, so is one whose target health is
    `unhealthy` in any of the group's target groups, once the grace period since its launch is over. A group that
    suspended a process that this takes is left alone.
    """
    found = {}
    for group in cloud.groups.values():
        if group.suspended & {"HealthCheck", "ReplaceUnhealthy", "Terminate"}:
            continue
        if causes := _of_group(group, cloud, health, now):
            found[group.name] = causes
    return found


def _of_group(
    group: AutoScalingGroup, cloud: Cloud, health: Callable[[str], Iterable[TargetHealth]], now: float
) -> dict[str, str]:
    causes = {}
    failing: set[str] = set()
    if group.health_check_type == "ELB":
        failing = {
            target.target_id for arn in group.target_groups for target in health(arn) if target.state == "unhealthy"
        }
    for member in group.members:
        instance = cloud.instances.get(member)
        if instance is None or instance.state not in {"pending", "running"}:
            causes[member] = EC2
        elif member in failing and now - instance.launched >= group.grace_seconds:
            causes[member] = ELB
    return causes


def replace(causes: Mapping[str, Mapping[str, str]]) -> None:
    """Take these instances out of their groups. One that is leaving already stays as it is. Takes `LOCK`."""
    with LOCK:
        groups = backend("autoscaling").autoscaling_groups
        for name, members in causes.items():
            for state in list(groups[name].instance_states) if name in groups else []:
                cause = members.get(state.instance.id)
                if cause == EC2 and spot.unseen(state.instance):
                    continue
                if cause is not None and state.lifecycle_state == "InService":
                    if state.health_status != "Unhealthy":
                        log.info("group %s: %s: %s", name, state.instance.id, cause)
                    state.health_status = "Unhealthy"
                    scaling.book(groups[name]).causes[state.instance.id] = cause
            if name in groups:
                scaling.replace_unhealthy(groups[name])
