"""Targets of target groups: registered, draining, and how healthy the machines say they are.

Decides how long a deregistered target drains, and what DescribeTargetHealth answers when there are no machines to ask.
Never checks a target's health.

Moto calls every registered target healthy, forgets a deregistered one at once, and keeps a terminated one for ever.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from moto.elbv2.exceptions import ELBClientError, TargetGroupNotFoundError
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus, FakeTargetGroup

from localcloud.elbv2.attributes import DELAY
from localcloud.hooks import TargetHealth
from localcloud.moto_state import backend

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localcloud.hooks import MachineHooks
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

MAX_TARGETS: Final = 1_000
"""Of a target group, and of a load balancer (user guide for Application Load Balancers, "Quotas")."""

_deregister = FakeTargetGroup.deregister
_register_targets = ELBv2Backend.register_targets


class Assumed:
    """What targets are said to be where no machines are, which could be checked. Hold `LOCK`."""

    _STATES: Final = {  # ELBv2 API reference: TargetHealth
        "healthy": ("healthy", "", ""),
        "unhealthy": ("unhealthy", "Target.Timeout", "Request timed out"),
        "initial": ("initial", "Elb.RegistrationInProgress", "Target registration is in progress"),
    }

    def __init__(self) -> None:
        self._all = "initial"
        self._of: dict[str, str] = {}

    def change(self, state: str, target_group: str | None) -> None:
        """Say this state of the targets of the group of that name from now on; without a name, of all. ValueError."""
        if state not in self._STATES:
            raise ValueError(f"state must be one of {', '.join(self._STATES)}, not {state}.")
        if target_group is None:
            self._all, self._of = state, {}
        else:
            self._of[target_group] = state

    def of(self, target_group: str) -> tuple[str, str, str]:
        """State, reason and description of a target of the group of that name."""
        return self._STATES[self._of.get(target_group, self._all)]


def patch(patches: Patches, machines: MachineHooks | None) -> None:
    """Make target health real; `machines` knows it."""
    patches.set(ELBv2Backend, "machines", machines)
    patches.set(ELBv2Backend, "assumed", Assumed())
    patches.methods(ELBv2Backend, describe_target_health, register_targets)
    patches.methods(FakeTargetGroup, deregister, deregister_terminated_instances)


def join(target_group_arns: Iterable[str], instance_ids: list[str]) -> None:
    """Register instances in those of the target groups that exist. Those registered already stay as they are."""
    groups = backend("elbv2").target_groups
    for arn in target_group_arns:
        if arn in groups:
            groups[arn].register([{"Id": new} for new in instance_ids if new not in groups[arn].targets])


def leave(target_group_arns: Iterable[str], instance_id: str) -> float:
    """Deregister an instance; the monotonic time by which it has drained everywhere."""
    groups = backend("elbv2").target_groups
    deadline = time.monotonic()
    for arn in target_group_arns:
        if arn in groups and instance_id in groups[arn].targets:
            groups[arn].deregister([{"Id": instance_id}])
            deadline = max(deadline, draining(groups[arn]).get(instance_id, 0.0))
    return deadline


def drained(target_group_arns: Iterable[str], instance_id: str) -> bool:
    """Whether a deregistered target has no request left in any of these groups.

    AWS ends the draining of a target that has none (user guide, "Deregistration delay"). Without machines there are no
    requests.
    """
    elbv2 = backend("elbv2")
    if elbv2.machines is None:
        return True
    left = [
        group
        for arn in target_group_arns
        if (group := elbv2.target_groups.get(arn)) is not None and instance_id in draining(group)
    ]
    return all(elbv2.machines.drained(group.arn, instance_id) for group in left)


def healthy(target_group_arns: Iterable[str], instance_id: str) -> bool:
    """Whether an instance is a healthy target of all of these groups that exist. Hold `LOCK`."""
    elbv2 = backend("elbv2")
    groups = [arn for arn in target_group_arns if arn in elbv2.target_groups]
    told = [elbv2.describe_target_health(arn, [{"Id": instance_id}])[0].status for arn in groups]
    return all(status == "healthy" for status in told)


def forget(instance_id: str) -> None:
    """A terminated instance is no target any more, and does not drain."""
    for group in backend("elbv2").target_groups.values():
        group.targets.pop(instance_id, None)
        group.deregistered_targets.pop(instance_id, None)
        draining(group).pop(instance_id, None)


def draining(target_group: Moto) -> dict[str, float]:
    """Targets of moto's target group that still drain, with the monotonic time at which they stop. Hold `LOCK`."""
    until: dict[str, float] = target_group.__dict__.setdefault("draining_until", {})
    for target_id in [target_id for target_id, end in until.items() if end <= time.monotonic()]:
        del until[target_id]
    return until


def register_targets(self: Moto, target_group_arn: str, instances: list[dict[str, Any]]) -> None:
    """AWS refuses too many targets, and instances that there are not or that another VPC has; moto takes any."""
    group = self.target_groups.get(target_group_arn)
    if group is not None and group.target_type == "instance":
        new = {target["Id"] for target in instances} - set(group.targets)
        used = set(group.load_balancer_arns)
        others = [other for other in self.target_groups.values() if used & set(other.load_balancer_arns)]
        together = sum(len(other.targets) for other in others if other is not group)
        if together + len(group.targets) + len(new) > MAX_TARGETS:
            raise ELBClientError("TooManyTargets", f"A load balancer has at most {MAX_TARGETS} targets")
        found = {target_id: self.ec2_backend.get_instance_by_id(target_id) for target_id in new}
        strangers = sorted(
            target_id for target_id, instance in found.items() if instance is None or instance.vpc_id != group.vpc_id
        )
        if strangers:
            raise ELBClientError(
                "InvalidTarget",
                f"The following targets are not in the target group VPC '{group.vpc_id}': '{', '.join(strangers)}'",
            )
    _register_targets(self, target_group_arn, instances)


def deregister(self: Moto, targets: list[dict[str, Any]]) -> None:
    """AWS lets a target drain when a load balancer uses its group; moto forgets it at once."""
    _deregister(self, targets)
    if self.load_balancer_arns:
        delay = float(self.attributes[DELAY])
        for target in targets:
            draining(self)[target["Id"]] = time.monotonic() + delay


def deregister_terminated_instances(self: Moto, instance_ids: list[str]) -> None:
    """AWS soon forgets a terminated instance; moto shows it as draining for ever."""
    for instance_id in instance_ids:
        self.targets.pop(instance_id, None)
        self.deregistered_targets.pop(instance_id, None)
        draining(self).pop(instance_id, None)


def describe_target_health(self: Moto, target_group_arn: str, targets: list[dict[str, Any]]) -> list[Moto]:
    """AWS says what its checks found; moto that everything is healthy."""
    group = self.target_groups.get(target_group_arn)
    if group is None:
        raise TargetGroupNotFoundError
    known = self.machines.target_health(target_group_arn) if self.machines else _unchecked(group, self.assumed)
    if targets:
        by_id = {health.target_id: health for health in known}
        known = [by_id.get(target["Id"]) or _unregistered(group, target["Id"]) for target in targets]
    return [
        FakeHealthStatus(
            health.target_id,
            str(health.port),
            str(health.port),
            health.state,
            health.reason or None,
            health.description or None,
        )
        for health in known
    ]


def _unchecked(group: Moto, assumed: Assumed) -> list[TargetHealth]:
    """What is known when nobody checks. Words: ELBv2 API reference, TargetHealth."""
    state = ("unused", "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer")
    if group.load_balancer_arns:
        state = assumed.of(group.name)
    registered = [TargetHealth(target["Id"], int(target["Port"]), *state) for target in group.targets.values()]
    leaving = ("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
    return [*registered, *(TargetHealth(target_id, int(group.port), *leaving) for target_id in draining(group))]


def _unregistered(group: Moto, target_id: str) -> TargetHealth:
    return TargetHealth(
        target_id, int(group.port), "unused", "Target.NotRegistered", "Target is not registered to the target group"
    )
