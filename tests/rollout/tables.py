"""For the tables: a rollout in the middle of its way, as a value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fleetswap.domain.rollout.health import Target, TargetState
from fleetswap.domain.rollout.machine import begin
from fleetswap.domain.rollout.messages import Seen
from fleetswap.domain.rollout.model import Armed, Group, Order, Rule
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.state import State
from tests.fakes.world import order, target

POLICY = Policy(minimum=2, deadline=100, convergence=60, warm=600, switch_margin=20, patience=50, quick=0.25)
ORDER = order("new", "live", "old", standby="live", policy=POLICY)
NEW, LIVE, OLD = target("new"), target("live"), target("old")
ON_LIVE = Rule((("tg-live", 100),), "live")
ON_NEW = Rule((("tg-new", 100),))
SHARED = Rule((("tg-live", 95), ("tg-new", 5)))
ALIEN = Rule((("tg-alien", 1),))


def seen(
    rule: Rule | None = ON_LIVE,
    *,
    healthy: dict[str, int] | None = None,
    tags: dict[str, str] | None = None,
    alarms: dict[str, str] | None = None,
    armed: Armed | None = None,
    **groups: Group | None,
) -> Seen:
    """The world: `live` has two machines unless a group says otherwise; `healthy` counts targets by release."""
    known = {"new": Group(0, 0, 8), "live": Group(2, 2, 8), "old": Group(0, 0, 8), **groups}
    counts = {"live": 2} if healthy is None else healthy
    targets = tuple(
        (f"tg-{name}", tuple(Target(f"i-{name}-{n}", TargetState.HEALTHY) for n in range(count)))
        for name, count in counts.items()
    )
    return Seen(rule, tuple(known.items()), targets, (), tags or {}, alarms or {}, armed)


def state(of: Order = ORDER, /, *, home: Rule | None = ON_LIVE, first: Seen | None = None, **known: Any) -> State:
    """A rollout that began at 1000 and is called `me`."""
    return replace(begin(of, 1000.0, "me"), home=home, first=first or seen(home), **known)
