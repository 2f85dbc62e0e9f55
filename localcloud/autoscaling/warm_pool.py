"""Warm pools: instances beside a group that are launched before they are needed, and that it takes first.

Decides how many there are and what becomes of them; `scaling` launches and ends them, `warm_pool_calls` has the calls.
They are no instances of the group: in none of its target groups, not health checked, and not in
DescribeAutoScalingGroups.

Sources: EC2 Auto Scaling API reference (PutWarmPool, WarmPoolConfiguration) and user guide ("Warm pools").
Not as in AWS: without a lifecycle hook an instance that is to be stopped is stopped as soon as it runs (as there), and
the volume of one that is started again is a fresh one; no instance hibernates, and none of another state than is asked
for is changed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from moto.autoscaling.exceptions import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.moto_state import Moto

PENDING_DELETE = "PendingDelete"
UNLIMITED = -1  # as a MaxGroupPreparedCapacity, it takes away the one that was set


class Pool:
    """A warm pool; its attributes are named so that moto's serializer finds them."""

    def __init__(self) -> None:
        self.max_group_prepared_capacity: int | None = None
        self.min_size = 0
        self.pool_state = "Stopped"
        self.instance_reuse_policy: dict[str, bool] | None = None
        self.status: str | None = None
        self.states: list[Any] = []
        """Its instances, the oldest first."""
        self.gone_at = 0.0
        self.retry_at = 0.0


def check(group_policy: dict[str, Any] | None, version: Moto | None) -> None:
    """Refuse a warm pool for a group that would launch Spot Instances, as AWS does."""
    distribution = (group_policy or {}).get("InstancesDistribution") or {}
    percentage = distribution.get("OnDemandPercentageAboveBaseCapacity")
    spot = percentage is not None and int(percentage) < 100
    if spot or (version is not None and version.data.get("InstanceMarketOptions")):
        raise ValidationError(
            "You can't add a warm pool to an Auto Scaling group that has a mixed instances policy or a launch template"
            " or launch configuration that requests Spot Instances."
        )


def wanted(group: Moto) -> int:
    """How many instances the pool is to have."""
    pool = group.warm_pool
    if pool is None or pool.status is not None:
        return 0
    prepared = pool.max_group_prepared_capacity
    most = group.max_size if prepared is None else prepared
    return int(max(pool.min_size, most - (group.desired_capacity or 0)))


def tick(group: Moto, launch: Callable[[Moto], Moto | None], end: Callable[[Moto, Moto], None]) -> None:
    """Take the pool a step nearer to what it is to be. `launch` answers None if nothing could be launched."""
    pool = group.warm_pool
    if pool is None:
        return
    pool.states = [state for state in pool.states if state.instance.state != "terminated"]
    if pool.status == PENDING_DELETE:
        if time.monotonic() >= pool.gone_at:
            empty(group, end)
        return
    for state in pool.states:
        _settle(group, pool, state)
    for state in pool.states[: max(0, len(pool.states) - wanted(group))]:
        pool.states.remove(state)
        end(group, state)
    while len(pool.states) < wanted(group) and time.monotonic() >= pool.retry_at:
        launched = launch(group)
        if launched is None:
            return
        launched.lifecycle_state = "Warmed:Pending"
        pool.states.append(launched)


def _settle(group: Moto, pool: Pool, state: Moto) -> None:
    if state.lifecycle_state != "Warmed:Pending" or state.instance.state != "running":
        return
    if pool.pool_state != "Running":
        group.ec2_backend.stop_instances([state.instance.id])
    state.lifecycle_state = f"Warmed:{pool.pool_state}"


def empty(group: Moto, end: Callable[[Moto, Moto], None]) -> None:
    """Delete the pool with its instances."""
    pool, group.warm_pool = group.warm_pool, None
    for state in pool.states if pool is not None else ():
        end(group, state)


def take(group: Moto) -> Moto | None:
    """An instance out of the pool, running from now on; None if none is ready."""
    pool = group.warm_pool
    if pool is None or pool.status is not None:
        return None
    ready = [each for each in pool.states if each.lifecycle_state not in {"Warmed:Pending", "Warmed:Pending:Wait"}]
    if not ready:
        return None
    state = ready[0]
    pool.states.remove(state)
    if state.instance.state == "stopped":
        group.ec2_backend.start_instances([state.instance.id])
    state.lifecycle_state, state.health_status = "InService", "Healthy"
    return state


def put_back(group: Moto, state: Moto) -> bool:
    """Keep an instance that has left its group for the pool; False if there is no room, or none is to be kept."""
    pool = group.warm_pool
    if pool is None or not (pool.instance_reuse_policy or {}).get("ReuseOnScaleIn"):
        return False
    if state.health_status != "Healthy" or state.instance.state != "running" or len(pool.states) >= wanted(group):
        return False
    state.lifecycle_state = "Warmed:Pending"
    pool.states.append(state)
    return True
