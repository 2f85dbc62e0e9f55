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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.health import Answer, Failure, Machine, Target
from fleetswap.domain.rollout.model import Armed, Group, ReleaseTarget, Rule
from fleetswap.domain.rollout.periods import Figures, Report, Told

LISTENER = "arn:listener"
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


@dataclass
class Fleet:
    """A release: its group and how its machines behave."""

    minimum: int = 0
    desired: int = 0
    maximum: int = 8
    machines: tuple[tuple[int, int], ...] = ()
    """Pairs of a number and the second of its launch."""
    leaving: tuple[tuple[int, int], ...] = ()
    """Machines that the group ends, which answer until `gone_at`."""
    gone_at: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    scale_in_at: int | None = None
    late_at: int | None = None
    """When a scheduled action is carried out that was deleted or moved at the very moment when it was due."""
    on_demand: int = 0
    failures: tuple[Failure, ...] = ()
    healthy: bool = True
    error_rate: float = 0.0
    """Part of its requests that it answers with 5xx."""
    drop_rate: float = 0.0
    """Part of its requests that it answers with nothing; the load balancer answers with its own 502."""
    worse_from: float = 0.0
    """The share of the traffic from which on it does so: a release that does not bear the load."""

    def copy(self) -> Fleet:
        other = Fleet.__new__(Fleet)
        other.__dict__.update(self.__dict__)
        other.tags = dict(self.tags)
        return other


class SimWorld:
    """Everything outside of the deployer."""

    def __init__(self, **fleets: Fleet) -> None:
        self.fleets = fleets
        self.time = 0
        self.rule_now: Rule | None = None
        self.rule_before: Rule | None = None
        self.stale_until = 0
        self.rule_tags: dict[str, str] = {}
        self.schedule: tuple[int, Rule, str] | None = None
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
        self.counted: dict[tuple[str, int], tuple[float, float, float]] = {}
        """Requests, 5xx and unanswered ones by target group and period."""
        self.late = LATE
        self.period, self.requests = PERIOD, REQUESTS
        self.skew = 0
        """How far AWS's clock is ahead of the deployer's."""
        self.had_until: dict[str, int] = {}
        """When a release lost its last weight: the nodes of the load balancer follow within `CONVERGENCE`."""
        self.too_late = False
        """Whether the next scheduled action that is deleted or moved is carried out all the same."""
        self.disturbed_until = 0
        self.mode = ""
        """How calls fail now: not at all, `throttle`, `refuse`, or `lost` and `interrupt`: only after the effect."""
        self.denied: frozenset[str] = frozenset()
        """What the deployer has no permission for: `switch`, `tags`, `plans`."""
        self.broken: list[str] = []
        self.fired = False
        self.scale_out_from = 0
        self._born = 0
        self._track_at = TRACKING

    def copy(self) -> SimWorld:
        other = SimWorld.__new__(SimWorld)
        other.__dict__.update(self.__dict__)
        other.fleets = {name: fleet.copy() for name, fleet in self.fleets.items()}
        other.rule_tags = dict(self.rule_tags)
        other.counted = dict(self.counted)
        other.had_until = dict(self.had_until)
        other.broken = list(self.broken)
        return other

    # Time

    def start(self, weights: Mapping[str, int], load: int) -> None:
        self.rule_now = rule_of(tuple((f"tg-{name}", weight) for name, weight in weights.items())) if weights else None
        self.rule_before, self.load, self.needed = self.rule_now, load, load
        for fleet in self.fleets.values():
            self._launch(fleet)
            fleet.machines = tuple((number, -BOOT) for number, _ in fleet.machines)

    def advance(self, seconds: float) -> None:
        """Let time pass, from event to event."""
        end = self.time + math.ceil(seconds)
        while True:
            until = min(end, self._track_at)
            if self.schedule and self.schedule[0] < until:
                until = self.schedule[0]
            for fleet in self.fleets.values():
                for moment in (fleet.scale_in_at, fleet.late_at, fleet.gone_at if fleet.leaving else None):
                    if moment is not None and moment < until:
                        until = moment
            self._pass_until(max(self.time, until))
            if self.time >= end:
                return

    def _pass_until(self, time: int) -> None:
        self._count(time - self.time)
        self.time = time
        if self.alarm != "OK" and time >= self.alarm_until:
            self.alarm = "OK"
        if self.schedule and time >= self.schedule[0]:
            self._write(self.schedule[1])
            self.schedule, self.fired = None, True
        for name, fleet in self.fleets.items():
            if fleet.scale_in_at is not None and time >= fleet.scale_in_at:
                self._loses(name, 0)
                fleet.minimum, fleet.desired, fleet.scale_in_at = 0, 0, None
            if fleet.late_at is not None and time >= fleet.late_at:
                fleet.minimum, fleet.desired, fleet.late_at = 0, 0, None
        if time >= self._track_at:
            self._track_at = time + TRACKING
            self._track()
        for fleet in self.fleets.values():
            self._launch(fleet)
        self.judge()

    def _track(self) -> None:
        """Target tracking: what the share of the load needs, within the group's bounds."""
        shares = dict(self.rule_now.shares()) if self.rule_now else {}
        for name, fleet in self.fleets.items():
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
        if len(fleet.machines) == fleet.desired:
            return
        if len(fleet.machines) > fleet.desired:
            fleet.leaving = (*fleet.leaving, *fleet.machines[fleet.desired :])
            fleet.gone_at = self.time + LINGER
        fleet.machines = fleet.machines[: fleet.desired]
        while len(fleet.machines) < fleet.desired:
            if self.time < self.short_until and fleet.on_demand < 100:
                if not fleet.failures or int(fleet.failures[0].id) < self.time:
                    fleet.failures = (Failure(str(self.time), "no spot capacity"), *fleet.failures[:5])
                if any(self.fleets[name] is fleet for name in self.serving()):
                    self.disturb()
                return
            self._born += 1
            fleet.machines = (*fleet.machines, (self._born, self.time))

    def _count(self, seconds: int) -> None:
        if seconds <= 0 or self.rule_now is None:
            return
        for arn, share in self.rule_now.shares():
            fleet, at = self.fleets[arn[3:]], self.time
            bad = share >= fleet.worse_from
            while at < self.time + seconds:  # a stretch of time may touch several periods
                period = at // self.period * self.period
                until = min(period + self.period, self.time + seconds)
                requests, errors, dropped = self.counted.get((arn, period), (0.0, 0.0, 0.0))
                more = (until - at) * share * self.requests
                self.counted[arn, period] = (
                    requests + more,
                    errors + more * fleet.error_rate * bad,
                    dropped + more * fleet.drop_rate * bad,
                )
                at = until

    # Judgement

    def healthy(self, name: str) -> int:
        fleet, count = self.fleets[name], 0
        if fleet.healthy:
            for _, born in fleet.machines:
                count += self.time - born >= BOOT
            for _, born in fleet.leaving:
                count += self.time - born >= BOOT
        return count

    def _loses(self, name: str, desired: int) -> None:
        """A group is made smaller: nothing that a node of the load balancer still sends requests to may be."""
        had = name in self.serving() or self.time - self.had_until.get(name, -CONVERGENCE) < CONVERGENCE
        if had and desired < self.fleets[name].desired:
            self.broken.append(f"{self.time}: {name} loses machines, though nodes of the load balancer may use them")

    def serving(self) -> frozenset[str]:
        return frozenset(arn[3:] for arn in self.rule_now.serving) if self.rule_now else frozenset()

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
            if name not in self.fleets:
                self.broken.append(f"{self.time}: weight on {name}, which does not exist")
            elif weight and calm:
                healthy = self.healthy(name)
                carried += healthy
                dark = dark if healthy or name in self.ill else name
        if total != 100:
            self.broken.append(f"{self.time}: the weights {self.rule_now.weights} do not sum to 100")
        if dark and any(self.healthy(name) for name in self.fleets):
            self.broken.append(f"{self.time}: weight on {dark}, which has no healthy machine, while another has")
        if calm and carried < self.needed:
            self.broken.append(f"{self.time}: {carried} healthy machines have traffic, live had {self.needed}")

    def forget_load(self) -> None:
        """Target tracking does nothing any more: a long time passes quickly."""
        self._track_at = sys.maxsize

    # What goes wrong

    def disturb(self, seconds: int = SETTLING) -> None:
        shortage = self.short_until + TRACKING + SETTLING if self.short_until > self.time else 0
        self.disturbed_until = max(self.disturbed_until, self.time + seconds, shortage)

    def kill(self, name: str, count: int) -> None:
        if self.fleets[name].machines:
            self.fleets[name].machines = self.fleets[name].machines[count:]
            if name == "live" and not self.fleets[name].machines:
                self.needed = 0  # it carries nothing that others would have to carry
            self.disturb()
            self._launch(self.fleets[name])

    def grow(self, *, noticed: bool = True) -> None:
        """The load grows, and what serves scales out at once, as far as its share of the load needs it.

        Growth that does not show in the size of live is no demand that live had: others scale out for it, later.
        """
        if self.rule_now is None or not self.serving():
            return
        self.load += 1
        for arn, share in self.rule_now.shares():
            fleet = self.fleets[arn[3:]]
            fleet.desired = max(fleet.desired, min(math.ceil(self.load * share), fleet.maximum))
            self._launch(fleet)
            if noticed and arn == "tg-live" and fleet.desired >= self.load and self.healthy("live"):
                self.needed = self.load
                self.disturb()
        self.scale_out_from = self.time + SLOW_OUT - SETTLING - TRACKING

    def _write(self, rule: Rule | None) -> None:
        for name in self.serving():
            self.had_until[name] = self.time
        self.rule_before, self.rule_now = self.rule_now, rule
        self.ill &= self.serving()

    def _fail(self, permission: str = "") -> None:
        if permission in self.denied:
            raise CloudError(f"AWS refuses {permission}")
        if self.mode == "throttle":
            raise TryAgain("throttled")
        if self.mode == "refuse":
            raise CloudError("refused")

    def _failed_halfway(self) -> None:
        """Of what takes two calls, the second one fails."""
        if self.mode == "half":
            self.judge()
            raise TryAgain("throttled")

    def _failed_after(self) -> None:
        self.judge()
        if self.mode == "lost":
            raise TryAgain("the answer was lost")
        if self.mode == "interrupt":
            raise KeyboardInterrupt("Ctrl-C")

    # Balancer

    def rule(self, _listener: str) -> Rule | None:
        self._fail()
        return self.rule_before if self.time < self.stale_until else self.rule_now

    def forward(self, _listener: str, weights: tuple[tuple[str, int], ...]) -> None:
        self._fail()
        self._write(rule_of(weights))
        self._failed_after()

    def restore(self, _listener: str, rule: Rule | None) -> None:
        self._fail()
        self._write(rule)
        self._failed_after()

    def mend(self, _listener: str) -> None:
        raise AssertionError("no one puts anything on the rule here")

    def targets(self, target_group: str) -> tuple[Target, ...]:
        self._fail()
        fleet = self.fleets[target_group[3:]]
        return tuple(
            Target(f"i-{number}", "healthy" if fleet.healthy and self.time - born >= BOOT else "unhealthy")
            for number, born in (*fleet.machines, *fleet.leaving)
        )

    def tags(self, _listener: str) -> dict[str, str]:
        self._fail("tags")
        return dict(self.rule_tags) if self.rule_now else {}

    def tag(self, thing: str, tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        self._fail("tags")
        had = self.rule_tags if thing == LISTENER else self.fleets[thing[4:]].tags
        had |= tags
        self._failed_halfway()
        for key in remove:
            had.pop(key, None)
        self._failed_after()

    # Fleet

    def group(self, name: str) -> Group | None:
        self._fail()
        fleet = self.fleets.get(name[4:])
        if fleet is None:
            return None
        scale_in = (
            rollout_tags.ScaleIn.read(fleet.tags[rollout_tags.SCALE_IN])
            if rollout_tags.SCALE_IN in fleet.tags
            else None
        )
        return Group(
            fleet.minimum,
            fleet.desired,
            fleet.maximum,
            tuple(Machine(f"i-{number}", "InService") for number, _ in fleet.machines)
            + tuple(Machine(f"i-{number}", "Terminating") for number, _ in fleet.leaving),
            pin=rollout_tags.number(fleet.tags.get(rollout_tags.PIN)),
            abort=fleet.tags.get(rollout_tags.ABORT),
            scale_in=scale_in.at if scale_in else None,
            scale_in_note=scale_in.note if scale_in else "",
            has_action=fleet.scale_in_at is not None,
            on_demand_percent=fleet.on_demand,
            on_demand_pin=rollout_tags.number(fleet.tags.get(rollout_tags.ON_DEMAND)),
        )

    def resize(self, name: str, *, minimum: int, desired: int | None) -> None:
        self._fail()
        fleet = self.fleets[name[4:]]
        wanted = max(fleet.desired, minimum) if desired is None else desired
        if not minimum <= wanted <= fleet.maximum:
            raise CloudError(f"{name}: {minimum} <= {wanted} <= {fleet.maximum} does not hold")
        self._loses(name[4:], wanted)
        fleet.minimum, fleet.desired = minimum, wanted
        self._launch(fleet)
        self._failed_after()

    def failures(self, name: str) -> tuple[Failure, ...]:
        self._fail()
        return self.fleets[name[4:]].failures

    def console(self, _machine: str) -> str:
        self._fail()
        return ""

    def untag(self, name: str, keys: Sequence[str]) -> None:
        self._fail("tags")
        for key in keys:
            self.fleets[name[4:]].tags.pop(key, None)
        self._failed_after()

    def releases_of(self, target_groups: Sequence[str], _service: str) -> tuple[ReleaseTarget, ...]:
        self._fail()
        return tuple(
            ReleaseTarget(name, f"asg-{name}", f"tg-{name}") for name in self.fleets if f"tg-{name}" in target_groups
        )

    def schedule_scale_in(self, name: str, seconds: float, note: str = "") -> None:
        self._fail("plans")
        fleet = self.fleets[name[4:]]
        at = self.time + math.ceil(seconds)
        fleet.tags[rollout_tags.SCALE_IN] = rollout_tags.ScaleIn(str(at), note).value
        self._failed_halfway()
        self._too_late(fleet)
        fleet.scale_in_at = at
        self._failed_after()

    def cancel_scale_in(self, name: str) -> None:
        self._fail()
        fleet = self.fleets[name[4:]]
        self._too_late(fleet)
        fleet.scale_in_at = None
        self._failed_halfway()
        fleet.tags.pop(rollout_tags.SCALE_IN, None)
        self._failed_after()

    def _too_late(self, fleet: Fleet) -> None:
        if self.too_late and fleet.scale_in_at is not None:
            fleet.late_at, self.too_late = self.time + LINGER, False

    def images(self, machines: Sequence[str]) -> dict[str, str]:
        self._fail()
        return dict.fromkeys(machines, "ami-new")

    def on_demand(self, name: str, percent: int) -> None:
        self._fail()
        self.fleets[name[4:]].on_demand = percent
        self._launch(self.fleets[name[4:]])
        self._failed_after()

    # Metrics

    def counts(self, target_groups: Sequence[str], seconds: float, _slow: float | None) -> Report:
        """By AWS's clock, and only what has come by now."""
        self._fail()
        first = math.floor((self.time - seconds) // self.period) * self.period
        gap = self.time < self.gap_until
        told = []
        for period in sorted({period for _, period in self.counted if period >= first and not gap}):
            groups = {arn: self._figures(arn, period) for arn, at in self.counted if at == period}
            own = sum(self._come(arn, period, "own", self._dropped(arn, period)) for arn in groups)
            whole = sum(self._come(arn, period, "all", self._requests(arn, period)) for arn in groups)
            if whole or own or any(each != Figures() for each in groups.values()):
                asked = {arn: groups[arn] for arn in target_groups if arn in groups}
                told.append(Told(period + self.skew, asked, requests=whole, own_5xx=own))
        return Report(self.time + self.skew, self.period, tuple(told))

    def _requests(self, arn: str, period: int) -> int:
        return int(self.counted[arn, period][0])

    def _dropped(self, arn: str, period: int) -> int:
        return int(self.counted[arn, period][2])

    def _figures(self, arn: str, period: int) -> Figures:
        requests, errors, dropped = map(int, self.counted[arn, period])
        return Figures(
            requests=self._come(arn, period, "requests", requests),
            good=self._come(arn, period, "good", requests - errors - dropped),
            errors=self._come(arn, period, "errors", errors),
        )

    def _come(self, arn: str, period: int, metric: str, count: int) -> int:
        """What of a count is there by now: a node's part comes as a whole, each at a time of its own."""
        come = left = 0
        for node, part in enumerate(NODES):
            mine = count - left if node else int(count * part)
            left += mine
            come += mine if self.time >= period + self.period + _lateness(arn, period, metric, node, self.late) else 0
        return come

    def alarms(self, names: Sequence[str]) -> dict[str, str]:
        self._fail()
        return dict.fromkeys(names, self.alarm)

    # Switch

    def arm(self, seconds: float, rule: Rule, run: str) -> None:
        self._fail("switch")
        self.schedule = (self.time + math.ceil(seconds), rule, run)
        self._failed_after()

    def disarm(self, run: str | None) -> None:
        self._fail("switch")
        if self.schedule and run in {None, self.schedule[2]}:
            self.schedule = None
        self._failed_after()

    def armed(self) -> Armed | None:
        self._fail("switch")
        return Armed(self.schedule[1], self.schedule[0] - self.time, self.schedule[2]) if self.schedule else None

    # Prober

    def get(self, _url: str, *, release: str | None, timeout: float) -> Answer:
        del timeout
        if release is None:
            if self.rule_now is None or not self.rule_now.weights:
                return Answer(503)
            release = max(self.rule_now.weights, key=lambda pair: pair[1])[0][3:]
        return Answer(200 if self.healthy(release) else 503)

    # Clock

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:  # noqa: ARG002 (as of any clock)
        self.advance(seconds)


@cache
def _lateness(arn: str, period: int, metric: str, node: int, between: tuple[int, int]) -> int:
    """How late a node tells a metric of a period: any time of those, but always the same."""
    first, last = between
    return first + zlib.crc32(f"{arn} {period} {metric} {node}".encode()) % (last - first + 1)


def rule_of(weights: tuple[tuple[str, int], ...]) -> Rule:
    """As the balancer gives it: with what is needed to write it again."""
    return Rule(weights, verbatim=f"verbatim {weights}")
