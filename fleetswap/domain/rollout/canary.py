"""The canary: which weights come next, how long the switch must wait for them, and whether the step is passed.

The gate of a step, `judge`, is a pure function from findings to `promote`, `wait` or `abort`. It promotes only when the
hold is over and everything was good in several consecutive readings. It never promotes on missing evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleetswap.domain.rollout import health
from fleetswap.domain.rollout.evidence import AlarmState, Expected
from fleetswap.domain.rollout.findings import Finding
from fleetswap.domain.rollout.health import Streak, Verdict
from fleetswap.domain.rollout.messages import Seen
from fleetswap.domain.rollout.metric_values import Compared
from fleetswap.domain.rollout.model import ReleaseTarget
from fleetswap.domain.rollout.periods import Watch
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.state import State
from fleetswap.domain.rollout.strategy import ALL, Step


def steps(state: State, seen: Seen) -> tuple[Step, ...]:
    """The steps of this rollout.

    With one step left over a live release that has no healthy machine, or none at all: nothing is gained by leaving
    users there.
    """
    policy, home = state.order.policy, state.home
    plan = policy.strategy.plan(trusted=state.trusted)
    alive = home is not None and any(health.healthy(seen.targets_of(arn)) for arn in home.serving)
    return plan if alive else plan[-1:]


def weights(candidate: ReleaseTarget, served: frozenset[str], step: Step) -> tuple[tuple[str, int], ...]:
    """The weights of a step; they sum to 100."""
    if step.weight == ALL:
        return ((candidate.target_group, ALL),)
    (home,) = served
    return ((home, ALL - step.weight), (candidate.target_group, step.weight))


def switch_seconds(policy: Policy, step: Step) -> float:
    """How long a step may take: until its weights hold, its own time, its missing data, and a margin."""
    return policy.shift_deadline + (patience(policy, step) if step.is_watched else 0.0) + policy.switch_margin


def patience(policy: Policy, step: Step) -> float:
    """How long after its weights were seen evidence about a step that is still missing aborts the rollout."""
    return max(step.hold, policy.convergence) + policy.data_deadline


def expected(state: State, now: float, *, others: bool) -> Expected:
    """What the evidence of the present step is held against."""
    return Expected(
        policy=state.order.policy,
        rule=state.expected,
        wanted=state.wanted,
        weighted=state.weighted,
        watch=state.watch,
        now=now,
        until=state.hold_until,
        asked=state.steps[0].min_requests,
        others=others,
        ringing=ringing(state),
        metrics=state.metrics,
        compared=_compared(state),
        converging=not state.served and any(now < span.since for span in state.watch.spans),
    )


def _compared(state: State) -> Compared:
    """What the metric checks compare the candidate with."""
    first = state.first
    return Compared(
        shared=state.steps[0].weight < ALL,
        alive=first is not None and any(health.healthy(first.targets_of(arn)) for arn in state.served),
        before=() if first is None else first.metrics,
    )


def ringing(state: State) -> frozenset[str]:
    """The alarms that rang at the start of a rollback. They are why it is made, and say nothing against it."""
    if not state.trusted or state.first is None:
        return frozenset()
    return frozenset(name for name, alarm in state.first.alarms.items() if alarm == AlarmState.ALARM)


@dataclass(frozen=True)
class Judgement:
    """A verdict on a step, the findings that it was made from, and the streak to judge the next reading with.

    `late`: it aborts because what is still missing, or bad, was to be known by now.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    streak: Streak
    late: bool = False


def judge(
    found: Sequence[Finding], streak: Streak, *, readings: int, hold_over: bool, seconds_left: float
) -> Judgement:
    """Decide from one more reading. `seconds_left` is the time until missing evidence aborts."""
    bad = tuple(finding for finding in found if finding.verdict is Verdict.ABORT)
    open_ = tuple(finding for finding in found if finding.verdict is Verdict.WAIT)
    at_once = tuple(finding for finding in bad if not finding.again)
    # What is unknown is no proof, and takes none away.
    streak = streak.after(False if bad else None if open_ else True)
    because = bad + open_ or tuple(found)
    if at_once:
        return Judgement(Verdict.ABORT, at_once, streak)
    if bad and streak.bad >= readings:
        return Judgement(Verdict.ABORT, bad, streak)
    if not bad and not open_ and hold_over and streak.good >= readings:
        return Judgement(Verdict.PROMOTE, because, streak)
    if seconds_left <= 0 and (bad or open_):
        return Judgement(Verdict.ABORT, because, streak, late=True)
    return Judgement(Verdict.WAIT, because, streak)


def enter(state: State, now: float) -> State:
    """The state in which the present step is held: its weights were seen now, and hold everywhere a little later."""
    policy, step = state.order.policy, state.steps[0]
    return replace(
        state,
        hold_until=now + step.hold,
        deadline=now + patience(policy, step),
        streak=Streak(),
        watch=watched(state, now),
    )


def watched(state: State, now: float) -> Watch:
    """What is known of requests, from when the present weights were seen first: a hook may have run since."""
    spans, weight = state.watch.spans, state.steps[0].weight
    if spans and spans[-1].weight == weight and spans[-1].until > now:
        return state.watch
    return state.watch.held(weight, now + state.order.policy.convergence)


def traffic(state: State) -> str:
    """How much traffic the present step gives to the candidate, in words."""
    weight = state.steps[0].weight if state.steps else ALL
    return "the traffic" if weight == ALL else f"{weight} % of the traffic"
