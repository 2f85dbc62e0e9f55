"""The state machine of a rollout: it decides what to do next, from what was seen so far.

    look → scale → gate → probe → (pause → look → shift → hold)* → bake → settle → done
      └──────┴───────┴──────┴───────┴───────┴──────┴────────┴──────┴──→ put back → done

`begin` makes the first state, `step` makes the next one from an event, and `state.doing` is what to do now. It is pure:
no I/O, no clock (`now` is an argument), so a simulator can try every order of events. Its rules:

- What a rollout that died has left is repaired first: the traffic is restored, its switch is taken over.
- The candidate gets traffic only after the gate and its probe, only if no one else moved the traffic meanwhile, and
  only with the dead man's switch armed, if there is one.
- The weights of a rule sum to 100. Live keeps its machines, pinned at their number, until the candidate has proved
  itself and the switch is disarmed. Only then is the release that had the traffic scaled in.
- After a failure the previous weights are restored first, and the candidate loses its machines only when they are seen
  to hold. They are not restored to a release that has no healthy machine while the candidate has some, or that is being
  scaled in.
- Reality is what the listener's rule says, not a ledger. What the order does not know is left alone, and restored.

It never reads a setting or a ledger, and never decides what is a release. Each phase is in the file of its name, which
says what is done when it is entered (`enter`), when its changes are made (`made`), and with a reading (`answered`):

    look, recover, scale, gate, probe, hook, pause, shift, hold (also the bake), settle; after a failure compare,
    put_back, clean_up

Hooks run before the traffic, after each step and before the bake; what is watched meanwhile is in `interim`.

They share `health` (of machines), `canary` (the steps), `evidence`, `pins`, `scale_in` and `best_effort`. `rollback`
makes the order of `fleetswap rollback --now`, which this state machine runs like any deploy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from fleetswap.domain.rollout import (
    best_effort,
    clean_up,
    compare,
    gate,
    hold,
    hook,
    look,
    pause,
    probe,
    put_back,
    recover,
    scale,
    settle,
    shift,
)
from fleetswap.domain.rollout.health import Streak
from fleetswap.domain.rollout.messages import Broke, Did, End, Event, Held, Kind, Look, Route, Seen, Unanswered, Wait
from fleetswap.domain.rollout.model import Order
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.transition import Go, Made, Next, proceed

ENTER: Mapping[Phase, Callable[[State, float], Next]] = {
    Phase.LOOK: look.enter,
    Phase.RECOVER: recover.enter,
    Phase.SCALE: scale.enter,
    Phase.GATE: gate.enter,
    Phase.PROBE: probe.enter,
    Phase.SHIFT: shift.enter,
    Phase.HOLD: hold.enter,
    Phase.HOOK: hook.enter,
    Phase.PAUSE: pause.enter,
    Phase.SETTLE: settle.enter,
}
"""A failure enters `compare` from anywhere (`compare.fail`), which leads to the put-back and the clean-up."""

MADE: Mapping[Phase, Callable[[State, float], Next]] = {
    Phase.LOOK: look.made,
    Phase.RECOVER: recover.made,
    Phase.SCALE: scale.made,
    Phase.GATE: gate.made,
    Phase.SHIFT: shift.made,
    Phase.HOOK: hook.made,
    Phase.PAUSE: pause.made,
    Phase.SETTLE: settle.made,
}

ANSWERED: Mapping[Phase, Callable[[State, Event, float], Next]] = {
    Phase.LOOK: look.answered,
    Phase.RECOVER: recover.answered,
    Phase.SCALE: scale.answered,
    Phase.GATE: gate.answered,
    Phase.PROBE: probe.answered,
    Phase.SHIFT: shift.answered,
    Phase.HOLD: hold.answered,
    Phase.BAKE: hold.answered,
    Phase.HOOK: hook.answered,
    Phase.PAUSE: pause.answered,
    Phase.SETTLE: settle.answered,
    Phase.COMPARE: compare.answered,
    Phase.PUT_BACK: put_back.answered,
    Phase.CLEAN_UP: clean_up.answered,
}

STUMBLED: Mapping[Phase, Callable[[State, Unanswered | Broke, float], State]] = {
    Phase.COMPARE: compare.stumbled,
    Phase.PUT_BACK: put_back.stumbled,
    Phase.CLEAN_UP: clean_up.stumbled,
}


def begin(order: Order, now: float, run: str = "") -> State:
    """The first state. Times are seconds of any clock that only goes forward; `run` tells this run from all others."""
    return State(
        order=order,
        run=run,
        started=now,
        deadline=now + look.LOOK_SECONDS,
        doing=Look(),
        streak=Streak(),
        ending=End(),
        calm_since=now,
    )


def step(state: State, event: Event, now: float) -> State:
    """The next state. An event that cannot follow what is being done is a defect of the caller: `TypeError`."""
    return _arrive(_back(state, event, now) if state.phase.is_back else _forward(state, event, now), now)


def _arrive(made: Next, now: float) -> State:
    """The state in which something is to be done, whatever phases lie between."""
    while not isinstance(made, State):
        match made:
            case Go(phase=phase, state=state):
                made = ENTER[phase](state, now)
            case Made(state=state):
                made = MADE[state.phase](state, now)
    return made


def _forward(state: State, event: Event, now: float) -> Next:  # noqa: PLR0911 - one case a kind of event
    if isinstance(event, (Broke, Unanswered)) and (without := best_effort.skipped(state, event, now)) is not None:
        return _did(without, now)
    if isinstance(event, Broke):
        return compare.fail(state, event.kind, event.why, now)
    if state.moved and state.armed_until is not None and now >= state.armed_until:
        reason = "the dead man's switch was due before this rollout had finished: the deployer was delayed"
        return compare.fail(state, Kind.ABORTED, reason, now)
    if isinstance(state.doing, Wait):
        return replace(state, doing=state.doing.then)
    match event:
        case Unanswered():
            return _unanswered(state, event, now)
        case Did():
            return _did(state.changed(), now)
        case Held():
            return look.again(state.unchanged(), event.why, now)
        case Seen() if state.phase not in {Phase.LOOK, Phase.HOOK, Phase.PAUSE}:
            return shift.looked(state, event, now)
        case _:
            return ANSWERED[state.phase](state, event, now)


def _unanswered(state: State, event: Unanswered, now: float) -> State:
    if now >= state.deadline:
        return compare.fail(state, Kind.CLOUD, event.why, now)
    again = replace(state.doing, again=True) if isinstance(state.doing, Route) else state.doing
    return replace(state, uncertain=True).wait(state.order.policy.interval, event.why, again)


def _did(state: State, now: float) -> Next:
    if state.queue and isinstance(state.queue[0], Route) and state.phase is Phase.SHIFT and now >= state.deadline:
        return replace(state, queue=(), doing=Look(first=False))  # what was seen is too old to write weights on it
    return proceed(state, now)


def _back(state: State, event: Event, now: float) -> Next:
    """A rollout that is being undone. A call that fails is tried again for a while."""
    if isinstance(state.doing, Wait):
        return replace(state, doing=state.doing.then)  # however the wait ended
    if isinstance(event, (Unanswered, Broke)):
        return STUMBLED[state.phase](state, event, now)
    return ANSWERED[state.phase](state, event, now)
