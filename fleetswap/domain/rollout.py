"""The state machine of a rollout: it decides what to do next, from what was seen so far.

    look → scale → gate → probe → (look again) → shift → settle → done
      └───────┴───────┴───────┴────────┴───────────┴───────┴─→ put back → done

`begin` makes the first state, `step` makes the next one from an event, and `state.doing` is what to do now. It is pure:
no I/O, no clock (`now` is given), so that a simulator can try every order of events. What it holds to:

- The candidate gets traffic only after the gate and its probe, and only if no one else moved the traffic meanwhile.
- What had the traffic loses no machine before the new weights are seen to hold.
- After a failure the weights go back first, and the candidate loses its machines only when they are seen to be back.
  They do not go back to a release that has no healthy machine while the candidate has some, or that is being scaled in.
- Reality is what the listener's rule says, never a ledger. What the order does not know is left alone, and put back.

It never reads a setting, a tag or a ledger, and never decides what is a release.
"""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain import gate
from fleetswap.domain.gate import Reading, Streak, Verdict
from fleetswap.domain.moves import (
    Broke,
    Confirm,
    Confirmed,
    Did,
    End,
    Event,
    Explain,
    Explained,
    HealthRead,
    Kind,
    Look,
    Phase,
    Probe,
    Probed,
    ReadHealth,
    Resize,
    Route,
    Seen,
    State,
    Unanswered,
    Wait,
)
from fleetswap.domain.orders import ALL, Order, Policy, Side, shares
from fleetswap.domain.putback import fail, step_back

__all__ = ["Order", "Phase", "Policy", "Side", "State", "begin", "drift", "step"]

LOOK_SECONDS = 30.0
"""How long the first look may go unanswered. Nothing is touched yet, so there is nothing to be patient for."""


def begin(order: Order, now: float) -> State:
    """The first state. Times are seconds of any clock that only goes forward."""
    return State(order=order, started=now, deadline=now + LOOK_SECONDS, doing=Look(), streak=Streak(), ending=End())


def step(state: State, event: Event, now: float) -> State:  # noqa: C901, PLR0911, PLR0912 - one case an event
    """The next state. An event that cannot follow what is being done is a defect of the caller: `TypeError`."""
    if state.phase.is_back:
        return step_back(state, event, now)
    if isinstance(event, Broke):
        return fail(state, Kind.BROKE, event.why, now)
    if isinstance(state.doing, Wait):
        return replace(state, doing=state.doing.then)
    if isinstance(event, Unanswered):
        if now >= state.deadline:
            return fail(state, Kind.CLOUD, event.why, now)
        return state.wait(state.order.policy.interval, event.why, state.doing)
    match event:
        case Seen() if state.phase is Phase.LOOK:
            return _first_look(state, event, now)
        case Seen():
            return _last_look(state, event, now)
        case Did():
            return _did(state, now)
        case HealthRead():
            return _judge(state, event.reading, now)
        case Explained():
            return _explained(state, event, now)
        case Probed():
            return _probed(state, event, now)
        case Confirmed():
            return _confirmed(state, event, now)
        case _:
            raise TypeError(f"{type(event).__name__} cannot follow {type(state.doing).__name__}")


# Forward


def _first_look(state: State, seen: Seen, now: float) -> State:
    state = replace(state, first=seen, latest=seen, deadline=state.started + state.order.policy.deadline)
    return _scale(state, seen, now)


def _scale(state: State, seen: Seen, now: float) -> State:
    """Give the candidate as many machines as what serves has now, and pin them."""
    candidate = state.order.candidate
    group = seen.group(candidate.release)
    if group is None:
        return fail(state, Kind.CLOUD, f"auto scaling group {candidate.group} of {candidate.release} is gone", now)
    wanted = _demand(state.order, seen)
    if wanted > group.maximum:
        return fail(
            state,
            Kind.INPUT,
            f"release {candidate.release} needs {wanted} machines, as many as serve now, but may have only"
            f" {group.maximum}: raise the greatest capacity",
            now,
        )
    state = replace(state, wanted=wanted, latest=seen, phase=Phase.SCALE, streak=Streak())
    minimum = state.order.policy.capacity if state.is_live_already else wanted
    if group.desired >= wanted and (group.minimum >= wanted or state.is_live_already):
        return _enter_gate(state)
    return _resize(state, Resize(candidate, minimum, max(wanted, group.desired)))


def _demand(order: Order, seen: Seen) -> int:
    """How many machines carry the traffic now, and never fewer than the settings' capacity.

    The group's desired capacity says it; of a release that is not in the order, the targets that are not leaving.
    """
    demand = order.policy.capacity
    for target_group in seen.rule.serving if seen.rule else ():
        group = seen.group(order.release_of(target_group))
        if group is not None:
            demand = max(demand, group.desired)
        else:
            demand = max(demand, sum(target.state != "draining" for target in seen.targets_of(target_group)))
    return demand


def _did(state: State, now: float) -> State:
    if state.phase is Phase.SCALE:
        return _enter_gate(state)
    if state.phase is Phase.SHIFT:
        return replace(state, doing=Confirm(), streak=Streak())
    return _next_in_settle(replace(state, queue=state.queue[1:]), now)


def _enter_gate(state: State) -> State:
    return replace(state, phase=Phase.GATE, doing=ReadHealth(state.wanted), streak=Streak(), eager=True)


def _judge(state: State, reading: Reading, now: float) -> State:
    policy, first = state.order.policy, state.first
    decision = gate.judge(
        reading,
        state.streak,
        wanted=state.wanted,
        readings=policy.readings,
        failed_before=frozenset(failure.id for failure in first.failures) if first else frozenset(),
        seconds_left=state.deadline - now,
    )
    eager = state.eager and decision.streak.good > 0
    suspects = gate.suspects(reading) or state.suspects
    state = replace(state, streak=decision.streak, eager=eager, suspects=suspects)
    match decision.verdict:
        case Verdict.PROMOTE if state.is_live_already:
            return _enter_settle(state, now)
        case Verdict.PROMOTE:
            return replace(state, phase=Phase.PROBE, doing=Probe(), streak=Streak())
        case Verdict.WAIT:
            return state.wait(policy.quick if eager else policy.interval, decision.reason, ReadHealth(state.wanted))
        case Verdict.ABORT:
            waited = f" after {now - state.started:.0f} s"
            reason = f"release {state.order.candidate.release} is not healthy{waited}: {decision.reason}"
            state = replace(state, ending=End(Kind.ABORTED, reason))
            if not state.suspects:
                return fail(state, Kind.ABORTED, reason, now)
            return replace(state, doing=Explain(state.suspects))


def _explained(state: State, event: Explained, now: float) -> State:
    reason = state.ending.reason
    if event.console:
        reason = f"{reason}; console of {event.machine}: {event.console}"
    return fail(replace(state, ending=End(Kind.ABORTED, reason)), Kind.ABORTED, reason, now)


def _probed(state: State, event: Probed, now: float) -> State:
    policy = state.order.policy
    good = event.answer.status in policy.probe_statuses
    state = replace(state, streak=state.streak.after(good))
    if state.streak.good >= policy.readings:
        return replace(state, doing=Look())
    why = f"probe of {policy.probe_path} on {state.order.candidate.release}: {event.answer.words}"
    if not good and now >= state.deadline:
        return fail(state, Kind.ABORTED, f"{why}, expected {_any_of(policy.probe_statuses)}", now)
    return state.wait(policy.quick if good else policy.interval, why, Probe())


def _last_look(state: State, seen: Seen, now: float) -> State:
    """The last look before the shift: time has passed since the first."""
    if shares(seen.rule) != shares(state.before):
        reason = "someone else moved the traffic during this rollout; it is left as it is now"
        return fail(state, Kind.ABORTED, reason, now)
    if _demand(state.order, seen) > state.wanted:
        return _scale(state, seen, now)
    candidate = state.order.candidate
    if gate.healthy(seen.targets_of(candidate.target_group)) < state.wanted:
        if now >= state.deadline:
            reason = f"release {candidate.release} did not stay healthy"
            return fail(state, Kind.ABORTED, reason, now)
        return _enter_gate(state)
    return replace(
        state,
        latest=seen,
        phase=Phase.SHIFT,
        doing=Route(((candidate.target_group, ALL),)),
        moved=True,
        deadline=now + state.order.policy.shift_deadline,
    )


def _confirmed(state: State, event: Confirmed, now: float) -> State:
    """One reading after the shift: the weights hold, the candidate has healthy machines, the plain address answers."""
    policy, candidate = state.order.policy, state.order.candidate
    answers = event.answer.status in policy.probe_statuses
    alive = event.targets is None or gate.healthy(event.targets) > 0
    holds = event.rule is not None and event.rule.serving == {candidate.target_group}
    good: bool | None = holds and event.rule_known and event.targets is not None
    if not answers or not alive:
        good = False
    elif not good:
        good = None  # a stale or missing reading is no proof, but nothing bad either: weights converge
    state = replace(state, streak=state.streak.after(good))
    if state.streak.good >= policy.readings:
        return _enter_settle(state, now)
    what = f"{policy.probe_path} answers with {event.answer.words}"
    if not alive:
        what += f"; {gate.words(Reading(event.targets), wanted=state.wanted)}"
    elif answers and not good:
        what += ", but the new weights are not seen yet"
    # On a first deploy nothing answered before, and a new rule takes effect when it likes: bad answers may go on.
    if (state.served and state.streak.bad >= policy.readings) or now >= state.deadline:
        return fail(state, Kind.ABORTED, f"with the traffic on {candidate.release}, {what}", now)
    return state.wait(policy.quick if good else policy.interval, what, Confirm())


def _enter_settle(state: State, now: float) -> State:
    """Release the candidate's pin, keep the standby warm, scale the others in; what served before comes last."""
    seen, order = state.latest, state.order
    queue = []
    mine = seen.group(order.candidate.release) if seen else None
    if state.touched or mine is None or mine.minimum != order.policy.capacity:
        queue.append(Resize(order.candidate, order.policy.capacity, None))
    for side in sorted(order.others, key=lambda side: side.target_group in state.served):
        group = seen.group(side.release) if seen else None
        if group is None:
            continue
        if side.release == order.standby:
            if group.minimum != group.desired:
                queue.append(Resize(side, group.desired, None))
        elif (group.minimum, group.desired) != (0, 0):
            queue.append(Resize(side, 0, 0))
    state = replace(state, phase=Phase.SETTLE, queue=tuple(queue), deadline=now + order.policy.patience)
    return _next_in_settle(state, now)


def _next_in_settle(state: State, now: float) -> State:
    if not state.queue:
        return replace(state, phase=Phase.DONE, doing=End(), deadline=now)
    resize = state.queue[0]
    leaving = state.leaving or (resize.side.target_group in state.served and resize.desired == 0)
    return _resize(replace(state, leaving=leaving), resize)


def _resize(state: State, resize: Resize) -> State:
    """From here on the size may have been written, whatever is answered."""
    return replace(state, doing=resize, touched=(*state.touched, resize))


def _any_of(statuses: tuple[int, ...]) -> str:
    return " or ".join(str(status) for status in statuses)


def drift(order: Order, seen: Seen) -> tuple[str, ...]:
    """What in the real world differs from what a rollout of this order leaves, in words; empty if nothing does."""
    candidate, policy = order.candidate, order.policy
    serving = seen.rule.serving if seen.rule else frozenset()
    found = []
    if serving != {candidate.target_group}:
        on = " and ".join(sorted(order.release_of(arn) for arn in serving)) or "nothing"
        found.append(f"the traffic is on {on} instead of {candidate.release}")
    group = seen.group(candidate.release)
    if group is None:
        found.append(f"auto scaling group {candidate.group} of {candidate.release} is gone")
    elif group.minimum != policy.capacity or group.desired < policy.capacity:
        found.append(
            f"{candidate.release} has {group.desired} machines and at least {group.minimum},"
            f" instead of at least {policy.capacity}"
        )
    for side in order.others:
        other = seen.group(side.release)
        if other is None:
            continue
        if side.release == order.standby and other.minimum != other.desired:
            found.append(f"standby {side.release} is not pinned to its {other.desired} machines")
        if side.release != order.standby and (other.minimum, other.desired) != (0, 0):
            found.append(f"{side.release} has {other.desired} machines instead of none")
    return tuple(found)
