"""Probe: the candidate responds through its preview rule, before it gets any user's request."""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain.rollout import compare, evidence, wording
from fleetswap.domain.rollout.findings import Code
from fleetswap.domain.rollout.health import Streak
from fleetswap.domain.rollout.messages import Event, Kind, Look, Probe, Probed
from fleetswap.domain.rollout.moments import Moment
from fleetswap.domain.rollout.policy import Check
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.transition import Go, Next, unexpected


def enter(state: State, _now: float) -> Next:
    """What is live needs none, nor what has traffic already; and without an address there is nothing to ask."""
    if state.is_live_already:
        return Go(Phase.SETTLE, state)
    if state.moved:
        return replace(state, doing=Look(first=False), streak=Streak())
    if not state.order.url:
        return _passed(state)
    return replace(state, phase=Phase.PROBE, doing=Probe(), streak=Streak())


def answered(state: State, event: Event, now: float) -> Next:
    """One answer."""
    if isinstance(event, Probed):
        return _probed(state, event, now)
    return unexpected(state, event)


def _probed(state: State, event: Probed, now: float) -> Next:
    policy = state.order.policy
    finding = evidence.probed(event.answer, policy)
    good = finding.code is Code.OK
    state = replace(state, streak=state.streak.after(good))
    why = f"probe of {state.order.candidate.release}: {wording.reasons([finding])}"
    if state.streak.good >= policy.readings or policy.reports_only(Check.PROBE):
        return _passed(replace(state, evidence=(*state.evidence, finding)))
    if not good and now >= state.deadline:
        return compare.fail(state, Kind.ABORTED, why, now)
    if state.streak.bad > policy.readings:
        return Go(Phase.GATE, state)  # are its machines still healthy?
    return state.wait(policy.quick if good else policy.interval, why, Probe())


def _passed(state: State) -> Go:
    return Go(Phase.HOOK, replace(state, moment=Moment.BEFORE_TRAFFIC, streak=Streak()))
