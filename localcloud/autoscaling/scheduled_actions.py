"""Scheduled actions of auto scaling groups: kept, refused and carried out.

Decides when an action is due and what becomes of the group's bounds; `scaling` does the rest. One-time actions are as
late as AWS may be (`lateness`, `actions`), and so is each time of one with a Recurrence.

Moto carries out none, and keeps them by name alone, so that two groups cannot have one of the same name.
Source: EC2 Auto Scaling API reference (PutScheduledUpdateGroupAction), user guide ("Scheduled scaling").
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import AutoScalingBackend

from localcloud.autoscaling import cron

if TYPE_CHECKING:
    from localcloud.faults.lateness import Lateness
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

log = logging.getLogger(__name__)

_put = AutoScalingBackend.put_scheduled_update_group_action


def patch(patches: Patches, clock: Any) -> None:  # noqa: ANN401 - a function without arguments
    """Make scheduled actions strict. `clock` gives seconds since the epoch."""
    patches.set(AutoScalingBackend, "wall_clock", staticmethod(clock))
    patches.methods(AutoScalingBackend, put_scheduled_update_group_action, delete_scheduled_action)


def put_scheduled_update_group_action(self: Moto, name: str, **asked: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS checks group, times and sizes; moto nothing. Putting one of the same name again changes it."""
    if name not in self.autoscaling_groups:
        raise ValidationError(f"AutoScalingGroup name not found - no such group: {name}")
    sizes = {key: asked[key] for key in ("min_size", "max_size", "desired_capacity")}
    if all(size is None for size in sizes.values()):
        raise ValidationError("At least one of MinSize, MaxSize or DesiredCapacity must be specified")
    if any(size is not None and int(size) < 0 for size in sizes.values()):
        raise ValidationError("MinSize, MaxSize and DesiredCapacity must be at least 0")
    if asked["recurrence"]:
        cron.check(asked["recurrence"], asked["timezone"])
    elif asked["timezone"]:
        raise ValidationError("TimeZone is for a Recurrence only")
    start, end = _seconds(asked["start_time"]), _seconds(asked["end_time"])
    if start is None and not asked["recurrence"]:
        raise ValidationError("A scheduled action needs a StartTime or a Recurrence")
    if start is not None and start <= self.wall_clock():
        raise ValidationError("Given start time is in the past")
    if start is not None and end is not None and end <= start:
        raise ValidationError("Given end time is before the start time")
    action = _put(self, name, **asked)
    self.scheduled_actions[
        f"{name}/{self.scheduled_actions.pop(action.scheduled_action_name).scheduled_action_name}"
    ] = action
    action.carried_out = self.wall_clock()
    return action


def delete_scheduled_action(self: Moto, auto_scaling_group_name: str, scheduled_action_name: str) -> None:
    """See `put_scheduled_update_group_action`."""
    if self.scheduled_actions.pop(f"{auto_scaling_group_name}/{scheduled_action_name}", None) is None:
        raise ValidationError("Scheduled action name not found")


def tick(autoscaling: Moto, now: float, lateness: Lateness) -> None:
    """Carry out what is due, and forget it: a one-time action is gone when it is done. With `LOCK` held."""
    for key, action in list(autoscaling.scheduled_actions.items()):
        group = autoscaling.autoscaling_groups.get(action.auto_scaling_group_name)
        if group is None:  # it went, and its actions with it
            del autoscaling.scheduled_actions[key]
            continue
        start = _seconds(action.start_time)
        if action.recurrence:
            at = _next(action, now)
            if at is None or at + lateness.of("actions", key, at) > now:
                continue
            action.carried_out = at
        elif start is None or start + lateness.of("actions", key, start) > now:
            continue
        else:
            del autoscaling.scheduled_actions[key]
        if any(process["ProcessName"] == "ScheduledActions" for process in group.suspended_processes):
            continue
        try:
            _carry_out(group, action)
        except AutoscalingClientError as error:  # nobody waits for an answer
            log.warning("group %s: scheduled action %s: %s", group.name, action.scheduled_action_name, error.message)


def _next(action: Moto, now: float) -> float | None:
    """The first time since it was carried out that has come by `now`; between StartTime and EndTime, if given."""
    start, end = _seconds(action.start_time), _seconds(action.end_time)
    after = max(action.carried_out, (start or 0) - 1)
    return cron.first(action.recurrence, action.time_zone, after, min(now, now if end is None else end))


def _carry_out(group: Moto, action: Moto) -> None:
    minimum = group.min_size if action.min_size is None else action.min_size
    maximum = group.max_size if action.max_size is None else action.max_size
    log.info("group %s: scheduled action %s", group.name, action.scheduled_action_name)
    group.update(
        min_size=minimum,
        max_size=maximum,
        desired_capacity=action.desired_capacity,
        availability_zones=[],
        vpc_zone_identifier=None,
        launch_config_name=None,
        launch_template={},
        mixed_instances_policy=None,
        health_check_type=None,
        new_instances_protected_from_scale_in=None,
    )


def _seconds(moment: str | datetime | None) -> float | None:
    """Seconds since the epoch of a time in a request; one without a zone is UTC."""
    if moment is None:
        return None
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
