"""`fleetswap rollback --now` while parts of AWS refuse, or do not respond: only what carries traffic may hold it up."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import cast

import pytest

from fleetswap.domain.errors import Aborted, CloudError
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.model import Rule
from fleetswap.domain.rollout.rollback import POLICY
from fleetswap.domain.rollout.rollout_tags import RolledBack, ScaleIn
from fleetswap.domain.rollout.view import Service
from fleetswap.workflows.rollout.rollback import WentBack, rollback_now
from tests.fakes.aws import LISTENER
from tests.fakes.world import CALL_SECONDS, REFUSED, THROTTLED, Fault, Release, World, running, target

TROUBLES = {"refused": REFUSED, "throttled": THROTTLED}


def back(world: World, to: str | None = None) -> WentBack:
    """What the command does; `x` is no release of the service."""
    service = Service("acme/web/prod", "web", LISTENER, tuple(target(name) for name in world.releases if name != "x"))
    return rollback_now(
        service,
        to,
        balancer=world,
        fleet=world,
        switch=world,
        clock=world,
        policy=replace(POLICY, deadline=60),
        say=world.say,
    )


def settled() -> World:
    """`bad` is live with three machines, its standby is warm with two, and will be scaled in."""
    world = World(good=running(2), bad=running(3), old=Release())
    world.put_traffic(bad=100)
    world.rule_tags = {rollout_tags.LIVE: "bad", rollout_tags.STANDBY: "good"}
    good = world.releases["good"]
    good.scale_in_at = world.time + 3000
    good.tags[rollout_tags.SCALE_IN] = ScaleIn(str(good.scale_in_at)).value
    return world


def canary() -> World:
    """A deployer has died in its canary from `good` to `bad`; its switch will put the traffic back."""
    world = World(good=running(3), bad=running(3), old=running(3))
    world.put_traffic(good=75, bad=25)
    world.rule_tags = {rollout_tags.LIVE: "good", rollout_tags.STANDBY: "old"}
    world.schedule = (world.time + 600, Rule((("tg-good", 100),), verbatim="verbatim good"), "dead")
    return world


def stranger() -> World:
    """A target group of no release has the traffic."""
    world = World(good=running(3), bad=running(3), x=running(2))
    world.put_traffic(x=100)
    return world


@pytest.mark.parametrize("how", TROUBLES)
@pytest.mark.parametrize(
    "call", ["armed", "disarm", "tags", "tag", "untag", "failures", "sides_of", "console", "alarms", "counts"]
)
def test_what_carries_no_traffic_does_not_hold_it(call: str, how: str) -> None:
    """The traffic would stay on a broken release because EventBridge Scheduler, a tag or a list of failed launches has
    a bad hour.
    """
    for world, to, went_to in ((settled(), None, "good"), (canary(), "good", "good"), (canary(), "old", "old")):
        world.broken_calls[call] = TROUBLES[how]
        assert back(world, to).live == went_to
        assert world.serving() == {f"tg-{went_to}"}
    world = stranger()
    world.broken_calls[call] = TROUBLES[how]
    assert back(world, "good").live == "good"


@pytest.mark.parametrize("how", TROUBLES)
def test_the_group_of_another_release_does_not_hold_it(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Nothing need be known of the group that is left, if the machines that take its traffic are healthy."""
    world, group = settled(), World.group

    def unless_good(world: World, name: str) -> object:
        if name != "asg-good":
            raise TROUBLES[how]
        return group(world, name)

    monkeypatch.setattr(World, "group", unless_good)
    done = back(world)
    assert (done.live, done.machines, str(TROUBLES[how]) in done.warnings) == ("good", 3, True)
    assert world.serving() == {"tg-good"}


@pytest.mark.parametrize("how", TROUBLES)
def test_few_machines_are_enough_also_without_the_switch(how: str) -> None:
    """No machine of live is healthy; whether two are better than none does not depend on the scheduler."""
    world = settled()
    world.releases["bad"].healthy = False
    world.releases["good"].cannot_launch = "InsufficientInstanceCapacity: none"
    world.broken_calls["armed"] = TROUBLES[how]
    assert back(world).machines == 2
    assert world.serving() == {"tg-good"}


def test_a_switch_that_cannot_be_deleted_is_told_and_the_rest_is_done() -> None:
    """The traffic would be back, and the rule still say that nobody went back: the next update would begin anew."""
    world = canary()
    world.broken_calls["disarm"] = REFUSED
    done = back(world)
    assert done.warnings == (str(REFUSED),)
    assert RolledBack.read(world.rule_tags[rollout_tags.ROLLED_BACK]).release == "bad"


class Cut(World):
    """AWS does not respond for two minutes, from one call on."""

    cut_from = 1_000_000
    cut_until: float | None = None

    def begin_call(self, name: str) -> None:
        if self.calls + 1 >= self.cut_from and name not in {"now", "sleep"}:
            self.cut_until = self.time + 90 if self.cut_until is None else self.cut_until
            if self.time < self.cut_until:
                self.calls += 1
                self.time += CALL_SECONDS
                raise THROTTLED
        super().begin_call(name)


def arrived() -> range:
    """The calls that come after the weights were seen to hold."""
    world = settled()
    back(world)
    first = max(index for index, name in enumerate(world.names) if name == "targets")
    assert "forward" in world.names[:first]
    assert {"disarm", "rule", "tag", "resize"} <= set(world.names[first + 1 :])
    return range(first + 3, world.calls + 1)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), RuntimeError("a defect")], ids=lambda error: type(error).__name__
)
def test_what_has_arrived_stays_when_someone_loses_patience(error: BaseException) -> None:
    """All users are on the good release, and only tags are left to write: an interruption would send them back."""
    for call in arrived():
        world = settled()
        world.faults[call] = Fault(error)
        with pytest.raises(type(error)) as raised:
            back(world)
        assert world.serving() == {"tg-good"}, (call, world.log)
        assert "the traffic stays on good" in raised.value.__notes__[0], call
        assert RolledBack.read(world.rule_tags[rollout_tags.ROLLED_BACK]).release == "bad", call


def test_what_has_arrived_stays_when_the_network_is_gone() -> None:
    """The deploying computer loses its network for two minutes; when it is back, nobody moves the traffic again."""
    for call in arrived():
        world = settled()
        world.__class__ = Cut
        cast("Cut", world).cut_from = call
        with suppress(CloudError):
            back(world)
        assert world.serving() == {"tg-good"}, (call, world.log)


def test_weights_that_were_written_stay_when_the_network_is_gone() -> None:
    """The network goes right after the weights were written: two minutes later all users would be sent back to the bad
    release.
    """
    world = settled()
    back(world)
    written = max(index for index, name in enumerate(world.names) if name == "forward")
    for call in (written + 1, written + 2, written + 3):
        world = settled()
        world.__class__ = Cut
        cast("Cut", world).cut_from = call
        with pytest.raises((Aborted, CloudError), match="the traffic stays on good"):
            back(world)
        assert world.serving() == {"tg-good"}, world.log
        assert RolledBack.read(world.rule_tags[rollout_tags.ROLLED_BACK]).release == "bad"
