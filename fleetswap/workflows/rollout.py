"""Runs a rollout: does what the state machine says, through ports, and tells what happens.

It decides nothing about traffic: every decision is `fleetswap.domain.rollout`'s, also what a failure undoes. Whatever
an action raises, Ctrl-C and `SystemExit` included, becomes an event of the machine; when the machine has put
everything back, the first error is raised. It makes no client and reads no setting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from fleetswap.domain import gate
from fleetswap.domain.errors import Aborted, CloudError, FleetswapError, InputError
from fleetswap.domain.gate import Answer, Reading
from fleetswap.domain.moves import (
    Action,
    Broke,
    Compare,
    Compared,
    Confirm,
    Confirmed,
    Did,
    End,
    Event,
    Explain,
    Explained,
    HealthRead,
    Kind,
    Look,
    Phase,
    Probe,
    Probed,
    ReadHealth,
    ReadRule,
    Resize,
    Restore,
    Route,
    RuleRead,
    Seen,
    State,
    Unanswered,
    Wait,
)
from fleetswap.domain.orders import Order, Unavailable
from fleetswap.domain.rollout import begin, drift, step
from fleetswap.workflows.ports import Balancer, Clock, Fleet, Prober

SAY_EVERY = 5.0
"""Least seconds between two lines about the same waiting. What changes faster than this is noise in a terminal."""

CONSOLES = 3
"""Machines whose console is asked for; a machine that was never launched far enough has none."""

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
    """A rollout that succeeded: `live` has all the traffic, `previous` had it before; `phases` are seconds."""

    live: str
    previous: str | None
    phases: dict[str, float]


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
    order: Order, *, balancer: Balancer, fleet: Fleet, prober: Prober, clock: Clock, say: Say = lambda _: None
) -> Outcome:
    """Put all the traffic on the order's candidate, or put everything back and raise the first error.

    Raises `Aborted` if the candidate is not fit for the traffic, `InputError` for an order that cannot be (nothing was
    touched), `CloudError` if AWS refuses or does not answer, and whatever else an action raised. Repeating a finished
    rollout mends what differs and changes nothing else; repeating one that died half-way starts from reality.
    """
    hands = _Hands(order, balancer, fleet, prober, clock, _Teller(say, clock))
    errors: list[BaseException] = []
    phases: dict[str, float] = {}
    state = begin(order, clock.now())
    entered = now = state.started
    while not isinstance(state.doing, End):
        try:
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
                hands.teller.phase(after)
            state = after
        except BaseException as error:  # noqa: BLE001 - as above: an interruption may come between two actions
            errors.append(error)
            state = _interrupted(state, errors, now)
    _raise(state.doing, errors)
    return Outcome(live=order.candidate.release, previous=state.previous, phases=phases)


def observe(order: Order, *, balancer: Balancer, fleet: Fleet) -> Observed:
    """What is real now: who has the traffic, the weights, the sizes, and how they differ from the order. Reads only."""
    seen = _look(order, balancer, fleet)
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

    def waiting(self, text: str) -> None:
        """Tell why we wait, if it is news."""
        now, (last, told) = self._clock.now(), self._last
        if text != last and now - told >= SAY_EVERY:
            self._last = (text, now)
            self.now(text)

    def phase(self, state: State) -> None:
        """Tell a new phase."""
        release, previous = state.order.candidate.release, state.previous or "nothing"
        text = {
            Phase.SCALE: f"{release}: scaling to {state.wanted} machines; {previous} has the traffic",
            Phase.GATE: f"{release}: waiting until {state.wanted} machines are healthy",
            Phase.PROBE: f"{release}: healthy, probing {state.order.policy.probe_path}",
            Phase.SHIFT: f"{release}: moving all the traffic from {previous}",
            Phase.SETTLE: f"{release}: has all the traffic",
            Phase.PUT_BACK: f"{release}: putting the traffic back on {previous}",
            Phase.CLEAN_UP: f"{release}: cleaning up",
        }.get(state.phase)
        if text:
            self.now(text)


@dataclass
class _Hands:
    """Does one action and says what came of it. Raises what the ports raise."""

    order: Order
    balancer: Balancer
    fleet: Fleet
    prober: Prober
    clock: Clock
    teller: _Teller

    def do(self, action: Action) -> Event:  # noqa: C901, PLR0911, PLR0912 - one flat case for each action
        """The event that follows an action."""
        order, candidate = self.order, self.order.candidate
        match action:
            case Look():
                return _look(order, self.balancer, self.fleet)
            case Resize():
                self.fleet.resize(action.side.group, minimum=action.minimum, desired=action.desired)
                return Did()
            case ReadHealth():
                return HealthRead(self._reading(action.wanted))
            case Probe():
                return Probed(self._get(candidate.release))
            case Route():
                self.balancer.forward(order.listener, action.weights)
                return Did()
            case Confirm():
                rule, known = None, True
                try:
                    rule = self.balancer.rule(order.listener)
                except Unavailable:
                    known = False
                return Confirmed(
                    rule, known, _known(lambda: self.balancer.targets(candidate.target_group)), self._get()
                )
            case Explain():
                return self._explained(action)
            case Compare():
                return self._compared(action)
            case Restore():
                self.balancer.restore(order.listener, action.rule)
                return Did()
            case ReadRule():
                return RuleRead(self.balancer.rule(order.listener))
            case Wait():
                self.teller.waiting(action.why)
                self.clock.sleep(action.seconds)
                return Did()
            case End():
                raise TypeError("the end is no action")

    def _reading(self, wanted: int) -> Reading:
        candidate = self.order.candidate
        targets = _known(lambda: self.balancer.targets(candidate.target_group))
        if targets is not None and gate.healthy(targets) >= wanted:
            return Reading(targets)  # a good reading needs no explanation, and going back must be quick
        group = _known(lambda: self.fleet.group(candidate.group))
        return Reading(targets, group.machines if group else None, _known(lambda: self.fleet.failures(candidate.group)))

    def _get(self, release: str | None = None) -> Answer:
        policy = self.order.policy
        url = self.order.url.rstrip("/") + policy.probe_path
        return self.prober.get(url, release=release, timeout=policy.probe_timeout)

    def _explained(self, action: Explain) -> Explained:
        for machine in action.machines[:CONSOLES]:
            try:
                console = gate.console_tail(self.fleet.console(machine))
            except CloudError:
                continue  # the reason of the abort is known; its illustration must not replace it
            if console:
                return Explained(machine, console)
        return Explained("", "")

    def _compared(self, action: Compare) -> Compared:
        before = [_known(lambda arn=arn: self.balancer.targets(arn)) for arn in action.before]  # type: ignore[misc] # as above
        candidate = _known(lambda: self.balancer.targets(self.order.candidate.target_group))
        known = [gate.healthy(targets) for targets in before if targets is not None]
        return Compared(
            before=sum(known) if len(known) == len(before) else None,
            candidate=None if candidate is None else gate.healthy(candidate),
        )


def _look(order: Order, balancer: Balancer, fleet: Fleet) -> Seen:
    rule = balancer.rule(order.listener)
    arns = dict.fromkeys([order.candidate.target_group, *sorted(rule.serving if rule else ())])
    return Seen(
        rule=rule,
        groups=tuple((side.release, fleet.group(side.group)) for side in order.sides),
        targets=tuple((arn, balancer.targets(arn)) for arn in arns),
        failures=fleet.failures(order.candidate.group),
    )


def _known(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except Unavailable:
        return None


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
    text = gate.one_line(str(error))
    if isinstance(error, FleetswapError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
