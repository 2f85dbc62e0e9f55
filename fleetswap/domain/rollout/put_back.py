"""Put back: writes the previous weights until they are seen to hold, or reports that they could not be restored.

The weights are restored first, and the candidate loses its machines only when they are seen to hold. The dead man's
switch is deleted last, because until then it may have to help. The weights are not restored to a release that has no
healthy machine while the candidate has some, or that is being scaled in; and what someone else has changed meanwhile is
left alone. The first reason stays the reason; what cannot be restored is reported with it. This module never decides
that a rollout has failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fleetswap.domain.rollout import clean_up
from fleetswap.domain.rollout.clean_up import PAUSE
from fleetswap.domain.rollout.messages import (
    Broke,
    CancelScaleIn,
    Change,
    Did,
    Disarm,
    Event,
    ReadRule,
    Restore,
    Route,
    RuleRead,
    Unanswered,
)
from fleetswap.domain.rollout.model import Rule, shares
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.transition import unexpected


def enter(state: State) -> State:
    """The rule as it was, or no rule."""
    rule = state.home
    action = Route(rule.weights) if rule is not None and rule.serving and not rule.verbatim else Restore(rule)
    return replace(state, phase=Phase.PUT_BACK, doing=action)


def answered(state: State, event: Event, now: float) -> State:
    """The weights are written, or the rule was read."""
    match event:
        case Did():
            return replace(state, doing=ReadRule())
        case RuleRead():
            return _is_back(state, event.rule, now)
        case _:
            return unexpected(state, event)


def stumbled(state: State, event: Unanswered | Broke, now: float) -> State:
    """A call failed: try again for a while."""
    return clean_up.once_more(state, event, now) or lost(state, event.why, now)


def _is_back(state: State, rule: Rule | None, now: float) -> State:
    back = shares(rule) == shares(state.home)
    state = replace(state, streak=state.streak.after(back))
    if state.streak.good == 1:
        state = state.with_traffic_on(rule, now)
    if state.streak.good >= state.order.policy.readings:
        return clean_up.enter(state, rule, now)
    if not back and not state.is_ours(rule):
        return leave_to_others(state, rule, now)
    if now >= state.deadline:
        return lost(state, "the listener rule does not change", now)
    if back:
        seconds = PAUSE if state.refusals else state.order.policy.quick
        return state.wait(seconds, "restoring: the previous weights hold", ReadRule())
    again = enter(state)
    return state.wait(PAUSE, "restoring: the listener does not show the previous weights yet", again.doing)


def lost(state: State, why: str, now: float) -> State:
    """The weights cannot be put back, or not be read. The candidate may have the traffic, so it keeps its machines.

    The switch stays armed: it may succeed where we did not. What was planned for the case that we die is cancelled: it
    takes for granted that the switch succeeds, and we know that something is wrong.
    """
    candidate = state.order.candidate.release
    if not state.moved:
        problem = f"could not confirm that {candidate} has no traffic ({why}), so it keeps its machines"
    else:
        where = f"the traffic to {state.previous}" if state.served else "the rule with the weights"
        problem = f"could not restore {where} ({why}), so {candidate} keeps its machines"
        if state.armed_until is not None:
            problem += "; the dead man's switch will try"
    state = clean_up.problem(replace(state, now_on="unknown"), f"{problem}: {state.order.terms.again}")
    planned: list[Change] = [CancelScaleIn(state.order.candidate)] if state.moved and state.is_planned_ahead else []
    return clean_up.begin(state, planned, now)


def leave_to_others(state: State, rule: Rule | None, now: float) -> State:
    """Someone else moved the traffic, and it stays there; what is ours is undone."""
    state = state.with_traffic_on(rule, now)
    serving = rule.serving if rule else frozenset()
    on = " and ".join(sorted(state.order.release_of(arn) for arn in serving)) or "nothing"
    if state.order.candidate.target_group in serving:
        return stay(state, "someone else moved it there", now, rule=rule)
    reason = f"{state.ending.reason}; the traffic stays on {on}, where someone else moved it: {state.order.terms.again}"
    state = replace(state, ending=replace(state.ending, reason=reason), now_on=on)
    return clean_up.begin(state, clean_up.changes(state, serving, now), now)


def stay(state: State, why: str, now: float, first: Sequence[Change] = (), rule: Rule | None = None) -> State:
    """The traffic is better off on the candidate. The switch must not move it then."""
    candidate = state.order.candidate
    reason = f"{state.ending.reason}; the traffic stays on {candidate.release}, because {why}"
    ending = replace(state.ending, reason=f"{reason}: {state.order.terms.again}")
    serving = rule.serving if rule else frozenset({candidate.target_group})
    state = replace(state, ending=ending, now_on=candidate.release)
    changes = clean_up.changes(state, serving, now)
    keep = [change for change in changes if isinstance(change, CancelScaleIn)]
    disarm = [change for change in changes if isinstance(change, Disarm)]
    rest = [change for change in changes if not isinstance(change, (CancelScaleIn, Disarm))]
    # Who dies after the switch is gone leaves the traffic there for good: then nothing may be planned for it.
    return clean_up.begin(state, [*first, *keep, *disarm, *rest], now)
