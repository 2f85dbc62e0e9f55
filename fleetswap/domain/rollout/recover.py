"""Recover: the traffic that a rollout that died has left elsewhere is restored, before anything new starts.

The look decided where it belongs, and has queued what makes the switch ours.
"""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain.rollout import compare, look
from fleetswap.domain.rollout.health import Streak
from fleetswap.domain.rollout.messages import Event, Kind, ReadRule, RuleRead
from fleetswap.domain.rollout.model import shares
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.transition import Go, Next, make, unexpected


def enter(state: State, now: float) -> Next:
    """The switch first: it must not undo what comes then."""
    if state.first is None:
        raise TypeError("nothing was looked at")
    changes = [*state.queue, *look.bring_home(state, state.first)]
    deadline = now + state.order.policy.shift_deadline
    return make(replace(state, phase=Phase.RECOVER, deadline=deadline), changes, now)


def made(state: State, _now: float) -> State:
    """The weights are written."""
    return replace(state, doing=ReadRule(), streak=Streak())


def answered(state: State, event: Event, now: float) -> Next:
    """One reading of the rule."""
    if isinstance(event, RuleRead):
        return _is_home(state, event, now)
    return unexpected(state, event)


def _is_home(state: State, event: RuleRead, now: float) -> Next:
    """The traffic is home when it is seen there several times; then everything begins anew."""
    policy = state.order.policy
    good = shares(event.rule) == shares(state.home)
    state = replace(state, streak=state.streak.after(good))
    state = state.with_traffic_on(event.rule, now) if state.streak.good == 1 else state
    if state.streak.good >= policy.readings:
        return Go(Phase.LOOK, state)
    if not good and now >= state.deadline:
        return compare.fail(state, Kind.ABORTED, f"the traffic could not be restored to {state.previous}", now)
    why = f"restoring the traffic to {state.previous}"
    if not good and state.order.terms.overrules and state.first is not None:
        (again,) = look.bring_home(state, state.first)
        return state.wait(policy.interval, why, again)
    return state.wait(policy.quick, why, ReadRule())
