"""What Application Load Balancers report to CloudWatch, made of what went through them and of their targets' health.

Decides the metrics' names, dimensions and values. As in AWS: nothing is reported without traffic, a count of zero never
is, and a request counts in RequestCount only if a target was chosen for it. Not as in AWS: a figure stands for 10 s and
is there 2 s after they have ended (AWS: 60 s, and a minute or two). An answer that a rule asked for counts as an own
answer of the load balancer, too, by its class.

Source: user guide for Application Load Balancers, "CloudWatch metrics for your Application Load Balancer".
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from localcloud.figures import Sample, key
from localcloud.traffic import SLOT_SECONDS, Slot, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from localcloud.backends import Moto, TargetHealth
    from localcloud.figures import Key

NAMESPACE = "AWS/ApplicationELB"
DELAY_SECONDS = 2.0


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
        for name, count in {**own, "HTTP_Fixed_Response_Count": tally.fixed}.items():
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


class Publisher:
    """Puts into CloudWatch what the machines have counted, when its time has come."""

    def __init__(self, machines: Any) -> None:  # noqa: ANN401 - the machines, if there are any
        self._machines = machines
        self._health_at: int | None = None

    def due(self, elbv2: Moto, now: float) -> Iterator[tuple[Key, int, Sample, str]]:
        """What is to be published now. With `LOCK` held."""
        if self._machines is None:
            return
        yield from of_traffic(self._machines.take_traffic(now - DELAY_SECONDS))
        slot = int(now // SLOT_SECONDS) * SLOT_SECONDS
        if slot != self._health_at:
            self._health_at = slot
            yield from of_health(elbv2, self._machines.target_health, slot - SLOT_SECONDS)


def _name(arn: str) -> str:
    """The last part of an ARN: `targetgroup/name/id`, `loadbalancer/app/name/id`."""
    return arn.split(":", 5)[5]


def _balancer_of_listener(arn: str) -> str:
    """The dimension LoadBalancer, `app/name/id`, of `…:listener/app/name/id/id`."""
    return "/".join(_name(arn).split("/")[1:4])
