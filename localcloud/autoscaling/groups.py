"""The calls of EC2 Auto Scaling as strict as AWS: what CreateAutoScalingGroup and its kin refuse, keep and show.

Decides what a request may ask of a group and what of it lasts. What follows from it (launching, retiring) is in
`scaling`, and what a policy does in `target_tracking`.

Sources: EC2 Auto Scaling API reference (CreateAutoScalingGroup, UpdateAutoScalingGroup, DeleteAutoScalingGroup,
DescribeScalingActivities, PutScalingPolicy) and the user guide ("Target tracking scaling policies").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import InvalidSubnetIdError

from localcloud.autoscaling import maintenance, mixed_instances, scaling, target_tracking, warm_pool
from localcloud.moto_state import backend
from localcloud.parameters import MAX_TAGS

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

_create_group, _create_response = (
    AutoScalingBackend.create_auto_scaling_group,
    AutoScalingResponse.create_auto_scaling_group,
)
_put_policy = AutoScalingBackend.put_scaling_policy
_put_tags, _delete_tags = AutoScalingBackend.create_or_update_tags, AutoScalingBackend.delete_tags

# Members that moto's group lacks or changes on the way, with the attribute that its serializer looks for.
_EXTRA = {
    "CapacityRebalance": "capacity_rebalance",
    "DefaultCooldown": "default_cooldown",
    "DefaultInstanceWarmup": "default_instance_warmup",
    "HealthCheckGracePeriod": "health_check_grace_period",
    "InstanceMaintenancePolicy": "instance_maintenance_policy",
    "MaxInstanceLifetime": "max_instance_lifetime",
    "TerminationPolicies": "termination_policies",
}

_UNASKED = {
    "availability_zone_distribution": {"CapacityDistributionStrategy": "balanced-best-effort"},
    "availability_zone_impairment_policy": {
        "ZonalShiftEnabled": False,
        "ImpairedZoneHealthCheckBehavior": "IgnoreUnhealthy",
    },
    "capacity_reservation_specification": {"CapacityReservationPreference": "default"},
}
"""What AWS tells of every group, and nothing here can change."""

MAX_WARMUP = 3_600  # seconds; user guide, "Set the default instance warmup"
_HEALTH_CHECKS = {"EC2", "ELB", "VPC_LATTICE", "EBS"}  # API reference: HealthCheckType
_POLICIES = {
    "PredictiveScaling": "PredictiveScalingConfiguration",
    "SimpleScaling": "ScalingAdjustment",
    "StepScaling": "StepAdjustments",
    "TargetTrackingScaling": "TargetTrackingConfiguration",
}
"""Types of scaling policies, with the member that each needs (API reference: PutScalingPolicy)."""


def patch(patches: Patches) -> None:
    """Make the calls strict."""
    patches.methods(FakeAutoScalingGroup, update)
    patches.set(AutoScalingBackend, "create_auto_scaling_group", _create)
    patches.methods(AutoScalingBackend, put_scaling_policy, delete_policy, execute_policy)
    patches.set(FakeAutoScalingGroup, "traffic_sources", property(_traffic_sources))
    for attribute, value in _UNASKED.items():
        patches.set(FakeAutoScalingGroup, attribute, value)
    patches.methods(AutoScalingBackend, create_or_update_tags, delete_tags)
    patches.methods(
        AutoScalingResponse,
        create_auto_scaling_group,
        update_auto_scaling_group,
        delete_auto_scaling_group,
        set_desired_capacity,
        describe_scaling_activities,
    )
    patches.set(AutoScalingResponse, "put_scaling_policy", _put_response)


def named(response: Moto) -> Moto:
    """The group that the request names. AWS answers ValidationError for an unknown one; moto a 500."""
    name = response._get_param("AutoScalingGroupName")
    group = response.autoscaling_backend.autoscaling_groups.get(name)
    if group is None:
        raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    return group


def _check_bounds(minimum: int | None, maximum: int | None, desired: int | None) -> None:
    if minimum is None or maximum is None:
        raise ValidationError("MinSize and MaxSize are required")
    if min(minimum, maximum) < 0:
        raise ValidationError("MinSize and MaxSize must be at least 0")
    if maximum < minimum:
        raise ValidationError(f"Max bound, {maximum}, must be greater than or equal to min bound, {minimum}")
    if desired is not None and not minimum <= desired <= maximum:
        raise ValidationError(
            f"Desired capacity:{desired} must be between the specified min size:{minimum} and max size:{maximum}"
        )


def _create(self: Moto, name: str, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS checks name, bounds, subnets and target groups first; moto replaces a group of the same name."""
    if name in self.autoscaling_groups:
        raise AutoscalingClientError(
            "AlreadyExists",
            f"AutoScalingGroup by this name already exists - A group with the name {name} already exists",
        )
    _check_bounds(kwargs["min_size"], kwargs["max_size"], kwargs["desired_capacity"])
    mixed_instances.check(self.ec2_backend, kwargs.get("launch_template"), kwargs.get("mixed_instances_policy"))
    kwargs["mixed_instances_policy"] = mixed_instances.whole(kwargs.get("mixed_instances_policy"))
    unknown = [arn for arn in kwargs["target_group_arns"] if arn not in self.elbv2_backend.target_groups]
    if unknown:
        raise ValidationError(f"Provided Target Groups may not be valid. Unknown: {', '.join(unknown)}")
    wanted = kwargs["min_size"] if kwargs["desired_capacity"] is None else kwargs["desired_capacity"]
    scaling.new_book(self, name)
    try:
        # Created empty and filled afterwards, so that nothing that fails while launching leaves half a group.
        group = _create_group(self, name, **{**kwargs, "desired_capacity": 0})
        if group.ec2_launch_template is not None:
            group.ec2_launch_template.get_version(group.launch_template_version)
    except InvalidSubnetIdError as error:
        raise ValidationError(f"The subnet ID is not valid: {error.message}") from None
    except ServiceException as error:
        self.autoscaling_groups.pop(name, None)
        if error.code.startswith("InvalidLaunchTemplate"):
            raise ValidationError(f"You must use a valid fully-formed launch template. {error.message}") from None
        raise
    group.set_desired_capacity(wanted)
    return group


def _traffic_sources(self: Moto) -> list[dict[str, str]]:
    """AWS tells the target groups in this way, too; moto does not."""
    return [{"Identifier": arn, "Type": "elbv2"} for arn in self.target_group_arns]


def create_auto_scaling_group(self: Moto) -> Moto:
    """AWS keeps every member; moto drops some and turns a grace period of 0 into 300."""
    _check_extra(self._get_params())
    answer = _create_response(self)
    _keep_extra(self, named(self))
    return answer


def update_auto_scaling_group(self: Moto) -> Moto:
    """AWS changes what is named and keeps the rest; moto forgets the mixed instances policy."""
    group = named(self)
    _check_extra(self._get_params())
    members = {
        "availability_zones": self._get_param("AvailabilityZones", []),
        "desired_capacity": self._get_int_param("DesiredCapacity"),
        "max_size": self._get_int_param("MaxSize"),
        "min_size": self._get_int_param("MinSize"),
        "launch_config_name": self._get_param("LaunchConfigurationName"),
        "launch_template": self._get_param("LaunchTemplate", {}),
        "vpc_zone_identifier": self._get_param("VPCZoneIdentifier"),
        "health_check_period": self._get_int_param("HealthCheckGracePeriod"),
        "health_check_type": self._get_param("HealthCheckType"),
        "new_instances_protected_from_scale_in": self._get_bool_param("NewInstancesProtectedFromScaleIn", None),
        "mixed_instances_policy": self._get_params().get("MixedInstancesPolicy"),
    }
    mixed_instances.check(
        self.autoscaling_backend.ec2_backend, members["launch_template"], members["mixed_instances_policy"]
    )
    if group.warm_pool is not None and members["mixed_instances_policy"]:
        warm_pool.check(members["mixed_instances_policy"], None)
    group.update(**members)
    _keep_extra(self, group)
    return EmptyResult()


def _check_extra(params: dict[str, Any]) -> None:
    maintenance.check(params.get("InstanceMaintenancePolicy"))
    warmup = params.get("DefaultInstanceWarmup")
    if warmup is not None and not -1 <= int(warmup) <= MAX_WARMUP:  # -1 takes a default away
        raise ValidationError(f"DefaultInstanceWarmup must be between 0 and {MAX_WARMUP}, not {warmup}")
    if int(params.get("HealthCheckGracePeriod") or 0) < 0:
        raise ValidationError("HealthCheckGracePeriod must be at least 0")
    checks = set((params.get("HealthCheckType") or "EC2").split(","))
    if not checks <= _HEALTH_CHECKS:
        raise ValidationError(f"Invalid HealthCheckType: {', '.join(sorted(checks - _HEALTH_CHECKS))}")


def _keep_extra(response: Moto, group: Moto) -> None:
    params = response._get_params()
    for member, attribute in _EXTRA.items():
        if member in params:
            setattr(group, attribute, params[member])
    group.instance_maintenance_policy = maintenance.kept(group.instance_maintenance_policy)
    if params.get("DefaultInstanceWarmup") == -1:
        group.default_instance_warmup = None


def update(self: Moto, **asked: Any) -> None:  # noqa: ANN401 - moto's own arguments
    """AWS checks bounds, moves the desired capacity into them, and keeps what is not named."""
    minimum = self.min_size if asked["min_size"] is None else asked["min_size"]
    maximum = self.max_size if asked["max_size"] is None else asked["max_size"]
    _check_bounds(minimum, maximum, asked["desired_capacity"])
    if asked["availability_zones"] or asked["vpc_zone_identifier"]:
        self._set_azs_and_vpcs(asked["availability_zones"], asked["vpc_zone_identifier"], update=True)
    if asked["launch_config_name"] or asked["launch_template"] or asked["mixed_instances_policy"]:
        self.mixed_instances_policy = mixed_instances.whole(asked["mixed_instances_policy"])
        self._set_launch_configuration(
            asked["launch_config_name"], asked["launch_template"], asked["mixed_instances_policy"]
        )
    for name in ("health_check_type", "new_instances_protected_from_scale_in"):
        if asked[name] is not None:
            setattr(self, name, asked[name])
    self.min_size, self.max_size = minimum, maximum
    desired = self.desired_capacity if asked["desired_capacity"] is None else asked["desired_capacity"]
    self.set_desired_capacity(min(max(desired, minimum), maximum))


def delete_auto_scaling_group(self: Moto) -> Moto:
    """AWS refuses to delete a group that has instances, unless forced; moto always deletes."""
    group = named(self)
    if group.instance_states and not self._get_bool_param("ForceDelete"):
        raise AutoscalingClientError(
            "ResourceInUse",
            "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s)"
            f" still in the group: {group.name}",
        )
    scaling.end_all(group)
    autoscaling = self.autoscaling_backend
    del autoscaling.autoscaling_groups[group.name]
    for key in [key for key, policy in autoscaling.policies.items() if policy.auto_scaling_group_name == group.name]:
        autoscaling.delete_policy(key)
    return EmptyResult()


def set_desired_capacity(self: Moto) -> Moto:
    """AWS refuses a capacity out of bounds; moto takes it."""
    group, desired = named(self), self._get_int_param("DesiredCapacity")
    if desired > group.max_size:
        raise ValidationError(
            f"New SetDesiredCapacity value {desired} is above max value {group.max_size} for the AutoScalingGroup."
        )
    if desired < group.min_size:
        raise ValidationError(
            f"New SetDesiredCapacity value {desired} is below min value {group.min_size} for the AutoScalingGroup."
        )
    group.set_desired_capacity(desired)
    return EmptyResult()


def describe_scaling_activities(self: Moto) -> Moto:
    """AWS tells what it did, newest first; moto nothing."""
    name = self._get_param("AutoScalingGroupName")
    if name is not None and not self._get_bool_param("IncludeDeletedGroups"):
        named(self)
    wanted = self._get_param("ActivityIds", [])
    found = [a for a in scaling.all_activities(name) if not wanted or a.activity_id in wanted]
    limit = min(self._get_int_param("MaxRecords") or 100, 100)
    start = int(self._get_param("NextToken") or 0)
    left = found[start:]
    token = str(start + limit) if len(left) > limit else None
    return ActionResult({"Activities": left[:limit], "NextToken": token})


def put_scaling_policy(self: Moto, name: str, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS keeps policies by group and name; moto by name, so two groups cannot have one of the same name."""
    policy = _put_policy(self, name, *args, **kwargs)
    key = f"{policy.auto_scaling_group_name}/{name}"
    before = self.policies.pop(key, None)
    del self.policies[name]
    self.policies[key] = policy
    policy.alarms = before.alarms if before is not None else []
    policy.enabled = True
    if policy.target_tracking_configuration is not None:
        vars(policy.target_tracking_configuration).setdefault("DisableScaleIn", False)
    if policy.policy_type == "TargetTrackingScaling":
        policy.alarms = target_tracking.alarms(policy)
    return policy


def _put_response(self: Moto) -> Moto:
    """AWS answers with the policy's ARN and alarms; moto names the member wrongly, so that it is lost."""
    group, params = named(self), self._get_params()
    kind = params.get("PolicyType", "SimpleScaling")
    if kind not in _POLICIES:
        raise ValidationError(f"PolicyType must be one of {', '.join(_POLICIES)}, not {kind}")
    if params.get(_POLICIES[kind]) in (None, [], {}):
        raise ValidationError(f"A policy of type {kind} needs {_POLICIES[kind]}")
    if kind == "TargetTrackingScaling":
        target_tracking.check(group, params["TargetTrackingConfiguration"])
    policy = self.autoscaling_backend.put_scaling_policy(
        name=params["PolicyName"],
        policy_type=params.get("PolicyType", "SimpleScaling"),
        metric_aggregation_type=params.get("MetricAggregationType"),
        adjustment_type=params.get("AdjustmentType"),
        as_name=group.name,
        min_adjustment_magnitude=params.get("MinAdjustmentMagnitude"),
        scaling_adjustment=self._get_int_param("ScalingAdjustment"),
        cooldown=self._get_int_param("Cooldown"),
        target_tracking_config=params.get("TargetTrackingConfiguration", {}),
        step_adjustments=params.get("StepAdjustments", []),
        estimated_instance_warmup=params.get("EstimatedInstanceWarmup"),
        predictive_scaling_configuration=params.get("PredictiveScalingConfiguration"),
    )
    policy.enabled = params.get("Enabled", True)
    return ActionResult({"PolicyARN": policy.arn, "Alarms": policy.alarms})


def create_or_update_tags(self: Moto, tags: list[dict[str, str]]) -> None:
    """AWS checks every group first; moto tags some and answers 500."""
    _check_groups(self, tags)
    for name in {tag["ResourceId"] for tag in tags}:
        keys = {tag["Key"] for tag in self.autoscaling_groups[name].tags if not tag["Key"].startswith("aws:")}
        if len(keys | {tag["Key"] for tag in tags if tag["ResourceId"] == name}) > MAX_TAGS:
            raise AutoscalingClientError("LimitExceeded", f"A group has at most {MAX_TAGS} tags: {name}")
    _put_tags(self, tags)


def delete_tags(self: Moto, tags: list[dict[str, str]]) -> None:
    """As `create_or_update_tags`."""
    _check_groups(self, tags)
    _delete_tags(self, tags)


def _check_groups(autoscaling: Moto, tags: list[dict[str, str]]) -> None:
    for tag in tags:
        if tag["ResourceId"] not in autoscaling.autoscaling_groups:
            raise ValidationError(f"AutoScalingGroup name not found - no such group: {tag['ResourceId']}")


def _find_policy(autoscaling: Moto, name: str) -> str | None:
    """The key of a policy, by its key, its name or its ARN."""
    return next((key for key, policy in autoscaling.policies.items() if name in {key, policy.name, policy.arn}), None)


def delete_policy(self: Moto, group_name: str) -> None:
    """AWS takes the policy's alarms with it. Moto calls the policy's name `group_name`."""
    key = _find_policy(self, group_name)
    if key is not None:
        backend("cloudwatch").delete_alarms([alarm["AlarmName"] for alarm in self.policies.pop(key).alarms])


def execute_policy(self: Moto, group_name: str) -> None:
    """See `put_scaling_policy`."""
    key = _find_policy(self, group_name)
    if key is None:
        raise ValidationError(f"No policy named {group_name}")
    self.policies[key].execute()
