"""Gate: enough of the candidate's machines are healthy, in several consecutive readings, and run its image.

`health` decides what a reading says; this module decides what follows: more waiting, other machines, the probe, or the
end.
"""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain.rollout import best_effort, compare, evidence, health, look, pins, scale, wording
from fleetswap.domain.rollout.health import Reading, Streak, Verdict
from fleetswap.domain.rollout.messages import (
    Compare,
    Compared,
    End,
    Event,
    Explain,
    Explained,
    HealthRead,
    ImagesRead,
    Kind,
    ReadHealth,
    ReadImages,
)
from fleetswap.domain.rollout.policy import Check
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.transition import Go, Next, make, unexpected


def enter(state: State, _now: float) -> State:
    """Every reading counts anew."""
    return replace(state, phase=Phase.GATE, doing=ReadHealth(state.wanted), streak=Streak(), eager=True)


def made(state: State, _now: float) -> Next:
    """Other machines are on their way."""
    return Go(Phase.GATE, state)


def answered(state: State, event: Event, now: float) -> Next:
    """One reading of the machines, or what explains it."""
    match event:
        case HealthRead():
            return _judge(state, event.reading, now)
        case Compared():
            return _few_are_better(state, event, now)
        case ImagesRead():
            return _images(state, event, now)
        case Explained():
            return _explained(state, event, now)
        case _:
            return unexpected(state, event)


def _judge(state: State, reading: Reading, now: float) -> Next:
    policy, first = state.order.policy, state.first
    group = first.group(state.order.candidate.release) if first else None
    there = frozenset(machine.id for machine in group.machines) if group else frozenset()
    state = replace(state, boots=state.boots.after(reading, there, now))
    if reading.abort is not None and best_effort.is_new(state, reading.abort):
        return compare.fail(state, Kind.CANCELLED, wording.reasons([evidence.stopped(reading.abort)]), now)
    failed_before = frozenset(failure.id for failure in first.failures) if first else frozenset()
    decision = health.judge(
        reading,
        state.streak,
        wanted=state.wanted,
        readings=policy.readings,
        failed_before=failed_before,
        seconds_left=state.deadline - now,
        weighted=state.weighted,
    )
    eager = state.eager and decision.streak.good > 0
    suspects = health.suspects(reading) or state.suspects
    state = replace(state, streak=decision.streak, eager=eager, suspects=suspects)
    match decision.verdict:
        case Verdict.PROMOTE:
            healthy = tuple(target.machine for target in reading.targets or () if target.is_healthy)
            if state.order.candidate.image is None or state.is_live_already:
                return Go(Phase.PROBE, state)
            return replace(state, doing=ReadImages(healthy))
        case Verdict.WAIT:
            return _wait_for_machines(state, reading, wording.decision(decision), now)
        case Verdict.ABORT:
            return _not_healthy(state, wording.decision(decision), now)


def _wait_for_machines(state: State, reading: Reading, why: str, now: float) -> Next:
    """A shortage may end by itself; for how long that is hoped for, and what comes then, is the policy's."""
    policy, first = state.order.policy, state.first
    if reading.desired is not None and reading.desired < state.wanted:  # a planned scale-in came late, or a hand
        return look.again(state, "its group has been scaled in", now)
    failed_before = {failure.id for failure in first.failures} if first else set()
    new = tuple(failure for failure in reading.failures or () if failure.id not in failed_before)
    short = scale.is_short(reading, state.wanted, new)
    if short:
        since = now if state.short_since is None else state.short_since
        state = replace(state, short_since=since)
        if now - since >= policy.shortage_patience:
            found = scale.instead(state, reading)
            if found is None:
                return _not_healthy(state, f"EC2 has no capacity: {why}", now)
            if policy.shortage_limit is not None and found.instead > policy.shortage_limit:
                launched = wording.on_demand(found.instead, weighted=state.weighted)
                over = f"{launched} in place of Spot Instances are more than"
                limit = f"fleetswap:rollout.shortage_limit ({policy.shortage_limit}) allows"
                return _not_healthy(state, f"EC2 has no Spot capacity, and {over} {limit}: {why}", now)
            changes = pins.to_on_demand(state, found.target, reading.on_demand_percent or 0, found)
            return make(replace(state, short_since=None), changes, now)
    elif reading.machines is not None:
        state = replace(state, short_since=None)
    return state.wait(policy.quick if state.eager else policy.interval, why, ReadHealth(state.wanted))


def _not_healthy(state: State, why: str, now: float) -> Next:
    """What serves may be worse still: then the few that there are will do, if the terms allow it."""
    order = state.order
    reason = f"release {order.candidate.release} is not healthy after {now - state.started:.0f} s: {why}"
    state = replace(state, ending=End(Kind.ABORTED, reason, remedy=order.terms.unfit))
    if order.terms.scarce and not state.is_live_already:
        return replace(state, doing=Compare(tuple(sorted(state.served))))
    return _explain(state, now)


def _few_are_better(state: State, event: Compared, now: float) -> Next:
    there, before, reason = event.candidate, event.before, state.ending.reason
    if not there or before is None or there <= before:
        return _explain(state, now)
    state = best_effort.warn(state, f"{reason}; continuing, because what serves now has only {before}")
    return Go(Phase.PROBE, replace(state, wanted=there, most=there, ending=End()))


def _explain(state: State, now: float) -> Next:
    if not state.suspects:
        return compare.fail(state, Kind.ABORTED, state.ending.reason, now)
    return replace(state, doing=Explain(state.suspects))


def _explained(state: State, event: Explained, now: float) -> Next:
    reason = state.ending.reason
    if event.console:
        reason = f"{reason}; console of {event.machine}: {event.console}"
    return compare.fail(replace(state, ending=replace(state.ending, reason=reason)), Kind.ABORTED, reason, now)


def _images(state: State, event: ImagesRead, now: float) -> Next:
    doing, candidate = state.doing, state.order.candidate
    if not isinstance(doing, ReadImages) or candidate.image is None:
        raise TypeError("no images were asked for")
    finding = evidence.images(
        event.images,
        doing.machines,
        image=candidate.image,
        report_only=state.order.policy.reports_only(Check.IMAGE),
    )
    state, words = replace(state, evidence=(finding,)), wording.reasons([finding])
    if finding.verdict is Verdict.PROMOTE:
        return Go(Phase.PROBE, state)
    if finding.verdict is Verdict.ABORT or now >= state.deadline:
        return compare.fail(state, Kind.ABORTED, words, now)
    return state.wait(state.order.policy.interval, words, ReadHealth(state.wanted))
