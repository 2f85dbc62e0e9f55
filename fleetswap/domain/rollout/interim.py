"""Interim: what stays watched while a hook runs, or while a rollout waits for a person.

A candidate with traffic is judged as in a step, with two differences: nothing is passed, and missing evidence has no
deadline, because whole minutes are not what is waited for. Without traffic it only has to stay healthy. In both, a
person's abort, another rollout, and someone else's weights end it. The time that passes here counts for no deadline of
the phases around it. It never moves traffic, and does not decide how long it takes.
"""

from __future__ import annotations

import math
from dataclasses import replace

from fleetswap.domain.rollout import best_effort, canary, compare, evidence, health, hold, scale_in, wording
from fleetswap.domain.rollout.health import Streak
from fleetswap.domain.rollout.messages import Action, Change, Event, EvidenceRead, Kind, Look, Seen
from fleetswap.domain.rollout.shift import MOVED
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.transition import unexpected


def begin(state: State, now: float) -> State:
    """The clock of what comes after stands still."""
    watch = canary.watched(state, now) if state.moved else state.watch
    return replace(state, time_left=max(0.0, state.deadline - now), watch=watch, streak=Streak())


def end(state: State, now: float) -> State:
    """It goes on, if it stood still."""
    if state.phase not in {Phase.HOOK, Phase.PAUSE}:
        return state
    return replace(state, phase=Phase.SHIFT, deadline=now + state.time_left, streak=Streak())


def switch_seconds(state: State) -> float:
    """How far the switch is ahead of us here: as far as in a step."""
    return canary.switch_seconds(state.order.policy, state.steps[0])


def push_out(state: State, seconds: float) -> list[Change]:
    """What is planned for the case that we die does not come within so many seconds: the switch, if it is armed, and
    the scale-in of the candidate.
    """
    if state.armed_until is not None:
        return scale_in.arm(state, seconds)
    return [scale_in.if_we_die(state, seconds)] if state.is_planned_ahead else []


def reading(state: State, now: float) -> Action:
    """What is read again and again."""
    return hold.reading(state, now) if state.moved else Look(first=False)


def doubted(state: State, now: float) -> State:
    """It would be over, but the last reading was bad: that is cleared up first, or the next step would forget it."""
    if now >= state.deadline:
        reason = f"what spoke against release {state.order.candidate.release} last was not seen to be over in time"
        return compare.fail(state, Kind.ABORTED, reason, now)
    seconds = state.order.policy.quick
    return state.wait(seconds, "the last reading was bad: reading again", reading(state, now + seconds))


def watched(state: State, event: Event, now: float) -> tuple[State, State | None]:
    """The state after one of these readings; and, if it ends the rollout, the one that does."""
    match event:
        case EvidenceRead():
            state, decision = hold.weighed(state, event, now, hold_over=False, seconds_left=math.inf)
            return state, hold.aborted(state, decision, now)
        case Seen():
            return _seen(state, event, now)
        case _:
            return unexpected(state, event)


def _seen(state: State, seen: Seen, now: float) -> tuple[State, State | None]:
    candidate = state.order.candidate
    group = seen.group(candidate.release)
    if seen.armed is not None and seen.armed.run != state.run:
        return state, compare.leave(state, "another rollout of this service has started and taken over")
    if group is not None and group.abort is not None and best_effort.is_new(state, group.abort):
        return state, compare.fail(state, Kind.CANCELLED, wording.reasons([evidence.stopped(group.abort)]), now)
    state = state.with_rule(seen.rule, now)
    if state.is_others(seen.rule, now):
        return state, compare.fail(state, Kind.ABORTED, f"{MOVED}; the traffic stays as it is now", now)
    alive = health.healthy(seen.targets_of(candidate.target_group)) > 0
    state = replace(state, streak=state.streak.after(alive))
    if state.streak.bad < state.order.policy.readings:
        return state, None
    return state, compare.fail(state, Kind.ABORTED, f"release {candidate.release} no longer has a healthy machine", now)
