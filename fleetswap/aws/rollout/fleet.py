"""The machines of a rollout: the minimum and desired capacity of auto scaling groups, their failures, and consoles.

It writes a group's minimum and desired capacity, the tags of the rollout, the one scheduled action of a standby, the
warm pool, and the share of On-Demand Instances. Launching, replacing and terminating machines is the group's own work.
This module never decides how many there should be. Implements `fleetswap.workflows.rollout.ports.Fleet`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from fleetswap.aws.answers import answered_at
from fleetswap.aws.errors import code, explained
from fleetswap.domain import tags as names
from fleetswap.domain.errors import TryAgain
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.health import Failure, Machine
from fleetswap.domain.rollout.model import Group, ReleaseTarget
from fleetswap.domain.rollout.schedules import ACTION, Schedule, digest, due
from fleetswap.domain.rollout.warm_pool import EMPTY, WarmPool
from fleetswap.domain.secrets.key_state import is_key
from fleetswap.domain.text import capacity, one_line

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_autoscaling.type_defs import TagTypeDef
    from mypy_boto3_ec2 import EC2Client

SOONEST_SECONDS = 5
"""A start that has passed when the request arrives is refused (PutScheduledUpdateGroupAction)."""

FILTER_VALUES = 200
"""Values that one filter may have (EC2 API reference, DescribeInstances)."""

PENDING_DELETE = "PendingDelete"
"""Of a warm pool that is being deleted (API reference, WarmPoolConfiguration, Status)."""

UNLIMITED = -1
"""MaxGroupPreparedCapacity of a pool that goes by the group's maximum instead (API reference, PutWarmPool)."""

RECENT = 20
"""Scaling activities that are looked at, newest first: more than a group can fail at during one rollout's patience."""

NO_LATEST = frozenset({"UnsupportedOperation", "InvalidParameterCombination", "InvalidParameterValue"})
"""What EC2 answers to `Latest` for an instance type that is not built on Nitro (GetConsoleOutput)."""


@dataclass(frozen=True)
class FoundGroup:
    """An auto scaling group as its tags show it: the stack and the release that it belongs to, and its size."""

    stack: str
    target: ReleaseTarget
    desired: int
    size: str
    """The same in words."""


def found_groups(autoscaling: AutoScalingClient, service: str) -> tuple[FoundGroup, ...]:
    """Every auto scaling group of a service that has a target group, the largest first.

    Several may have the tags and the target group of one release: a deployer that died while a group was made leaves
    one that nobody knows of. Raises `TryAgain` or `CloudError`.
    """
    found = []
    with explained("autoscaling:DescribeAutoScalingGroups", f"{names.SERVICE}={service}"):
        pages = autoscaling.get_paginator("describe_auto_scaling_groups").paginate(
            Filters=[{"Name": f"tag:{names.SERVICE}", "Values": [service]}]
        )
        for page in pages:
            for group in cast("Sequence[Mapping[str, Any]]", page["AutoScalingGroups"]):
                its = tags_of(group)
                if names.STACK in its and names.RELEASE in its and group.get("TargetGroupARNs"):
                    target = ReleaseTarget(
                        its[names.RELEASE],
                        group["AutoScalingGroupName"],
                        group["TargetGroupARNs"][0],
                        keys=tuple(each for each in its.get(names.KEYS, "").split() if is_key(each)),
                    )
                    desired = group["DesiredCapacity"]
                    size = capacity(desired, weighted=_has_weights(group))
                    found.append(FoundGroup(its[names.STACK], target, desired, size))
    return tuple(sorted(found, key=lambda one: (-one.desired, one.target.group)))


class Fleet:
    """The groups of an account and region. Safe to share between threads, as the clients are."""

    def __init__(self, autoscaling: AutoScalingClient, ec2: Callable[[], EC2Client], stack: str = "") -> None:
        """Both clients are of the same account and region. Groups are only looked for in `stack`.

        EC2's is made when machines are asked about: its model takes 0.2 s, and a preview asks only about groups.
        """
        self._autoscaling = autoscaling
        self._ec2 = cache(ec2)
        self._stack = stack

    def group(self, name: str) -> Group | None:
        """The group with what its tags say, or None if it does not exist. Raises `TryAgain` or `CloudError`."""
        group = self._describe(name)
        if group is None:
            return None
        tags = tags_of(group)
        scale_in = rollout_tags.ScaleIn.read(tags[rollout_tags.SCALE_IN]) if rollout_tags.SCALE_IN in tags else None
        policy = group.get("MixedInstancesPolicy", {})
        distribution = policy.get("InstancesDistribution", {})
        return Group(
            minimum=group["MinSize"],
            desired=group["DesiredCapacity"],
            maximum=group["MaxSize"],
            machines=tuple(map(_machine, group.get("Instances", ()))),
            pin=rollout_tags.number(tags.get(rollout_tags.PIN)),
            abort=tags.get(rollout_tags.ABORT),
            paused=tags.get(rollout_tags.PAUSED),
            continued=tags.get(rollout_tags.CONTINUE),
            scale_in=scale_in.at if scale_in else None,
            scale_in_note=scale_in.note if scale_in else "",
            # The action is gone once it was carried out; with nothing left to scale in, it is not asked for.
            has_action=scale_in is None or not group["DesiredCapacity"] or self._has_scale_in(name),
            on_demand_percent=distribution.get("OnDemandPercentageAboveBaseCapacity"),
            on_demand_base=distribution.get("OnDemandBaseCapacity", 0),
            on_demand_pin=rollout_tags.number(tags.get(rollout_tags.ON_DEMAND)),
            follows=tags.get(rollout_tags.SCHEDULES, ""),
            warm_pool=_warm_pool(group),
            warmup=group.get("DefaultInstanceWarmup"),
            grace=group.get("HealthCheckGracePeriod"),
            weighted=_has_weights(group),
        )

    def tag(self, name: str, tags: Mapping[str, str]) -> None:
        """Write tags of the group; machines do not inherit them. Repeating it changes nothing.

        Raises `TryAgain` or `CloudError`. Values are cut to the 256 characters that a tag can hold.
        """
        wanted: list[TagTypeDef] = [
            {**_tag(name, key), "Value": one_line(value)[:256], "PropagateAtLaunch": False}
            for key, value in tags.items()
        ]
        with explained("autoscaling:CreateOrUpdateTags", name):
            self._autoscaling.create_or_update_tags(Tags=wanted)

    def untag(self, name: str, keys: Sequence[str]) -> None:
        """Remove tags of the group, which may be gone. Repeating it changes nothing.

        Raises `TryAgain` or `CloudError`.
        """
        with explained("autoscaling:DeleteTags", name):
            try:
                self._autoscaling.delete_tags(Tags=[_tag(name, key) for key in keys])
            except ClientError as error:
                # One code stands for all that is wrong with a request; whether the group is gone is seen by looking.
                if code(error) != "ValidationError" or self._describe(name) is not None:
                    raise

    def releases_of(self, target_groups: Sequence[str], service: str) -> tuple[ReleaseTarget, ...]:
        """The releases of this stack that have these target groups. Raises `TryAgain` or `CloudError`."""
        found = [one.target for one in found_groups(self._autoscaling, service) if one.stack == self._stack]
        largest = {target.target_group: target for target in reversed(found)}
        return tuple(target for target_group, target in largest.items() if target_group in target_groups)

    def schedule_scale_in(self, name: str, seconds: float, note: str = "") -> None:
        """Let AWS itself scale the group to 0 machines in so many seconds, instead of when it would by now.

        The tag is written first, so that no planned action is without its tag. The seconds are counted from the time
        at which AWS answers: this machine's clock may be wrong. Raises `TryAgain` or `CloudError`.
        """
        with explained("autoscaling:DescribeScheduledActions", name):
            answer = self._autoscaling.describe_scheduled_actions(AutoScalingGroupName=name, MaxRecords=1)
        at = answered_at(answer).replace(microsecond=0) + timedelta(seconds=max(math.ceil(seconds), SOONEST_SECONDS))
        self.tag(name, {rollout_tags.SCALE_IN: rollout_tags.ScaleIn(at.isoformat(), note).value})
        with explained("autoscaling:PutScheduledUpdateGroupAction", name):
            self._autoscaling.put_scheduled_update_group_action(
                AutoScalingGroupName=name,
                ScheduledActionName=rollout_tags.STANDBY_ACTION,
                StartTime=at,
                MinSize=0,
                DesiredCapacity=0,
            )

    def cancel_scale_in(self, name: str) -> None:
        """Forget what `schedule_scale_in` planned. Repeating it changes nothing. Raises `TryAgain` or `CloudError`.

        A plan whose time came at this very moment may still be carried out: the group tells.
        """
        with explained("autoscaling:DeleteScheduledAction", name):
            try:
                self._autoscaling.delete_scheduled_action(
                    AutoScalingGroupName=name, ScheduledActionName=rollout_tags.STANDBY_ACTION
                )
            except ClientError as error:
                if code(error) != "ValidationError" or self._has_scale_in(name):  # as in `untag`
                    raise
        self.untag(name, [rollout_tags.SCALE_IN])

    def schedules(self, name: str) -> tuple[Schedule, ...]:
        """The schedules of ours that the group has as scheduled actions, by name. Raises `TryAgain` or `CloudError`."""
        with explained("autoscaling:DescribeScheduledActions", name):
            pages = self._autoscaling.get_paginator("describe_scheduled_actions").paginate(AutoScalingGroupName=name)
            there = [each for page in pages for each in page["ScheduledUpdateGroupActions"]]
        ours = [each for each in there if each["ScheduledActionName"].startswith(ACTION)]
        return tuple(
            Schedule(
                each["ScheduledActionName"].removeprefix(ACTION),
                each.get("Recurrence", ""),
                each.get("TimeZone", "UTC"),
                each.get("MinSize", 0),
            )
            for each in sorted(ours, key=lambda each: each["ScheduledActionName"])
        )

    def follow(self, name: str, schedules: Sequence[Schedule], minimum: int) -> None:
        """Let AWS change the group's minimum by these schedules and by no others of ours.

        What is due is judged by AWS's clock. The tag says what is followed only once it is, so that a repeat finds what
        one that died has left. Raises `TryAgain` or `CloudError`.
        """
        wanted = {f"{ACTION}{each.name}": each for each in schedules}
        self.tag(name, {rollout_tags.SCHEDULES: rollout_tags.MOVING})
        with explained("autoscaling:DescribeScheduledActions", name):
            pages = list(
                self._autoscaling.get_paginator("describe_scheduled_actions").paginate(AutoScalingGroupName=name)
            )
        there = {each["ScheduledActionName"] for page in pages for each in page["ScheduledUpdateGroupActions"]}
        for action in sorted(each for each in there if each.startswith(ACTION) and each not in wanted):
            with explained("autoscaling:DeleteScheduledAction", name):
                try:
                    self._autoscaling.delete_scheduled_action(AutoScalingGroupName=name, ScheduledActionName=action)
                except ClientError as error:  # a repeat whose answer was lost has deleted it
                    if code(error) != "ValidationError":
                        raise
        for action, each in wanted.items():
            with explained("autoscaling:PutScheduledUpdateGroupAction", name):
                self._autoscaling.put_scheduled_update_group_action(
                    AutoScalingGroupName=name,
                    ScheduledActionName=action,
                    Recurrence=each.recurrence,
                    TimeZone=each.time_zone,
                    MinSize=each.minimum,
                )
        if schedules:
            self.resize(name, minimum=due(schedules, minimum, answered_at(pages[-1])), desired=None)
            self.tag(name, {rollout_tags.SCHEDULES: digest(schedules)})
        else:
            self.untag(name, [rollout_tags.SCHEDULES])

    def keep_warm_pool(self, name: str, pool: WarmPool | None) -> None:
        """Give the group this warm pool, or take it away. Repeating it changes nothing.

        A pool that is deleted goes with its machines, some time after AWS has answered; until then there is no other,
        and an `EMPTY` one is not waited for: that the group can have one is known. Raises `TryAgain` or `CloudError`.
        """
        if pool is None:
            with explained("autoscaling:DeleteWarmPool", name):
                try:
                    self._autoscaling.delete_warm_pool(AutoScalingGroupName=name, ForceDelete=True)
                except ClientError as error:  # as in `untag`
                    if code(error) != "ValidationError" or _warm_pool(self._describe(name) or {}) is not None:
                        raise
            return
        if (self._describe(name) or {}).get("WarmPoolConfiguration", {}).get("Status") == PENDING_DELETE:
            if pool == EMPTY:
                return
            raise TryAgain(f"the warm pool that {name} had is still being deleted")
        with explained("autoscaling:PutWarmPool", name):
            self._autoscaling.put_warm_pool(
                AutoScalingGroupName=name,
                MinSize=pool.size,
                MaxGroupPreparedCapacity=pool.prepared,
                PoolState=cast("Any", pool.state),
                InstanceReusePolicy={"ReuseOnScaleIn": pool.reuse},
            )

    def images(self, machines: Sequence[str]) -> dict[str, str]:
        """The AMI of each machine; one that EC2 does not know (yet) is left out.

        Raises `TryAgain` or `CloudError`.
        """
        found = {}
        with explained("ec2:DescribeInstances", ", ".join(machines[:1])):
            for first in range(0, len(machines), FILTER_VALUES):
                # A filter: one unknown id in InstanceIds fails the whole call, and new ids are unknown for a while.
                wanted = list(machines[first : first + FILTER_VALUES])
                pages = (
                    self._ec2()
                    .get_paginator("describe_instances")
                    .paginate(Filters=[{"Name": "instance-id", "Values": wanted}])
                )
                for page in pages:
                    for reservation in page["Reservations"]:
                        for instance in reservation["Instances"]:
                            found[instance["InstanceId"]] = instance["ImageId"]
        return found

    def on_demand(self, name: str, percent: int) -> None:
        """Write the share of on-demand machines above the base; the rest of the mixed instances policy stays.

        A group without such a policy launches on-demand machines only, and is left alone. Machines that run are not
        replaced (user guide, "Auto Scaling groups with multiple instance types"). Raises `TryAgain` or `CloudError`.
        """
        group = self._describe(name)
        policy: Mapping[str, Any] = (group or {}).get("MixedInstancesPolicy", {})
        if not policy:
            return
        distribution = {**policy.get("InstancesDistribution", {}), "OnDemandPercentageAboveBaseCapacity": percent}
        whole = {**_without_names(policy), "InstancesDistribution": distribution}
        with explained("autoscaling:UpdateAutoScalingGroup", name):
            self._autoscaling.update_auto_scaling_group(
                AutoScalingGroupName=name, MixedInstancesPolicy=cast("Any", whole)
            )

    def _describe(self, name: str) -> Mapping[str, Any] | None:
        with explained("autoscaling:DescribeAutoScalingGroups", name):
            found = self._autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
        return cast("Mapping[str, Any]", found[0]) if found else None

    def _has_scale_in(self, name: str) -> bool:
        with explained("autoscaling:DescribeScheduledActions", name):
            answer = self._autoscaling.describe_scheduled_actions(
                AutoScalingGroupName=name, ScheduledActionNames=[rollout_tags.STANDBY_ACTION]
            )
        return bool(answer["ScheduledUpdateGroupActions"])

    def resize(self, name: str, *, minimum: int, desired: int | None) -> None:
        """Write the minimum and, unless None, the desired capacity, in one call. Repeating it changes nothing.

        Raises `TryAgain` or `CloudError`.
        """
        with explained("autoscaling:UpdateAutoScalingGroup", name):
            if desired is None:
                self._autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, MinSize=minimum)
            else:
                self._autoscaling.update_auto_scaling_group(
                    AutoScalingGroupName=name, MinSize=minimum, DesiredCapacity=desired
                )

    def failures(self, name: str) -> tuple[Failure, ...]:
        """The newest launches that failed, newest first; none of a group that is gone.

        "If an attempt to launch instances failed, the StatusCode value is Failed or Cancelled" (API reference): what
        dies after RunInstances has answered is cancelled. One without a message was cancelled because the group was
        made smaller. Raises `TryAgain` or `CloudError`.
        """
        with explained("autoscaling:DescribeScalingActivities", name):
            try:
                answer = self._autoscaling.describe_scaling_activities(AutoScalingGroupName=name, MaxRecords=RECENT)
            except ClientError as error:
                if code(error) != "ValidationError" or self._describe(name) is not None:  # as in `untag`
                    raise
                return ()
        return tuple(
            Failure(
                item["ActivityId"],
                item.get("StatusMessage") or item.get("Description") or item["Cause"],
                # One attempt launches all that is missing, and each machine has an activity; they have one cause.
                attempt=item.get("Cause", ""),
            )
            for item in answer["Activities"]
            if item["StatusCode"] == "Failed" or (item["StatusCode"] == "Cancelled" and item.get("StatusMessage"))
            if item.get("Description", "Launching").startswith("Launching")
        )

    def console(self, machine: str) -> str:
        """The end of the machine's console, at most 64 KiB; empty if it has none. botocore has decoded the base64.

        `Latest` is what the machine says now; older instance types only have what they said after boot. Raises
        `TryAgain` or `CloudError`.
        """
        with explained("ec2:GetConsoleOutput", machine):
            try:
                return self._ec2().get_console_output(InstanceId=machine, Latest=True).get("Output", "")
            except ClientError as error:
                if code(error) not in NO_LATEST:
                    raise
            return self._ec2().get_console_output(InstanceId=machine).get("Output", "")


def tags_of(group: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a group, as it is described."""
    return {tag["Key"]: tag.get("Value", "") for tag in group.get("Tags", ())}


def _has_weights(group: Mapping[str, Any]) -> bool:
    template = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    return any("WeightedCapacity" in each for each in template.get("Overrides", ()))


def _machine(item: Mapping[str, Any]) -> Machine:
    """Its weight is told of machines in a group with weights only (API reference, Instance, WeightedCapacity)."""
    return Machine(item["InstanceId"], item["LifecycleState"], int(item.get("WeightedCapacity", 1)))


def _warm_pool(group: Mapping[str, Any]) -> WarmPool | None:
    """That of a group, as it is described; None also while it is being deleted."""
    found = group.get("WarmPoolConfiguration")
    if not found or found.get("Status") == PENDING_DELETE:
        return None
    prepared = found.get("MaxGroupPreparedCapacity", UNLIMITED)
    reuse = found.get("InstanceReusePolicy", {}).get("ReuseOnScaleIn", False)
    return WarmPool(found.get("MinSize", 0), prepared, found.get("PoolState", "Stopped"), reuse)


def _tag(group: str, key: str) -> TagTypeDef:
    return {"ResourceId": group, "ResourceType": "auto-scaling-group", "Key": key}


def _without_names(described: Any) -> Any:  # noqa: ANN401 - JSON of any shape, and JSON comes back
    """A policy as it may be written: it is described with id and name of a launch template, and takes only one."""
    if isinstance(described, dict):
        both = "LaunchTemplateId" in described
        return {
            key: _without_names(value) for key, value in described.items() if not (both and key == "LaunchTemplateName")
        }
    return [_without_names(value) for value in described] if isinstance(described, list) else described
