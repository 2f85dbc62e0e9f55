"""What Application Load Balancers report to CloudWatch, made of what went through them and of their targets' health.

Decides the metrics' names, dimensions and values, and when they are seen. As in AWS: nothing is reported without
traffic, a count of zero never is, and a request counts in RequestCount only if a target was chosen for it. What a
target answered counts in HTTPCode_Target_nXX_Count and TargetResponseTime. If it gave no answer (it refused or reset
the connection, closed it early, sent a bad header, timed out) the request counts in RequestCount, of the target group
too, and the load balancer's own 502 or 504 in HTTPCode_ELB_5XX_Count, which no target group has. RequestCountPerTarget
is an exception: it is reported as long as a target group has targets, and is 0 without requests, so that a policy
scales in.

Figures are late and come in parts, as in AWS: a load balancer has a node in each of two zones, and each node reports
each metric at a time of its own (`lateness`, `metrics`). So of one period some metrics are there before others, and
what is there grows once more.

Not as in AWS: a figure stands for 10 s (AWS: 60 s), and is one to two such periods late. A request counts in the period
in which it ends; which one AWS takes is not documented. An answer that a rule asked for counts as an own answer of the
load balancer, too, by its class.

Source: user guide for Application Load Balancers, "CloudWatch metrics for your Application Load Balancer".
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from localcloud.balancer.traffic import SLOT_SECONDS, Slot, Tally
from localcloud.cloudwatch.figures import Sample, key
from localcloud.faults.lateness import share
from localcloud.hooks import MachineHooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from localcloud.cloudwatch.figures import Key
    from localcloud.faults.lateness import Lateness
    from localcloud.hooks import TargetHealth
    from localcloud.moto_state import Moto

NAMESPACE = "AWS/ApplicationELB"
GATHER_SECONDS = 1.0  # after a slot's end, every line about it has been read
NODES = ("a", "b")


def of_traffic(taken: Mapping[Slot, Tally]) -> Iterator[tuple[Key, int, Sample, str]]:
    """(metric, time, values, unit) of everything that was counted."""
    for (at, listener, group), tally in taken.items():
        balancer = {"LoadBalancer": _balancer_of_listener(listener)}
        places = [balancer, {**balancer, "TargetGroup": _name(group)}] if group else [balancer]
        counts = {"RequestCount": tally.chosen}
        counts |= {f"HTTPCode_Target_{number}XX_Count": seen for number, seen in tally.answers.items()}
        for place in places:
            for name, count in counts.items():
                if count:
                    yield key(NAMESPACE, name, place), at, Sample(Counter({float(count): 1})), "Count"
            if tally.times:
                times = Counter({milliseconds / 1000: seen for milliseconds, seen in tally.times.items()})
                yield key(NAMESPACE, "TargetResponseTime", place), at, Sample(times), "Seconds"
        own = {f"HTTPCode_ELB_{number}XX_Count": seen for number, seen in tally.own.items() if number in {3, 4, 5}}
        by_rule = {"HTTP_Fixed_Response_Count": tally.fixed, "HTTP_Redirect_Count": tally.redirects}
        for name, count in {**own, **by_rule}.items():
            if count:
                yield key(NAMESPACE, name, balancer), at, Sample(Counter({float(count): 1})), "Count"


def of_health(
    elbv2: Moto, health: Callable[[str], Iterable[TargetHealth]], at: int
) -> Iterator[tuple[Key, int, Sample, str]]:
    """How many targets are healthy and unhealthy now, in every target group with targets that a load balancer uses."""
    for group in elbv2.target_groups.values():
        states = [target.state for target in health(group.arn)] if group.load_balancer_arns else []
        counted = {"HealthyHostCount": states.count("healthy"), "UnHealthyHostCount": states.count("unhealthy")}
        for balancer in group.load_balancer_arns if states else []:
            place = {"LoadBalancer": _name(balancer).removeprefix("loadbalancer/"), "TargetGroup": _name(group.arn)}
            for name, count in counted.items():
                yield key(NAMESPACE, name, place), at, Sample(Counter({float(count): 1})), "Count"


def of_targets(
    elbv2: Moto, health: Callable[[str], Iterable[TargetHealth]]
) -> dict[str, tuple[int, tuple[dict[str, str], ...]]]:
    """Of each target group with targets: among how many its requests are divided, and where that is told.

    These are the healthy ones, or all if none is.
    """
    found = {}
    for group in elbv2.target_groups.values():
        states = [target.state for target in health(group.arn)] if group.load_balancer_arns else []
        counted = states.count("healthy") or len(states) - states.count("draining")
        if counted:
            place = {"TargetGroup": _name(group.arn)}
            of = ({"LoadBalancer": _name(arn).removeprefix("loadbalancer/")} for arn in group.load_balancer_arns)
            found[group.arn] = counted, (place, *({**place, **each} for each in of))
    return found


def parts(sample: Sample, unit: str, *thing: object) -> dict[str, Sample]:
    """What each node saw: one of them from 40 to 90 % of the traffic, the other one the rest; none that saw nothing.

    A count is divided; of times, each one was measured by one node.
    """
    portion = 0.4 + 0.5 * share(*thing)
    seen: dict[str, Counter[float]] = {node: Counter() for node in NODES}
    for value, times in sample.values.items():
        whole = round(value) if unit == "Count" else times
        mine = math.floor(whole * portion + share(value, *thing))
        for node, part in zip(NODES, (mine, whole - mine), strict=True):
            if part:
                seen[node][float(part) if unit == "Count" else value] += 1 if unit == "Count" else part
    return {node: Sample(values) for node, values in seen.items() if values}


class Counting(MachineHooks, Protocol):
    """Machines that know what they have served."""

    def take_traffic(self, before: float) -> Mapping[Slot, Tally]:
        """What went through the load balancers in slots of time that ended before a time; each is told once."""


class Publisher:
    """Puts into CloudWatch what the machines have counted, when its time has come."""

    def __init__(self, machines: Counting | None, lateness: Lateness) -> None:
        self._machines = machines
        self._lateness = lateness
        self._health_at: int | None = None
        self._targets: dict[int, dict[str, tuple[int, tuple[dict[str, str], ...]]]] = {}
        # The first member is how late it is, between the least and the most.
        self._waiting: list[tuple[float, Key, int, Sample, str]] = []

    def due(self, elbv2: Moto, now: float) -> Iterator[tuple[Key, int, Sample, str]]:
        """What is to be published now. With `LOCK` held."""
        if self._machines is None:
            return
        taken = self._machines.take_traffic(now - GATHER_SECONDS)
        for metric, at, sample, unit in of_traffic(taken):
            for node, part in parts(sample, unit, metric, at).items():
                self._waiting.append((share(node, metric, at), metric, at, part, unit))
        slot = int(now // SLOT_SECONDS) * SLOT_SECONDS
        if slot != self._health_at:
            self._health_at = slot
            health = of_health(elbv2, self._machines.target_health, slot - SLOT_SECONDS)
            self._waiting += [(share(metric, at), metric, at, sample, unit) for metric, at, sample, unit in health]
            self._targets = {slot - SLOT_SECONDS: of_targets(elbv2, self._machines.target_health)}
            self._waiting += self._per_target(
                {(slot - SLOT_SECONDS, arn): 0 for arn in self._targets[slot - SLOT_SECONDS]}
            )
        requests: Counter[tuple[int, str]] = Counter()
        for (at, _, group), tally in taken.items():
            requests[at, group] += tally.chosen
        self._waiting += self._per_target(requests)
        ready = [figure for figure in self._waiting if self._is_ready(figure[0], figure[2], now)]
        self._waiting = [figure for figure in self._waiting if not self._is_ready(figure[0], figure[2], now)]
        for _, metric, at, sample, unit in ready:
            yield metric, at, sample, unit

    def _per_target(self, requests: Mapping[tuple[int, str], int]) -> Iterator[tuple[float, Key, int, Sample, str]]:
        """What is told of so many requests, by slot and target group."""
        for (at, group), count in requests.items():
            targets, places = self._targets.get(at, {}).get(group, (0, ()))
            for place in places:
                metric = key(NAMESPACE, "RequestCountPerTarget", place)
                yield share(metric, at), metric, at, Sample(Counter({count / targets: 1})), "Count"

    def _is_ready(self, late: float, at: int, now: float) -> bool:
        least, most = self._lateness.metrics
        return at + SLOT_SECONDS + least + (most - least) * late <= now


def _name(arn: str) -> str:
    """The last part of an ARN: `targetgroup/name/id`, `loadbalancer/app/name/id`."""
    return arn.split(":", 5)[5]


def _balancer_of_listener(arn: str) -> str:
    """The dimension LoadBalancer, `app/name/id`, of `…:listener/app/name/id/id`."""
    return "/".join(_name(arn).split("/")[1:4])
