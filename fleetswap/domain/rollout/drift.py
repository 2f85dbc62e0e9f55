"""Drift: how AWS differs from what a finished rollout of an order leaves, in words."""

from __future__ import annotations

from collections.abc import Iterator

from fleetswap.domain.rollout.messages import Seen
from fleetswap.domain.rollout.model import Group, Order, ReleaseTarget
from fleetswap.domain.text import capacity


def drift(order: Order, seen: Seen) -> tuple[str, ...]:
    """Everything that differs; empty if nothing does. A standby that AWS has scaled in is as it should be."""
    found = [*_traffic(order, seen), *_candidate(order, seen.group(order.candidate.release))]
    for target in order.others:
        group = seen.group(target.release)
        if target.release == order.standby:
            found += _standby(order, target, group)
        elif group is not None:
            found += _other(target, group)
    for target in order.others:
        group = seen.group(target.release)
        if group is not None and group.follows:
            found.append(f"{target.release} still follows schedules")
        if group is not None and group.warm_pool is not None:
            found.append(f"{target.release} still has a warm pool")
    for target in order.releases:
        group = seen.group(target.release)
        if group is not None and (group.pin is not None or group.on_demand_pin is not None):
            found.append(f"{target.release} is still pinned by an earlier rollout")
    if seen.armed is not None:
        found.append(f"the switch of an unfinished rollout is armed, and fires in {seen.armed.seconds:.0f} s")
    return tuple(found)


def _traffic(order: Order, seen: Seen) -> Iterator[str]:
    serving = seen.rule.serving if seen.rule else frozenset()
    if serving != {order.candidate.target_group}:
        on = " and ".join(sorted(order.release_of(arn) for arn in serving)) or "nothing"
        yield f"the traffic is on {on} instead of {order.candidate.release}"
    for what in seen.rule.odd if seen.rule else ():
        yield f"someone has added to the listener rule: {what}; the next update removes it"


def _candidate(order: Order, group: Group | None) -> Iterator[str]:
    candidate, minimum = order.candidate, order.policy.minimum
    if group is None:
        yield gone(candidate)
        return
    if group.follows != order.followed:
        yield f"{candidate.release} does not follow the schedules of the settings"
    if group.warm_pool != order.warm_pool:
        yield f"{candidate.release} does not have the warm pool of the settings"
    if group.minimum not in order.minima or group.desired < min(order.minima):
        yield (f"{candidate.release} has {_size(group)} and a minimum of {group.minimum}, instead of {minimum}")
    if group.scale_in is not None:
        yield f"{candidate.release} is scheduled to be scaled in at {group.scale_in}"


def _standby(order: Order, target: ReleaseTarget, group: Group | None) -> Iterator[str]:
    if group is None:
        yield f"standby: {gone(target)}"
    elif order.policy.warm <= 0:
        yield from _other(target, group)
    elif group.minimum != group.desired:
        yield f"standby {target.release} is not pinned to its {_size(group)}"
    elif group.desired and group.scale_in is None:
        yield f"standby {target.release} would never be scaled in"
    elif group.desired and not group.has_action:
        yield (
            f"standby {target.release} would never be scaled in: its tag names {group.scale_in}, but the scheduled"
            " action is missing"
        )


def _other(target: ReleaseTarget, group: Group) -> Iterator[str]:
    if (group.minimum, group.desired) != (0, 0) and not group.is_planned:
        yield f"{target.release} has {_size(group)} instead of none"


def _size(group: Group) -> str:
    return capacity(group.desired, weighted=group.weighted)


def gone(target: ReleaseTarget) -> str:
    """For a group that was deleted by hand: Pulumi makes it again only when it knows."""
    what = f"auto scaling group {target.group} of {target.release} no longer exists"
    return f"{what}: run `pulumi up --refresh` to create it again"
