"""Hook: what the settings run at a moment of the rollout, one after the other; the first that fails aborts it.

The hooks before the traffic run again if the candidate had to pass its gate again; all others run once. A release that
was live before has none of them, because a rollback waits for nothing. The hooks at the end of a rollout are not here:
they decide nothing (`fleetswap.workflows.rollout.run`). This module never knows what a hook does.
"""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain.rollout import compare, interim, moments
from fleetswap.domain.rollout.messages import Event, HookRead, Kind, RunHook
from fleetswap.domain.rollout.moments import HookCall, HookResult, Moment
from fleetswap.domain.rollout.notices import Notice
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import ALL
from fleetswap.domain.rollout.transition import Go, Next, make

KILLED_SECONDS = 5.0
"""How long after its time a hook may still be reported to run: the executor ends it, and may be held up."""


def enter(state: State, now: float) -> Next:
    """The hooks of `state.moment`, if there are any."""
    hooks = () if state.trusted else state.order.policy.hooks
    numbers = tuple(number for number, hook in enumerate(hooks) if hook.at is state.moment)
    if not numbers:
        return _over(state, now)
    attempts = state.attempts + (state.moment is Moment.BEFORE_TRAFFIC)
    return _next(replace(interim.begin(state, now), phase=Phase.HOOK, hooks=numbers, attempts=attempts), now)


def made(state: State, now: float) -> State:
    """The switch waits for longer than the hook may take."""
    until = now + state.hook.hook.timeout
    return _run(replace(state, hook_until=until, deadline=until + state.order.policy.shift_deadline), now)


def answered(state: State, event: Event, now: float) -> Next:
    """How the hook ended; or what is watched while it runs."""
    if isinstance(event, HookRead):
        return _ended(state, event.result, now)
    state, over = interim.watched(state, event, now)
    if over is not None:
        return over
    return _next(state, now) if state.hook_until is None else _run(state, now)


def last(state: State, notice: Notice) -> tuple[HookCall, ...]:
    """The hooks at the end of a rollout, with how it ended. They run whatever it was, but cannot change it."""
    order = state.order
    return tuple(
        replace(
            state.call_of(number),
            weight=ALL if notice.serving == order.candidate.release else 0,
            ending=notice.ending.value,
            serving=notice.serving,
            reason=notice.reason,
        )
        for number, hook in enumerate(order.policy.hooks)
        if hook.at is Moment.END
    )


def _next(state: State, now: float) -> Next:
    """The first of those that are left."""
    timeout = state.hook.hook.timeout
    state = replace(state, hook_until=None, deadline=now + state.order.policy.shift_deadline)
    return make(state, interim.push_out(state, timeout + interim.switch_seconds(state)), now)


def _run(state: State, _now: float) -> State:
    policy = state.order.policy
    return replace(state, doing=RunHook(state.hook, policy.quick if state.streak.bad else policy.interval))


def _ended(state: State, result: HookResult | None, now: float) -> Next:
    if result is None and now < (state.hook_until or 0.0) + KILLED_SECONDS:
        return replace(state, doing=interim.reading(state, now))
    result = result or HookResult(ok=False, late=True)
    if not result.ok:
        return compare.fail(state, Kind.ABORTED, moments.failed(state.hook, result), now)
    if state.streak.bad:
        return interim.doubted(state, now)  # and then the hook is asked again, which has ended
    state = replace(state, hooks=state.hooks[1:], hook_until=None)
    return _next(state, now) if state.hooks else _over(state, now)


def _over(state: State, now: float) -> Next:
    bakes = state.moment is Moment.BEFORE_BAKE
    return Go(Phase.HOLD if bakes else Phase.PAUSE, interim.end(state, now))
