"""The executor of a rollout: turns each action of the state machine into calls of the ports, and their responses into
an event.

It decides nothing, but never scales in a release with traffic. It raises what a port raises. Only where an action reads
several things, one that AWS does not return becomes unknown, so that the others count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout import health, rollout_tags
from fleetswap.domain.rollout.evidence import Evidence
from fleetswap.domain.rollout.health import Answer, Reading
from fleetswap.domain.rollout.messages import (
    Action,
    Arm,
    CancelScaleIn,
    Change,
    Compare,
    Compared,
    Confirm,
    Confirmed,
    Did,
    Disarm,
    End,
    Event,
    EvidenceRead,
    Explain,
    Explained,
    Follow,
    HealthRead,
    Held,
    HookRead,
    ImagesRead,
    KeepWarmPool,
    Look,
    MarkPaused,
    MendRule,
    OnDemand,
    Probe,
    Probed,
    ReadEvidence,
    ReadHealth,
    ReadImages,
    ReadRule,
    Resize,
    Restore,
    Route,
    RuleRead,
    RunHook,
    ScheduleScaleIn,
    Seen,
    Tag,
    TagRule,
    Untag,
    Wait,
)
from fleetswap.domain.rollout.metric_values import MetricRead
from fleetswap.domain.rollout.model import Armed, Group, Order, ReleaseTarget, Rule, shares
from fleetswap.domain.rollout.periods import Period
from fleetswap.domain.secrets.key_state import KeyState
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.rollout.metric_reader import MetricReader
from fleetswap.workflows.rollout.ports import (
    Balancer,
    Fleet,
    Hooks,
    InstantQueries,
    Keys,
    MetricQueries,
    Metrics,
    Prober,
    Switch,
)
from fleetswap.workflows.rollout.weights import Weights

CONSOLES = 3
"""Machines whose console is asked for; a machine that was never launched far enough has none."""

T = TypeVar("T")


@dataclass(frozen=True)
class Ports:
    """What the executor calls. Without a prober and a clock it can only look."""

    balancer: Balancer
    fleet: Fleet
    prober: Prober | None = None
    clock: Clock | None = None
    metrics: Metrics | None = None
    switch: Switch | None = None
    keys: Keys | None = None
    cloudwatch: MetricQueries | None = None
    prometheus: InstantQueries | None = None
    hooks: Hooks | None = None
    today: Callable[[], float] = time.time
    """The time in Unix seconds."""


class Executor:
    """Does one action and says what came of it."""

    def __init__(self, order: Order, ports: Ports, run: str = "") -> None:
        """Refuses an order that asks for what no port can do; `run` is written into the switch."""
        self._order, self._ports, self._run = order, ports, run
        self._weights = Weights(ports.balancer, ports.fleet)
        self._metrics = MetricReader(order, ports.cloudwatch, ports.prometheus, ports.clock)

    def do(self, action: Action) -> Event:  # noqa: C901, PLR0911, PLR0912 - one flat case for each action
        """The event that follows an action."""
        order, candidate, ports = self._order, self._order.candidate, self._ports
        match action:
            case Look():
                return self.look(action)
            case ReadHealth():
                return HealthRead(self._reading(action.wanted))
            case ReadImages():
                return ImagesRead(ports.fleet.images(action.machines))
            case Probe():
                return Probed(self._get(candidate.release))
            case Confirm():
                known, rule = self._rule()
                targets = known_or_none(lambda: self._weights.targets(candidate.target_group))
                return Confirmed(rule, known, targets, self._get() if order.url else None)
            case ReadEvidence():
                return EvidenceRead(self._evidence(action))
            case Explain():
                return self._explained(action)
            case Compare():
                return self._compared(action)
            case ReadRule():
                return RuleRead(ports.balancer.rule(order.listener))
            case RunHook():
                return HookRead(needed(ports.hooks).run(action.call, action.seconds))
            case Route() | Restore() | Arm() if action.guarded and (why := self._why_not(action)):
                return Held(why)
            case ScheduleScaleIn() if action.note == self._run and (why := self._why_not_plan(action.target)):
                return Held(why)
            case Wait():
                needed(ports.clock).sleep(action.seconds)
                return Did()
            case End():
                raise TypeError("the end is not an action")
            case _:
                self._change(action)
                return Did()

    def _change(self, change: Change) -> None:  # noqa: C901, PLR0912 - one flat case for each change
        balancer, fleet, listener = self._ports.balancer, self._ports.fleet, self._order.listener
        match change:
            case Resize():
                if change.desired == 0:
                    self._refuse_if_serving(change.target)
                if change.lower and not self._is_lower(change):
                    return
                fleet.resize(change.target.group, minimum=change.minimum, desired=change.desired)
            case Tag():
                fleet.tag(change.target.group, {change.key: change.value})
            case Untag():
                fleet.untag(change.target.group, change.keys)
            case MarkPaused():
                fleet.tag(change.target.group, {rollout_tags.PAUSED: _paused(change).value})
            case OnDemand():
                fleet.on_demand(change.target.group, change.percent)
            case ScheduleScaleIn():
                if change.note != self._run:  # what is planned for the case that we die has traffic meanwhile
                    self._refuse_if_serving(change.target)
                fleet.schedule_scale_in(change.target.group, change.seconds, change.note)
            case Follow():
                fleet.follow(change.target.group, change.schedules, change.minimum)
            case KeepWarmPool():
                fleet.keep_warm_pool(change.target.group, change.pool)
            case CancelScaleIn():
                fleet.cancel_scale_in(change.target.group)
            case Arm():
                needed(self._ports.switch).arm(change.seconds, change.rule, self._run)
            case Disarm():
                needed(self._ports.switch).disarm(None if change.anyones else self._run)
            case Route():
                balancer.forward(listener, change.weights)
            case Restore():
                balancer.restore(listener, change.rule)
            case MendRule():
                balancer.mend(listener)
            case TagRule():
                balancer.tag(listener, dict(change.tags), change.remove)

    def _is_lower(self, change: Resize) -> bool:
        group = self._ports.fleet.group(change.target.group)
        return group is not None and change.minimum < group.minimum

    def _refuse_if_serving(self, target: ReleaseTarget) -> None:
        """The last guard before machines go, in the same breath: someone may have moved the traffic a moment ago.

        The reading may be old, so it is tried again for a while, as if AWS had not answered.
        """
        rule = self._ports.balancer.rule(self._order.listener)
        if rule is not None and target.target_group in rule.serving:
            raise TryAgain(f"{target.release} has traffic, so it is not scaled in")

    def _why_not(self, change: Route | Restore | Arm) -> str:
        """Why a guarded change may not be made now; empty if it may."""
        match change:
            case Arm():
                armed = self._armed()
                return (
                    "the dead man's switch belongs to another run"
                    if armed is not None and armed.run != self._run
                    else ""
                )
            case Restore():
                return self._not_ours() or self._not_alive(change.rule)
            case Route():
                return self._why_not_route(change)

    def _why_not_route(self, route: Route) -> str:
        order, balancer = self._order, self._ports.balancer
        now = shares(balancer.rule(order.listener))
        if now != shares(route.expected) and not (route.again and now == shares(Rule(route.weights))):
            return "the weights have just changed"
        group = self._ports.fleet.group(order.candidate.group)
        if group is None or group.desired < route.machines:
            return f"release {order.candidate.release} is scaled in"
        if group.is_planned and group.scale_in_note != self._run:
            return f"release {order.candidate.release} is scheduled to be scaled in"
        candidate = Rule(((order.candidate.target_group, 1),))
        return (self._not_ours() if route.expected is not None else "") or self._not_alive(candidate)

    def _why_not_plan(self, target: ReleaseTarget) -> str:
        """Why a scale-in may not be planned for the case that we die: only our own switch takes the traffic away first.

        Someone else's candidate, or what is live by now, would lose its machines an hour later.
        """
        rule = self._ports.balancer.rule(self._order.listener)
        if rule is None or target.target_group not in rule.serving:
            return ""
        if self._order.switch_role is None:
            return f"{target.release} has traffic already"
        return self._not_ours()

    def _not_ours(self) -> str:
        if self._order.switch_role is None:
            return ""
        armed = self._armed()
        ours = armed is not None and armed.run == self._run
        return "" if ours else "the dead man's switch no longer belongs to this rollout"

    def _not_alive(self, rule: Rule | None) -> str:
        serving = rule.serving if rule else frozenset()
        if not serving or any(health.healthy(self._weights.targets(arn)) for arn in serving):
            return ""
        return f"{' and '.join(sorted(map(self._order.release_of, serving)))} no longer has a healthy machine"

    def look(self, action: Look) -> Seen:
        """See `Look`. Whatever is not answered makes the whole look unanswered.

        What AWS does not tell, and the order can do without, is `Seen.unknown`.
        """
        order, balancer, fleet = self._order, self._ports.balancer, self._ports.fleet
        unknown: list[str] = []

        def if_told(read: Callable[[], T], otherwise: T) -> T:
            try:
                return read()
            except CloudError as error:
                if not order.terms.best_effort:
                    raise
                unknown.append(str(error))
                return otherwise

        def group(target: ReleaseTarget) -> Group | None:
            read = partial(self._weights.group, target)
            return read() if target == order.candidate else if_told(read, None)

        nothing: Mapping[str, str] = {}
        rule = balancer.rule(order.listener)
        armed = if_told(self._armed, None)
        armed_known = not unknown
        home = armed.rule.serving if armed else frozenset()
        arns = dict.fromkeys([order.candidate.target_group, *sorted(rule.serving if rule else ()), *sorted(home)])
        strange = [arn for arn in arns if order.release_target(arn) is None]
        nobody: tuple[ReleaseTarget, ...] = ()
        strangers = if_told(lambda: self._strangers(strange), nobody)
        alarms = order.policy.alarms if action.first else ()
        tags = if_told(lambda: balancer.tags(order.listener), nothing) if action.first else nothing
        return Seen(
            rule=rule,
            groups=tuple((target.release, group(target)) for target in (*order.releases, *strangers)),
            targets=tuple((arn, self._weights.targets(arn)) for arn in arns),
            failures=if_told(lambda: fleet.failures(order.candidate.group), ()) if action.first else (),
            tags=tags,
            alarms=needed(self._ports.metrics).alarms(alarms) if alarms else {},
            armed=armed,
            strangers=strangers,
            keys=if_told(self._keys, ()) if action.first else (),
            unknown=tuple(dict.fromkeys(unknown)),
            armed_known=armed_known,
            metrics=self._first_metrics(rule) if action.first else (),
            time=self._ports.today() if rollout_tags.FROZEN in tags else None,
        )

    def _first_metrics(self, rule: Rule | None) -> tuple[MetricRead, ...]:
        """None if the candidate has all the traffic already: then nothing will be judged."""
        serving = rule.serving if rule else frozenset()
        if not self._metrics.reads or serving == {self._order.candidate.target_group}:
            return ()
        live = sorted(serving - {self._order.candidate.target_group})
        return self._metrics.first(live[0] if len(live) == 1 else None, self._release_target)

    def _release_target(self, target_group: str) -> ReleaseTarget | None:
        """The release of a target group, declared or not."""
        return self._order.release_target(target_group) or next(iter(self._strangers([target_group])), None)

    def _keys(self) -> tuple[KeyState, ...]:
        """The states of the candidate's keys; none without a port, as for a look at what is real."""
        keys = self._ports.keys
        return tuple(map(keys.state, self._order.candidate.keys)) if keys is not None else ()

    def _strangers(self, target_groups: Sequence[str]) -> tuple[ReleaseTarget, ...]:
        """The releases that these target groups belong to. One with the name of one of the order gets another."""
        if not target_groups:
            return ()
        known = {target.release for target in self._order.releases}
        return tuple(
            replace(target, release=target.group) if target.release in known else target
            for target in self._ports.fleet.releases_of(target_groups, self._order.service)
        )

    def _rule(self) -> tuple[bool, Rule | None]:
        """Whether the rule is known, and the rule."""
        try:
            return True, self._ports.balancer.rule(self._order.listener)
        except TryAgain:
            return False, None

    def _reading(self, wanted: int) -> Reading:
        candidate, fleet = self._order.candidate, self._ports.fleet
        targets = known_or_none(lambda: self._weights.targets(candidate.target_group))
        if targets is not None and health.healthy(targets) >= wanted:
            return Reading(targets)  # a good reading needs no explanation, and going back must be quick
        group = self._told_or_none(lambda: self._weights.group(candidate))
        return Reading(
            targets,
            machines=group.machines if group else None,
            desired=group.desired if group else None,
            failures=self._told_or_none(lambda: fleet.failures(candidate.group)),
            abort=group.abort if group else None,
            on_demand_percent=group.on_demand_percent if group else None,
            on_demand_base=group.on_demand_base if group else 0,
        )

    def _get(self, release: str | None = None) -> Answer:
        policy = self._order.policy
        url = self._order.url.rstrip("/") + policy.probe_path
        return needed(self._ports.prober).get(url, release=release, timeout=policy.probe_timeout)

    def _evidence(self, action: ReadEvidence) -> Evidence:
        order, policy, candidate = self._order, self._order.policy, self._order.candidate
        live = action.live
        known, rule = self._rule()
        return Evidence(
            rule=rule,
            rule_known=known,
            targets=known_or_none(lambda: self._weights.targets(candidate.target_group)),
            home_targets=known_or_none(lambda: self._weights.targets(live)) if live and action.shared else None,
            group=known_or_none(lambda: self._weights.group(candidate)),
            answer=self._get(),
            alarms=known_or_none(lambda: needed(self._ports.metrics).alarms(policy.alarms)) if policy.alarms else None,
            periods=known_or_none(lambda: self._periods(action)) if order.policy.counts_requests else None,
            metrics=self._metrics.read(live if action.shared else None, self._release_target, action.seconds),
        )

    def _periods(self, action: ReadEvidence) -> tuple[Period, ...]:
        mine, live, clock = self._order.candidate.target_group, action.live, needed(self._ports.clock)
        before = clock.now()
        asked = [mine] if live is None else [mine, live]
        report = needed(self._ports.metrics).counts(asked, action.seconds, self._order.policy.slow)
        return report.periods(mine, live, before, clock.now())

    def _explained(self, action: Explain) -> Explained:
        for machine in action.machines[:CONSOLES]:
            try:
                console = health.console_tail(self._ports.fleet.console(machine))
            except CloudError:
                continue  # the reason of the abort is known; its illustration must not replace it
            if console:
                return Explained(machine, console)
        return Explained("", "")

    def _compared(self, action: Compare) -> Compared:
        known, rule = self._rule()
        before = [known_or_none(lambda arn=arn: self._weights.targets(arn)) for arn in action.before]  # type: ignore[misc] # mypy infers no type for a bound default
        candidate = known_or_none(lambda: self._weights.targets(self._order.candidate.target_group))
        try:
            armed, armed_known = self._armed(), True
        except CloudError as error:
            if not (isinstance(error, TryAgain) or self._order.terms.best_effort):
                raise
            armed, armed_known = None, False
        healthy = [health.healthy(targets) for targets in before if targets is not None]
        return Compared(
            before=sum(healthy) if len(healthy) == len(before) else None,
            candidate=None if candidate is None else health.healthy(candidate),
            rule=rule,
            rule_known=known,
            armed=armed,
            armed_known=armed_known,
        )

    def _told_or_none(self, read: Callable[[], T]) -> T | None:
        """As `known_or_none`; what AWS refuses to tell an order that can do without is unknown, too."""
        try:
            return known_or_none(read)
        except CloudError:
            if not self._order.terms.best_effort:
                raise
            return None

    def _armed(self) -> Armed | None:
        """Also without a role of our own: a run before may have had one."""
        return self._ports.switch.armed() if self._ports.switch else None


def _paused(change: MarkPaused) -> rollout_tags.Paused:
    """By this computer's clock, which people read: the rollout itself goes by another one."""
    since = datetime.now(UTC)
    run, _, place = change.pause.partition(" ")
    until = since + timedelta(seconds=change.seconds)
    return rollout_tags.Paused(
        run, place, since.isoformat(timespec="seconds"), until.isoformat(timespec="seconds"), change.otherwise.value
    )


def known_or_none(read: Callable[[], T]) -> T | None:
    """What was read; None if AWS does not answer. A refusal is raised."""
    try:
        return read()
    except TryAgain:
        return None


def needed(port: T | None) -> T:
    """A port that the order needs. That it is missing is a defect of the caller."""
    if port is None:
        raise TypeError("this order needs a port that was not given")
    return port
