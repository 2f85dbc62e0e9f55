"""Auto scaling groups and scaling policies: facts and API calls of each type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from engine.aws_plugin.compare import Rules
from engine.aws_plugin.convert import from_api, to_api
from engine.aws_plugin.kind import Call, Kind, OperationError, code, unique_name
from engine.aws_plugin.wire import Props

_PLAIN = {
    "capacityRebalance": "CapacityRebalance",
    "context": "Context",
    "defaultCooldown": "DefaultCooldown",
    "defaultInstanceWarmup": "DefaultInstanceWarmup",
    "desiredCapacity": "DesiredCapacity",
    "desiredCapacityType": "DesiredCapacityType",
    "healthCheckGracePeriod": "HealthCheckGracePeriod",
    "healthCheckType": "HealthCheckType",
    "instanceMaintenancePolicy": "InstanceMaintenancePolicy",
    "maxInstanceLifetime": "MaxInstanceLifetime",
    "maxSize": "MaxSize",
    "minSize": "MinSize",
    "placementGroup": "PlacementGroup",
    "protectFromScaleIn": "NewInstancesProtectedFromScaleIn",
    "serviceLinkedRoleArn": "ServiceLinkedRoleARN",
    "terminationPolicies": "TerminationPolicies",
    "availabilityZones": "AvailabilityZones",
}
"""Properties that create, update and describe all call the same."""

_TEMPLATE_RENAMES = {
    "id": "LaunchTemplateId",
    "name": "LaunchTemplateName",
}
_OWN_CALLS = {"suspendedProcesses", "enabledMetrics", "metricsGranularity", "targetGroupArns", "tags"}


class Group(Kind):
    """An auto scaling group (`aws_autoscaling_group`)."""

    type_name = "aws:autoscaling/group:Group"
    noun = "Auto Scaling Group"
    supported = frozenset(
        {"name", "namePrefix", "launchTemplate", "mixedInstancesPolicy", "vpcZoneIdentifiers", "region"}
        | {*_PLAIN, *_OWN_CALLS, "forceDelete", "waitForCapacityTimeout", "ignoreFailedScalingActivities"}
    )
    replace = frozenset({"name", "namePrefix", "placementGroup"})
    defaults: ClassVar[Props] = {
        "forceDelete": False,
        "forceDeleteWarmPool": False,
        "healthCheckGracePeriod": 300,
        "ignoreFailedScalingActivities": False,
        "metricsGranularity": "1Minute",
        "protectFromScaleIn": False,
        "waitForCapacityTimeout": "10m",
    }
    computed = frozenset(
        {"arn", "name", "namePrefix", "availabilityZones", "defaultCooldown", "desiredCapacity", "healthCheckType"}
        | {"loadBalancers", "predictedCapacity", "serviceLinkedRoleArn", "targetGroupArns", "trafficSources"}
        | {"vpcZoneIdentifiers", "warmPoolSize", "availabilityZoneDistribution", "capacityReservationSpecification"}
    )
    rules = Rules(
        sets=frozenset(
            {"availabilityZones", "enabledMetrics", "suspendedProcesses", "tags", "targetGroupArns"}
            | {"vpcZoneIdentifiers"}
        )
    )
    name_length = 255
    timeout = 600.0

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """What is launched, and the bounds."""
        given = [name for name in ("launchTemplate", "mixedInstancesPolicy") if props.get(name)]
        if len(given) != 1:
            yield "launchTemplate", "a group has exactly one of launchTemplate, mixedInstancesPolicy"
        sizes = [props[name] for name in ("minSize", "desiredCapacity", "maxSize") if name in props]
        if all(isinstance(size, int) for size in sizes) and sizes != sorted(sizes):
            yield "desiredCapacity", f"minSize ≤ desiredCapacity ≤ maxSize does not hold: {sizes}"
        if isinstance(limit := props.get("waitForCapacityTimeout"), str):
            try:
                _seconds(limit)
            except ValueError as error:
                yield "waitForCapacityTimeout", str(error)

    def _arguments(self, call: Call, operation: str, props: Props, names: frozenset[str]) -> dict[str, Any]:
        """These properties as parameters of CreateAutoScalingGroup or UpdateAutoScalingGroup."""
        model = call.client("autoscaling").meta.service_model.operation_model(operation)
        members = model.input_shape.members
        arguments = {
            api: to_api(props[name], members[api], {}, name)
            for name, api in _PLAIN.items()
            if name in names and props.get(name) not in (None, "", [], {})
        }
        if "launchTemplate" in names and props.get("launchTemplate"):
            shape = members["LaunchTemplate"]
            arguments["LaunchTemplate"] = to_api(props["launchTemplate"], shape, _TEMPLATE_RENAMES, "launchTemplate")
        if "mixedInstancesPolicy" in names and props.get("mixedInstancesPolicy"):
            shape, policy = members["MixedInstancesPolicy"], props["mixedInstancesPolicy"]
            arguments["MixedInstancesPolicy"] = to_api(policy, shape, {}, "mixedInstancesPolicy")
        if "vpcZoneIdentifiers" in names and props.get("vpcZoneIdentifiers"):
            arguments["VPCZoneIdentifier"] = ",".join(props["vpcZoneIdentifiers"])
        return arguments

    def create(self, call: Call, props: Props) -> str:
        """Make it, suspend and measure what was asked for, then wait for its capacity."""
        api = call.client("autoscaling")
        name = unique_name(props, self.name_length)
        arguments = self._arguments(call, "CreateAutoScalingGroup", props, frozenset(props))
        if props.get("targetGroupArns"):
            arguments["TargetGroupARNs"] = props["targetGroupArns"]
        if props.get("tags"):
            arguments["Tags"] = [_api_tag(name, tag) for tag in props["tags"]]
        api.create_auto_scaling_group(AutoScalingGroupName=name, **arguments)
        call.made = name
        if props.get("suspendedProcesses"):
            api.suspend_processes(AutoScalingGroupName=name, ScalingProcesses=props["suspendedProcesses"])
        if props.get("enabledMetrics"):
            api.enable_metrics_collection(
                AutoScalingGroupName=name, Metrics=props["enabledMetrics"], Granularity=props["metricsGranularity"]
            )
        self._wait_for_capacity(call, name, props)
        return name

    def _wait_for_capacity(self, call: Call, name: str, props: Props) -> None:
        """As Terraform: until as many instances are in service as are desired (or the minimum); "0" does not wait."""
        limit = _seconds(str(props.get("waitForCapacityTimeout") or "10m"))
        wanted = int(props.get("desiredCapacity") or props.get("minSize") or 0)
        if limit == 0 or wanted == 0:
            return

        def reached() -> bool:
            group = _describe(call, name) or {}
            ready = [
                item
                for item in group.get("Instances", [])
                if item.get("LifecycleState") == "InService" and str(item.get("HealthStatus")).lower() == "healthy"
            ]
            if len(ready) < wanted and not props.get("ignoreFailedScalingActivities"):
                _raise_failed_activity(call, name)
            return len(ready) >= wanted

        call.wait(f"group {name} reaching {wanted} instances in service", reached, seconds=limit)

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The group."""
        group = _describe(call, resource_id)
        if group is None:
            return None
        inputs = self.schema.inputs
        found = {name: from_api(group.get(api), inputs[name].type, {}) for name, api in _PLAIN.items()}
        template = group.get("LaunchTemplate")
        return {
            **found,
            "name": group["AutoScalingGroupName"],
            "arn": group.get("AutoScalingGroupARN"),
            "launchTemplate": from_api(template, inputs["launchTemplate"].type, _TEMPLATE_RENAMES),
            "mixedInstancesPolicy": from_api(
                group.get("MixedInstancesPolicy"), inputs["mixedInstancesPolicy"].type, {}
            ),
            "vpcZoneIdentifiers": [item for item in (group.get("VPCZoneIdentifier") or "").split(",") if item],
            "targetGroupArns": group.get("TargetGroupARNs", []),
            "loadBalancers": group.get("LoadBalancerNames", []),
            "trafficSources": from_api(group.get("TrafficSources", []), inputs["trafficSources"].type, {}),
            "suspendedProcesses": [item["ProcessName"] for item in group.get("SuspendedProcesses", [])],
            "enabledMetrics": [item["Metric"] for item in group.get("EnabledMetrics", [])],
            # AWS tells "Default" where nothing was given
            "terminationPolicies": None
            if found["terminationPolicies"] == ["Default"]
            else found["terminationPolicies"],
            "predictedCapacity": group.get("PredictedCapacity", 0),
            "warmPool": from_api(_warm_pool(group), inputs["warmPool"].type, {}),
            "warmPoolSize": group.get("WarmPoolSize", 0),
            "tags": [
                {"key": tag["Key"], "value": tag.get("Value", ""), "propagateAtLaunch": bool(tag["PropagateAtLaunch"])}
                for tag in group.get("Tags", [])
            ],
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Only what changed: capacity that a scaling policy or a rollout has moved is not put back."""
        api = call.client("autoscaling")
        arguments = self._arguments(call, "UpdateAutoScalingGroup", new, changed)
        if arguments:
            api.update_auto_scaling_group(AutoScalingGroupName=resource_id, **arguments)
        self._update_tags(call, resource_id, old, new)
        for name, add, take, key in (
            (
                "targetGroupArns",
                api.attach_load_balancer_target_groups,
                api.detach_load_balancer_target_groups,
                "TargetGroupARNs",
            ),
            ("suspendedProcesses", api.suspend_processes, api.resume_processes, "ScalingProcesses"),
        ):
            before, after = set(old.get(name) or []), set(new.get(name) or [])
            if name in changed and after - before:
                add(AutoScalingGroupName=resource_id, **{key: sorted(after - before)})
            if name in changed and before - after:
                take(AutoScalingGroupName=resource_id, **{key: sorted(before - after)})
        if changed & {"enabledMetrics", "metricsGranularity"}:
            before, after = set(old.get("enabledMetrics") or []), set(new.get("enabledMetrics") or [])
            if before - after:
                api.disable_metrics_collection(AutoScalingGroupName=resource_id, Metrics=sorted(before - after))
            if after:
                api.enable_metrics_collection(
                    AutoScalingGroupName=resource_id, Metrics=sorted(after), Granularity=new["metricsGranularity"]
                )
        if "warmPool" in changed:  # only one that is there can be taken away: none is declared (`supported`)
            self._delete_warm_pool(call, resource_id, force=bool(new.get("forceDelete")))
        if changed & {"minSize", "desiredCapacity"}:
            self._wait_for_capacity(call, resource_id, new)

    @staticmethod
    def _update_tags(call: Call, group: str, old: Props, new: Props) -> None:
        before = {tag["key"]: tag for tag in old.get("tags") or []}
        after = {tag["key"]: tag for tag in new.get("tags") or []}
        api = call.client("autoscaling")
        if removed := [tag for key, tag in before.items() if key not in after]:
            api.delete_tags(Tags=[_api_tag(group, tag) for tag in removed])
        if set_now := [tag for key, tag in after.items() if before.get(key) != tag]:
            api.create_or_update_tags(Tags=[_api_tag(group, tag) for tag in set_now])

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """With `forceDelete` at once and with its instances; without it, scale to 0, wait, then delete."""
        api = call.client("autoscaling")
        group = _describe(call, resource_id)
        if group is None:
            return
        force = bool(known.get("forceDelete"))
        if group.get("WarmPoolConfiguration"):
            self._delete_warm_pool(call, resource_id, force=force)
        if not force and (group.get("Instances") or group.get("DesiredCapacity")):
            api.update_auto_scaling_group(AutoScalingGroupName=resource_id, MinSize=0, MaxSize=0, DesiredCapacity=0)
            call.wait(
                f"group {resource_id} losing its instances",
                lambda: not (_describe(call, resource_id) or {}).get("Instances"),
            )
        try:
            call.retry(
                {"ResourceInUse", "ResourceInUseFault", "ScalingActivityInProgress", "ScalingActivityInProgressFault"},
                lambda: api.delete_auto_scaling_group(AutoScalingGroupName=resource_id, ForceDelete=force),
            )
        except ClientError as error:
            if not (code(error) == "ValidationError" and "not found" in str(error)):
                raise
        call.wait(f"group {resource_id} going away", lambda: _describe(call, resource_id) is None)

    @staticmethod
    def _delete_warm_pool(call: Call, group: str, *, force: bool) -> None:
        """As Terraform: until DescribeWarmPool shows none (terraform-provider-aws, group.go)."""
        api = call.client("autoscaling")
        try:
            call.retry(
                {"ResourceInUse", "ResourceInUseFault", "ScalingActivityInProgress", "ScalingActivityInProgressFault"},
                lambda: api.delete_warm_pool(AutoScalingGroupName=group, ForceDelete=force),
            )
        except ClientError as error:
            if not (code(error) == "ValidationError" and "No warm pool found" in str(error)):
                raise
        call.wait(
            f"the warm pool of group {group} going away",
            lambda: not api.describe_warm_pool(AutoScalingGroupName=group).get("WarmPoolConfiguration"),
        )


def _warm_pool(group: dict[str, Any]) -> dict[str, Any] | None:
    """That of a group as the plugin shows it: without the status, and with -1 where AWS tells no maximum."""
    found = group.get("WarmPoolConfiguration")
    return {"MaxGroupPreparedCapacity": -1, **found} if found else None


def _describe(call: Call, name: str) -> dict[str, Any] | None:
    answer = call.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    groups = answer["AutoScalingGroups"]
    return dict(groups[0]) if groups else None


def _raise_failed_activity(call: Call, name: str) -> None:
    """An instance that cannot be launched fails the group at once, with AWS's reason."""
    answer = call.client("autoscaling").describe_scaling_activities(AutoScalingGroupName=name, MaxRecords=10)
    for activity in answer.get("Activities", []):
        if activity.get("StatusCode") == "Failed":
            message = f"scaling activity failed: {activity.get('StatusMessage') or activity.get('Description')}"
            raise OperationError(message)


def _api_tag(group: str, tag: Props) -> dict[str, Any]:
    return {
        "ResourceId": group,
        "ResourceType": "auto-scaling-group",
        "Key": tag["key"],
        "Value": tag["value"],
        "PropagateAtLaunch": tag["propagateAtLaunch"],
    }


def _seconds(duration: str) -> float:
    """A Go duration such as `10m` or `1h30m` in seconds; raises ValueError if it is none."""
    if duration == "0":
        return 0.0
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        message = f"{duration!r} is not a duration such as 10m, 90s or 0"
        raise ValueError(message)
    return sum(float(number) * units[unit] for number, unit in parts)


_POLICY = {
    "adjustmentType": "AdjustmentType",
    "cooldown": "Cooldown",
    "enabled": "Enabled",
    "estimatedInstanceWarmup": "EstimatedInstanceWarmup",
    "metricAggregationType": "MetricAggregationType",
    "minAdjustmentMagnitude": "MinAdjustmentMagnitude",
    "policyType": "PolicyType",
    "predictiveScalingConfiguration": "PredictiveScalingConfiguration",
    "scalingAdjustment": "ScalingAdjustment",
    "stepAdjustments": "StepAdjustments",
    "targetTrackingConfiguration": "TargetTrackingConfiguration",
}
_POLICY_RENAMES = {
    "metricDimensions": "Dimensions",
    "dimensions": "Dimensions",
    "metricDataQueries": "MetricDataQueries",
    "metricSpecification": "MetricSpecifications",
}


class Policy(Kind):
    """A scaling policy of a group (`aws_autoscaling_policy`)."""

    type_name = "aws:autoscaling/policy:Policy"
    noun = "Auto Scaling Policy"
    supported = frozenset({"autoscalingGroupName", "name", "region", *_POLICY})
    replace = frozenset({"autoscalingGroupName", "name"})
    defaults: ClassVar[Props] = {"enabled": True, "policyType": "SimpleScaling"}
    computed = frozenset({"arn", "metricAggregationType"})
    name_length = 255

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """The configuration that the type of policy needs."""
        needed = {
            "TargetTrackingScaling": "targetTrackingConfiguration",
            "PredictiveScaling": "predictiveScalingConfiguration",
            "StepScaling": "stepAdjustments",
        }.get(str(props.get("policyType")))
        if needed and not props.get(needed):
            yield needed, f"a policy of type {props['policyType']} needs it"

    def _put(self, call: Call, props: Props) -> None:
        api = call.client("autoscaling")
        members = api.meta.service_model.operation_model("PutScalingPolicy").input_shape.members
        arguments = {
            name_there: to_api(props[name], members[name_there], _POLICY_RENAMES, name)
            for name, name_there in _POLICY.items()
            if props.get(name) is not None and props[name] not in ([], {})
        }
        api.put_scaling_policy(
            AutoScalingGroupName=props["autoscalingGroupName"], PolicyName=props["name"], **arguments
        )

    def create(self, call: Call, props: Props) -> str:
        """Put it."""
        self._put(call, props)
        call.made = str(props["name"])
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The policy; an import id is `GROUP/POLICY`."""
        group, name = known.get("autoscalingGroupName"), resource_id
        if not group:
            group, _, name = resource_id.partition("/")
        try:
            answer = call.client("autoscaling").describe_policies(AutoScalingGroupName=group, PolicyNames=[name])
        except ClientError as error:
            if code(error) == "ValidationError":  # the group is gone, and its policies with it
                return None
            raise
        if not answer["ScalingPolicies"]:
            return None
        policy = answer["ScalingPolicies"][0]
        inputs = self.schema.inputs
        found = {key: from_api(policy.get(api), inputs[key].type, _POLICY_RENAMES) for key, api in _POLICY.items()}
        return {
            **found,
            "id": name,
            "name": name,
            "autoscalingGroupName": group,
            "arn": policy["PolicyARN"],
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Put it again: the call replaces the policy of that name."""
        self._put(call, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it; with its group gone it is gone."""
        try:
            call.client("autoscaling").delete_policy(
                AutoScalingGroupName=known["autoscalingGroupName"], PolicyName=resource_id
            )
        except ClientError as error:
            if code(error) != "ValidationError":
                raise
