"""What must be true when a rollout has ended, however it ended."""

from __future__ import annotations

from collections.abc import Iterator

from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.messages import End
from fleetswap.domain.rollout.model import Order
from fleetswap.domain.rollout.state import Phase, State
from tests.fakes.sim_world import Fleet, SimWorld
from tests.rollout.scenarios import HARMLESS, LATE, Scenario

BESIDE = ("TagRule", "Tag(", "Untag", "Disarm", "ScheduleScaleIn")
"""Changes that a rollback by hand can do without."""

TOO_LATE = tuple(
    f"abort from outside at {phase}" for phase in (Phase.SETTLE, Phase.COMPARE, Phase.PUT_BACK, Phase.CLEAN_UP)
)
"""An abort that comes when the rollout is over stays until the next one begins, and means nothing to it."""


def wrong(scenario: Scenario, world: SimWorld, state: State, end: End, story: tuple[str, ...]) -> Iterator[str]:
    """Whatever is not as it must be. Of an end that tells of problems, with the remedy, less is asked."""
    yield from _outcome(scenario, world, state, end, story)
    if end.problems:
        return
    if len(world.serving()) != 1 and not (world.rule_now is None and end.kind is not None):
        yield f"{sorted(world.serving())} are live instead of one"
    known = {state.order.candidate.release, *(target.release for target in state.order.others)}
    for name, fleet in world.releases.items():
        if name not in known:
            continue  # nothing declares it any more: Pulumi deletes it
        if not state.warnings:
            yield from _marks(name, fleet, state, story)
        yield from _schedules(name, world, state, end, story)
        yield from _warm_pools(name, world, state, end, story)
        if name in world.serving():
            yield from _live(name, fleet, state, story)
        elif fleet.desired and fleet.scale_in_at is None and not _is_told(state, end, story):
            yield f"{name} has no traffic, and runs for ever"
    if world.schedule is not None and (world.schedule[2] == state.run or world.schedule[1] != world.rule_now):
        yield "the switch is still armed"  # one that a dead run left, and that changes nothing, goes by itself


def is_stopped(order: Order, world: SimWorld) -> bool:
    """Whether a freeze stops this order now: neither a repair, nor a rollback, of either kind."""
    name, left = order.candidate.release, world.rule_tags.get(rollout_tags.ROLLED_BACK, "").split(" ")[0]
    goes_back = order.terms.keeps_all or (order.trusted and left != name)
    return rollout_tags.FROZEN in world.rule_tags and world.serving() != {name} and not goes_back


def _schedules(name: str, world: SimWorld, state: State, end: End, story: tuple[str, ...]) -> Iterator[str]:
    """Only what is live follows schedules: those of the settings, once it is so by them."""
    follows, serves = world.releases[name].schedules, name in world.serving()
    if follows and not serves and not _is_told(state, end, story):
        yield f"{name} has no traffic, and a schedule starts its machines"
    if end.kind is None and serves and not state.order.terms.keeps_all and follows != state.order.schedules:
        yield f"{name} is live, and does not follow the schedules"


def _warm_pools(name: str, world: SimWorld, state: State, end: End, story: tuple[str, ...]) -> Iterator[str]:
    """Only what is live has a warm pool: that of the settings, once it is so by them. Or the user was warned."""
    if any(f"the warm pool of {name} is not as the settings say" in each for each in state.warnings):
        return
    pool, serves = world.releases[name].warm_pool, name in world.serving()
    if pool is not None and not serves and not _is_told(state, end, story):
        yield f"{name} has no traffic, and a warm pool"
    if end.kind is None and serves and not state.order.terms.keeps_all and pool != state.order.warm_pool:
        yield f"{name} is live, and has the warm pool {pool}"


def _is_told(state: State, end: End, story: tuple[str, ...]) -> bool:
    """Whether the user knows that something is left: who goes back by hand does, and who reads the error.

    That the next `pulumi up` takes it away then is seen after every such end (`Explorer._agreed`).
    """
    if end.kind is None and state.order.terms.keeps_all:
        return True
    return "the traffic stays on" in end.reason or any(part.startswith("rollback by hand") for part in story)


def _outcome(scenario: Scenario, world: SimWorld, state: State, end: End, story: tuple[str, ...]) -> Iterator[str]:
    candidate = state.order.candidate.release
    if end.kind is None and world.serving() != {candidate}:
        yield f"a success, but {sorted(world.serving())} serve"
    mishaps = {part.split(" at ")[0] for part in story}
    # Without live's machines there is nothing to compare it with, and nowhere else to leave the users.
    by_others = scenario.aborted is not None and any(part.startswith("then ") for part in story)
    deserved = scenario.good or by_others or "all machines of live die" in mishaps
    if end.kind is None and candidate == "new" and not deserved:
        yield "a bad candidate got all the traffic"
    if end.kind is not None and scenario.good and len(story) <= 1 and mishaps <= HARMLESS:
        yield "a good candidate was not deployed"
    run = world.hook_failed.partition(" (")[0]
    if run == state.run and (end.kind is None or (candidate in world.serving() and not _is_explained(end))):
        yield f"the hook of {world.hook_failed} has failed, and {sorted(world.serving())} serve"
    refused = [part.split(": ", 1)[1] for part in story if part.startswith("refusal at ")]
    alone = state.order.terms.best_effort and scenario.good and len(story) == len(refused) == 1
    if end.kind is not None and alone and refused[0].startswith(BESIDE):
        yield "what is beside the traffic held it up"


def _is_explained(end: End) -> bool:
    """Whether the user is told why the traffic is where it should not be."""
    return bool(end.problems) or "the traffic stays on" in end.reason


def left(world: SimWorld, state: State, story: tuple[str, ...]) -> Iterator[str]:
    """A rollback by hand that has ended well can be undone, and is written down for the next `pulumi up`."""
    order, tags = state.order, world.rule_tags
    kept = world.releases.get(order.standby or "")
    late = any(part.startswith((LATE, "held up", "rollback by hand")) for part in story)
    if kept is not None and not late and (not kept.desired or kept.scale_in_at is not None):
        yield f"{order.standby} has lost its machines, or will: there is no way back from the way back"
    wanted = {rollout_tags.LIVE: order.candidate.release, rollout_tags.ROLLED_BACK: order.terms.rolled_back}
    if any(tags.get(key) != value for key, value in wanted.items()) and not state.warnings:
        yield f"the rule says {tags}, and no one is warned"


def _marks(name: str, fleet: Fleet, state: State, story: tuple[str, ...]) -> Iterator[str]:
    """An abort counts for a candidate that is not live, and as long as there is something to abort."""
    is_candidate = name == state.order.candidate.release and not state.is_live_already
    in_time = is_candidate and not any(part.startswith(TOO_LATE) for part in story)
    allowed = {rollout_tags.SCALE_IN} if in_time else {rollout_tags.SCALE_IN, rollout_tags.ABORT}
    if fleet.schedules or state.order.terms.keeps_all:  # the next update of the settings moves them
        allowed.add(rollout_tags.SCHEDULES)
    if set(fleet.tags) - allowed:
        yield f"{name} still has the tags {sorted(fleet.tags)}"


def _live(name: str, fleet: Fleet, state: State, story: tuple[str, ...]) -> Iterator[str]:
    # By hand it may be put on a standby that is held warm; and of two at once, one takes away the other's mark.
    by_hand = any(part.startswith(("rollback by hand", "another deployer")) for part in story)
    if fleet.scale_in_at is not None:
        yield f"{name} is live, and will be scaled in at {fleet.scale_in_at}"
    if fleet.minimum > max(state.order.minima) and not by_hand and not state.warnings:
        yield f"{name} is live, and still held at {fleet.minimum} machines"
    if fleet.on_demand_percent:
        yield f"{name} still launches on-demand machines"
