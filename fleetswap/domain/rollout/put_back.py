"""The put-back: what a rollout that failed does, in which order, until the world is as it was.

The weights go back first, and the candidate loses its machines only when they are seen to be back; the dead man's
switch goes last, because until then it may have to help. They do not go back to a release that has no healthy machine
while the candidate has some, or that is being scaled in; and what someone else has moved meanwhile is left as it is.
The first reason stays the reason; what cannot be put back is told with it. It never decides that a rollout has failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fleetswap.domain.rollout import clean_up, pins, rollout_tags
from fleetswap.domain.rollout.health import Streak
from fleetswap.domain.rollout.messages import (
    Broke,
    CancelScaleIn,
    Change,
    Compare,
    Compared,
    Did,
    Disarm,
    End,
    Event,
    Kind,
    ReadRule,
    Restore,
    Route,
    RuleRead,
    ScheduleScaleIn,
    Tag,
    Unanswered,
    Untag,
    Wait,
)
from fleetswap.domain.rollout.model import PRIORITY, Rule, shares
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import ALL

PUT_BACK_PAUSE = 1.0
"""Seconds between two tries of the put-back: short, because users wait; long enough not to feed a throttle."""

PUT_BACK_REFUSALS = 5
"""Tries of a put-back's call that AWS refuses outright. A refusal seldom passes, but an interruption counts as one."""


def fail(state: State, kind: Kind, why: str, now: float) -> State:
    """Begin to undo. The first reason stays the reason, whatever comes after it."""
    ending = state.ending if state.ending.kind else End(kind, why)
    deadline = now + state.order.policy.patience
    state = replace(state, phase=Phase.COMPARE, ending=ending, refusals=0, streak=Streak(), deadline=deadline, queue=())
    if state.first is None:
        return _end(state)
    if not state.moved:
        return replace(state, doing=ReadRule())
    return _compare_after(replace(state, queue=tuple(_before_going_back(state))), now)


def _before_going_back(state: State) -> Iterator[Change]:
    """What the settle has done to live is undone, or marked, before it gets traffic again: we may die right then."""
    side = state.home_side
    for change in state.touched:
        if isinstance(change, ScheduleScaleIn) and change.side == side:
            yield CancelScaleIn(change.side)
        if isinstance(change, Untag) and change.side == side and side != state.order.candidate:
            yield Tag(change.side, rollout_tags.PIN, str(pins.floor(state, change.side) or 0))


def _compare_after(state: State, now: float) -> State:
    return state.change(state.queue[0], now) if state.queue else _compare(state)


def leave(state: State, why: str) -> State:
    """End at once, and touch nothing more: someone newer is at work, who puts right what we leave."""
    ending = End(Kind.ABORTED, f"{why}: wait for its end, then {state.order.terms.again}")
    return _end(replace(state, ending=ending, now_on="what the other rollout decides"))


def step_back(state: State, event: Event, now: float) -> State:  # noqa: PLR0911 - one case an event
    """The next state of a rollout that is being undone. A call that fails is tried again for a while."""
    if isinstance(state.doing, Wait):
        return replace(state, doing=state.doing.then)  # however the wait ended
    if isinstance(event, (Unanswered, Broke)):
        return _stumble(state, event, now)
    match event:
        case Did() if state.phase is Phase.COMPARE:
            return _compare_after(state.changed(), now)
        case Compared():
            return _compared(state, event, now)
        case Did() if state.phase is Phase.PUT_BACK:
            return replace(state, doing=ReadRule())
        case RuleRead() if state.phase is Phase.COMPARE:
            return _was_never_moved(state, event.rule, now)
        case RuleRead():
            return _is_back(state, event.rule, now)
        case Did():
            return _next_in_clean_up(state.changed(), now)
        case _:
            raise TypeError(f"{type(event).__name__} cannot follow {type(state.doing).__name__}")


def _compare(state: State) -> State:
    return replace(state, doing=Compare(tuple(sorted(state.served))))


def _compared(state: State, event: Compared, now: float) -> State:
    candidate = state.order.candidate
    if _taken_over(state, event, now):
        return _left_to_the_newer(state, event, now)
    if event.rule_known and not state.is_ours(event.rule):
        return _leave_to_others(state, event.rule, now)
    if state.leaving:
        return _no_way_back(state, now)
    had = any(target_group == candidate.target_group for weights in state.written for target_group, _ in weights)
    if had and state.served and event.before == 0 and event.candidate:
        alone: list[Change] = [Route(((candidate.target_group, ALL),))]  # some users are on machines that do not answer
        if event.rule_known and shares(event.rule) == shares(Rule(((candidate.target_group, ALL),))):
            alone = []
        return _stay(state, f"{state.previous} has no healthy machine", now, alone)
    return _restore(state)


def _taken_over(state: State, event: Compared, now: float) -> bool:
    """Whether the switch that we armed is another run's, or was deleted by one that has finished since.

    One that has finished has left all the traffic on one release; while it is shared, only a hand can have deleted it.
    """
    if not state.owned or not event.armed_known:
        return False
    if event.armed is not None:
        return event.armed.run != state.run
    if state.armed_until is None or now >= state.armed_until:
        return False  # it was disarmed, or has fired
    disarmed = any(isinstance(change, Disarm) for change in state.touched)
    alone = shares(Rule(((state.order.candidate.target_group, ALL),)))
    as_written = event.rule_known and shares(event.rule) == shares(state.expected) == alone != shares(state.home)
    return as_written and not disarmed


def _left_to_the_newer(state: State, event: Compared, now: float) -> State:
    """Without a switch nobody takes the traffic off the candidate any more: what we planned for that must go."""
    why = f"{state.ending.reason}; another rollout of this service took over"
    if event.armed is not None:
        return leave(state, why)
    planned: list[Change] = [CancelScaleIn(state.order.candidate)] if state.is_planned_ahead else []
    return _clean_up(leave(state, f"{why}, or someone has deleted the dead man's switch"), planned, now)


def _no_way_back(state: State, now: float) -> State:
    return _stay(state, f"{state.previous} was being scaled in already", now)


def _restore(state: State) -> State:
    rule = state.home
    action = Route(rule.weights) if rule is not None and rule.serving and not rule.verbatim else Restore(rule)
    return replace(state, phase=Phase.PUT_BACK, doing=action)


def _was_never_moved(state: State, rule: Rule | None, now: float) -> State:
    if not state.is_ours(rule):
        return _leave_to_others(state, rule, now)
    return _enter_clean_up(state, rule, now)


def _leave_to_others(state: State, rule: Rule | None, now: float) -> State:
    """Someone else moved the traffic, and it stays there; what is ours is undone."""
    state = state.with_traffic_on(rule, now)
    serving = rule.serving if rule else frozenset()
    on = " and ".join(sorted(state.order.release_of(arn) for arn in serving)) or "nothing"
    if state.order.candidate.target_group in serving:
        return _stay(state, "someone else moved it there", now, rule=rule)
    reason = f"{state.ending.reason}; the traffic stays on {on}, where someone else moved it: {state.order.terms.again}"
    state = replace(state, ending=replace(state.ending, reason=reason), now_on=on)
    return _clean_up(state, clean_up.changes(state, serving, now), now)


def _stumble(state: State, event: Unanswered | Broke, now: float) -> State:
    """A call of the put-back failed: try again until refused too often or out of time, then tell, and go on."""
    if state.phase is Phase.COMPARE and state.queue:
        return _compare_after(replace(state, queue=state.queue[1:]), now)  # users come first
    if isinstance(state.doing, Compare):
        # Not knowing is no reason to stay.
        return _no_way_back(state, now) if state.leaving else _restore(state)
    refusals = state.refusals + isinstance(event, Broke)
    if refusals < PUT_BACK_REFUSALS and now < state.deadline:
        # What was refused may never have been needed: the rule tells. What was not answered must be done again.
        refused = state.phase is Phase.PUT_BACK and isinstance(event, Broke)
        again = ReadRule() if refused else state.doing
        return replace(state, refusals=refusals).wait(PUT_BACK_PAUSE, f"putting back: {event.why}", again)
    if state.phase is not Phase.CLEAN_UP:
        return _lost(state, event.why, now)
    problem = f"could not {clean_up.words(state.queue[0])} ({event.why}): {state.order.terms.again}"
    return _next_in_clean_up(replace(_problem(state, problem), queue=state.queue[1:], refusals=0), now)


def _is_back(state: State, rule: Rule | None, now: float) -> State:
    back = shares(rule) == shares(state.home)
    state = replace(state, streak=state.streak.after(back))
    if state.streak.good == 1:
        state = state.with_traffic_on(rule, now)
    if state.streak.good >= state.order.policy.readings:
        return _enter_clean_up(state, rule, now)
    if not back and not state.is_ours(rule):
        return _leave_to_others(state, rule, now)
    if now >= state.deadline:
        return _lost(state, "the listener's rule does not change", now)
    if back:
        seconds = PUT_BACK_PAUSE if state.refusals else state.order.policy.quick
        return state.wait(seconds, "putting back: the weights are back", ReadRule())
    again = _restore(state)
    return state.wait(PUT_BACK_PAUSE, "putting back: the weights are not seen to be back yet", again.doing)


def _lost(state: State, why: str, now: float) -> State:
    """The weights cannot be put back, or not be read. The candidate may have the traffic, so it keeps its machines.

    The switch stays armed: it may succeed where we did not. What was planned for the case that we die is cancelled: it
    takes for granted that the switch succeeds, and we know that something is wrong.
    """
    candidate = state.order.candidate.release
    if not state.moved:
        problem = f"could not see that {candidate} has no traffic ({why}), so it keeps its machines"
    else:
        where = f"the traffic on {state.previous}" if state.served else f"rule {PRIORITY} of the listener"
        problem = f"could not put back {where} ({why}), and {candidate} keeps its machines"
        if state.armed_until is not None:
            problem += "; the dead man's switch will try"
    state = _problem(replace(state, now_on="unknown"), f"{problem}: {state.order.terms.again}")
    planned: list[Change] = [CancelScaleIn(state.order.candidate)] if state.moved and state.is_planned_ahead else []
    return _clean_up(state, planned, now)


def _stay(state: State, why: str, now: float, first: Sequence[Change] = (), rule: Rule | None = None) -> State:
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
    return _clean_up(state, [*first, *keep, *disarm, *rest], now)


def _enter_clean_up(state: State, rule: Rule | None, now: float) -> State:
    reason = state.ending.reason
    if state.previous is None:
        reason += "; nothing has the traffic, as before"
    elif shares(rule) == shares(state.home):
        reason += f"; {state.previous} {'has all the traffic again' if state.moved else 'keeps all the traffic'}"
    state = replace(state, ending=replace(state.ending, reason=reason))
    return _clean_up(state, clean_up.changes(state, rule.serving if rule else frozenset(), now), now)


def _clean_up(state: State, changes: Sequence[Change], now: float) -> State:
    return _next_in_clean_up(replace(state, phase=Phase.CLEAN_UP, queue=tuple(changes), refusals=0), now)


def _next_in_clean_up(state: State, now: float) -> State:
    return state.change(state.queue[0], now) if state.queue else _end(state)


def _end(state: State) -> State:
    return replace(state, phase=Phase.DONE, doing=state.ending)


def _problem(state: State, problem: str) -> State:
    return replace(state, ending=replace(state.ending, problems=(*state.ending.problems, problem)))
