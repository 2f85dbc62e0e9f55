"""The scale-in of a release that no longer has traffic: when it may happen, and how.

DescribeRules shows what was written. The nodes of an Application Load Balancer follow seconds later, and a node that
still uses the old weights returns 503 for a release without machines. So nothing that had traffic loses machines until
`policy.convergence` seconds after the weights were last seen to start to hold. Nobody waits for that: AWS itself scales
the group in when it is due, so an error reaches the user at once, and a rollout that dies cannot leave it undone. This
module decides how; `settle` and `clean_up` decide that something is scaled in.
"""

from __future__ import annotations

from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.messages import Arm, CancelScaleIn, Change, Resize, ScheduleScaleIn
from fleetswap.domain.rollout.model import Group, ReleaseTarget
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.state import State

SWITCH_TRIES = 360.0
"""Seconds after its time in which a dead man's switch may still write: it fires within 60 s, and EventBridge Scheduler
tries again for as long as `fleetswap.aws.rollout.switch` allows it."""

ORPHANED = 3600.0
"""Seconds after that, in which someone may notice that not even the switch could write, before AWS ends the machines of
the candidate that it should have taken the traffic from."""


def left(state: State, target: ReleaseTarget, now: float) -> float:
    """Seconds for which the nodes of the load balancer may still send requests to a release that has no weight."""
    group = state.first.group(target.release) if state.first else None
    if target.target_group in state.had:
        since = state.calm_since
    elif group is not None and not group.desired and not group.machines:
        return 0.0  # it had no machines when this rollout began, so it cannot have had traffic just before
    else:
        since = state.started  # a rollout before may have taken its traffic away a moment before this one began
    return max(0.0, since + state.order.policy.convergence - now)


def changes(state: State, target: ReleaseTarget, group: Group, now: float) -> list[Change]:
    """What takes all its machines away. A plan goes only when nothing is left to scale in: we may die in between."""
    planned: list[Change] = [CancelScaleIn(target)] if group.scale_in is not None or _was_planned(state, target) else []
    if (group.minimum, group.desired) == (0, 0):
        return planned
    seconds = left(state, target, now)
    return [ScheduleScaleIn(target, seconds, rollout_tags.LEFT)] if seconds > 0 else [Resize(target, 0, 0), *planned]


def kept_warm(policy: Policy, seconds: float) -> float:
    """How long something is kept warm that is asked to be for so many seconds; it may have had traffic just now."""
    return max(seconds, policy.convergence)


def if_we_die(state: State, seconds: float) -> ScheduleScaleIn:
    """The candidate's own scale-in, for the case that no one is left to do it. The switch is due in `seconds`.

    If the switch puts the traffic back, nothing else would ever end the candidate's machines. It is moved with the
    switch, and cancelled before the switch is deleted.
    """
    policy = state.order.policy
    return ScheduleScaleIn(state.order.candidate, seconds + SWITCH_TRIES + kept_warm(policy, ORPHANED), note=state.run)


def arm(state: State, seconds: float) -> list[Change]:
    """Set the switch, and what is to become of the candidate after it, in this order: the candidate must outlast it.

    A first deploy has nothing to go back to. Without a switch nobody puts the traffic back, so that the candidate must
    keep its machines.
    """
    if state.order.switch_role is None or state.home is None:
        return [CancelScaleIn(state.order.candidate)] if state.is_planned_ahead else []
    return [if_we_die(state, seconds), Arm(seconds, state.home, guarded=True)]


def _was_planned(state: State, target: ReleaseTarget) -> bool:
    return any(isinstance(change, ScheduleScaleIn) and change.target == target for change in state.touched)
