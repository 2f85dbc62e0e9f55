"""What no caller asks for unless it has a defect, phase by phase; and what a rollout meets so seldom that no story has
it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.rollout import machine, record, rollout_tags, settle
from fleetswap.domain.rollout.machine import step
from fleetswap.domain.rollout.messages import (
    Compare,
    Disarm,
    End,
    Event,
    Explained,
    Kind,
    ReadRule,
    Resize,
    Restore,
    RuleRead,
    TagRule,
    Unanswered,
    Wait,
)
from fleetswap.domain.rollout.model import Group, Terms
from fleetswap.domain.rollout.notices import notice_of
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import Step
from tests.rollout.tables import LIVE, NEW, OLD, ON_LIVE, ON_NEW, ORDER, SHARED, seen, state

NOW = 1010.0
UNDER_WAY = state(doing=ReadRule(), deadline=2000.0, steps=(Step(100),))


@pytest.mark.parametrize("phase", machine.ANSWERED)
def test_an_answer_to_what_was_not_asked_is_a_defect(phase: Phase) -> None:
    """An answer to another question would steer the rollout: it would go on, or wait for ever."""
    takes_rules = phase in {Phase.RECOVER, Phase.SETTLE, Phase.COMPARE, Phase.PUT_BACK}
    event: Event = Explained("i-new-0", "") if takes_rules else RuleRead(ON_LIVE)
    with pytest.raises(TypeError, match=f"{type(event).__name__} cannot follow ReadRule"):
        step(replace(UNDER_WAY, phase=phase), event, NOW)


@pytest.mark.parametrize("phase", [Phase.RECOVER, Phase.SCALE, Phase.SHIFT])
def test_no_phase_acts_on_what_it_has_not_seen(phase: Phase) -> None:
    """Sizes and weights would be made up, and written over those that serve."""
    with pytest.raises(TypeError, match="nothing was looked at"):
        machine.ENTER[phase](replace(UNDER_WAY, first=None, latest=None), NOW)


def test_a_record_holds_numbers_and_texts() -> None:
    """A line would be written that no reader understands, or none at all in the middle of a rollout."""
    odd: Any = object()
    with pytest.raises(TypeError, match="a line holds object"):
        record.plain(record.Failed(at=0.0, reason=odd))


def test_a_group_that_is_gone_at_the_end_is_left_out() -> None:
    """A rollout that has succeeded would end in a traceback, or with the other releases never scaled in."""
    before = replace(UNDER_WAY, phase=Phase.SETTLE, armed_until=None)
    both = settle.changes(before, seen(old=Group(1, 1, 8)), 1070.0)
    without = settle.changes(before, seen(old=None), 1070.0)
    assert [change for change in both if getattr(change, "target", None) != ORDER.others[-1]] == without
    assert len(without) < len(both)


def test_the_rule_says_which_release_was_rolled_back() -> None:
    """The next deploy would bring back the release that was just taken out in an emergency."""
    bad = "old 2026-11-24T12:00:00+00:00"
    order = replace(ORDER, terms=Terms(rolled_back=bad, keeps_all=True))
    (tag,) = [each for each in settle.changes(replace(UNDER_WAY, order=order), seen(), NOW) if type(each) is TagRule]
    assert dict(tag.tags)[rollout_tags.ROLLED_BACK] == bad


def test_a_rollback_by_hand_deletes_anyones_switch_first() -> None:
    """The switch of a rollout that still runs would put the traffic on machines that are gone."""
    order = replace(ORDER, terms=Terms(overrules="rolled back"))
    made = machine.ENTER[Phase.SETTLE](replace(UNDER_WAY, order=order, armed_until=None), NOW)
    assert isinstance(made, State)
    assert made.doing == Disarm(anyones=True)


@pytest.mark.parametrize(
    ("size", "told"),
    [(0, "new no longer has machines"), (1, "new has 1 machine again"), (3, "new has 3 machines again")],
)
def test_a_notice_says_how_many_machines_are_left(size: int, told: str) -> None:
    """Whoever is woken would look for machines that are gone, or not know of those that run."""
    ending = End(Kind.ABORTED, "it is bad")
    failed = replace(UNDER_WAY, phase=Phase.DONE, touched=(Resize(NEW, size, size), Resize(LIVE, 2, 2)))
    notice = notice_of(replace(failed, ending=ending), ending, NOW)
    assert told in notice.undone


def test_a_rollback_by_hand_moves_the_traffic_again() -> None:
    """A rollout that still runs would win against the hand: its weights would only be waited for."""
    order = replace(ORDER, terms=Terms(overrules="rolled back"))
    homing = replace(UNDER_WAY, order=order, phase=Phase.RECOVER, first=seen(SHARED))
    made = step(homing, RuleRead(SHARED), NOW).doing
    assert isinstance(made, Wait)
    assert made.then == Restore(ON_LIVE, guarded=True)


def test_a_pin_of_what_has_no_traffic_is_taken_off_where_all_is_kept() -> None:
    """A release that is kept would stay at the size that a rollout held it at, whatever its load is."""
    order = replace(ORDER, terms=Terms(keeps_all=True))
    changes = settle.changes(replace(UNDER_WAY, order=order), seen(old=Group(3, 3, 8, pin=2)), NOW)
    assert Resize(OLD, 2, None, lower=True) in changes


def test_the_rule_says_who_owns_it() -> None:
    """Another stack of the same service would take the rule over."""
    changes = settle.changes(replace(UNDER_WAY, order=replace(ORDER, owner="shop/prod")), seen(), NOW)
    (tag,) = [each for each in changes if type(each) is TagRule]
    assert dict(tag.tags)[rollout_tags.OWNER] == "shop/prod"


def test_what_had_arrived_stays_where_nothing_can_be_read() -> None:
    """All the traffic would leave a release that serves, because AWS did not respond for a moment."""
    arrived = replace(
        UNDER_WAY, phase=Phase.COMPARE, doing=Compare(("tg-live",)), arrived=True, written=(ON_NEW.weights,)
    )
    made = step(arrived, Unanswered("slow down"), NOW)
    assert "it had arrived there" in made.ending.reason
    assert made.now_on == "new"
