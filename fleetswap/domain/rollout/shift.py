"""Shift: after one more look, live is pinned, the switch is armed, and the weights are written and seen to hold."""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain.rollout import (
    best_effort,
    canary,
    compare,
    evidence,
    health,
    look,
    pins,
    scale,
    scale_in,
    wording,
)
from fleetswap.domain.rollout.health import Reading, Streak
from fleetswap.domain.rollout.messages import (
    Change,
    Confirm,
    Confirmed,
    Event,
    Kind,
    Look,
    Route,
    Seen,
)
from fleetswap.domain.rollout.model import shares
from fleetswap.domain.rollout.moments import Moment
from fleetswap.domain.rollout.policy import Check
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import ALL
from fleetswap.domain.rollout.transition import Go, Next, make, unexpected

MOVED = "someone else moved the traffic during this rollout"


def looked(state: State, seen: Seen, now: float) -> Next:  # noqa: C901, PLR0911 - one reason after the other
    """The look before weights are written: time has passed since the one before it."""
    candidate = state.order.candidate
    group = seen.group(candidate.release)
    if seen.armed is not None and seen.armed.run != state.run:
        if not state.order.terms.overrules:
            return compare.leave(state, "another rollout of this service has started and taken over")
        if not state.switch_stays:
            return look.anew(state, "another rollout of this service is running", now)
    if group is not None and group.abort is not None and best_effort.is_new(state, group.abort):
        return compare.fail(state, Kind.CANCELLED, wording.reasons([evidence.stopped(group.abort)]), now)
    state = best_effort.warn(state.with_rule(seen.rule, now), *seen.unknown)
    if state.odd_since is not None:
        return look.moved_by_others(state, seen.rule, Look(first=False), MOVED, now)
    anew = isinstance(state.doing, Look) and state.doing.scaling
    demand = scale.demand(state.order, seen, state.served)
    if anew or (demand if state.most is None else min(demand, state.most)) > state.wanted:
        return Go(Phase.SCALE, replace(state, latest=seen))
    if group is not None and group.desired < state.wanted:  # AWS is scaling it in, though it still answers
        if now >= state.deadline or state.held > look.LOOKS:
            return compare.fail(state, Kind.ABORTED, f"release {candidate.release} keeps being scaled in", now)
        return Go(Phase.SCALE, replace(state, held=state.held + 1, latest=seen))
    if health.healthy(seen.targets_of(candidate.target_group)) < state.wanted:
        if now >= state.deadline:
            return compare.fail(state, Kind.ABORTED, f"release {candidate.release} did not stay healthy", now)
        return Go(Phase.GATE, replace(state, latest=seen))
    steps = state.steps if state.moved else canary.steps(state, seen)
    return Go(Phase.SHIFT, replace(state, latest=seen, steps=steps))


def enter(state: State, now: float) -> Next:
    """Hold live where it is, arm the switch, write the weights."""
    policy, candidate, this = state.order.policy, state.order.candidate, state.steps[0]
    seen = state.latest
    if seen is None:
        raise TypeError("nothing was looked at")
    changes: list[Change] = [
        *scale.keep(state, seen),
        *pins.pin_live(state, seen),
        *pins.pin_candidate(state, seen),
        *scale_in.arm(state, canary.switch_seconds(policy, this)),
        Route(
            canary.weights(candidate, state.served, this),
            guarded=True,
            expected=state.expected,
            machines=state.wanted,
        ),
    ]
    deadline = now + policy.shift_deadline
    state = replace(state, phase=Phase.SHIFT, deadline=deadline)
    return make(state, changes, now)


def made(state: State, _now: float) -> State:
    """The weights are written."""
    return replace(state, doing=Confirm(), streak=Streak())


def answered(state: State, event: Event, now: float) -> Next:
    """One reading after the weights were written."""
    if isinstance(event, Confirmed):
        return _confirmed(state, event, now)
    return unexpected(state, event)


def _confirmed(state: State, event: Confirmed, now: float) -> Next:
    """One reading after a shift: the weights hold, the candidate has healthy machines, the plain address answers."""
    policy, candidate = state.order.policy, state.order.candidate
    asked = event.answer is not None and not policy.reports_only(Check.PROBE)
    answers = not asked or (event.answer is not None and event.answer.status in policy.probe_statuses)
    alive = event.targets is None or health.healthy(event.targets) > 0
    holds = event.rule_known and shares(event.rule) == shares(state.expected)
    good: bool | None = holds and event.targets is not None
    if not answers or not alive:
        good = False
    elif not good:
        good = None  # a stale or missing reading is no proof, but nothing bad either: weights converge
    state = replace(state, streak=state.streak.after(good))
    state = state.with_traffic_on(event.rule, now) if good and state.streak.good == 1 else state
    if state.streak.good >= policy.readings:
        bakes = state.steps[0].weight == ALL
        return Go(Phase.HOOK, replace(state, moment=Moment.BEFORE_BAKE)) if bakes else Go(Phase.HOLD, state)
    what = _unconfirmed(state, event, answers=answers, alive=alive, good=bool(good))
    if event.rule_known and not state.is_ours(event.rule):
        return look.moved_by_others(state, event.rule, Confirm(), MOVED, now)
    # On a first deploy nothing answered before, and a new rule takes effect when it likes: bad answers may go on.
    if (state.served and state.streak.bad >= policy.readings) or (now >= state.deadline and not good):
        return compare.fail(state, Kind.ABORTED, f"with {canary.traffic(state)} on {candidate.release}, {what}", now)
    if event.rule_known and not holds and state.order.terms.overrules:  # a put-back of another may have come after us
        written = state.written[-1]
        again = Route(written, guarded=True, expected=state.home, machines=state.wanted, again=True)
        return replace(state, uncertain=True).wait(policy.interval, f"{what}: writing them again", again)
    return state.wait(policy.quick if good or not alive else policy.interval, what, Confirm())


def _unconfirmed(state: State, event: Confirmed, *, answers: bool, alive: bool, good: bool) -> str:
    """What is seen after a shift, in words."""
    answer = wording.reasons([evidence.probed(event.answer, state.order.policy)]) if event.answer else ""
    if not alive:
        machines = wording.machines(
            health.summary(Reading(event.targets), wanted=state.wanted, weighted=state.weighted)
        )
        return "; ".join(part for part in (answer, machines) if part)
    why = ""
    if answers and not event.rule_known:
        why = "AWS does not show whether the new weights hold"
    elif answers and event.targets is None:
        why = "AWS does not report the health of its machines"
    elif answers and not good:
        why = "the listener does not show the new weights yet"
    return ", but ".join(part for part in (answer, why) if part)
