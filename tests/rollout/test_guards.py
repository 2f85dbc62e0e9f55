"""Guards behind which another stands, each one alone: without these tests nothing tells when one of them is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.rollout import canary, look, pins, rollout_tags, scale_in
from fleetswap.domain.rollout.health import Answer, Streak, Target, TargetState
from fleetswap.domain.rollout.machine import begin, step
from fleetswap.domain.rollout.messages import (
    Arm,
    CancelScaleIn,
    Change,
    Compare,
    Compared,
    Confirm,
    Confirmed,
    Did,
    Disarm,
    End,
    Held,
    Kind,
    Look,
    ReadEvidence,
    ReadRule,
    Resize,
    Restore,
    Route,
    RuleRead,
    ScheduleScaleIn,
    Seen,
    Tag,
    Unanswered,
)
from fleetswap.domain.rollout.model import Armed, Group, Rule
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import Step
from fleetswap.workflows.rollout.executor import Executor, Ports
from tests.fakes.world import Release, World, order, running, target

POLICY = Policy(minimum=2, readings=2, interval=2, convergence=60)
ORDER = replace(order("new", "live", "old", standby="live", policy=POLICY), switch_role="arn:role")
LIVE = Rule((("tg-live", 100),), "live")
NEW = Rule((("tg-new", 100),), "new")
UP = (Target("i-1", TargetState.HEALTHY), Target("i-2", TargetState.HEALTHY))
SEEN = Seen(
    LIVE,
    (("new", Group(2, 2, 8)), ("live", Group(2, 2, 8)), ("old", Group(0, 0, 8))),
    (("tg-new", UP), ("tg-live", UP)),
    (),
)


def at(phase: Phase, **fields: object) -> State:
    """A rollout that has looked, and is somewhere."""
    known = replace(
        begin(ORDER, 0.0, "mine"), phase=phase, first=SEEN, latest=SEEN, home=LIVE, wanted=2, deadline=600.0
    )
    return replace(known, **fields)  # type: ignore[arg-type] # names of its fields


def test_health_comes_before_what_the_tag_says() -> None:
    """All the traffic of a rollout that died would be brought home to a release without a healthy machine."""
    both = Rule((("tg-live", 90), ("tg-new", 10)))
    seen = replace(SEEN, rule=both, targets=(("tg-new", UP), ("tg-live", ())), tags={rollout_tags.LIVE: "live"})
    assert look.home(ORDER, seen) == Rule((("tg-new", 100),))
    assert look.home(ORDER, replace(seen, targets=(("tg-new", UP), ("tg-live", UP)))) == Rule((("tg-live", 100),))


def test_what_aws_is_scaling_in_is_no_home() -> None:
    """The traffic of a rollout that died would be brought to machines that answer for some seconds more."""
    both = Rule((("tg-live", 90), ("tg-new", 10)))
    groups = (("new", Group(2, 2, 8)), ("live", Group(0, 0, 8)), ("old", Group(0, 0, 8)))
    seen = replace(SEEN, rule=both, groups=groups, tags={rollout_tags.LIVE: "live"})
    assert look.home(ORDER, seen) == Rule((("tg-new", 100),))


def test_a_take_over_ends_the_rollout_before_a_step() -> None:
    """Two rollouts would write the weights in turns."""
    state = at(Phase.PROBE, doing=Look(first=False))
    after = step(state, replace(SEEN, armed=Armed(LIVE, 60, "another")), 10.0)
    assert after.phase is Phase.DONE
    assert isinstance(after.doing, End)
    assert "another rollout of this service has started and taken over" in after.doing.reason
    assert step(state, replace(SEEN, armed=Armed(LIVE, 60, "mine")), 10.0).phase is Phase.SHIFT


@pytest.mark.parametrize("schedule", [None, (5000.0, LIVE, "another")])
def test_no_weights_without_our_switch(schedule: tuple[float, Rule, str] | None) -> None:
    """A newer rollout would be overruled by an older one that was held up just before it wrote."""
    world = World(new=running(2), live=running(2), old=Release())
    world.put_traffic(live=100)
    world.schedule = schedule
    executor = Executor(ORDER, Ports(world, world, world, world, world, world), "mine")
    route = Route((("tg-new", 100),), guarded=True, expected=LIVE, machines=2)
    assert executor.do(route) == Held("the dead man's switch no longer belongs to this rollout")
    assert world.written == []
    world.schedule = (5000.0, LIVE, "mine")
    assert executor.do(route) == Did()


@pytest.mark.parametrize(
    ("release", "why"),
    [
        (running(3, desired=1), "release new is scaled in"),
        (
            running(2, tags={rollout_tags.SCALE_IN: "9:00"}, scale_in_at=9000.0),
            "release new is scheduled to be scaled in",
        ),
        (
            running(2, tags={rollout_tags.SCALE_IN: "9:00 another"}, scale_in_at=9000.0),
            "release new is scheduled to be scaled in",
        ),
        (running(2, tags={rollout_tags.SCALE_IN: "9:00 mine"}, scale_in_at=9000.0), None),
        (running(2, tags={rollout_tags.SCALE_IN: "9:00"}), None),
    ],
)
def test_no_weights_on_what_aws_scales_in(release: Release, why: str | None) -> None:
    """Machines that are being ended answer for some seconds more, and would get the traffic."""
    world = World(new=release, live=running(2), old=Release())
    world.put_traffic(live=100)
    world.schedule = (5000.0, LIVE, "mine")
    executor = Executor(ORDER, Ports(world, world, world, world, world, world), "mine")
    done = executor.do(Route((("tg-new", 100),), guarded=True, expected=LIVE, machines=2))
    assert done == (Did() if why is None else Held(why))


def test_nobody_plans_the_end_of_what_another_has_made_live() -> None:
    """A rollout that was held up would have AWS end, an hour later, what a newer one has put all the traffic on."""
    world = World(new=running(2), live=running(2), old=Release())
    world.put_traffic(new=100)
    executor = Executor(ORDER, Ports(world, world, world, world, world, world), "mine")
    plan = ScheduleScaleIn(target("new"), 4000.0, "mine")
    assert executor.do(plan) == Held("the dead man's switch no longer belongs to this rollout")
    assert world.releases["new"].scale_in_at is None
    world.schedule = (5000.0, LIVE, "mine")
    assert executor.do(plan) == Did()
    world.schedule, world.releases["new"].scale_in_at = None, None
    without = Executor(replace(ORDER, switch_role=None), Ports(world, world, world, world, world, world), "mine")
    assert without.do(plan) == Held("new has traffic already")


def test_the_candidates_pin_is_what_a_live_release_needs() -> None:
    """After a death in the settle nothing would keep the new live release from being shrunk to nothing."""
    assert pins.pin_candidate(at(Phase.SCALE), SEEN) == [Tag(ORDER.candidate, rollout_tags.PIN, "2")]


@pytest.mark.parametrize(("candidate", "stays"), [(2, True), (0, False), (None, False)])
def test_the_traffic_stays_only_on_what_is_alive(candidate: int | None, *, stays: bool) -> None:
    """With both releases dead the user would be told that the traffic is better off on the new one."""
    weights = (("tg-new", 100),)
    state = at(
        Phase.COMPARE, doing=Compare(("tg-live",)), moved=True, written=(weights,), ending=End(Kind.ABORTED, "x")
    )
    after = step(state, Compared(0, candidate, NEW, rule_known=True), 10.0)
    assert isinstance(after.doing, Restore) is not stays
    assert ("the traffic stays on new" in after.ending.reason) is stays


def test_a_put_back_believes_several_readings() -> None:
    """One stale reading would let the candidate lose its machines while it has the traffic."""
    state = at(
        Phase.PUT_BACK, doing=ReadRule(), moved=True, written=((("tg-new", 100),),), ending=End(Kind.ABORTED, "x")
    )
    state = step(state, RuleRead(LIVE), 10.0)
    assert state.phase is Phase.PUT_BACK
    state = step(replace(state, doing=ReadRule()), RuleRead(LIVE), 11.0)
    assert state.phase is Phase.CLEAN_UP


def test_a_rollout_that_was_held_up_for_longer_than_its_switch_ends() -> None:
    """It would go on with weights that the switch has put back, or is about to."""
    state = at(Phase.HOLD, doing=ReadEvidence(1.0, "tg-live", shared=True), moved=True, armed_until=20.0)
    state = replace(state, written=((("tg-live", 95), ("tg-new", 5)),))
    assert step(state, Unanswered("throttled"), 19.0).phase is Phase.HOLD
    after = step(state, Unanswered("throttled"), 20.0)
    assert after.phase is Phase.COMPARE
    assert "the dead man's switch was due" in after.ending.reason


def test_the_switch_waits_for_figures_that_are_late() -> None:
    """It would put back good rollouts whose figures come late."""
    policy = replace(POLICY, shift_deadline=7, data_deadline=110, switch_margin=13)
    assert canary.switch_seconds(policy, Step(5, hold=1000)) >= 7 + 1000 + 110 + 13


def test_the_candidate_outlasts_its_switch() -> None:
    """The candidate would lose its machines before the switch has taken its traffic away."""
    state = at(Phase.SHIFT)
    plan = scale_in.if_we_die(state, 300.0)
    assert (plan.target, plan.note) == (ORDER.candidate, "mine")
    assert plan.seconds >= 300 + scale_in.SWITCH_TRIES + POLICY.convergence
    looked = at(Phase.PROBE, doing=Look(first=False), touched=(plan,))
    changes: list[Change] = []
    after = step(looked, SEEN, 10.0)
    while isinstance(after.doing, (Arm, ScheduleScaleIn, Route, Resize, Tag, CancelScaleIn)):
        changes.append(after.doing)
        after = step(after, Did(), 10.0)
    planned, armed, routed = (
        next(n for n, change in enumerate(changes) if isinstance(change, kind))
        for kind in (ScheduleScaleIn, Arm, Route)
    )
    assert planned < armed < routed


def test_no_plan_is_left_on_what_keeps_the_traffic() -> None:
    """Who dies after the switch is gone leaves the traffic there: an hour later AWS would end what serves."""
    plan = scale_in.if_we_die(at(Phase.SHIFT), 300.0)
    done = at(Phase.BAKE, touched=(plan,), armed_until=900.0, steps=(Step(100),), streak=Streak())
    settling = step(replace(done, phase=Phase.SHIFT, doing=Route((("tg-new", 100),))), Did(), 10.0)
    assert settling.phase is Phase.SHIFT
    stays = replace(done, phase=Phase.COMPARE, doing=Compare(("tg-live",)), moved=True, written=((("tg-new", 100),),))
    after = step(replace(stays, ending=End(Kind.ABORTED, "x"), owned=True), Compared(0, 2, NEW, rule_known=True), 10.0)
    order_of = []
    while not isinstance(after.doing, End):
        order_of.append(type(after.doing))
        after = step(after, Did(), 10.0)
    assert order_of.index(CancelScaleIn) < order_of.index(Disarm)


@pytest.mark.parametrize(
    ("had", "calm_since", "now", "seconds"),
    [
        ({"tg-old"}, 100.0, 110.0, 50.0),
        ({"tg-old"}, 100.0, 160.0, 0.0),
        (set(), 100.0, 10.0, 50.0),
        (set(), 100.0, 60.0, 0.0),
    ],
)
def test_how_long_nodes_may_go_by_old_weights(had: set[str], calm_since: float, now: float, seconds: float) -> None:
    """Machines would go while the load balancer still sends requests to them, also those of a rollout that died."""
    groups = (("new", Group(2, 2, 8)), ("live", Group(2, 2, 8)), ("old", Group(2, 2, 8)))
    state = at(Phase.SETTLE, had=frozenset(had), calm_since=calm_since, first=replace(SEEN, groups=groups))
    assert scale_in.left(state, target("old"), now) == seconds
    changes = scale_in.changes(state, target("old"), Group(2, 2, 8), now)
    wanted: list[Change] = (
        [ScheduleScaleIn(target("old"), seconds, rollout_tags.LEFT)] if seconds else [Resize(target("old"), 0, 0)]
    )
    assert changes == wanted


@pytest.mark.parametrize(
    ("known", "targets", "words"),
    [
        (False, None, "AWS does not show whether the new weights hold"),
        (True, None, "AWS does not report the health of its machines"),
        (True, UP, "the listener does not show the new weights yet"),
    ],
)
def test_what_aws_does_not_answer_is_not_called_stale(
    known: bool,  # noqa: FBT001 - a table
    targets: tuple[Target, ...] | None,
    words: str,
) -> None:
    """With all of AWS throttled the user would read that the weights do not show yet, and look at the listener."""
    state = at(
        Phase.SHIFT, doing=Confirm(), moved=True, written=((("tg-new", 100),),), steps=(Step(100),), deadline=10.0
    )
    rule = LIVE if targets else NEW
    after = step(state, Confirmed(rule if known else None, known, targets, Answer(200)), 10.0)
    assert after.phase is Phase.COMPARE
    assert after.ending.reason.endswith(f"/ responds with status 200, but {words}")
