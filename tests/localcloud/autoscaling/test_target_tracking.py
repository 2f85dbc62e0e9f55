"""Target tracking: when a policy scales a group, by how much, and what keeps it from doing so."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from localcloud.balancer.traffic import SLOT_SECONDS, Slot, Tally
from localcloud.cloudwatch import alb_metrics, metrics
from localcloud.cloudwatch.figures import Sample, key
from localcloud.faults.lateness import Lateness
from localcloud.hooks import TargetHealth
from localcloud.moto_state import LOCK, backend
from localcloud.server import LocalCloud
from tests.localcloud.autoscaling.test_groups import activities, create, mixed, shown, target_group
from tests.localcloud.autoscaling.test_rebalancing import ask
from tests.localcloud.clients import Clients
from tests.localcloud.conftest import Clock

NOON = 1_800_014_400.0  # on the hour, UTC
TARGET = 600.0  # requests a minute: 100 in the 10 s that a minute is here


class Fleet:
    """A group `web` of one to eight behind a load balancer, with a policy, at a time that stands still."""

    def __init__(self, cloud: LocalCloud, clients: Clients, clock: Clock, **asked: Any) -> None:
        self.cloud, self.clients, self.clock = cloud, clients, clock
        self.now = clock.now = NOON
        network = clients.network()
        template = clients.template(clients.image())
        self.arn = target_group(clients, network)
        wanted = {
            "MinSize": 1,
            "MaxSize": 8,
            "DesiredCapacity": 2,
            "DefaultInstanceWarmup": 0,
            "TargetGroupARNs": [self.arn],
        }
        create(clients, network, **{**wanted, **mixed(template), **asked})
        balancer = clients.elbv2.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
        self.place = {
            "LoadBalancer": balancer.partition(":loadbalancer/")[2],
            "TargetGroup": self.arn.rpartition(":")[2],
        }

    def track(self, name: str = "requests", **changed: Any) -> None:
        """Put a policy on requests; `DisableScaleIn` and the like with it."""
        label = f"{self.place['LoadBalancer']}/{self.place['TargetGroup']}"
        metric = {"PredefinedMetricType": "ALBRequestCountPerTarget", "ResourceLabel": label}
        self.put(name, {"PredefinedMetricSpecification": metric, "TargetValue": TARGET, **changed})

    def put(self, name: str, tracking: Any, **asked: Any) -> None:
        self.clients.autoscaling.put_scaling_policy(
            AutoScalingGroupName="web",
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingConfiguration=tracking,
            **asked,
        )

    def serve(self, a_minute: float, slots: int = 1) -> None:
        """Let each target have so many requests a minute, for so many slots of 10 s."""
        metric = key(alb_metrics.NAMESPACE, "RequestCountPerTarget", self.place)
        for _ in range(slots):
            with LOCK:
                sample = Sample(Counter({a_minute / 6: 1}))
                metrics.publish(backend("cloudwatch"), metric, self.now, sample, "Count", SLOT_SECONDS)
            self.step()

    def step(self, seconds: float = SLOT_SECONDS) -> None:
        self.now += seconds
        self.clock.now = self.now
        for _ in range(2):  # the figures are looked at some seconds after their slot
            self.clock.now = self.now + 4
            with LOCK:
                self.cloud._control.tick()

    @property
    def desired(self) -> int:
        return int(shown(self.clients)["DesiredCapacity"])


@pytest.fixture
def fleet(cloud: LocalCloud, clients: Clients, clock: Clock) -> Fleet:
    """A fleet whose alarms want as many data points as AWS's."""
    cloud._control._lateness.change({"scale_out": [30, 30], "scale_in": [150, 150]})
    fleet = Fleet(cloud, clients, clock)
    fleet.step()
    return fleet


def test_it_scales_out_after_three_minutes_in_proportion(fleet: Fleet) -> None:
    """A rehearsal would scale by every peak, or never, or by one machine where AWS takes as many as the load wants."""
    fleet.track()
    fleet.step()
    fleet.serve(1500, 2)
    assert fleet.desired == 2
    fleet.serve(100)
    fleet.serve(1500, 2)
    assert fleet.desired == 2
    fleet.serve(1500)
    assert fleet.desired == 5
    alarm = next(one for one in fleet.clients.cloudwatch.describe_alarms(StateValue="ALARM")["MetricAlarms"])
    assert "AlarmHigh" in alarm["AlarmName"]
    told = next(one["Cause"] for one in activities(fleet.clients))
    assert f"a monitor alarm {alarm['AlarmName']} in state ALARM triggered policy requests changing the desired" in told
    assert "capacity from 2 to 5.  At " in told
    fleet.serve(4000, 2)
    assert fleet.desired == 8, "beyond its maximum"


def test_it_scales_in_after_fifteen_minutes_and_keeps_its_minimum(fleet: Fleet) -> None:
    """A deploy while the fleet scales in could not be rehearsed; or a candidate would lose what its minimum holds."""
    fleet.track()
    fleet.clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=6)
    fleet.step()
    fleet.serve(550, 16)
    assert fleet.desired == 6, "less than a tenth below its target"
    fleet.serve(250, 14)
    assert fleet.desired == 6
    fleet.serve(250)
    assert fleet.desired == 3
    told = next(one["Cause"] for one in activities(fleet.clients))
    assert "AlarmLow" in told
    assert "changing the desired capacity from 6 to 3.  At " in told
    fleet.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=2)
    fleet.serve(0, 3)
    assert fleet.desired == 2


def test_nothing_scales_without_data(fleet: Fleet) -> None:
    """A fleet would shrink when CloudWatch is late or silent; AWS's waits for data."""
    fleet.track()
    fleet.step()
    for _ in range(20):
        fleet.step()
    assert fleet.desired == 2
    states = {one["StateValue"] for one in fleet.clients.cloudwatch.describe_alarms()["MetricAlarms"]}
    assert states == {"INSUFFICIENT_DATA"}


@pytest.mark.parametrize(
    ("keep", "out", "smaller"),
    [("scale-in", 5, 5), ("alarms", 2, 2), ("policy", 2, 2), ("warmup", 2, 2), ("nothing", 5, 1)],
)
def test_what_keeps_it_as_it_is(
    cloud: LocalCloud, clients: Clients, clock: Clock, keep: str, out: int, smaller: int
) -> None:
    """A group would be scaled that its owner has told not to be, or by machines that have just begun to work."""
    fleet = Fleet(cloud, clients, clock, **({"DefaultInstanceWarmup": 3600} if keep == "warmup" else {}))
    fleet.step()
    fleet.track(DisableScaleIn=keep == "scale-in")
    if keep == "alarms":
        clients.autoscaling.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["AlarmNotification"])
    if keep == "policy":
        label = f"{fleet.place['LoadBalancer']}/{fleet.place['TargetGroup']}"
        metric = {"PredefinedMetricType": "ALBRequestCountPerTarget", "ResourceLabel": label}
        fleet.put("requests", {"PredefinedMetricSpecification": metric, "TargetValue": TARGET}, Enabled=False)
    fleet.step()
    fleet.serve(1500)
    assert fleet.desired == out
    fleet.serve(0, 2)
    assert fleet.desired == smaller
    clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=3)
    fleet.step()
    assert fleet.desired == {"nothing": 1}.get(keep, 3)


def test_one_policy_scales_out_and_all_scale_in(cloud: LocalCloud, clients: Clients, clock: Clock) -> None:
    """A fleet with two policies would be shrunk by the one that has little to say."""
    fleet = Fleet(cloud, clients, clock)
    fleet.step()
    fleet.track()
    cpu = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}, "TargetValue": 50}
    fleet.put("cpu", cpu)
    assert ask(cloud, "cpu", {"percent": 200}) == 400
    assert ask(cloud, "cpu", {"percent": 100}) == 200
    fleet.step(0)
    fleet.serve(0, 3)
    assert fleet.desired == 8
    assert ask(cloud, "cpu", {"percent": 45, "group": "web"}) == 200
    fleet.serve(0, 3)
    assert fleet.desired == 8
    assert ask(cloud, "cpu", {"percent": 20, "group": "web"}) == 200
    fleet.serve(0)
    assert fleet.desired == 4, "the larger of the two"


def test_a_changed_policy_has_its_alarms_changed(fleet: Fleet) -> None:
    """An update of the target would show in the policy, and the group be scaled by the old one."""
    fleet.track()
    before = {one["AlarmName"]: one["Threshold"] for one in fleet.clients.cloudwatch.describe_alarms()["MetricAlarms"]}
    fleet.track(TargetValue=60.0)
    after = {one["AlarmName"]: one["Threshold"] for one in fleet.clients.cloudwatch.describe_alarms()["MetricAlarms"]}
    assert after == {name: threshold / 10 for name, threshold in before.items()}


def test_requests_per_target_are_told_of_who_has_none(fleet: Fleet) -> None:
    """A standby without traffic would never be scaled in, as AWS would; or requests be counted that others share."""
    waiting: dict[Slot, Tally] = {}
    states = {"healthy": 3, "unhealthy": 2, "draining": 1}

    def health(_: str) -> list[TargetHealth]:
        return [TargetHealth("i", 80, state) for state, count in states.items() for _ in range(count)]

    machines = SimpleNamespace(
        take_traffic=lambda _: {one: waiting.pop(one) for one in [*waiting]}, target_health=health
    )
    publisher = alb_metrics.Publisher(machines, Lateness.none())

    def told(now: float) -> list[float]:
        with LOCK:
            found = publisher.due(backend("elbv2"), now)
            return [
                next(iter(sample.values))
                for (_, name, place), _, sample, _ in found
                if (name, dict(place)) == ("RequestCountPerTarget", fleet.place)
            ]

    listener = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/web/1/9"
    assert told(NOON + 10.1) == [0.0]
    waiting[int(NOON), listener, fleet.arn] = Tally(chosen=60)
    assert told(NOON + 11.1) == [20.0]
    states["healthy"] = 0
    assert told(NOON + 20.1) == [0.0]
    waiting[int(NOON) + 10, listener, fleet.arn] = Tally(chosen=60)
    assert told(NOON + 21.1) == [30.0]
