"""Clean up: what a failed rollout undoes once the traffic is where it is going to stay.

Every group that was changed gets its previous size. Every pin is removed, even one that an earlier rollout left. The
candidate is scaled to 0, unless it was in use before. A release with traffic never loses machines here: only its
minimum is restored, because scaling continues meanwhile. This module decides what to do, in which order; `put_back`
decides when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fleetswap.domain.rollout import health, pins, rollout_tags, scale_in
from fleetswap.domain.rollout.messages import (
    Arm,
    Broke,
    CancelScaleIn,
    Change,
    Did,
    Disarm,
    Event,
    Follow,
    KeepWarmPool,
    MarkPaused,
    MendRule,
    OnDemand,
    ReadRule,
    Resize,
    Restore,
    Route,
    ScheduleScaleIn,
    Tag,
    TagRule,
    Unanswered,
    Untag,
)
from fleetswap.domain.rollout.model import Group, ReleaseTarget, Rule, shares
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.transition import unexpected
from fleetswap.domain.text import capacity

LEFT_SECONDS = 300.0
"""When what is left of a dead rollout is scaled in, if nothing is to be kept warm."""


PAUSE = 1.0
"""Seconds between two tries of an undo's call: short, because users wait; long enough not to feed a throttle."""

REFUSALS = 5
"""Tries of an undo's call that AWS refuses outright. A refusal seldom passes, but an interruption counts as one."""


def enter(state: State, rule: Rule | None, now: float) -> State:
    """The traffic is where it was, as the rule was just read."""
    reason = state.ending.reason
    if state.previous is None:
        reason += "; nothing has the traffic, as before"
    elif shares(rule) == shares(state.home):
        reason += f"; {state.previous} {'has all the traffic again' if state.moved else 'keeps all the traffic'}"
    state = replace(state, ending=replace(state.ending, reason=reason))
    return begin(state, changes(state, rule.serving if rule else frozenset(), now), now)


def begin(state: State, found: Sequence[Change], now: float) -> State:
    """These changes are what is left to do."""
    return _next(replace(state, phase=Phase.CLEAN_UP, queue=tuple(found), refusals=0), now)


def answered(state: State, event: Event, now: float) -> State:
    """A change is made."""
    if isinstance(event, Did):
        return _next(state.changed(), now)
    return unexpected(state, event)


def stumbled(state: State, event: Unanswered | Broke, now: float) -> State:
    """A call failed: try again for a while, then tell, and go on."""
    again = once_more(state, event, now)
    if again is not None:
        return again
    change = state.queue[0]
    weighted = isinstance(change, Resize) and state.is_weighted(change.target)
    what = f"could not {words(change, weighted=weighted)} ({event.why}): {state.order.terms.again}"
    return _next(replace(problem(state, what), queue=state.queue[1:], refusals=0), now)


def once_more(state: State, event: Unanswered | Broke, now: float) -> State | None:
    """The state that tries a call of the undo again; None if it was refused too often, or the time is over."""
    refusals = state.refusals + isinstance(event, Broke)
    if refusals >= REFUSALS or now >= state.deadline:
        return None
    # What was refused may never have been needed: the rule tells. What was not answered must be done again.
    refused = state.phase is Phase.PUT_BACK and isinstance(event, Broke)
    again = ReadRule() if refused else state.doing
    return replace(state, refusals=refusals).wait(PAUSE, f"restoring: {event.why}", again)


def end(state: State) -> State:
    """Nothing more is touched."""
    return replace(state, phase=Phase.DONE, doing=state.ending)


def problem(state: State, what: str) -> State:
    """The state with one more thing that could not be done."""
    return replace(state, ending=replace(state.ending, problems=(*state.ending.problems, what)))


def _next(state: State, now: float) -> State:
    return state.change(state.queue[0], now) if state.queue else end(state)


def changes(state: State, serving: frozenset[str], now: float) -> list[Change]:
    """All of it, with the traffic on `serving` from now on. What had it before keeps its machines, too.

    The switch goes last, but for a warm pool that is given back: AWS may have to delete another one first. Of what
    keeps traffic, the planned scale-in goes first of all.
    """
    found: list[Change] = []
    pools: list[Change] = []
    for target in state.order.releases:
        group = state.first.group(target.release) if state.first else None
        if group is not None:
            arn = target.target_group
            serves, had = arn in serving, arn in serving | state.served
            found += _one_release(state, target, group, now, serves=serves, has_traffic=had)
            found += _schedules(state, target, group, serves=serves)
            (pools if serves else found).extend(_warm_pool(state, target, group, serves=serves))
    found.sort(key=lambda change: not (isinstance(change, CancelScaleIn) and change.target.target_group in serving))
    arrived = state.arrived and serving == {state.order.candidate.target_group}
    found += tell(state) if arrived else _untell(state, serving)
    if state.armed_until is not None or any(isinstance(change, Arm) for change in state.touched):
        found.append(Disarm())
    return [*found, *pools]


def _schedules(state: State, target: ReleaseTarget, group: Group, *, serves: bool) -> list[Change]:
    """What keeps the traffic follows the schedules again, and nothing else does. `group` is as it was before."""
    order = state.order
    moved = any(isinstance(change, Follow) and change.target == target for change in state.touched)
    left = group.pin is not None and bool(order.schedules)  # by a deployer that died
    if serves and (moved or left):
        return [Follow(target, order.schedules, order.policy.minimum)]
    if not serves and (moved or group.follows) and order.moves_schedules:
        return [Follow(target, ())]
    return []


def _warm_pool(state: State, target: ReleaseTarget, group: Group, *, serves: bool) -> list[Change]:
    """What keeps the traffic has the warm pool that it had before, and nothing else has one."""
    changed = any(isinstance(change, KeepWarmPool) and change.target == target for change in state.touched)
    if serves and changed:
        return [KeepWarmPool(target, state.order.warm_pool if target == state.order.candidate else group.warm_pool)]
    if not serves and (changed or group.warm_pool is not None) and not state.order.terms.keeps_all:
        return [KeepWarmPool(target, None)]
    return []


def _one_release(
    state: State, target: ReleaseTarget, group: Group, now: float, *, serves: bool, has_traffic: bool
) -> list[Change]:
    """`group` is as it was before."""
    touched = [change for change in state.touched if getattr(change, "target", None) == target]
    resized = [change for change in touched if isinstance(change, Resize)]
    planned = any(isinstance(change, ScheduleScaleIn) for change in touched)
    found: list[Change] = []
    if has_traffic:
        # Without our switch nothing kept others from planning it, since we looked.
        alone = any(isinstance(change, Disarm) for change in state.touched)
        alone = alone or (serves and state.moved and state.armed_until is None)
        found += [CancelScaleIn(target)] if planned or group.scale_in is not None or alone else []
        found += _with_traffic(state, target, pinned=bool(resized) or pins.is_pinned(state, target))
    elif target == state.order.candidate and not _was_of_use(state, target, group):
        if resized or planned or (group.minimum, group.desired) != (0, 0):
            largest = max([group.desired, *(change.desired or 0 for change in resized)])
            found += scale_in.changes(state, target, replace(group, desired=largest), now)
    else:
        later = _scale_in_later(state, target, group, touched)  # before it is large again: we may die in between
        found += later or ([CancelScaleIn(target)] if planned else [])
        if resized and not (later and scale_in.left(state, target, now)):
            changed = any(change.desired is not None for change in resized)
            found.append(Resize(target, group.minimum, group.desired if changed else None))
    stop = (rollout_tags.ABORT,) if state.arrived and not serves else ()  # who was told may not have read it yet
    return [*found, *pins.release(state, target, keep=stop)]


def tell(state: State) -> list[Change]:
    """Whoever has lost the state finds live and standby on the rule; what a hand has left there is over."""
    had = state.rule_tags
    wanted = {rollout_tags.LIVE: state.order.candidate.release}
    if state.order.owner:
        wanted[rollout_tags.OWNER] = state.order.owner
    if state.order.terms.rolled_back:
        wanted[rollout_tags.ROLLED_BACK] = state.order.terms.rolled_back
    if state.boot_times:
        wanted[rollout_tags.BOOTS] = state.boot_times
    if state.order.standby is not None:
        wanted[rollout_tags.STANDBY] = state.order.standby
    interrupted = state.phase.is_back  # what was about to be written may not have been
    tags = tuple((key, value) for key, value in wanted.items() if interrupted or had.get(key) != value)
    remove = tuple(key for key in (rollout_tags.STANDBY, rollout_tags.ROLLED_BACK) if key in had and key not in wanted)
    return [TagRule(tags, remove)] if tags or remove else []


def _untell(state: State, serving: frozenset[str]) -> list[Change]:
    """What the settle has told on the rule is no longer true when the traffic is home again.

    A rollback would lead to the release that failed, and an owner whom no one knows would keep the service from
    being taken down.
    """
    if state.first is None or state.home_target is None or serving != state.served:
        return []
    was, now = {**state.first.tags, rollout_tags.LIVE: state.home_target.release}, state.rule_tags
    told = {key for each in state.touched if isinstance(each, TagRule) for key in (*dict(each.tags), *each.remove)} & {
        rollout_tags.LIVE,
        rollout_tags.STANDBY,
        rollout_tags.ROLLED_BACK,
        rollout_tags.BOOTS,
        rollout_tags.OWNER,
    }
    keys = sorted(key for key in told if was.get(key) != now.get(key))
    tags = tuple((key, was[key]) for key in keys if key in was)
    return [TagRule(tags, tuple(key for key in keys if key not in was))] if keys else []


def _scale_in_later(state: State, target: ReleaseTarget, group: Group, touched: Sequence[Change]) -> list[Change]:
    """What has no traffic is not left running for ever: AWS ends what it was to end, and what a dead rollout left."""
    changes = (CancelScaleIn, ScheduleScaleIn, Resize)
    planned = group.is_planned and any(isinstance(change, changes) for change in touched)
    left = not group.is_planned and (group.pin is not None or target == state.order.candidate)
    if not group.desired or not (planned or left):
        return []
    policy = state.order.policy
    return [ScheduleScaleIn(target, scale_in.kept_warm(policy, policy.warm or LEFT_SECONDS))]


def _with_traffic(state: State, target: ReleaseTarget, *, pinned: bool) -> list[Change]:
    if not pinned:
        return []
    was_home = target.target_group in state.served
    minimum = pins.own_minimum(state, target) if was_home else state.order.policy.minimum
    return [Resize(target, minimum or 0, None, lower=True)]


def _was_of_use(state: State, target: ReleaseTarget, group: Group) -> bool:
    """A standby that was warm before. What runs with a pin, or is to be ended, is only what a rollout has left."""
    healthy = state.first is not None and health.healthy(state.first.targets_of(target.target_group)) > 0
    return healthy and group.pin is None and not group.scale_in_note


def words(change: Change, *, weighted: bool = False) -> str:  # noqa: PLR0911 - one case a change
    """What could not be done, for a message; `weighted`: sizes are units of capacity."""
    match change:
        case Resize(target=target, desired=int(desired)):
            return f"restore {target.release} to {capacity(desired, weighted=weighted)}"
        case Resize(target=target):
            return f"restore the size of {target.release}"
        case Tag(target) | Untag(target) | MarkPaused(target):
            return f"remove the rollout's tags from {target.release}"
        case OnDemand(target):
            return f"restore the share of on-demand machines of {target.release}"
        case ScheduleScaleIn(target) | CancelScaleIn(target):
            return f"correct the scheduled scale-in of {target.release}"
        case Follow(target):
            return f"correct the schedules of {target.release}"
        case KeepWarmPool(target):
            return f"correct the warm pool of {target.release}"
        case Arm() | Disarm():
            return "delete the dead man's switch"
        case Route() | Restore() | TagRule() | MendRule():
            return "write the listener rule"
