"""What the next `pulumi up` does after `fleetswap rollback --now`: it sees it, and agrees or refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fleetswap.domain.errors import Aborted, InputError
from fleetswap.domain.image.source import FileImage
from fleetswap.domain.release.ledger import Entry, HealthCheck, Image, Ledger, Machine
from fleetswap.domain.release.plan import Retention, plan
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.model import Order, Rule
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.strategy import Step, Strategy
from fleetswap.domain.rollout.view import Service
from fleetswap.workflows.rollout.rollback import rollback_now
from fleetswap.workflows.rollout.run import Outcome, observe, roll_out
from tests.fakes.aws import LISTENER
from tests.fakes.world import POLICY, Release, World, order, running, target

NOW = datetime(2026, 11, 26, tzinfo=UTC)
ROLE = "arn:aws:iam::123456789012:role/switch"


def entry(release: str) -> Entry:
    machine = Machine(instance_types=("c7i.large",), on_demand_base=1, on_demand_percent=0)
    health = HealthCheck(port=8080, path="/healthz", codes="200", interval=5, timeout=3, healthy=2, unhealthy=2)
    return Entry(release, Image(f"sha256:{release}", FileImage(f"{release}.raw")), machine, health, max_size=8)


BEFORE = Ledger(live="bad", standby="good", entries=(entry("bad"), entry("good")))
"""What the last `pulumi up` left: `rollback --now` cannot change it."""


def ordered(wanted: str, policy: Policy = POLICY) -> tuple[Order, Ledger]:
    """The order that `pulumi up` makes of the ledger for this release (`fleetswap_pulumi.fleet`), and its ledger."""
    decided = plan(BEFORE, entry(wanted), retention=Retention(3), max_size=8, now=NOW)
    others = [each.release for each in decided.running[1:]]
    standby = decided.standby.release if decided.standby else None
    made = order(decided.wanted.release, *others, standby=standby, policy=policy)
    trusted = BEFORE.trusts(wanted, 3)
    return replace(made, trusted=trusted, switch_role=ROLE), decided.ledger


@pytest.fixture
def world() -> World:
    """`bad` is live with 3 machines and `good` its standby; then someone went back by hand."""
    world = World(good=running(2), bad=running(3, minimum=2), new=Release())
    world.put_traffic(bad=100)
    world.rule_tags |= {rollout_tags.LIVE: "bad", rollout_tags.STANDBY: "good"}
    service = Service("fleetswap/prod", "web", LISTENER, tuple(target(name) for name in ("bad", "good", "new")))
    done = rollback_now(service, None, balancer=world, fleet=world, switch=world, clock=world)
    assert (done.live, done.left, done.warnings) == ("good", "bad", ())
    assert world.serving() == {"tg-good"}
    world.calls, world.names, world.log = 0, [""], []
    return world


def up(world: World, wanted: Order) -> Outcome:
    return roll_out(
        wanted, balancer=world, fleet=world, prober=world, clock=world, switch=world, notifier=world, say=world.say
    )


def test_settings_that_still_want_what_was_left_are_refused(world: World) -> None:
    """A pipeline that runs at night would bring back the release that someone was woken up for."""
    wanted, _ = ordered("bad")
    drift = observe(wanted, balancer=world, fleet=world, switch=world).drift
    assert "the traffic is on good instead of bad" in drift, "or `pulumi up` would see nothing to do, and say so"
    sizes = {name: world.size(name) for name in world.releases}
    moments = len(world.traffic)
    with pytest.raises(
        InputError, match=r"release bad was rolled back with `fleetswap rollback --now` at 2.*fleetswap:rollout\.again"
    ):
        up(world, wanted)
    assert world.serving() == {"tg-good"}
    assert len(world.traffic) == moments
    assert {name: world.size(name) for name in world.releases} == sizes
    assert world.schedule is None
    assert world.rule_tags[rollout_tags.ROLLED_BACK].startswith("bad "), "the next one is refused as well"
    assert [notice.release for notice in world.notices] == ["bad"], "whoever gets the alerts is told"


def test_settings_that_want_what_is_real_move_nothing(world: World) -> None:
    """The settings were put right as the command says, and the update would move the traffic, or not end."""
    wanted, ledger = ordered("good")
    moments = len(world.traffic)
    outcome = up(world, wanted)
    assert (outcome.live, outcome.previous) == ("good", "good")
    assert len(world.traffic) == moments
    assert not {"forward", "restore"} & set(world.names)
    assert (ledger.live, ledger.standby) == ("good", "bad"), "the ledger agrees"
    assert observe(wanted, balancer=world, fleet=world, switch=world).drift == (), "and the update after it has no work"
    assert (world.rule_tags[rollout_tags.LIVE], world.rule_tags[rollout_tags.STANDBY]) == ("good", "bad")
    assert rollout_tags.ROLLED_BACK not in world.rule_tags
    assert world.size("good") == (2, 3)


@pytest.mark.parametrize("allowed", [lambda: ordered("new"), lambda: ordered("bad", replace(POLICY, again=True))])
def test_what_is_allowed_is_rolled_out_from_what_is_real(
    world: World, allowed: Callable[[], tuple[Order, Ledger]]
) -> None:
    """After a way back, no image could be deployed; or its failure would put the traffic on what was left."""
    wanted, ledger = allowed()
    outcome = up(world, wanted)
    assert outcome.live == ledger.live == wanted.candidate.release
    assert outcome.previous in {"good", "tg-good"}
    assert world.serving() == {wanted.candidate.target_group}
    assert rollout_tags.ROLLED_BACK not in world.rule_tags
    assert not world.dark


def test_what_a_hand_has_left_goes_through_the_canary_again(world: World) -> None:
    """The release that someone was woken up for would get all the traffic at once, because the ledger is older."""
    wanted, _ = ordered("bad", replace(POLICY, again=True, strategy=Strategy((Step(10, hold=5),), bake=5)))
    assert wanted.trusted
    outcome = up(world, wanted)
    assert outcome.live == outcome.left == "bad"
    assert {"tg-good", "tg-bad"} in [serving for _, serving in world.traffic]


def test_a_new_image_that_fails_goes_back_to_what_was_real(world: World) -> None:
    """A bad image after a way back would leave the traffic on the release that was left."""
    world.releases["new"] = Release(status=500)
    wanted, _ = ordered("new")
    real: Rule | None = world.rule_now
    with pytest.raises(Aborted, match="new"):
        up(world, wanted)
    assert world.rule_now == real
    assert world.rule_tags[rollout_tags.ROLLED_BACK].startswith("bad ")
