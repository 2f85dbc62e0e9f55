"""Scale: how many machines the candidate needs, how it gets them, and what to do if EC2 has no capacity.

With weights, all sizes are in units of capacity.

It decides sizes from what serves now, never from a setting alone, and never scales in.
"""

from __future__ import annotations

import math
from dataclasses import replace

from fleetswap.domain.rollout import compare, health, pins, rollout_tags, scale_in
from fleetswap.domain.rollout.best_effort import warn
from fleetswap.domain.rollout.drift import gone
from fleetswap.domain.rollout.health import Failure, Reading, Streak
from fleetswap.domain.rollout.messages import (
    CancelScaleIn,
    Change,
    Event,
    Follow,
    KeepWarmPool,
    Kind,
    OnDemand,
    Resize,
    Seen,
    TagRule,
    Untag,
)
from fleetswap.domain.rollout.model import Order
from fleetswap.domain.rollout.policy import Shortage
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.transition import Go, Next, make, unexpected
from fleetswap.domain.rollout.warm_pool import EMPTY
from fleetswap.domain.text import capacity


def enter(state: State, now: float) -> Next:
    """Give the candidate as many machines as what serves has now, and hold them there."""
    order, policy, candidate = state.order, state.order.policy, state.order.candidate
    seen = state.latest
    if seen is None:
        raise TypeError("nothing was looked at")
    group = seen.group(candidate.release)
    if group is None:
        return compare.fail(state, Kind.CLOUD, gone(candidate), now)
    wanted = max(state.wanted, demand(order, seen, state.served))
    if wanted > group.maximum and order.terms.scarce:
        most = capacity(group.maximum, weighted=group.weighted)
        state = warn(state, f"{candidate.release} can have at most {most}, but {wanted} serve now")
        state = replace(state, most=group.maximum)
        wanted = group.maximum
    if wanted > group.maximum:
        reason = (
            f"release {candidate.release} needs {capacity(wanted, weighted=group.weighted)}, as many as serve now, but"
            f" its maximum is"
            f" {group.maximum}: raise fleetswap:capacity.max"
        )
        return compare.fail(state, Kind.ABORTED if state.moved else Kind.INPUT, reason, now)
    found = changes(state, seen, wanted)
    deadline = state.deadline
    if state.moved:  # in the middle of a canary: it takes as long as it takes, and the switch must know
        deadline = now + policy.deadline
        found = [*scale_in.arm(state, policy.deadline + policy.switch_margin), *found]
    state = replace(state, wanted=wanted, phase=Phase.SCALE, streak=Streak(), deadline=deadline)
    return make(state, found, now)


def made(state: State, _now: float) -> Next:
    """The machines are on their way."""
    return Go(Phase.GATE, state)


def answered(state: State, event: Event, _now: float) -> Next:
    """Nothing is read here."""
    return unexpected(state, event)


def demand(order: Order, seen: Seen, served: frozenset[str]) -> int:
    """How many machines carry the traffic now, and never fewer than the settings' minimum.

    The group's desired capacity says it; of a release that is not in the order, the targets that are not leaving.
    """
    most = order.policy.minimum
    for target_group in served:
        group = seen.group(order.release_of(target_group))
        if group is not None:
            most = max(most, group.desired)
        else:
            most = max(most, sum(target.weight for target in seen.targets_of(target_group) if not target.is_leaving))
    return most


def changes(state: State, seen: Seen, wanted: int) -> list[Change]:
    """What gives the candidate its machines and holds them there.

    AWS must not scale in, some minutes from now, what has or gets traffic; but the pin comes first, so that there is
    always a mark on what is not to run for ever.
    """
    order, candidate = state.order, state.order.candidate
    found = keep(state, seen)
    group = seen.group(candidate.release)
    if group is None:
        return found
    if not state.is_live_already and not state.moved:
        # Cancelled first, whatever the tags say: a plan that no tag tells of would end it some time from now. And who
        # may not delete a plan, or not make one, is to find out before a weight has moved.
        seconds = order.policy.deadline + order.policy.switch_margin
        ahead: list[Change] = [CancelScaleIn(candidate), scale_in.if_we_die(state, seconds)]
        home = state.home_target
        # The same for the tags of the rule. What they say is true, and of use to whoever comes after us.
        told: list[Change] = [TagRule(((rollout_tags.LIVE, home.release),), (rollout_tags.ABORT,))] if home else []
        found = [*pins.pin_candidate(state, seen), *found, *told, *ahead]
        if group.follows:  # of the time when it was live: it would lower the minimum that it is held at
            found.append(Follow(candidate, ()))
        if state.order.warm_pool is not None and group.warm_pool is None:  # as above
            found.append(KeepWarmPool(candidate, EMPTY))
    if group.abort is not None:
        found.append(Untag(candidate, (rollout_tags.ABORT,)))
    if group.paused is not None and not state.paused:  # of a rollout that died: nobody is to think that we wait
        found.append(Untag(candidate, (rollout_tags.PAUSED, rollout_tags.CONTINUE)))
    minimum = order.policy.minimum if state.is_live_already else wanted
    fits = group.desired >= wanted and (group.minimum >= wanted or state.is_live_already)
    if not fits or group.is_planned:  # scaled in, perhaps, since we looked
        found.append(Resize(candidate, minimum, max(wanted, group.desired)))
    return found


def keep(state: State, seen: Seen) -> list[Change]:
    """What keeps AWS from scaling in what has the traffic."""
    target = state.home_target
    group = seen.group(target.release) if target else None
    return [CancelScaleIn(target)] if target and group is not None and group.scale_in is not None else []


def is_short(reading: Reading, wanted: int, new: tuple[Failure, ...]) -> bool:
    """Whether machines are missing because EC2 has none."""
    if reading.machines is None or health.launched(reading.machines) >= wanted:
        return False
    return any(failure.is_shortage for failure in new)


def instead(state: State, reading: Reading) -> OnDemand | None:
    """The share of on-demand machines that makes up for the spot machines that are missing, and for no others.

    For a reading that `is_short`. None if that is not allowed, or would change nothing: EC2 lacks on-demand machines,
    too, or the group has no spot ones. EC2 Auto Scaling rounds the share up in favor of on-demand (user guide, "Auto
    Scaling groups with multiple instance types and purchase options").
    """
    percent, base = reading.on_demand_percent, reading.on_demand_base
    if state.order.policy.shortage is not Shortage.ON_DEMAND or percent is None or reading.machines is None:
        return None
    size = max(state.wanted, reading.desired or 0)
    above = max(0, size - base)
    launched = health.launched(reading.machines)
    own = min(base, size) + _of(percent, above)
    if launched < own:
        return None
    needed = own + size - launched - base
    share = pins.ALL_ON_DEMAND * needed // above
    share += _of(share, above) < needed
    former = pins.former_percent(state, state.order.candidate)
    before = percent if former is None else former
    return OnDemand(state.order.candidate, share, instead=_of(share, above) - _of(before, above))


def _of(percent: int, machines: int) -> int:
    return math.ceil(machines * percent / 100)
