"""The rollout, explored: everything that can go wrong, at every action, and planted bugs that must be found.

`pytest -s tests/rollout/test_simulator.py` prints how much was explored. FLEETSWAP_SIMULATOR_DEPTH=2 lets two things go
wrong in every rollout, in all orders (about six minutes on two idle cores); without it that is done for one strategy.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.rollout import (
    best_effort,
    canary,
    clean_up,
    compare,
    look,
    machine,
    pins,
    rollback,
    scale,
    scale_in,
    settle,
)
from fleetswap.domain.rollout.findings import Finding
from fleetswap.domain.rollout.health import Streak, Verdict
from fleetswap.domain.rollout.messages import Change, Disarm, Seen, Untag
from fleetswap.domain.rollout.model import Group, Order, ReleaseTarget
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import Step
from fleetswap.domain.rollout.transition import Next
from fleetswap.workflows.rollout.weights import Weights
from tests.fakes.sim_world import SimWorld
from tests.rollout import diagram
from tests.rollout.scenarios import BY_NAME, SCENARIOS, Scenario
from tests.rollout.simulator import Explorer, Violation, explored, with_values

pytestmark = pytest.mark.slow

DEPTH = int(os.environ.get("FLEETSWAP_SIMULATOR_DEPTH", "1"))
SEED = 20261124


def _print(what: str, explorer: Explorer) -> None:
    print(
        f"{explorer.scenario.name}, {what}: {explorer.ends:,} rollouts, {explorer.actions:,} states,"
        f" {len(explorer.situations):,} of them different; ends: {dict(explorer.outcomes)}"
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[diagram.TOGETHER] if name in diagram.DRAWN else []) for name in BY_NAME],
)
def test_everything_that_can_go_wrong_once(name: str) -> None:
    """One crash, fault, or disaster at some action would lose traffic, capacity, a pin or a schedule."""
    explorer = explored(name, DEPTH)
    _print(f"depth {DEPTH}", explorer)
    assert explorer.ends > 250


def test_two_things_that_go_wrong_in_all_orders() -> None:
    """A crash in the run after a crash, or a fault on top of one, would lose what each alone does not."""
    explorer = Explorer(BY_NAME["first deploy"])
    explorer.explore(2)
    _print("depth 2", explorer)
    faults = ("refusal", "5xx after the effect", "Ctrl-C", "stale reads", *CRASHES)
    explorer = Explorer(BY_NAME["all at once"], faults=faults)
    explorer.explore(2)
    _print(f"depth 2 of {len(faults)} faults", explorer)


CRASHES = ("crash before the action", "crash after the action")


TWO = [
    ("all at once", "next"),
    ("all at once", "back"),
    ("rollback", "next"),
    ("rollback", "back"),
    ("rollback", "now"),
    ("back to a warm standby", "next"),
    ("back to a warm standby", "now"),
]


@pytest.mark.parametrize(
    ("name", "who"), TWO if DEPTH == 1 else [(name, who) for name in BY_NAME for who in ("next", "back", "now")]
)
def test_two_deployers_at_once(name: str, who: str) -> None:
    """Two rollouts of one service would put traffic where the other takes machines away, or leave two releases live."""
    explorer = Explorer(BY_NAME[name])
    explorer.interleave(who)
    _print(f"two at once ({who})", explorer)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_many_things_that_go_wrong_at_random(scenario: Scenario) -> None:
    """Troubles seldom come alone: a rollout that survives each of them would not survive the lot."""
    explorer = Explorer(scenario)
    explorer.wander(SEED, runs=40 * DEPTH)
    _print("at random", explorer)


def test_the_quick_way_makes_the_same_states() -> None:
    """The simulator would explore another machine than the one that runs."""
    before = machine.begin(BY_NAME["canary"].order, 1.0, "run")
    changes: dict[str, Any] = {"phase": Phase.GATE, "wanted": 3, "deadline": 7.0}
    assert with_values(before, **changes) == replace(before, **changes)
    assert before == machine.begin(BY_NAME["canary"].order, 1.0, "run"), "and leave the former one as it is"
    with pytest.raises(TypeError):
        with_values(before, fase=Phase.GATE)


# Planted bugs: the simulator must find each of them


def _no_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live is not held at its size, so target tracking takes away what the put-back needs."""

    def nothing(_state: State, _seen: Seen) -> list[Change]:
        return []

    monkeypatch.setattr(pins, "pin_live", nothing)


def _weights_of_101(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(candidate: ReleaseTarget, served: frozenset[str], step: Step) -> tuple[tuple[str, int], ...]:
        return ((min(served), 101 - step.weight), (candidate.target_group, step.weight))

    monkeypatch.setattr(canary, "weights", wrong)


def _no_data_is_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = canary.judge

    def careless(found: tuple[Finding, ...], streak: Streak, **limits: object) -> canary.Judgement:
        passed = tuple(
            replace(finding, verdict=Verdict.PROMOTE) if finding.verdict is Verdict.WAIT else finding
            for finding in found
        )
        return judge(passed, streak, **limits)  # type: ignore[arg-type] # handed through

    monkeypatch.setattr(canary, "judge", careless)


def _switch_left_armed(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = clean_up.changes

    def forgetful(state: State, serving: frozenset[str], now: float) -> list[Change]:
        return [change for change in changes(state, serving, now) if not isinstance(change, Disarm)]

    monkeypatch.setattr(clean_up, "changes", forgetful)


def _no_take_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch of a rollout that died stays armed, and nothing is brought home."""

    def nothing(_state: State, _seen: Seen) -> list[Change]:
        return []

    monkeypatch.setattr(look, "take_over", nothing)
    monkeypatch.setattr(look, "bring_home", nothing)


def _marks_left(monkeypatch: pytest.MonkeyPatch) -> None:
    release = pins.release

    def careless(state: State, target: ReleaseTarget) -> list[Change]:
        return [change for change in release(state, target) if not isinstance(change, Untag)]

    monkeypatch.setattr(pins, "release", careless)


def _clean_up_before_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The candidate loses its machines while it still has traffic (and the executor's last guard is off)."""
    fail = compare.fail

    def hasty(state: State, *reason: object) -> State:
        return fail(replace(state, moved=False), *reason)  # type: ignore[arg-type] # handed through

    monkeypatch.setattr(compare, "fail", hasty)
    monkeypatch.setattr("fleetswap.workflows.rollout.executor.Executor._refuse_if_serving", lambda *_: None)


def _scale_in_stays_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was planned for the case that we die ends the machines of the new live release an hour later."""
    monkeypatch.setattr(State, "is_planned_ahead", False)


def _weights_take_effect_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has just lost its traffic is scaled in, as if DescribeRules told what the nodes do."""

    def none(_state: State, _side: ReleaseTarget, _now: float) -> float:
        return 0.0

    monkeypatch.setattr(scale_in, "left", none)
    monkeypatch.setattr("tests.fakes.sim_world.CONVERGENCE", 8)  # longer than the settle takes to come to it


def _only_health_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that AWS is ending answer for some seconds more, and get the traffic."""
    group = SimWorld.group

    def always_enough(world: SimWorld, name: str) -> Group | None:
        found = group(world, name)
        return found if found is None else replace(found, desired=max(found.desired, 3))

    monkeypatch.setattr(SimWorld, "group", always_enough)


def _machines_before_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """What had the traffic is scaled in while the switch would still put the traffic on it."""
    changes = settle.changes

    def late(state: State, seen: Seen, now: float) -> list[Change]:
        return [*changes(state, seen, now), Disarm()]

    def at_once(state: State, now: float) -> Next:
        return enter(replace(state, armed_until=None), now)

    enter = settle.enter
    monkeypatch.setattr(settle, "changes", late)
    monkeypatch.setitem(machine.ENTER, Phase.SETTLE, at_once)


def _nobody_hears_an_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    group = SimWorld.group

    def deaf(world: SimWorld, name: str) -> Group | None:
        found = group(world, name)
        return found if found is None else replace(found, abort=None)

    monkeypatch.setattr(SimWorld, "group", deaf)


def _each_machine_is_one_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Weights, "targets", lambda self, arn: self._balancer.targets(arn))


# The same in `fleetswap rollback --now`


def _a_refusal_holds_up_the_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_state: State, _event: object, _now: float) -> None:
        return None

    monkeypatch.setattr(best_effort, "skipped", never)


def _everything_can_be_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planned scale-in that may not be cancelled, or machines that may not be launched, are only a warning."""

    def always(_state: State, _change: Change) -> bool:
        return True

    monkeypatch.setattr(best_effort, "_is_beside", always)


def _the_switch_undoes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch of the rollout that is given up stays armed."""
    monkeypatch.setattr(SimWorld, "disarm", lambda *_: None)


def _the_plan_outlives_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its switch nobody takes the traffic off a candidate that AWS ends an hour later."""

    def nothing(_order: Order, _seen: Seen, _serving: frozenset[str]) -> list[Change]:
        return []

    monkeypatch.setattr(look, "_unplan", nothing)


def _what_was_left_is_scaled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(state: State, target: ReleaseTarget, group: Group) -> list[Change]:
        return [*scale_in.changes(state, target, group, 1000), *pins.release(state, target)]

    monkeypatch.setattr(settle, "_kept", gone)


def _nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next `pulumi up` brings back the release that was left."""
    made = rollback.order

    def silent(*what: Any, **how: Any) -> Order:
        order = made(*what, **how)
        return replace(order, terms=replace(order.terms, rolled_back=""))

    monkeypatch.setattr(rollback, "order", silent)


def _as_many_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live has scaled out, and the release that it goes back to has not."""

    def minimum(order: Order, _seen: Seen, _served: frozenset[str]) -> int:
        return order.policy.minimum

    monkeypatch.setattr(scale, "demand", minimum)


BUGS: list[tuple[Callable[[pytest.MonkeyPatch], None], str, str]] = [
    (_no_pins, "canary", "have traffic, live had"),
    (_no_pins, "the load shrinks", "have traffic, live had"),
    (_each_machine_is_one_unit, "weights", "a good candidate was not deployed"),
    (_weights_of_101, "canary", "do not sum to 100"),
    (_no_data_is_a_pass, "5xx under load", "a bad candidate got all the traffic"),
    (_switch_left_armed, "canary", "the switch is still armed"),
    (_no_take_over, "all at once", "are live instead of one|held at|still|will be scaled in"),
    (_marks_left, "all at once", "still has the tags"),
    (_clean_up_before_the_weights, "canary", "no healthy machine|healthy machines have|instead of one"),
    (_scale_in_stays_planned, "rollback", "will be scaled in"),
    (_weights_take_effect_at_once, "all at once, no standby", "nodes of the load balancer may use them"),
    (_only_health_counts, "rollback", "no healthy machine|healthy machines have|loses machines|was not deployed"),
    (_machines_before_the_switch, "all at once, no standby", "no healthy machine|healthy machines have"),
    (_nobody_hears_an_abort, "canary, aborted half-way", "a bad candidate got all the traffic"),
    (_a_refusal_holds_up_the_traffic, "back with weights only", "a good candidate was not deployed"),
    (_everything_can_be_done_without, "back to a warm standby", "new is live, and will be scaled in"),
    (_the_switch_undoes_it, "back past live, while the switch fires", "a success, but|the switch is still armed"),
    (_the_plan_outlives_the_switch, "back out of a canary", "new loses machines"),
    (_what_was_left_is_scaled_in, "back to a warm standby", "there is no way back from the way back"),
    (_nobody_is_told, "back to a warm standby", "the rule says"),
    (_as_many_as_the_settings_say, "back to a cold standby", "healthy machines have traffic, live had 3"),
]


@pytest.mark.parametrize(
    ("plant", "name", "words"), BUGS, ids=[f"{plant.__name__.strip('_')}, {name}" for plant, name, _ in BUGS]
)
def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None], name: str, words: str
) -> None:
    """The simulator would find nothing because it looks at nothing."""
    plant(monkeypatch)
    with pytest.raises(Violation, match=words) as found:
        Explorer(BY_NAME[name]).explore(1)
    print(str(found.value).split("\n", 1)[0])
