"""Runs a rollout: does what the state machine says, through ports, and reports what happens.

It decides nothing about traffic: every decision is `fleetswap.domain.rollout.machine`'s, including what a failure
undoes. Whatever an action raises, even `KeyboardInterrupt` and `SystemExit`, becomes an event of the state machine, and
so does a person's request to abort. When the state machine has restored everything, the first error is raised. If the
process dies, another process can end the rollout from the last state that was kept. It creates no client and reads no
setting.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from fleetswap.domain.errors import Aborted, CloudError, FleetswapError, InputError, TryAgain
from fleetswap.domain.rollout import hook, moments, progress
from fleetswap.domain.rollout.drift import drift
from fleetswap.domain.rollout.machine import begin, step
from fleetswap.domain.rollout.messages import Broke, End, Event, Kind, Look, Unanswered
from fleetswap.domain.rollout.model import Order
from fleetswap.domain.rollout.moments import HookResult
from fleetswap.domain.rollout.notices import Ending, Notice, notice_of
from fleetswap.domain.rollout.record import PhaseTime, Step
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.text import one_line
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.rollout.executor import Executor, Ports
from fleetswap.workflows.rollout.patiently import patiently
from fleetswap.workflows.rollout.ports import (
    Balancer,
    Fleet,
    Hooks,
    InstantQueries,
    Keys,
    MetricQueries,
    Metrics,
    Notifier,
    Prober,
    Switch,
)
from fleetswap.workflows.rollout.recorder import Recorder
from fleetswap.workflows.stop import Stop

TOO_MANY = 1000
"""Exceptions after which the machine itself must be broken; without a bound, a defect in it would go on for ever."""

INTERRUPTED = HookResult(ok=False, words="it was interrupted")

Say = Callable[[str], None]
Keep = Callable[[State], None]


@dataclass(frozen=True)
class Outcome:
    """A rollout that succeeded: `live` has all the traffic, `previous` had it before; `phases` are seconds.

    `left` is the release that a rollback by hand took the traffic from, before this rollout. `run`, `started` (UTC, ISO
    8601), `times` and `steps` are as in its record.
    """

    live: str
    previous: str | None
    phases: dict[str, float]
    left: str | None = None
    run: str = ""
    started: str = ""
    times: tuple[PhaseTime, ...] = ()
    steps: tuple[Step, ...] = ()
    first_healthy: float | None = None
    """When the candidate's first machine was seen to be healthy, in seconds since the rollout began."""
    boots: str = ""
    """How long the machines of this and the last rollouts took to become healthy, as the rule's tag has it."""


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
    keys: Keys | None = None,
    cloudwatch: MetricQueries | None = None,
    prometheus: InstantQueries | None = None,
    hooks: Hooks | None = None,
    notifier: Notifier | None = None,
    say: Say = lambda _: None,
    show: Say = lambda _: None,
    stop: Stop | None = None,
    keep: Keep = lambda _: None,
    recorder: Recorder | None = None,
    notes: Callable[[Outcome], Sequence[str]] = lambda _: (),
) -> Outcome:
    """Put all the traffic on the order's candidate, or put everything back and raise the first error.

    Raises `Aborted` if the candidate is not fit for the traffic or `stop` was asked for, `InputError` for an order that
    cannot be (nothing was touched), `CloudError` if AWS refuses or does not answer, and whatever else an action raised.
    Repeating a finished rollout mends what differs and changes nothing else; repeating one that died half-way first
    puts right what that one left. The notifier is told of every end.

    `say` gets what is to stay in the log, each line once; `show` what goes on just now, a few words, again and
    again. `keep` gets each state before its action is done, so that whoever has the last one can `take_up`; it must
    not raise. `recorder` keeps the record. `notes` are what the notification of a success says besides.
    """
    run, recorder = uuid.uuid4().hex, recorder or Recorder()
    ports = Ports(balancer, fleet, prober, clock, metrics, switch, keys, cloudwatch, prometheus, hooks)
    executor = Executor(order, ports, run)
    driver = Driver(executor, Teller(say, show), clock, stop, keep, recorder, hooks)
    now = clock.now()
    state = driver.drive(begin(order, now, run), now)
    outcome = Outcome(
        live=order.candidate.release,
        previous=state.previous,
        phases=driver.phases,
        left=state.left_by_hand,
        run=run,
        started=recorder.started,
        times=recorder.phases,
        steps=recorder.steps,
        first_healthy=recorder.first_healthy,
        boots=state.boot_times,
    )
    driver.tell_end(state, notifier, lambda: notes(outcome))
    driver.raise_first(state)
    return outcome


def take_up(
    state: State,
    why: str,
    *,
    balancer: Balancer,
    fleet: Fleet,
    prober: Prober,
    clock: Clock,
    switch: Switch | None = None,
    hooks: Hooks | None = None,
    notifier: Notifier | None = None,
    say: Say = lambda _: None,
    show: Say = lambda _: None,
    recorder: Recorder | None = None,
) -> None:
    """End a rollout whose process died, from the state that it kept last: everything is put back, as after an error.

    It goes on as the same run, so it leaves alone whatever a newer one has begun. Always raises, as `roll_out` does,
    with `why` as the reason; only a rollout that had succeeded already is left as it is. Repeating it is harmless.
    """
    executor = Executor(state.order, Ports(balancer, fleet, prober, clock, None, switch), state.run)
    stop = Stop()
    stop.ask(why)
    driver = Driver(executor, Teller(say, show), clock, stop, recorder=recorder, hooks=hooks)
    state = driver.drive(state, clock.now(), why)
    driver.tell_end(state, notifier)
    driver.raise_first(state)


class Driver:
    """Performs the actions of the state machine until its end, for every move of traffic: a deploy or a rollback."""

    def __init__(
        self,
        executor: Executor,
        teller: Teller,
        clock: Clock,
        stop: Stop | None = None,
        keep: Keep = lambda _: None,
        recorder: Recorder | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        self._executor = executor
        self._teller = teller
        self._clock = clock
        self._stop = stop or Stop()
        self._keep = keep
        self._recorder = recorder or Recorder()
        self._hooks = hooks
        self._errors: list[BaseException] = []
        self._ended = 0.0
        self.phases: dict[str, float] = {}

    def drive(self, state: State, now: float, taken_up: str = "") -> State:
        """The last state, when the traffic has moved or everything is restored. `raise_first` says which.

        `taken_up` is the reason why this process continues a rollout that another one started; empty if it did not.
        """
        errors, clock = self._errors, self._clock
        entered = now
        self._recorder.begin(state, now, taken_up)
        while not isinstance(state.doing, End):
            event = self._event(state)
            if len(errors) > TOO_MANY:
                raise errors[0]
            try:
                now = clock.now()
                after = step(state, event, now)
                if state.phase is Phase.HOOK and after.phase is not Phase.HOOK:
                    self._stop_hook()
                if after.phase != state.phase:
                    self.phases[state.phase] = self.phases.get(state.phase, 0.0) + now - entered
                    entered = now
                for line in progress.lines(state, after):
                    self._teller.line(line)
                self._teller.warnings(after.warnings)
                self._teller.row(progress.row(after, event, now))
                before, state = state, after
                self._recorder.after(before, event, after, now)
                if state.ending.kind is None:
                    errors.clear()  # whatever was refused was not needed: it is a warning
            except BaseException as error:  # noqa: BLE001 - as below: an interruption may come between two actions
                errors.append(error)
                self._stop_hook()
                before, state = state, _interrupted(state, errors, now)
                self._recorder.after(before, Broke(_words(error)), state, now)
        self._keep(state)
        self._ended = now
        return state

    def _stop_hook(self) -> None:
        """Nothing of a hook outlives the phase that it ran in."""
        if self._hooks is not None:
            self._hooks.stop()

    def _run_last(self, state: State, notice: Notice) -> None:
        """The hooks at the end: whatever becomes of them is a warning at most, because the outcome stands."""
        if self._hooks is None:
            return
        for call in hook.last(state, notice):
            began = self._clock.now()
            try:
                self._teller.line(f"{call.release}: {call.hook.at}: running {call.hook.label}")
                result = self._hooks.run(call, call.hook.timeout + 1.0) or INTERRUPTED
            except BaseException as error:  # noqa: BLE001 - as of a notification
                result = HookResult(ok=False, words=_words(error))
            self._stop_hook()
            self._recorder.hook(state, call, result, began, self._clock.now())
            if not result.ok:
                self._teller.line(f"warning: {moments.failed(call, result)}")

    def tell_end(
        self, state: State, notifier: Notifier | None, notes: Callable[[], Sequence[str]] = lambda: ()
    ) -> None:
        """Tell how it ended, in the log and to people, who are also told the `notes` of a success. Then the hooks at
        the end run, which may take minutes: who is on call is not to wait for them. The record ends last.
        """
        notice = notice_of(state, _end(state), self._ended, self.phases)
        if notice.ending is Ending.SUCCEEDED:
            notice = replace(notice, notes=_noted(notes, self._teller))
        for line in notice.lines:
            self._teller.line(line)
        if notifier is not None:
            _notify(notifier, notice, self._teller)
        self._run_last(state, notice)
        self.end_record(state)

    def raise_first(self, state: State) -> None:
        """Raise the first error, with what could not be put back; nothing after a success."""
        _raise(_end(state), self._errors)

    def end_record(self, state: State) -> None:
        """The record is complete. `tell_end` does it, too."""
        where = self._recorder.end(state, _end(state), self._ended)
        if self._recorder.problem:
            self._teller.line(f"warning: the record of this rollout is incomplete: {self._recorder.problem}")
        elif where is not None:
            self._teller.line(f"record of this rollout: {where}")

    def _event(self, state: State) -> Event:
        """Do what the state says, unless the rollout is to stop; what came of it."""
        try:
            self._keep(state)
            why = self._stop.take()
            if why and not state.phase.is_back:
                return Broke(why, Kind.CANCELLED)
            return self._executor.do(state.doing)
        except TryAgain as error:
            return Unanswered(_words(error))
        except BaseException as error:  # noqa: BLE001 - the weights go back whatever happened; it is raised at the end
            self._errors.append(error)
            return Broke(_words(error), refused=isinstance(error, CloudError))


def _noted(notes: Callable[[], Sequence[str]], teller: Teller) -> tuple[str, ...]:
    """The outcome stands, whatever is wrong with what is noted of it."""
    try:
        return tuple(notes())
    except Exception as error:  # noqa: BLE001 - an error here would be taken for the rollout's
        teller.line(f"warning: could not measure the rollout: {_words(error)}")
        return ()


def _notify(notifier: Notifier, notice: Notice, teller: Teller) -> None:
    """The outcome stands, whatever the notifier does; also if someone loses patience with it."""
    try:
        notifier.tell(notice)
    except BaseException as error:  # noqa: BLE001 - an error here would be taken for the rollout's
        teller.line(f"warning: could not send the notification: {_words(error)}")


def observe(order: Order, *, balancer: Balancer, fleet: Fleet, switch: Switch | None = None) -> Observed:
    """What is real now: who has the traffic, the weights, the sizes, and how they differ from the order. Reads only."""
    seen = Executor(order, Ports(balancer, fleet, switch=switch)).look(Look(first=False))
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

    In between the nodes of the load balancer get the time that they need to follow. Machines are not waited for.
    Repeating it changes nothing. The first error is raised at once: machines that may still have traffic keep running.
    """
    say(f"retiring {order.service}: the listener returns 503 from now on")
    patiently(lambda: balancer.restore(order.listener, None), clock)
    groups = {target.group: patiently(partial(fleet.group, target.group), clock) for target in order.releases}
    there = [name for name, group in groups.items() if group is not None]
    if any(group.desired for group in groups.values() if group is not None):
        clock.sleep(order.policy.convergence)
    for name in there:
        patiently(partial(fleet.resize, name, minimum=0, desired=0), clock)


class Teller:
    """Tells what happens: in lines, each once, and in a row that is overwritten. Telling never fails a rollout."""

    def __init__(self, say: Say, show: Say = lambda _: None) -> None:
        self._say = say
        self._show = show
        self._told: set[str] = set()

    def line(self, text: str) -> None:
        """Tell for good, unless it was told before."""
        if text not in self._told:
            self._told.add(text)
            self._try(self._say, text)

    def warnings(self, texts: Iterable[str]) -> None:
        """Tell what could not be done, and did not keep the traffic from moving."""
        for text in texts:
            self.line(f"warning: {text}")

    def row(self, text: str) -> None:
        """Show what is going on."""
        if text:
            self._try(self._show, text)

    @staticmethod
    def _try(how: Say, text: str) -> None:
        try:
            how(text)
        except Exception:  # noqa: BLE001 - who listens may be gone (a closed terminal); the traffic still matters
            return


def _interrupted(state: State, errors: list[BaseException], now: float) -> State:
    """The clock, or an interruption between two actions, raised: begin to undo. If the machine raises, it is broken."""
    try:
        return step(state, Broke(_words(errors[-1])), now)
    except Exception as defect:
        errors[0].add_note(f"and nothing was restored, because of a defect: {_words(defect)}")
        raise errors[0] from defect


def _end(state: State) -> End:
    if not isinstance(state.doing, End):
        raise TypeError("this rollout has not ended")
    return state.doing


def _raise(end: End, errors: list[BaseException]) -> None:
    """Raise the first error, with what could not be put back."""
    message = "; ".join([end.reason, *end.problems]) + (f": {end.remedy}" if end.remedy else "")
    match end.kind:
        case None:
            return
        case Kind.ABORTED | Kind.CANCELLED:
            raise Aborted(message)
        case Kind.INPUT:
            raise InputError(message)
        case Kind.CLOUD:
            raise CloudError(message)
        case Kind.BROKE if not errors:  # what was raised is lost with the process that it was raised in
            raise FleetswapError(message)
        case Kind.BROKE:
            first = errors[0]
            if isinstance(first, FleetswapError):
                raise type(first)(message) from first
            first.add_note(message.removeprefix(f"{_words(first)}; "))
            raise first


def _words(error: BaseException) -> str:
    text = one_line(str(error))
    if isinstance(error, FleetswapError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
