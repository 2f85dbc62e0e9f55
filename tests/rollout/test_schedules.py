"""Scheduled scaling: when a schedule was due, and that only what is live follows schedules, whatever goes wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fleetswap.domain.errors import CloudError
from fleetswap.domain.rollout import clean_up, pins, rollout_tags
from fleetswap.domain.rollout.drift import drift
from fleetswap.domain.rollout.messages import Follow, Resize, Seen, Tag, Untag
from fleetswap.domain.rollout.model import Group, Rule, Terms
from fleetswap.domain.rollout.recurrence import Recurrence, is_time_zone
from fleetswap.domain.rollout.schedules import Schedule, digest, due
from fleetswap.domain.rollout.view import Service
from fleetswap.workflows.rollout.rollback import WentBack, rollback_now
from tests.fakes.aws import LISTENER
from tests.fakes.sim_world import Fleet, SimWorld
from tests.fakes.world import World, running, target
from tests.rollout.scenarios import CANARY, CRASHES, POLICY, Scenario, order_for
from tests.rollout.simulator import Explorer
from tests.rollout.tables import LIVE, ON_LIVE, ORDER, seen, state

NOW = datetime(2026, 11, 26, 22, 30, tzinfo=UTC)  # a Thursday
DAY = Schedule("day", "0 8 * * 1-5", "Europe/Berlin", 3)
NIGHT = Schedule("night", "30 20 * * *", "Europe/Berlin", 1)


@pytest.mark.parametrize(
    ("text", "zone", "at"),
    [
        ("30 22 * * *", "UTC", (11, 26, 22, 30)),
        ("31 22 * * *", "UTC", (11, 25, 22, 31)),
        ("0 8 * * 1-5", "Europe/Berlin", (11, 26, 7, 0)),
        ("0 0 * * 0", "UTC", (11, 22, 0, 0)),
        ("*/20 * * * *", "UTC", (11, 26, 22, 20)),
        ("5/20 9-17/4 1,15 * *", "UTC", (11, 15, 17, 45)),
        ("0 2 * 3 *", "UTC", (3, 31, 2, 0)),
        ("0 6 * 7 *", "America/New_York", (7, 31, 10, 0)),
        ("0 7 * * *", "Asia/Tokyo", (11, 26, 22, 0)),
    ],
)
def test_when_it_was_due_last(text: str, zone: str, at: tuple[int, int, int, int]) -> None:
    """A release that becomes live would get the minimum of another time of the day."""
    assert Recurrence.parse(text).last_before(NOW, zone) == datetime(2026, *at, tzinfo=UTC)


def test_a_leap_day_is_found() -> None:
    """A schedule of one day in four years would be called one that is never due."""
    found = Recurrence.parse("0 0 29 2 *").last_before(datetime(2100, 3, 1, tzinfo=UTC), "UTC")
    assert found == datetime(2096, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0 8 * *", "five fields"),
        ("0 8 1 * 1", r"one of them must be"),
        ("60 8 * * *", "no minute: it is from 0 to 59"),
        ("0 8-7 * * *", "no hour"),
        ("0 8 * * MON", "no day of the week: write"),
        ("0 8 * 13 *", "no month"),
        ("*/0 8 * * *", "no minute"),
        ("0 8 31 2 *", "never due"),
    ],
)
def test_what_is_no_recurrence(text: str, told: str) -> None:
    """AWS would refuse it after the traffic has moved."""
    with pytest.raises(ValueError, match=told):
        Recurrence.parse(text)


def test_time_zones() -> None:
    """A zone that there is not would be found out by AWS, after the traffic has moved."""
    assert is_time_zone("Europe/Berlin")
    assert not is_time_zone("Europe/Nowhere")
    assert not is_time_zone("../etc/passwd")


def test_the_minimum_is_that_of_the_schedule_that_was_due_last() -> None:
    """A deploy at noon would take the fleet back to its minimum of the night."""
    assert due((DAY, NIGHT), 2, datetime(2026, 11, 26, 12, 0, tzinfo=UTC)) == 3
    assert due((DAY, NIGHT), 2, NOW) == 1
    assert due((), 2, NOW) == 2
    assert due((NIGHT, replace(NIGHT, name="other", minimum=4)), 2, NOW) == 4


def test_what_is_not_as_the_settings_say_is_drift() -> None:
    """A schedule that is not followed, or followed by the wrong release, would not show in a preview."""
    order = replace(order_for("new", POLICY), schedules=(DAY,))
    rule = Rule((("tg-new", 100),))

    def seen(new: str, live: str = "", minimum: int = 3) -> tuple[str, ...]:
        groups = {
            "new": Group(minimum, 3, 8, follows=new),
            "live": Group(3, 3, 8, scale_in="soon", follows=live),
            "old": Group(0, 0, 8),
        }
        return drift(order, Seen(rule, tuple(groups.items()), (), ()))

    assert seen(digest((DAY,))) == ()
    assert seen(digest((DAY,)), minimum=2) == (), "that of the settings"
    assert seen("") == ("new does not follow the schedules of the settings",)
    assert seen(digest((DAY,)), live=digest((DAY,))) == ("live still follows schedules",)
    assert "minimum of 4" in seen(digest((DAY,)), minimum=4)[0]


def test_what_a_schedule_has_scaled_in_is_not_drift() -> None:
    """Each night a preview would show a change, and an update would launch what the schedule has just scaled in."""
    order = replace(order_for("new", POLICY), schedules=(NIGHT,))
    assert order.policy.minimum > NIGHT.minimum

    def seen(minimum: int, desired: int) -> tuple[str, ...]:
        groups = {"new": Group(minimum, desired, 8, follows=digest((NIGHT,))), "old": Group(0, 0, 8)}
        live = Group(0, 0, 8)
        return drift(order, Seen(Rule((("tg-new", 100),)), (*groups.items(), ("live", live)), (), ()))

    assert seen(NIGHT.minimum, NIGHT.minimum) == ()
    assert "has 0 machines" in seen(NIGHT.minimum, 0)[0]


def _world(*, candidate_follows: bool = False) -> SimWorld:
    tags = {rollout_tags.SCHEDULES: digest((DAY,))}
    new = Fleet(tags=dict(tags), schedules=(DAY,)) if candidate_follows else Fleet()
    world = SimWorld(new=new, live=Fleet(3, 3, tags=dict(tags), schedules=(DAY,)), old=Fleet())
    world.start({"live": 100}, load=3)
    world.rule_tags = {rollout_tags.LIVE: "live", rollout_tags.STANDBY: "old"}
    return world


@pytest.mark.parametrize("candidate_follows", [False, True])
def test_only_what_is_live_follows_schedules(*, candidate_follows: bool) -> None:
    """A release without traffic would get machines every morning; or the live one none, after one call that failed."""
    order = replace(order_for("new", POLICY), schedules=(DAY,))
    scenario = Scenario("schedules", lambda: _world(candidate_follows=candidate_follows), order)
    explorer = Explorer(scenario, faults=("refusal", "5xx after the effect", "Ctrl-C", *CRASHES))
    explorer.explore(1)
    assert explorer.ends > 50


SCHEDULED = replace(ORDER, schedules=(DAY,))
FOLLOWS = digest((DAY,))


def test_live_leaves_its_schedules_before_it_is_held() -> None:
    """A schedule that is due in a canary would lower the size that live is held at, and AWS would scale it in."""
    held = [Tag(LIVE, rollout_tags.PIN, "1"), Resize(LIVE, 3, None)]
    small, full = Group(1, 3, 8, follows=FOLLOWS), Group(3, 3, 8, follows=FOLLOWS)
    assert pins.pin_live(state(SCHEDULED), seen(live=small)) == [Follow(LIVE, ()), *held]
    assert pins.pin_live(state(SCHEDULED), seen(live=full)) == [Follow(LIVE, ())]
    assert pins.pin_live(state(SCHEDULED), seen(live=replace(small, follows=""))) == held
    by_hand = replace(ORDER, terms=Terms(keeps_all=True))
    assert pins.pin_live(state(by_hand), seen(live=full)) == [], "who goes back by hand does not know the schedules"


def test_what_was_held_follows_its_schedules_again() -> None:
    """After a rollout that failed, the fleet would stay at the minimum of the time when it began."""
    own, again = Resize(LIVE, 1, None, lower=True), Follow(LIVE, (DAY,), ORDER.policy.minimum)
    held = (Follow(LIVE, ()), Tag(LIVE, rollout_tags.PIN, "1"), Resize(LIVE, 3, None))
    before = seen(live=Group(1, 3, 8, follows=FOLLOWS), new=Group(0, 0, 8))
    undone = clean_up.changes(state(SCHEDULED, first=before, touched=held), ON_LIVE.serving, 2000)
    assert undone == [own, Untag(LIVE, (rollout_tags.PIN,)), again]
    left = seen(live=Group(3, 3, 8, pin=1), new=Group(0, 0, 8))
    assert again in clean_up.changes(state(SCHEDULED, first=left), ON_LIVE.serving, 2000), "a deployer died"
    as_it_was = seen(live=Group(1, 3, 8), new=Group(0, 0, 8))
    assert clean_up.changes(state(SCHEDULED, first=as_it_was), ON_LIVE.serving, 2000) == []
    assert not [each for each in clean_up.changes(state(first=left), ON_LIVE.serving, 2000) if isinstance(each, Follow)]


class Watched(SimWorld):
    """Also judges that nothing that shares the traffic follows schedules."""

    shared = False

    def judge(self) -> None:
        super().judge()
        sharing = sorted(self.serving()) if len(self.serving()) > 1 else []
        self.shared = self.shared or bool(sharing)
        self.broken += [f"{name} shares the traffic, and follows" for name in sharing if self.releases[name].schedules]


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_nothing_that_shares_the_traffic_follows_schedules(rate: float) -> None:
    """A schedule that is due in a canary would take machines from live, which may have to take all the traffic back."""
    worlds: list[Watched] = []

    def world() -> Watched:
        tags = {rollout_tags.SCHEDULES: FOLLOWS}
        live = Fleet(2, 3, tags=tags, schedules=(DAY,))
        made = Watched(new=Fleet(error_rate=rate), live=live, old=Fleet())
        made.start({"live": 100}, load=3)
        made.rule_tags = {rollout_tags.LIVE: "live", rollout_tags.STANDBY: "old"}
        worlds.append(made)
        return made

    order = replace(order_for("new", CANARY), schedules=(DAY,))
    explorer = Explorer(Scenario("schedules in a canary", world, order, good=not rate))
    explorer.explore(0)
    assert any(each.shared for each in worlds)
    end = worlds[0]
    serving = "live" if rate else "new"
    assert end.serving() == {serving}
    assert {name for name, each in end.releases.items() if each.schedules} == {serving}


def gone_back(world: World) -> WentBack:
    """What `fleetswap rollback --now` does, from `bad` to `good`."""
    world.put_traffic(bad=100)
    world.rule_tags |= {rollout_tags.LIVE: "bad", rollout_tags.STANDBY: "good"}
    service = Service("fleetswap/prod", "web", LISTENER, (target("bad"), target("good")))
    return rollback_now(service, None, balancer=world, fleet=world, switch=world, clock=world)


def followed(follows: str) -> World:
    """`bad` is live, and has schedules that its tag calls this."""
    world = World(good=running(2), bad=running(3, minimum=2))
    world.releases["bad"].schedules = (DAY, NIGHT)
    world.releases["bad"].tags[rollout_tags.SCHEDULES] = follows
    return world


def test_schedules_go_along_with_a_rollback_by_hand() -> None:
    """What is live would stay at its size for the night, and what was given up start machines each morning."""
    world = followed(digest((DAY, NIGHT)))
    done = gone_back(world)
    assert (done.live, done.warnings) == ("good", ())
    assert world.releases["good"].schedules == (DAY, NIGHT)
    assert world.releases["good"].tags[rollout_tags.SCHEDULES] == digest((DAY, NIGHT))
    assert world.releases["bad"].schedules == ()
    assert rollout_tags.SCHEDULES not in world.releases["bad"].tags
    assert world.releases["bad"].desired == 3, "it keeps its machines"


def test_schedules_that_are_not_known_stay_and_hold_up_no_rollback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollback would fail for them; or a part of them be taken for all, and the others be deleted."""
    world = followed("of other schedules")
    done = gone_back(world)
    assert done.live == "good"
    assert done.warnings == (
        "the schedules stay with bad until the next `pulumi up`: its scheduled actions are not those that its tag says",
    )
    assert world.releases["bad"].schedules == (DAY, NIGHT)
    moving = followed(rollout_tags.MOVING)
    assert (gone_back(moving).warnings, moving.releases["good"].schedules) == ((), ())

    def denied(name: str) -> tuple[Schedule, ...]:
        raise CloudError(f"AccessDenied on {name}")

    world = followed(digest((DAY, NIGHT)))
    monkeypatch.setattr(world, "schedules", denied)
    done = gone_back(world)
    assert (done.live, world.releases["bad"].schedules) == ("good", (DAY, NIGHT))
    assert "AccessDenied on" in done.warnings[0]
