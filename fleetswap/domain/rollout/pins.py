"""Pins: sizes that a rollout holds for a while, each recorded in a tag before it is written, and how they are undone.

While two releases share the traffic, live must not be scaled in: it has less to do, but may have to take everything
back. And a candidate must not be scaled in while it has nothing to do yet. Whoever comes after a rollout that died
finds the tags and undoes what they say. This module decides which changes to make; `fleetswap.domain.rollout.machine`
decides when.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.messages import Change, Follow, MarkPaused, OnDemand, Resize, Seen, Tag, Untag
from fleetswap.domain.rollout.model import Group, ReleaseTarget
from fleetswap.domain.rollout.state import State

ALL_ON_DEMAND = 100


def pin_live(state: State, seen: Seen) -> list[Change]:
    """Hold live at the size that it has now. The tag goes first: alone, it says that the minimum is what it is.

    A schedule that is due meanwhile would lower the minimum. Who goes back by hand moves the schedules at the end, and
    makes no call for them before the traffic moves.
    """
    target = state.home_target
    group = seen.group(target.release) if target else None
    if target is None or group is None:
        return []
    alone: list[Change] = [Follow(target, ())] if group.follows and not state.order.terms.keeps_all else []
    if group.minimum >= group.desired:
        return alone
    pin = [] if group.pin is not None else [Tag(target, rollout_tags.PIN, str(group.minimum))]
    return [*alone, *pin, Resize(target, group.desired, None)]


def pin_candidate(state: State, seen: Seen) -> list[Change]:
    """Write down what the candidate's minimum is to be when it is live, whatever it is held at until then."""
    candidate = state.order.candidate
    group = seen.group(candidate.release)
    if group is None or group.pin is not None or rollout_tags.PIN in keys_on(state, candidate):
        return []
    return [Tag(candidate, rollout_tags.PIN, str(state.order.policy.minimum))]


def to_on_demand(state: State, target: ReleaseTarget, former: int, new: OnDemand) -> list[Change]:
    """Launch on-demand machines in the place of spot ones; the tag says what the percentage was before the first."""
    tag = [Tag(target, rollout_tags.ON_DEMAND, str(former))] if former_percent(state, target) is None else []
    return [*tag, new]


def former_percent(state: State, target: ReleaseTarget) -> int | None:
    """The on-demand percentage that a group is to have again; None if no one has changed it."""
    for change in state.touched:
        if isinstance(change, Tag) and change.target == target and change.key == rollout_tags.ON_DEMAND:
            return rollout_tags.number(change.value)
    return next((group.on_demand_pin for group in _seen(state, target) if group.on_demand_pin is not None), None)


def own_minimum(state: State, target: ReleaseTarget) -> int | None:
    """The minimum that a group had before any pin; None if it was never seen."""
    return next((group.own_minimum for group in _seen(state, target)), None)


def is_pinned(state: State, target: ReleaseTarget) -> bool:
    """Whether a group has, or may have, a pin: ours, or one that a dead rollout has left."""
    return rollout_tags.PIN in keys_on(state, target)


def keys_on(state: State, target: ReleaseTarget) -> tuple[str, ...]:
    """The tags that a group has, or may have, and that no end of a rollout leaves."""
    found = {change.key for change in state.touched if isinstance(change, Tag) and change.target == target}
    if any(isinstance(change, MarkPaused) and change.target == target for change in state.touched):
        found.add(rollout_tags.PAUSED)
    for group in _seen(state, target):
        found |= {
            key
            for key, value in (
                (rollout_tags.PIN, group.pin),
                (rollout_tags.ON_DEMAND, group.on_demand_pin),
                (rollout_tags.ABORT, group.abort),
                (rollout_tags.PAUSED, group.paused),
                (rollout_tags.CONTINUE, group.continued),
            )
            if value is not None
        }
    return tuple(sorted(found))


def release(state: State, target: ReleaseTarget, *, keep: Sequence[str] = ()) -> list[Change]:
    """What takes the marks off a group once its size is right; the sizes come first, so that a mark never lies.

    Those of `keep` stay.
    """
    percent = former_percent(state, target)
    changes: list[Change] = [] if percent is None else [OnDemand(target, percent)]
    keys = keys_on(state, target)
    if keys and target == state.order.candidate:
        keys = tuple(sorted({*keys, rollout_tags.ABORT}))  # it may have been written since the group was read
    if rollout_tags.PAUSED in keys:
        keys = tuple(sorted({*keys, rollout_tags.CONTINUE}))  # the same
    keys = tuple(key for key in keys if key not in keep)
    return [*changes, Untag(target, keys)] if keys else changes


def _seen(state: State, target: ReleaseTarget) -> list[Group]:
    looks = [look for look in (state.first, state.latest) if look is not None]
    return [group for look in looks if (group := look.group(target.release)) is not None]
