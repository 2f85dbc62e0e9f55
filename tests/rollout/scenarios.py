"""What the simulator tries: worlds with what is asked of them, and what can go wrong at any moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from fleetswap.domain.errors import CloudError, InputError
from fleetswap.domain.rollout import rollback, rollout_tags
from fleetswap.domain.rollout.model import Order, ReleaseTarget
from fleetswap.domain.rollout.moments import Hook, Moment, Otherwise, Pause
from fleetswap.domain.rollout.policy import Policy, Shortage
from fleetswap.domain.rollout.rates import Limit
from fleetswap.domain.rollout.rollout_tags import FROZEN, FROZEN_REASON
from fleetswap.domain.rollout.state import Phase
from fleetswap.domain.rollout.strategy import Step, Strategy
from fleetswap.domain.rollout.view import Service
from fleetswap.workflows.rollout.service import abort, status
from tests.fakes.aws import LISTENER, rule_of
from tests.fakes.sim_world import CONVERGENCE, Fleet, SimWorld

HELD = 160
"""Seconds that a held-up deployer sleeps: longer than its switch waits."""

POLICY = Policy(
    minimum=2,
    readings=2,
    interval=2,
    quick=1,
    deadline=60,
    shift_deadline=20,
    convergence=CONVERGENCE,
    patience=40,
    data_deadline=100,
    shortage_patience=20,
    switch_margin=30,
    warm=120,
)
CANARY = replace(
    POLICY,
    interval=5,
    strategy=Strategy((Step(10, hold=4, min_requests=5), Step(50, hold=2)), bake=4),
    alarms=("up",),
    errors=Limit(),
)


HALF_WAY = replace(POLICY, interval=5, strategy=Strategy((Step(50, hold=12),), bake=0))
"""One step, long enough for target tracking to look at what has half of the load."""

HOOKED = replace(
    CANARY,
    hooks=tuple(Hook(at, command=("check",), timeout=20) for at in Moment if at is not Moment.END),
    pause=(Pause(0, deadline=300), Pause(50, deadline=60)),
)
"""Hooks at every moment, and two pauses of which one is longer than the switch waits."""


BACK = replace(
    rollback.POLICY, interval=2, quick=1, deadline=60, shift_deadline=20, convergence=CONVERGENCE, patience=40, warm=120
)
"""Of `fleetswap rollback --now`."""


@dataclass(frozen=True)
class Scenario:
    """A world and what is asked of it."""

    name: str
    make: Callable[[], SimWorld]
    order: Order
    """What `pulumi up` asks for: now, or the next time."""
    good: bool = True
    """Whether the candidate deserves the traffic."""
    back: bool = False
    """Whether `rollback --now` is asked for first."""
    aborted: Phase | None = None
    """In which phase someone has said `fleetswap abort`."""
    to: str | None = None
    """Which release `rollback --now` is to go to, if not the one that the tags tell."""


def target(name: str, image: str | None = None) -> ReleaseTarget:
    return ReleaseTarget(name, f"asg-{name}", f"tg-{name}", image)


def order_for(
    candidate: str,
    policy: Policy,
    *,
    standby: str | None = "live",
    others: Sequence[str] = ("live", "old"),
    switch: bool = True,
    trusted: bool = False,
) -> Order:
    return Order(
        service="web",
        listener=LISTENER,
        url="http://127.0.0.1",
        candidate=target(candidate, "ami-new"),
        others=tuple(target(name) for name in others),
        standby=standby,
        policy=policy,
        trusted=trusted,
        switch_role="arn:role" if switch else None,
    )


def rollback_order(world: SimWorld, to: str | None = None) -> Order | None:
    """What `fleetswap rollback --now` makes of this world; None if it refuses."""
    service = Service("fleetswap/prod", "web", LISTENER, tuple(target(name) for name in world.releases))
    try:
        now = status(service, balancer=world, fleet=world, switch=world)
        return rollback.order(now, to, at=str(world.time), policy=BACK)
    except InputError:
        return None


def _swap(**candidate: object) -> SimWorld:
    """Live has scaled out to 3; an older standby is warm and waits for its scale-in."""
    old = Fleet(2, 2, tags={rollout_tags.SCALE_IN: "60"}, scale_in_at=60)
    world = SimWorld(new=Fleet(**candidate), live=Fleet(2, 3), old=old)  # type: ignore[arg-type] # names of its fields
    world.start({"live": 100}, load=3)
    world.rule_tags = {rollout_tags.LIVE: "live", rollout_tags.STANDBY: "old"}
    return world


def _first() -> SimWorld:
    world = SimWorld(new=Fleet())
    world.start({}, load=2)
    return world


def _back() -> SimWorld:
    """The standby is warm and waits for its scale-in; what serves is to be rolled back."""
    new = Fleet(3, 3, tags={rollout_tags.SCALE_IN: "40"}, scale_in_at=40)
    world = SimWorld(new=new, live=Fleet(2, 3))
    world.start({"live": 100}, load=3)
    world.rule_tags = {rollout_tags.LIVE: "live", rollout_tags.STANDBY: "new"}
    return world


def _back_to(standby: Fleet, live: Fleet | None = None) -> SimWorld:
    """The last rollout has ended well long ago; what serves is to be rolled back by hand."""
    world = SimWorld(new=standby, live=live or Fleet(2, 3))
    world.start({"live": 100}, load=3)
    world.rule_tags = {rollout_tags.LIVE: "live", rollout_tags.STANDBY: "new"}
    return world


def _warm() -> Fleet:
    return Fleet(3, 3, tags={rollout_tags.SCALE_IN: "40"}, scale_in_at=40)


def _back_with_weights_only() -> SimWorld:
    """Who is woken up may write weights and sizes, and nothing else."""
    world = _back_to(_warm())
    world.denied = frozenset({"switch", "tags", "plans"})
    return world


def _back_from_ill() -> SimWorld:
    """No machine of live answers, and the standby may not have as many."""
    world = _back_to(Fleet(maximum=2), Fleet(2, 3, healthy=False))
    world.needed, world.load, world.ill = 0, 2, frozenset({"live"})
    return world


def _half_way(due: int) -> SimWorld:
    """A deployer has died in its canary; its switch is due in so many seconds, and later AWS ends the candidate."""
    new = Fleet(3, 3, tags={rollout_tags.PIN: "2", rollout_tags.SCALE_IN: f"{due + 3600} dead"}, scale_in_at=due + 3600)
    old = Fleet(2, 2, tags={rollout_tags.SCALE_IN: "60"}, scale_in_at=60)
    world = SimWorld(new=new, live=Fleet(3, 3, tags={rollout_tags.PIN: "2"}), old=old)
    world.start({"live": 50, "new": 50}, load=3)
    world.rule_tags = {rollout_tags.LIVE: "live", rollout_tags.STANDBY: "old"}
    world.schedule = (due, rule_of((("tg-live", 100),)), "dead")
    return world


def _weighted() -> SimWorld:
    """Machines of two sizes: three units are wanted, and a group may have four."""
    old = Fleet(2, 2, tags={rollout_tags.SCALE_IN: "60"}, scale_in_at=60, weighted=True, weights=(1, 2))
    live = Fleet(2, 3, weighted=True, weights=(2, 2))
    world = SimWorld(new=Fleet(weighted=True, weights=(1, 2)), live=live, old=old)
    world.start({"live": 100}, load=3)
    world.rule_tags = {rollout_tags.LIVE: "live", rollout_tags.STANDBY: "old"}
    return world


def _shrinking() -> SimWorld:
    """Live has five machines for a load of three, and target tracking is about to see it."""
    world = _swap()
    live = world.releases["live"]
    live.desired = 5
    world.start({"live": 100}, load=3)
    return world


def _asked(hook_seconds: int = 3, bad: str = "", approves: int | None = 210) -> SimWorld:
    """Someone says yes to every pause after so many seconds, but not to the short one in time."""
    world = _swap()
    world.hook_seconds, world.bad_hooks, world.approves = hook_seconds, frozenset({bad}), approves
    return world


def _fails(at: str) -> Scenario:
    return Scenario(f"a hook fails {at}", lambda: _asked(bad=at, approves=8), order_for("new", HOOKED), good=False)


_PATIENT = replace(HOOKED, pause=(Pause(0, 5000, Otherwise.CONTINUE), Pause(50, 60, Otherwise.CONTINUE)))
"""The first one is longer than AWS keeps the machines of a candidate whose deployer has died."""
_AGREED = order_for("new", CANARY, trusted=True, others=("live",))
"""The settings were put right after a rollback to the standby."""
_ANEW = order_for("new", CANARY)
"""They still want what a rollback has left."""

SCENARIOS = (
    Scenario("first deploy", _first, order_for("new", POLICY, standby=None, others=())),
    Scenario("all at once", _swap, order_for("new", POLICY)),
    Scenario("all at once, no switch", _swap, order_for("new", POLICY, switch=False)),
    Scenario("all at once, no standby", _swap, order_for("new", replace(POLICY, warm=0), standby=None)),
    Scenario("canary", _swap, order_for("new", replace(CANARY, shortage=Shortage.ON_DEMAND))),
    Scenario("weights", _weighted, order_for("new", replace(POLICY, shortage=Shortage.ON_DEMAND))),
    Scenario("the load shrinks", _shrinking, order_for("new", HALF_WAY)),
    Scenario("canary, no switch", _swap, order_for("new", CANARY, switch=False)),
    Scenario("rollback", _back, order_for("new", CANARY, trusted=True, others=("live",))),
    Scenario("5xx under load", lambda: _swap(error_rate=0.5), order_for("new", CANARY), good=False),
    Scenario("never healthy", lambda: _swap(healthy=False), order_for("new", CANARY), good=False),
    Scenario("canary, aborted half-way", _swap, order_for("new", CANARY), good=False, aborted=Phase.HOLD),
    Scenario("back to a warm standby", lambda: _back_to(_warm()), _AGREED, back=True),
    Scenario("back to a cold standby", lambda: _back_to(Fleet()), _AGREED, back=True),
    Scenario("back with weights only", _back_with_weights_only, _AGREED, back=True),
    Scenario("back from what is ill", _back_from_ill, _AGREED, back=True),
    Scenario("back to what is never healthy", lambda: _back_to(Fleet(healthy=False)), _AGREED, good=False, back=True),
    Scenario("back out of a canary", lambda: _half_way(100), _ANEW, back=True),
    Scenario("back past live, while the switch fires", lambda: _half_way(12), _ANEW, back=True, to="old"),
)
INTERIM = (
    Scenario("hooks and pauses", lambda: _asked(approves=8), order_for("new", HOOKED)),
    Scenario("a pause until its deadline", lambda: _asked(approves=None), order_for("new", _PATIENT)),
    Scenario("nobody says yes to a step", _asked, order_for("new", HOOKED), good=False),
    Scenario("nobody ever says yes", lambda: _asked(approves=None), order_for("new", HOOKED), good=False),
    Scenario("hooks, no switch", lambda: _asked(approves=8), order_for("new", HOOKED, switch=False)),
    _fails("before-traffic"),
    _fails("after-step"),
    _fails("before-bake"),
    Scenario("a hook is late", lambda: _asked(hook_seconds=999, approves=8), order_for("new", HOOKED), good=False),
)
"""Those with hooks and pauses: they are long, so that not everything that can go wrong is tried in each of them."""

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


# What can go wrong at one action. Each changes the world, or the next action.


def _stale(world: SimWorld) -> None:
    """Not of what a hand has just written: of two deployers, the one that cannot see the other is beyond help."""
    if rollout_tags.ROLLED_BACK in world.rule_tags:
        return
    world.stale_until = world.time + 3


def _gap(world: SimWorld) -> None:
    world.gap_until = world.time + 20


def _flap(world: SimWorld) -> None:
    world.alarm, world.alarm_until = "INSUFFICIENT_DATA", world.time + 4


def _ring(world: SimWorld) -> None:
    world.alarm, world.alarm_until = "ALARM", world.time + 10


def _short(seconds: int) -> Callable[[SimWorld], None]:
    def begin(world: SimWorld) -> None:
        world.short_until = world.time + seconds

    return begin


def abort_rollout(world: SimWorld) -> None:
    """`fleetswap abort`; it fails if there is nothing that a rollout could be about, or without the permission."""
    service = Service("fleetswap/prod", "web", LISTENER, tuple(target(name) for name in world.releases))
    with suppress(InputError, CloudError):
        abort(service, "by hand", balancer=world, fleet=world, clock=world)


def _late(world: SimWorld) -> None:
    world.too_late = True


BY_HAND = "rollback by hand"
"""Someone goes back to live meanwhile, with `fleetswap rollback --now` and from its beginning to its end."""
LATE = "a scheduled action comes late"
"""What is deleted or moved when it is due may be carried out all the same."""
HALF = "the second call of two is throttled"
WORLD_FAULTS: dict[str, Callable[[SimWorld], None]] = {
    "stale reads": _stale,
    "a metric gap": _gap,
    "an alarm flaps": _flap,
    "an alarm rings": _ring,
    "a short shortage": _short(12),
    "a long shortage": _short(500),
    "a machine of the candidate dies": lambda world: world.kill("new", 1),
    "all machines of the candidate die": lambda world: world.kill("new", 9),
    "a machine of live dies": lambda world: world.kill("live", 1) if "live" in world.releases else None,
    "all machines of live die": lambda world: world.kill("live", 9) if "live" in world.releases else None,
    "the load grows": lambda world: world.grow(),
    "the load shrinks": lambda world: world.shrink(),
    "abort from outside": abort_rollout,
    "held up": lambda world: world.advance(HELD),
    LATE: _late,
}


def _freeze(world: SimWorld) -> None:
    """`fleetswap freeze`, for as long as the story takes. Without a rule there is nothing to freeze."""
    if world.rule_now is not None:
        tags = {FROZEN: "2999-01-01T00:00:00Z 2026-11-27T00:00:00Z someone", FROZEN_REASON: "a sale"}
        world.rule_tags = {**world.rule_tags, **tags}


def _unfreeze(world: SimWorld) -> None:
    world.rule_tags = {key: value for key, value in world.rule_tags.items() if key not in {FROZEN, FROZEN_REASON}}


FREEZES = {"a freeze": _freeze, "an end of the freeze": _unfreeze}
"""Explored by themselves (`test_freeze_simulated`), because they change little of what else goes wrong."""
CALL_FAULTS = {
    "throttle": "throttle",
    "refusal": "refuse",
    "5xx after the effect": "lost",
    "Ctrl-C": "interrupt",
    HALF: "half",
}
HALF_CRASH = "crash in the middle of the action"
CRASHES = ("crash before the action", HALF_CRASH, "crash after the action")
HARMLESS = frozenset(
    {
        "stale reads",
        "a metric gap",
        "an alarm flaps",
        "a short shortage",
        "a machine of the candidate dies",
        "a machine of live dies",
        "the load grows",
        "the load shrinks",
        "throttle",
        "5xx after the effect",
        HALF,
        LATE,
    }
)
"""A good candidate gets the traffic in spite of one of these."""

TOO_LATE = tuple(
    f"abort from outside at {phase}" for phase in (Phase.SETTLE, Phase.COMPARE, Phase.PUT_BACK, Phase.CLEAN_UP)
)
"""An abort that comes when the rollout is over stays until the next one begins, and means nothing to it."""

ALL_FAULTS = (*WORLD_FAULTS, BY_HAND, *CALL_FAULTS, *CRASHES)
