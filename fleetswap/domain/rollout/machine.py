"""The state machine of a rollout: it decides what to do next, from what was seen so far.

    look → scale → gate → probe → (look → shift → hold)* → bake → settle → done
      └──────┴───────┴──────┴───────┴───────┴──────┴────────┴──────┴──→ put back → done

`begin` makes the first state, `step` makes the next one from an event, and `state.doing` is what to do now. It is pure:
no I/O, no clock (`now` is given), so that a simulator can try every order of events. What it holds to:

- What a rollout that died has left is put right first: the traffic is brought home, its switch is taken over.
- The candidate gets traffic only after the gate and its probe, only if no one else moved the traffic meanwhile, and
  only with the dead man's switch armed, if there is one.
- The weights of a rule sum to 100. Live keeps its machines, held at their number, until the candidate has proved
  itself and the switch is disarmed; only then is what had the traffic scaled in.
- After a failure the weights go back first, and the candidate loses its machines only when they are seen to be back.
  They do not go back to a release that has no healthy machine while the candidate has some, or that is being scaled in.
- Reality is what the listener's rule says, never a ledger. What the order does not know is left alone, and put back.

It never reads a setting or a ledger, and never decides what is a release. What is decided where: `look` (may it begin,
and where does the traffic belong), `scale`, `gate` (is it healthy), `canary` (the steps), `evidence`, `pins`,
`settle`, `putback`, `drift`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fleetswap.domain.rollout import best_effort, canary, evidence, health, look, pins, scale, scale_in, settle, wording
from fleetswap.domain.rollout.best_effort import warn
from fleetswap.domain.rollout.drift import drift, gone
from fleetswap.domain.rollout.findings import Code
from fleetswap.domain.rollout.health import Reading, Streak, Verdict
from fleetswap.domain.rollout.messages import (
    Action,
    Arm,
    Broke,
    CancelScaleIn,
    Change,
    Compare,
    Compared,
    Confirm,
    Confirmed,
    Did,
    Disarm,
    End,
    Event,
    EvidenceRead,
    Explain,
    Explained,
    HealthRead,
    Held,
    ImagesRead,
    Kind,
    Look,
    MendRule,
    Probe,
    Probed,
    ReadEvidence,
    ReadHealth,
    ReadImages,
    ReadRule,
    Route,
    RuleRead,
    Seen,
    Unanswered,
    Wait,
)
from fleetswap.domain.rollout.model import Order, Policy, Rule, Side, shares
from fleetswap.domain.rollout.policy import Check
from fleetswap.domain.rollout.put_back import fail, leave, step_back
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import ALL

__all__ = ["Order", "Phase", "Policy", "Side", "State", "begin", "drift", "step"]

LOOK_SECONDS = 30.0
"""How long the first look may go unanswered. Nothing is touched yet, so there is nothing to be patient for."""


RECOVERIES = 3
"""How often the traffic is brought home before the start. Machines may die meanwhile, so that home is elsewhere."""

MOVED = "someone else moved the traffic during this rollout"

LOOKS = 10
"""How often the world may change between a look and the weights."""


def begin(order: Order, now: float, run: str = "") -> State:
    """The first state. Times are seconds of any clock that only goes forward; `run` tells this run from all others."""
    return State(
        order=order,
        run=run,
        started=now,
        deadline=now + LOOK_SECONDS,
        doing=Look(),
        streak=Streak(),
        ending=End(),
        calm_since=now,
    )


def step(state: State, event: Event, now: float) -> State:  # noqa: PLR0911 - one case a kind of event
    """The next state. An event that cannot follow what is being done is a defect of the caller: `TypeError`."""
    if state.phase.is_back:
        return step_back(state, event, now)
    if isinstance(event, (Broke, Unanswered)) and (without := best_effort.skipped(state, event, now)) is not None:
        return _did(without, now)
    if isinstance(event, Broke):
        return fail(state, event.kind, event.why, now)
    if state.moved and state.armed_until is not None and now >= state.armed_until:
        reason = "the dead man's switch was due before this rollout was done: the deploying machine was held up"
        return fail(state, Kind.ABORTED, reason, now)
    if isinstance(state.doing, Wait):
        return replace(state, doing=state.doing.then)
    if isinstance(event, Unanswered):
        if now >= state.deadline:
            return fail(state, Kind.CLOUD, event.why, now)
        again = replace(state.doing, again=True) if isinstance(state.doing, Route) else state.doing
        return replace(state, uncertain=True).wait(state.order.policy.interval, event.why, again)
    return _answered(state, event, now)


def _answered(state: State, event: Event, now: float) -> State:  # noqa: C901, PLR0911, PLR0912 - one case an event
    match event:
        case Seen() if state.phase is Phase.LOOK:
            return _first_look(state, event, now)
        case Seen():
            return _look_before_a_step(state, event, now)
        case Did():
            return _did(state.changed(), now)
        case Held():
            return _look_again(state.unchanged(), event.why, now)
        case HealthRead():
            return _judge(state, event.reading, now)
        case Compared() if state.phase is Phase.GATE:
            return _few_are_better(state, event, now)
        case ImagesRead():
            return _images(state, event, now)
        case Explained():
            return _explained(state, event, now)
        case Probed():
            return _probed(state, event, now)
        case Confirmed():
            return _confirmed(state, event, now)
        case EvidenceRead():
            return _weigh(state, event, now)
        case RuleRead() if state.phase is Phase.RECOVER:
            return _is_home(state, event, now)
        case RuleRead() if state.phase is Phase.SETTLE:
            return _still_holds(state, event, now)
        case _:
            raise TypeError(f"{type(event).__name__} cannot follow {type(state.doing).__name__}")


# Changes, one after the other


def _make(state: State, changes: Sequence[Change], now: float) -> State:
    """Make the changes, then go on in the present phase."""
    state = replace(state, queue=tuple(changes))
    return state.change(state.queue[0], now) if state.queue else _after_changes(state, now)


def _did(state: State, now: float) -> State:
    if state.queue and isinstance(state.queue[0], Route) and state.phase is Phase.SHIFT and now >= state.deadline:
        return replace(state, queue=(), doing=Look(first=False))  # what was seen is too old to write weights on it
    return state.change(state.queue[0], now) if state.queue else _after_changes(state, now)


def _after_changes(state: State, now: float) -> State:
    match state.phase:
        case Phase.LOOK:
            return _begin_or_refuse(state, now)
        case Phase.RECOVER:
            return replace(state, doing=ReadRule(), streak=Streak())
        case Phase.SCALE | Phase.GATE:
            return _enter_gate(state)
        case Phase.SHIFT:
            return replace(state, doing=Confirm(), streak=Streak())
        case Phase.SETTLE if not state.verified:
            return replace(state, doing=ReadRule(), streak=Streak())
        case _:
            return replace(state, phase=Phase.DONE, doing=End(), deadline=now)


# The start


def _first_look(state: State, seen: Seen, now: float) -> State:
    strangers = {side.target_group: side for side in (*state.order.strangers, *seen.strangers)}
    state = replace(state, order=replace(state.order, strangers=tuple(strangers.values())))
    state = warn(state, *seen.unknown)
    home = look.home(state.order, seen)
    deadline = state.started + state.order.policy.deadline
    state = replace(state, first=seen, latest=seen, home=home, deadline=deadline, written=(), moved=False, since=None)
    armed = seen.armed.rule.serving if seen.armed else frozenset()
    state = replace(state, had=state.had | armed | (seen.rule.serving if seen.rule else frozenset()))
    # The switch brings nothing home any more once it is taken over: nothing may be planned for what then has traffic.
    mend: list[Change] = [MendRule()] if seen.rule is not None and seen.rule.odd else []
    take_over = [*mend, *scale.keep(state, seen), *look.take_over(state, seen)]
    bring_home = look.bring_home(state, seen)
    if not bring_home:
        return _make(state, take_over, now)
    if state.recovered >= RECOVERIES:
        reason = "someone else moves the traffic; it is left as it is now"
        return fail(replace(state, home=seen.rule), Kind.ABORTED, reason, now)
    found = () if seen.rule is None else (seen.rule.weights,)
    state = replace(state, phase=Phase.RECOVER, recovered=state.recovered + 1, moved=True, written=found)
    state = replace(state, deadline=now + state.order.policy.shift_deadline)
    return _make(state, [*take_over, *bring_home], now)


def _is_home(state: State, event: RuleRead, now: float) -> State:
    """The traffic is home when it is seen there several times; then everything begins anew."""
    policy = state.order.policy
    good = shares(event.rule) == shares(state.home)
    state = replace(state, streak=state.streak.after(good))
    state = state.with_traffic_on(event.rule, now) if state.streak.good == 1 else state
    if state.streak.good >= policy.readings:
        return replace(state, phase=Phase.LOOK, doing=Look(), deadline=now + LOOK_SECONDS)
    if not good and now >= state.deadline:
        return fail(state, Kind.ABORTED, f"the traffic does not go back to {state.previous}", now)
    why = f"bringing the traffic back to {state.previous}"
    if not good and state.order.terms.overrules and state.first is not None:
        (again,) = look.bring_home(state, state.first)
        return state.wait(policy.interval, why, again)
    return state.wait(policy.quick, why, ReadRule())


def _begin_anew(state: State, why: str, now: float) -> State:
    """Someone else moves the traffic, and is overruled: from what is real now, but not for ever."""
    if state.held > LOOKS:
        return fail(state, Kind.ABORTED, f"{why}, again and again", now)
    state = replace(state, phase=Phase.LOOK, deadline=now + LOOK_SECONDS, held=state.held + 1, queue=())
    return state.wait(state.order.policy.quick, why, Look())


def _begin_or_refuse(state: State, now: float) -> State:
    seen = state.first
    if seen is None:
        raise TypeError("nothing was looked at")
    refused = look.refusal(state, seen)
    if refused:
        return fail(state, *refused, now)
    return _scale(replace(state, steps=canary.steps(state, seen)), seen, now)


# Machines


def _scale(state: State, seen: Seen, now: float) -> State:
    """Give the candidate as many machines as what serves has now, and hold them there."""
    order, policy, candidate = state.order, state.order.policy, state.order.candidate
    group = seen.group(candidate.release)
    if group is None:
        return fail(state, Kind.CLOUD, gone(candidate), now)
    wanted = max(state.wanted, scale.demand(order, seen, state.served))
    if wanted > group.maximum and order.terms.scarce:
        state = warn(state, f"{candidate.release} may have only {group.maximum} machines, {wanted} serve now")
        state = replace(state, most=group.maximum)
        wanted = group.maximum
    if wanted > group.maximum:
        reason = (
            f"release {candidate.release} needs {wanted} machines, as many as serve now, but may have only"
            f" {group.maximum}: raise the greatest capacity"
        )
        return fail(state, Kind.ABORTED if state.moved else Kind.INPUT, reason, now)
    changes = scale.changes(state, seen, wanted)
    deadline = state.deadline
    if state.moved:  # in the middle of a canary: it takes as long as it takes, and the switch must know
        deadline = now + policy.deadline
        changes = [*_arm(state, policy.deadline + policy.switch_margin), *changes]
    state = replace(state, wanted=wanted, latest=seen, phase=Phase.SCALE, streak=Streak(), deadline=deadline)
    return _make(state, changes, now)


def _enter_gate(state: State) -> State:
    return replace(state, phase=Phase.GATE, doing=ReadHealth(state.wanted), streak=Streak(), eager=True)


def _judge(state: State, reading: Reading, now: float) -> State:
    policy, first = state.order.policy, state.first
    if reading.abort is not None:
        return fail(state, Kind.CANCELLED, wording.reasons([evidence.stopped(reading.abort)]), now)
    failed_before = frozenset(failure.id for failure in first.failures) if first else frozenset()
    decision = health.judge(
        reading,
        state.streak,
        wanted=state.wanted,
        readings=policy.readings,
        failed_before=failed_before,
        seconds_left=state.deadline - now,
    )
    eager = state.eager and decision.streak.good > 0
    suspects = health.suspects(reading) or state.suspects
    state = replace(state, streak=decision.streak, eager=eager, suspects=suspects)
    match decision.verdict:
        case Verdict.PROMOTE:
            healthy = tuple(target.machine for target in reading.targets or () if target.is_healthy)
            if state.order.candidate.image is None or state.is_live_already:
                return _enter_probe(state, now)
            return replace(state, doing=ReadImages(healthy))
        case Verdict.WAIT:
            return _wait_for_machines(state, reading, wording.decision(decision), now)
        case Verdict.ABORT:
            return _not_healthy(state, wording.decision(decision), now)


def _wait_for_machines(state: State, reading: Reading, why: str, now: float) -> State:
    """A shortage may end by itself; for how long that is hoped for, and what comes then, is the policy's."""
    policy, first = state.order.policy, state.first
    if reading.desired is not None and reading.desired < state.wanted:  # a planned scale-in came late, or a hand
        return _look_again(state, "its group is to have fewer machines again", now)
    failed_before = {failure.id for failure in first.failures} if first else set()
    new = tuple(failure for failure in reading.failures or () if failure.id not in failed_before)
    short = scale.is_short(reading, state.wanted, new)
    if short:
        since = now if state.short_since is None else state.short_since
        state = replace(state, short_since=since)
        if now - since >= policy.shortage_patience:
            if not scale.can_go_on_demand(state, reading):
                return _not_healthy(state, f"EC2 has no capacity: {why}", now)
            changes = pins.to_on_demand(state.order.candidate, reading.on_demand_percent or 0)
            return _make(replace(state, short_since=None), changes, now)
    elif reading.machines is not None:
        state = replace(state, short_since=None)
    return state.wait(policy.quick if state.eager else policy.interval, why, ReadHealth(state.wanted))


def _not_healthy(state: State, why: str, now: float) -> State:
    """What serves may be worse still: then the few that there are will do, if the terms allow it."""
    order = state.order
    reason = f"release {order.candidate.release} is not healthy after {now - state.started:.0f} s: {why}"
    state = replace(state, ending=End(Kind.ABORTED, reason, remedy=order.terms.unfit))
    if order.terms.scarce and not state.is_live_already:
        return replace(state, doing=Compare(tuple(sorted(state.served))))
    return _explain(state, now)


def _few_are_better(state: State, event: Compared, now: float) -> State:
    there, before, reason = event.candidate, event.before, state.ending.reason
    if not there or before is None or there <= before:
        return _explain(state, now)
    state = warn(state, f"{reason}; that is more than the {before} that have the traffic now")
    return _enter_probe(replace(state, wanted=there, most=there, ending=End()), now)


def _explain(state: State, now: float) -> State:
    if not state.suspects:
        return fail(state, Kind.ABORTED, state.ending.reason, now)
    return replace(state, doing=Explain(state.suspects))


def _explained(state: State, event: Explained, now: float) -> State:
    reason = state.ending.reason
    if event.console:
        reason = f"{reason}; console of {event.machine}: {event.console}"
    return fail(replace(state, ending=replace(state.ending, reason=reason)), Kind.ABORTED, reason, now)


def _images(state: State, event: ImagesRead, now: float) -> State:
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
        return _enter_probe(state, now)
    if finding.verdict is Verdict.ABORT or now >= state.deadline:
        return fail(state, Kind.ABORTED, words, now)
    return state.wait(state.order.policy.interval, words, ReadHealth(state.wanted))


def _enter_probe(state: State, now: float) -> State:
    if state.is_live_already:
        return _enter_settle(state, now)
    if (
        state.moved or not state.order.url
    ):  # it has traffic already, and was probed before; or nobody knows where to ask
        return replace(state, doing=Look(first=False), streak=Streak())
    return replace(state, phase=Phase.PROBE, doing=Probe(), streak=Streak())


def _probed(state: State, event: Probed, now: float) -> State:
    policy = state.order.policy
    finding = evidence.probed(event.answer, policy)
    good = finding.code is Code.OK
    state = replace(state, streak=state.streak.after(good))
    why = f"probe of {state.order.candidate.release}: {wording.reasons([finding])}"
    if state.streak.good >= policy.readings or policy.reports_only(Check.PROBE):
        return replace(state, doing=Look(first=False), evidence=(*state.evidence, finding), streak=Streak())
    if not good and now >= state.deadline:
        return fail(state, Kind.ABORTED, why, now)
    if state.streak.bad > policy.readings:
        return _enter_gate(state)  # are its machines still healthy?
    return state.wait(policy.quick if good else policy.interval, why, Probe())


# Weights


def _look_before_a_step(state: State, seen: Seen, now: float) -> State:  # noqa: PLR0911 - one reason after the other
    """The look before weights are written: time has passed since the one before it."""
    candidate = state.order.candidate
    group = seen.group(candidate.release)
    if seen.armed is not None and seen.armed.run != state.run:
        if state.order.terms.overrules:
            return _begin_anew(state, "another rollout of this service runs", now)
        return leave(state, "another rollout of this service has begun, and took over")
    if group is not None and group.abort is not None:
        return fail(state, Kind.CANCELLED, wording.reasons([evidence.stopped(group.abort)]), now)
    state = state.with_rule(seen.rule, now)
    if state.odd_since is not None:
        return _moved_by_others(state, seen.rule, Look(first=False), MOVED, now)
    anew = isinstance(state.doing, Look) and state.doing.scaling
    demand = scale.demand(state.order, seen, state.served)
    if anew or (demand if state.most is None else min(demand, state.most)) > state.wanted:
        return _scale(state, seen, now)
    if group is not None and group.desired < state.wanted:  # AWS is scaling it in, though it still answers
        if now >= state.deadline or state.held > LOOKS:
            return fail(state, Kind.ABORTED, f"release {candidate.release} is scaled in, again and again", now)
        return _scale(replace(state, held=state.held + 1), seen, now)
    if health.healthy(seen.targets_of(candidate.target_group)) < state.wanted:
        if now >= state.deadline:
            return fail(state, Kind.ABORTED, f"release {candidate.release} did not stay healthy", now)
        return _enter_gate(replace(state, latest=seen))
    steps = state.steps if state.moved else canary.steps(state, seen)
    return _shift(replace(state, latest=seen, steps=steps), seen, now)


def _shift(state: State, seen: Seen, now: float) -> State:
    """Hold live where it is, arm the switch, write the weights."""
    policy, candidate, this = state.order.policy, state.order.candidate, state.steps[0]
    changes: list[Change] = [
        *scale.keep(state, seen),
        *pins.pin_live(state, seen),
        *pins.pin_candidate(state, seen),
        *_arm(state, canary.switch_seconds(policy, this)),
        Route(
            canary.weights(candidate, state.served, this),
            guarded=True,
            expected=state.expected,
            machines=state.wanted,
        ),
    ]
    deadline = now + policy.shift_deadline
    state = replace(state, phase=Phase.SHIFT, deadline=deadline)
    return _make(state, changes, now)


def _moved_by_others(state: State, rule: Rule | None, then: Action, why: str, now: float) -> State:
    """The weights are not ours. If they are no old reading either, they stay, unless this rollout overrules others."""
    if not state.is_others(rule, now):
        return state.wait(state.order.policy.quick, "the listener still shows the old weights", then)
    if state.order.terms.overrules:
        return _begin_anew(state, why, now)
    return fail(state, Kind.ABORTED, f"{why}; it is left as it is now", now)


def _look_again(state: State, why: str, now: float) -> State:
    """Weights were not written, because something changed since the look: look again, but not for ever."""
    policy = state.order.policy
    if state.held > LOOKS:
        return fail(state, Kind.ABORTED, f"{why}, again and again", now)
    if state.phase is Phase.RECOVER:
        return replace(state, phase=Phase.LOOK, doing=Look(), moved=False, written=(), deadline=now + LOOK_SECONDS)
    return state.wait(policy.quick, why, Look(first=False, scaling=state.phase in {Phase.SCALE, Phase.GATE}))


def _arm(state: State, seconds: float) -> list[Change]:
    """Set the switch, and what is to become of the candidate after it, in this order: the candidate must outlast it.

    A first deploy has nothing to go back to. Without a switch nobody puts the traffic back, so that the candidate must
    keep its machines.
    """
    if state.order.switch_role is None or state.home is None:
        return [CancelScaleIn(state.order.candidate)] if state.is_planned_ahead else []
    return [scale_in.if_we_die(state, seconds), Arm(seconds, state.home, guarded=True)]


def _confirmed(state: State, event: Confirmed, now: float) -> State:
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
        return _hold(state, now)
    what = _unconfirmed(state, event, answers=answers, alive=alive, good=bool(good))
    if event.rule_known and not state.is_ours(event.rule):
        return _moved_by_others(state, event.rule, Confirm(), MOVED, now)
    # On a first deploy nothing answered before, and a new rule takes effect when it likes: bad answers may go on.
    if (state.served and state.streak.bad >= policy.readings) or (now >= state.deadline and not good):
        return fail(state, Kind.ABORTED, f"with {_traffic(state)} on {candidate.release}, {what}", now)
    if event.rule_known and not holds and state.order.terms.overrules:  # a put-back of another may have come after us
        written = state.written[-1]
        again = Route(written, guarded=True, expected=state.home, machines=state.wanted, again=True)
        return replace(state, uncertain=True).wait(policy.interval, f"{what}: writing them again", again)
    return state.wait(policy.quick if good or not alive else policy.interval, what, Confirm())


def _unconfirmed(state: State, event: Confirmed, *, answers: bool, alive: bool, good: bool) -> str:
    """What is seen after a shift, in words."""
    answer = wording.reasons([evidence.probed(event.answer, state.order.policy)]) if event.answer else ""
    if not alive:
        machines = wording.machines(health.summary(Reading(event.targets), wanted=state.wanted))
        return "; ".join(part for part in (answer, machines) if part)
    why = ""
    if answers and not event.rule_known:
        why = "AWS does not tell whether the new weights hold"
    elif answers and event.targets is None:
        why = "AWS does not tell how its machines are"
    elif answers and not good:
        why = "the new weights are not seen yet"
    return ", but ".join(part for part in (answer, why) if part)


def _hold(state: State, now: float) -> State:
    if not state.steps[0].is_watched:
        return _next_step(state, now)
    state = canary.enter(state, now)
    phase = Phase.BAKE if state.steps[0].weight == ALL else Phase.HOLD
    return replace(state, phase=phase, doing=_read_evidence(state, now))


def _read_evidence(state: State, now: float) -> ReadEvidence:
    live = next(iter(state.served - {state.order.candidate.target_group}), None)
    shared = state.expected is not None and live in state.expected.serving
    return ReadEvidence(now - (now if state.since is None else state.since), live, shared)


def _weigh(state: State, event: EvidenceRead, now: float) -> State:
    policy, read = state.order.policy, event.evidence
    state = state.with_rule(read.rule, now) if read.rule_known else state
    others = read.rule_known and state.is_others(read.rule, now)
    if read.periods:
        state = replace(state, watch=state.watch.read(read.periods, now))
    found = evidence.findings(read, canary.expected(state, now, others=others))
    decision = canary.judge(
        found,
        state.streak,
        readings=policy.readings,
        hold_over=now >= state.hold_until,
        seconds_left=state.deadline - now,
    )
    state = replace(state, streak=decision.streak, evidence=found)
    match decision.verdict:
        case Verdict.PROMOTE:
            return _next_step(state, now)
        case Verdict.ABORT:
            reason = f"with {_traffic(state)} on {state.order.candidate.release}, {wording.judgement(decision)}"
            stopped = any(finding.check is Check.STOP for finding in decision.findings)
            return fail(state, Kind.CANCELLED if stopped else Kind.ABORTED, reason, now)
        case Verdict.WAIT:
            left = state.hold_until - now
            seconds = min(policy.interval, left) if left > 0 else policy.interval
            if decision.streak.bad:
                seconds = policy.quick  # users may be hurt: find out at once whether it is true
            return state.wait(seconds, wording.judgement(decision), _read_evidence(state, now + seconds))


def _next_step(state: State, now: float) -> State:
    state = replace(state, watch=state.watch.over(now))
    if len(state.steps) == 1:
        return _enter_settle(state, now)
    deadline = now + state.order.policy.shift_deadline
    return replace(state, steps=state.steps[1:], doing=Look(first=False), streak=Streak(), deadline=deadline)


def _traffic(state: State) -> str:
    weight = state.steps[0].weight if state.steps else ALL
    return "the traffic" if weight == ALL else f"{weight} % of the traffic"


# The end


def _enter_settle(state: State, now: float) -> State:
    """The switch first: as long as it is armed, nothing may be scaled in that it would put the traffic on."""
    state = replace(state, phase=Phase.SETTLE, deadline=now + state.order.policy.patience)
    changes: list[Change] = [CancelScaleIn(state.order.candidate)] if state.is_planned_ahead else []
    if state.order.terms.overrules:
        changes.append(Disarm(anyones=True))  # a rollout that still runs may have armed it again
    elif state.armed_until is not None:
        changes.append(Disarm())
    if changes:  # who dies after the switch is gone leaves the traffic where it is: no plan may be left on it
        return _make(state, changes, now)
    if state.is_live_already:
        return replace(state, doing=ReadRule())  # it was not looked at since the start
    return _settle(state, now)


def _still_holds(state: State, event: RuleRead, now: float) -> State:
    """The switch is gone. Whatever it did before that, it cannot do any more; so this reading stays true."""
    state = state.with_rule(event.rule, now)
    if state.odd_since is None:
        return _settle(state, now)
    reason = "someone else moved the traffic, or the dead man's switch did"
    return _moved_by_others(state, event.rule, ReadRule(), reason, now)


def _settle(state: State, now: float) -> State:
    seen = state.latest
    if seen is None:
        raise TypeError("nothing was looked at")
    left = max((scale_in.left(state, side, now) for side in state.order.strangers), default=0.0)
    if (
        left > 0 and not state.order.terms.keeps_all
    ):  # nothing declares them, so that Pulumi may delete them as soon as we end
        why = f"waiting until no node of the load balancer sends requests to {state.previous} any more"
        return state.wait(left, why, ReadRule())
    state = replace(state, verified=True, now_on=state.order.candidate.release)
    return _make(state, settle.changes(state, seen, now), now)
