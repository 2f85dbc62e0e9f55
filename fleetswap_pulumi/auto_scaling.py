"""The auto scaling group of a release, and the policy that scales it.

All that is declared here can change in place, apart from what the group launches (`fleetswap_pulumi.launch_template`).
The group is created empty. Its `desired`, its `min` and its warm pool belong to the rollout and to the policy, so the
program ignores changes to them. A release without traffic is held by its minimum, which the rollout raises: no policy
scales it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_aws import autoscaling, ec2, lb

from fleetswap.domain.measures import GROUP_METRICS
from fleetswap.domain.release.ledger import Entry
from fleetswap.domain.rollout.pins import ALL_ON_DEMAND
from fleetswap_pulumi.capacity_settings import HealthyPercentSettings
from fleetswap_pulumi.launch_template import mixed_instances
from fleetswap_pulumi.network import Network


@dataclass(frozen=True)
class Tuning:
    """What can change in place: `warmup`, `drain` and `grace` are in seconds, see the settings of these names.

    `balancer` is the end of the load balancer's ARN, `app/NAME/ID`: by it CloudWatch knows whose requests it counts.
    """

    cpu_percent: float
    warmup: int
    drain: int
    grace: int
    requests_per_target: float | None = None
    balancer: pulumi.Input[str] = ""
    healthy_percent: HealthyPercentSettings = field(default_factory=HealthyPercentSettings)
    measured: bool = False
    """Whether CloudWatch gets the metrics of the group that the stack's alarms need."""


@dataclass(frozen=True)
class GroupArgs:
    """`after` is what the group's machines, or their target group, need before the first of them starts."""

    entry: Entry
    network: Network
    tuning: Tuning
    template: ec2.LaunchTemplate
    target_group: lb.TargetGroup
    tags: Sequence[autoscaling.GroupTagArgs]
    after: Sequence[pulumi.Resource]


def scaling_group(args: GroupArgs, opts: pulumi.ResourceOptions) -> autoscaling.Group:
    """Declare the auto scaling group of a release and its scaling policy, under the release's id."""
    name, tuning = args.entry.release, args.tuning
    group = autoscaling.Group(
        name,
        min_size=0,
        max_size=args.entry.max_size,
        desired_capacity=0,
        vpc_zone_identifiers=args.network.subnet_ids,
        target_group_arns=[args.target_group.arn],
        health_check_type="ELB",
        health_check_grace_period=tuning.grace,
        default_instance_warmup=tuning.warmup,
        # At a rebalance recommendation another machine comes first; at the notice this one drains at once.
        capacity_rebalance=args.entry.machine.on_demand_percent < ALL_ON_DEMAND,
        instance_maintenance_policy=autoscaling.GroupInstanceMaintenancePolicyArgs(
            min_healthy_percentage=tuning.healthy_percent.min,
            max_healthy_percentage=tuning.healthy_percent.max,
        ),
        # The rollout waits for capacity, with reasons; and what a deleted release still runs is ended at once.
        wait_for_capacity_timeout="0",
        force_delete=True,
        mixed_instances_policy=mixed_instances(args.entry.machine, args.template),
        tags=args.tags,
        enabled_metrics=[autoscaling.Metric(each) for each in GROUP_METRICS] if tuning.measured else None,
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(ignore_changes=["desiredCapacity", "minSize", "warmPool"], depends_on=args.after),
        ),
    )
    autoscaling.Policy(
        name,
        autoscaling_group_name=group.name,
        policy_type="TargetTrackingScaling",
        target_tracking_configuration=_target(args),
        opts=opts,
    )
    return group


def _target(args: GroupArgs) -> autoscaling.PolicyTargetTrackingConfigurationArgs:
    """What target tracking maintains: requests, of which CloudWatch knows by load balancer and target group, or CPU."""
    requests = args.tuning.requests_per_target
    if requests is None:
        return autoscaling.PolicyTargetTrackingConfigurationArgs(
            predefined_metric_specification=(
                autoscaling.PolicyTargetTrackingConfigurationPredefinedMetricSpecificationArgs(
                    predefined_metric_type="ASGAverageCPUUtilization"
                )
            ),
            target_value=args.tuning.cpu_percent,
        )
    return autoscaling.PolicyTargetTrackingConfigurationArgs(
        predefined_metric_specification=(
            autoscaling.PolicyTargetTrackingConfigurationPredefinedMetricSpecificationArgs(
                predefined_metric_type="ALBRequestCountPerTarget",
                resource_label=pulumi.Output.concat(args.tuning.balancer, "/", args.target_group.arn_suffix),
            )
        ),
        target_value=requests,
    )
