"""Best effort: what AWS refuses, apart from the traffic itself, becomes a warning if the rollout's terms say so.

In an emergency, a missing permission for a tag, a scheduled action or the switch must not keep the traffic on a broken
release. This module decides which changes those are, and how long they are retried; `put_back` has its own patience.
In every rollout, warm pools are beside the traffic once it stays where it is: AWS may take longer to delete one than a
rollout waits, and the next update gives and takes what is missing.
"""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain.rollout.messages import (
    Broke,
    CancelScaleIn,
    Change,
    Disarm,
    KeepWarmPool,
    Resize,
    Restore,
    Route,
    Unanswered,
)
from fleetswap.domain.rollout.state import Phase, State

TRIED_SECONDS = 10.0
"""How long a change beside the traffic that gets no answer is tried for; AWS's client tries several times, too."""


def skipped(state: State, event: Broke | Unanswered, now: float) -> State | None:
    """The state without the change that has failed; None if the rollout needs it, or is to try once more."""
    if state.phase is Phase.SETTLE and state.queue and isinstance(state.queue[0], KeepWarmPool):
        return _without_pool(state, state.queue[0], event, now)
    if not state.order.terms.best_effort or not state.queue or not _is_beside(state, state.queue[0]):
        return None
    if isinstance(event, Broke) and not event.refused:
        return None
    if isinstance(event, Unanswered) and now - state.doing_since < TRIED_SECONDS:
        return None
    stays = isinstance(state.queue[0], Disarm)
    state = replace(warn(state, event.why), queue=state.queue[1:], switch_stays=state.switch_stays or stays)
    return warn(state, *_will_fire(state)) if stays else state


def _without_pool(state: State, change: KeepWarmPool, event: Broke | Unanswered, now: float) -> State | None:
    if not event.refused if isinstance(event, Broke) else now < state.deadline:
        return None
    what = f"the warm pool of {change.target.release} is not as the settings say until the next update: {event.why}"
    return replace(warn(state, what), queue=state.queue[1:])


def warn(state: State, *texts: str) -> State:
    """The state with warnings, each once."""
    return replace(state, warnings=tuple(dict.fromkeys((*state.warnings, *texts))))


def is_new(state: State, abort: str) -> bool:
    """Whether a wish to stop is meant for this rollout: who may not remove a former one must not obey it."""
    group = state.first.group(state.order.candidate.release) if state.first else None
    return not state.order.terms.best_effort or group is None or group.abort != abort


def _will_fire(state: State) -> tuple[str, ...]:
    armed = state.first.armed if state.first else None
    if armed is None or armed.rule.serving == {state.order.candidate.target_group}:
        return ()
    on = " and ".join(sorted(state.order.release_of(arn) for arn in armed.rule.serving)) or "nothing"
    return (f"the dead man's switch is still armed, and will put the traffic on {on}: delete its schedule",)


def _is_beside(state: State, change: Change) -> bool:
    """Whether the traffic can be moved without it. What gets the traffic must have machines that AWS does not end."""
    match change:
        case Resize(target=target):
            return target != state.order.candidate or state.phase is Phase.SETTLE
        case CancelScaleIn(target=target):
            return target != state.order.candidate
        case _:
            return not isinstance(change, (Route, Restore))
