"""What the first look says: where the traffic belongs, whose switch it is, and what forbids to begin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.rollout import look, rollout_tags
from fleetswap.domain.rollout.messages import Arm, Change, Disarm, Kind, Restore, Route, Seen
from fleetswap.domain.rollout.model import Armed, Group, Order, Rule
from fleetswap.domain.rollout.state import State
from fleetswap.domain.secrets.key_state import KeyState
from tests.rollout.tables import ALIEN, LIVE, NEW, OLD, ON_LIVE, ON_NEW, ORDER, POLICY, SHARED, seen, state

EQUAL = Rule((("tg-live", 50), ("tg-new", 50)))
NONE = Rule((), "a page")
BOTH = {"live": 1, "new": 1}


def looked(rule: Rule | None, **known: Any) -> Seen:
    """Both have machines, unless a group says otherwise."""
    return seen(rule, **{"new": Group(1, 1, 8), **known})


def lone(arn: str) -> Rule:
    return Rule(((arn, 100),))


@pytest.mark.parametrize(
    ("world", "home"),
    [
        (looked(None), None),
        (looked(NONE), NONE),
        (looked(NONE, armed=Armed(ON_LIVE, 5, "dead")), NONE),
        (looked(ON_LIVE), ON_LIVE),
        (looked(ON_LIVE, healthy={}), ON_LIVE),
        (looked(SHARED, healthy=BOTH), lone("tg-live")),
        (looked(SHARED, healthy={"new": 1}), lone("tg-new")),
        (looked(SHARED, healthy={}), lone("tg-live")),
        (looked(SHARED, healthy={}, tags={rollout_tags.LIVE: "new"}), lone("tg-new")),
        (looked(SHARED, healthy=BOTH, tags={rollout_tags.LIVE: "new"}), lone("tg-new")),
        (looked(SHARED, healthy={"live": 1}, tags={rollout_tags.LIVE: "new"}), lone("tg-live")),
        (looked(EQUAL, healthy=BOTH), lone("tg-new")),
        (looked(SHARED, healthy=BOTH, live=Group(0, 0, 8)), lone("tg-new")),
        (looked(SHARED, healthy=BOTH, live=None), lone("tg-live")),
        (looked(SHARED, healthy=BOTH, armed=Armed(ON_LIVE, 5, "dead")), ON_LIVE),
        (looked(ON_NEW, healthy=BOTH, armed=Armed(ON_LIVE, 5, "dead")), ON_LIVE),
        (looked(ON_NEW, healthy={"new": 1}, armed=Armed(ON_LIVE, 5, "dead")), ON_NEW),
        (looked(ON_NEW, healthy={}, armed=Armed(ON_LIVE, 5, "dead")), ON_NEW),
        (looked(SHARED, healthy={}, armed=Armed(ON_NEW, 5, "dead")), ON_NEW),
        (looked(SHARED, healthy={"live": 1}, armed=Armed(ON_NEW, 5, "dead")), lone("tg-live")),
        (looked(SHARED, healthy=BOTH, armed=Armed(EQUAL, 5, "dead")), lone("tg-live")),
        (looked(SHARED, healthy=BOTH, armed=Armed(NONE, 5, "dead")), lone("tg-live")),
    ],
)
def test_where_the_traffic_belongs(world: Seen, home: Rule | None) -> None:
    """After a rollout that died, all the traffic would go to a release that was not proven, or is dead."""
    assert look.home(ORDER, world) == home


SWITCH = Arm(120, ON_LIVE)
ROLE = replace(ORDER, switch_role="arn:role")


@pytest.mark.parametrize(
    ("wanted", "home", "armed", "changes"),
    [
        (ROLE, ON_LIVE, None, []),
        (ROLE, ON_LIVE, Armed(ON_LIVE, 5, "me"), []),
        (ROLE, ON_LIVE, Armed(ON_LIVE, 5, "dead"), [SWITCH]),
        (ORDER, ON_LIVE, Armed(ON_LIVE, 5, "dead"), [Disarm(anyones=True)]),
        (ROLE, ON_NEW, Armed(ON_LIVE, 5, "dead"), [Disarm(anyones=True)]),
        (ROLE, None, Armed(ON_LIVE, 5, "dead"), [Disarm(anyones=True)]),
    ],
)
def test_the_switch_of_a_dead_rollout_becomes_ours(
    wanted: Order, home: Rule | None, armed: Armed | None, changes: list[Change]
) -> None:
    """The switch of a rollout that died would undo, minutes later, what this one has done."""
    assert look.take_over(state(wanted, home=home), seen(armed=armed)) == changes


@pytest.mark.parametrize(
    ("home", "rule", "run", "changes"),
    [
        (ON_LIVE, ON_LIVE, None, []),
        (None, ON_LIVE, None, []),
        (ON_LIVE, SHARED, None, [Restore(ON_LIVE, guarded=True)]),
        (ON_NEW, SHARED, None, [Route(ON_NEW.weights)]),
        (ON_LIVE, ON_LIVE, "me", []),
        (ON_LIVE, ON_LIVE, "dead", [Restore(ON_LIVE, guarded=True)]),
        (None, ON_LIVE, "dead", []),
    ],
)
def test_what_brings_the_traffic_home(home: Rule | None, rule: Rule, run: str | None, changes: list[Change]) -> None:
    """The traffic would stay shared; or weights that a dead rollout wrote a moment ago appear after all was judged."""
    armed = None if run is None else Armed(ON_LIVE, 5, run)
    assert look.bring_home(state(home=home), seen(rule, armed=armed)) == changes


WATCHED = replace(ORDER, policy=replace(POLICY, alarms=("up", "slow")))
TRUSTED = replace(WATCHED, trusted=True)
REPORTED = replace(WATCHED, policy=replace(WATCHED.policy, report_only=("alarms",)))
RING = {"up": "ALARM", "slow": "OK"}
BY_HAND = {rollout_tags.ROLLED_BACK: "new 9:00"}


@pytest.mark.parametrize(
    ("wanted", "tags", "alarms", "kind", "words"),
    [
        (WATCHED, {}, {"up": "OK", "slow": "INSUFFICIENT_DATA"}, None, ""),
        (WATCHED, {}, {"up": "OK"}, Kind.INPUT, "alarm slow does not exist in this account and region"),
        (WATCHED, {}, {}, Kind.INPUT, "alarm up, slow does not exist"),
        (WATCHED, {}, RING, Kind.ABORTED, "alarm up is in ALARM already, before release new begins"),
        (WATCHED, {}, {"up": "ALARM", "slow": "ALARM"}, Kind.ABORTED, "alarms up and slow are in ALARM already"),
        (TRUSTED, {}, RING, None, ""),
        (REPORTED, {}, RING, None, ""),
        (
            ORDER,
            BY_HAND,
            {},
            Kind.INPUT,
            "release new was rolled back with `fleetswap rollback --now` at 9:00: deploy another image",
        ),
        (
            ORDER,
            {rollout_tags.ROLLED_BACK: "new"},
            {},
            Kind.INPUT,
            "release new was rolled back with `fleetswap rollback --now`: deploy",
        ),
        (ORDER, {rollout_tags.ROLLED_BACK: "old 9:00"}, {}, None, ""),
        (replace(ORDER, policy=replace(POLICY, again=True)), BY_HAND, {}, None, ""),
    ],
)
def test_what_forbids_to_begin(
    wanted: Order, tags: dict[str, str], alarms: dict[str, str], kind: Kind | None, words: str
) -> None:
    """A release that a hand has taken out, or one that cannot be watched, would get traffic; or a fix be refused."""
    world = seen(tags=tags, alarms=alarms)
    refused = look.refusal(state(wanted, first=world), world)
    assert (refused[0] if refused else None) is kind
    assert words in (refused[1] if refused else "")


def test_what_is_live_already_may_always_begin() -> None:
    """The put-right of a stack would be refused while an alarm rings, or after a rollback by hand to what it wants."""
    world = seen(ON_NEW, tags=BY_HAND, alarms=RING)
    assert look.refusal(state(replace(WATCHED, others=(OLD, LIVE)), home=ON_NEW, first=world), world) is None
    assert NEW in ORDER.releases
    assert look.refusal(state(WATCHED, home=ALIEN, first=world), world) is not None


KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize(
    ("key", "world", "home", "outcome"),
    [
        ("Enabled", seen(), ON_LIVE, ""),
        ("Disabled", seen(), ON_LIVE, "refused"),
        ("Disabled", seen(new=None), ON_LIVE, "refused"),
        ("Disabled", seen(new=Group(2, 2, 8)), ON_LIVE, "warned"),
        ("Disabled", seen(ON_NEW), ON_NEW, "warned"),
        ("denied", seen(), ON_LIVE, "warned"),
    ],
)
def test_a_key_that_new_machines_need(key: str, world: Seen, home: Rule, outcome: str) -> None:
    """A candidate that cannot start a machine would be waited for; or a rollback to machines that run be refused."""
    world = replace(world, keys=(KeyState(KEY, key),))
    begun = look.answered(state(ORDER, home=home), world, 1000.0)
    assert not isinstance(begun, State)
    found = look.refusal(state(ORDER, home=home, first=world), world)
    assert (found is not None) is (outcome == "refused")
    if found is not None:
        assert found[0] is Kind.INPUT
        assert f"KMS key {KEY} is Disabled, and new machines of new need it: enable it with" in found[1]
    assert any(KEY in warning for warning in begun.state.warnings) is (outcome == "warned")
