"""The default settings against load balancers as AWS has them: figures of a minute, one to two minutes late, in parts.

The real machine and the real executor, in the simulator's world. What the rollout takes is what README and
docs/explanation/rollout.md say.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.rollout.messages import End, Kind
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.strategy import Step, Strategy
from fleetswap_pulumi.policy import RolloutSettings
from tests.fakes.sim_world import Fleet, SimWorld
from tests.rollout.scenarios import order_for
from tests.rollout.simulator import Deployer

DEFAULT = RolloutSettings().policy(2).to_policy()
STEEP = replace(DEFAULT, strategy=Strategy((Step(5, 60, 20), Step(25, 60, 100)), bake=60))
"""A canary of two steps, as the review had it."""

LATE = [(0, 0), (30, 30), (60, 60), (60, 120), (120, 120), (120, 150)]
"""Within how many seconds after its minute a figure comes; each metric of each node at a time of its own."""


def deploy(policy: Policy, late: tuple[int, int], *, skew: float = 0, **candidate: float) -> Deployer:
    """A whole rollout of one release over another, at 50 requests a second."""
    world = SimWorld(new=Fleet(**candidate), live=Fleet(2, 2))  # type: ignore[arg-type] # names of its fields
    world.late, world.period, world.requests, world.skew = late, 60, 50, int(skew)
    world.start({"live": 100}, load=2)
    world.advance(17)
    deployer = Deployer(order_for("new", policy, others=("live",)), world, "run")
    while not deployer.ended:
        deployer.act()
        assert not world.broken
    return deployer


def end(deployer: Deployer) -> End:
    assert isinstance(deployer.state.doing, End)
    return deployer.state.doing


def failed(deployer: Deployer) -> int:
    """Requests that users sent in vain."""
    return round(sum(errors + dropped for _, errors, dropped, _ in deployer.world.counted.values()))


@pytest.mark.parametrize("late", LATE, ids=str)
@pytest.mark.parametrize("how", ["error_rate", "drop_rate"])
@pytest.mark.parametrize("rate", [1.0, 0.5])
@pytest.mark.parametrize("share", [0.05, 0.25, 1.0])
def test_a_release_that_fails_from_a_step_on_never_gets_further(
    late: tuple[int, int], how: str, rate: float, share: float
) -> None:
    """The figures of the steps before would pass it: all its users would be failed when the rollout has succeeded."""
    deployer = deploy(STEEP, late, **{how: rate, "worse_from": share})
    assert end(deployer).kind is Kind.ABORTED
    assert deployer.world.serving() == {"live"}
    weights = [dict(weights).get("tg-new") for weights in deployer.state.written if len(weights) > 1]
    assert max(weight or 0 for weight in weights) <= 100 * share, "it is caught in the step in which it begins to fail"
    print(f"{how} {rate} from {share}: {failed(deployer):,} requests failed, {end(deployer).reason}")
    # Of the minute in which the weights change too little may be left to tell by; then it is the one after it.
    assert failed(deployer) <= rate * share * 50 * (60 + 60 + late[1] + 10)


@pytest.mark.parametrize("late", LATE, ids=str)
def test_what_drops_requests_is_caught_as_soon_as_what_answers_500(late: tuple[int, int]) -> None:
    """A release that crashes on its users' requests would be kept longer than one that says what is wrong."""
    says, drops = (deploy(DEFAULT, late, **{how: 0.6}) for how in ("error_rate", "drop_rate"))
    assert drops.world.time <= says.world.time + 5


@pytest.mark.parametrize("late", [*LATE, (60, 135), (100, 160)], ids=str)
@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.05, 0.0), (0.02, 0.03), (0.4, 0.2)], ids=str)
def test_a_release_as_good_as_live_is_not_aborted(late: tuple[int, int], rates: tuple[float, float]) -> None:
    """Figures that come late or in parts would end a good deploy, or a fix in an incident."""
    both = {"error_rate": rates[0], "drop_rate": rates[1]}
    world = SimWorld(new=Fleet(**both), live=Fleet(2, 2, **both))  # type: ignore[arg-type] # names of its fields
    world.late, world.period, world.requests = late, 60, 50
    world.start({"live": 100}, load=2)
    deployer = Deployer(order_for("new", DEFAULT, others=("live",)), world, "run")
    while not deployer.ended:
        deployer.act()
    assert end(deployer).kind is None, end(deployer).reason
    assert world.serving() == {"new"}


@pytest.mark.parametrize("skew", [-3600, -300, 300, 3600])
def test_the_deployers_clock_does_not_matter(skew: int) -> None:
    """A slow clock would switch the judgement off."""
    bad = deploy(DEFAULT, (60, 120), skew=skew, error_rate=0.5)
    assert end(bad).kind is Kind.ABORTED
    assert "5xx: candidate" in end(bad).reason
    good = deploy(DEFAULT, (60, 120), skew=skew)
    assert end(good).kind is None


def test_without_data_nothing_is_passed() -> None:
    """No data would be a pass, or a rollout would wait for ever; and before the dead man's switch fires it must end."""
    deployer = deploy(DEFAULT, (3600, 3600))
    assert end(deployer).kind is Kind.ABORTED
    assert "not enough evidence in time: the number of requests is unknown" in end(deployer).reason
    assert not deployer.world.fired


@pytest.mark.parametrize("late", [(60, 60), (60, 120), (120, 120), (120, 150)], ids=str)
def test_how_long_a_default_deploy_takes(late: tuple[int, int]) -> None:
    """README and docs/explanation/rollout.md would promise another time than the default settings need."""
    deployer = deploy(DEFAULT, late)
    steps = len(DEFAULT.strategy.plan(trusted=False))
    seconds = deployer.world.time - 17
    print(f"figures {late} s late: {seconds} s for {steps} watched steps")
    assert 255 * steps <= seconds <= 385 * steps + 20


@pytest.mark.parametrize("after", [0, 2, 20])
def test_a_trouble_of_both_when_the_weights_change_ends_no_deploy(after: int) -> None:
    """A database that stumbles for seconds, when the candidate gets more traffic, would look like the candidate's."""
    world = SimWorld(new=Fleet(), live=Fleet(2, 2))
    world.late, world.period, world.requests = (60, 120), 60, 1000
    world.start({"live": 100}, load=2)
    world.advance(5)
    deployer = Deployer(order_for("new", STEEP, others=("live",)), world, "run")
    weights, moved = world.rule_now, 0
    while not deployer.ended:
        if world.rule_now != weights:
            weights, moved = world.rule_now, world.time
        in_trouble = moved and moved + after <= world.time < moved + after + 5
        for fleet in world.releases.values():
            fleet.error_rate = 0.2 if in_trouble else 0.0
        deployer.act()
    assert end(deployer).kind is None, end(deployer).reason
    assert failed(deployer) > 2000


def test_a_hold_is_watched_to_its_end() -> None:
    """A release that begins to fail late in a long hold would be passed by the minutes before."""
    policy = replace(DEFAULT, strategy=Strategy((Step(10, hold=300),), bake=60))
    world = SimWorld(new=Fleet(), live=Fleet(2, 2))
    world.late, world.period, world.requests = (60, 120), 60, 50
    world.start({"live": 100}, load=2)
    deployer = Deployer(order_for("new", policy, others=("live",)), world, "run")
    since = 0
    while not deployer.ended:
        since = since or (world.time if len(world.serving()) == 2 else 0)
        world.releases["new"].error_rate = 0.5 if since and world.time >= since + 240 else 0.0
        deployer.act()
    assert end(deployer).kind is Kind.ABORTED
    assert "with 10 % of the traffic" in end(deployer).reason
