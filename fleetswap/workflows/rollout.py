"""Runs a rollout: does what the state machine says, through ports, and tells what happens.

It decides nothing about traffic: every decision is `fleetswap.domain.rollout`'s, also what a failure undoes. Whatever
an action raises, Ctrl-C and `SystemExit` included, becomes an event of the machine; when the machine has put
everything back, the first error is raised. It makes no client and reads no setting.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from fleetswap.domain.drift import drift
from fleetswap.domain.errors import Aborted, CloudError, FleetswapError, InputError
from fleetswap.domain.gate import one_line
from fleetswap.domain.moves import Action, Broke, End, Kind, Look, Unanswered, Wait
from fleetswap.domain.notices import notice_of
from fleetswap.domain.orders import Order, Unavailable
from fleetswap.domain.rollout import begin, step
from fleetswap.domain.state import Phase, State
from fleetswap.domain.strategy import ALL
from fleetswap.workflows.hands import Hands, Ports
from fleetswap.workflows.ports import Balancer, Clock, Fleet, Metrics, Notifier, Prober, Switch

SAY_EVERY = 5.0
"""Least seconds between two lines about the same waiting. What changes faster than this is noise in a terminal."""

TOO_MANY = 1000
"""Exceptions after which the machine itself must be broken; without a bound, a defect in it would go on for ever."""

RETIRE_TRIES = 10
RETIRE_PAUSE = 2.0
"""Tries of a call of `retire` that AWS does not answer, and the seconds between two; the client tries by itself too."""

T = TypeVar("T")
Say = Callable[[str], None]


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        """Seconds since some moment; changes of the wall clock do not matter."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True)
class Outcome:
    """A rollout that succeeded: `live` has all the traffic, `previous` had it before; `phases` are seconds.

    `left` is the release that a rollback by hand took the traffic from, before this rollout.
    """

    live: str
    previous: str | None
    phases: dict[str, float]
    left: str | None = None


@dataclass(frozen=True)
class Observed:
    """The real world. `live` is the release that has all the traffic; None if none has, or several share it.

    `weights` and `sizes` (minimum, desired) are by release id; a target group that is not in the order appears by its
    ARN. `drift` says in words what differs from what a rollout of the order leaves.
    """

    live: str | None
    weights: Mapping[str, int]
    sizes: Mapping[str, tuple[int, int]]
    drift: tuple[str, ...]


def roll_out(
    order: Order,
    *,
    balancer: Balancer,
    fleet: Fleet,
    prober: Prober,
    clock: Clock,
    metrics: Metrics | None = None,
    switch: Switch | None = None,
    notifier: Notifier | None = None,
    say: Say = lambda _: None,
) -> Outcome:
    """Put all the traffic on the order's candidate, or put everything back and raise the first error.

    Raises `Aborted` if the candidate is not fit for the traffic, `InputError` for an order that cannot be (nothing was
    touched), `CloudError` if AWS refuses or does not answer, and whatever else an action raised. Repeating a finished
    rollout mends what differs and changes nothing else; repeating one that died half-way first puts right what that one
    left. The notifier is told of every end.
    """
    run = uuid.uuid4().hex
    hands = Hands(order, Ports(balancer, fleet, prober, clock, metrics, switch), run)
    teller = _Teller(say, clock)
    errors: list[BaseException] = []
    phases: dict[str, float] = {}
    state = begin(order, clock.now(), run)
    entered = now = state.started
    while not isinstance(state.doing, End):
        try:
            teller.waiting(state.doing)
            event = hands.do(state.doing)
        except Unavailable as error:
            event = Unanswered(_words(error))
        except BaseException as error:  # noqa: BLE001 - the weights go back whatever happened; it is raised below
            errors.append(error)
            event = Broke(_words(error))
        if len(errors) > TOO_MANY:
            raise errors[0]
        try:
            now = clock.now()
            after = step(state, event, now)
            if after.phase != state.phase:
                phases[state.phase] = phases.get(state.phase, 0.0) + now - entered
                entered = now
                teller.phase(after)
            state = after
        except BaseException as error:  # noqa: BLE001 - as above: an interruption may come between two actions
            errors.append(error)
            state = _interrupted(state, errors, now)
    if notifier is not None:
        _notify(notifier, state, state.doing, now, teller)
    _raise(state.doing, errors)
    return Outcome(order.candidate.release, state.previous, phases, state.left_by_hand)


def _notify(notifier: Notifier, state: State, end: End, now: float, teller: _Teller) -> None:
    """The outcome stands, whatever the notifier does; also if someone loses patience with it."""
    try:
        notifier.tell(notice_of(state, end, now))
    except BaseException as error:  # noqa: BLE001 - an error here would be taken for the rollout's
        teller.now(f"warning: no one was notified: {_words(error)}")


def observe(order: Order, *, balancer: Balancer, fleet: Fleet, switch: Switch | None = None) -> Observed:
    """What is real now: who has the traffic, the weights, the sizes, and how they differ from the order. Reads only."""
    seen = Hands(order, Ports(balancer, fleet, switch=switch)).look(Look(first=False))
    weights = {order.release_of(arn): weight for arn, weight in seen.rule.weights} if seen.rule else {}
    serving = [release for release, weight in weights.items() if weight > 0]
    return Observed(
        live=serving[0] if len(serving) == 1 else None,
        weights=weights,
        sizes={release: (group.minimum, group.desired) for release, group in seen.groups if group is not None},
        drift=drift(order, seen),
    )


def retire(order: Order, *, balancer: Balancer, fleet: Fleet, clock: Clock, say: Say = lambda _: None) -> None:
    """Take the service down for good: delete the rule, then scale every group to 0. Groups that are gone are skipped.

    Machines are not waited for. Repeating it changes nothing. The first error is raised at once: machines that may
    still have traffic keep running.
    """

    def patiently(call: Callable[[], None]) -> None:
        for left in range(RETIRE_TRIES - 1, -1, -1):
            try:
                return call()
            except Unavailable:
                if not left:
                    raise
                clock.sleep(RETIRE_PAUSE)
        return None

    teller = _Teller(say, clock)
    teller.now(f"retiring {order.service}: the listener answers 503 from here on")
    patiently(lambda: balancer.restore(order.listener, None))

    def scale_in(name: str) -> None:
        if fleet.group(name) is not None:
            fleet.resize(name, minimum=0, desired=0)

    for side in order.sides:
        patiently(lambda name=side.group: scale_in(name))  # type: ignore[misc] # mypy infers no type for a bound default


class _Teller:
    """Tells what happens, the same waiting not more often than `SAY_EVERY`. Telling never fails a rollout."""

    def __init__(self, say: Say, clock: Clock) -> None:
        self._say = say
        self._clock = clock
        self._last = ("", float("-inf"))

    def now(self, text: str) -> None:
        """Tell at once."""
        try:
            self._say(text)
        except Exception:  # noqa: BLE001 - who listens may be gone (a closed terminal); the traffic still matters
            return

    def waiting(self, action: Action) -> None:
        """Tell why we wait, if we do and it is news."""
        if not isinstance(action, Wait):
            return
        now, (last, told) = self._clock.now(), self._last
        if action.why != last and now - told >= SAY_EVERY:
            self._last = (action.why, now)
            self.now(action.why)

    def phase(self, state: State) -> None:
        """Tell a new phase."""
        release, previous = state.order.candidate.release, state.previous or "nothing"
        weight = state.steps[0].weight if state.steps else ALL
        part = "all" if weight == ALL else f"{weight} % of"
        text = {
            Phase.RECOVER: f"{release}: a rollout that died left the traffic shared; it goes back to {previous} first",
            Phase.SCALE: f"{release}: scaling to {state.wanted} machines; {previous} has the traffic",
            Phase.GATE: f"{release}: waiting until {state.wanted} machines are healthy",
            Phase.PROBE: f"{release}: healthy, probing {state.order.policy.probe_path}",
            Phase.SHIFT: f"{release}: moving {part} the traffic from {previous}",
            Phase.HOLD: f"{release}: has {weight} % of the traffic",
            Phase.BAKE: f"{release}: has all the traffic, and is watched",
            Phase.SETTLE: f"{release}: has all the traffic",
            Phase.PUT_BACK: f"{release}: putting the traffic back on {previous}",
            Phase.CLEAN_UP: f"{release}: cleaning up",
        }.get(state.phase)
        if text:
            self.now(text)


def _interrupted(state: State, errors: list[BaseException], now: float) -> State:
    """The clock, or an interruption between two actions, raised: begin to undo. If the machine raises, it is broken."""
    try:
        return step(state, Broke(_words(errors[-1])), now)
    except Exception as defect:
        errors[0].add_note(f"and nothing was put back, because of a defect: {_words(defect)}")
        raise errors[0] from defect


def _raise(end: End, errors: list[BaseException]) -> None:
    """Raise the first error, with what could not be put back."""
    message = "; ".join([end.reason, *end.problems])
    match end.kind:
        case None:
            return
        case Kind.ABORTED:
            raise Aborted(message)
        case Kind.INPUT:
            raise InputError(message)
        case Kind.CLOUD:
            raise CloudError(message)
        case Kind.BROKE:
            first = errors[0]
            if isinstance(first, FleetswapError):
                raise type(first)(message) from first
            first.add_note(message)
            raise first


def _words(error: BaseException) -> str:
    text = one_line(str(error))
    if isinstance(error, FleetswapError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
