"""The way back, one step at a time, and what of each group is given back: tables of the put-back and of the undo."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.rollout import clean_up, rollout_tags
from fleetswap.domain.rollout.clean_up import PAUSE, REFUSALS
from fleetswap.domain.rollout.compare import fail, leave
from fleetswap.domain.rollout.health import Streak
from fleetswap.domain.rollout.machine import step
from fleetswap.domain.rollout.messages import (
    Arm,
    Broke,
    CancelScaleIn,
    Change,
    Compare,
    Compared,
    Did,
    Disarm,
    End,
    Event,
    Follow,
    Kind,
    OnDemand,
    ReadRule,
    Resize,
    Restore,
    Route,
    RuleRead,
    ScheduleScaleIn,
    Tag,
    TagRule,
    Unanswered,
    Untag,
    Wait,
)
from fleetswap.domain.rollout.model import Armed, Group, Order, Rule
from fleetswap.domain.rollout.state import Phase, State
from tests.rollout.tables import ALIEN, LIVE, NEW, OLD, ON_LIVE, ON_NEW, ORDER, POLICY, SHARED, seen, state

NOW = 1010.0
FIVE = (("tg-live", 95), ("tg-new", 5))
ALL = (("tg-new", 100),)
WHY = End(Kind.ABORTED, "it is bad")


# What is given back

PIN = Tag(NEW, rollout_tags.PIN, "2")
TAKEN = Untag(NEW, tuple(sorted((rollout_tags.ABORT, rollout_tags.PIN))))
LEFT = ScheduleScaleIn(NEW, 50, rollout_tags.LEFT)
GROWN = (PIN, Resize(NEW, 2, 2))
LATER = 1070.0
"""A time when the nodes of the load balancer follow whatever happened."""


@pytest.mark.parametrize(
    ("new", "touched", "now", "changes"),
    [
        (Group(0, 0, 8), (), NOW, []),
        (None, GROWN, NOW, []),
        (Group(0, 0, 8), GROWN, LATER, [Resize(NEW, 0, 0), TAKEN]),
        (Group(0, 0, 8), (PIN, ScheduleScaleIn(NEW, 9, note="me")), LATER, [CancelScaleIn(NEW), TAKEN]),
        (Group(0, 0, 8), (Resize(NEW, 0, 0),), LATER, []),
        (Group(0, 1, 8), (), NOW, [LEFT]),
        (Group(0, 1, 8), (), LATER, [Resize(NEW, 0, 0)]),
        (Group(1, 0, 8), (), LATER, [Resize(NEW, 0, 0)]),
        (Group(0, 1, 8, pin=2), (), LATER, [Resize(NEW, 0, 0), TAKEN]),
        (Group(0, 0, 8), (*GROWN, Resize(NEW, 2, None)), LATER, [Resize(NEW, 0, 0), TAKEN]),
        (Group(0, 0, 8), (Resize(LIVE, 2, 2),), LATER, [Resize(LIVE, 2, 0, lower=True)]),
    ],
)
def test_what_becomes_of_the_candidate(
    new: Group | None, touched: tuple[Change, ...], now: float, changes: list[Change]
) -> None:
    """A candidate that failed would run for ever, or lose machines while a node still sends it requests."""
    if changes and changes[0] == Resize(LIVE, 2, 0, lower=True):
        changes = [Resize(LIVE, 2, None, lower=True)]
    one = state(first=seen(new=new), touched=touched)
    assert clean_up.changes(one, frozenset({"tg-live"}), now) == changes


WARM = Group(1, 3, 8, scale_in="9:00")
AGAIN = ScheduleScaleIn(NEW, 600)


@pytest.mark.parametrize(
    ("new", "healthy", "touched", "changes"),
    [
        (WARM, 2, (), []),
        (WARM, 2, (CancelScaleIn(NEW),), [AGAIN]),
        (WARM, 2, (Resize(NEW, 3, 3),), [AGAIN, Resize(NEW, 1, 3)]),
        (WARM, 2, (Resize(NEW, 3, None),), [AGAIN, Resize(NEW, 1, None)]),
        (Group(1, 3, 8), 2, (), [AGAIN]),
        (Group(1, 3, 8), 1, (), [AGAIN]),
        (Group(1, 3, 8), 2, (ScheduleScaleIn(NEW, 9),), [AGAIN]),
        (replace(WARM, has_action=False), 2, (), [AGAIN]),
        (WARM, 0, (), [Resize(NEW, 0, 0), CancelScaleIn(NEW)]),
        (replace(WARM, pin=1), 2, (), [Resize(NEW, 0, 0), CancelScaleIn(NEW), TAKEN]),
        (replace(WARM, scale_in_note="left"), 2, (), [Resize(NEW, 0, 0), CancelScaleIn(NEW)]),
    ],
)
def test_a_standby_that_was_warm_is_warm_again(
    new: Group, healthy: int, touched: tuple[Change, ...], changes: list[Change]
) -> None:
    """A rollback that failed would take away the machines that the next one needs, or leave them warm for ever."""
    one = state(first=seen(new=new, healthy={"live": 2, "new": healthy}), touched=touched)
    assert clean_up.changes(one, frozenset({"tg-live"}), LATER) == changes


@pytest.mark.parametrize(
    ("live", "touched", "serving", "changes"),
    [
        (Group(2, 3, 8), (), "tg-live", []),
        (Group(2, 3, 8), (Resize(LIVE, 3, None),), "tg-live", [Resize(LIVE, 2, None, lower=True)]),
        (Group(3, 3, 8, pin=1), (), "tg-live", [Resize(LIVE, 1, None, lower=True), Untag(LIVE, (rollout_tags.PIN,))]),
        (Group(2, 3, 8, scale_in="9:00"), (), "tg-live", [CancelScaleIn(LIVE)]),
        (Group(2, 3, 8), (ScheduleScaleIn(LIVE, 9),), "tg-live", [CancelScaleIn(LIVE)]),
        (Group(2, 3, 8), (Resize(LIVE, 3, None),), "tg-old", [Resize(LIVE, 2, None, lower=True)]),
        (
            Group(2, 3, 8, on_demand_pin=20),
            (),
            "tg-live",
            [OnDemand(LIVE, 20), Untag(LIVE, (rollout_tags.ON_DEMAND,))],
        ),
    ],
)
def test_what_had_or_has_the_traffic_keeps_its_machines(
    live: Group, touched: tuple[Change, ...], serving: str, changes: list[Change]
) -> None:
    """What serves would lose machines that scaling gave it meanwhile, or be ended by an old plan."""
    one = state(first=seen(live=live), touched=touched)
    assert clean_up.changes(one, frozenset({serving}), LATER) == changes


def test_a_candidate_that_keeps_the_traffic_gets_the_settings_minimum() -> None:
    """It would keep for ever the minimum that the swap needed, or none at all."""
    one = state(first=seen(new=Group(0, 0, 8)), touched=(PIN, Resize(NEW, 5, 5), ScheduleScaleIn(NEW, 9, note="me")))
    changes = clean_up.changes(one, frozenset({"tg-new"}), LATER)
    assert changes == [CancelScaleIn(NEW), Resize(NEW, 2, None, lower=True), TAKEN]


@pytest.mark.parametrize(
    ("old", "touched", "warm", "now", "changes"),
    [
        (Group(0, 0, 8), (), 600, LATER, []),
        (Group(1, 1, 8), (), 600, LATER, []),
        (Group(1, 1, 8, pin=0), (), 600, LATER, [ScheduleScaleIn(OLD, 600), Untag(OLD, (rollout_tags.PIN,))]),
        (Group(1, 1, 8, pin=0), (), 0, LATER, [ScheduleScaleIn(OLD, 300), Untag(OLD, (rollout_tags.PIN,))]),
        (Group(0, 0, 8, pin=0), (), 600, LATER, [Untag(OLD, (rollout_tags.PIN,))]),
        (Group(1, 1, 8, scale_in="9:00"), (), 600, LATER, []),
        (Group(1, 1, 8, scale_in="9:00", pin=0), (), 600, LATER, [Untag(OLD, (rollout_tags.PIN,))]),
        (Group(1, 1, 8, scale_in="9:00"), (CancelScaleIn(OLD),), 600, LATER, [ScheduleScaleIn(OLD, 600)]),
        (Group(1, 1, 8, scale_in="9:00"), (ScheduleScaleIn(OLD, 9),), 600, LATER, [ScheduleScaleIn(OLD, 600)]),
        (
            Group(1, 2, 8, scale_in="9:00"),
            (Resize(OLD, 0, 0),),
            600,
            LATER,
            [ScheduleScaleIn(OLD, 600), Resize(OLD, 1, 2)],
        ),
        (Group(1, 2, 8, scale_in="9:00"), (Resize(OLD, 0, 0),), 600, NOW, [ScheduleScaleIn(OLD, 600)]),
        (Group(1, 2, 8), (Resize(OLD, 0, 0),), 600, NOW, [Resize(OLD, 1, 2)]),
        (Group(1, 2, 8), (Resize(OLD, 2, None),), 600, LATER, [Resize(OLD, 1, None)]),
        (Group(1, 2, 8), (ScheduleScaleIn(OLD, 9),), 600, LATER, [CancelScaleIn(OLD)]),
        (Group(1, 2, 8), (Untag(OLD, (rollout_tags.PIN,)),), 600, LATER, []),
    ],
)
def test_what_becomes_of_the_others(
    old: Group, touched: tuple[Change, ...], warm: float, now: float, changes: list[Change]
) -> None:
    """A release would not get back what it had, or what a dead rollout left would run for ever."""
    wanted = replace(ORDER, policy=replace(POLICY, warm=warm))
    one = state(wanted, first=seen(old=old), touched=touched)
    assert clean_up.changes(one, frozenset({"tg-live"}), now) == changes


def test_the_order_of_the_undo() -> None:
    """What keeps traffic could be ended by AWS while the rest is put back; or the switch be gone too soon."""
    first = seen(new=Group(0, 0, 8), live=Group(2, 2, 8, scale_in="9:00", pin=0))
    one = state(first=first, touched=(*GROWN, Arm(9, ON_LIVE)))
    assert clean_up.changes(one, frozenset({"tg-live"}), LATER) == [
        CancelScaleIn(LIVE),
        Resize(NEW, 0, 0),
        TAKEN,
        Resize(LIVE, 0, None, lower=True),
        Untag(LIVE, (rollout_tags.PIN,)),
        Disarm(),
    ]
    ours = state(armed_until=2000.0)
    assert clean_up.changes(ours, frozenset(), LATER) == [Disarm()]
    assert clean_up.changes(replace(ours, first=None), frozenset(), LATER) == [Disarm()]
    other = state(first=seen(old=Group(0, 0, 8, scale_in="9:00")), touched=(CancelScaleIn(OLD), Arm(9, ON_LIVE)))
    assert clean_up.changes(other, frozenset({"tg-live"}), LATER) == [Disarm()]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Resize(LIVE, 1, None), "restore the size of live"),
        (Resize(LIVE, 1, 2), "restore live to 2 machines"),
        (Tag(LIVE, "a", "b"), "remove the rollout's tags from live"),
        (Untag(LIVE, ("a",)), "remove the rollout's tags from live"),
        (OnDemand(LIVE, 1), "restore the share of on-demand machines of live"),
        (ScheduleScaleIn(LIVE, 1), "correct the scheduled scale-in of live"),
        (CancelScaleIn(LIVE), "correct the scheduled scale-in of live"),
        (Follow(LIVE, ()), "correct the schedules of live"),
        (Arm(1, ON_LIVE), "delete the dead man's switch"),
        (Disarm(), "delete the dead man's switch"),
        (Route(FIVE), "write the listener rule"),
        (Restore(None), "write the listener rule"),
        (TagRule(()), "write the listener rule"),
    ],
)
def test_what_could_not_be_done_is_told(change: Change, words: str) -> None:
    """A person would not know what is left to do by hand."""
    assert clean_up.words(change) == words


# The way back


def check(before: State, event: Event, now: float = NOW, **after: Any) -> State:
    """Every named field of the next state; `why` is part of the reason, `waits` is what is waited for."""
    made = step(before, event, now)
    why, waits = after.pop("why", ""), after.pop("waits", None)
    if waits is not None:
        assert made.doing == Wait(*waits)
    elif why:
        assert why in made.ending.reason
    assert {name: getattr(made, name) for name in after} == after
    return made


SHIFTED = state(phase=Phase.HOLD, moved=True, written=(FIVE,), since=1001.0, wanted=2, streak=Streak(2), refusals=3)


def test_how_a_failure_begins() -> None:
    """The first reason would be lost under later ones, or the weights go back after something less urgent."""
    made = fail(SHIFTED, Kind.BROKE, "why", NOW)
    assert (made.phase, made.doing, made.queue) == (Phase.COMPARE, Compare(("tg-live",)), ())
    assert (made.deadline, made.refusals, made.streak) == (NOW + 50, 0, Streak())
    assert made.ending == End(Kind.BROKE, "why")
    assert fail(made, Kind.CLOUD, "later", NOW).ending == End(Kind.BROKE, "why")
    still = fail(replace(SHIFTED, moved=False), Kind.CLOUD, "why", NOW)
    assert (still.phase, still.doing) == (Phase.COMPARE, ReadRule())
    planned = fail(replace(SHIFTED, moved=False, queue=(Disarm(),)), Kind.CLOUD, "why", NOW)
    assert planned.queue == (), "what was planned before is not done any more"
    unseen = fail(replace(SHIFTED, first=None), Kind.CLOUD, "why", NOW)
    assert (unseen.phase, unseen.doing) == (Phase.DONE, End(Kind.CLOUD, "why"))


@pytest.mark.parametrize(
    ("touched", "queue"),
    [
        ((ScheduleScaleIn(LIVE, 9),), (CancelScaleIn(LIVE),)),
        ((ScheduleScaleIn(OLD, 9),), ()),
        ((Untag(LIVE, (rollout_tags.PIN,)),), (Tag(LIVE, rollout_tags.PIN, "1"),)),
        ((Untag(OLD, (rollout_tags.PIN,)),), ()),
        ((Untag(NEW, (rollout_tags.PIN,)),), ()),
        (
            (ScheduleScaleIn(LIVE, 9), Untag(LIVE, (rollout_tags.PIN,))),
            (CancelScaleIn(LIVE), Tag(LIVE, rollout_tags.PIN, "1")),
        ),
    ],
)
def test_what_the_settle_did_to_live_is_undone_before_it_gets_traffic(
    touched: tuple[Change, ...], queue: tuple[Change, ...]
) -> None:
    """Live would get the traffic back and be ended by AWS; or nobody know any more which minimum it had."""
    made = fail(replace(SHIFTED, touched=touched, first=seen(live=Group(1, 2, 8))), Kind.BROKE, "why", NOW)
    assert made.queue == queue
    assert made.doing == (queue[0] if queue else Compare(("tg-live",)))
    if len(queue) == 2:
        made = check(made, Did(), doing=queue[1], queue=queue[1:])
        check(made, Did(), doing=Compare(("tg-live",)), queue=())
        check(made, Unanswered("x"), doing=Compare(("tg-live",)), queue=())
    three = replace(made, phase=Phase.COMPARE, queue=(Disarm(), CancelScaleIn(OLD), CancelScaleIn(NEW)))
    check(three, Unanswered("x"), doing=CancelScaleIn(OLD), queue=(CancelScaleIn(OLD), CancelScaleIn(NEW)))
    again = fail(replace(SHIFTED, home=ON_NEW, touched=(Untag(NEW, ("a",)),)), Kind.BROKE, "why", NOW)
    assert again.queue == ()
    gone = replace(SHIFTED, touched=(Untag(LIVE, ("a",)),), first=seen(live=None))
    assert fail(gone, Kind.BROKE, "why", NOW).queue == (Tag(LIVE, rollout_tags.PIN, "0"),)


COMPARING = replace(
    SHIFTED, phase=Phase.COMPARE, doing=Compare(("tg-live",)), ending=WHY, deadline=NOW + 50, refusals=0
)
BACK: dict[str, Any] = {"phase": Phase.PUT_BACK, "doing": Restore(ON_LIVE)}


@pytest.mark.parametrize(
    ("known", "event", "after"),
    [
        ({}, Compared(2, 2, SHARED, rule_known=True), BACK),
        ({}, Compared(None, 2), BACK),
        ({}, Compared(0, 0), BACK),
        ({}, Compared(0, None), BACK),
        ({"written": ((("tg-live", 100),),)}, Compared(0, 2), BACK),
        ({"home": ON_NEW}, Compared(1, 2), {"doing": Route(ALL)}),
        ({"home": Rule((), "page")}, Compared(0, 2), {"doing": Restore(Rule((), "page"))}),
        ({"home": Rule(())}, Compared(0, 2), {"doing": Restore(Rule(()))}),
        ({"home": None}, Compared(0, 2), {"doing": Restore(None)}),
        (
            {},
            Compared(0, 2, SHARED, rule_known=True),
            {
                "doing": Route(ALL),
                "now_on": "new",
                "why": "the traffic stays on new, because live has no healthy machine",
            },
        ),
        ({}, Compared(0, 2), {"doing": Route(ALL), "now_on": "new"}),
        (
            {"written": (FIVE, ALL)},
            Compared(0, 2, ON_NEW, rule_known=True),
            {"doing": CancelScaleIn(NEW), "now_on": "new"},
        ),
        ({}, Compared(0, 2, ON_LIVE, rule_known=True), {"doing": Route(ALL)}),
        ({"written": (FIVE, ALL)}, Compared(0, 2, ON_NEW), {"doing": Route(ALL)}),
        (
            {"leaving": True},
            Compared(2, 2),
            {
                "doing": CancelScaleIn(NEW),
                "now_on": "new",
                "why": "because live was being scaled in already: run `pulumi up`",
            },
        ),
        (
            {},
            Compared(2, 2, ALIEN, rule_known=True),
            {
                "phase": Phase.DONE,
                "now_on": "tg-alien",
                "why": "it is bad; the traffic stays on tg-alien, where someone else moved it: run `pulumi up` again",
            },
        ),
        ({}, Compared(2, 2, None, rule_known=True), {"now_on": "nothing", "why": "the traffic stays on nothing"}),
        ({}, Compared(2, 2, ALIEN, rule_known=False), BACK),
        (
            {},
            Compared(2, 2, ON_NEW, rule_known=True),
            {
                "doing": CancelScaleIn(NEW),
                "now_on": "new",
                "why": "the traffic stays on new, because someone else moved it there",
            },
        ),
    ],
)
def test_where_the_traffic_goes_after_a_failure(known: dict[str, Any], event: Compared, after: dict[str, Any]) -> None:
    """Users would be sent to a release that is dead or leaving, or someone else's traffic be moved."""
    check(replace(COMPARING, **known), event, **after)


def test_what_others_gave_traffic_keeps_its_machines() -> None:
    """A release that someone else has put under traffic beside the candidate would lose its machines."""
    beside = Rule((("tg-new", 50), ("tg-old", 50)))
    shrunk = replace(COMPARING, touched=(Resize(OLD, 0, 0),), first=seen(old=Group(1, 2, 8)))
    made = step(shrunk, Compared(2, 2, beside, rule_known=True), NOW)
    cancelled = CancelScaleIn(NEW), CancelScaleIn(OLD)
    assert made.queue == (*cancelled, Resize(OLD, 2, None, lower=True)), "who moved it may have planned the end of both"


def heard(rule: Rule, armed: Armed | None, *, rule_known: bool = True, armed_known: bool = True) -> Compared:
    return Compared(2, 2, rule, rule_known=rule_known, armed=armed, armed_known=armed_known)


OWNED = replace(COMPARING, owned=True, armed_until=2000.0)
ALONE: dict[str, Any] = {"written": (ALL,)}
MINE, OTHERS = Armed(ON_LIVE, 9, "me"), Armed(ON_LIVE, 9, "other")


@pytest.mark.parametrize(
    ("known", "event", "over"),
    [
        ({}, heard(SHARED, OTHERS), True),
        ({}, heard(SHARED, MINE), False),
        ({}, heard(SHARED, OTHERS, armed_known=False), False),
        ({"owned": False}, heard(SHARED, OTHERS), False),
        ({}, heard(SHARED, None), False),
        (ALONE, heard(ON_NEW, None), True),
        ({}, heard(ON_LIVE, None), False),
        (ALONE, heard(ON_NEW, None, rule_known=False), False),
        ({**ALONE, "armed_until": None}, heard(ON_NEW, None), False),
        ({**ALONE, "armed_until": NOW}, heard(ON_NEW, None), False),
        ({**ALONE, "armed_until": NOW + 0.1}, heard(ON_NEW, None), True),
        ({**ALONE, "touched": (Disarm(),)}, heard(ON_NEW, None), False),
        ({"written": (ON_LIVE.weights,)}, heard(ON_LIVE, None), False),
    ],
)
def test_who_was_taken_over_touches_nothing_more(known: dict[str, Any], event: Compared, over: bool) -> None:  # noqa: FBT001 - a table
    """A rollout that was held up would put back what a newer one has done; or leave its own failure as it is."""
    made = step(replace(OWNED, **known), event, NOW)
    assert (made.phase is Phase.DONE) is over
    assert ("another rollout of this service took over" in made.ending.reason) is over
    if over:
        deleted = "" if event.armed else ", or someone has deleted the dead man's switch"
        assert made.ending.reason == (
            f"it is bad; another rollout of this service took over{deleted}: wait until it ends, then run `pulumi up`"
            " again"
        )
        assert made.now_on == "what the other rollout decides"
    assert leave(OWNED, "x").ending.kind is Kind.ABORTED


PUTTING = replace(COMPARING, phase=Phase.PUT_BACK, doing=Restore(ON_LIVE))


def test_the_weights_are_seen_to_be_back_several_times() -> None:
    """The candidate would lose its machines on one stale reading; or users wait for a slow answer."""
    check(PUTTING, Did(), doing=ReadRule(), phase=Phase.PUT_BACK)
    reading = replace(PUTTING, doing=ReadRule())
    back, stale = RuleRead(ON_LIVE), RuleRead(SHARED)
    why = "restoring: the previous weights hold"
    fresh = replace(reading, streak=Streak())
    check(fresh, back, streak=Streak(1), calm_since=NOW, had=frozenset({"tg-live"}), waits=(0.25, why, ReadRule()))
    check(replace(fresh, refusals=1), back, waits=(PAUSE, why, ReadRule()))
    once = replace(reading, streak=Streak(1))
    check(once, back, streak=Streak(2), calm_since=1000.0)
    again = "restoring: the listener does not show the previous weights yet"
    check(once, stale, streak=Streak(0, 1), waits=(PAUSE, again, Restore(ON_LIVE)))
    twice = replace(reading, streak=Streak(2))
    kept = CancelScaleIn(LIVE)
    made = check(twice, back, doing=kept, why="it is bad; live has all the traffic again")
    made = step(made, Did(), NOW)
    assert (made.phase, made.doing) == (Phase.DONE, made.ending)
    check(twice, back, NOW + 50, doing=kept, why="live has all the traffic again")
    check(replace(twice, armed_until=NOW + 9), back, doing=Disarm())
    made = check(once, stale, NOW + 50, now_on="unknown")
    assert made.ending.problems == (
        "could not restore the traffic to live (the listener rule does not change), so new keeps its machines:"
        " run `pulumi up` again",
    )
    check(once, RuleRead(ALIEN), why="the traffic stays on tg-alien, where someone else moved it")
    none = replace(twice, home=None)
    check(none, RuleRead(None), phase=Phase.DONE, why="it is bad; nothing has the traffic, as before")


def test_what_is_refused_or_not_answered_is_tried_again_for_a_while() -> None:
    """One refusal would leave users on a bad release, or a call that AWS always refuses be made for ever."""
    check(PUTTING, Broke("no"), refusals=1, waits=(PAUSE, "restoring: no", ReadRule()))
    check(PUTTING, Unanswered("late"), refusals=0, waits=(PAUSE, "restoring: late", Restore(ON_LIVE)))
    often = replace(PUTTING, refusals=REFUSALS - 2)
    check(often, Broke("no"), phase=Phase.PUT_BACK, refusals=REFUSALS - 1)
    last = replace(PUTTING, refusals=REFUSALS - 1)
    check(last, Broke("no"), now_on="unknown", refusals=0)
    check(last, Unanswered("late"), phase=Phase.PUT_BACK)
    check(PUTTING, Unanswered("late"), NOW + 50, now_on="unknown")
    check(COMPARING, Unanswered("late"), **BACK)
    check(replace(COMPARING, leaving=True), Broke("no"), why="live was being scaled in already")
    check(replace(PUTTING, doing=Wait(1, "x", ReadRule())), Broke("no"), doing=ReadRule(), phase=Phase.PUT_BACK)
    cleaning = replace(PUTTING, phase=Phase.CLEAN_UP, doing=Disarm(), queue=(Disarm(), CancelScaleIn(LIVE)))
    check(cleaning, Broke("no"), refusals=1, waits=(PAUSE, "restoring: no", Disarm()))
    given_up = replace(cleaning, refusals=REFUSALS - 1)
    made = check(given_up, Broke("no"), refusals=0, doing=CancelScaleIn(LIVE), queue=(CancelScaleIn(LIVE),))
    assert made.ending.problems == ("could not delete the dead man's switch (no): run `pulumi up` again",)
    made = check(replace(made, refusals=REFUSALS - 1), Broke("no"), phase=Phase.DONE)
    assert len(made.ending.problems) == 2
    check(cleaning, Did(), doing=CancelScaleIn(LIVE), queue=(CancelScaleIn(LIVE),))


@pytest.mark.parametrize(
    ("known", "problem", "first"),
    [
        ({}, "could not restore the traffic to live (x), so new keeps its machines: run `pulumi up` again", None),
        ({"home": None}, "could not restore the rule with the weights (x), so new keeps its machines: run", None),
        ({"armed_until": 2000.0}, "so new keeps its machines; the dead man's switch will try: run", None),
        ({"moved": False}, "could not confirm that new has no traffic (x), so it keeps its machines: run", None),
        ({"touched": (ScheduleScaleIn(NEW, 9),)}, "so new keeps its machines", CancelScaleIn(NEW)),
        ({"touched": (ScheduleScaleIn(NEW, 9),), "moved": False}, "could not confirm that new has no traffic", None),
    ],
)
def test_weights_that_cannot_be_put_back(known: dict[str, Any], problem: str, first: Change | None) -> None:
    """A release that may have the traffic would lose its machines, or nobody be told what to do."""
    lost = replace(PUTTING, refusals=REFUSALS - 1, **known)
    made = check(lost, Broke("x"), now_on="unknown", doing=first or made_end(lost, "x"))
    assert problem in made.ending.problems[0]


def made_end(before: State, why: str) -> End:
    """The end that a put-back tells of."""
    return step(before, Broke(why), NOW).ending


NEVER = replace(COMPARING, moved=False, written=(), doing=ReadRule(), streak=Streak())


def test_what_was_never_moved_is_only_looked_at() -> None:
    """A rollout that failed at its gate would say that it has put the traffic back, or touch someone else's."""
    check(NEVER, RuleRead(ON_LIVE), phase=Phase.DONE, why="it is bad; live keeps all the traffic")
    check(NEVER, RuleRead(ALIEN), phase=Phase.DONE, why="the traffic stays on tg-alien, where someone else moved it")
    grown = replace(NEVER, touched=GROWN, calm_since=0.0)
    made = check(grown, RuleRead(ON_LIVE), LATER, phase=Phase.CLEAN_UP, doing=Resize(NEW, 0, 0))
    assert made.queue == (Resize(NEW, 0, 0), TAKEN)
    with pytest.raises(TypeError, match="Seen cannot follow ReadRule"):
        step(NEVER, seen(), NOW)


def test_a_candidate_that_stays_loses_every_plan_before_the_switch_goes() -> None:
    """The switch would still move the traffic to a dead release; or AWS end what has all of it, an hour later."""
    touched = (*GROWN, ScheduleScaleIn(NEW, 9, note="me"), Arm(9, ON_LIVE))
    stays = replace(COMPARING, touched=touched, written=(FIVE,), owned=True, armed_until=2000.0)
    made = step(stays, Compared(0, 2, SHARED, rule_known=True, armed=MINE, armed_known=True), NOW)
    assert made.queue == (Route(ALL), CancelScaleIn(NEW), Disarm(), Resize(NEW, 2, None, lower=True), TAKEN)


def test_the_order_of_an_order() -> None:
    """The tables above would be about another rollout than they say."""
    assert isinstance(ORDER, Order)
    assert (ORDER.candidate, ORDER.others, ORDER.standby) == (NEW, (LIVE, OLD), "live")
