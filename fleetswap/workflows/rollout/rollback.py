"""`fleetswap rollback --now`: rolls back through AWS alone, with the state machine of every deploy.

The next `pulumi up` sees what was done here and accepts it: it looks at the listener, and the tags of the rule say who
did it and why. This module never creates or deletes a release, and never reads a setting.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from fleetswap.domain.errors import CloudError
from fleetswap.domain.rollout import rollback
from fleetswap.domain.rollout.machine import begin
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.schedules import Schedule, digest
from fleetswap.domain.rollout.view import ReleaseView, Service
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.rollout.executor import Executor, Ports
from fleetswap.workflows.rollout.patiently import patiently
from fleetswap.workflows.rollout.ports import Balancer, Fleet, Keys, Switch
from fleetswap.workflows.rollout.recorder import Recorder
from fleetswap.workflows.rollout.run import Driver, Say, Teller
from fleetswap.workflows.rollout.service import status, time_now


@dataclass(frozen=True)
class WentBack:
    """The traffic is on `live`. `left` had it before; `warnings` list what could not be done besides."""

    service: str
    live: str
    left: str
    machines: int
    seconds: float
    warnings: tuple[str, ...] = ()
    weighted: bool = False
    """Whether `machines` are units of capacity."""


def rollback_now(
    service: Service,
    to: str | None = None,
    *,
    balancer: Balancer,
    fleet: Fleet,
    switch: Switch,
    keys: Keys | None = None,
    clock: Clock,
    policy: Policy = rollback.POLICY,
    say: Say = lambda _: None,
    recorder: Recorder | None = None,
) -> WentBack:
    """Put all the traffic on another release, through AWS alone, and write down that it was done.

    Raises `InputError` if there is none to go to, `Aborted` if it does not become healthy or the weights do not hold,
    `CloudError`, and whatever else an action raised; the traffic is then where it was, or as the error says. What had
    the traffic keeps its machines. Repeating it after a failure goes on where that stopped. `recorder`
    keeps the record.
    """
    started = clock.now()
    ports = Ports(balancer, fleet, clock=clock, switch=switch, keys=keys)
    now = patiently(lambda: status(service, balancer=balancer, fleet=fleet, switch=switch), clock, say)
    schedules, unknown = _schedules(rollback.following(now, to), fleet)
    order = rollback.order(now, to, at=time_now(), policy=policy, schedules=schedules)
    teller = Teller(say)
    known = (*now.unknown, *service.extra, *unknown)
    teller.warnings(known)
    left = rollback.left(now, now.release(order.candidate.release))
    teller.line(f"{service.name}: rolling back to {order.candidate.release} from {left}")
    run = uuid.uuid4().hex
    driver = Driver(Executor(order, ports, run), teller, clock, recorder=recorder)
    state = driver.drive(begin(order, clock.now(), run), clock.now())
    driver.end_record(state)
    driver.raise_first(state)
    return WentBack(
        service=service.name,
        live=order.candidate.release,
        left=left,
        machines=state.wanted,
        seconds=clock.now() - started,
        weighted=state.weighted,
        warnings=tuple(dict.fromkeys((*known, *state.warnings))),
    )


def _schedules(view: ReleaseView | None, fleet: Fleet) -> tuple[tuple[Schedule, ...], tuple[str, ...]]:
    """The schedules that a release follows, or none and why they stay where they are: they hold up no rollback."""
    if view is None or view.group is None:
        return (), ()
    stay = f"the schedules stay with {view.release} until the next `pulumi up`"
    try:
        found = fleet.schedules(view.target.group)
    except CloudError as error:
        return (), (f"{stay}: {error}",)
    if digest(found) != view.group.follows:
        return (), (f"{stay}: its scheduled actions are not those that its tag says",)
    return found, ()
