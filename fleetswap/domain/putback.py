"""The put-back: what a rollout that failed does, in which order, until the world is as it was.

The weights go back first, and the candidate loses its machines only when they are seen to be back. They do not go back
to a release that has no healthy machine while the candidate has some, or that is being scaled in. The first reason
stays the reason; what cannot be put back is told with it. It never decides that a rollout has failed.
"""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain import gate
from fleetswap.domain.gate import Streak
from fleetswap.domain.moves import (
    Broke,
    Compare,
    Compared,
    Did,
    End,
    Event,
    Kind,
    Phase,
    ReadRule,
    Resize,
    Restore,
    RuleRead,
    State,
    Unanswered,
    Wait,
)
from fleetswap.domain.orders import PRIORITY, Rule, shares

PUT_BACK_PAUSE = 1.0
"""Seconds between two tries of the put-back: short, because users wait; long enough not to feed a throttle."""

PUT_BACK_REFUSALS = 5
"""Tries of a put-back's call that AWS refuses outright. A refusal seldom passes, but an interruption counts as one."""


def fail(state: State, kind: Kind, why: str, now: float) -> State:
    """Begin to undo. The first reason stays the reason, whatever comes after it."""
    ending = state.ending if state.ending.kind else End(kind, why)
    deadline = now + state.order.policy.patience
    state = replace(state, phase=Phase.COMPARE, ending=ending, refusals=0, streak=Streak(), deadline=deadline)
    if state.first is None:
        return _end(state)
    if not state.moved:
        return replace(state, doing=ReadRule())
    if state.leaving:
        return _stay(state, f"{state.previous} was being scaled in already")
    if not state.served:
        return replace(state, phase=Phase.PUT_BACK, doing=Restore(state.before))
    return replace(state, doing=Compare(tuple(sorted(state.served))))


def step_back(state: State, event: Event, now: float) -> State:  # noqa: PLR0911 - one case an event
    """The next state of a rollout that is being undone. A call that fails is tried again for a while."""
    if isinstance(state.doing, Wait):
        return replace(state, doing=state.doing.then)  # however the wait ended
    if isinstance(event, (Unanswered, Broke)):
        return _stumble(state, event, now)
    match event:
        case Compared():
            if event.before == 0 and event.candidate:
                return _stay(state, f"{state.previous} has no healthy machine")
            return replace(state, phase=Phase.PUT_BACK, doing=Restore(state.before))
        case Did() if state.phase is Phase.PUT_BACK:
            return replace(state, doing=ReadRule())
        case RuleRead() if state.phase is Phase.COMPARE:
            candidate = state.order.candidate
            if event.rule and candidate.target_group in event.rule.serving - state.served:
                return _stay(state, "someone else moved it there")
            return _enter_clean_up(state, event.rule)
        case RuleRead():
            return _is_back(state, event.rule, now)
        case Did():
            return _next_in_clean_up(replace(state, queue=state.queue[1:], refusals=0))
        case _:
            raise TypeError(f"{type(event).__name__} cannot follow {type(state.doing).__name__}")


def _stumble(state: State, event: Unanswered | Broke, now: float) -> State:
    """A call of the put-back failed: try again until refused too often or out of time, then tell, and go on."""
    if isinstance(state.doing, Compare):
        return replace(state, phase=Phase.PUT_BACK, doing=Restore(state.before))  # not knowing is no reason to stay
    refusals = state.refusals + isinstance(event, Broke)
    if refusals < PUT_BACK_REFUSALS and now < state.deadline:
        # What was refused may never have been needed: the rule tells. What was not answered must be done again.
        refused = state.phase is Phase.PUT_BACK and isinstance(event, Broke)
        again = ReadRule() if refused else state.doing
        return replace(state, refusals=refusals).wait(PUT_BACK_PAUSE, f"putting back: {event.why}", again)
    if state.phase is not Phase.CLEAN_UP:
        return _lost(state, event.why)
    resize = state.queue[0]
    size = "its former size" if resize.desired is None else f"{resize.desired} machines"
    problem = f"could not put back {resize.side.release} to {size} ({event.why}): run `pulumi up` again"
    return _next_in_clean_up(replace(_problem(state, problem), queue=state.queue[1:], refusals=0))


def _is_back(state: State, rule: Rule | None, now: float) -> State:
    back = shares(rule) == shares(state.before)
    state = replace(state, streak=state.streak.after(back))
    if state.streak.good >= state.order.policy.readings:
        return _enter_clean_up(state, rule)
    if now >= state.deadline:
        return _lost(state, "the listener's rule does not change")
    if back:
        seconds = PUT_BACK_PAUSE if state.refusals else state.order.policy.quick
        return state.wait(seconds, "putting back: the weights are back", ReadRule())
    return state.wait(PUT_BACK_PAUSE, "putting back: the weights are not seen to be back yet", Restore(state.before))


def _lost(state: State, why: str) -> State:
    """The weights cannot be put back, or not be read. The candidate may have the traffic, so it keeps its machines."""
    candidate = state.order.candidate.release
    if not state.moved:
        problem = f"could not see that {candidate} has no traffic ({why}), so it keeps its machines"
    else:
        where = f"the traffic on {state.previous}" if state.served else f"rule {PRIORITY} of the listener"
        problem = f"could not put back {where} ({why}), and {candidate} keeps its machines"
    return _end(_problem(state, f"{problem}: run `pulumi up` again"))


def _stay(state: State, why: str) -> State:
    reason = f"{state.ending.reason}; the traffic stays on {state.order.candidate.release}, because {why}"
    return _end(replace(state, ending=replace(state.ending, reason=f"{reason}: run `pulumi up` again")))


def _enter_clean_up(state: State, rule: Rule | None) -> State:
    """Give every group that was touched its former size; the candidate goes to 0, unless it was of use before.

    A release that serves never loses machines here: only its minimum goes back, because scaling goes on meanwhile.
    """
    first, order = state.first, state.order
    queue = []
    touched = {resize.side for resize in state.touched}
    for side in order.sides:
        group = first.group(side.release) if first else None
        if first is None or group is None or (side not in touched and side != order.candidate):
            continue
        was_warm = gate.healthy(first.targets_of(side.target_group)) > 0
        if side.target_group in state.served:
            if side in touched:
                queue.append(Resize(side, group.minimum, None))
        elif side == order.candidate and not was_warm:
            if side in touched or (group.minimum, group.desired) != (0, 0):
                queue.append(Resize(side, 0, 0))
        elif side in touched:
            changed = any(other.desired is not None for other in state.touched if other.side == side)
            queue.append(Resize(side, group.minimum, group.desired if changed else None))
    reason = state.ending.reason
    if state.previous is None:
        reason += "; nothing has the traffic, as before"
    elif shares(rule) == shares(state.before):
        reason += f"; {state.previous} {'has all the traffic again' if state.moved else 'keeps all the traffic'}"
    ending = replace(state.ending, reason=reason)
    return _next_in_clean_up(replace(state, phase=Phase.CLEAN_UP, queue=tuple(queue), refusals=0, ending=ending))


def _next_in_clean_up(state: State) -> State:
    return replace(state, doing=state.queue[0]) if state.queue else _end(state)


def _end(state: State) -> State:
    return replace(state, phase=Phase.DONE, doing=state.ending)


def _problem(state: State, problem: str) -> State:
    return replace(state, ending=replace(state.ending, problems=(*state.ending.problems, problem)))
