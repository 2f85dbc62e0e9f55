"""The machine, one step at a time: from what it knows and what it hears, to what it does and remembers.

A row changes as little as it can against the row before it, so that it tells which answer makes the difference.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.rollout import progress, rollout_tags
from fleetswap.domain.rollout.evidence import Evidence
from fleetswap.domain.rollout.findings import Code, Finding, Unit
from fleetswap.domain.rollout.health import Answer, Failure, Machine, Reading, Streak, Target, TargetState, Verdict
from fleetswap.domain.rollout.look import LOOK_SECONDS, LOOKS, RECOVERIES
from fleetswap.domain.rollout.machine import begin, step
from fleetswap.domain.rollout.messages import (
    Arm,
    Broke,
    CancelScaleIn,
    Compare,
    Confirm,
    Confirmed,
    Did,
    Disarm,
    End,
    Event,
    EvidenceRead,
    Explain,
    Explained,
    HealthRead,
    Held,
    ImagesRead,
    Kind,
    Look,
    MendRule,
    OnDemand,
    Probe,
    Probed,
    ReadEvidence,
    ReadHealth,
    ReadImages,
    ReadRule,
    Resize,
    Restore,
    Route,
    RuleRead,
    ScheduleScaleIn,
    Tag,
    Unanswered,
    Wait,
)
from fleetswap.domain.rollout.model import Armed, Group, ReleaseTarget, Rule
from fleetswap.domain.rollout.periods import Figures, Period, Watch
from fleetswap.domain.rollout.policy import Check, Policy, Shortage
from fleetswap.domain.rollout.rates import Limit
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import Step, Strategy
from tests.rollout.tables import ALIEN, LIVE, NEW, ON_LIVE, ON_NEW, ORDER, POLICY, SHARED, seen, state

NOW = 1010.0
PATIENT = NOW + 50
"""When a put-back that begins now is given up."""
FIVE = (("tg-live", 95), ("tg-new", 5))
ALL = (("tg-new", 100),)
STEPS = (Step(5, hold=30), Step(100, hold=40))
ROLE = replace(ORDER, switch_role="arn:role", policy=replace(POLICY, shift_deadline=30, data_deadline=200))
UP = (Target("i-new-0", TargetState.HEALTHY), Target("i-new-1", TargetState.HEALTHY))
SICK = (Target("i-new-0", "unhealthy", "Target.Timeout"),)
PENDING = (Machine("i-new-0", "Pending"),)
NONE_LEFT = Failure("9", "insufficient capacity")


def check(before: State, event: Event, now: float = NOW, **after: Any) -> State:
    """Every named field of the next state; `why` is part of what is told, `waits` is what is waited for."""
    made = step(before, event, now)
    why, waits = after.pop("why", ""), after.pop("waits", None)
    if waits is not None:
        seconds, then = waits
        assert isinstance(made.doing, Wait)
        assert made.doing.seconds == pytest.approx(seconds)
        assert made.doing.then == then
        assert why in made.doing.why
    elif why:
        assert why in made.ending.reason
    assert {name: getattr(made, name) for name in after} == after
    return made


def fails(before: State, event: Event, why: str, kind: Kind = Kind.ABORTED, now: float = NOW) -> State:
    """The rollout ends: with the put-back, if anything was done."""
    made = check(before, event, now, why=why, deadline=now + 50)
    assert made.phase.is_back
    assert made.ending.kind is kind
    return made


# From the start on


def test_it_begins_with_a_look() -> None:
    """A first look that is never answered would hang for ever, or one that comes late be no more waited for."""
    first = begin(ORDER, 1000.0, "me")
    assert (first.doing, first.deadline, first.run, first.started) == (Look(), 1000 + LOOK_SECONDS, "me", 1000.0)
    assert first.calm_since == 1000.0
    check(first, Unanswered("throttled"), first.deadline - 0.1, waits=(2, Look()), why="throttled")
    made = check(first, Unanswered("throttled"), first.deadline, doing=End(Kind.CLOUD, "throttled"))
    assert made.phase is Phase.DONE


def test_what_broke_and_what_was_late_end_it() -> None:
    """After a refusal or an interruption the rollout would go on; or go on with a switch that fires in the middle."""
    going = state(phase=Phase.GATE, doing=ReadHealth(2), deadline=1100.0)
    fails(going, Broke("AccessDenied"), "AccessDenied", Kind.BROKE)
    due = replace(going, moved=True, armed_until=NOW)
    assert fails(due, HealthRead(Reading(UP)), "switch was due").doing == Compare(("tg-live",))
    check(due, HealthRead(Reading(UP)), NOW - 0.1, phase=Phase.GATE)
    check(replace(due, moved=False), HealthRead(Reading(UP)), phase=Phase.GATE)
    check(replace(due, armed_until=None), HealthRead(Reading(UP)), phase=Phase.GATE)


def test_an_answer_that_does_not_come_is_waited_for_until_the_deadline() -> None:
    """A throttle would end a rollout, or what may have been written be forgotten."""
    route = Route(FIVE, guarded=True)
    writing = state(phase=Phase.SHIFT, doing=route, deadline=1011.0)
    check(writing, Unanswered("x"), uncertain=True, waits=(2, replace(route, again=True)), why="x")
    reading = replace(writing, doing=Confirm())
    check(reading, Unanswered("x"), uncertain=True, waits=(2, Confirm()))
    fails(writing, Unanswered("x"), "x", Kind.CLOUD, now=1011.0)
    check(replace(writing, doing=Wait(2, "x", Confirm())), Did(), doing=Confirm())


LOOKING = begin(ROLE, 1000.0, "me")


def test_the_first_look_decides_where_home_is() -> None:
    """A rollout would put back what a dead one had left, or take its own plan for the world."""
    world = seen(SHARED, healthy={"live": 2})
    home = Rule((("tg-live", 100),))
    made = check(
        LOOKING,
        world,
        phase=Phase.RECOVER,
        first=world,
        latest=world,
        home=home,
        recovered=1,
        moved=True,
        since=NOW,
        deadline=NOW + 30,
        doing=Route(home.weights),
        written=(FIVE, home.weights),
        had=frozenset({"tg-live", "tg-new"}),
    )
    assert made.queue == (Route(home.weights),)


def test_a_switch_is_taken_over_before_the_traffic_goes_home() -> None:
    """It would fire in the middle of the next rollout, and put back what is right."""
    world = seen(ALIEN, healthy={"live": 2}, armed=Armed(ON_LIVE, 9, "dead"), live=Group(2, 2, 8, scale_in="9:00"))
    made = check(LOOKING, world, phase=Phase.RECOVER, doing=CancelScaleIn(LIVE), home=ON_LIVE)
    assert made.queue == (CancelScaleIn(LIVE), Arm(120, ON_LIVE), Restore(ON_LIVE, guarded=True))
    assert made.had == {"tg-live", "tg-alien"}
    assert made.moved, "a failure from here on puts the traffic back"
    assert made.written == (ALIEN.weights,)


def test_what_someone_has_put_on_the_rule_is_taken_off_first() -> None:
    """A condition that a person has put on the rule would keep part of the users on the release before."""
    odd = replace(ON_LIVE, odd=("a condition",))
    made = check(LOOKING, seen(odd, armed=Armed(ON_LIVE, 9, "dead")), doing=MendRule())
    assert made.queue[:2] == (MendRule(), Arm(120, ON_LIVE))
    assert MendRule() not in step(LOOKING, seen(), NOW).queue
    assert MendRule() not in step(LOOKING, seen(None), NOW).queue


def test_every_first_look_begins_anew() -> None:
    """What was written on the way home would be taken for weights of this rollout, and be put back."""
    found = ReleaseTarget("alien", "asg-alien", "tg-alien")
    world = replace(seen(), strangers=(found,))
    back = replace(LOOKING, written=(FIVE,), moved=True, since=1001.0, recovered=1)
    made = check(back, world, phase=Phase.SCALE, written=(), moved=False, since=None)
    assert made.order.strangers == (found,)
    other = ReleaseTarget("other", "asg-other", "tg-other")
    known = replace(LOOKING, order=replace(ROLE, strangers=(other,)))
    assert step(known, world, NOW).order.strangers == (other, found), "what was found before is not forgotten"


def test_a_home_that_is_never_reached_is_left() -> None:
    """Two deployers would move the traffic to and fro for ever."""
    often = replace(LOOKING, recovered=RECOVERIES)
    fails(often, seen(SHARED, healthy={"live": 2}), "someone else keeps moving the traffic, so it stays as it is now")
    assert step(often, seen(SHARED, healthy={"live": 2}), NOW).home == SHARED
    check(replace(LOOKING, recovered=RECOVERIES - 1), seen(SHARED), phase=Phase.RECOVER, recovered=RECOVERIES)
    assert step(LOOKING, seen(None, armed=Armed(ON_LIVE, 9, "dead")), NOW).phase is not Phase.RECOVER


HOMING = state(ROLE, phase=Phase.RECOVER, doing=ReadRule(), deadline=1011.0, streak=Streak(1))


def test_home_is_believed_after_several_readings() -> None:
    """A single stale reading would begin a rollout while the traffic is still shared."""
    check(HOMING, RuleRead(ON_LIVE), streak=Streak(2), waits=(0.25, ReadRule()), why="restoring the traffic to live")
    check(replace(HOMING, streak=Streak()), RuleRead(ON_LIVE), calm_since=NOW, had=frozenset({"tg-live"}))
    check(HOMING, RuleRead(ON_LIVE), calm_since=1000.0)
    twice = replace(HOMING, streak=Streak(2))
    check(twice, RuleRead(ON_LIVE), phase=Phase.LOOK, doing=Look(), deadline=NOW + LOOK_SECONDS)
    check(twice, RuleRead(SHARED), streak=Streak(0, 1), waits=(0.25, ReadRule()))
    fails(twice, RuleRead(SHARED), "the traffic could not be restored to live", now=1011.0)
    check(HOMING, RuleRead(ON_LIVE), 1011.0, phase=Phase.RECOVER)
    settled = replace(HOMING, phase=Phase.RECOVER, doing=Route(FIVE), queue=(Route(FIVE),))
    check(settled, Did(), doing=ReadRule(), streak=Streak(), queue=())


def test_what_is_refused_changes_nothing() -> None:
    """A rollout that may not begin would have launched machines already."""
    world = seen(tags={rollout_tags.ROLLED_BACK: "new"})
    made = check(LOOKING, world, doing=ReadRule(), touched=())
    assert made.ending.kind is Kind.INPUT


def test_machines_are_asked_for_by_what_serves_now() -> None:
    """The candidate would be too small for the traffic, or a limit be found out when all is moved."""
    made = check(LOOKING, seen(live=Group(2, 3, 8)), phase=Phase.SCALE, wanted=3, deadline=1100.0, steps=(Step(100),))
    assert made.doing == Tag(NEW, rollout_tags.PIN, "2")
    assert Resize(NEW, 3, 3) in made.queue
    fails(LOOKING, seen(new=None), "auto scaling group asg-new of new no longer exists", Kind.CLOUD)
    fails(LOOKING, seen(live=Group(2, 9, 9)), "release new needs 9 machines", Kind.INPUT)
    check(LOOKING, seen(live=Group(2, 8, 9)), phase=Phase.SCALE, wanted=8)


# The gate

GATE = state(ROLE, phase=Phase.GATE, doing=ReadHealth(2), wanted=2, deadline=1100.0, eager=True)


def test_changes_are_made_one_after_the_other_until_the_gate() -> None:
    """The health of machines would be waited for that nobody has asked for yet."""
    two = (Resize(NEW, 2, 2), CancelScaleIn(LIVE))
    scaling = replace(GATE, phase=Phase.SCALE, doing=two[0], queue=two, streak=Streak(2), eager=False)
    made = check(scaling, Did(), doing=two[1], queue=two[1:])
    check(made, Did(), phase=Phase.GATE, doing=ReadHealth(2), streak=Streak(), eager=True)
    check(replace(made, phase=Phase.GATE), Did(), phase=Phase.GATE, doing=ReadHealth(2))


def test_the_gate() -> None:
    """A candidate that flaps would get traffic, one that needs its time be given up, or a warm one be waited for."""
    good = HealthRead(Reading(UP))
    check(GATE, good, streak=Streak(1), eager=True, waits=(0.25, ReadHealth(2)), why="2 of 2 machines healthy")
    check(GATE, HealthRead(Reading(SICK)), eager=False, waits=(2, ReadHealth(2)), suspects=("i-new-0",))
    check(replace(GATE, eager=False), good, eager=False, waits=(2, ReadHealth(2)))
    proven = replace(GATE, streak=Streak(2), suspects=("i-7",))
    check(proven, good, phase=Phase.PROBE, doing=Probe(), streak=Streak(), suspects=("i-7",))
    check(replace(proven, moved=True), good, phase=Phase.GATE, doing=Look(first=False), streak=Streak())
    imaged = replace(proven, order=replace(ROLE, candidate=replace(NEW, image="ami-1")))
    check(imaged, good, doing=ReadImages(("i-new-0", "i-new-1")))
    again = replace(imaged, home=ON_NEW)
    assert step(again, good, NOW).phase is Phase.SETTLE, "what serves already is not judged by its image"
    fails(GATE, HealthRead(Reading(UP, abort="enough")), "aborted on request: enough", Kind.CANCELLED)


def test_a_candidate_that_is_not_healthy_in_time_is_explained() -> None:
    """The error would not say why, or be lost while its console is read."""
    late = replace(GATE, deadline=NOW)
    reason = "release new is not healthy after 10 s: 0 of 2 machines healthy"
    made = check(late, HealthRead(Reading(SICK)), doing=Explain(("i-new-0",)), why=reason)
    assert made.ending.kind is Kind.ABORTED
    fails(late, HealthRead(Reading(())), reason)
    told = fails(made, Explained("i-new-0", "Kernel panic"), "Target.Timeout; console of i-new-0: Kernel panic")
    assert told.ending.reason.startswith(reason)
    assert "console" not in fails(made, Explained("i-new-0", ""), reason).ending.reason


def test_failures_of_before_are_no_evidence() -> None:
    """A group that failed to launch last week would never be deployed to again, or its shortage begin the patience."""
    before = replace(seen(), failures=(NONE_LEFT,))
    old = replace(GATE, first=before)
    check(old, HealthRead(Reading((), (), (NONE_LEFT,))), short_since=None, waits=(2, ReadHealth(2)))
    check(GATE, HealthRead(Reading((), (), (NONE_LEFT,))), short_since=NOW)
    bad = tuple(Failure(str(n), "bad image") for n in range(3))
    check(replace(GATE, first=replace(seen(), failures=bad)), HealthRead(Reading((), (), bad)), phase=Phase.GATE)
    fails(GATE, HealthRead(Reading((), (), bad)), "no machine can be launched: bad image")


def test_health_that_aws_does_not_tell_is_not_told_as_none() -> None:
    """A person would take an AWS that does not respond for machines that do not."""
    assert progress.row(GATE, HealthRead(Reading(None)), NOW) == "gate: AWS does not answer"


def limit(policy: Policy, machines: int) -> Policy:
    return replace(policy, shortage_limit=machines)


def test_a_shortage_is_waited_for_and_then_decided() -> None:
    """A shortage would be waited for for ever, end the rollout at once, or on-demand machines be launched unasked."""
    short = HealthRead(Reading((), PENDING, (NONE_LEFT,), on_demand_percent=30))
    since = replace(GATE, short_since=1000.0, eager=False)
    patient = replace(since, order=replace(ROLE, policy=replace(ROLE.policy, shortage_patience=10)))
    check(patient, short, 1009.9, short_since=1000.0, waits=(2, ReadHealth(2)))
    made = check(patient, short, doing=Explain(("i-new-0",)))
    assert "EC2 has no capacity: 1 of 2 machines launched" in made.ending.reason
    allowed = replace(patient, order=replace(ROLE, policy=replace(patient.order.policy, shortage=Shortage.ON_DEMAND)))
    none = HealthRead(replace(short.reading, on_demand_percent=0))
    more = OnDemand(NEW, 50, instead=1)
    made = check(allowed, none, short_since=None, doing=Tag(NEW, rollout_tags.ON_DEMAND, "0"), phase=Phase.GATE)
    assert made.queue == (Tag(NEW, rollout_tags.ON_DEMAND, "0"), more)
    assert progress.lines(replace(made, doing=made.queue[0]), replace(made, doing=more)) == (
        "new: EC2 has no Spot capacity: launching 1 On-Demand Instance in place of Spot",
    )
    assert progress.lines(replace(made, doing=more), replace(made, doing=more)) == ()
    assert progress.lines(replace(made, doing=made.queue[0]), replace(made, doing=OnDemand(NEW, 0))) == ()
    limited = replace(allowed, wanted=4, order=replace(allowed.order, policy=limit(allowed.order.policy, 2)))
    made = check(limited, none, doing=Explain(("i-new-0",)))
    assert made.ending.reason.startswith(
        "release new is not healthy after 10 s: EC2 has no Spot capacity, and 3 On-Demand Instances in place of Spot"
        " Instances are more than fleetswap:rollout.shortage_limit (2) allows: 1 of 4 machines launched"
    )
    enough = replace(limited, order=replace(limited.order, policy=limit(limited.order.policy, 3)))
    check(enough, none, doing=Tag(NEW, rollout_tags.ON_DEMAND, "0"))
    check(since, HealthRead(Reading((), PENDING)), short_since=None)
    check(since, HealthRead(Reading(())), short_since=1000.0)


def test_a_group_that_someone_made_smaller_is_made_large_again() -> None:
    """A planned scale-in that came late would make the gate wait for machines that nobody launches."""
    fewer = HealthRead(Reading((), PENDING, desired=1))
    check(GATE, fewer, waits=(0.25, Look(first=False, scaling=True)), why="its group has been scaled in")
    check(GATE, HealthRead(Reading((), PENDING, desired=2)), waits=(2, ReadHealth(2)))


RUNS = Finding(Check.IMAGE, Verdict.PROMOTE, value="ami-1", limit="ami-1", unit=Unit.IMAGE)
IMAGES = state(
    replace(ROLE, candidate=replace(NEW, image="ami-1")),
    phase=Phase.GATE,
    doing=ReadImages(("i-1",)),
    wanted=2,
    deadline=1011.0,
)


def test_the_image_of_every_machine_is_looked_at() -> None:
    """Traffic would go to machines of another image, or a machine that EC2 does not know yet end the rollout."""
    check(IMAGES, ImagesRead({"i-1": "ami-1"}), phase=Phase.PROBE, evidence=(RUNS,))
    check(IMAGES, ImagesRead({}), waits=(2, ReadHealth(2)), why="the image of i-1 is unknown")
    fails(IMAGES, ImagesRead({}), "the image of i-1 is unknown", now=1011.0)
    fails(IMAGES, ImagesRead({"i-1": "ami-2"}), "i-1 runs ami-2 instead of ami-1")
    reporting = replace(IMAGES, order=replace(IMAGES.order, policy=replace(ROLE.policy, report_only=("image",))))
    check(reporting, ImagesRead({"i-1": "ami-2"}), phase=Phase.PROBE)
    for wrong in (replace(IMAGES, doing=Probe()), replace(IMAGES, order=ROLE)):
        with pytest.raises(TypeError, match="no images"):
            step(wrong, ImagesRead({}), NOW)


# The probe

PROBE = state(ROLE, phase=Phase.PROBE, doing=Probe(), wanted=2, deadline=1011.0, streak=Streak(1), evidence=(RUNS,))
WHY = "probe of new: / responds with status 200"
NOT_SO = "probe of new: / responds with status 503, expected 200"
ANSWERED = Finding(Check.PROBE, Verdict.PROMOTE, subject="/", value=200, limit="200", unit=Unit.STATUS)


def test_the_probe() -> None:
    """A candidate that answers wrongly would get traffic, or one hiccup end a rollout."""
    good, bad = Probed(Answer(200)), Probed(Answer(503))
    check(PROBE, good, streak=Streak(2), waits=(0.25, Probe()), why=WHY)
    check(
        PROBE,
        bad,
        streak=Streak(0, 1),
        waits=(2, Probe()),
        why=NOT_SO,
    )
    done = replace(PROBE, streak=Streak(2))
    check(done, good, doing=Look(first=False), evidence=(RUNS, ANSWERED), streak=Streak())
    fails(PROBE, bad, "probe of new: / responds with status 503, expected 200", now=1011.0)
    check(PROBE, good, 1011.0, phase=Phase.PROBE)
    check(replace(PROBE, streak=Streak(0, 2)), bad, waits=(2, Probe()))
    check(replace(PROBE, streak=Streak(0, 3)), bad, phase=Phase.GATE, doing=ReadHealth(2))
    reporting = replace(PROBE, order=replace(ROLE, policy=replace(ROLE.policy, report_only=("probe",))))
    told = (RUNS, replace(ANSWERED, code=Code.WRONG, value=503, report_only=True))
    check(reporting, bad, doing=Look(first=False), evidence=told)
    check(reporting, good, doing=Look(first=False), evidence=(RUNS, ANSWERED))
    two = replace(PROBE, order=replace(ROLE, policy=replace(ROLE.policy, probe_statuses=(200, 204))))
    fails(two, bad, "expected 200 or 204", now=1011.0)


# The look before a step

BEFORE = state(
    ROLE,
    phase=Phase.PROBE,
    doing=Look(first=False),
    wanted=2,
    deadline=1011.0,
    steps=STEPS,
    latest=seen(),
    streak=Streak(),
)
FINE: dict[str, Any] = {"new": Group(2, 2, 8, pin=2)}
BOTH = {"live": 2, "new": 2}


def test_the_weights_follow_a_look() -> None:
    """Weights would be written without a switch, without a hold of live, or over a world that has changed."""
    world = seen(healthy=BOTH, live=Group(1, 2, 8, scale_in="9:00"), new=Group(2, 2, 8))
    made = check(BEFORE, world, phase=Phase.SHIFT, deadline=NOW + 30, latest=world, steps=(Step(100),))
    five = replace(BEFORE, moved=True, written=())
    made = check(five, world, phase=Phase.SHIFT, steps=STEPS, doing=CancelScaleIn(LIVE))
    seconds = 30 + 60 + 200 + 20
    assert made.queue == (
        CancelScaleIn(LIVE),
        Tag(LIVE, rollout_tags.PIN, "1"),
        Resize(LIVE, 2, None),
        Tag(NEW, rollout_tags.PIN, "2"),
        ScheduleScaleIn(NEW, seconds + 360 + 3600, note="me"),
        Arm(seconds, ON_LIVE, guarded=True),
        Route(FIVE, guarded=True, expected=ON_LIVE, machines=2),
    )


@pytest.mark.parametrize(
    ("known", "armed"),
    [
        ({"home": None}, False),
        ({"order": ORDER}, False),
        ({}, True),
    ],
)
def test_without_a_switch_nobody_ends_the_candidate(known: dict[str, Any], armed: bool) -> None:  # noqa: FBT001 - a table
    """Without a switch the candidate would lose its machines with the traffic on them, when we are long dead."""
    alone = replace(BEFORE, steps=STEPS[1:], moved=True, touched=(ScheduleScaleIn(NEW, 9),), **known)
    queue = step(alone, seen(alone.expected, healthy=BOTH, **FINE), NOW).queue
    assert any(isinstance(change, Arm) for change in queue) is armed
    assert (CancelScaleIn(NEW) in queue) is not armed


def test_what_the_look_before_a_step_finds() -> None:
    """Weights would be written over another rollout's or a person's, or on machines that are ill or leaving."""
    fine = seen(healthy=BOTH, **FINE)
    made = check(BEFORE, replace(fine, armed=Armed(ON_LIVE, 9, "other")), phase=Phase.DONE)
    assert "another rollout of this service has started and taken over" in made.ending.reason
    check(BEFORE, replace(fine, armed=Armed(ON_LIVE, 9, "me")), phase=Phase.SHIFT)
    fails(BEFORE, seen(healthy=BOTH, new=Group(2, 2, 8, abort="enough")), "aborted on request: enough", Kind.CANCELLED)
    fails(
        BEFORE,
        replace(fine, rule=ALIEN),
        "someone else moved the traffic during this rollout; the traffic stays as it is",
    )
    five = replace(BEFORE, written=(FIVE,), moved=True)
    stale: dict[str, Any] = {"waits": (0.25, Look(first=False)), "why": "the listener still shows the old weights"}
    check(five, fine, odd_since=NOW, **stale)
    fails(replace(five, odd_since=NOW - 10), fine, "someone else moved the traffic")
    check(replace(five, odd_since=NOW - 9.9), fine, **stale)
    check(replace(five, odd_since=NOW - 9.9), replace(fine, rule=SHARED), odd_since=None, phase=Phase.SHIFT)


def test_machines_that_are_missing_before_a_step() -> None:
    """A canary would go on with fewer machines than its traffic needs, or wait for ones that nobody launches."""
    more = seen(healthy=BOTH, live=Group(2, 3, 8), **FINE)
    check(BEFORE, more, phase=Phase.SCALE, wanted=3, latest=more, deadline=1011.0)
    moved = replace(BEFORE, moved=True, armed_until=2000.0)
    made = check(replace(moved, streak=Streak(1)), more, phase=Phase.SCALE, wanted=3, deadline=NOW + 100)
    ahead = ScheduleScaleIn(NEW, 120 + 360 + 3600, note="me")
    assert made.queue == (ahead, Arm(120, ON_LIVE, guarded=True), Resize(NEW, 3, 3))
    assert made.streak == Streak()
    fails(moved, seen(healthy=BOTH, live=Group(2, 9, 9), **FINE), "release new needs 9 machines", Kind.ABORTED)
    anew = replace(BEFORE, doing=Look(first=False, scaling=True))
    check(anew, seen(healthy=BOTH, **FINE), phase=Phase.SCALE)
    fewer = seen(healthy=BOTH, new=Group(1, 1, 8, pin=2))
    check(BEFORE, fewer, phase=Phase.SCALE, held=1)
    again = "release new keeps being scaled in"
    check(replace(BEFORE, held=LOOKS), fewer, phase=Phase.SCALE, held=LOOKS + 1)
    fails(replace(BEFORE, held=LOOKS + 1), fewer, again)
    fails(BEFORE, fewer, again, now=1011.0)
    ill = seen(healthy={"live": 2, "new": 1}, **FINE)
    check(BEFORE, ill, phase=Phase.GATE, doing=ReadHealth(2), latest=ill)
    fails(BEFORE, ill, "release new did not stay healthy", now=1011.0)
    assert step(BEFORE, seen(healthy=BOTH, new=None), NOW).phase is Phase.SHIFT


def test_over_a_dead_live_all_moves_at_once() -> None:
    """Users would be left on a release without a healthy machine for the time of a canary."""
    canary = replace(BEFORE, order=replace(ROLE, policy=replace(ROLE.policy, strategy=Strategy(STEPS[:1]))))
    assert step(canary, seen(healthy=BOTH, **FINE), NOW).steps == (Step(5, hold=30), Step(100))
    assert step(canary, seen(healthy={"new": 2}, **FINE), NOW).steps == (Step(100),)


def test_weights_that_were_not_written_are_decided_anew() -> None:
    """Weights would be written on a look that is too old, or a rollout look at the world for ever."""
    route = Route(FIVE, guarded=True)
    arming = replace(BEFORE, phase=Phase.SHIFT, doing=Arm(9, ON_LIVE), queue=(Arm(9, ON_LIVE), route))
    check(arming, Did(), doing=route)
    routed = replace(arming, doing=route, queue=(route,), streak=Streak(2))
    check(routed, Did(), doing=Confirm(), streak=Streak(), queue=())
    check(arming, Did(), 1011.0, doing=Look(first=False), queue=())
    other = replace(arming, queue=(Arm(9, ON_LIVE), Disarm()))
    check(other, Did(), 1011.0, doing=Disarm())
    check(replace(arming, phase=Phase.RECOVER), Did(), 1011.0, doing=route)
    held = replace(arming, doing=route, queue=(route,))
    check(held, Held("moved"), held=1, waits=(0.25, Look(first=False)), why="moved")
    check(replace(held, held=LOOKS - 1), Held("moved"), held=LOOKS, phase=Phase.SHIFT)
    fails(replace(held, held=LOOKS), Held("moved"), "gave up after several attempts: moved")
    for phase in (Phase.SCALE, Phase.GATE):
        check(replace(held, phase=phase), Held("x"), waits=(0.25, Look(first=False, scaling=True)))
    check(
        replace(held, phase=Phase.RECOVER, moved=True, written=(FIVE, FIVE), uncertain=True),
        Held("x"),
        phase=Phase.LOOK,
        doing=Look(),
        moved=False,
        written=(),
        deadline=NOW + LOOK_SECONDS,
    )


# Under traffic

SHIFTED = state(
    ROLE,
    phase=Phase.SHIFT,
    doing=Confirm(),
    wanted=2,
    deadline=1011.0,
    steps=STEPS,
    streak=Streak(1),
    moved=True,
    since=1001.0,
    written=(FIVE,),
    latest=seen(healthy=BOTH),
    armed_until=2000.0,
    owned=True,
)


def read(rule: Rule | None = SHARED, *, known: bool = True, targets: Any = UP, status: int | None = 200) -> Confirmed:
    return Confirmed(rule, known, targets, Answer(status, "refused"))


SAYS = "/ responds with status 200"


def test_new_weights_are_believed_after_several_good_answers() -> None:
    """A release would pass by its first answer, or be put back for one reading that is stale or missing."""
    made = check(SHIFTED, read(), streak=Streak(2), waits=(0.25, Confirm()), calm_since=1000.0)
    assert made.doing == Wait(0.25, SAYS, Confirm())
    check(SHIFTED, read(targets=UP[:1]), streak=Streak(2))
    check(replace(SHIFTED, streak=Streak()), read(), calm_since=NOW, had=frozenset({"tg-live", "tg-new"}))
    unseen = f"{SAYS}, but the listener does not show the new weights yet"
    check(SHIFTED, read(ON_LIVE), streak=Streak(1), waits=(2, Confirm()), why=unseen, calm_since=1000.0)
    blind = f"{SAYS}, but AWS does not show whether the new weights hold"
    check(SHIFTED, read(known=False), streak=Streak(1), why=blind, waits=(2, Confirm()))
    check(SHIFTED, read(None, known=False), streak=Streak(1), waits=(2, Confirm()))
    blind = f"{SAYS}, but AWS does not report the health of its machines"
    check(SHIFTED, read(targets=None), streak=Streak(1), why=blind, waits=(2, Confirm()))
    made = check(
        SHIFTED,
        read(status=503),
        streak=Streak(0, 1),
        waits=(2, Confirm()),
        why="/ responds with status 503, expected 200",
    )
    assert isinstance(made.doing, Wait)
    assert "does not show" not in made.doing.why
    for nothing in (read(known=False, status=503), read(targets=None, status=503)):
        made = check(SHIFTED, nothing, streak=Streak(0, 1), waits=(2, Confirm()))
        assert made.doing == Wait(2, "/ responds with status 503, expected 200", Confirm()), (
            "what is bad is told, and not what is unknown"
        )
    dead = "/ responds with status 200; 0 of 2 machines healthy; i-new-0: Target.Timeout"
    check(SHIFTED, read(targets=SICK), streak=Streak(0, 1), waits=(0.25, Confirm()), why=dead)
    fails(SHIFTED, read(ALIEN), "someone else moved the traffic during this rollout")
    check(SHIFTED, read(ALIEN, known=False), phase=Phase.SHIFT)
    bad = replace(SHIFTED, streak=Streak(0, 2))
    fails(bad, read(status=503), "with 5 % of the traffic on new, / responds with status 503, expected 200")
    fails(SHIFTED, read(ON_LIVE), f"with 5 % of the traffic on new, {unseen}", now=1011.0)
    fails(replace(bad, steps=STEPS[1:]), read(status=503), "with the traffic on new, / responds")
    first = replace(bad, home=None)
    check(first, read(status=503), streak=Streak(0, 3), waits=(2, Confirm()))
    fails(first, read(status=503), "/ responds with status 503, expected 200", now=1011.0)
    reporting = replace(bad, order=replace(ROLE, policy=replace(ROLE.policy, report_only=("probe",))))
    check(reporting, read(status=503), streak=Streak(1))


def test_a_step_is_held_and_the_last_one_is_the_bake() -> None:
    """A step would end at once, or the machine not know that all the traffic is there."""
    proven = replace(SHIFTED, streak=Streak(2))
    made = check(proven, read(), phase=Phase.HOLD, doing=ReadEvidence(9.0, "tg-live", shared=True), hold_until=NOW + 30)
    assert (made.deadline, made.streak) == (NOW + 60 + 200, Streak())
    assert made.watch.spans[-1].since == NOW + 60
    last = replace(proven, steps=STEPS[1:], written=(ALL,))
    check(last, read(ON_NEW), phase=Phase.BAKE, doing=ReadEvidence(9.0, "tg-live", shared=False))
    none = replace(last, home=None, since=None)
    check(none, read(ON_NEW), phase=Phase.BAKE, doing=ReadEvidence(0.0, None, shared=False))
    unwatched = replace(proven, steps=(Step(5), Step(100)))
    check(unwatched, read(), doing=Look(first=False), steps=(Step(100),), deadline=NOW + 30, streak=Streak())


HELD = replace(
    SHIFTED, phase=Phase.HOLD, doing=ReadEvidence(9.0, "tg-live", shared=True), hold_until=NOW + 5, deadline=NOW + 300
)
EVIDENCE = Evidence(SHARED, rule_known=True, targets=UP, answer=Answer(200))


def test_a_bake_where_nothing_was_live_waits_for_late_nodes_as_long_as_they_may_be_late() -> None:
    """A first deploy would fail by chance, or a candidate that always fails be waited for, or hurt live's users."""
    made = check(
        replace(SHIFTED, home=None, streak=Streak(2), steps=STEPS[1:], written=(ALL,)),
        read(ON_NEW),
        phase=Phase.BAKE,
    )
    bad = EvidenceRead(replace(EVIDENCE, rule=made.expected, answer=Answer(503)))
    again = replace(made, streak=Streak(0, made.order.policy.readings))
    held = check(again, bad, now=NOW + 59, phase=Phase.BAKE)
    assert held.streak.bad == again.streak.bad, "what may be another's says nothing about the candidate"
    fails(again, bad, "with the traffic on new, / responds with status 503, expected 200", now=NOW + 61)
    served = replace(again, home=HELD.home)
    fails(served, bad, "with the traffic on new, / responds with status 503, expected 200", now=NOW + 1)


def test_a_step_is_weighed() -> None:
    """A step would be passed too soon, read too seldom, or a bad reading end it without being looked at again."""
    good = EvidenceRead(EVIDENCE)
    made = check(HELD, good, streak=Streak(2), waits=(2, ReadEvidence(11.0, "tg-live", shared=True)))
    assert made.evidence[0] == Finding(Check.WEIGHTS, Verdict.PROMOTE)
    check(HELD, good, NOW + 4, waits=(1, ReadEvidence(14.0, "tg-live", shared=True)))
    check(replace(HELD, streak=Streak(0)), good, NOW + 5, waits=(2, ReadEvidence(16.0, "tg-live", shared=True)))
    sick = EvidenceRead(replace(EVIDENCE, targets=SICK))
    check(HELD, sick, streak=Streak(0, 1), waits=(0.25, ReadEvidence(9.25, "tg-live", shared=True)))
    fails(replace(HELD, streak=Streak(0, 2)), sick, "with 5 % of the traffic on new, 0 of 2 machines healthy")
    check(replace(HELD, streak=Streak(2)), good, phase=Phase.HOLD)
    made = check(replace(HELD, streak=Streak(2)), good, NOW + 5, doing=Look(first=False), steps=STEPS[1:])
    assert made.deadline == NOW + 5 + 30
    held = replace(HELD, streak=Streak(2), watch=Watch().held(5, 1000.0))
    assert step(held, good, NOW + 5).watch == Watch().held(5, 1000.0).over(NOW + 5)
    stale = EvidenceRead(replace(EVIDENCE, rule=ON_LIVE))
    made = check(HELD, stale, odd_since=NOW, streak=Streak(1))
    assert made.evidence[0] == Finding(Check.WEIGHTS, Verdict.WAIT, Code.STALE)
    fails(replace(HELD, odd_since=NOW - 10), stale, "someone else moved the traffic")
    check(replace(HELD, odd_since=NOW - 10), EvidenceRead(replace(EVIDENCE, rule=ON_LIVE, rule_known=False)))
    fails(replace(HELD, deadline=NOW), stale, "not enough evidence in time")
    check(HELD, EvidenceRead(replace(EVIDENCE, rule=ALIEN, rule_known=False)), odd_since=None, phase=Phase.HOLD)


def test_what_was_counted_is_remembered() -> None:
    """Figures would be forgotten from one reading to the next, or an answer without any wipe them out."""
    period = Period(0, 1000.0, 1060.0, 60, Figures(9, 9), None, 9)
    counting = replace(HELD, order=replace(ROLE, policy=replace(ROLE.policy, errors=Limit())))
    made = step(counting, EvidenceRead(replace(EVIDENCE, periods=(period,))), NOW)
    assert [(known.period, known.since) for known in made.watch.known] == [(period, NOW)]
    for nothing in ((), None):
        kept = step(replace(made, doing=HELD.doing), EvidenceRead(replace(EVIDENCE, periods=nothing)), NOW + 1)
        assert kept.watch == made.watch


# The settle

LAST = replace(
    SHIFTED, phase=Phase.SHIFT, steps=(Step(100),), written=(FIVE, ALL), streak=Streak(2), armed_until=2000.0
)
PLANNED = (ScheduleScaleIn(NEW, 9),)


def test_the_switch_goes_before_anything_is_scaled_in() -> None:
    """The switch would put the traffic on machines that are gone, or a plan for our death end what has it all."""
    made = check(LAST, read(ON_NEW), phase=Phase.SETTLE, doing=Disarm(), deadline=PATIENT)
    assert made.queue == (Disarm(),)
    made = check(replace(LAST, touched=PLANNED), read(ON_NEW), doing=CancelScaleIn(NEW))
    assert made.queue == (CancelScaleIn(NEW), Disarm())
    check(replace(made, queue=(Disarm(),), doing=Disarm()), Did(), doing=ReadRule(), streak=Streak())
    bare = replace(LAST, armed_until=None)
    made = check(bare, read(ON_NEW), phase=Phase.SETTLE, verified=True, now_on="new")
    assert made.doing == Resize(NEW, 2, None)
    again = replace(bare, home=ON_NEW, written=())
    check(again, read(ON_NEW), phase=Phase.SETTLE, doing=ReadRule(), verified=False)


SETTLING = replace(LAST, phase=Phase.SETTLE, doing=ReadRule(), armed_until=None)


def test_the_weights_are_read_again_when_the_switch_is_gone() -> None:
    """The switch may have fired a moment before it was deleted, and what serves would be scaled in."""
    check(SETTLING, RuleRead(ON_NEW), verified=True, now_on="new", odd_since=None)
    check(SETTLING, RuleRead(SHARED), odd_since=NOW, waits=(0.25, ReadRule()), why="still shows the old weights")
    fails(replace(SETTLING, odd_since=NOW - 10), RuleRead(SHARED), "or the dead man's switch did")
    check(replace(SETTLING, odd_since=NOW - 9), RuleRead(SHARED), waits=(0.25, ReadRule()))
    fails(SETTLING, RuleRead(ALIEN), "someone else moved the traffic, or the dead man's switch did")
    stranger = replace(ROLE, strangers=(ReleaseTarget("alien", "asg-alien", "tg-alien"),))
    served = replace(SETTLING, order=stranger, had=frozenset({"tg-alien"}), calm_since=NOW - 20)
    check(served, RuleRead(ON_NEW), verified=False, waits=(40, ReadRule()), why="until no node of the load balancer")
    check(replace(served, calm_since=NOW - 59.5), RuleRead(ON_NEW), waits=(0.5, ReadRule()))
    check(replace(served, calm_since=NOW - 60), RuleRead(ON_NEW), verified=True)
    done = replace(SETTLING, doing=Disarm(), queue=(Disarm(),), verified=True)
    check(done, Did(), phase=Phase.DONE, doing=End(), deadline=NOW)


def test_what_was_not_asked_is_a_defect() -> None:
    """An answer to another question would steer the machine."""
    with pytest.raises(TypeError, match="RuleRead cannot follow ReadRule"):
        step(replace(SETTLING, phase=Phase.HOLD), RuleRead(ON_NEW), NOW)
    with pytest.raises(TypeError, match="nothing was looked at"):
        step(replace(SETTLING, latest=None), RuleRead(ON_NEW), NOW)
    with pytest.raises(TypeError, match="nothing was looked at"):
        step(replace(state(doing=Disarm(), queue=(Disarm(),)), first=None), Did(), NOW)
