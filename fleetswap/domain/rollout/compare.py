"""Compare: the first phase after a failure. The rule, the switch and the health of both releases decide whether the
previous weights are restored.

They are not restored to a release that has no healthy machine while the candidate has some, or that is being scaled in;
and what someone else has changed meanwhile is left alone. The first reason stays the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fleetswap.domain.rollout import clean_up, pins, put_back, rollout_tags
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
    Route,
    RuleRead,
    ScheduleScaleIn,
    Tag,
    Unanswered,
    Untag,
)
from fleetswap.domain.rollout.model import Rule, shares
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import ALL
from fleetswap.domain.rollout.transition import unexpected


def fail(state: State, kind: Kind, why: str, now: float) -> State:
    """Begin to undo. The first reason stays the reason, whatever comes after it."""
    ending = state.ending if state.ending.kind else End(kind, why)
    deadline = now + state.order.policy.patience
    state = replace(state, phase=Phase.COMPARE, ending=ending, refusals=0, streak=Streak(), deadline=deadline, queue=())
    state = replace(state, hook_until=None, pause=None)
    if state.arrived:
        state = _arrived(state)
    if state.first is None:
        return clean_up.end(state)
    if not state.moved:
        return replace(state, doing=ReadRule())
    first = () if state.arrived else tuple(_before_going_back(state))
    return _compare_after(replace(state, queue=first), now)


def leave(state: State, why: str) -> State:
    """End at once, and touch nothing more: someone newer is at work, who puts right what we leave."""
    ending = End(Kind.ABORTED, f"{why}: wait until it ends, then {state.order.terms.again}")
    return clean_up.end(replace(state, ending=ending, now_on="what the other rollout decides"))


def answered(state: State, event: Event, now: float) -> State:
    """What live gets back first is done, or what is real was read."""
    match event:
        case Did():
            return _compare_after(state.changed(), now)
        case Compared():
            return _compared(state, event, now)
        case RuleRead():
            return _was_never_moved(state, event.rule, now)
        case _:
            return unexpected(state, event)


def stumbled(state: State, event: Unanswered | Broke, now: float) -> State:
    """A call failed. Users come first, and not knowing is no reason to stay."""
    if state.queue:
        return _compare_after(replace(state, queue=state.queue[1:]), now)
    if isinstance(state.doing, Compare):
        if state.arrived:
            return _keep(state, now)
        return _no_rollback(state, now) if state.leaving else put_back.enter(state)
    return clean_up.once_more(state, event, now) or put_back.lost(state, event.why, now)


def _before_going_back(state: State) -> Iterator[Change]:
    """What the settle has done to live is undone, or marked, before it gets traffic again: we may die right then."""
    target = state.home_target
    for change in state.touched:
        if isinstance(change, ScheduleScaleIn) and change.target == target:
            yield CancelScaleIn(change.target)
        if isinstance(change, Untag) and change.target == target and target != state.order.candidate:
            yield Tag(change.target, rollout_tags.PIN, str(pins.own_minimum(state, change.target) or 0))


def _compare_after(state: State, now: float) -> State:
    return state.change(state.queue[0], now) if state.queue else _compare(state)


def _compare(state: State) -> State:
    return replace(state, doing=Compare(tuple(sorted(state.served))))


def _compared(state: State, event: Compared, now: float) -> State:  # noqa: PLR0911 - one reason after the other
    candidate = state.order.candidate
    if _taken_over(state, event, now):
        return _left_to_the_newer(state, event, now)
    if event.rule_known and not state.is_ours(event.rule):
        return put_back.leave_to_others(state, event.rule, now)
    if state.leaving:
        return _no_rollback(state, now)
    alone = shares(Rule(((candidate.target_group, ALL),)))
    if state.arrived and (not event.rule_known or shares(event.rule) == alone):
        return _keep(state, now)
    if state.order.terms.overrules and state.moved and state.ending.kind in {Kind.ABORTED, Kind.CLOUD}:
        # AWS may not have responded for a while: that is no reason to go back to what is to be left.
        if not event.rule_known and now < state.deadline:
            return state.wait(clean_up.PAUSE, "AWS does not show which release has the traffic", state.doing)
        if event.rule_known and shares(event.rule) == alone != shares(state.home) and event.candidate != 0:
            return _keep(_arrived(state), now)
    had = any(target_group == candidate.target_group for weights in state.written for target_group, _ in weights)
    if had and state.served and event.before == 0 and event.candidate:
        first: list[Change] = [Route(((candidate.target_group, ALL),))]  # some users are on machines that do not answer
        if event.rule_known and shares(event.rule) == alone:
            first = []
        return put_back.stay(state, f"{state.previous} has no healthy machine", now, first)
    return put_back.enter(state)


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
    return clean_up.begin(leave(state, f"{why}, or someone has deleted the dead man's switch"), planned, now)


def _no_rollback(state: State, now: float) -> State:
    return put_back.stay(state, f"{state.previous} was being scaled in already", now)


def _arrived(state: State) -> State:
    """The same command once more would go back to what was left, so no message may ask for it."""
    terms = replace(state.order.terms, again="check with `fleetswap status`")
    return replace(state, arrived=True, order=replace(state.order, terms=terms))


def _keep(state: State, now: float) -> State:
    return put_back.stay(state, "it had arrived there", now)


def _was_never_moved(state: State, rule: Rule | None, now: float) -> State:
    if not state.is_ours(rule):
        return put_back.leave_to_others(state, rule, now)
    return clean_up.enter(state, rule, now)
