"""Who gets machines, who is held, and who loses them when: capacity, pins, scale-in and settle, as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.rollout import pins, rollout_tags, scale, scale_in, settle
from fleetswap.domain.rollout.health import Machine, Target
from fleetswap.domain.rollout.messages import (
    CancelScaleIn,
    Change,
    OnDemand,
    Resize,
    ScheduleScaleIn,
    Seen,
    Tag,
    TagRule,
    Untag,
)
from fleetswap.domain.rollout.model import Group, Order, Rule
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.state import State
from tests.rollout.tables import ALIEN, LIVE, NEW, OLD, ON_LIVE, ON_NEW, ORDER, POLICY, seen, state

AHEAD = ScheduleScaleIn(NEW, 120 + 360 + 3600, note="me")
PIN = Tag(NEW, rollout_tags.PIN, "2")
TOLD = TagRule(((rollout_tags.LIVE, "live"),), (rollout_tags.ABORT,))
IN_TIME = "2026-11-26T09:00:00Z"


# Capacity


@pytest.mark.parametrize(
    ("group", "states", "wanted"),
    [
        (Group(2, 5, 8), (), 5),
        (Group(1, 1, 8), (), 2),
        (None, ("healthy", "unhealthy", "initial", "draining"), 3),
        (None, (), 2),
    ],
)
def test_the_candidate_needs_as_many_machines_as_serve(
    group: Group | None, states: tuple[str, ...], wanted: int
) -> None:
    """After the swap there would be too few machines for the traffic, or a few that are leaving be counted."""
    targets = tuple(Target(f"i-{n}", word) for n, word in enumerate(states))
    world = Seen(ON_LIVE, (("live", group),), (("tg-live", targets),), ())
    assert scale.demand(ORDER, world, frozenset({"tg-live"})) == wanted
    assert scale.demand(ORDER, world, frozenset()) == 2


@pytest.mark.parametrize(
    ("group", "moved", "changes"),
    [
        (Group(0, 0, 8), False, [PIN, TOLD, CancelScaleIn(NEW), AHEAD, Resize(NEW, 3, 3)]),
        (Group(0, 5, 8), False, [PIN, TOLD, CancelScaleIn(NEW), AHEAD, Resize(NEW, 3, 5)]),
        (Group(3, 3, 8, pin=2), False, [TOLD, CancelScaleIn(NEW), AHEAD]),
        (Group(3, 3, 8, pin=2), True, []),
        (Group(4, 4, 8, pin=2), True, []),
        (Group(2, 3, 8, pin=2), True, [Resize(NEW, 3, 3)]),
        (Group(3, 2, 8, pin=2), True, [Resize(NEW, 3, 3)]),
        (Group(3, 3, 8, pin=2, scale_in=IN_TIME), True, [Resize(NEW, 3, 3)]),
        (Group(3, 3, 8, pin=2, scale_in=IN_TIME, has_action=False), True, []),
        (Group(3, 3, 8, pin=2, abort="no"), True, [Untag(NEW, (rollout_tags.ABORT,))]),
        (None, False, []),
    ],
)
def test_what_gives_the_candidate_its_machines(group: Group | None, moved: bool, changes: list[Change]) -> None:  # noqa: FBT001 - a table
    """The candidate would have too few machines, lose them to a plan of AWS, or run for ever after our death."""
    assert scale.changes(state(moved=moved), seen(new=group), 3) == changes


def test_what_serves_is_kept_before_the_candidate_grows() -> None:
    """Live would be ended by an old plan while the candidate's machines boot."""
    changes = scale.changes(state(), seen(live=Group(2, 2, 8, scale_in=IN_TIME)), 2)
    assert changes == [PIN, CancelScaleIn(LIVE), TOLD, CancelScaleIn(NEW), AHEAD, Resize(NEW, 2, 2)]


def test_a_first_deploy_has_no_live_to_tell_of() -> None:
    """The rule would say of a release that has no traffic that it is live."""
    assert scale.changes(state(home=None), seen(None), 2) == [
        PIN,
        CancelScaleIn(NEW),
        AHEAD,
        Resize(NEW, 2, 2),
    ]


def test_what_is_live_already_gets_its_machines_without_a_pin() -> None:
    """A release that is deployed once more would be pinned to the size that it happens to have."""
    again = state(replace(ORDER, others=(OLD,), standby=None), home=ON_NEW)
    assert again.is_live_already
    assert scale.changes(again, seen(new=Group(2, 3, 8)), 3) == []
    assert scale.changes(again, seen(new=Group(1, 3, 8)), 3) == []
    assert scale.changes(again, seen(new=Group(1, 1, 8)), 3) == [Resize(NEW, 2, 3)]
    assert scale.changes(again, seen(new=Group(2, 3, 8, scale_in=IN_TIME)), 3) == [
        CancelScaleIn(NEW),
        Resize(NEW, 2, 3),
    ]


@pytest.mark.parametrize(
    ("home", "live", "kept"),
    [
        (ON_LIVE, Group(2, 2, 8, scale_in=IN_TIME), [CancelScaleIn(LIVE)]),
        (ON_LIVE, Group(2, 2, 8, scale_in=IN_TIME, has_action=False), [CancelScaleIn(LIVE)]),
        (ON_LIVE, Group(2, 2, 8), []),
        (ON_LIVE, None, []),
        (ALIEN, Group(2, 2, 8, scale_in=IN_TIME), []),
        (None, Group(2, 2, 8, scale_in=IN_TIME), []),
    ],
)
def test_what_has_the_traffic_is_not_scaled_in(home: Rule | None, live: Group | None, kept: list[Change]) -> None:
    """AWS would end live's machines by a plan of the time when it was a standby."""
    assert scale.keep(state(home=home), seen(home, live=live)) == kept


# Pins


@pytest.mark.parametrize(
    ("live", "changes"),
    [
        (Group(2, 4, 8), [Tag(LIVE, rollout_tags.PIN, "2"), Resize(LIVE, 4, None)]),
        (Group(2, 4, 8, pin=1), [Resize(LIVE, 4, None)]),
        (Group(4, 4, 8), []),
        (Group(5, 4, 8), []),
        (None, []),
    ],
)
def test_live_is_held_at_the_size_that_it_has(live: Group | None, changes: list[Change]) -> None:
    """Target tracking would shrink live while the canary has its traffic, and all of it comes back at once."""
    assert pins.pin_live(state(), seen(live=live)) == changes
    assert pins.pin_live(state(home=None), seen(live=live)) == []


def test_the_candidates_pin_is_written_once() -> None:
    """A second look would write down the raised minimum as the one that it is to have again."""
    assert pins.pin_candidate(state(), seen()) == [PIN]
    assert pins.pin_candidate(state(), seen(new=None)) == []
    assert pins.pin_candidate(state(), seen(new=Group(0, 0, 8, pin=1))) == []
    assert pins.pin_candidate(state(touched=(PIN,)), seen()) == []
    assert pins.pin_candidate(state(touched=(Tag(LIVE, rollout_tags.PIN, "2"),)), seen()) == [PIN]


@pytest.mark.parametrize(
    ("first", "latest", "own"),
    [
        (Group(4, 4, 8, pin=1), Group(5, 5, 8), 1),
        (Group(4, 4, 8), Group(5, 5, 8, pin=3), 4),
        (None, Group(5, 5, 8, pin=3), 3),
        (None, None, None),
    ],
)
def test_the_minimum_without_any_pin(first: Group | None, latest: Group | None, own: int | None) -> None:
    """A release would keep for ever the minimum that only a canary asked for."""
    one = state(first=seen(live=first), latest=seen(live=latest))
    assert pins.own_minimum(one, LIVE) == own


def test_every_mark_on_a_group_comes_off() -> None:
    """A mark that is left makes the next rollout undo what it did not do, or refuses it."""
    marked = Group(2, 2, 8, pin=1, on_demand_pin=20, abort="no")
    keys = tuple(sorted((rollout_tags.PIN, rollout_tags.ON_DEMAND, rollout_tags.ABORT)))
    assert pins.keys_on(state(first=seen(live=marked)), LIVE) == keys
    assert pins.keys_on(state(latest=seen(live=marked)), LIVE) == keys
    assert pins.release(state(first=seen(live=marked)), LIVE) == [OnDemand(LIVE, 20), Untag(LIVE, keys)]
    assert pins.release(state(), LIVE) == []
    assert pins.release(state(touched=(Tag(LIVE, rollout_tags.PIN, "1"),)), LIVE) == [Untag(LIVE, (rollout_tags.PIN,))]
    own = tuple(sorted((rollout_tags.PIN, rollout_tags.ABORT)))
    assert pins.release(state(touched=(PIN,)), NEW) == [Untag(NEW, own)], "an abort may come until the end"
    assert pins.release(state(), NEW) == []


def test_the_share_of_on_demand_machines_comes_back() -> None:
    """After one shortage a service would pay for on-demand machines for ever."""
    more = OnDemand(NEW, 60, instead=3)
    assert pins.to_on_demand(state(), NEW, 30, more) == [Tag(NEW, rollout_tags.ON_DEMAND, "30"), more]
    tried = state(touched=(PIN, Tag(LIVE, rollout_tags.ON_DEMAND, "50"), *pins.to_on_demand(state(), NEW, 30, more)))
    assert pins.former_percent(tried, NEW) == 30
    assert pins.former_percent(state(first=seen(new=Group(0, 0, 8, on_demand_pin=0))), NEW) == 0
    assert pins.former_percent(state(), NEW) is None
    assert pins.is_pinned(tried, NEW)
    assert not pins.is_pinned(tried, LIVE)


# The scale-in


@pytest.mark.parametrize(
    ("known", "old", "left"),
    [
        ({"had": frozenset({"tg-old"}), "calm_since": 1030.0}, Group(0, 0, 8), 40),
        ({"had": frozenset({"tg-old"}), "calm_since": 980.0}, Group(0, 0, 8), 0),
        ({}, Group(0, 0, 8), 0),
        ({}, Group(0, 1, 8), 10),
        ({}, Group(0, 0, 8, (Machine("i-1", "Terminating"),)), 10),
        ({}, None, 10),
    ],
)
def test_how_long_the_load_balancers_nodes_may_still_send_requests(
    known: dict[str, Any], old: Group | None, left: float
) -> None:
    """Machines would end while a node still sends them requests: 503 for users; or an error would wait for nothing."""
    assert scale_in.left(state(first=seen(old=old), **known), OLD, 1050.0) == left


@pytest.mark.parametrize(
    ("group", "touched", "now", "changes"),
    [
        (Group(0, 0, 8), (), 1050.0, []),
        (Group(0, 0, 8, scale_in=IN_TIME), (), 1050.0, [CancelScaleIn(OLD)]),
        (Group(0, 0, 8), (ScheduleScaleIn(OLD, 9),), 1050.0, [CancelScaleIn(OLD)]),
        (Group(0, 0, 8), (ScheduleScaleIn(LIVE, 9),), 1050.0, []),
        (Group(0, 2, 8), (), 1050.0, [ScheduleScaleIn(OLD, 10, "left")]),
        (Group(0, 2, 8, scale_in=IN_TIME), (), 1059.0, [ScheduleScaleIn(OLD, 1, "left")]),
        (Group(0, 2, 8), (), 1060.0, [Resize(OLD, 0, 0)]),
        (Group(2, 0, 8), (), 1060.0, [Resize(OLD, 0, 0)]),
        (Group(0, 2, 8, scale_in=IN_TIME), (), 1060.0, [Resize(OLD, 0, 0), CancelScaleIn(OLD)]),
    ],
)
def test_what_takes_all_machines_away(
    group: Group, touched: tuple[Change, ...], now: float, changes: list[Change]
) -> None:
    """Machines would run for ever, end too soon, or a plan be left that ends the release's next ones."""
    one = state(first=seen(old=Group(0, 2, 8)), touched=touched)
    assert scale_in.changes(one, OLD, group, now) == changes


def test_nothing_is_kept_warm_for_less_than_the_nodes_need() -> None:
    """With `warm: 1` the release before would lose its machines while nodes still send requests there."""
    assert scale_in.kept_warm(POLICY, 1) == 60
    assert scale_in.kept_warm(POLICY, 61) == 61


# The settle


def settled(known: State, **groups: Any) -> list[Change]:
    return settle.changes(known, seen(ON_NEW, **groups), 2000.0)


TAGGED = {rollout_tags.LIVE: "new", rollout_tags.STANDBY: "live"}
QUIET = state(first=seen(tags=TAGGED))
AS_IT_IS = {"new": Group(2, 3, 8), "live": Group(2, 2, 8, scale_in=IN_TIME)}


@pytest.mark.parametrize(
    ("groups", "changes"),
    [
        ({}, []),
        ({"new": Group(3, 3, 8)}, [Resize(NEW, 2, None)]),
        ({"new": None}, [Resize(NEW, 2, None)]),
        ({"live": None}, []),
        ({"live": Group(2, 4, 8, scale_in=IN_TIME)}, [Resize(LIVE, 4, None)]),
        ({"live": Group(2, 2, 8)}, [ScheduleScaleIn(LIVE, 600)]),
        ({"live": Group(2, 2, 8, scale_in=IN_TIME, has_action=False)}, [ScheduleScaleIn(LIVE, 600)]),
        ({"live": Group(1, 1, 8)}, [ScheduleScaleIn(LIVE, 600)]),
        ({"live": Group(0, 0, 8)}, []),
        ({"old": Group(0, 2, 8)}, [Resize(OLD, 0, 0)]),
        ({"old": None}, []),
        ({"old": None, "live": Group(2, 2, 8)}, [ScheduleScaleIn(LIVE, 600)]),
    ],
)
def test_what_a_rollout_leaves(groups: dict[str, Group | None], changes: list[Change]) -> None:
    """The standby would be shrunk or run for ever, or a former release keep its machines."""
    assert settled(QUIET, **{**AS_IT_IS, **groups}) == changes


def test_the_order_in_which_it_settles() -> None:
    """Who dies on the way would leave the standby planned to end while it may get the traffic again."""
    live = Group(2, 4, 8, pin=1)
    old = Group(1, 1, 8, pin=0)
    busy = state(
        first=seen(live=live, old=old, tags={rollout_tags.ROLLED_BACK: "live 9:00"}), touched=(PIN, Resize(NEW, 2, 2))
    )
    assert settled(busy, new=Group(2, 3, 8), live=live, old=old) == [
        Resize(NEW, 2, None),
        Untag(NEW, tuple(sorted((rollout_tags.PIN, rollout_tags.ABORT)))),
        Resize(OLD, 0, 0),
        Untag(OLD, (rollout_tags.PIN,)),
        Resize(LIVE, 4, None),
        TagRule(((rollout_tags.LIVE, "new"), (rollout_tags.STANDBY, "live")), (rollout_tags.ROLLED_BACK,)),
        ScheduleScaleIn(LIVE, 600),
        Untag(LIVE, (rollout_tags.PIN,)),
    ]


def test_what_served_is_scaled_in_last() -> None:
    """If the rest fails, the traffic could not go back any more."""
    cold = replace(ORDER, standby=None, others=(LIVE, OLD))
    machines = {"live": Group(2, 2, 8), "old": Group(1, 1, 8)}
    changes = settled(state(cold, first=seen(tags={rollout_tags.LIVE: "new"})), new=Group(2, 2, 8), **machines)
    assert changes == [Resize(OLD, 0, 0), Resize(LIVE, 0, 0)]


def test_a_plan_that_this_rollout_has_cancelled_is_made_again() -> None:
    """The standby would never be scaled in: the look before the settle may still show the plan."""
    cancelled = replace(QUIET, touched=(CancelScaleIn(LIVE),))
    assert settled(cancelled, **AS_IT_IS) == [ScheduleScaleIn(LIVE, 600)]
    assert settled(replace(QUIET, touched=(CancelScaleIn(OLD),)), **AS_IT_IS) == []


@pytest.mark.parametrize(
    ("wanted", "tags", "change"),
    [
        (ORDER, TAGGED, []),
        (ORDER, {**TAGGED, rollout_tags.ROLLED_BACK: "x"}, [TagRule((), (rollout_tags.ROLLED_BACK,))]),
        (ORDER, {rollout_tags.LIVE: "live", rollout_tags.STANDBY: "live"}, [TagRule(((rollout_tags.LIVE, "new"),))]),
        (replace(ORDER, standby=None), TAGGED, [TagRule((), (rollout_tags.STANDBY,))]),
        (replace(ORDER, standby=None), {rollout_tags.LIVE: "new"}, []),
    ],
)
def test_the_rule_says_what_is_live(wanted: Order, tags: dict[str, str], change: list[Change]) -> None:
    """Whoever has lost the state would take the wrong release for live, or for the one to go back to."""
    done = settled(state(wanted, first=seen(tags=tags)), new=Group(2, 2, 8), live=Group(0, 0, 8))
    assert done == change


def test_the_size_of_another_group_says_nothing_of_the_candidates() -> None:
    """Every rollout that holds live would write the candidate's size once more."""
    held = replace(QUIET, touched=(Resize(LIVE, 4, None),))
    assert settled(held, **AS_IT_IS) == []


def test_a_standby_is_kept_warm_for_any_time_above_zero() -> None:
    """With `warm` below a second there would be no standby at all."""
    short = replace(QUIET, order=replace(ORDER, policy=replace(POLICY, warm=0.5)))
    assert settled(short, **{**AS_IT_IS, "live": Group(2, 2, 8)}) == [ScheduleScaleIn(LIVE, 60)]


def test_with_nothing_to_be_kept_warm_the_standby_goes() -> None:
    """With `warm: 0` its machines would run, and cost."""
    cold = replace(QUIET, order=replace(ORDER, policy=replace(POLICY, warm=0)))
    assert settled(cold, **{**AS_IT_IS, "live": Group(2, 2, 8)}) == [Resize(LIVE, 0, 0)]
    assert Policy(minimum=1).warm > 0
