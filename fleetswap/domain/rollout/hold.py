"""Hold and bake: a step has its weights, and evidence is read until the step is passed or bad. The bake is the last
step.

`evidence` and `canary.judge` decide what the evidence says.
"""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain.rollout import canary, compare, evidence, wording
from fleetswap.domain.rollout.canary import Judgement
from fleetswap.domain.rollout.health import Streak, Verdict
from fleetswap.domain.rollout.messages import Event, EvidenceRead, Kind, Look, ReadEvidence
from fleetswap.domain.rollout.moments import Moment
from fleetswap.domain.rollout.policy import Check
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import ALL
from fleetswap.domain.rollout.transition import Go, Next, unexpected


def enter(state: State, now: float) -> Next:
    """The weights of the present step hold. A step that is not watched is over."""
    if not state.steps[0].is_watched:
        return Go(Phase.HOOK, replace(state, moment=Moment.AFTER_STEP))
    state = canary.enter(state, now)
    phase = Phase.BAKE if state.steps[0].weight == ALL else Phase.HOLD
    return replace(state, phase=phase, doing=reading(state, now))


def answered(state: State, event: Event, now: float) -> Next:
    """One reading of all that speaks for or against the candidate."""
    if isinstance(event, EvidenceRead):
        return _weigh(state, event, now)
    return unexpected(state, event)


def reading(state: State, now: float) -> ReadEvidence:
    """What is read again and again."""
    live = next(iter(state.served - {state.order.candidate.target_group}), None)
    shared = state.expected is not None and live in state.expected.serving
    return ReadEvidence(now - (now if state.since is None else state.since), live, shared)


def _weigh(state: State, event: EvidenceRead, now: float) -> Next:
    policy = state.order.policy
    state, decision = weighed(state, event, now, hold_over=now >= state.hold_until, seconds_left=state.deadline - now)
    over = aborted(state, decision, now)
    if over is not None:
        return over
    if decision.verdict is Verdict.PROMOTE:
        return Go(Phase.HOOK, replace(state, moment=Moment.AFTER_STEP))
    left = state.hold_until - now
    seconds = min(policy.interval, left) if left > 0 else policy.interval
    if decision.streak.bad:
        seconds = policy.quick  # users may be hurt: find out at once whether it is true
    return state.wait(seconds, wording.judgement(decision), reading(state, now + seconds))


def weighed(
    state: State, event: EvidenceRead, now: float, *, hold_over: bool, seconds_left: float
) -> tuple[State, Judgement]:
    """The state after one reading, and what follows from it."""
    policy, read = state.order.policy, event.evidence
    state = state.with_rule(read.rule, now) if read.rule_known else state
    others = read.rule_known and state.is_others(read.rule, now)
    if read.periods:
        state = replace(state, watch=state.watch.read(read.periods, now))
    state = replace(state, metrics=state.metrics.read(read.metrics, now))
    found = evidence.findings(read, canary.expected(state, now, others=others))
    decision = canary.judge(
        found,
        state.streak,
        readings=policy.readings,
        hold_over=hold_over,
        seconds_left=seconds_left,
    )
    return replace(state, streak=decision.streak, evidence=found), decision


def aborted(state: State, decision: Judgement, now: float) -> State | None:
    """The state that begins to undo the rollout, if that follows."""
    if decision.verdict is not Verdict.ABORT:
        return None
    reason = f"with {canary.traffic(state)} on {state.order.candidate.release}, {wording.judgement(decision)}"
    stopped = any(finding.check is Check.STOP for finding in decision.findings)
    return compare.fail(state, Kind.CANCELLED if stopped else Kind.ABORTED, reason, now)


def next_step(state: State, now: float) -> Next:
    """The present step is over."""
    state = replace(state, watch=state.watch.over(now))
    if len(state.steps) == 1:
        return Go(Phase.SETTLE, state)
    deadline = now + state.order.policy.shift_deadline
    return replace(state, steps=state.steps[1:], doing=Look(first=False), streak=Streak(), deadline=deadline)
