"""The way back without the state, one decision at a time: where to, how many machines, and what it does without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout import best_effort, rollback, rollout_tags
from fleetswap.domain.rollout.health import Target
from fleetswap.domain.rollout.machine import step
from fleetswap.domain.rollout.messages import (
    Broke,
    CancelScaleIn,
    Change,
    Compare,
    Compared,
    Confirmed,
    Disarm,
    End,
    Kind,
    Look,
    ReadHealth,
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
from fleetswap.domain.rollout.model import Armed, Group, Rule, Terms
from fleetswap.domain.rollout.rollout_tags import RolledBack
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.view import Service, ServiceView
from fleetswap.domain.rollout.view import seen as view_of
from tests.rollout.tables import LIVE, NEW, OLD, ON_LIVE, ON_NEW, SHARED, seen, state

NOW = 1010.0
SERVICE = Service("fleetswap/prod", "web", "arn:listener", (NEW, LIVE, OLD))
GROUPS: dict[str, Group | None] = {"asg-new": Group(1, 3, 8), "asg-live": Group(2, 2, 8), "asg-old": Group(0, 0, 8)}
ON_TWO = Rule((("tg-new", 50), ("tg-old", 50)))


def view(
    rule: Rule | None = ON_NEW, live: str = "new", standby: str = "live", groups: dict[str, Group | None] | None = None
) -> ServiceView:
    """`new` has the traffic, and `live` was live before."""
    tags = {rollout_tags.LIVE: live, rollout_tags.STANDBY: standby}
    return view_of(
        SERVICE,
        rule=rule,
        tags={key: value for key, value in tags.items() if value},
        groups=GROUPS | {f"asg-{name}": group for name, group in (groups or {}).items()},
        targets={},
        switch=None,
        unknown=(),
    )


@pytest.mark.parametrize(
    ("now", "to", "goes_to", "left"),
    [
        (view(), None, "live", "new"),
        (view(), "old", "old", "new"),
        (view(SHARED, live="live", standby="old"), None, "live", "new"),
        (view(SHARED, live="live", standby="old"), "old", "old", "new"),
        (view(ON_NEW, live="live", standby="old"), None, "live", "new"),
        (view(ON_LIVE, live="new", standby="live"), None, "new", "live"),
        (view(ON_NEW, live="", standby=""), None, "live", "new"),
        (view(ON_TWO, live="live", standby="old"), None, "live", "new"),
        (view(Rule((("tg-x", 100),)), live="live", standby="old"), None, "live", "tg-x"),
        (view(None, live="live", standby="old"), None, "live", "nothing"),
    ],
)
def test_where_it_goes(now: ServiceView, to: str | None, goes_to: str, left: str) -> None:
    """The traffic would go to a release that no one means, or the one that was left be deployed again."""
    made = rollback.order(now, to, at="9:00")
    assert made.candidate.release == goes_to
    assert made.terms.rolled_back == RolledBack(left, "9:00").value
    assert made.standby == (left if left in {"new", "live", "old"} else None)
    assert {made.candidate, *made.others} == {NEW, LIVE, OLD}


@pytest.mark.parametrize(
    ("now", "to", "why"),
    [
        (
            view(ON_NEW, "", "", {"old": Group(1, 1, 8)}),
            None,
            "no tag says which release to roll back to .there are: live, old",
        ),
        (view(ON_NEW, "", ""), "new", "new already has all the traffic"),
        (view(), "z", "release z of web has no auto scaling group .there are: live, new, old"),
    ],
)
def test_where_it_cannot_go(now: ServiceView, to: str | None, why: str) -> None:
    """Whoever is woken up would not know what to type."""
    with pytest.raises(InputError, match=why):
        rollback.order(now, to, at="9:00")


@pytest.mark.parametrize(
    ("groups", "capacity"),
    [
        ({}, 1),
        ({"new": Group(2, 3, 8)}, 2),
        ({"new": Group(3, 3, 8, pin=2)}, 2),
        ({"live": Group(3, 3, 8, pin=3)}, 3),
        ({"live": Group(3, 3, 8, pin=0)}, 1),
        ({"new": Group(4, 4, 8), "live": Group(0, 0, 2)}, 2),
        ({"new": None}, 1),
        ({"live": None, "new": Group(5, 5, 8)}, 5),
    ],
)
def test_the_least_number_of_machines_comes_from_the_tags(groups: dict[str, Group | None], capacity: int) -> None:
    """Without the settings, live could be scaled in to nothing, or never again."""
    made = rollback.order(view(groups=groups), "live", at="9:00", policy=replace(rollback.POLICY, deadline=77))
    assert made.policy.minimum == capacity
    assert (made.policy.deadline, made.policy.shortage_patience) == (77, 77), "a shortage is waited for as long"
    assert made.url == ""
    assert made.switch_role is None


# What the machine does with these terms

TERMS = Terms(overrules="rolled back", best_effort=True, scarce=True, keeps_all=True, unfit="try another")


def back(**known: Any) -> State:
    """A way back to `new`, in some phase."""
    made = state(**known)
    return replace(made, order=replace(made.order, terms=TERMS, url=""))


def making(change: Change, phase: Phase = Phase.SCALE) -> State:
    return back(phase=phase, doing=change, queue=(change, Tag(NEW, "next", "")), doing_since=NOW - 5)


@pytest.mark.parametrize(
    ("change", "phase", "needed"),
    [
        (Tag(NEW, "k", "v"), Phase.SCALE, False),
        (Untag(LIVE, ("k",)), Phase.SETTLE, False),
        (TagRule((("k", "v"),)), Phase.SCALE, False),
        (Disarm(anyones=True), Phase.LOOK, False),
        (ScheduleScaleIn(NEW, 9, "me"), Phase.SCALE, False),
        (CancelScaleIn(LIVE), Phase.LOOK, False),
        (CancelScaleIn(NEW), Phase.SCALE, True),
        (CancelScaleIn(NEW), Phase.SETTLE, True),
        (Resize(LIVE, 3, None), Phase.SHIFT, False),
        (Resize(NEW, 3, 3), Phase.SCALE, True),
        (Resize(NEW, 1, None), Phase.SETTLE, False),
        (Route((("tg-new", 100),)), Phase.SHIFT, True),
        (Restore(ON_LIVE), Phase.RECOVER, True),
    ],
)
def test_what_is_refused_beside_the_traffic_is_a_warning(change: Change, phase: Phase, needed: bool) -> None:  # noqa: FBT001 - a table
    """A missing permission for a tag would keep users on a broken release; or one for machines be overlooked."""
    made = step(making(change, phase), Broke("AWS refuses it", refused=True), NOW)
    assert made.phase.is_back is needed
    assert made.warnings == (() if needed else ("AWS refuses it",))
    if not needed:
        assert (made.phase, made.doing) == (phase, Tag(NEW, "next", ""))
    assert step(making(change, phase), Broke("Ctrl-C"), NOW).phase.is_back, "a person wants it to stop"
    strict = making(change, phase)
    strict = replace(strict, order=replace(strict.order, terms=Terms()))
    assert step(strict, Broke("AWS refuses it", refused=True), NOW).phase.is_back, (
        "a deploy ends before it has moved any"
    )


def test_what_gets_no_answer_is_tried_for_a_while() -> None:
    """One throttle would leave a tag unwritten, or a service that is down hold up the traffic for a minute."""
    tag = Tag(NEW, "k", "v")
    early = step(making(tag), Unanswered("throttled"), NOW)
    assert isinstance(early.doing, Wait)
    assert early.doing.then == tag
    assert early.warnings == ()
    late = step(making(tag), Unanswered("throttled"), NOW - 5 + best_effort.TRIED_SECONDS)
    assert (late.doing, late.warnings) == (Tag(NEW, "next", ""), ("throttled",))


def test_few_machines_are_better_than_none() -> None:
    """At the deadline users would stay on a release that has fewer healthy machines still."""
    ending = End(Kind.ABORTED, "new is not healthy", remedy="try another")
    comparing = back(phase=Phase.GATE, doing=Compare(("tg-live",)), wanted=3, ending=ending)
    made = step(comparing, Compared(0, 2), NOW)
    assert (made.wanted, made.most, made.ending, made.doing) == (2, 2, End(), Look(first=False))
    assert made.warnings == ("new is not healthy; continuing, because what serves now has only 0",)
    for before, there in ((2, 2), (2, 1), (0, 0), (None, 2), (0, None)):
        failed = step(comparing, Compared(before, there), NOW)
        assert failed.phase.is_back
        assert failed.ending.remedy == "try another"


def test_a_group_that_may_not_have_more_is_taken_as_it_is() -> None:
    """A maximum that is too small would close the way back."""
    small = seen(new=Group(1, 1, 2), live=Group(3, 3, 8))
    scaling = back(phase=Phase.LOOK, doing=Look(), first=small, latest=small)
    made = step(scaling, small, NOW)
    assert (made.wanted, made.most) == (2, 2)
    assert made.warnings == ("new can have at most 2 machines, but 3 serve now",)
    ready = replace(made, phase=Phase.GATE, doing=Look(first=False), first=small, latest=small)
    healthy = replace(small, groups=(("new", Group(2, 2, 2)), ("live", Group(3, 3, 8))))
    targets = (("tg-new", (Target("i-1", "healthy"), Target("i-2", "healthy"))), ("tg-live", ()))
    assert step(ready, replace(healthy, targets=targets), NOW).phase is Phase.SHIFT, "it is not scaled again for more"


def test_whoever_else_moves_the_traffic_is_overruled() -> None:
    """The put-back of a rollout that is told to stop would end the way back instead."""
    alien = Rule((("tg-alien", 100),))
    moved = {"moved": True, "written": ((("tg-new", 100),),), "wanted": 2}
    shifted = back(phase=Phase.SHIFT, doing=ReadRule(), deadline=NOW + 60, **moved)
    anew = step(shifted, Confirmed(alien, rule_known=True, targets=(), answer=None), NOW)
    assert (anew.phase, anew.held) == (Phase.LOOK, 1)
    assert isinstance(anew.doing, Wait)
    assert anew.doing.then == Look()
    tired = replace(shifted, held=11)
    assert step(tired, Confirmed(alien, rule_known=True, targets=(), answer=None), NOW).phase.is_back
    target = (Target("i-1", "healthy"),)
    again = step(shifted, Confirmed(ON_LIVE, rule_known=True, targets=target, answer=None), NOW)
    assert isinstance(again.doing, Wait)
    assert isinstance(again.doing.then, Route), "an old reading, or a put-back that came after us: written once more"
    assert again.doing.then.weights == (("tg-new", 100),)
    assert again.uncertain
    settling = replace(shifted, phase=Phase.SETTLE)
    assert step(settling, RuleRead(alien), NOW).phase is Phase.LOOK
    others = replace(seen(new=Group(2, 2, 8), live=Group(2, 2, 8)), armed=Armed(ON_LIVE, 9, "other"))
    looking = back(phase=Phase.GATE, doing=Look(first=False), wanted=2)
    assert step(looking, others, NOW).phase is Phase.LOOK, "a deploy would leave the field"


def test_a_rollout_that_still_runs_is_told_to_stop() -> None:
    """Two would move the same traffic; and without its switch nobody takes it off a candidate that AWS is to end."""
    first = seen(SHARED, new=Group(2, 2, 8, scale_in="9:00"))
    looking = back(phase=Phase.LOOK, doing=Look())
    looking = replace(looking, order=replace(looking.order, candidate=LIVE, others=(NEW, OLD), standby=None))
    made = step(looking, first, NOW)
    assert made.phase is Phase.RECOVER
    changes = [made.doing, *made.queue[1:]]
    assert changes == [
        CancelScaleIn(NEW),
        Tag(NEW, rollout_tags.ABORT, "rolled back"),
        Disarm(anyones=True),
        Restore(ON_LIVE, guarded=True) if made.home == ON_LIVE else Route(((("tg-live", 100)),)),
    ]


def test_nothing_is_probed_without_an_address() -> None:
    """It would ask nobody, and wait for an answer."""
    gate = back(phase=Phase.GATE, doing=ReadHealth(1), wanted=1)
    assert step(replace(gate, doing=Compare(()), ending=End(Kind.ABORTED, "x")), Compared(0, 1), NOW).doing == Look(
        first=False
    )
