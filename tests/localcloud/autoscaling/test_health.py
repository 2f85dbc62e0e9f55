"""Auto scaling groups replace what is unhealthy, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localcloud.autoscaling import health
from localcloud.hooks import TargetHealth
from localcloud.server import LocalCloud
from localcloud.view import AutoScalingGroup, Cloud, Instance
from tests.localcloud.balancer.world import until
from tests.localcloud.clients import Clients

LAUNCHED = 1000.0
GROUP = AutoScalingGroup("web", "ELB", 60.0, ("tg1", "tg2"), frozenset({"i-1", "i-2"}))
INSTANCES = {name: Instance(name, "running", "10.0.0.4", (), launched=LAUNCHED) for name in ("i-1", "i-2")}
CLOUD = Cloud(instances=INSTANCES, groups={"web": GROUP})


def healths(**states: str) -> list[TargetHealth]:
    return [TargetHealth(name.replace("_", "-"), 80, state) for name, state in states.items()]


def unhealthy(group: AutoScalingGroup = GROUP, *, now: float = LAUNCHED + 60, **states: str) -> dict[str, str]:
    """What would be replaced when target health in the second target group is this."""
    cloud = replace(CLOUD, groups={"web": group})
    found = health.unhealthy(cloud, lambda arn: healths(**states) if arn == "tg2" else [], now)
    return found.get("web", {})


@pytest.mark.parametrize("state", ["initial", "healthy", "unused", "draining", "unavailable"])
def test_only_unhealthy_targets_are_replaced(state: str) -> None:
    """Machines that boot, or that leave, would be ended and launched for ever."""
    assert unhealthy(i_1=state) == {}


def test_an_unhealthy_target_is_replaced_after_the_grace_period() -> None:
    """A broken machine would stay; or no machine would ever have the time to boot."""
    assert unhealthy(i_1="unhealthy", i_2="healthy") == {"i-1": health.ELB}
    assert unhealthy(i_1="unhealthy", now=LAUNCHED + 59) == {}


def test_a_group_of_the_type_ec2_ignores_target_health() -> None:
    """A group that was told to leave health to EC2 would end machines."""
    assert unhealthy(replace(GROUP, health_check_type="EC2"), i_1="unhealthy") == {}


@pytest.mark.parametrize("state", ["stopped", "stopping", "terminated", "shutting-down"])
def test_an_instance_that_does_not_run_is_replaced_at_once(state: str) -> None:
    """A group would count a machine that went off, and be short of one."""
    cloud = replace(CLOUD, instances={**INSTANCES, "i-2": replace(INSTANCES["i-2"], state=state)})
    assert health.unhealthy(cloud, lambda _: [], LAUNCHED) == {"web": {"i-2": health.EC2}}


@pytest.mark.parametrize("process", ["HealthCheck", "ReplaceUnhealthy", "Terminate"])
def test_a_suspended_process_leaves_the_group_alone(process: str) -> None:
    """Whoever looks into a broken machine would lose it."""
    assert unhealthy(replace(GROUP, suspended=frozenset({process})), i_1="unhealthy") == {}
    assert unhealthy(replace(GROUP, suspended=frozenset({"AZRebalance"})), i_1="unhealthy") == {"i-1": health.ELB}


@pytest.mark.usefixtures("cloud")
def test_replacing_retires_launches_and_tells_why(clients: Clients) -> None:
    """A failed deploy could not be understood from the group's activities; or the group would shrink."""
    network = clients.network()
    group = clients.group(clients.template(clients.image()), network, DesiredCapacity=2)
    sick, well = (instance["InstanceId"] for instance in clients.instances())
    health.replace({group: {sick: health.ELB}})
    health.replace({group: {sick: health.ELB}, "a group that is gone": {well: health.ELB}})
    until(lambda: len(clients.instances()) == 2, "the replacement")  # the control plane launches it soon
    left = [instance["InstanceId"] for instance in clients.instances()]
    told = clients.autoscaling.describe_scaling_activities(AutoScalingGroupName=group)["Activities"]
    retired = [activity for activity in told if activity["Description"] == f"Terminating EC2 instance: {sick}"]
    assert len(retired) == 1
    assert retired[0]["Cause"].endswith(health.ELB)
    assert sick not in left
    assert well in left


def test_the_fixture_has_no_machines(cloud: LocalCloud) -> None:
    """The test above would also pass if the machines replaced the instance on their own."""
    assert cloud.machines is None
