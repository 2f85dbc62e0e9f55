"""How machines are launched: the launch template, what a group may launch, and which releases an upgrade deploys."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pulumi
import pytest

from fleetswap.domain.errors import CloudError, InputError
from fleetswap.domain.release.ledger import Ledger, from_plain, release_id, to_plain
from fleetswap.domain.release.placement import PlacementGroup
from tests.program.declared import Credentials, Program, declare
from tests.program.test_stack import local, releases

pytestmark = pytest.mark.nix


@pytest.fixture(scope="module")
def first() -> Program:
    return declare(local("1"))


def overrides(program: Program, **release: str) -> list[dict[str, Any]]:
    policy = program.one("Group", **release).inputs["mixedInstancesPolicy"]
    found: list[dict[str, Any]] = policy["launchTemplate"]["overrides"]
    return found


def earlier(program: Program) -> dict[str, Any]:
    """The ledger as a version before detailed monitoring wrote it."""
    ledger = from_plain(program.outputs["ledger"])
    (entry,) = ledger.entries
    machine = replace(entry.machine, monitoring=False)
    release = release_id("web", entry.image.identity, machine, entry.health, entry.image.info)
    written = to_plain(Ledger(release, None, (replace(entry, release=release, machine=machine),)))
    return {**program.outputs["ledger"], **written}


def test_an_upgrade_deploys_nothing(first: Program) -> None:
    """Whoever upgrades Fleetswap would get a new release of the same image with each new default."""
    before = earlier(first)
    program = declare(local("1"), ledger=before)
    assert releases(program) == [before["live"]]
    assert "monitoring" not in program.one("LaunchTemplate").inputs
    assert program.outputs["ledger"]["entries"] == before["entries"]


def test_a_new_release_is_monitored_each_minute(first: Program) -> None:
    """Its CPU would be known five minutes late, and the fleet scale out as late."""
    assert first.one("LaunchTemplate").inputs["monitoring"] == {"enabled": True}
    before = earlier(first)
    program = declare(local("2"), ledger=before)
    (new,) = set(releases(program)) - {before["live"]}
    assert program.one("LaunchTemplate", new).inputs["monitoring"] == {"enabled": True}
    assert "monitoring" not in program.one("LaunchTemplate", before["live"]).inputs


def test_monitoring_that_is_set_is_obeyed(first: Program) -> None:
    """What the settings say would be overruled by what they said before."""
    before = earlier(first)
    for said in (True, False):
        machine = {**_machine(), "monitoring": said}
        program = declare(local("1", machine=machine), ledger=before)
        assert (program.outputs["ledger"]["live"] == before["live"]) is not said
    off = declare(local("1", machine={**_machine(), "monitoring": False}))
    assert "monitoring" not in off.one("LaunchTemplate").inputs
    assert off.outputs["ledger"]["version"] < first.outputs["ledger"]["version"], "an older program could read it"


def _machine() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(local("1")["machine"])
    return found


def test_weights_are_those_of_the_group(first: Program) -> None:
    """A machine of twice the size would count as one, or the group be refused for a type without a weight."""
    assert all("weightedCapacity" not in each for each in overrides(first))
    types = ["c7i.large", {"type": "c7i.xlarge", "weight": 2}]
    program = declare(local("1", machine={"instance_types": types}))
    assert overrides(program) == [
        {"instanceType": "c7i.large", "weightedCapacity": "1"},
        {"instanceType": "c7i.xlarge", "weightedCapacity": "2"},
    ]


def test_the_root_volume_is_as_fast_as_asked_for(first: Program) -> None:
    """The machines would read as slowly as without the setting, or AWS be asked for what nobody set."""
    (plain,) = first.one("LaunchTemplate").inputs["blockDeviceMappings"]
    assert not {"iops", "throughput", "volumeInitializationRate"} & set(plain["ebs"])
    volume = {"iops": 6000, "throughput": 1500, "initialization_rate": 200}
    program = declare(local("1", machine={"root_gib": 12, "volume": volume}))
    (device,) = program.one("LaunchTemplate").inputs["blockDeviceMappings"]
    ebs = device["ebs"]
    assert (ebs["iops"], ebs["throughput"], ebs["volumeInitializationRate"]) == (6000, 1500, 200)


def test_placement_and_tenancy_are_in_the_launch_template(first: Program) -> None:
    """Machines would run on shared hardware, or apart, although a contract says otherwise."""
    assert "placement" not in first.one("LaunchTemplate").inputs
    program = declare(local("1", machine={"tenancy": "dedicated"}))
    assert program.one("LaunchTemplate").inputs["placement"] == {"tenancy": "dedicated"}


def test_attributes_are_those_of_the_group() -> None:
    """AWS would choose among other types than were asked for."""
    asked = {
        "vcpus": {"min": 2, "max": 8},
        "memory_mib": {"min": 4096},
        "memory_gib_per_vcpu": {"max": 2.5},
        "allow": ["c7i.large", "c7a.large"],
        "burstable": "included",
        "spot_max_price_percent": 50,
    }
    program = declare(local("1", machine={"requirements": asked}))
    assert overrides(program) == [
        {
            "instanceRequirements": {
                "vcpuCount": {"min": 2, "max": 8},
                "memoryMib": {"min": 4096},
                "memoryGibPerVcpu": {"max": 2.5},
                "allowedInstanceTypes": ["c7i.large", "c7a.large"],
                "burstablePerformance": "included",
                "spotMaxPricePercentageOverLowestPrice": 50,
            }
        }
    ]
    again = declare(local("1", machine={"requirements": asked}), ledger=program.outputs["ledger"])
    assert again.outputs["ledger"] == program.outputs["ledger"]


@pytest.mark.parametrize(
    ("allow", "told"),
    [
        (["c7g.large"], "no instance type for x86_64 has these attributes in zones a and b: ask for less"),
        (["c7i.large", "m4.large", "m4.xlarge"], r"add m4.\* to `exclude`"),
    ],
)
def test_attributes_that_no_machine_can_have_are_refused(allow: list[str], told: str) -> None:
    """The image would be sent, and the group refused, or its launches fail."""
    asked = {"vcpus": {"min": 2}, "memory_mib": {"min": 4096}, "allow": allow}
    with pytest.raises(InputError, match=told):
        declare(local("1", machine={"requirements": asked}))


PLACED = {"placement_group": "web"}
SPREAD = PlacementGroup("web", "available", "spread", "rack")


def test_a_placement_group_is_looked_up_for_a_new_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every launch would fail after the image was sent; or a rollback fail for a group that machines run in."""
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", told.append)
    with pytest.raises(InputError, match=r"fleetswap:machine\.placement_group: the region has no placement group web"):
        declare(local("1", machine=PLACED))
    large = {"min": 2, "max": 8}
    program = declare(local("1", machine=PLACED, capacity=large), credentials=Credentials(placed=(SPREAD,)))
    assert program.one("LaunchTemplate").inputs["placement"]["groupName"] == "web"
    assert [line.partition(" takes ")[0] for line in told] == ["fleetswap:machine.placement_group: placement group web"]
    declare(local("1", machine=PLACED, capacity=large), ledger=program.outputs["ledger"])


def test_who_may_not_look_at_a_placement_group_can_deploy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role of CI without a permission that an upgrade adds, or a slow AWS, would refuse every good release."""
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", told.append)

    class Denied(Credentials):
        def placement_group(self, name: str) -> PlacementGroup | None:
            raise CloudError(f"ec2:DescribePlacementGroups: {name}: access denied")

    program = declare(local("1", machine=PLACED), credentials=Denied())
    assert program.one("LaunchTemplate").inputs["placement"]["groupName"] == "web"
    (line,) = [each for each in told if "placement_group" in each]
    assert "whether web takes the machines is unknown: ec2:DescribePlacementGroups" in line


def test_threads_are_declared_with_the_cores_of_the_types() -> None:
    """EC2 would refuse the launch template, or the release another number of cores with each deploy."""
    machine = {"instance_types": ["c7i.large", "c7a.large"], "threads_per_core": 1}
    program = declare(local("1", machine=machine))
    assert program.one("LaunchTemplate").inputs["cpuOptions"] == {"coreCount": 1, "threadsPerCore": 1}
    nobody_asks = Credentials(lacks=("c7i.large", "c7a.large"))
    again = declare(local("1", machine=machine), ledger=program.outputs["ledger"], credentials=nobody_asks)
    assert again.one("LaunchTemplate").inputs["cpuOptions"] == {"coreCount": 1, "threadsPerCore": 1}


@pytest.mark.parametrize(
    ("types", "threads", "told"),
    [
        (["c7i.large", "c7i.xlarge"], 1, r"the same number of cores \(c7i.large has 1, c7i.xlarge has 2\)"),
        (["c7g.large"], 2, "c7g.large cannot have 2 threads per core"),
    ],
)
def test_threads_that_the_types_cannot_have_are_refused(types: list[str], threads: int, told: str) -> None:
    """Every launch would fail, after the image was sent."""
    with pytest.raises(InputError, match=told):
        declare(local("1", machine={"instance_types": types, "threads_per_core": threads}))
