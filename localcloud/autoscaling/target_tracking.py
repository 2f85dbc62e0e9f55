"""Target tracking policies: what PutScalingPolicy refuses of them, and the alarms that they have.

The alarms exist, and nothing acts on them: here no policy scales a group.

Sources: EC2 Auto Scaling API reference (TargetTrackingConfiguration, PredefinedMetricSpecification) and user guide
("Target tracking scaling policies").
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from moto.autoscaling.exceptions import ValidationError

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
    configuration = vars(policy.target_tracking_configuration)
    target = float(configuration.get("TargetValue", 0))
    predefined = configuration.get("PredefinedMetricSpecification") or {}
    predefined = predefined if isinstance(predefined, dict) else vars(predefined)
    kind = predefined.get("PredefinedMetricType", "ASGAverageCPUUtilization")
    namespace, metric, statistic = _METRICS[kind]
    dimensions = [{"Name": "AutoScalingGroupName", "Value": policy.auto_scaling_group_name}]
    if kind == REQUESTS:
        balancer, _, target_group = predefined["ResourceLabel"].partition("/targetgroup/")
        dimensions = [
            {"Name": "LoadBalancer", "Value": balancer},
            {"Name": "TargetGroup", "Value": f"targetgroup/{target_group}"},
        ]
    made = []
    for side, comparison, periods, threshold in (
        ("AlarmHigh", "GreaterThanThreshold", 3, target),
        ("AlarmLow", "LessThanThreshold", 15, target * 0.9),
    ):
        alarm = cloudwatch.put_metric_alarm(
            name=f"TargetTracking-{policy.auto_scaling_group_name}-{side}-{uuid.uuid4()}",
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
        made.append({"AlarmName": alarm.name, "AlarmARN": alarm.alarm_arn})
    return made
