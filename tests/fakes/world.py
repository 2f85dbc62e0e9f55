"""Stand-in for a load balancer and its fleet, on a clock of its own: machines boot, rules take effect, calls fail.

It behaves: groups launch and end machines to their desired capacity, targets are healthy when their machine has booted,
a group refuses sizes outside its bounds, and every moment's traffic is recorded, so that tests can judge states.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout.health import Failure, Machine, Target
from fleetswap.domain.rollout.model import Order, ReleaseTarget, Rule
from fleetswap.domain.rollout.notices import Notice
from fleetswap.domain.rollout.policy import Policy
from tests.fakes import aws
from tests.fakes.aws import LISTENER, Aws, call

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
class Release(aws.Release):
    """A release whose machines take their time to boot, or cannot be launched."""

    boot: float = 6.0
    cannot_launch: str = ""
    machines: list[Boot] = field(default_factory=list)
    ended: list[tuple[float, Boot]] = field(default_factory=list)
    """Machines that are gone, and since when: the target group takes `LAG` to notice."""


@dataclass
class Fault:
    """What goes wrong at one call: before it takes effect, or after."""

    error: BaseException
    after: bool = False


class World(Aws[Release]):
    """A world on a script: the test says which calls fail, and every moment's traffic is recorded."""

    def __init__(self, **releases: Release) -> None:
        super().__init__(releases, 1000.0, period=60, requests=10.0)
        self.calls = 0
        self.names = [""]
        self.faults: dict[int, Fault] = {}
        self.broken_calls: dict[str, BaseException] = {}
        self.traffic: list[tuple[float, frozenset[str]]] = []
        self.dark: list[str] = []
        self.log: list[str] = []
        self.alarm_states: dict[str, str] = {}
        self.notices: list[Notice] = []
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

    def advance(self, seconds: float) -> None:
        self.count(self.time + seconds)
        self.time += seconds
        self.tick()

    def tick(self) -> None:
        if self.schedule and self.time >= self.schedule[0]:
            self.rule_now, self.schedule = self.schedule[1], None
        for release in self.releases.values():
            if release.scale_in_at is not None and self.time >= release.scale_in_at:
                release.minimum, release.desired, release.scale_in_at = 0, 0, None
            while len(release.machines) > release.desired:
                release.ended.append((self.time, release.machines.pop()))
            if release.cannot_launch and len(release.machines) < release.desired:
                if not release.failures or self.time - float(release.failures[0].id) >= 10:
                    release.failures = (Failure(str(self.time), release.cannot_launch), *release.failures)
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
            if name[3:] in self.releases and not self.healthy(name[3:]):
                self.dark.append(f"{self.time}: {name} has traffic and no healthy machine")

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

    # What AWS does in it

    def begin_call(self, name: str) -> None:
        self.calls += 1
        self.names.append(name)
        self.advance(CALL_SECONDS)
        if name in self.broken_calls:
            raise self.broken_calls[name]
        self._fail(after=False)

    def end_call(self, _name: str) -> None:
        self.tick()
        self._fail(after=True)

    def _fail(self, *, after: bool) -> None:
        fault = self.faults.get(self.calls)
        if fault and fault.after is after:
            raise fault.error

    def changed(self, release: Release) -> None:
        if "spot" in release.cannot_launch and release.on_demand_percent:
            release.cannot_launch = ""

    def machines(self, release: Release) -> tuple[Machine, ...]:
        return tuple(Machine(machine.id, "InService") for machine in release.machines)

    def healthy(self, name: str) -> int:
        release = self.releases[name]
        return sum(release.healthy and self.time - machine.born >= release.boot for machine in release.machines)

    def health(self, release: Release) -> tuple[Target, ...]:
        def shown(machine: Boot) -> Target:
            if self.time - machine.born < release.boot:
                return Target(machine.id, "initial", "Elb.InitialHealthChecking", "Initial health checks")
            if release.healthy:
                return Target(machine.id, "healthy")
            told = "Health checks failed with these codes: [503]"
            return Target(machine.id, "unhealthy", "Target.ResponseCodeMismatch", told)

        late = [each for end, each in release.ended if self.time - end < LAG and end - each.born > release.boot]
        return tuple(shown(machine) for machine in (*release.machines, *late))

    def alarm_state(self, name: str) -> str | None:
        return self.alarm_states.get(name)

    # Notifier

    @call
    def tell(self, notice: Notice) -> None:
        self.notices.append(notice)

    # Clock

    @call
    def now(self) -> float:
        return self.time

    @call
    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:  # noqa: ARG002 (as of any clock)
        end = self.time + seconds
        while self.time < end:
            self.advance(min(1.0, end - self.time))

    def say(self, text: str) -> None:
        self.log.append(text)


def running(count: int, **behaviour: object) -> Release:
    """A release whose machines run already."""
    return replace(Release(minimum=count, desired=count), **behaviour)  # type: ignore[arg-type] # names of its fields


REFUSED = CloudError("AWS refuses autoscaling:UpdateAutoScalingGroup on asg: give the deploying role that permission")
THROTTLED = TryAgain("AWS does not answer for now (Throttling)")
