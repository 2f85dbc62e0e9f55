"""A deploy while target tracking scales the fleet: out while users come, in while they go. Not a request is lost.

With the real engine and real machines. What users got, and how the groups changed, is printed.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.load import Load
from tests.e2e.stack import LocalStack
from tests.e2e.watch import Watcher

pytestmark = [pytest.mark.e2e]

TARGET = 200
"""Requests per machine and minute: few users stay far below it, many are far above it also on a busy computer."""

ROLLOUT = {
    "strategy": [{"weight": 20, "hold": 15}],
    "errors": None,
    "bake": 0,
    "deadline": 600,
    "readings": 2,
    "interval": 0.5,
    "convergence": 4,
    "warm": 600,
}


class Groups(Watcher):
    """Watches the auto scaling groups: of each release, the minimum and the desired capacity whenever they changed."""

    def __init__(self, stack: LocalStack) -> None:
        super().__init__()
        self._client = stack.client("autoscaling")
        self.seen: dict[str, list[tuple[int, int]]] = {}

    def desired(self, release: str) -> int:
        return self.seen[release][-1][1] if release in self.seen else 0

    def wait_for(self, release: str, desired: int, seconds: float) -> None:
        """Wait until a group has this desired capacity."""
        deadline = time.monotonic() + seconds
        while self.desired(release) != desired:
            assert time.monotonic() < deadline, f"{release} is not scaled to {desired}: {self.seen}"
            time.sleep(0.1)

    def wait_for_another(self, than: set[str], seconds: float) -> str:
        """Wait until another group has machines to launch; its name."""
        deadline = time.monotonic() + seconds
        while not (found := {name for name in self.seen if self.desired(name)} - than):
            assert time.monotonic() < deadline, f"no candidate was given machines: {self.seen}"
            time.sleep(0.1)
        return found.pop()

    def look(self) -> None:
        """The groups as they are now."""
        for group in self._client.describe_auto_scaling_groups()["AutoScalingGroups"]:
            release = "-".join(group["AutoScalingGroupName"].split("-")[:2])
            sizes = self.seen.setdefault(release, [])
            now = (group["MinSize"], group["DesiredCapacity"])
            if sizes[-1:] != [now]:
                sizes.append(now)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """One machine, two at most, by requests; a policy's alarm wants one data point of 10 s."""
    stack = LocalStack(
        tmp_path_factory.mktemp("scaling"),
        capacity={"min": 1, "max": 2, "requests_per_target": TARGET, "warmup": 1},
        retention={"images": 1, "min_age": 0},
        rollout=ROLLOUT,
    )
    try:
        assert stack.run("up").status == 0
        stack.admin("POST", "lateness", {"metrics": [0, 0], "scale_out": [10, 10], "scale_in": [10, 10]})
        yield stack
    finally:
        for deploy in _deploys:
            if deploy.poll() is None:
                stack.kill_deployers(deploy)
        stack.run("down")


_deploys: list[subprocess.Popen[str]] = []


def begin(stack: LocalStack, version: str) -> subprocess.Popen[str]:
    """Begin a deploy; one that a failed test leaves is ended with the stack."""
    _deploys.append(stack.start("up", version=version))
    return _deploys[-1]


def few(stack: LocalStack) -> Load:
    return Load(stack.url, users=2, pause=2)


def many(stack: LocalStack) -> Load:
    return Load(stack.url, users=4, pause=0.3)


def live(stack: LocalStack) -> str:
    """The release that has all the traffic."""
    ((release, weight),) = stack.weights().items()
    assert weight == 100
    return release


def reasons(stack: LocalStack, release: str, alarm: str) -> list[str]:
    """The causes of the activities of a group that a policy's alarm began."""
    told: list[dict[str, Any]] = stack.client("autoscaling").describe_scaling_activities()["Activities"]
    found = [each["Cause"] for each in told if each["AutoScalingGroupName"].startswith(release)]
    return [cause for cause in found if alarm in cause]


def test_a_deploy_while_the_fleet_scales_out_loses_nothing(fleet: LocalStack) -> None:
    """The new version would get all users with the machines of an hour ago, or be scaled in before it has any."""
    first = live(fleet)
    with few(fleet) as before, Groups(fleet) as groups:
        deploy = begin(fleet, "2")
        second = groups.wait_for_another({first}, 400)
        assert groups.desired(second) == 1, "as many as live has"
        with many(fleet) as load:
            groups.wait_for(first, 2, 240)
            said, _ = deploy.communicate(timeout=1500)
            print(said, before.report(), load.report(), groups.seen, sep="\n")
            assert deploy.returncode == 0
            assert live(fleet) == second
            assert reasons(fleet, first, "AlarmHigh")
            assert groups.seen[second][:1] == [(0, 0)]
            held = groups.seen[second][1:]
            assert (2, 2) in held, "it was not given what live has now"
            assert all(desired >= 1 for _, desired in held), "scaled in before it had traffic"
            assert groups.seen[first][-1] == (2, 2), "the way back was scaled in for want of traffic"
    assert before.failures == load.failures == {}
    assert set(load.versions) == {"1", "2"}


def test_a_deploy_while_the_fleet_scales_in_loses_nothing(fleet: LocalStack) -> None:
    """The machine that a policy takes would be lost to users between two weights, or the candidate be too small."""
    second = live(fleet)
    assert fleet.serves("2"), "a late node still knows the version before"
    fleet.set(rollout={**ROLLOUT, "strategy": "all-at-once"})
    with Groups(fleet) as groups, few(fleet) as load:
        with many(fleet) as before:  # it may have scaled in by now
            groups.wait_for(second, 2, 240)
        time.sleep(5)
        known = set(groups.seen)
        deploy = begin(fleet, "3")
        groups.wait_for(second, 1, 240)
        third = groups.wait_for_another(known, 400)
        said, _ = deploy.communicate(timeout=1500)
        assert fleet.serves("3")
        time.sleep(3)  # each user asks every 2 s
        print(said, load.report(), groups.seen, sep="\n")
        assert deploy.returncode == 0
        assert live(fleet) == third
    assert reasons(fleet, second, "AlarmLow")
    assert before.failures == load.failures == {}
    assert set(load.versions) == {"2", "3"}
