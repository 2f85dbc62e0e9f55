"""Instance types with weights: what the rollout counts is units of capacity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from fleetswap.aws.rollout.fleet import Fleet
from fleetswap.domain.rollout import health, scale
from fleetswap.domain.rollout.health import Failure, Machine, Reading, Streak, Target, Verdict
from fleetswap.domain.rollout.model import Group, ReleaseTarget
from fleetswap.workflows.rollout import ports
from fleetswap.workflows.rollout.weights import Weights

ONE = ReleaseTarget("web-1", "group-1", "tg-1")
LARGE, XLARGE = Machine("i-1", "InService"), Machine("i-2", "InService", 2)
BOTH = Group(3, 3, 8, (LARGE, XLARGE), weighted=True)


class Groups:
    """A group, and how often it was read."""

    def __init__(self, now: Group | None) -> None:
        self.now, self.reads = now, 0

    def group(self, name: str) -> Group | None:
        assert name == ONE.group
        self.reads += 1
        return self.now


class Behind:
    """Healthy targets."""

    def __init__(self, *machines: str) -> None:
        self.machines = machines

    def targets(self, target_group: str) -> tuple[Target, ...]:
        assert target_group == ONE.target_group
        return tuple(Target(each, "healthy") for each in self.machines)


def weights(behind: Behind, groups: Groups) -> Weights:
    return Weights(cast("ports.Balancer", behind), cast("ports.Fleet", groups))


def test_a_machine_counts_as_its_units() -> None:
    """The rollout of a fleet with weights would wait for machines that its group never launches, and abort."""
    seen = weights(Behind("i-1", "i-2"), groups := Groups(BOTH))
    seen.group(ONE)
    targets = seen.targets("tg-1")
    assert (health.healthy(targets), groups.reads) == (3, 1)
    decision = health.judge(Reading(targets), Streak(), wanted=3, readings=1, failed_before=frozenset(), seconds_left=1)
    assert decision.verdict is Verdict.PROMOTE
    assert health.healthy(Behind("i-1", "i-2").targets("tg-1")) == 2


def test_what_was_launched_since_is_asked_about_once() -> None:
    """A machine that came later would count as one unit for ever, or each reading would cost another request."""
    seen = weights(behind := Behind(), groups := Groups(replace(BOTH, machines=())))
    seen.group(ONE)
    behind.machines, groups.now = ("i-2",), BOTH
    assert health.healthy(seen.targets("tg-1")) == 2
    assert health.healthy(seen.targets("tg-1")) == 2
    assert groups.reads == 2


def test_a_group_without_weights_is_not_asked() -> None:
    """Every reading of every fleet would cost a request more."""
    seen = weights(Behind("i-1"), groups := Groups(Group(1, 1, 8)))
    seen.group(ONE)
    assert health.healthy(seen.targets("tg-1")) == 1
    assert groups.reads == 1


def test_launched_units_are_no_shortage() -> None:
    """A fleet of large machines would be taken for one that EC2 has no capacity for."""
    short = (Failure("a", "We currently do not have sufficient c7i.large capacity"),)
    reading = Reading((), (XLARGE, Machine("i-3", "Terminating", 4)))
    assert not scale.is_short(reading, 2, short)
    assert scale.is_short(reading, 3, short)
    assert health.summary(reading, wanted=3).launched == 2


class Told:
    """DescribeAutoScalingGroups, as AWS answers it."""

    def __init__(self, overrides: list[dict[str, str]], instance: dict[str, str]) -> None:
        template = {"LaunchTemplateSpecification": {}, "Overrides": overrides}
        whole = {"InstanceId": "i-2", "LifecycleState": "InService", **instance}
        self.group = {
            "MinSize": 0,
            "MaxSize": 4,
            "DesiredCapacity": 2,
            "Instances": [whole],
            "MixedInstancesPolicy": {"LaunchTemplate": template, "InstancesDistribution": {}},
        }

    def describe_auto_scaling_groups(self, AutoScalingGroupNames: list[str]) -> dict[str, object]:  # noqa: N803 - boto3
        return {"AutoScalingGroups": [self.group] if AutoScalingGroupNames else []}


def test_weights_are_those_that_aws_tells() -> None:
    """AWS tells a machine's weight as text, and none of a group without weights."""
    told = Told([{"InstanceType": "c7i.xlarge", "WeightedCapacity": "2"}], {"WeightedCapacity": "2"})
    group = Fleet(told, lambda: cast("Any", None)).group("group-1")  # type: ignore[arg-type]
    assert group is not None
    assert (group.weighted, group.machines) == (True, (XLARGE,))
    plain = Fleet(Told([{"InstanceType": "c7i.large"}], {}), lambda: cast("Any", None)).group("g")  # type: ignore[arg-type]
    assert plain is not None
    assert (plain.weighted, plain.machines) == (False, (Machine("i-2", "InService"),))
