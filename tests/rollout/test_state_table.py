"""What a rollout remembers: whose traffic it is, what may have been done, and since when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.messages import (
    Arm,
    CancelScaleIn,
    Change,
    Disarm,
    ReadRule,
    Resize,
    Restore,
    Route,
    ScheduleScaleIn,
    Wait,
)
from fleetswap.domain.rollout.model import Rule
from fleetswap.domain.rollout.state import STALE_SECONDS, Phase, State
from tests.rollout.tables import ALIEN, LIVE, NEW, OLD, ON_LIVE, ON_NEW, ORDER, SHARED, seen, state

FIVE = (("tg-live", 95), ("tg-new", 5))


@pytest.mark.parametrize(
    ("home", "previous", "live_already"),
    [
        (ON_LIVE, "live", False),
        (ON_NEW, "new", True),
        (SHARED, "live and new", False),
        (ALIEN, "tg-alien", False),
        (None, None, False),
        (Rule(()), None, False),
    ],
)
def test_what_had_the_traffic(home: Rule | None, previous: str | None, live_already: bool) -> None:  # noqa: FBT001 - a table
    """A message would name the wrong release, or a candidate be put under traffic that has it already."""
    one = state(home=home)
    assert one.previous == previous
    assert one.is_live_already is live_already


@pytest.mark.parametrize(
    ("home", "found"), [(ON_LIVE, LIVE), (ALIEN, None), (Rule((("tg-a", 1), ("tg-new", 1))), NEW), (None, None)]
)
def test_the_release_to_go_back_to(home: Rule | None, found: object) -> None:
    """The machines of a release that is not home would be held."""
    assert state(home=home).home_target == found


@pytest.mark.parametrize(
    ("tags", "trusted"),
    [({}, True), ({rollout_tags.ROLLED_BACK: "new 9:00"}, False), ({rollout_tags.ROLLED_BACK: "old 9:00"}, True)],
)
def test_what_a_hand_took_out_has_to_prove_itself_anew(tags: dict[str, str], trusted: bool) -> None:  # noqa: FBT001 - a table
    """A release that was taken out for its errors would come back without a canary."""
    order = replace(ORDER, trusted=True)
    assert state(order, first=seen(tags=tags)).trusted is trusted
    assert not state(ORDER, first=seen(tags=tags)).trusted


def test_who_was_left_by_hand() -> None:
    """A rollback by hand would not be known as one, or every rollout be held to come after one."""
    assert state(first=seen(tags={rollout_tags.ROLLED_BACK: "new 9:00"})).left_by_hand == "new"
    assert state().left_by_hand is None
    assert replace(state(), first=None).left_by_hand is None


def test_whose_rule_it_is() -> None:
    """The weights of someone else would be taken for ours and overwritten, or ours for theirs."""
    one = state(written=(FIVE,))
    assert one.expected == SHARED
    assert state().expected == ON_LIVE
    assert one.is_ours(ON_LIVE)
    assert one.is_ours(SHARED)
    assert not one.is_ours(ALIEN)
    assert not one.is_ours(None)
    assert one.is_others(ALIEN, 0.0)
    assert not one.is_others(ON_LIVE, 0.0)


def test_an_old_reading_is_one_only_for_a_while() -> None:
    """Someone who puts the traffic back would be overruled; or a stale answer of AWS would end a good rollout."""
    one = state(written=(FIVE,)).with_rule(ON_LIVE, 1010.0)
    assert (one.odd_since, one.had, one.calm_since) == (1010.0, frozenset({"tg-live"}), 1010.0)
    again = one.with_rule(ON_LIVE, 1012.0)
    assert (again.odd_since, again.calm_since) == (1010.0, 1012.0)
    assert not again.is_others(ON_LIVE, 1010.0 + STALE_SECONDS - 0.1)
    assert again.is_others(ON_LIVE, 1010.0 + STALE_SECONDS)
    held = again.with_rule(SHARED, 1013.0)
    assert (held.odd_since, held.calm_since) == (None, 1012.0)
    assert state(home=None).with_traffic_on(None, 5.0).had == frozenset()


@pytest.mark.parametrize(
    ("touched", "ahead"),
    [
        ((), False),
        ((ScheduleScaleIn(NEW, 9),), True),
        ((ScheduleScaleIn(LIVE, 9),), False),
        ((ScheduleScaleIn(NEW, 9), CancelScaleIn(NEW)), False),
        ((CancelScaleIn(NEW), ScheduleScaleIn(NEW, 9), Resize(NEW, 1, 1)), True),
        ((ScheduleScaleIn(NEW, 9), CancelScaleIn(LIVE)), True),
    ],
)
def test_whether_aws_would_end_the_candidate(touched: tuple[Change, ...], ahead: bool) -> None:  # noqa: FBT001 - a table
    """A plan for the case of our death would end what has the traffic, an hour after all went well."""
    assert state(touched=touched).is_planned_ahead is ahead


PLAIN: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("known", "change", "after"),
    [
        (
            PLAIN,
            Route(FIVE),
            {"written": (FIVE,), "moved": True, "since": 1005.0, "had": {"tg-live", "tg-new"}, "calm_since": 1005.0},
        ),
        ({"since": 1001.0, "written": (FIVE,)}, Route(FIVE), {"since": 1001.0, "written": (FIVE, FIVE)}),
        (PLAIN, Restore(ON_LIVE), {"had": {"tg-live"}, "calm_since": 1005.0, "moved": False, "written": ()}),
        (PLAIN, Arm(30, ON_LIVE), {"arming_until": 1035.0, "armed_until": None, "owned": False}),
        (PLAIN, Resize(LIVE, 0, 0), {"leaving": True}),
        (PLAIN, Resize(OLD, 0, 0), {"leaving": False}),
        (PLAIN, Resize(LIVE, 0, None), {"leaving": False}),
        (PLAIN, Resize(LIVE, 1, 1), {"leaving": False}),
        ({"leaving": True}, Resize(OLD, 0, 0), {"leaving": True}),
        (PLAIN, ScheduleScaleIn(LIVE, 9, rollout_tags.LEFT), {"leaving": True}),
        (PLAIN, ScheduleScaleIn(LIVE, 9), {"leaving": False}),
        (PLAIN, ScheduleScaleIn(OLD, 9, rollout_tags.LEFT), {"leaving": False}),
        ({"leaving": True}, ScheduleScaleIn(OLD, 9, rollout_tags.LEFT), {"leaving": True}),
        (PLAIN, CancelScaleIn(LIVE), {"leaving": False, "moved": False}),
    ],
)
def test_what_a_change_may_have_done(known: dict[str, Any], change: Change, after: dict[str, Any]) -> None:
    """What was asked for and not answered would not be undone, or traffic go back to machines that are leaving."""
    made = state(uncertain=True, **known).change(change, 1005.0)
    assert {name: getattr(made, name) for name in after} == after
    assert made.doing == change
    assert made.touched[-1] == change
    assert not made.uncertain


ROUTED = state().change(Route(FIVE), 1005.0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ROUTED, {"written": (), "moved": False, "since": None, "held": 1}),
        (ROUTED.change(Route(((("tg-new"), 100),)), 1009.0), {"written": (FIVE,), "moved": True, "since": 1005.0}),
        (replace(ROUTED, uncertain=True), {"written": (FIVE,), "moved": True, "since": 1005.0, "held": 1}),
        (state(queue=(CancelScaleIn(OLD),)).change(Arm(9, ON_LIVE), 1005.0), {"written": (), "held": 1}),
        (replace(ROUTED, held=4, queue=(Route(FIVE),)), {"held": 5}),
        (replace(ROUTED, doing=Arm(9, ON_LIVE)), {"written": (FIVE,), "moved": True, "since": 1005.0}),
        (replace(ROUTED, uncertain=True, held=4), {"held": 5}),
    ],
)
def test_what_was_certainly_not_done(before: State, after: dict[str, Any]) -> None:
    """Weights that were never written would be put back over someone else's; or written ones be forgotten."""
    made = before.unchanged()
    assert {name: getattr(made, name) for name in after} == after
    assert made.queue == ()


def test_what_was_done_is_off_the_list() -> None:
    """A change would be made twice, or the switch be held to be ours that never was."""
    two = state(queue=(Arm(9, ON_LIVE), Disarm()), refusals=3)
    armed = two.change(two.queue[0], 1005.0).changed()
    assert (armed.queue, armed.refusals, armed.armed_until, armed.owned) == ((Disarm(),), 0, 1014.0, True)
    plain = armed.change(CancelScaleIn(OLD), 1006.0).changed()
    assert (plain.armed_until, plain.owned) == (1014.0, True)
    gone = plain.change(Disarm(), 1006.0).changed()
    assert (gone.armed_until, gone.owned) == (None, True)
    assert gone.wait(2, "why", ReadRule()).doing == Wait(2, "why", ReadRule())


@pytest.mark.parametrize("phase", list(Phase))
def test_the_phases_of_the_rollback(phase: Phase) -> None:
    """A failure during the put-back would begin it anew, or one before it would not be undone."""
    assert phase.is_back is (phase in {"compare", "put back", "clean up"})
