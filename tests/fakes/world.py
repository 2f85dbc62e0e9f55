"""Stand-in for a load balancer and its fleet, on a clock of its own: machines boot, rules take effect, calls fail.

It behaves: groups launch and end machines to their desired capacity, targets are healthy when their machine has booted,
a group refuses sizes outside its bounds, and every moment's traffic is recorded, so that tests can judge states.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.health import Answer, Failure, Machine, Target
from fleetswap.domain.rollout.model import Armed, Group, Order, Policy, ReleaseTarget, Rule
from fleetswap.domain.rollout.notices import Notice
from fleetswap.domain.rollout.periods import Figures, Report, Told

LISTENER = "arn:listener"
CALL_SECONDS = 0.01
LAG = 0.5
"""Seconds for which a machine that has ended still reads as healthy."""
POLICY = Policy(minimum=2, deadline=120, readings=3, interval=2, shift_deadline=20, patience=60)


def target(name: str) -> ReleaseTarget:
    return ReleaseTarget(release=name, group=f"asg-{name}", target_group=f"tg-{name}")


def order(candidate: str, *others: str, standby: str | None = None, policy: Policy = POLICY) -> Order:
    return Order(
        service="web",
        listener=LISTENER,
        url="http://127.0.0.1:80",
        candidate=target(candidate),
        others=tuple(target(name) for name in others),
        standby=standby,
        policy=policy,
    )


@dataclass
class Boot:
    """One simulated machine."""

    id: str
    born: float


@dataclass
class Release:
    """How a release's machines behave, and its group."""

    minimum: int = 0
    desired: int = 0
    maximum: int = 8
    boot: float = 6.0
    healthy: bool = True
    status: int = 200
    """What it answers through its preview rule."""
    loaded_status: int = 200
    """What it answers with real traffic."""
    cannot_launch: str = ""
    console: str = ""
    machines: list[Boot] = field(default_factory=list)
    ended: list[tuple[float, Boot]] = field(default_factory=list)
    """Machines that are gone, and since when: the target group takes `LAG` to notice."""
    failures: list[Failure] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    scale_in_at: float | None = None
    image: str = "ami-right"
    on_demand_percent: int | None = 0
    error_rate: float = 0.0
    """Part of its real requests that it answers with 5xx."""
    slow_rate: float = 0.0


@dataclass
class Fault:
    """What goes wrong at one call: before it takes effect, or after."""

    error: BaseException
    after: bool = False


class World:
    """Balancer, fleet, prober and clock in one; each of them is a view on it."""

    def __init__(self, **releases: Release) -> None:
        self.releases = releases
        self.rule_now: Rule | None = None
        self.time = 1000.0
        self.calls = 0
        self.names = [""]
        self.faults: dict[int, Fault] = {}
        self.broken_calls: dict[str, BaseException] = {}
        self.traffic: list[tuple[float, frozenset[str]]] = []
        self.dark: list[str] = []
        self.log: list[str] = []
        self.written: list[tuple[tuple[str, int], ...]] = []
        self.rule_tags: dict[str, str] = {}
        self.schedule: tuple[float, Rule, str] | None = None
        self.alarm_states: dict[str, str] = {}
        self.notices: list[Notice] = []
        self.load = 10.0
        """Requests a second."""
        self.counted: dict[str, dict[int, list[float]]] = {}
        """Requests, errors and slow answers by target group and minute. A minute is told of when it is over."""
        self._counted_until = self.time
        self._born = 0
        self.tick()
        for release in releases.values():
            for machine in release.machines:
                machine.born = -1000.0

    # The world itself

    def put_traffic(self, **weights: int) -> None:
        pairs = tuple((f"tg-{name}", weight) for name, weight in weights.items())
        self.rule_now = Rule(pairs, verbatim=f"verbatim {sorted(weights.items())}")
        self.tick()

    def tick(self) -> None:
        self._count()
        if self.schedule and self.time >= self.schedule[0]:
            self.rule_now, self.schedule = self.schedule[1], None
        for release in self.releases.values():
            if release.scale_in_at is not None and self.time >= release.scale_in_at:
                release.minimum, release.desired, release.scale_in_at = 0, 0, None
            while len(release.machines) > release.desired:
                release.ended.append((self.time, release.machines.pop()))
            if release.cannot_launch and len(release.machines) < release.desired:
                if not release.failures or self.time - float(release.failures[0].id) >= 10:
                    release.failures.insert(0, Failure(str(self.time), release.cannot_launch))
                continue
            while len(release.machines) < release.desired:
                self._born += 1
                release.machines.append(Boot(f"i-{self._born:04}", self.time))
        self._watch()

    def _watch(self) -> None:
        serving = self.serving()
        if not self.traffic or self.traffic[-1][1] != serving:
            self.traffic.append((self.time, serving))
        for name in serving:
            known = self.releases.get(name.removeprefix("tg-"))
            if known is not None and not self._healthy(known):
                self.dark.append(f"{self.time}: {name} has traffic and no healthy machine")

    def _count(self) -> None:
        seconds, self._counted_until = self.time - self._counted_until, self.time
        if seconds <= 0 or self.rule_now is None:
            return
        for arn, share in self.rule_now.shares():
            release = self.releases.get(arn.removeprefix("tg-"))
            minute = self.counted.setdefault(arn, {}).setdefault(int(self.time // 60) * 60, [0.0, 0.0, 0.0])
            requests = seconds * share * self.load
            minute[0] += requests
            if release is not None:
                minute[1] += requests * release.error_rate
                minute[2] += requests * release.slow_rate

    def serving(self) -> frozenset[str]:
        return self.rule_now.serving if self.rule_now else frozenset()

    def size(self, name: str) -> tuple[int, int]:
        """Minimum and desired capacity, when the scale-in that waits for the load balancer only has happened."""
        due = self.releases[name].scale_in_at
        if due is not None and due - self.time <= POLICY.convergence:
            planted, self.faults = self.faults, {}  # it is the test that waits, not the rollout
            self.sleep(due - self.time)
            self.faults = planted
        return self.releases[name].minimum, self.releases[name].desired

    def _healthy(self, release: Release) -> int:
        return sum(release.healthy and self.time - machine.born >= release.boot for machine in release.machines)

    def _call(self, name: str) -> Iterator[None]:
        """A generator of two steps: raise before, or after, the effect."""
        self.calls += 1
        self.names.append(name)
        self.time += CALL_SECONDS
        self.tick()
        fault = self.faults.get(self.calls)
        if name in self.broken_calls:
            raise self.broken_calls[name]
        if fault and not fault.after:
            raise fault.error
        yield
        self.tick()
        if fault and fault.after:
            raise fault.error
        yield

    # Balancer

    def rule(self, listener: str) -> Rule | None:
        assert listener == LISTENER
        call = self._call("rule")
        next(call)
        found = self.rule_now
        next(call)
        return found

    def forward(self, listener: str, weights: tuple[tuple[str, int], ...]) -> None:
        assert listener == LISTENER
        call = self._call("forward")
        next(call)
        self.written.append(weights)
        self.rule_now = Rule(weights, verbatim="ours")
        next(call)

    def restore(self, listener: str, rule: Rule | None) -> None:
        assert listener == LISTENER
        call = self._call("restore")
        next(call)
        self.rule_now = rule
        next(call)

    def mend(self, listener: str) -> None:
        assert listener == LISTENER
        call = self._call("mend")
        next(call)
        self.rule_now = None if self.rule_now is None else replace(self.rule_now, odd=())
        next(call)

    def targets(self, target_group: str) -> tuple[Target, ...]:
        call = self._call("targets")
        next(call)
        release = self.releases[target_group.removeprefix("tg-")]
        found = []
        for machine in release.machines:
            if self.time - machine.born < release.boot:
                found.append(Target(machine.id, "initial", "Elb.InitialHealthChecking", "Initial health checks"))
            elif release.healthy:
                found.append(Target(machine.id, "healthy"))
            else:
                found.append(
                    Target(
                        machine.id,
                        "unhealthy",
                        "Target.ResponseCodeMismatch",
                        "Health checks failed with these codes: [503]",
                    )
                )
        late = [
            machine for end, machine in release.ended if self.time - end < LAG and end - machine.born > release.boot
        ]
        next(call)
        return tuple(found) + tuple(
            Target(machine.id, "healthy" if release.healthy else "unhealthy") for machine in late
        )

    def tags(self, listener: str) -> dict[str, str]:
        assert listener == LISTENER
        call = self._call("tags")
        next(call)
        found = dict(self.rule_tags) if self.rule_now else {}
        next(call)
        return found

    # Balancer's of the rule, and fleet's of a group

    def tag(self, thing: str, tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        call = self._call("tag")
        next(call)
        had = self.rule_tags if thing == LISTENER else self.releases[thing.removeprefix("asg-")].tags
        had |= tags
        for key in remove:
            had.pop(key, None)
        next(call)

    # Fleet

    def untag(self, name: str, keys: Sequence[str]) -> None:
        call = self._call("untag")
        next(call)
        for key in keys:
            self.releases[name.removeprefix("asg-")].tags.pop(key, None)
        next(call)

    def releases_of(self, target_groups: Sequence[str], service: str) -> tuple[ReleaseTarget, ...]:
        assert service == "web"
        call = self._call("sides_of")
        next(call)
        found = tuple(target(name) for name in self.releases if f"tg-{name}" in target_groups)
        next(call)
        return found

    def schedule_scale_in(self, name: str, seconds: float, note: str = "") -> None:
        call = self._call("schedule_scale_in")
        next(call)
        release = self.releases[name.removeprefix("asg-")]
        release.scale_in_at = self.time + seconds
        release.tags[rollout_tags.SCALE_IN] = rollout_tags.ScaleIn(f"{release.scale_in_at}", note).value
        next(call)

    def cancel_scale_in(self, name: str) -> None:
        call = self._call("cancel_scale_in")
        next(call)
        release = self.releases[name.removeprefix("asg-")]
        release.scale_in_at = None
        release.tags.pop(rollout_tags.SCALE_IN, None)
        next(call)

    def images(self, machines: Sequence[str]) -> dict[str, str]:
        call = self._call("images")
        next(call)
        found = {
            machine.id: release.image
            for release in self.releases.values()
            for machine in release.machines
            if machine.id in machines
        }
        next(call)
        return found

    def on_demand(self, name: str, percent: int) -> None:
        call = self._call("on_demand")
        next(call)
        release = self.releases[name.removeprefix("asg-")]
        if "spot" in release.cannot_launch and percent == 100:
            release.cannot_launch = ""
        release.on_demand_percent = percent
        next(call)

    def group(self, name: str) -> Group | None:
        call = self._call("group")
        next(call)
        release = self.releases.get(name.removeprefix("asg-"))
        next(call)
        if release is None:
            return None
        machines = tuple(Machine(machine.id, "InService") for machine in release.machines)
        scale_in = (
            rollout_tags.ScaleIn.read(release.tags[rollout_tags.SCALE_IN])
            if rollout_tags.SCALE_IN in release.tags
            else None
        )
        return Group(
            release.minimum,
            release.desired,
            release.maximum,
            machines,
            pin=rollout_tags.number(release.tags.get(rollout_tags.PIN)),
            abort=release.tags.get(rollout_tags.ABORT),
            scale_in=scale_in.at if scale_in else None,
            scale_in_note=scale_in.note if scale_in else "",
            has_action=release.scale_in_at is not None,
            on_demand_percent=release.on_demand_percent,
            on_demand_pin=rollout_tags.number(release.tags.get(rollout_tags.ON_DEMAND)),
        )

    def resize(self, name: str, *, minimum: int, desired: int | None) -> None:
        call = self._call("resize")
        next(call)
        release = self.releases[name.removeprefix("asg-")]
        wanted = release.desired if desired is None else desired
        wanted = max(wanted, minimum) if desired is None else wanted
        if not minimum <= wanted <= release.maximum:
            raise CloudError(f"ValidationError: {name}: {minimum} <= {wanted} <= {release.maximum} does not hold")
        release.minimum, release.desired = minimum, wanted
        next(call)

    def failures(self, name: str) -> tuple[Failure, ...]:
        call = self._call("failures")
        next(call)
        found = tuple(self.releases[name.removeprefix("asg-")].failures)
        next(call)
        return found

    def console(self, machine: str) -> str:
        call = self._call("console")
        next(call)
        found = [
            release.console for release in self.releases.values() for booted in release.machines if booted.id == machine
        ]
        next(call)
        return "".join(found)

    # Metrics

    def counts(self, target_groups: Sequence[str], seconds: float, slow: float | None) -> Report:
        assert slow is None or slow > 0
        call = self._call("counts")
        next(call)
        first = (self.time - seconds) // 60 * 60
        minutes = {minute for counted in self.counted.values() for minute in counted}
        told = []
        for minute in sorted(minute for minute in minutes if first <= minute <= self.time - 60):
            groups = {arn: self._figures(arn, minute) for arn in self.counted}
            asked = {arn: groups[arn] for arn in target_groups if arn in groups}
            told.append(Told(minute, asked, requests=sum(each.requests for each in groups.values())))
        next(call)
        return Report(int(self.time), 60, tuple(told))

    def _figures(self, arn: str, minute: int) -> Figures:
        requests, errors, slow = map(int, self.counted[arn].get(minute, (0, 0, 0)))
        return Figures(requests, requests - errors, errors, timed=requests, quick=requests - slow)

    def alarms(self, names: Sequence[str]) -> dict[str, str]:
        call = self._call("alarms")
        next(call)
        found = {name: self.alarm_states[name] for name in names if name in self.alarm_states}
        next(call)
        return found

    # Switch

    def arm(self, seconds: float, rule: Rule, run: str) -> None:
        call = self._call("arm")
        next(call)
        self.schedule = (self.time + seconds, rule, run)
        next(call)

    def disarm(self, run: str | None) -> None:
        call = self._call("disarm")
        next(call)
        if self.schedule and run in {None, self.schedule[2]}:
            self.schedule = None
        next(call)

    def armed(self) -> Armed | None:
        call = self._call("armed")
        next(call)
        found = self.schedule
        next(call)
        return Armed(found[1], found[0] - self.time, found[2]) if found else None

    # Notifier

    def tell(self, notice: Notice) -> None:
        call = self._call("tell")
        next(call)
        self.notices.append(notice)
        next(call)

    # Prober

    def get(self, url: str, *, release: str | None, timeout: float) -> Answer:
        assert timeout > 0
        assert url == "http://127.0.0.1:80/"
        call = self._call("get")
        next(call)
        names = [release] if release else sorted(name.removeprefix("tg-") for name in self.serving())
        next(call)
        if not names:
            return Answer(503)
        asked = self.releases[names[0]]
        if not self._healthy(asked):
            return Answer(503)
        return Answer(asked.status if release else asked.loaded_status)

    # Clock

    def now(self) -> float:
        call = self._call("now")
        next(call)
        next(call)
        return self.time

    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:  # noqa: ARG002 (as of any clock)
        call = self._call("sleep")
        next(call)
        end = self.time + seconds
        while self.time < end:
            self.time = min(end, self.time + 1.0)
            self.tick()
        next(call)

    def say(self, text: str) -> None:
        self.log.append(text)


def running(count: int, **behaviour: object) -> Release:
    """A release whose machines run already."""
    return replace(Release(minimum=count, desired=count), **behaviour)  # type: ignore[arg-type] # names of its fields


REFUSED = CloudError("AWS refuses autoscaling:UpdateAutoScalingGroup on asg: give the deploying role that permission")
THROTTLED = TryAgain("AWS does not answer for now (Throttling)")
