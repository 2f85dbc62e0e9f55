"""What AWS holds of one service and how it answers: all ports of `fleetswap.workflows.rollout.ports`, for all tests.

It holds the rule with its tags, the groups and their scheduled scale-in, the dead man's switch and what CloudWatch has
counted. How time passes, how machines come and go, and which calls fail is of those that inherit it: `World`, on a
script, and `SimWorld`, small and with a physics of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Concatenate, Generic, ParamSpec, TypeVar

from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.health import Answer, Failure, Machine, Target
from fleetswap.domain.rollout.metric_checks import CloudWatch, Prometheus
from fleetswap.domain.rollout.metric_values import Sample, Series
from fleetswap.domain.rollout.model import Armed, Group, ReleaseTarget, Rule
from fleetswap.domain.rollout.periods import Figures, Report, Told
from fleetswap.domain.rollout.schedules import Schedule, digest
from fleetswap.domain.rollout.warm_pool import EMPTY, WarmPool

LISTENER = "arn:listener"


@dataclass
class Release:
    """A release's group, and how its machines behave."""

    minimum: int = 0
    desired: int = 0
    maximum: int = 8
    tags: dict[str, str] = field(default_factory=dict)
    scale_in_at: float | None = None
    schedules: tuple[Schedule, ...] = ()
    """Those that its scheduled actions are made of."""
    warm_pool: WarmPool | None = None
    takes_pool: bool = True
    """As a group that requests no Spot Instances does."""
    pool_leaves: bool = False
    """Whether AWS still deletes the pool that it had."""
    on_demand_percent: int = 0
    failures: Sequence[Failure] = ()
    weighted: bool = False
    image: str = "ami-right"
    console: str = ""
    healthy: bool = True
    status: int = 200
    """What it answers through its preview rule."""
    loaded_status: int = 200
    """What it answers with real traffic."""
    error_rate: float = 0.0
    """Part of its real requests that it answers with 5xx."""
    slow_rate: float = 0.0
    drop_rate: float = 0.0
    """Part of its requests that it answers with nothing; the load balancer answers with its own 502."""
    metric: str = "good"
    """What its own metric is while it has traffic: `good`, `bad`, `none`, `flapping`, or good and very `late`."""
    worse_from: float = 0.0
    """The share of the traffic from which on it does so: a release that does not bear the load."""


R = TypeVar("R", bound=Release)
T = TypeVar("T")
P = ParamSpec("P")
W = TypeVar("W", bound="Aws")  # type: ignore[type-arg] # of any release


def call(method: Callable[Concatenate[W, P], T]) -> Callable[Concatenate[W, P], T]:
    """A call to AWS, which may fail before its effect, or after it."""
    name = method.__name__

    @wraps(method)
    def called(world: W, /, *args: P.args, **kwargs: P.kwargs) -> T:
        world.begin_call(name)
        found = method(world, *args, **kwargs)
        world.end_call(name)
        return found

    return called


class Aws(Generic[R]):
    """Balancer, fleet, metrics, switch and prober in one."""

    def __init__(self, releases: dict[str, R], time: float, *, period: int, requests: float) -> None:
        self.releases = releases
        self.time = time
        self.rule_now: Rule | None = None
        self.rule_tags: dict[str, str] = {}
        self.written: list[tuple[tuple[str, int], ...]] = []
        self.schedule: tuple[float, Rule, str] | None = None
        self.period, self.requests = period, requests
        """Seconds of a period of CloudWatch, and requests a second."""
        self.skew = 0
        """How far AWS's clock is ahead of the deployer's."""
        self.counted: dict[tuple[str, int], tuple[float, float, float, float]] = {}
        """Requests, 5xx, unanswered and slow ones by target group and period."""

    # What differs from world to world

    def begin_call(self, name: str) -> None:
        """Whatever happens before a call has its effect; it may raise."""
        raise NotImplementedError

    def end_call(self, name: str) -> None:
        """Whatever happens when a call has had its effect; it may raise, as if its answer were lost."""
        raise NotImplementedError

    def between_calls(self) -> None:
        """In the middle of what takes two requests; it may raise."""

    def machines(self, release: R) -> tuple[Machine, ...]:
        raise NotImplementedError

    def health(self, release: R) -> tuple[Target, ...]:
        raise NotImplementedError

    def healthy(self, name: str) -> int:
        """Machines of the release that answer."""
        raise NotImplementedError

    def alarm_state(self, name: str) -> str | None:
        raise NotImplementedError

    def write(self, rule: Rule | None) -> None:
        """The rule's tags go with it (DeleteRule)."""
        self.rule_now = rule
        if rule is None:
            self.rule_tags = {}

    def shown(self) -> Rule | None:
        """The rule as reads show it."""
        return self.rule_now

    def set_size(self, name: str, minimum: int, desired: int) -> None:
        self.releases[name].minimum, self.releases[name].desired = minimum, desired

    def changed(self, release: R) -> None:
        """The group's size or its purchase options are new."""

    def plan(self, release: R, at: float | None) -> None:
        """Put, move or delete the scheduled action that scales in."""
        release.scale_in_at = at

    def come(self, arn: str, period: int, metric: str, count: int) -> int:  # noqa: ARG002 (of those that tell it late)
        """What of a count CloudWatch tells by now."""
        return count if self.time >= period + self.period else 0

    # Balancer

    @call
    def rule(self, listener: str) -> Rule | None:
        assert listener == LISTENER
        return self.shown()

    @call
    def forward(self, listener: str, weights: tuple[tuple[str, int], ...]) -> None:
        assert listener == LISTENER
        self.written = [*self.written, weights]
        self.write(rule_of(weights))

    @call
    def restore(self, listener: str, rule: Rule | None) -> None:
        assert listener == LISTENER
        self.write(rule)

    @call
    def mend(self, listener: str) -> None:
        assert listener == LISTENER
        if self.rule_now is not None:
            self.write(replace(self.rule_now, odd=()))

    @call
    def targets(self, target_group: str) -> tuple[Target, ...]:
        release = self.releases.get(target_group[3:])
        return self.health(release) if release else ()

    @call
    def tags(self, listener: str) -> dict[str, str]:
        assert listener == LISTENER
        return dict(self.rule_tags) if self.rule_now else {}

    @call
    def tag(self, thing: str, tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """Of the rule, if there is one, or of a group."""
        if thing == LISTENER and self.rule_now is None:
            return
        had = self.rule_tags if thing == LISTENER else self._found(thing).tags
        had |= tags
        self.between_calls()
        for key in remove:
            had.pop(key, None)

    # Fleet

    def _found(self, group: str) -> R:
        if group[4:] not in self.releases:
            raise CloudError(f"ValidationError: there is no group {group}")
        return self.releases[group[4:]]

    @call
    def group(self, name: str) -> Group | None:
        release = self.releases.get(name[4:])
        if release is None:
            return None
        tags = release.tags
        scale_in = rollout_tags.ScaleIn.read(tags[rollout_tags.SCALE_IN]) if rollout_tags.SCALE_IN in tags else None
        return Group(
            release.minimum,
            release.desired,
            release.maximum,
            self.machines(release),
            pin=rollout_tags.number(tags.get(rollout_tags.PIN)),
            abort=tags.get(rollout_tags.ABORT),
            paused=tags.get(rollout_tags.PAUSED),
            continued=tags.get(rollout_tags.CONTINUE),
            scale_in=scale_in.at if scale_in else None,
            scale_in_note=scale_in.note if scale_in else "",
            has_action=release.scale_in_at is not None,
            on_demand_percent=release.on_demand_percent,
            on_demand_pin=rollout_tags.number(tags.get(rollout_tags.ON_DEMAND)),
            weighted=release.weighted,
            follows=tags.get(rollout_tags.SCHEDULES, ""),
            warm_pool=release.warm_pool,
        )

    @call
    def resize(self, name: str, *, minimum: int, desired: int | None) -> None:
        release = self._found(name)
        wanted = max(release.desired, minimum) if desired is None else desired
        if not minimum <= wanted <= release.maximum:
            raise CloudError(f"ValidationError: {name}: {minimum} <= {wanted} <= {release.maximum} does not hold")
        self.set_size(name[4:], minimum, wanted)
        self.changed(release)

    @call
    def on_demand(self, name: str, percent: int) -> None:
        release = self._found(name)
        release.on_demand_percent = percent
        self.changed(release)

    @call
    def untag(self, name: str, keys: Sequence[str]) -> None:
        for key in keys if name[4:] in self.releases else ():
            self.releases[name[4:]].tags.pop(key, None)

    @call
    def schedule_scale_in(self, name: str, seconds: float, note: str = "") -> None:
        """The tag first, as the port promises. AWS's schedules know whole seconds."""
        release, at = self._found(name), self.time + math.ceil(seconds)
        release.tags[rollout_tags.SCALE_IN] = rollout_tags.ScaleIn(str(at), note).value
        self.between_calls()
        self.plan(release, at)

    @call
    def cancel_scale_in(self, name: str) -> None:
        release = self._found(name)
        self.plan(release, None)
        self.between_calls()
        release.tags.pop(rollout_tags.SCALE_IN, None)

    @call
    def schedules(self, name: str) -> tuple[Schedule, ...]:
        return self._found(name).schedules

    @call
    def follow(self, name: str, schedules: Sequence[Schedule], minimum: int) -> None:  # noqa: ARG002 - one is due
        """In two requests or more. The schedule that was due last is the first one."""
        release = self._found(name)
        release.tags[rollout_tags.SCHEDULES] = rollout_tags.MOVING
        self.between_calls()
        release.schedules = tuple(schedules)
        if schedules:
            at = schedules[0].minimum
            self.set_size(name[4:], at, max(release.desired, at))
            self.changed(release)
            release.tags[rollout_tags.SCHEDULES] = digest(schedules)
        else:
            release.tags.pop(rollout_tags.SCHEDULES, None)

    @call
    def keep_warm_pool(self, name: str, pool: WarmPool | None) -> None:
        release = self._found(name)
        if pool is not None and not release.takes_pool:
            raise CloudError(f"ValidationError: {name} requests Spot Instances")
        if pool is not None and release.pool_leaves:
            if pool == EMPTY:
                return
            raise TryAgain(f"the warm pool that {name} had is still being deleted")
        release.warm_pool = pool

    @call
    def failures(self, name: str) -> tuple[Failure, ...]:
        return tuple(self._found(name).failures)

    @call
    def console(self, machine: str) -> str:
        return "".join(each.console for each in self.releases.values() if machine in self._ids(each))

    @call
    def images(self, machines: Sequence[str]) -> dict[str, str]:
        return {id_: each.image for each in self.releases.values() for id_ in self._ids(each) if id_ in machines}

    def _ids(self, release: R) -> tuple[str, ...]:
        return tuple(machine.id for machine in self.machines(release))

    @call
    def releases_of(self, target_groups: Sequence[str], service: str) -> tuple[ReleaseTarget, ...]:
        assert service == "web"
        return tuple(
            ReleaseTarget(name, f"asg-{name}", f"tg-{name}") for name in self.releases if f"tg-{name}" in target_groups
        )

    # Metrics

    @call
    def counts(self, target_groups: Sequence[str], seconds: float, slow: float | None) -> Report:
        """By AWS's clock, and only what has come by now."""
        assert slow is None or slow > 0
        first = (self.time - seconds) // self.period * self.period
        told = []
        at: dict[int, list[str]] = {}
        for arn, period in self.counted:
            if period >= first:
                at.setdefault(period, []).append(arn)
        for period in sorted(at):
            groups = {arn: self.figures(arn, period, timed=slow is not None) for arn in at[period]}
            own = sum(self.come(arn, period, "own", int(self.counted[arn, period][2])) for arn in groups)
            whole = sum(self.come(arn, period, "all", int(self.counted[arn, period][0])) for arn in groups)
            if whole or own or any(each != Figures() for each in groups.values()):
                asked = {arn: groups[arn] for arn in target_groups if arn in groups}
                told.append(Told(period + self.skew, asked, requests=whole, own_5xx=own))
        return Report(int(self.time) + self.skew, self.period, tuple(told))

    def figures(self, arn: str, period: int, *, timed: bool) -> Figures:
        requests, errors, dropped, slow = map(int, self.counted[arn, period])
        return Figures(
            requests=self.come(arn, period, "requests", requests),
            good=self.come(arn, period, "good", requests - errors - dropped),
            errors=self.come(arn, period, "errors", errors),
            timed=self.come(arn, period, "timed", requests) if timed else 0,
            quick=self.come(arn, period, "quick", requests - slow) if timed else 0,
        )

    def count(self, until: float) -> None:
        """What the load balancer sees from now on, until then; a stretch of time may touch several periods."""
        for arn, share in self.rule_now.shares() if self.rule_now and until > self.time else ():
            release, at = self.releases.get(arn[3:]), self.time
            bad = release is not None and share >= release.worse_from
            while at < until:
                period = int(at // self.period) * self.period
                end = min(period + self.period, until)
                requests, errors, dropped, slow = self.counted.get((arn, period), (0.0, 0.0, 0.0, 0.0))
                more, at = (end - at) * share * self.requests, end
                if release is not None and bad:
                    errors += more * release.error_rate
                    dropped += more * release.drop_rate
                    slow += more * release.slow_rate
                self.counted[arn, period] = (requests + more, errors, dropped, slow)

    @call
    def alarms(self, names: Sequence[str]) -> dict[str, str]:
        return {name: state for name in names if (state := self.alarm_state(name)) is not None}

    def metric(self, name: str, at: float) -> float | None:
        """The value of a release's own metric, of the period that is then: 1 is good and 9 is not."""
        period = int(at // self.period) * self.period
        release = self.releases.get(name)
        if release is None or self.counted.get((f"tg-{name}", period), (0.0,))[0] < 1:
            return None
        bad = release.metric == "bad" or (release.metric == "flapping" and period // self.period % 2)
        return None if release.metric == "none" else 9.0 if bad else 1.0

    @call
    def values(self, query: CloudWatch, seconds: float) -> Series:
        """Of the release that the dimension `Release` names, and only what has come by now."""
        name, step = query.dimensions["Release"], query.period
        slow = 4 if name in self.releases and self.releases[name].metric == "late" else 1
        first, last = int((self.time - seconds) // step) * step, int(self.time - step * slow)
        found = {at + self.skew: self.metric(name, at) for at in range(first, last + 1, step)}
        return Series(int(self.time) + self.skew, self.period, {at: v for at, v in found.items() if v is not None})

    @call
    def value(self, query: Prometheus) -> Sample:
        """Of the release that the query is the name of, in the period before."""
        found = self.metric(query.query, self.time - query.window)
        return Sample(self.time + self.skew, 0.0, found, "" if found is not None else "no series matches")

    # Switch

    @call
    def arm(self, seconds: float, rule: Rule, run: str) -> None:
        self.schedule = (self.time + math.ceil(seconds), rule, run)

    @call
    def disarm(self, run: str | None) -> None:
        if self.schedule and run in {None, self.schedule[2]}:
            self.schedule = None

    @call
    def armed(self) -> Armed | None:
        return Armed(self.schedule[1], self.schedule[0] - self.time, self.schedule[2]) if self.schedule else None

    # Prober

    @call
    def get(self, url: str, *, release: str | None, timeout: float) -> Answer:
        """Real traffic is answered by who has most of it."""
        assert timeout > 0
        assert url.startswith("http://127.0.0.1")
        name = release
        if name is None:
            if self.rule_now is None or not self.rule_now.weights:
                return Answer(503)
            name = max(self.rule_now.weights, key=lambda pair: pair[1])[0][3:]
        asked = self.releases[name]
        return Answer(503 if not self.healthy(name) else asked.status if release else asked.loaded_status)


def rule_of(weights: tuple[tuple[str, int], ...]) -> Rule:
    """As the balancer gives it: with what is needed to write it again."""
    return Rule(weights, verbatim=f"verbatim {weights}")
