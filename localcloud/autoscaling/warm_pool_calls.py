"""The calls about warm pools, as strict as AWS: PutWarmPool, DescribeWarmPool, DeleteWarmPool.

Moto takes any pool for any group, launches nothing into it, and forgets it within the call that deletes it.
Source: EC2 Auto Scaling API reference.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import FakeAutoScalingGroup
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from localcloud.autoscaling import warm_pool
from localcloud.autoscaling.groups import named

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

MOST_RECORDS = 50


def patch(patches: Patches) -> None:
    """Make the calls strict."""
    patches.methods(AutoScalingResponse, put_warm_pool, describe_warm_pool, delete_warm_pool)
    patches.set(FakeAutoScalingGroup, "warm_pool_size", property(_size))


def _size(group: Moto) -> int | None:
    return None if group.warm_pool is None else len(group.warm_pool.states)


def put_warm_pool(self: Moto) -> Moto:
    """What is not named stays as it was."""
    group, params = named(self), self._get_params()
    pool = group.warm_pool or warm_pool.Pool()
    if pool.status is not None:
        raise ValidationError(f"The warm pool of Auto Scaling group {group.name} is being deleted")
    template = group.ec2_launch_template
    version = template.get_version(group.launch_template_version) if template is not None else None
    warm_pool.check(group.mixed_instances_policy, version)
    least, most = params.get("MinSize", pool.min_size), params.get("MaxGroupPreparedCapacity")
    if int(least) < 0 or (most is not None and int(most) < warm_pool.UNLIMITED):
        raise ValidationError("MinSize must be at least 0, and MaxGroupPreparedCapacity at least -1")
    state = params.get("PoolState", pool.pool_state)
    if state == "Hibernated" and not (version and version.data.get("HibernationOptions", {}).get("Configured")):
        raise ValidationError("A warm pool of hibernated instances needs a launch template that enables hibernation")
    pool.min_size, pool.pool_state = int(least), state
    if most is not None:
        pool.max_group_prepared_capacity = None if int(most) == warm_pool.UNLIMITED else int(most)
    pool.instance_reuse_policy = params.get("InstanceReusePolicy", pool.instance_reuse_policy)
    group.warm_pool = pool
    return EmptyResult()


def describe_warm_pool(self: Moto) -> Moto:
    """The pool and its instances; neither for a group without one."""
    group = named(self)
    states = group.warm_pool.states if group.warm_pool is not None else []
    limit, start = (
        min(self._get_int_param("MaxRecords") or MOST_RECORDS, MOST_RECORDS),
        int(self._get_param("NextToken") or 0),
    )
    token = str(start + limit) if len(states) > start + limit else None
    found = {"WarmPoolConfiguration": group.warm_pool, "Instances": states[start : start + limit], "NextToken": token}
    return ActionResult({key: value for key, value in found.items() if value is not None})


def delete_warm_pool(self: Moto) -> Moto:
    """It is marked now, and gone later."""
    group = named(self)
    if group.warm_pool is None:
        raise ValidationError(f"No warm pool found for Auto Scaling group {group.name}")
    if group.warm_pool.status is None:
        now = time.monotonic()
        group.warm_pool.status = warm_pool.PENDING_DELETE
        group.warm_pool.gone_at = now + group.lateness.of("warm_pools", group.name, now)
    return EmptyResult()
