"""Look: what the first look says about earlier rollouts, where the traffic belongs, and what forbids a new rollout.

A rollout that died may have left the traffic split, or on an unproven release, and a switch that will restore the
previous weights. So the traffic is first restored as the switch would do it, and only then a new rollout starts.
Reality is what the listener's rule and the tags say, not a ledger. Nothing here looks at evidence about the candidate.
"""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain.rollout import canary, compare, evidence, freeze, health, rollout_tags, scale, wording
from fleetswap.domain.rollout.best_effort import warn
from fleetswap.domain.rollout.freeze import Judged
from fleetswap.domain.rollout.health import Verdict
from fleetswap.domain.rollout.messages import (
    Action,
    Arm,
    CancelScaleIn,
    Change,
    Disarm,
    Event,
    Kind,
    Look,
    MendRule,
    Restore,
    Route,
    Seen,
    Tag,
)
from fleetswap.domain.rollout.model import Order, Rule, shares
from fleetswap.domain.rollout.policy import Check
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import ALL
from fleetswap.domain.rollout.transition import Go, Next, make, unexpected
from fleetswap.domain.secrets.key_state import Findings, at_start

LOOK_SECONDS = 30.0
"""How long the first look may go unanswered. Nothing is touched yet, so there is nothing to be patient for."""

RECOVERIES = 3
"""How often the traffic is brought home before the start. Machines may die meanwhile, so that home is elsewhere."""

LOOKS = 10
"""How often the world may change between a look and the weights."""


def enter(state: State, now: float) -> State:
    """Everything begins with what is real."""
    return replace(state, phase=Phase.LOOK, doing=Look(), deadline=now + LOOK_SECONDS)


def answered(state: State, event: Event, now: float) -> Next:
    """What a rollout before has left is taken over; the traffic is brought home, if it is not."""
    if isinstance(event, Seen):
        return _first_look(state, event, now)
    return unexpected(state, event)


def made(state: State, now: float) -> Next:
    """Nothing is left of a rollout before: this one begins, unless something forbids it."""
    seen = state.first
    if seen is None:
        raise TypeError("nothing was looked at")
    refused = refusal(state, seen)
    if refused:
        return compare.fail(state, *refused, now)
    return Go(Phase.SCALE, replace(state, steps=canary.steps(state, seen)))


def anew(state: State, why: str, now: float) -> State:
    """Someone else moves the traffic, and is overruled: from what is real now, but not for ever."""
    if state.held > LOOKS:
        return compare.fail(state, Kind.ABORTED, f"gave up after several attempts: {why}", now)
    state = replace(state, phase=Phase.LOOK, deadline=now + LOOK_SECONDS, held=state.held + 1, queue=(), arrived=False)
    return state.wait(state.order.policy.quick, why, Look())


def moved_by_others(state: State, rule: Rule | None, then: Action, why: str, now: float) -> State:
    """The weights are not ours. If they are no old reading either, they stay, unless this rollout overrules others."""
    if not state.is_others(rule, now):
        return state.wait(state.order.policy.quick, "the listener still shows the old weights", then)
    if state.order.terms.overrules:
        return anew(state, why, now)
    return compare.fail(state, Kind.ABORTED, f"{why}; the traffic stays as it is now", now)


def again(state: State, why: str, now: float) -> Next:
    """Weights were not written, because something changed since the look: look again, but not for ever."""
    policy = state.order.policy
    if state.held > LOOKS:
        return compare.fail(state, Kind.ABORTED, f"gave up after several attempts: {why}", now)
    if state.phase is Phase.RECOVER:
        return Go(Phase.LOOK, replace(state, moved=False, written=()))
    return state.wait(policy.quick, why, Look(first=False, scaling=state.phase in {Phase.SCALE, Phase.GATE}))


def _first_look(state: State, seen: Seen, now: float) -> Next:
    strangers = {target.target_group: target for target in (*state.order.strangers, *seen.strangers)}
    state = replace(state, order=replace(state.order, strangers=tuple(strangers.values())))
    state = warn(state, *seen.unknown)
    belongs = home(state.order, seen)
    deadline = state.started + state.order.policy.deadline
    state = replace(
        state, first=seen, latest=seen, home=belongs, deadline=deadline, written=(), moved=False, since=None
    )
    armed = seen.armed.rule.serving if seen.armed else frozenset()
    state = replace(state, had=state.had | armed | (seen.rule.serving if seen.rule else frozenset()))
    state = warn(state, *_keys(state, seen).warnings)
    state = replace(state, freeze=_freeze(state, seen).noted)
    # The switch brings nothing home any more once it is taken over: nothing may be planned for what then has traffic.
    mend: list[Change] = [MendRule()] if seen.rule is not None and seen.rule.odd else []
    before = [*mend, *scale.keep(state, seen), *take_over(state, seen)]
    if not bring_home(state, seen):
        return make(state, before, now)
    if state.recovered >= RECOVERIES:
        reason = "someone else keeps moving the traffic, so it stays as it is now"
        return compare.fail(replace(state, home=seen.rule), Kind.ABORTED, reason, now)
    found = () if seen.rule is None else (seen.rule.weights,)
    state = replace(state, recovered=state.recovered + 1, moved=True, written=found, queue=tuple(before))
    return Go(Phase.RECOVER, state)


def home(order: Order, seen: Seen) -> Rule | None:
    """Where the traffic belongs. One release at most has all of it there.

    A switch that is armed says where its rollout came from. Without one, a release that has all the traffic is home; of
    several that share it, the one that the last finished rollout made live, else the one with most of the traffic.
    A release without a healthy machine is home only if no other that has traffic has one.
    """
    rule, armed = seen.rule, seen.armed
    if rule is None or not rule.serving:
        return rule
    alive = [arn for arn in rule.serving if _is_alive(order, seen, arn)]
    if armed is not None and len(armed.rule.serving) == 1:
        (arn,) = armed.rule.serving
        if _is_alive(order, seen, arn) or (not alive and arn in rule.serving):
            return armed.rule
    if len(rule.serving) == 1:
        return rule
    live = seen.tags.get(rollout_tags.LIVE)
    best = max(
        dict(rule.weights).items(),
        key=lambda pair: (pair[0] in alive, order.release_of(pair[0]) == live, pair[1], pair[0]),
    )
    return Rule(((best[0], ALL),))


def _is_alive(order: Order, seen: Seen, target_group: str) -> bool:
    """Whether a release has healthy machines, and keeps them: what AWS is scaling in answers for some seconds more."""
    group = seen.group(order.release_of(target_group))
    return health.healthy(seen.targets_of(target_group)) > 0 and (group is None or group.desired > 0)


def take_over(state: State, seen: Seen) -> list[Change]:
    """What makes the switch ours, so that it can never undo what we do: its weights and its time are ours now."""
    order, rule = state.order, state.home
    foreign = seen.armed is not None and seen.armed.run != state.run
    if foreign and rule is not None and rule.verbatim and order.switch_role is not None:
        return [Arm(order.policy.deadline + order.policy.switch_margin, rule)]
    serving = seen.rule.serving if seen.rule else frozenset()
    alive = bool(order.terms.overrules) and len(serving) > 1  # without a switch, too
    if not foreign and seen.armed_known and not alive:
        return []
    return [*_unplan(order, seen, serving), *_tell_to_stop(order, seen, serving), Disarm(anyones=True)]


def _unplan(order: Order, seen: Seen, serving: frozenset[str]) -> list[Change]:
    """Only that switch would take the traffic off a candidate that its rollout has planned the end of."""
    groups = [(target, seen.group(target.release)) for target in order.releases if target.target_group in serving]
    return [
        CancelScaleIn(target)
        for target, group in groups
        if (bool(seen.unknown) if group is None else group.scale_in is not None)
    ]


def _tell_to_stop(order: Order, seen: Seen, serving: frozenset[str]) -> list[Change]:
    """A rollout that still runs reads the tag of its candidate; it puts back the traffic, and then touches no more."""
    if not order.terms.overrules:
        return []
    others = [target for target in order.releases if target.target_group in serving and target != order.candidate]
    return [
        Tag(target, rollout_tags.ABORT, order.terms.overrules)
        for target in others
        if (bool(seen.unknown) if (group := seen.group(target.release)) is None else group.abort is None)
    ]


def bring_home(state: State, seen: Seen) -> list[Change]:
    """What puts the traffic where it belongs; nothing if it is there.

    With a switch armed by another run it is written in any case: that run wrote weights not long ago, and what we see
    may be older.
    """
    rule = state.home
    foreign = seen.armed is not None and seen.armed.run != state.run and not state.switch_stays
    if rule is None or (shares(rule) == shares(seen.rule) and not foreign):
        return []
    return [Restore(rule, guarded=True) if rule.verbatim else Route(rule.weights)]


def refusal(state: State, seen: Seen) -> tuple[Kind, str] | None:  # noqa: PLR0911 - one reason after the other
    """Why this rollout may not begin."""
    order, policy = state.order, state.order.policy
    candidate = order.candidate
    missing = [name for name in policy.alarms if name not in seen.alarms]
    if missing:
        return Kind.INPUT, f"alarm {', '.join(missing)} does not exist in this account and region"
    if state.is_live_already:
        return None
    frozen = _freeze(state, seen).refused
    if frozen:
        return Kind.INPUT, frozen
    broken = _keys(state, seen).refused
    if broken:
        return Kind.INPUT, "; ".join(broken)
    rolled_back = rollout_tags.RolledBack.read(seen.tags.get(rollout_tags.ROLLED_BACK, ""))
    if rolled_back.release == candidate.release and not policy.again:
        at = f" at {rolled_back.at}" if rolled_back.at else ""
        return (
            Kind.INPUT,
            f"release {candidate.release} was rolled back with `fleetswap rollback --now`{at}: deploy another image,"
            " set fleetswap:release,"
            " or allow it with fleetswap:rollout.again",
        )
    found = evidence.alarms(seen.alarms, policy.alarms, frozenset())
    bad = [finding for finding in found if finding.verdict is Verdict.ABORT]
    if bad and not state.trusted and not policy.reports_only(Check.ALARMS):
        return Kind.ABORTED, f"{wording.reasons(bad)} already, before release {candidate.release} begins"
    return None


def _freeze(state: State, seen: Seen) -> Judged:
    """What a freeze does to this rollout. It stops new releases, and never a repair or a way out of trouble."""
    release, passes = state.order.candidate.release, ""
    if state.is_live_already:
        return Judged()
    if state.order.terms.overrules:
        passes = "a freeze does not stop `fleetswap rollback --now`"
    elif state.trusted:
        passes = freeze.was_live(release)
    return freeze.judge(seen.tags, seen.time, service=state.order.service, release=release, passes=passes)


def _keys(state: State, seen: Seen) -> Findings:
    """What its keys mean for the candidate. Machines that run need none, so they can always get the traffic."""
    candidate = state.order.candidate
    group = seen.group(candidate.release)
    launches = not state.is_live_already and (group is None or group.desired == 0)
    return at_start(seen.keys, candidate.release, launches=launches)
