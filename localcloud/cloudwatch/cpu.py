"""CPU utilization, as EC2 reports it of instances and of auto scaling groups.

It is said, not measured: a machine here is emulated, so that the time which its processor takes tells nothing of the
same machine on AWS. Until someone says what it is (`POST /_localcloud/cpu`) there are no figures, and a policy that
tracks it has an alarm without data: it scales nothing, as in AWS.

An instance counts among its group's once it has warmed up (EC2 Auto Scaling user guide, "Set the default instance
warmup"). Not as in AWS: a figure stands for 10 s (AWS: 60 s with detailed monitoring, else 5 minutes), and is not late.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from moto.cloudwatch.models import CloudWatchBackend

from localcloud.balancer.traffic import SLOT_SECONDS
from localcloud.cloudwatch.figures import Sample, key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localcloud.cloudwatch.figures import Key
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches


def patch(patches: Patches) -> None:
    """Keep what is said, by auto scaling group; under the empty name, of all others."""
    patches.set(CloudWatchBackend, "cpu", {})


class Cpu:
    """What is to be reported. `steady` tells the instances of a group that have warmed up."""

    def __init__(self, steady: Callable[[Moto], list[Moto]]) -> None:
        self._steady = steady
        self._at: int | None = None

    def due(self, autoscaling: Moto, said: dict[str, float], now: float) -> Iterator[tuple[Key, int, Sample, str]]:
        """The figures of the slot that has ended, once. With `LOCK` held."""
        slot = int(now // SLOT_SECONDS - 1) * SLOT_SECONDS
        if slot == self._at:
            return
        self._at = slot
        for group in autoscaling.autoscaling_groups.values():
            percent = said.get(group.name, said.get(""))
            if percent is None:
                continue
            places: list[tuple[str, str, int]] = [
                ("InstanceId", state.instance.id, 1)
                for state in group.instance_states
                if state.instance.state == "running"
            ]
            if warm := self._steady(group):
                places.append(("AutoScalingGroupName", group.name, len(warm)))
            for dimension, value, count in places:
                metric = key("AWS/EC2", "CPUUtilization", {dimension: value})
                yield metric, slot, Sample(Counter({percent: count})), "Percent"
