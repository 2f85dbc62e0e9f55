"""What an action of the state machine does, in a few words. Only the words."""

from __future__ import annotations

from fleetswap.domain.rollout.messages import (
    Action,
    Arm,
    CancelScaleIn,
    Compare,
    Confirm,
    Disarm,
    End,
    Explain,
    Follow,
    KeepWarmPool,
    Look,
    MarkPaused,
    MendRule,
    OnDemand,
    Probe,
    ReadEvidence,
    ReadHealth,
    ReadImages,
    ReadRule,
    Resize,
    Restore,
    Route,
    RunHook,
    ScheduleScaleIn,
    Tag,
    TagRule,
    Untag,
    Wait,
)
from fleetswap.domain.rollout.model import Order
from fleetswap.domain.text import counted, duration, one_line

READS = {
    Look: "read the rule, the groups and their targets",
    ReadHealth: "read the candidate's health",
    ReadImages: "read which images the machines run",
    Probe: "probe the candidate",
    Confirm: "read the rule and the candidate's targets",
    ReadEvidence: "read the evidence",
    Explain: "read a console",
    Compare: "compare the candidate with what had the traffic",
    ReadRule: "read the rule",
    MendRule: "remove from the rule what no rollout writes",
    Disarm: "delete the dead man's switch",
}


def words(action: Action, order: Order) -> str:  # noqa: C901, PLR0911, PLR0912 - one flat case for each action
    """An action in a few words."""
    match action:
        case Resize(target=target, minimum=minimum, desired=desired):
            size = "" if desired is None else f"{desired} wanted, "
            return f"size of {target.release}: {size}minimum {minimum}"
        case Tag(target=target, key=key):
            return f"tag {target.release}: {key}"
        case Untag(target=target, keys=keys):
            return f"untag {target.release}: {', '.join(keys)}"
        case MarkPaused(target=target, seconds=seconds, otherwise=otherwise):
            return f"tag {target.release}: paused for {duration(seconds)} at most, then {otherwise}"
        case RunHook(call=call):
            return f"run hook {call.hook.label} ({call.hook.at})"
        case OnDemand(target=target, percent=percent):
            return f"{target.release}: {percent} % On-Demand Instances"
        case ScheduleScaleIn(target=target, seconds=seconds):
            return f"schedule the scale-in of {target.release} in {duration(seconds)}"
        case CancelScaleIn(target=target):
            return f"cancel the scale-in of {target.release}"
        case Follow(target=target, schedules=schedules):
            return f"{target.release} follows {counted(len(schedules), 'schedule')}"
        case KeepWarmPool(target=target, pool=pool):
            return f"{target.release} has {'a' if pool else 'no'} warm pool"
        case Arm(seconds=seconds):
            return f"set the dead man's switch to {duration(seconds)}"
        case Route(weights=weights):
            return f"write the weights: {shared(weights, order)}"
        case Restore(rule=rule):
            return f"restore the weights: {shared(rule.weights, order) if rule else 'no rule'}"
        case TagRule(tags=tags, remove=remove):
            return f"tag the rule: {', '.join([*(key for key, _ in tags), *(f'not {key}' for key in remove)])}"
        case Wait(seconds=seconds, why=why):
            return f"wait {seconds:.1f} s: {one_line(why)}"
        case End(kind=kind, reason=reason):
            return f"end: {one_line(reason)}" if kind else "end: succeeded"
        case _:
            return READS[type(action)]


def shared(weights: tuple[tuple[str, int], ...], order: Order) -> str:
    """Weights by release."""
    return ", ".join(f"{order.release_of(target_group)} {weight}" for target_group, weight in weights)
