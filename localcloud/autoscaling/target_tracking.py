"""Target tracking policies: what PutScalingPolicy refuses of them, the alarms that they have, and how they scale.

Decides the desired capacity that follows from a metric and its target. When an alarm rings is decided in
`cloudwatch.alarms`, which instances come and go in `scaling`.

As in AWS, a group scales out in proportion to the metric, as soon as one policy wants it, and to no more for instances
that are still warming up. It scales in when every policy that may wants it, to the largest capacity that one wants, and
not while an instance is pending or warming up. It never leaves its bounds. Words of an activity's cause: user guide,
"Verify a scaling activity".

Not as in AWS, which "scales in more gradually", by how much is not documented: here it goes at once to as few as the
metric asks for. A policy with metric math is kept, and never scales.

Sources: EC2 Auto Scaling API reference (TargetTrackingConfiguration, PredefinedMetricSpecification) and user guide
("Target tracking scaling policies", "Set the default instance warmup", "Suspend and resume processes").
"""

from __future__ import annotations

import math
import time
import uuid
from typing import TYPE_CHECKING, Any

from moto.autoscaling.exceptions import ValidationError

from localcloud.autoscaling import scaling, weights
from localcloud.moto_state import backend

if TYPE_CHECKING:
    from localcloud.moto_state import Moto

REQUESTS = "ALBRequestCountPerTarget"
_METRICS = {
    "ASGAverageCPUUtilization": ("AWS/EC2", "CPUUtilization", "Average"),
    "ASGAverageNetworkIn": ("AWS/EC2", "NetworkIn", "Average"),
    "ASGAverageNetworkOut": ("AWS/EC2", "NetworkOut", "Average"),
    REQUESTS: ("AWS/ApplicationELB", "RequestCountPerTarget", "Sum"),
}
"""Predefined metrics: namespace, metric and statistic of the alarms."""

DEFAULT_COOLDOWN = 300  # seconds; API reference, CreateAutoScalingGroup


def check(group: Moto, asked: dict[str, Any]) -> None:
    """Refuse a metric that there is not, and a target group that is not the group's own, as AWS does."""
    predefined, custom = asked.get("PredefinedMetricSpecification"), asked.get("CustomizedMetricSpecification")
    if bool(predefined) == bool(custom):
        raise ValidationError("Specify either a predefined or a customized metric specification")
    if not predefined:
        return
    kind, label = predefined["PredefinedMetricType"], predefined.get("ResourceLabel")
    if kind not in _METRICS:
        raise ValidationError(f"PredefinedMetricType must be one of {', '.join(_METRICS)}, not {kind}")
    if kind != REQUESTS:
        if label:
            raise ValidationError(f"ResourceLabel is not valid for {kind}")
        return
    if not label:
        raise ValidationError(f"A ResourceLabel is required for {REQUESTS}")
    balancer, _, target_group = label.partition("/targetgroup/")
    arn = next((arn for arn in group.target_group_arns if arn.endswith(f":targetgroup/{target_group}")), None)
    if not target_group or arn is None:
        raise ValidationError(
            f"Invalid ResourceLabel {label}: the target group is not attached to the Auto Scaling group {group.name}"
        )
    found = group.autoscaling_backend.elbv2_backend.target_groups[arn]
    if not any(each.endswith(f":loadbalancer/{balancer}") for each in found.load_balancer_arns):
        raise ValidationError(f"Invalid ResourceLabel {label}: the load balancer does not use the target group")


def alarms(policy: Moto) -> list[dict[str, str]]:
    """The two alarms of a policy, made in CloudWatch as EC2 Auto Scaling makes them."""
    cloudwatch = backend("cloudwatch")
    target = _target(policy)
    namespace, metric, statistic, dimensions = _metric(policy)
    names = {alarm["AlarmName"].split("-Alarm")[-1].split("-")[0]: alarm["AlarmName"] for alarm in policy.alarms}
    made = []
    for side, comparison, periods, threshold, tracks in (
        ("High", "GreaterThanThreshold", 3, target, "scale_out"),
        ("Low", "LessThanThreshold", 15, target * 0.9, "scale_in"),
    ):
        alarm = cloudwatch.put_metric_alarm(
            name=names.get(side) or f"TargetTracking-{policy.auto_scaling_group_name}-Alarm{side}-{uuid.uuid4()}",
            namespace=namespace,
            metric_name=metric,
            comparison_operator=comparison,
            evaluation_periods=periods,
            period=60,
            threshold=threshold,
            statistic=statistic,
            description=f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy.arn}.",
            dimensions=dimensions,
            alarm_actions=[policy.arn],
        )
        alarm.scales = tracks
        if namespace.startswith("AWS/"):
            alarm.tracks = tracks
        made.append({"AlarmName": alarm.name, "AlarmARN": alarm.alarm_arn})
    return made


def _configuration(policy: Moto) -> dict[str, Any]:
    found: dict[str, Any] = _plain(policy.target_tracking_configuration)
    return found


def _plain(member: Any) -> Any:  # noqa: ANN401 - moto keeps some members as they came, others as objects
    return vars(member) if hasattr(member, "__dict__") else member or {}


def _target(policy: Moto) -> float:
    return float(_configuration(policy).get("TargetValue", 0))


def _metric(policy: Moto) -> tuple[str, str, str, list[dict[str, str]]]:
    """Namespace, metric, statistic and dimensions of what a policy tracks."""
    custom = _plain(_configuration(policy).get("CustomizedMetricSpecification"))
    if custom:
        named = [{"Name": one["Name"], "Value": one["Value"]} for one in map(_plain, custom.get("Dimensions") or [])]
        return custom.get("Namespace") or "", custom.get("MetricName") or "", custom.get("Statistic") or "Sum", named
    predefined = _plain(_configuration(policy).get("PredefinedMetricSpecification"))
    kind = predefined["PredefinedMetricType"]
    namespace, metric, statistic = _METRICS[kind]
    if kind != REQUESTS:
        named = [{"Name": "AutoScalingGroupName", "Value": policy.auto_scaling_group_name}]
        return namespace, metric, statistic, named
    balancer, _, target_group = predefined["ResourceLabel"].partition("/targetgroup/")
    named = [
        {"Name": "LoadBalancer", "Value": balancer},
        {"Name": "TargetGroup", "Value": f"targetgroup/{target_group}"},
    ]
    return namespace, metric, statistic, named


def scale(alarm: Moto) -> None:
    """Do what an alarm's policies say. With `LOCK` held. Does nothing when nothing is to be done."""
    autoscaling = backend("autoscaling")
    for policy in list(autoscaling.policies.values()):
        if policy.arn not in alarm.alarm_actions or policy.policy_type != "TargetTrackingScaling":
            continue
        group = autoscaling.autoscaling_groups.get(policy.auto_scaling_group_name)
        if group is None or not policy.enabled or "AlarmNotification" in scaling.suspended(group):
            continue
        before = group.desired_capacity or 0
        out = alarm.scales == "scale_out"
        after = _larger(group, policy, alarm.newest) if out else _smaller(group)
        if after != before:
            scaling.change(
                group,
                after,
                f"a monitor alarm {alarm.name} in state ALARM triggered policy {policy.name} changing the desired"
                f" capacity from {before} to {after}",
            )


def _larger(group: Moto, policy: Moto, value: float) -> int:
    """The desired capacity that brings the metric down to its target, if that is larger.

    What is warming up is not counted: what it will take over has been ordered already.
    """
    desired = group.desired_capacity or 0
    warm = weights.units(steady(group, policy))
    most: int = group.max_size
    return max(desired, min(most, _capacity(warm, value, _target(policy))))


def _smaller(group: Moto) -> int:
    """The desired capacity that the policies leave, if all of those that may scale in want a smaller one."""
    desired = group.desired_capacity or 0
    wanted = []
    for policy in group.autoscaling_backend.policies.values():
        if (
            policy.auto_scaling_group_name != group.name
            or policy.policy_type != "TargetTrackingScaling"
            or not policy.enabled
            or _configuration(policy).get("DisableScaleIn") is True
        ):
            continue
        alarms_of = [backend("cloudwatch").alarms.get(alarm["AlarmName"]) for alarm in policy.alarms]
        low = next((alarm for alarm in alarms_of if alarm is not None and alarm.scales == "scale_in"), None)
        newest = getattr(low, "newest", None)
        if low is None or low.state_value != "ALARM" or newest is None or _is_moving(group, policy):
            return desired
        wanted.append(_capacity(desired, newest, _target(policy)))
    return min(desired, max(group.min_size, *wanted)) if wanted else desired


def _capacity(capacity: int, value: float, target: float) -> int:
    """As how many units a metric would be at its target that has this value with so many."""
    return math.ceil(capacity * value / target - 1e-9)


def _is_moving(group: Moto, policy: Moto) -> bool:
    live = scaling.live(group)
    return len(steady(group, policy)) < len(live) or weights.units(live) < (group.desired_capacity or 0)


def steady(group: Moto, policy: Moto | None = None) -> list[Moto]:
    """The instances of a group that are in service and have warmed up."""
    warmup = getattr(policy, "estimated_instance_warmup", None)
    if warmup is None:
        warmup = getattr(group, "default_instance_warmup", None)
    if warmup is None:
        warmup = getattr(group, "default_cooldown", None)
    seconds = DEFAULT_COOLDOWN if warmup is None else int(warmup)
    now, since = time.monotonic(), scaling.book(group).in_service
    return [
        state
        for state in scaling.live(group)
        if state.lifecycle_state == "InService" and now - since.get(state.instance.id, now) >= seconds
    ]
