"""Explores what can happen to a rollout: the real state machine and the real executor, in a world that goes wrong.

`explore` runs a rollout and, at every action, also every world in which one more thing goes wrong there, up to a given
depth; `wander` lets many things go wrong at random. A deployer that dies is followed by its guardian, or by the dead
man's switch, by the next run, or by both in either order. After every action the world judges its invariants
(`SimWorld.judge`), after every end the simulator judges its own (`Explorer._judge_end`). What is found is a
`Violation`, with the story that led to it.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any
from unittest.mock import patch

from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout import machine
from fleetswap.domain.rollout.messages import (
    Broke,
    CancelScaleIn,
    Compare,
    Confirm,
    End,
    Explain,
    Follow,
    Kind,
    Look,
    Probe,
    ReadEvidence,
    ReadHealth,
    ReadImages,
    ReadRule,
    Restore,
    Route,
    RunHook,
    ScheduleScaleIn,
    TagRule,
    Unanswered,
    Wait,
)
from fleetswap.domain.rollout.model import Order, ReleaseTarget
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.workflows.rollout.executor import Executor, Ports
from tests.fakes.sim_world import SLOW_OUT, Fleet, SimWorld
from tests.rollout import invariants
from tests.rollout.scenarios import (
    ALL_FAULTS,
    BY_HAND,
    BY_NAME,
    CALL_FAULTS,
    CRASHES,
    FREEZES,
    HALF,
    HALF_CRASH,
    HELD,
    LATE,
    WORLD_FAULTS,
    Scenario,
    abort_rollout,
    order_for,
    rollback_order,
    target,
)

READINGS = (Look, ReadHealth, ReadImages, Probe, Confirm, ReadEvidence, Explain, Compare, ReadRule, RunHook)
COMPOSITE = (ScheduleScaleIn, CancelScaleIn, Follow, TagRule)
"""Changes that take two calls."""
SUCCESSORS = ("next", "back", "switch", "now", "third")
"""Who comes after a deployer that died: the same order, the one to go back, first the switch, `fleetswap rollback
--now`, another release."""
SLEPT = ("held up", "crash", "another deployer", "rollback by hand", "throttle", "5xx")
"""Mishaps after which a deployer may not have pushed out the switch in time."""
SOON = 60
LONG = 200
"""Seconds after which the switch has fired."""
LONGER = 5000
"""Seconds after which also the machines of what nobody looks after have ended."""


class Violation(AssertionError):
    """An invariant that does not hold, and how it came to that."""


PLAIN: dict[type[Any], frozenset[str]] = {}
"""The fields of the classes whose `__init__` checks and makes nothing; none of the others."""


def with_values(value: Any, /, **changes: Any) -> Any:
    """`dataclasses.replace`, which takes a third of the simulator's time, for the fifty fields of a `State` above all.

    Where there is nothing that `__init__` checks or makes, the values are taken over as they are.
    """
    kind = type(value)
    if kind not in PLAIN:
        is_plain = not hasattr(kind, "__post_init__") and all(each.init for each in fields(kind))
        PLAIN[kind] = frozenset(each.name for each in fields(kind) if is_plain)
    if not PLAIN[kind].issuperset(changes):
        return replace(value, **changes)
    other = object.__new__(kind)
    other.__dict__.update(value.__dict__)
    other.__dict__.update(changes)
    return other


@contextmanager
def quick_states() -> Iterator[None]:
    """The machine makes its states with `with_values`."""
    modules = [module for name, module in sys.modules.items() if name.startswith("fleetswap.domain.rollout.")]
    with ExitStack() as stack:
        for module in modules:
            if getattr(module, "replace", None) is replace:
                stack.enter_context(patch.object(module, "replace", with_values))
        yield


@dataclass
class Deployer:
    """One run of one order, which can be copied at any moment."""

    order: Order
    world: SimWorld
    run: str
    state: State = field(init=False)
    weighted: dict[str, ReleaseTarget] = field(default_factory=dict)
    """With `units`, what its process has learned of machines with weights (`workflows.rollout.weights`)."""
    units: dict[str, int] = field(default_factory=dict)
    frozen: bool = False
    """Whether the service was frozen when this process looked, so that it may move no traffic to a new release."""

    def __post_init__(self) -> None:
        self.state = machine.begin(self.order, self.world.now(), self.run)

    def copy(self, world: SimWorld) -> Deployer:
        other = Deployer.__new__(Deployer)
        other.order, other.world, other.run, other.state = self.order, world, self.run, self.state
        other.weighted, other.units, other.frozen = dict(self.weighted), dict(self.units), self.frozen
        return other

    @property
    def ended(self) -> bool:
        return isinstance(self.state.doing, End)

    def take_up(self, kept: State) -> None:
        """Go on as the guardian of a run that has died, from the state that it kept (`workflows.rollout.take_up`)."""
        self.state = kept
        self.weighted, self.units = {}, {}
        if not kept.phase.is_back:
            self.state = machine.step(kept, Broke("the deploying process died", Kind.ABORTED), self.world.now())

    def act(self, mode: str = "") -> None:
        """Do one action, in the time of one second, as the loop of the workflow does it."""
        world, action = self.world, self.state.doing
        if isinstance(action, Look) and action.first:
            self.frozen = invariants.is_stopped(self.order, world)
        before = world.weight_of(self.order.candidate.release)
        world.mode = mode
        try:
            ports = Ports(world, world, world, world, world, world, None, world, world, world)
            executor = Executor(self.order, ports, self.run)
            executor._weights._weighted, executor._weights._units = self.weighted, self.units
            event = executor.do(action)
        except TryAgain as error:
            event = Unanswered(str(error))
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - as in the loop
            event = Broke(str(error), refused=isinstance(error, CloudError))
        finally:
            world.mode = ""
        if self.frozen and isinstance(action, Route) and world.weight_of(self.order.candidate.release) > before:
            world.broken.append(f"{world.time}: the service is frozen, and {self.order.candidate.release} gets traffic")
        if not isinstance(action, Wait):
            world.advance(1)
        phase = self.state.phase
        self.state = machine.step(self.state, event, world.now())
        if phase is Phase.HOOK and self.state.phase is not Phase.HOOK:
            world.stop()


@dataclass
class Explorer:
    """Runs scenarios and counts what was seen. `faults` are the names of what may go wrong."""

    scenario: Scenario
    faults: Sequence[str] = ALL_FAULTS
    ends: int = 0
    actions: int = 0
    situations: set[tuple[object, ...]] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)
    ways: set[tuple[Phase, Phase]] = field(default_factory=set)
    """From which phase to which other one a single event led."""
    patience: int = 1
    """How many violations are collected before the first of the last is raised."""
    violations: list[Violation] = field(default_factory=list)
    _runs: int = 0
    _tried: set[tuple[object, ...]] = field(default_factory=set)

    def explore(self, depth: int) -> None:
        """Every order of up to `depth` things that go wrong."""
        with quick_states():
            self._follow(self._first(), (), depth)

    def wander(self, seed: int, runs: int, chance: float = 0.06) -> None:
        """Many things that go wrong at random moments."""
        dice = random.Random(seed)  # noqa: S311 - no secret
        with quick_states():
            for _ in range(runs):
                self._wander(self._first(), dice, chance)

    def interleave(self, who: str) -> None:
        """A second deployer begins at any moment, and is itself held up at any moment until the first has ended.

        Two at once may pull at the same pins, so capacity is not judged; users, and where the traffic ends, are.
        """
        with quick_states():
            self._interleave(who)

    def _interleave(self, who: str) -> None:
        first = self._first()
        first.world.needed = 0
        while not first.ended:
            one = first.copy(first.world.copy())
            other = self._successor(one, who, ())
            if other is None:
                self._act(first, ())
                continue
            begun = self._said(first, "another deployer begins")
            while not other.ended:
                self._meet(one, other, (begun, self._said(other, "it is held up")))
                self._act(other, (begun,))
            self._meet(one, other, (begun,))
            self._act(first, ())

    def _meet(self, one: Deployer, other: Deployer, story: tuple[str, ...]) -> None:
        """The first one goes on to its end, then the other one; what they leave, the next one puts right."""
        world = one.world.copy()
        one, other = one.copy(world), other.copy(world)
        for deployer in (one, other):
            while not deployer.ended:
                self._act(deployer, story)
        for name in world.serving():
            if world.releases[name].scale_in_at is not None or len(world.serving()) != 1:
                what = f"{sorted(world.serving())} serve, one of which is to be scaled in"
                raise Violation(self._tell(other, story, f"{what}: {one.state.doing} and {other.state.doing}"))
        self._follow(self._next(other, story), (*story, "then next"), 0)

    def _wander(self, deployer: Deployer, dice: random.Random, chance: float) -> None:
        story: tuple[str, ...] = ()
        while not deployer.ended:
            mode = ""
            if dice.random() < chance and len(story) < 8:
                fault = dice.choice(self.faults)
                if not self._fits(deployer, fault):
                    continue
                story = (*story, self._said(deployer, fault))
                if fault in CRASHES:
                    if fault != CRASHES[0]:
                        deployer.act("half" if fault == HALF_CRASH else "")
                        self._judge(deployer, story)
                    deployer = self._successor(deployer, dice.choice(["next", "back", "switch", "now"]), story) or (
                        self._next(deployer, story)
                    )
                    continue
                mode = self._goes_wrong(deployer, fault, story)
            self._act(deployer, story, mode)
        self._judge_end(deployer, story)

    def _first(self) -> Deployer:
        """Who does what the scenario asks for."""
        world = self.scenario.make()
        order = rollback_order(world, self.scenario.to) if self.scenario.back else self.scenario.order
        assert order is not None
        first = self._deployer(order, world)
        if self.scenario.aborted is not None:
            while first.state.phase is not self.scenario.aborted:
                self._act(first, ())
            abort_rollout(world)
        return first

    def _deployer(self, order: Order, world: SimWorld) -> Deployer:
        self._runs += 1
        return Deployer(order, world, f"run-{self._runs}")

    def _follow(self, deployer: Deployer, story: tuple[str, ...], depth: int) -> None:
        while not deployer.ended:
            if depth:
                for fault in self._possible(deployer):
                    if story and not self._is_new(deployer, fault, depth):
                        continue
                    try:
                        self._fork(deployer.copy(deployer.world.copy()), fault, story, depth - 1)
                    except Violation as violation:
                        self.violations.append(violation)
                        if len(self.violations) >= self.patience:
                            raise
            self._act(deployer, story)
        self._judge_end(deployer, story)

    def _is_new(self, deployer: Deployer, fault: str, depth: int) -> bool:
        """Whether this has not gone wrong in this situation yet; the first mishap of a story is tried everywhere."""
        key = (self._situation(deployer), deployer.order.candidate.release, fault, depth)
        if key in self._tried:
            return False
        self._tried.add(key)
        return True

    def _possible(self, deployer: Deployer) -> Iterator[str]:
        action = deployer.state.doing
        watching = isinstance(action, Wait) and isinstance(action.then, ReadEvidence)
        for fault in self.faults:
            if watching and fault not in {"Ctrl-C", "held up"}:
                continue  # it goes wrong at the reading that comes next: minutes of waiting are no other situation
            if isinstance(action, Wait) and (fault in CALL_FAULTS or fault in CRASHES) and fault != "Ctrl-C":
                continue
            if isinstance(action, READINGS) and fault in {"5xx after the effect", "crash after the action"}:
                continue
            if self._fits(deployer, fault):
                yield fault

    def _fits(self, deployer: Deployer, fault: str) -> bool:
        """Whether a fault that belongs to certain actions only can come at this one."""
        if fault in {HALF, HALF_CRASH}:
            return isinstance(deployer.state.doing, COMPOSITE)
        if fault == BY_HAND:
            return rollback_order(deployer.world, "live") is not None
        return fault != LATE or self._is_due(deployer)

    def _is_due(self, deployer: Deployer) -> bool:
        """Whether the candidate's planned scale-in, which is deleted or moved now, may be carried out right then."""
        action, fleet = deployer.state.doing, deployer.world.releases[deployer.order.candidate.release]
        if not isinstance(action, (CancelScaleIn, ScheduleScaleIn)) or action.target != deployer.order.candidate:
            return False
        return fleet.scale_in_at is not None and fleet.scale_in_at - deployer.world.time < SOON

    def _said(self, deployer: Deployer, fault: str) -> str:
        return f"{fault} at {deployer.state.phase}: {deployer.state.doing}"

    def _fork(self, deployer: Deployer, fault: str, story: tuple[str, ...], depth: int) -> None:
        story = (*story, self._said(deployer, fault))
        if fault not in CRASHES:
            self._act(deployer, story, self._goes_wrong(deployer, fault, story))
            self._follow(deployer, story, depth)
            return
        kept = deployer.state
        if fault != CRASHES[0]:
            self._act(deployer, story, "half" if fault == HALF_CRASH else "")
            if deployer.ended:
                return
        self._nobody_comes(deployer.copy(deployer.world.copy()), story)
        # The last two come only after a lone mishap, and where there is one to come from.
        alone = "live" in deployer.world.releases and len(story) == 1 and not depth
        for who in SUCCESSORS if alone else SUCCESSORS[:-2]:
            world = deployer.world.copy()
            successor = self._successor(deployer.copy(world), who, story)
            if successor is None:
                continue
            self._follow(successor, (*story, f"then {who}"), depth)
        deployer.take_up(kept)
        self._follow(deployer, (*story, "then its guardian"), depth)

    def _goes_wrong(self, deployer: Deployer, fault: str, story: tuple[str, ...]) -> str:
        """Change the world; the answer is how the next action fails."""
        if fault == BY_HAND:
            order = rollback_order(deployer.world, "live")
            assert order is not None
            other = self._deployer(order, deployer.world)
            while not other.ended:
                self._act(other, story)
            return ""
        if fault in CALL_FAULTS:
            return CALL_FAULTS[fault]
        phase = deployer.state.phase
        if fault == "the load grows" and (phase is Phase.SHIFT or phase.is_back):
            deployer.world.grow(noticed=False)  # after the last look no one can know
            return ""
        if fault == "held up" and deployer.world.time < deployer.world.disturbed_until:
            deployer.world.disturb(HELD)  # no one is there to answer to what has just happened but the switch
        (WORLD_FAULTS | FREEZES)[fault](deployer.world)
        if fault == "held up" and isinstance(deployer.state.doing, Route):
            deployer.world.disturb(SLOW_OUT)  # the weights are written long after they were decided on
        return ""

    def _nobody_comes(self, dead: Deployer, story: tuple[str, ...]) -> None:
        """Whatever is planned happens, and users are served all the same."""
        dead.world.forget_load()
        dead.world.advance(LONGER)
        self._judge(dead, (*story, "then nobody"))

    def _next(self, dead: Deployer, story: tuple[str, ...]) -> Deployer:
        found = self._successor(dead, "next", story)
        assert found is not None
        return found

    def _successor(self, dead: Deployer, who: str, story: tuple[str, ...]) -> Deployer | None:
        """Who comes after a deployer that died (`SUCCESSORS`); None if that one refuses to begin."""
        world = dead.world
        if who != "now":
            world.denied = frozenset()  # of those who are woken up, not of those who deploy
        if who == "switch":
            armed, home = world.schedule is not None, dead.state.home
            world.advance(LONG)
            self._judge(dead, story)
            if armed and home is not None and world.rule_now is not None and world.rule_now != home:
                raise Violation(self._tell(dead, story, "the switch did not bring the traffic home"))
        order = rollback_order(world) if who == "now" else self._order(who, world)
        return None if order is None else self._deployer(order, world)

    def _agreed(self, back: Deployer) -> Deployer:
        """The next `pulumi up` after a rollback by hand, with settings put right: nothing is left for ever."""
        release, world = back.order.candidate.release, back.world.copy()
        world.denied = frozenset()
        others = [name for name in world.releases if name != release]
        order = order_for(release, self.scenario.order.policy, standby=back.order.standby, others=others, trusted=True)
        switch_role = self.scenario.order.switch_role
        return self._deployer(replace(order, candidate=target(release), switch_role=switch_role), world)

    def _order(self, who: str, world: SimWorld) -> Order:
        """The order of a later run: to go back to live, or the same again."""
        order = self.scenario.order
        if who == "third":
            world.releases.setdefault("third", Fleet())
            third = order_for(
                "third", order.policy, others=[name for name in ("live", "old") if name in world.releases]
            )
            order = replace(third, switch_role=order.switch_role)
        if who == "back" and "live" in world.releases:
            others = [name for name in world.releases if name != "live"]
            back = order_for("live", order.policy, standby=None, others=others, trusted=True)
            order = replace(back, candidate=target("live"), switch_role=order.switch_role)
        return replace(order, policy=replace(order.policy, again=True))

    def _act(self, deployer: Deployer, story: tuple[str, ...], mode: str = "") -> None:
        before, doing, fired = deployer.state.phase, deployer.state.doing, deployer.world.fired
        deployer.act(mode)
        self.actions += 1
        if before in {Phase.HOOK, Phase.PAUSE}:
            if isinstance(doing, (Route, Restore)):
                raise Violation(self._tell(deployer, story, f"a weight is written in {before}"))
            if deployer.world.fired and not fired and not any(part.startswith(SLEPT) for part in story):
                raise Violation(self._tell(deployer, story, f"the switch fires in {before}, and the deployer lives"))
        if deployer.state.phase is not before:
            self.ways.add((before, deployer.state.phase))
        self._judge(deployer, story)

    def _judge(self, deployer: Deployer, story: tuple[str, ...]) -> None:
        self.situations.add(self._situation(deployer))
        world = deployer.world
        if world.broken:
            raise Violation(self._tell(deployer, story, world.broken[0]))

    def _situation(self, deployer: Deployer) -> tuple[object, ...]:
        """What the machine does in what world, without times and numbers of tries."""
        world, state = deployer.world, deployer.state
        fleets = tuple(
            (fleet.minimum, fleet.desired, world.healthy(name), tuple(sorted(fleet.tags)), fleet.scale_in_at is None)
            for name, fleet in world.releases.items()
        )
        weights = world.rule_now.weights if world.rule_now else None
        doing = state.doing.then if isinstance(state.doing, Wait) else state.doing
        armed = None if world.schedule is None else world.schedule[2] == deployer.run
        home = state.home.weights if state.home else None
        return (state.phase, type(doing), weights, armed, fleets, home, state.ending.kind)

    def _judge_end(self, deployer: Deployer, story: tuple[str, ...]) -> None:
        """The invariants of every end, now and when all that was planned has happened."""
        self.ends += 1
        world, state, end = deployer.world, deployer.state, deployer.state.doing
        if not isinstance(end, End) or state.phase is not Phase.DONE:
            raise Violation(self._tell(deployer, story, "no end"))
        self.outcomes[str(end.kind or "success")] += 1
        shared = len(world.serving()) > 1 and "someone else moved" in end.reason
        if state.first is None or "took over" in end.reason or shared:
            # It could not even look, or left the field to another; the next one promises for both.
            self._follow(self._next(deployer, story), (*story, "then next"), 0)
            return
        if end.kind is None and any(part.startswith("rollback by hand at settle") for part in story):
            # As if it had come a second later, when all was done: the next run is told to agree.
            back = self._successor(deployer, "back", story)
            assert back is not None
            self._follow(back, ("then back, after a rollback by hand",), 0)
            return
        found = list(invariants.wrong(self.scenario, world, state, end, story))
        if not found and end.kind is None and state.order.terms.keeps_all:
            found = list(invariants.left(world, state, story))
            self._follow(self._agreed(deployer), (*story, "then `pulumi up` agrees"), 0)
        if not found and not end.problems:
            planned = [world.releases[name].scale_in_at for name in world.serving()]
            world.advance(max([LONG, *(at - world.time for at in planned if at is not None)]))
            found = [
                f"later: {what}" for what in (*world.broken, *invariants.wrong(self.scenario, world, state, end, story))
            ]
        for what in found:
            raise Violation(self._tell(deployer, story, f"{what}; ended with: {end}"))

    def _tell(self, deployer: Deployer, story: tuple[str, ...], what: str) -> str:
        return "\n".join(
            [f"{self.scenario.name}: {what}", *story, f"at {deployer.state.phase}: {deployer.state.doing}"]
        )


@cache
def explored(name: str, depth: int) -> Explorer:
    """What there is in a scenario when up to `depth` things go wrong, explored once for all who ask in this process."""
    explorer = Explorer(BY_NAME[name])
    explorer.explore(depth)
    return explorer
