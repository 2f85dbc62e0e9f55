"""Spot Instances that EC2 takes while users ask: twenty interruptions of real machines, and not a request lost.

What users got, and how long each wave took, is printed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.load import Load
from tests.e2e.stack import LocalStack

pytestmark = [pytest.mark.e2e]

SPOT = 4
"""Of five machines. More that boot at once make each other's timers fail on a busy computer."""

WAVES = ("notice", "both", "notice", "both", "notice")
"""How EC2 takes all Spot Instances, each time: at the bare notice, or with a recommendation before it."""

NOTICE_SECONDS = 25
"""In the place of two minutes: a machine that is drained has 5 s of it left for its last requests (`health.drain`)."""

AHEAD_SECONDS = 3
"""From a recommendation to the notice that soon follows it: too little for another machine to boot."""

BOOT_SECONDS = 600
"""Within this, all machines that are missing have booted, on a busy computer too. Nothing here takes longer."""


class Fleet:
    """A release of one On-Demand and four Spot Instances."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self._elbv2 = stack.client("elbv2")

    def running(self, lifecycle: str = "") -> set[str]:
        """The instances that run."""
        found: list[dict[str, Any]] = self.stack.admin("GET", "status")["instances"]
        return {one["id"] for one in found if one["state"] == "running" and lifecycle in {"", one["lifecycle"]}}

    def is_whole(self) -> bool:
        """Whether all its machines are healthy targets, and there are no others."""
        (group,) = self._elbv2.describe_target_groups()["TargetGroups"]
        told = self._elbv2.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
        return [one["TargetHealth"]["State"] for one in told] == ["healthy"] * (1 + SPOT)

    def tell(self, what: str, instances: set[str]) -> None:
        """Recommend to replace these, or interrupt them."""
        for instance in instances:
            self.stack.admin("POST", f"instances/{instance}/{what}", {"seconds": NOTICE_SECONDS})

    def recommend(self, instances: set[str]) -> None:
        """Have EC2 recommend to replace these; nothing has left yet."""
        self.tell("recommend", instances)
        time.sleep(AHEAD_SECONDS)
        assert instances <= self.running(), "no machine leaves before another one is healthy"

    def wait_until_left(self, instances: set[str], why: str) -> None:
        """Wait until the group has drained and ended these."""
        gone = wait(lambda: not instances & self.running(), "what is taken leaves")
        print(f"{why}: {len(instances)} of {1 + SPOT} machines drained and ended within {gone:.1f} s")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """It is up. A machine that serves alone while others boot is not given up; one that never boots is replaced."""
    health = {"drain": 5, "grace": 600, "timeout": 4, "unhealthy": 10}
    rollout = {"strategy": "all-at-once", "bake": 0, "deadline": 3 * BOOT_SECONDS, "readings": 2, "convergence": 4}
    stack = LocalStack(tmp_path, capacity={"min": 1 + SPOT, "max": 2 * (1 + SPOT)}, health=health, rollout=rollout)
    try:
        assert stack.run("up").status == 0
        yield Fleet(stack)
    finally:
        stack.run("down")


def wait(done: Callable[[], bool], what: str) -> float:
    """The seconds that it took."""
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < BOOT_SECONDS, f"not within {BOOT_SECONDS} s: {what}"
        time.sleep(0.5)
    return time.monotonic() - began


def test_twenty_interruptions_lose_no_request(fleet: Fleet) -> None:
    """What Spot Instances save would be paid by users: each one that EC2 takes would cost them requests."""
    taken = set[str]()
    with Load(fleet.stack.url, users=4) as load:
        at_risk = {min(fleet.running("spot"))}
        fleet.recommend(at_risk)
        fleet.wait_until_left(at_risk, "recommendation")
        for kind in WAVES:
            whole = wait(fleet.is_whole, "the fleet is whole")
            print(f"the fleet is whole after {whole:.1f} s")
            spot = fleet.running("spot")
            if kind == "both":
                fleet.recommend(spot)
            fleet.tell("interrupt", spot)
            fleet.wait_until_left(spot, kind)
            taken |= spot
        time.sleep(1)
    print(f"{len(taken)} interruptions", load.report(), sep="\n")
    assert len(taken) == 20
    assert not load.failures
    described = fleet.stack.client("ec2").describe_instances(InstanceIds=sorted(taken))["Reservations"]
    ends = [one.get("StateReason", {}).get("Code") for found in described for one in found["Instances"]]
    assert "Server.SpotInstanceTermination" not in ends, "EC2 took a machine that had not been drained"
