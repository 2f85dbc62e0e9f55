"""Auto scaling groups as EC2 Auto Scaling runs them: launching, retiring, replacing, and the record of it.

Decides how many instances a group lacks or has too many, where and as what the new ones launch, which of the old ones
go, and when a retired one has drained. A launch that fails is a failed activity, or a cancelled one if its instance was
there already and ended before it ran, and is tried again later; it never is an error of the call that asked for
capacity, and never leaves an instance outside its group. Never looks at a machine: whoever finds one unhealthy calls
SetInstanceHealth or TerminateInstances.

Moto launches within the call and raises what goes wrong there, ignores the launch template's version, forgets a mixed
instances policy on every update, launches too few with an odd spot share, puts all instances into one subnet, never
deregisters what it terminates, and records no activity.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.autoscaling.models import ASG_NAME_TAG, AutoScalingBackend, FakeAutoScalingGroup, InstanceState
from moto.core.exceptions import ServiceException
from moto.ec2.exceptions import EC2ClientError

from localcloud.autoscaling import maintenance, mixed_instances, rebalancing, warm_pool, weights
from localcloud.ec2.launch import NO_CAPACITY, image_of
from localcloud.elbv2 import targets
from localcloud.moto_state import backend

if TYPE_CHECKING:
    from localcloud.faults.lateness import Lateness
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

FAILED_CHECK = "an instance was taken out of service in response to a failed health check."

RETRY_SECONDS = (5.0, 60.0)  # first and longest pause after a failed launch; AWS backs off too, undocumented
ACTIVITIES_KEPT = 200  # of a group; AWS keeps six weeks


@dataclass
class Activity:
    """A scaling activity; its attributes are named so that moto's serializer finds them."""

    auto_scaling_group_name: str
    auto_scaling_group_arn: str
    description: str
    cause: str
    status_code: str = "InProgress"
    status_message: str | None = None
    progress: int = 50
    details: str = "{}"
    activity_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    start_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    end_time: datetime | None = None

    def end(self, code: str, message: str | None = None) -> None:
        """Record how it ended."""
        self.status_code, self.status_message = code, message
        self.progress, self.end_time = 100, datetime.now(UTC)


@dataclass
class Book:
    """What we keep of a group beyond moto: its activities, newest first, what is retiring, when to try again."""

    activities: list[Activity] = field(default_factory=list)
    launching: dict[str, Activity] = field(default_factory=dict)
    retiring: dict[str, tuple[Moto, Activity, float]] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)
    """Why unhealthy instances are to be replaced."""
    in_service: dict[str, float] = field(default_factory=dict)
    """Since when instances were seen to be in service, by the monotonic clock."""
    why: str = ""
    """What changed the desired capacity last, if a policy did: the first sentence of the causes that follow from it."""
    failures: int = 0
    retry_at: float = 0.0
    act_at: float = 0.0

    def failed(self, activity: Activity, code: str, message: str) -> None:
        """End a launch that failed, and wait longer each time before the next one."""
        self.failures += 1
        first, longest = RETRY_SECONDS
        self.retry_at = time.monotonic() + min(longest, first * 2 ** (self.failures - 1))
        activity.description += f".  Status Reason: {message}"
        activity.end(code, message)

    def record(self, group: Moto, description: str, cause: str) -> Activity:
        """Begin an activity."""
        activity = Activity(group.name, group.arn, description, f"At {_now()} {cause}")
        self.activities.insert(0, activity)
        del self.activities[ACTIVITIES_KEPT:]
        return activity


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def book(group: Moto) -> Book:
    """The book of a group; it outlives the group, as activities do in AWS."""
    books: dict[str, Book] = group.autoscaling_backend.__dict__.setdefault("books", {})
    return books.setdefault(group.name, Book())


def new_book(autoscaling: Moto, group_name: str) -> None:
    """Open a book for a group that is about to be created; a deleted group's of that name is closed."""
    autoscaling.__dict__.setdefault("books", {})[group_name] = Book()


def patch(patches: Patches, lateness: Lateness) -> None:
    """Make auto scaling groups work as described above."""
    patches.set(FakeAutoScalingGroup, "lateness", lateness)
    patches.set(FakeAutoScalingGroup, "instance_maintenance_policy", None)
    patches.methods(FakeAutoScalingGroup, set_desired_capacity, replace_autoscaling_group_instances)
    patches.methods(AutoScalingBackend, update_attached_target_groups, notify_terminate_instances, terminate_instance)
    patches.set(InstanceState, "launch_template", property(_launch_template))
    patches.set(InstanceState, "weighted_capacity", None)


def tick(autoscaling: Moto) -> None:
    """Replace what was reported unhealthy, end what has drained, try failed launches again. With `LOCK` held."""
    for group in list(autoscaling.autoscaling_groups.values()):
        kept = book(group)
        for state in live(group):
            if state.lifecycle_state == "InService":
                kept.in_service.setdefault(state.instance.id, time.monotonic())
        if not {"HealthCheck", "ReplaceUnhealthy", "Terminate"} & suspended(group):
            replace_unhealthy(group)
        if "Terminate" not in suspended(group):
            for state, cause in rebalancing.leaving(group, live(group)):
                retire(group, state, cause)
        for state, activity, deadline in list(kept.retiring.values()):
            if time.monotonic() >= deadline or targets.drained(group.target_group_arns, state.instance.id):
                _end(group, state, activity)
        if time.monotonic() >= max(kept.retry_at, kept.act_at):
            reconcile(group)
        warm_pool.tick(group, _launch_warm, _end_warm)


def replace_unhealthy(group: Moto) -> None:
    """Retire the unhealthy instances that may go by now, as the group's maintenance policy says; see `maintenance`."""
    unhealthy = _unhealthy(group)
    in_service = [state for state in live(group) if state.lifecycle_state == "InService"]
    ready = weights.units(in_service) - weights.units(unhealthy)
    count = maintenance.goes(
        group.instance_maintenance_policy,
        desired=group.desired_capacity or 0,
        ready=ready,
        unhealthy=weights.units(unhealthy),
    )
    for state in weights.first(unhealthy, count):
        cause = book(group).causes.pop(state.instance.id, FAILED_CHECK)
        retire(group, state, cause)


def _unhealthy(group: Moto) -> list[Moto]:
    return [
        state
        for state in live(group)
        if state.health_status.lower() == "unhealthy" and state.lifecycle_state == "InService"
    ]


def reconcile(group: Moto) -> None:
    """Launch what the group lacks, retire what it has too many of, register all in its target groups.

    Doing it again when nothing is to be done is harmless.
    """
    found, wanted = live(group), group.desired_capacity or 0
    wanted += maintenance.surplus(
        group.instance_maintenance_policy, desired=wanted, unhealthy=min(wanted, weights.units(_unhealthy(group)))
    )
    wanted += rebalancing.beyond(group, found)
    without = suspended(group)
    there = weights.units(found)
    if there < wanted and "Launch" not in without:
        cause = book(group).why + (
            f"an instance was started in response to a difference between desired and actual capacity, increasing the"
            f" capacity from {there} to {wanted}."
        )
        while weights.units(live(group)) < wanted and (_take_warm(group, cause) or _launch(group, cause)):
            pass
    elif there > wanted and "Terminate" not in without:
        cause = book(group).why + (
            f"an instance was taken out of service in response to a difference between desired and actual capacity,"
            f" shrinking the capacity from {there} to {wanted}."
        )
        for state in weights.victims(found, there - wanted):
            retire(group, state, cause)
    if group.name in group.autoscaling_backend.autoscaling_groups:
        group.autoscaling_backend.update_attached_elbs(group.name)
        group.autoscaling_backend.update_attached_target_groups(group.name)


def retire(group: Moto, state: Moto, cause: str) -> Activity:
    """Deregister an instance from its target groups and terminate it when it has drained, as ASG does."""
    kept = book(group)
    state.lifecycle_state = "Terminating"
    activity = kept.record(group, f"Terminating EC2 instance: {state.instance.id}", cause)
    deadline = targets.leave(group.target_group_arns, state.instance.id)
    kept.retiring[state.instance.id] = (state, activity, deadline)
    if time.monotonic() >= deadline:
        _end(group, state, activity)
    return activity


def _end(group: Moto, state: Moto, activity: Activity) -> None:
    book(group).retiring.pop(state.instance.id, None)
    book(group).in_service.pop(state.instance.id, None)
    if launching := book(group).launching.pop(state.instance.id, None):
        launching.end("Cancelled")
    if not warm_pool.put_back(group, state) and state.instance.state != "terminated":
        group.ec2_backend.terminate_instances([state.instance.id])
    targets.forget(state.instance.id)
    group.instance_states = [other for other in group.instance_states if other is not state]
    activity.end("Successful")


def end_all(group: Moto) -> None:
    """Terminate every instance at once, also in the warm pool, as DeleteAutoScalingGroup with ForceDelete does."""
    warm_pool.empty(group, _end_warm)
    for state in list(group.instance_states):
        retiring = book(group).retiring.get(state.instance.id)
        activity = retiring[1] if retiring else retire(group, state, "the group was deleted.")
        if state in group.instance_states:
            _end(group, state, activity)


def suspended(group: Moto) -> set[str]:
    """The names of the processes that a group has suspended."""
    return {process["ProcessName"] for process in group.suspended_processes}


def live(group: Moto) -> list[Moto]:
    """The instances of a group that are pending or in service, the oldest first."""
    return [state for state in group.instance_states if state.lifecycle_state in {"Pending", "InService"}]


def _launch(group: Moto, cause: str) -> bool:
    """Launch one instance; whether it succeeded. A failure is recorded, never raised."""
    kept = book(group)
    activity = kept.record(group, "Launching a new EC2 instance", cause)
    try:
        instance = _run(group)
    except ServiceException as error:
        kept.failed(activity, "Failed", f"{error.message.rstrip('.')}. Launching EC2 instance failed.")
        return False
    activity.description += f": {instance.id}"
    instance.autoscaling_group = group
    state = InstanceState(instance, protected_from_scale_in=group.new_instances_protected_from_scale_in)
    state.weighted_capacity = weights.of(group, instance.instance_type)
    group.instance_states.append(state)
    if instance.state == "pending":
        state.lifecycle_state = "Pending"
        kept.launching[instance.id] = activity
    else:
        kept.failures = 0
        activity.end("Successful")
    return True


def _take_warm(group: Moto, cause: str) -> bool:
    """Take an instance out of the warm pool; False if none is ready."""
    state = warm_pool.take(group)
    if state is None:
        return False
    activity = book(group).record(group, f"Launching a new EC2 instance from warm pool: {state.instance.id}", cause)
    group.instance_states.append(state)
    activity.end("Successful")
    return True


def _launch_warm(group: Moto) -> Moto | None:
    """Launch one instance into the warm pool. A failure is recorded; it holds up no launch of the group."""
    if "Launch" in suspended(group):
        return None
    cause = "an instance was started in response to a difference between desired and actual warm pool capacity."
    activity = book(group).record(group, "Launching a new EC2 instance into warm pool", cause)
    try:
        instance = _run(group)
    except ServiceException as error:
        group.warm_pool.retry_at = time.monotonic() + RETRY_SECONDS[1]
        activity.end("Failed", f"{error.message.rstrip('.')}. Launching EC2 instance failed.")
        return None
    activity.description += f": {instance.id}"
    activity.end("Successful")
    instance.autoscaling_group = group
    return InstanceState(instance)


def _end_warm(group: Moto, state: Moto) -> None:
    """Terminate an instance of the warm pool."""
    cause = "an instance was taken out of service in response to a difference between desired and actual warm pool"
    activity = book(group).record(group, f"Terminating EC2 instance: {state.instance.id}", f"{cause} capacity.")
    if state.instance.state != "terminated":
        group.ec2_backend.terminate_instances([state.instance.id])
    activity.end("Successful")


def _run(group: Moto) -> Moto:
    """A new instance. Raises ServiceException, in the words of a scaling activity."""
    spot = _next_is_spot(group)
    try:
        return _run_somewhere(group, spot=spot)
    except EC2ClientError as error:
        if not group.mixed_instances_policy:
            raise
        kind = "Spot" if spot else "On-Demand"
        raise ServiceException(
            error.code, f"Could not launch {kind} Instances. {error.code} - {error.message}"
        ) from error


def _run_somewhere(group: Moto, *, spot: bool) -> Moto:
    if group.ec2_launch_template is None:  # AWS gives new accounts no launch configurations either
        raise ServiceException("ValidationError", "The local cloud launches from launch templates only")
    version = group.ec2_launch_template.get_version(group.launch_template_version)
    lacking: EC2ClientError | None = None
    # What EC2 lacks in one place and of one type it may have elsewhere: Auto Scaling tries them all before it gives up
    # (user guide, "Availability Zone distribution" and "Allocation strategies").
    image = image_of(group.ec2_backend, version.image_id)
    for instance_type in _types(group, version.instance_type, image.architecture, spot=spot):
        for subnet, zone in _places(group):
            try:
                return _run_as(group, version, instance_type, subnet, zone, spot=spot)
            except EC2ClientError as error:
                if error.code != NO_CAPACITY:
                    raise
                lacking = error
    if lacking is None:
        raise ServiceException("ValidationError", "The group has no place to launch an instance")
    raise lacking


def _types(group: Moto, instance_type: str, architecture: str, *, spot: bool) -> list[str]:
    """Instance types in the order in which they are tried.

    On-Demand goes by the order of the overrides; Spot spreads over all of them, as price-capacity-optimized does when
    every pool is equally good.
    """
    wanted = list(
        mixed_instances.types_of(group.ec2_backend, group.mixed_instances_policy, architecture, instance_type)
    )
    first = sum(1 for state in live(group) if state.instance.lifecycle == "spot") % len(wanted) if spot else 0
    return [*wanted[first:], *wanted[:first]]


def _run_as(group: Moto, version: Moto, instance_type: str, subnet: str | None, zone: str, *, spot: bool) -> Moto:
    reservation = group.ec2_backend.run_instances(
        version.image_id,
        1,
        None,
        [],
        instance_type=instance_type,
        is_instance_type_default=False,
        tags={"instance": {**group.get_propagated_tags(), ASG_NAME_TAG: group.name}},
        launch_template={"LaunchTemplateId": group.ec2_launch_template.id, "Version": str(version.number)},
        placement=zone,
        subnet_id=subnet,
        region_name=group.region,
        **({"instance_market_options": "spot"} if spot else {}),
    )
    return reservation.instances[0]


def _next_is_spot(group: Moto) -> bool:
    """Whether the next instance is a Spot Instance, so that the group keeps its share of On-Demand.

    API reference, InstancesDistribution: the base first, then the percentage of what is above it, rounded up in favour
    of On-Demand.
    """
    distribution = (group.mixed_instances_policy or {}).get("InstancesDistribution") or {}
    base = int(distribution.get("OnDemandBaseCapacity") or 0)
    percentage = distribution.get("OnDemandPercentageAboveBaseCapacity")
    above = max(0, (group.desired_capacity or 0) - base)
    on_demand = base + -(-above * int(100 if percentage is None else percentage) // 100)
    return weights.units([state for state in live(group) if state.instance.lifecycle != "spot"]) >= on_demand


def _places(group: Moto) -> list[tuple[str | None, str]]:
    """The group's subnets (or just zones) with their zones, those with the fewest of its instances first."""
    if not group.vpc_zone_identifier:
        zones = Counter(state.availability_zone for state in live(group))
        return [(None, zone) for zone in sorted(group.availability_zones, key=lambda zone: zones[zone])]
    used = Counter(state.instance.subnet_id for state in live(group))
    subnets = sorted((name.strip() for name in group.vpc_zone_identifier.split(",")), key=lambda name: used[name])
    return [(subnet, group.ec2_backend.get_subnet(subnet).availability_zone) for subnet in subnets]


def _launch_template(self: Moto) -> dict[str, Any] | None:
    """AWS shows the version that the instance was launched from; moto the template's default."""
    template = self.auto_scaling_group.ec2_launch_template if self.auto_scaling_group else None
    if template is None:
        return None
    return {
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "Version": str(weights.version(self.instance)),
    }


def set_desired_capacity(self: Moto, new_capacity: int | None) -> None:
    """AWS notes the capacity, and works towards it a little later; moto miscounts with a mixed policy, and raises."""
    change(self, self.min_size if new_capacity is None else new_capacity)


def change(group: Moto, new_capacity: int, why: str = "") -> None:
    """Set the desired capacity; the activities that follow tell why."""
    group.desired_capacity = new_capacity
    kept, now = book(group), time.monotonic()
    kept.why = f"{why}.  At {_now()} " if why else ""
    if kept.act_at <= now:  # else it is about to look
        kept.act_at = now + group.lateness.of("scaling", group.name, now)
    kept.retry_at = kept.act_at  # a launch that failed before is tried again, too
    if kept.act_at <= now:
        reconcile(group)


def replace_autoscaling_group_instances(self: Moto, count_needed: int, propagated_tags: dict[str, str]) -> None:  # noqa: ARG001 - moto's signature
    """AWS launches from the launch template's version; moto from its default version. See `reconcile`."""
    reconcile(self)


def update_attached_target_groups(self: Moto, group_name: str) -> None:
    """AWS registers what is in service; moto also what is terminating, and asks for stopped ones in vain."""
    group = self.autoscaling_groups[group_name]
    if "AddToLoadBalancer" not in suspended(group):
        instances = [state.instance for state in live(group) if state.instance.state == "running"]
        targets.join(group.target_group_arns, [instance.id for instance in instances])


def notify_terminate_instances(self: Moto, instance_ids: list[str]) -> None:
    """AWS notices terminated instances of a group and replaces them, with a record; moto without one."""
    for group in list(self.autoscaling_groups.values()):
        gone = [state for state in group.instance_states if state.instance.id in instance_ids]
        for state in gone:
            retiring = book(group).retiring.get(state.instance.id)
            if not retiring and _cancel(group, state):
                continue
            activity = (
                retiring[1]
                if retiring
                else book(group).record(
                    group,
                    f"Terminating EC2 instance: {state.instance.id}",
                    "an instance was taken out of service in response to an EC2 health check indicating it has been"
                    " terminated or stopped.",
                )
            )
            _end(group, state, activity)
        if gone and time.monotonic() >= book(group).retry_at:
            reconcile(group)


def _cancel(group: Moto, state: Moto) -> bool:
    """Cancel the launch of an instance that ended before it ran; whether it is one. Words: see `launch.DEATHS`."""
    kept, instance = book(group), state.instance
    activity = kept.launching.pop(instance.id, None)
    if activity is None:
        return False
    group.instance_states = [other for other in group.instance_states if other is not state]
    reason = f"Termination Reason: {instance.state_reason.message}"
    kept.failed(
        activity,
        "Cancelled",
        f"Instance became unhealthy while waiting for instance to be in InService state. {reason}",
    )
    return True


def terminate_instance(self: Moto, instance_id: str, should_decrement: bool) -> Activity:  # noqa: FBT001 - moto's signature
    """AWS drains the instance first and launches another, if capacity is to stay; moto ends it at once."""
    for group in self.autoscaling_groups.values():
        for state in live(group):
            if state.instance.id == instance_id:
                if should_decrement:
                    group.desired_capacity -= 1
                activity = retire(
                    group, state, f"instance {instance_id} was taken out of service in response to a user request."
                )
                reconcile(group)
                return activity
    raise ServiceException("ValidationError", f"Instance Id not found - No managed instance found for {instance_id}")


def all_activities(group_name: str | None) -> list[Activity]:
    """Activities of one group or of all, newest first, those of deleted groups too."""
    books: dict[str, Book] = backend("autoscaling").__dict__.setdefault("books", {})
    chosen = [kept for name, kept in books.items() if group_name in {None, name}]
    return sorted((a for kept in chosen for a in kept.activities), key=lambda a: a.start_time, reverse=True)
