"""Settle: what is left to do when the candidate has all the traffic and has proved itself.

The candidate's pin is removed. The standby is kept warm for a while and then scaled in by AWS itself, the other
releases are scaled in, and the release that served before comes last. This module decides what to do, in which order;
it never moves traffic.
"""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain.rollout import clean_up, look, pins, rollout_tags, scale_in
from fleetswap.domain.rollout.health import Streak
from fleetswap.domain.rollout.messages import (
    CancelScaleIn,
    Change,
    Disarm,
    End,
    Event,
    Follow,
    KeepWarmPool,
    ReadRule,
    Resize,
    RuleRead,
    ScheduleScaleIn,
    Seen,
)
from fleetswap.domain.rollout.model import Group, ReleaseTarget
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.transition import Next, make, unexpected


def enter(state: State, now: float) -> Next:
    """The switch first: as long as it is armed, nothing may be scaled in that it would put the traffic on."""
    state = replace(state, phase=Phase.SETTLE, deadline=now + state.order.policy.patience)
    changes: list[Change] = [CancelScaleIn(state.order.candidate)] if state.is_planned_ahead else []
    if state.order.terms.overrules:
        state = replace(state, arrived=True)
        changes.append(Disarm(anyones=True))  # a rollout that still runs may have armed it again
    elif state.armed_until is not None:
        changes.append(Disarm())
    if changes:  # who dies after the switch is gone leaves the traffic where it is: no plan may be left on it
        return make(state, changes, now)
    if state.is_live_already:
        return replace(state, doing=ReadRule())  # it was not looked at since the start
    return _settle(state, now)


def made(state: State, now: float) -> State:
    """The switch is gone; or all is done."""
    if not state.verified:
        return replace(state, doing=ReadRule(), streak=Streak())
    return replace(state, phase=Phase.DONE, doing=End(), deadline=now)


def answered(state: State, event: Event, now: float) -> Next:
    """One reading of the rule."""
    if isinstance(event, RuleRead):
        return _still_holds(state, event, now)
    return unexpected(state, event)


def _still_holds(state: State, event: RuleRead, now: float) -> Next:
    """The switch is gone. Whatever it did before that, it cannot do any more; so this reading stays true."""
    state = state.with_rule(event.rule, now)
    if state.odd_since is None:
        return _settle(state, now)
    reason = "someone else moved the traffic, or the dead man's switch did"
    return look.moved_by_others(state, event.rule, ReadRule(), reason, now)


def _settle(state: State, now: float) -> Next:
    seen = state.latest
    if seen is None:
        raise TypeError("nothing was looked at")
    left = max((scale_in.left(state, target, now) for target in state.order.strangers), default=0.0)
    if (
        left > 0 and not state.order.terms.keeps_all
    ):  # nothing declares them, so that Pulumi may delete them as soon as we end
        why = f"waiting until no node of the load balancer sends requests to {state.previous}"
        return state.wait(left, why, ReadRule())
    state = replace(state, verified=True, now_on=state.order.candidate.release)
    return make(state, changes(state, seen, now), now)


def changes(state: State, seen: Seen, now: float) -> list[Change]:
    """All of it. The standby's scale-in is planned at the end, so that few failures can leave it on what gets traffic
    again, and its pin goes after that: with neither, no one would know that it is not to run for ever. The candidate's
    warm pool comes last of all, because it may have to wait until AWS has deleted the one that it had.

    What the order does not know is left as it is, with its pin: whatever declares it has to say, and the traffic may
    have to go back there until all is done.
    """
    order = state.order
    found = _candidate(state, seen.group(order.candidate.release))
    last: list[Change] = []
    for target in sorted(order.others, key=lambda target: target.target_group in state.served):
        group = seen.group(target.release)
        if group is None:
            continue
        if group.follows and order.moves_schedules:  # before it is scaled in: the next time would start machines
            found.append(Follow(target, ()))
        if group.warm_pool is not None and not order.terms.keeps_all:
            found.append(KeepWarmPool(target, None))
        if order.terms.keeps_all:
            found += _kept(state, target, group)
        elif target.release == order.standby and order.policy.warm > 0:
            if group.minimum != group.desired:
                found.append(Resize(target, group.desired, None))  # target tracking shrinks a group without traffic
            cancelled = any(isinstance(change, CancelScaleIn) and change.target == target for change in state.touched)
            if group.desired > 0 and (cancelled or not group.is_planned):
                last.append(ScheduleScaleIn(target, scale_in.kept_warm(order.policy, order.policy.warm)))
            last += pins.release(state, target)
        else:
            found += [*scale_in.changes(state, target, group, now), *pins.release(state, target)]
    return [*found, *clean_up.tell(state), *last, *_pool(state, seen.group(order.candidate.release))]


def _kept(state: State, target: ReleaseTarget, group: Group) -> list[Change]:
    """What had the traffic stays as large as it is, to come back to, and is not planned to go; the others get their
    minimum back. Who was told to stop may not have read it yet.
    """
    had = target.release == state.order.standby or target.target_group in state.had
    found: list[Change] = [CancelScaleIn(target)] if had and group.scale_in is not None else []
    if had and group.minimum != group.desired:
        found.append(Resize(target, group.desired, None))  # target tracking shrinks a group without traffic
    elif not had and group.pin is not None:
        found.append(Resize(target, group.pin, None, lower=True))
    return [*found, *pins.release(state, target, keep=(rollout_tags.ABORT,))]


def _candidate(state: State, group: Group | None) -> list[Change]:
    candidate, minimum = state.order.candidate, state.order.policy.minimum
    resized = any(isinstance(change, Resize) and change.target == candidate for change in state.touched)
    allowed = state.order.minima if group is not None and group.follows else {minimum}
    fits = group is not None and group.minimum in allowed and not resized
    resize: list[Change] = [] if fits else [Resize(candidate, minimum, None)]
    follows = group.follows if group is not None else ""
    schedules = state.order.schedules
    follow: list[Change] = []
    if state.order.moves_schedules and (follows != state.order.followed or (schedules and resize)):
        follow = [Follow(candidate, schedules, minimum)]
    return [*resize, *follow, *pins.release(state, candidate)]


def _pool(state: State, group: Group | None) -> list[Change]:
    if group is None or group.warm_pool == state.order.warm_pool or state.order.terms.keeps_all:
        return []
    return [KeepWarmPool(state.order.candidate, state.order.warm_pool)]
