"""Warm pools of the local cloud: what they launch, how a group takes from them, what is refused, and how they go."""

from __future__ import annotations

from typing import Any

import pytest

from fleetswap.aws.rollout.fleet import Fleet
from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout.warm_pool import EMPTY, WarmPool
from localcloud.moto_state import LOCK, backend
from tests.localcloud.autoscaling.test_groups import activities, create, mixed, shown, target_group, tick
from tests.localcloud.clients import Clients, refusal

ON_DEMAND = {"OnDemandPercentageAboveBaseCapacity": 100}


@pytest.fixture
def balanced(clients: Clients) -> str:
    """A group `web` of two On-Demand Instances behind a load balancer; the ARN of its target group."""
    network = clients.network()
    arn = target_group(clients, network, in_use=False)
    template = clients.template(clients.image())
    create(
        clients, network, DesiredCapacity=2, MinSize=1, MaxSize=5, TargetGroupARNs=[arn], **mixed(template, **ON_DEMAND)
    )
    return arn


def pool(clients: Clients) -> list[tuple[str, str]]:
    found = clients.autoscaling.describe_warm_pool(AutoScalingGroupName="web")["Instances"]
    return [(each["InstanceId"], each["LifecycleState"]) for each in found]


def states(clients: Clients) -> list[str]:
    tick()
    tick()
    return [state for _, state in pool(clients)]


def put(clients: Clients, **asked: Any) -> None:
    clients.autoscaling.put_warm_pool(AutoScalingGroupName="web", **asked)


def ec2_states(clients: Clients) -> dict[str, str]:
    found = clients.ec2.describe_instances()["Reservations"]
    return {each["InstanceId"]: each["State"]["Name"] for one in found for each in one["Instances"]}


def test_what_the_fleet_gives_is_what_aws_has(clients: Clients, balanced: str) -> None:
    """The pool would be another one than that of the settings, and each preview would show it as drift."""
    fleet = Fleet(clients.autoscaling, lambda: clients.ec2)
    asked = WarmPool(2, 4, "Running", reuse=True)
    assert fleet.group("web").warm_pool is None  # type: ignore[union-attr]
    for wanted in (EMPTY, asked, asked):
        fleet.keep_warm_pool("web", wanted)
        assert fleet.group("web").warm_pool == wanted  # type: ignore[union-attr]
    assert states(clients) == ["Warmed:Running"] * 2
    group = fleet.group("web")
    assert group is not None
    assert len(group.machines) == 2, "those of the pool are not in the group"
    assert shown(clients)["WarmPoolSize"] == 2
    targets = clients.elbv2.describe_target_health(TargetGroupArn=balanced)["TargetHealthDescriptions"]
    assert {each["Target"]["Id"] for each in targets} == {machine.id for machine in group.machines}
    put(clients, MaxGroupPreparedCapacity=-1, MinSize=0)
    assert fleet.group("web").warm_pool == WarmPool(0, -1, "Running", reuse=True)  # type: ignore[union-attr]
    fleet.keep_warm_pool("web", None)
    tick()
    fleet.keep_warm_pool("web", None)
    fleet.keep_warm_pool("gone", None)
    assert shown(clients).get("WarmPoolConfiguration") is None


def test_a_scale_out_takes_from_the_pool_first(clients: Clients, balanced: str) -> None:
    """Machines that were paid for would stay in the pool, or would never take traffic."""
    put(clients, MinSize=2, MaxGroupPreparedCapacity=2)
    assert states(clients) == ["Warmed:Stopped"] * 2
    waiting = {machine for machine, _ in pool(clients)}
    assert {ec2_states(clients)[machine] for machine in waiting} == {"stopped"}
    clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=4)
    assert waiting < {each["InstanceId"] for each in shown(clients)["Instances"]}
    assert {each["LifecycleState"] for each in shown(clients)["Instances"]} == {"InService"}
    assert {ec2_states(clients)[machine] for machine in waiting} == {"running"}
    told = {each["Description"] for each in activities(clients)}
    assert {f"Launching a new EC2 instance from warm pool: {machine}" for machine in waiting} < told
    targets = clients.elbv2.describe_target_health(TargetGroupArn=balanced)["TargetHealthDescriptions"]
    assert waiting < {each["Target"]["Id"] for each in targets}
    assert states(clients) == ["Warmed:Stopped"] * 2, "and it is filled again"


@pytest.mark.parametrize(("asked", "size"), [({}, 3), ({"MaxGroupPreparedCapacity": 3}, 1), ({"MinSize": 4}, 4)])
def test_how_large_a_pool_is(clients: Clients, balanced: str, asked: dict[str, int], size: int) -> None:
    """A setting would mean another number of machines, and another bill, than on AWS."""
    del balanced
    put(clients, **asked)
    assert len(states(clients)) == size


def test_what_is_scaled_in_is_used_again(clients: Clients, balanced: str) -> None:
    """`reuse` would do nothing."""
    put(clients, MaxGroupPreparedCapacity=2, InstanceReusePolicy={"ReuseOnScaleIn": True})
    assert states(clients) == []
    before = {each["InstanceId"] for each in shown(clients)["Instances"]}
    clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    assert states(clients) == ["Warmed:Stopped"]
    after = {each["InstanceId"] for each in shown(clients)["Instances"]}
    assert {machine for machine, _ in pool(clients)} == before - after
    targets = clients.elbv2.describe_target_health(TargetGroupArn=balanced)["TargetHealthDescriptions"]
    assert {each["Target"]["Id"] for each in targets} == after


def test_a_deleted_pool_is_there_for_a_while(clients: Clients, balanced: str) -> None:
    """A release that goes live again at once would find no error here, and one on AWS."""
    del balanced
    fleet = Fleet(clients.autoscaling, lambda: clients.ec2)
    fleet.keep_warm_pool("web", WarmPool(1, 1))
    assert states(clients) == ["Warmed:Stopped"]
    ((machine, _),) = pool(clients)
    with LOCK:
        backend("autoscaling").autoscaling_groups["web"].lateness.change({"warm_pools": [3600, 3600]})
    fleet.keep_warm_pool("web", None)
    tick()
    assert shown(clients)["WarmPoolConfiguration"]["Status"] == "PendingDelete"
    assert fleet.group("web").warm_pool is None  # type: ignore[union-attr]
    with pytest.raises(TryAgain, match="is still being deleted"):
        fleet.keep_warm_pool("web", WarmPool(1, 1))
    fleet.keep_warm_pool("web", EMPTY)  # a rollback does not wait to see that there can be one
    assert refusal(lambda: put(clients, MinSize=1)) == "ValidationError"
    with LOCK:
        backend("autoscaling").autoscaling_groups["web"].warm_pool.gone_at = 0.0
    tick()
    assert ec2_states(clients)[machine] == "terminated"
    fleet.keep_warm_pool("web", WarmPool(1, 1))


def test_a_deleted_group_takes_its_pool_with_it(clients: Clients, balanced: str) -> None:
    """A release that is gone would leave machines that nobody knows of."""
    del balanced
    put(clients, MinSize=1, MaxGroupPreparedCapacity=1)
    assert states(clients) == ["Warmed:Stopped"]
    clients.autoscaling.delete_auto_scaling_group(AutoScalingGroupName="web", ForceDelete=True)
    assert set(ec2_states(clients).values()) == {"terminated"}


def test_what_is_refused(clients: Clients, balanced: str) -> None:
    """What AWS refuses after the traffic has moved would be found out there."""
    del balanced
    fleet = Fleet(clients.autoscaling, lambda: clients.ec2)
    assert refusal(lambda: put(clients, MaxGroupPreparedCapacity=-2)) == "ValidationError"
    assert refusal(lambda: put(clients, PoolState="Hibernated")) == "ValidationError"
    delete = clients.autoscaling.delete_warm_pool
    assert refusal(lambda: delete(AutoScalingGroupName="web")) == "ValidationError"
    put(clients, MinSize=0, MaxGroupPreparedCapacity=0)
    with pytest.raises(CloudError, match="Spot"):
        fleet.on_demand("web", 50)
    fleet.keep_warm_pool("web", None)
    tick()
    fleet.on_demand("web", 50)
    with pytest.raises(CloudError, match="requests Spot Instances"):
        fleet.keep_warm_pool("web", EMPTY)
