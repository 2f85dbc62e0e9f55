"""Capacity Rebalancing: what a group does at a rebalance recommendation, and at the notice of an interruption."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from localcloud import daemon
from localcloud.autoscaling import health, scaling
from localcloud.compute import metadata
from localcloud.moto_state import LOCK, backend
from localcloud.processes.process import Process
from localcloud.server import LocalCloud
from tests.localcloud.autoscaling.test_groups import activities, create, mixed, shown, target_group
from tests.localcloud.balancer.world import until
from tests.localcloud.clients import Clients


def ask(cloud: LocalCloud, path: str, asked: object = None) -> int:
    request = urllib.request.Request(
        f"{cloud.endpoint}/_localcloud/{path}", json.dumps(asked or {}).encode(), method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def ticks() -> None:
    """Several looks of the group: what it does not do now it never does."""
    for _ in range(4):
        with LOCK:
            scaling.tick(backend("autoscaling"))


class Fleet:
    """A group `web` of one On-Demand and some Spot Instances behind a load balancer; its targets are healthy."""

    def __init__(self, cloud: LocalCloud, clients: Clients, *, spot: int = 2, **asked: Any) -> None:
        self._cloud, self._clients = cloud, clients
        network = clients.network()
        template = clients.template(clients.image())
        self.say("healthy")
        arn = target_group(clients, network)
        create(
            clients,
            network,
            **{
                "CapacityRebalance": True,
                "HealthCheckType": "ELB",
                "DesiredCapacity": 1 + spot,
                "TargetGroupARNs": [arn],
                **mixed(template, OnDemandBaseCapacity=1, OnDemandPercentageAboveBaseCapacity=0),
                **asked,
            },
        )

    def say(self, state: str) -> None:
        assert ask(self._cloud, "target-health", {"state": state}) == 200

    def spot(self) -> list[str]:
        """The Spot Instances that run, the oldest first."""
        return [one["InstanceId"] for one in self._clients.instances() if one.get("InstanceLifecycle") == "spot"]

    def in_service(self) -> list[str]:
        return [one["InstanceId"] for one in shown(self._clients)["Instances"] if one["LifecycleState"] == "InService"]


def test_another_instance_is_healthy_before_one_at_risk_leaves(cloud: LocalCloud, clients: Clients) -> None:
    """A fleet would seem to be safe at a recommendation and be one machine short, or never lose the machine at risk."""
    fleet = Fleet(cloud, clients)
    old, stays = fleet.spot()
    fleet.say("initial")
    assert ask(cloud, f"instances/{old}/recommend") == 200
    until(lambda: len(fleet.spot()) == 3, "the launch")
    ticks()
    assert old in fleet.in_service()
    assert len(fleet.spot()) == 3, "each look would launch another one"
    fleet.say("healthy")
    until(lambda: old not in fleet.spot(), "the end of the old one")
    ticks()
    assert stays in fleet.spot()
    assert (len(fleet.spot()), shown(clients)["DesiredCapacity"]) == (2, 3)
    assert "rebalance recommendation" in next(one["Cause"] for one in activities(clients) if old in one["Description"])


def test_the_notice_waits_for_nobody(cloud: LocalCloud, clients: Clients) -> None:
    """A machine would take requests until its last second, or the group be one short for as long as it drains."""
    fleet = Fleet(cloud, clients)
    old, _ = fleet.spot()
    fleet.say("initial")
    assert ask(cloud, f"instances/{old}/interrupt", {"seconds": 600}) == 200
    until(lambda: old not in fleet.spot() and len(fleet.spot()) == 2, "another one in its place")
    assert "interruption notice" in next(one["Cause"] for one in activities(clients) if old in one["Description"])


@pytest.mark.parametrize(
    ("maximum", "most"),
    [(9, 6), (3, 4)],
)
def test_a_full_group_exceeds_its_maximum_by_little(
    cloud: LocalCloud, clients: Clients, maximum: int, most: int
) -> None:
    """A rehearsal at the maximum would replace nothing, or have more machines than AWS would ever launch."""
    fleet = Fleet(cloud, clients, MaxSize=maximum)
    at_risk = fleet.spot()
    fleet.say("initial")
    for instance_id in at_risk:
        assert ask(cloud, f"instances/{instance_id}/recommend") == 200
    until(lambda: len(fleet.in_service()) == min(most, 5), "the launches")
    ticks()
    assert len(fleet.in_service()) == min(most, 5)
    fleet.say("healthy")
    until(lambda: not set(at_risk) & set(fleet.spot()), "the end of both")
    ticks()
    assert len(fleet.in_service()) == 3


def test_a_group_without_rebalancing_waits_for_the_end(cloud: LocalCloud, clients: Clients) -> None:
    """What rebalancing is for could not be seen: the group would act on its own."""
    fleet = Fleet(cloud, clients, CapacityRebalance=False)
    old, _ = fleet.spot()
    assert ask(cloud, f"instances/{old}/recommend") == 200
    assert ask(cloud, f"instances/{old}/interrupt", {"seconds": 600}) == 200
    ticks()
    assert (old in fleet.in_service(), len(fleet.spot())) == (True, 2)
    clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", CapacityRebalance=True)
    until(lambda: old not in fleet.spot(), "the group to take it up")


def test_without_rebalancing_only_a_failed_health_check_replaces_what_was_taken(
    cloud: LocalCloud, clients: Clients
) -> None:
    """A fleet without Capacity Rebalancing would be whole again sooner than on AWS."""
    cloud.lateness.change({"health_checks": [1000, 1000]})
    fleet = Fleet(cloud, clients, CapacityRebalance=False)
    old, _ = fleet.spot()
    assert ask(cloud, f"instances/{old}/interrupt", {"seconds": 0}) == 200
    until(lambda: old not in fleet.spot(), "the end of the instance")
    health.replace({"web": {old: health.EC2}})
    ticks()
    assert (old in fleet.in_service(), len(fleet.spot())) == (True, 1)
    cloud.lateness.change({"health_checks": [0, 0]})
    until(lambda: old not in fleet.in_service() and len(fleet.spot()) == 2, "another one in its place")
    assert "health check" in next(one["Cause"] for one in activities(clients) if old in one["Description"])


def test_a_group_that_is_scaled_in_replaces_no_more_than_it_needs(cloud: LocalCloud, clients: Clients) -> None:
    """Machines at risk would be kept or replaced for a release that is to have none."""
    fleet = Fleet(cloud, clients)
    fleet.say("initial")
    for instance_id in fleet.spot():
        assert ask(cloud, f"instances/{instance_id}/recommend") == 200
    clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=0, DesiredCapacity=0)
    until(lambda: not fleet.spot(), "the scale-in")
    ticks()
    assert not fleet.in_service()


def test_a_machine_is_told_of_what_threatens_it(cloud: LocalCloud, clients: Clients) -> None:
    """An application that drains itself at the notice could not be rehearsed."""
    fleet = Fleet(cloud, clients, CapacityRebalance=False)
    old, other = fleet.spot()

    def told(instance_id: str, path: str) -> dict[str, str] | None:
        with LOCK:
            tree = metadata.tree(backend("ec2").get_instance_by_id(instance_id), None)
        found = tree.get(f"meta-data/{path}")
        return None if found is None else json.loads(found)

    rebalance, action = "events/recommendations/rebalance", "spot/instance-action"
    assert (told(old, rebalance), told(old, action)) == (None, None)
    assert ask(cloud, f"instances/{old}/recommend") == 200
    first = told(old, rebalance)
    assert first is not None
    assert set(first) == {"noticeTime"}
    assert told(old, action) is None
    assert ask(cloud, f"instances/{old}/interrupt", {"seconds": 600}) == 200
    assert told(old, rebalance) == first
    assert (told(old, action) or {})["action"] == "terminate"
    assert ask(cloud, f"instances/{other}/interrupt", {"seconds": 600}) == 200
    assert told(other, rebalance), "a notice comes with its recommendation, if none came before"
    (on_demand,) = set(fleet.in_service()) - {old, other}
    assert ask(cloud, f"instances/{on_demand}/recommend") == 404


def test_the_command_line_has_an_instance_taken(cloud: LocalCloud, clients: Clients, tmp_path: Path) -> None:
    """Who tries a fleet on Spot Instances could only do so with a request of their own making."""
    with pytest.raises(daemon.Refused, match="No local cloud runs"):
        daemon.tell(tmp_path, "i-0", "interrupt", {})
    me = Process.of(os.getpid())
    assert me is not None
    (tmp_path / "pid").write_text(f"{me.record()}{cloud.port}\n")
    with pytest.raises(daemon.Refused, match="There is no running instance i-0"):
        daemon.tell(tmp_path, "i-0", "interrupt", {})
    fleet = Fleet(cloud, clients)
    old, _ = fleet.spot()
    assert daemon.tell(tmp_path, old, "interrupt", {"seconds": 600}) == f"interrupt: {old}"
    until(lambda: old not in fleet.spot(), "the end of the instance")
