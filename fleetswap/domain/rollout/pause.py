"""Pause: the rollout waits for a person, before any traffic or before a step, until one continues it or time is over.

The wish to continue names the pause, so that an old one continues no later pause. The candidate stays watched, and the
switch is pushed out again and again, so that it fires soon if the deployer dies, however long the pause is. A release
that was live before does not wait: a rollback must be quick. This module writes no weights.
"""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain.rollout import compare, hold, interim, rollout_tags
from fleetswap.domain.rollout.messages import Change, Event, EvidenceRead, Kind, Look, MarkPaused, Seen, Untag
from fleetswap.domain.rollout.moments import Otherwise, Pause, due
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.transition import Next, make
from fleetswap.domain.text import duration

CALM_SECONDS = 10.0
"""Seconds between two readings while nothing is wrong: a pause may take hours, and a person is no faster."""


def enter(state: State, now: float) -> Next:
    """The pause before what comes next, if there is one."""
    coming = state.steps[1:] if state.moved else state.steps
    pauses = () if state.trusted or not coming else state.order.policy.pause
    pause = due(pauses, state.weight, coming[0].weight) if pauses else None
    if pause is None or pause.place in state.paused:
        return _over(state, now)
    state = interim.begin(state, now)
    state = replace(state, phase=Phase.PAUSE, pause=pause, pause_until=now + pause.deadline)
    return _push_out(state, now, MarkPaused(state.order.candidate, name(state, pause), pause.deadline, pause.otherwise))


def name(state: State, pause: Pause) -> str:
    """Which pause of which run it is (`rollout_tags.Paused.pause`)."""
    return f"{state.run} {pause.place}"


def made(state: State, now: float) -> Next:
    """The group says that it waits, or no longer; or the switch was pushed out."""
    if state.pause is None:
        return _over(state, now)
    deadline = state.pause_until + state.order.policy.shift_deadline
    return replace(state, deadline=deadline, doing=interim.reading(state, now))


def answered(state: State, event: Event, now: float) -> Next:
    """One reading of what is watched, and of the tags of the candidate's group."""
    state, over = interim.watched(state, event, now)
    if over is not None or state.pause is None:
        return over or _over(state, now)
    policy, pause = state.order.policy, state.pause
    left = state.pause_until - now
    wished = rollout_tags.continues(_continued(state, event), name(state, pause))
    if left <= 0 and not wished and pause.otherwise is Otherwise.ABORT:
        reason = f"nobody has continued the rollout {pause.before} within {duration(pause.deadline)}"
        return compare.fail(state, Kind.CANCELLED, reason, now)
    ended = wished or left <= 0
    if ended and not state.streak.bad:
        return _continue(state, pause, now)
    if now >= state.push_at:
        return _push_out(state, now)
    if ended:
        return interim.doubted(state, now)
    calm = max(policy.interval, min(CALM_SECONDS, interim.switch_seconds(state) / 4))
    seconds = min(left, policy.quick if state.streak.bad else calm)
    return state.wait(seconds, f"paused {pause.before}", interim.reading(state, now + seconds))


def _continued(state: State, event: Event) -> str | None:
    group = None
    if isinstance(event, EvidenceRead):
        group = event.evidence.group
    elif isinstance(event, Seen):
        group = event.group(state.order.candidate.release)
    return group.continued if group is not None else None


def _push_out(state: State, now: float, *first: Change) -> Next:
    """Half of the time is left when it is done again: a call may fail."""
    ahead = interim.switch_seconds(state)
    deadline = now + state.order.policy.shift_deadline  # nothing is watched until it is done
    return make(
        replace(state, push_at=now + ahead / 2, deadline=deadline), [*first, *interim.push_out(state, ahead)], now
    )


def _continue(state: State, pause: Pause, now: float) -> Next:
    """First the group no longer says that it waits."""
    deadline = now + state.order.policy.shift_deadline
    state = replace(state, pause=None, paused=(*state.paused, pause.place), deadline=deadline)
    keys = (rollout_tags.PAUSED, rollout_tags.CONTINUE)
    return make(state, [Untag(state.order.candidate, keys)], now)


def _over(state: State, now: float) -> Next:
    state = interim.end(state, now)
    if state.moved:
        return hold.next_step(state, now)
    return replace(state, doing=Look(first=False))
