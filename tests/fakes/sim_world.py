"""Stand-in for AWS as a rollout meets it, small enough to be copied at every step, on a clock of whole seconds.

Groups launch and lose machines, target tracking takes away what is not needed, rules are read late, scheduled actions
and the dead man's switch fire by themselves. It implements all ports of `fleetswap.workflows.rollout.ports` at once.
Whether traffic or capacity is ever lost is judged in `broken`, from the world alone.
"""

from __future__ import annotations

import math
import sys
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.health import Failure, Machine, Target
from fleetswap.domain.rollout.model import Rule
from fleetswap.domain.rollout.moments import HookCall, HookResult
from fleetswap.domain.rollout.periods import Figures
from tests.fakes.aws import Aws, Release, rule_of

BOOT = 3
"""Seconds from the launch of a machine to its first good health check."""
TRACKING = 10
"""Seconds between two looks of target tracking; in AWS it is minutes, here it is always in a hurry."""
SLOW_OUT = 60
"""Seconds within which target tracking has answered to a load that has grown."""
PERIOD = 10
"""Seconds of a period of CloudWatch."""
LATE = (10, 20)
"""Seconds after a period's end within which its figures come: one to two periods, as in AWS."""
NODES = (0.6, 0.4)
"""The parts of the traffic that the nodes of the load balancer see; each tells each metric at a time of its own."""
REQUESTS = 10
"""Requests a second."""
LINGER = 3
"""Seconds for which a machine goes on answering after its group has been made smaller."""
CONVERGENCE = 3
"""Seconds for which a node of the load balancer may go by the weights of before."""
SETTLING = BOOT + 3
"""Seconds after a disturbance (a machine died, the load grew) in which capacity may be missing: AWS replaces it."""

PERMISSIONS = {
    **dict.fromkeys(("arm", "disarm", "armed"), "switch"),
    **dict.fromkeys(("tag", "untag", "tags"), "tags"),
    "schedule_scale_in": "plans",
}
READS = {
    "rule",
    "targets",
    "tags",
    "group",
    "failures",
    "console",
    "images",
    "releases_of",
    "counts",
    "alarms",
    "values",
    "value",
}


@dataclass
class Fleet(Release):
    """A release whose machines are numbers."""

    scale_in_at: int | None = None
    image: str = "ami-new"
    machines: tuple[tuple[int, int], ...] = ()
    """Pairs of a number and the second of its launch."""
    weights: tuple[int, ...] = (1,)
    """Units of capacity of the machines, by turns."""
    on_demand: frozenset[int] = frozenset()
    """Numbers of machines that are no Spot Instances."""
    leaving: tuple[tuple[int, int], ...] = ()
    """Machines that the group ends, which answer until `gone_at`."""
    gone_at: int = 0
    late_at: int | None = None
    """When a scheduled action is carried out that was deleted or moved at the very moment when it was due."""

    def weight(self, number: int) -> int:
        return self.weights[number % len(self.weights)]

    def units(self, machines: tuple[tuple[int, int], ...]) -> int:
        if self.weights == (1,):
            return len(machines)
        return sum(self.weight(number) for number, _ in machines)

    def copy(self) -> Fleet:
        other = Fleet.__new__(Fleet)
        other.__dict__.update(self.__dict__)
        other.tags = dict(self.tags)
        return other


class SimWorld(Aws[Fleet]):
    """Everything outside of the deployer."""

    time: int
    schedule: tuple[int, Rule, str] | None

    def __init__(self, **fleets: Fleet) -> None:
        super().__init__(fleets, 0, period=PERIOD, requests=REQUESTS)
        self.rule_before: Rule | None = None
        self.stale_until = 0
        self.alarm = "OK"
        self.alarm_until = 0
        self.gap_until = 0
        self.short_until = 0
        self.load = 0
        """Machines that the traffic needs."""
        self.needed = 0
        """Machines that live had for it."""
        self.ill: frozenset[str] = frozenset()
        """What had the traffic without a healthy machine from the start, until it loses it."""
        self.late = LATE
        self.had_until: dict[str, int] = {}
        """When a release lost its last weight: the nodes of the load balancer follow within `CONVERGENCE`."""
        self.too_late = False
        """Whether the next scheduled action that is deleted or moved is carried out all the same."""
        self.disturbed_until = 0
        self.mode = ""
        """How calls fail now: not at all, `throttle`, `refuse`, or `lost` and `interrupt`: only after the effect."""
        self.hook: tuple[HookCall, int] | None = None
        """The hook that runs, and when it was started."""
        self.hook_seconds = 3
        """How long the next hooks run."""
        self.bad_hooks = frozenset[str]()
        """The moments at which hooks fail."""
        self.hook_failed = ""
        """Which hook has failed last, and in which run."""
        self.approves: int | None = None
        """How many seconds after a pause began someone says `fleetswap continue`; None: never."""
        self.waits: tuple[str, int] | None = None
        """The pause that was seen last, and when it began."""
        self.denied: frozenset[str] = frozenset()
        """What the deployer has no permission for: `switch`, `tags`, `plans`."""
        self.measured = False
        """Whether the releases are judged by their own metric."""
        self.broken: list[str] = []
        self.fired = False
        self.scale_out_from = 0
        self._born = 0
        self._track_at = TRACKING

    def copy(self) -> SimWorld:
        other = SimWorld.__new__(SimWorld)
        other.__dict__.update(self.__dict__)
        other.releases = {name: fleet.copy() for name, fleet in self.releases.items()}
        other.rule_tags = dict(self.rule_tags)
        other.counted = dict(self.counted)
        other.had_until = dict(self.had_until)
        other.broken = list(self.broken)
        return other

    # Time

    def start(self, weights: Mapping[str, int], load: int) -> None:
        self.rule_now = rule_of(tuple((f"tg-{name}", weight) for name, weight in weights.items())) if weights else None
        self.rule_before, self.load, self.needed = self.rule_now, load, load
        for fleet in self.releases.values():
            self._launch(fleet)
            fleet.machines = tuple((number, -BOOT) for number, _ in fleet.machines)

    def advance(self, seconds: float) -> None:
        """Let time pass, from event to event."""
        end = self.time + math.ceil(seconds)
        while True:
            until = min(end, self._track_at)
            if self.schedule and self.schedule[0] < until:
                until = self.schedule[0]
            for fleet in self.releases.values():
                for moment in (fleet.scale_in_at, fleet.late_at, fleet.gone_at if fleet.leaving else None):
                    if moment is not None and moment < until:
                        until = moment
            self._pass_until(max(self.time, until))
            if self.time >= end:
                return

    def _pass_until(self, time: int) -> None:
        self.count(time)
        self.time = time
        if self.alarm != "OK" and time >= self.alarm_until:
            self.alarm = "OK"
        if self.schedule and time >= self.schedule[0]:
            self.write(self.schedule[1])
            self.schedule, self.fired = None, True
        for name, fleet in self.releases.items():
            if fleet.scale_in_at is not None and time >= fleet.scale_in_at:
                self._loses(name, 0)
                fleet.minimum, fleet.desired, fleet.scale_in_at = 0, 0, None
            if fleet.late_at is not None and time >= fleet.late_at:
                fleet.minimum, fleet.desired, fleet.late_at = 0, 0, None
        if time >= self._track_at:
            self._track_at = time + TRACKING
            self._track()
        if self.approves is not None:
            self._approve(time, self.approves)
        for fleet in self.releases.values():
            self._launch(fleet)
        self.judge()

    def _approve(self, time: int, seconds: int) -> None:
        """A person continues what is paused, some time later."""
        for fleet in self.releases.values():
            paused = rollout_tags.Paused.read(fleet.tags.get(rollout_tags.PAUSED, ""))
            if paused is None:
                continue
            if self.waits is None or self.waits[0] != paused.pause:
                self.waits = (paused.pause, time)
            if time - self.waits[1] >= seconds:
                fleet.tags[rollout_tags.CONTINUE] = f"{paused.pause} {time}"

    def _track(self) -> None:
        """Target tracking: what the share of the load needs, within the group's bounds."""
        shares = dict(self.rule_now.shares()) if self.rule_now else {}
        for name, fleet in self.releases.items():
            if not fleet.desired:
                continue
            needed = math.ceil(self.load * shares.get(f"tg-{name}", 0.0))
            if self.time < self.scale_out_from:
                needed = min(needed, fleet.desired)
            fleet.desired = min(max(needed, fleet.minimum), fleet.maximum)

    def _launch(self, fleet: Fleet) -> None:
        """To the desired size, if EC2 has machines. What has traffic already must do with what it has until then."""
        if fleet.leaving and self.time >= fleet.gone_at:
            fleet.leaving = ()
        there = fleet.units(fleet.machines)
        while there > fleet.desired and there - fleet.weight(fleet.machines[-1][0]) >= fleet.desired:
            fleet.leaving = (*fleet.leaving, fleet.machines[-1])
            fleet.machines = fleet.machines[:-1]
            fleet.gone_at = self.time + LINGER
            there = fleet.units(fleet.machines)
        while there < fleet.desired:
            on_demand = sum(fleet.weight(number) for number, _ in fleet.machines if number in fleet.on_demand)
            is_spot = on_demand >= math.ceil(fleet.desired * fleet.on_demand_percent / 100)
            if self.time < self.short_until and is_spot:
                if not fleet.failures or int(fleet.failures[0].id) < self.time:
                    fleet.failures = (Failure(str(self.time), "no spot capacity"), *fleet.failures[:5])
                if any(self.releases[name] is fleet for name in self.serving()):
                    self.disturb()
                return
            self._born += 1
            fleet.machines = (*fleet.machines, (self._born, self.time))
            there = fleet.units(fleet.machines)
            if not is_spot:
                fleet.on_demand |= {self._born}

    # Judgement

    def healthy(self, name: str) -> int:
        fleet, count = self.releases[name], 0
        if fleet.healthy:
            for number, born in fleet.machines:
                count += fleet.weight(number) * (self.time - born >= BOOT)
            for number, born in fleet.leaving:
                count += fleet.weight(number) * (self.time - born >= BOOT)
        return count

    def _loses(self, name: str, desired: int) -> None:
        """A group is made smaller: nothing that a node of the load balancer still sends requests to may be."""
        had = name in self.serving() or self.time - self.had_until.get(name, -CONVERGENCE) < CONVERGENCE
        if had and desired < self.releases[name].desired:
            self.broken.append(f"{self.time}: {name} loses machines, though nodes of the load balancer may use them")

    def serving(self) -> frozenset[str]:
        return frozenset(arn[3:] for arn in self.rule_now.serving) if self.rule_now else frozenset()

    def weight_of(self, name: str) -> int:
        return dict(self.rule_now.weights).get(f"tg-{name}", 0) if self.rule_now else 0

    def judge(self) -> None:
        """The invariants of every moment."""
        if self.rule_now is None:
            return
        total = carried = 0
        dark = ""
        calm = self.time >= self.disturbed_until
        for arn, weight in self.rule_now.weights:
            total += weight
            name = arn[3:]
            if name not in self.releases:
                self.broken.append(f"{self.time}: weight on {name}, which does not exist")
            elif weight and calm:
                healthy = self.healthy(name)
                carried += healthy
                dark = dark if healthy or name in self.ill else name
        if total != 100:
            self.broken.append(f"{self.time}: the weights {self.rule_now.weights} do not sum to 100")
        if dark and any(self.healthy(name) for name in self.releases):
            self.broken.append(f"{self.time}: weight on {dark}, which has no healthy machine, while another has")
        if calm and carried < self.needed:
            self.broken.append(f"{self.time}: {carried} healthy machines have traffic, live had {self.needed}")

    def _judge_step(self, rule: Rule | None) -> None:
        """What has some traffic gets no more before its own metric is good; what had none must have some first."""
        before, after = (dict(each.weights) if each else {} for each in (self.rule_now, rule))
        for name, fleet in self.releases.items() if self.measured else ():
            had, gets = before.get(f"tg-{name}", 0), after.get(f"tg-{name}", 0)
            if 0 < had < gets and fleet.metric in {"bad", "none", "flapping"}:
                self.broken.append(
                    f"{self.time}: {name} gets {gets} % of the traffic, and its metric is {fleet.metric}"
                )

    def forget_load(self) -> None:
        """Target tracking does nothing any more: a long time passes quickly."""
        self._track_at = sys.maxsize

    # What goes wrong

    def disturb(self, seconds: int = SETTLING) -> None:
        shortage = self.short_until + TRACKING + SETTLING if self.short_until > self.time else 0
        self.disturbed_until = max(self.disturbed_until, self.time + seconds, shortage)

    def kill(self, name: str, count: int) -> None:
        if self.releases[name].machines:
            self.releases[name].machines = self.releases[name].machines[count:]
            if name == "live" and not self.releases[name].machines:
                self.needed = 0  # it carries nothing that others would have to carry
            self.disturb()
            self._launch(self.releases[name])

    def grow(self, *, noticed: bool = True) -> None:
        """The load grows, and what serves scales out at once, as far as its share of the load needs it.

        Growth that does not show in the size of live is no demand that live had: others scale out for it, later.
        """
        if self.rule_now is None or not self.serving():
            return
        self.load += 1
        for arn, share in self.rule_now.shares():
            fleet = self.releases[arn[3:]]
            fleet.desired = max(fleet.desired, min(math.ceil(self.load * share), fleet.maximum))
            self._launch(fleet)
            if noticed and arn == "tg-live" and fleet.desired >= self.load and self.healthy("live"):
                self.needed = self.load
                self.disturb()
        self.scale_out_from = self.time + SLOW_OUT - SETTLING - TRACKING

    def shrink(self) -> None:
        """The load shrinks, and target tracking scales in what serves, at its next look."""
        self.load = max(1, self.load - 1)
        self.needed = min(self.needed, self.load)

    # What AWS does in it

    def begin_call(self, name: str) -> None:
        if name == "get":
            return  # of users, not of AWS
        if self.denied and (permission := PERMISSIONS.get(name)) in self.denied:
            raise CloudError(f"AWS refuses {permission}")
        if self.mode == "throttle":
            raise TryAgain("throttled")
        if self.mode == "refuse":
            raise CloudError("refused")

    def between_calls(self) -> None:
        if self.mode == "half":
            self.judge()
            raise TryAgain("throttled")

    def end_call(self, name: str) -> None:
        if name in READS or name in {"armed", "get"}:
            return
        self.judge()
        if self.mode == "lost":
            raise TryAgain("the answer was lost")
        if self.mode == "interrupt":
            raise KeyboardInterrupt("Ctrl-C")

    def shown(self) -> Rule | None:
        return self.rule_before if self.time < self.stale_until else self.rule_now

    def write(self, rule: Rule | None) -> None:
        for name in self.serving():
            self.had_until[name] = self.time
        self._judge_step(rule)
        self.rule_before = self.rule_now
        super().write(rule)
        self.ill &= self.serving()

    def health(self, release: Fleet) -> tuple[Target, ...]:
        return tuple(
            Target(f"i-{number}", "healthy" if release.healthy and self.time - born >= BOOT else "unhealthy")
            for number, born in (*release.machines, *release.leaving)
        )

    def machines(self, release: Fleet) -> tuple[Machine, ...]:
        return tuple(
            Machine(f"i-{number}", "InService", release.weight(number)) for number, _ in release.machines
        ) + tuple(Machine(f"i-{number}", "Terminating", release.weight(number)) for number, _ in release.leaving)

    def set_size(self, name: str, minimum: int, desired: int) -> None:
        self._loses(name, desired)
        super().set_size(name, minimum, desired)

    def changed(self, release: Fleet) -> None:
        self._launch(release)

    def plan(self, release: Fleet, at: float | None) -> None:
        if self.too_late and release.scale_in_at is not None:
            release.late_at, self.too_late = self.time + LINGER, False
        super().plan(release, at)

    def figures(self, arn: str, period: int, *, timed: bool) -> Figures:
        if max(self.gap_until, period + self.period + self.late[1]) <= self.time:
            return _all_of(*map(int, self.counted[arn, period]), timed=timed)
        return super().figures(arn, period, timed=timed)

    def come(self, arn: str, period: int, metric: str, count: int) -> int:
        """What of a count is there by now: a node's part comes as a whole, each at a time of its own."""
        if self.time < self.gap_until:
            return 0
        if self.time >= period + self.period + self.late[1]:
            return count  # whatever each node's part is, all are there
        come = left = 0
        for node, part in enumerate(NODES):
            mine = count - left if node else int(count * part)
            left += mine
            come += mine if self.time >= period + self.period + _lateness(arn, period, metric, node, self.late) else 0
        return come

    def metric(self, name: str, at: float) -> float | None:
        return super().metric(name, at) if self.time >= self.gap_until else None

    def alarm_state(self, _name: str) -> str | None:
        return self.alarm

    # Hooks

    def run(self, call: HookCall, seconds: float) -> HookResult | None:
        """One runs for `hook_seconds`, or for ever."""
        if self.hook is None or self.hook[0] != call:
            self.hook = (call, self.time)
        ends = self.hook[1] + min(self.hook_seconds, math.ceil(call.hook.timeout))
        self.advance(max(0.0, min(seconds, ends - self.time)))
        if self.time < ends:
            return None
        late = self.hook_seconds >= call.hook.timeout
        if late or call.hook.at.value in self.bad_hooks:
            self.hook_failed = f"{call.run} ({call.hook.at})"
            return HookResult(ok=False, words="it says no", late=late)
        return HookResult(ok=True)

    def stop(self) -> None:
        self.hook = None

    # Clock

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:  # noqa: ARG002 (as of any clock)
        self.advance(seconds)


@cache
@cache
def _all_of(requests: int, errors: int, dropped: int, slow: int, *, timed: bool) -> Figures:
    """What a period has when every node has reported; most periods that are read are long over."""
    quick = (requests, requests - slow) if timed else (0, 0)
    return Figures(requests, requests - errors - dropped, errors, *quick)


@cache
def _lateness(arn: str, period: int, metric: str, node: int, between: tuple[int, int]) -> int:
    """How late a node tells a metric of a period: any time of those, but always the same."""
    first, last = between
    return first + zlib.crc32(f"{arn} {period} {metric} {node}".encode()) % (last - first + 1)
