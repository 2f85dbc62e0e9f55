"""What a preview refuses because a rollback would be impossible after it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.output import UNKNOWN

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.source import FileImage
from fleetswap.domain.release.ledger import Entry, HealthCheck, Image, Ledger, Machine
from fleetswap.domain.release.plan import Plan, Retention, plan
from fleetswap.domain.rollout.model import ReleaseTarget
from fleetswap.domain.rollout.view import Service
from fleetswap_pulumi import region
from fleetswap_pulumi.traffic_checks import Asked, check_rollback, refuse_replacement
from tests.fakes.ebs import disk_file
from tests.program.declared import Credentials, Every, declare

MACHINE = Machine(instance_types=("c7i.large", "m7i.large"), on_demand_base=1, on_demand_percent=0)
HEALTH = HealthCheck(port=8080, path="/healthz", codes="200", interval=5, timeout=3, healthy=2, unhealthy=2)


def entry(name: str, types: tuple[str, ...] = MACHINE.instance_types) -> Entry:
    """A release that may have eight machines."""
    machine = replace(MACHINE, instance_types=types)
    return Entry(name, Image(f"sha256:{name}", FileImage(f"{name}.raw")), machine, HEALTH, max_size=8)


LEDGER = Ledger("web-1", "web-0", (entry("web-1"), entry("web-0", ("t3.large",))))


def planned(wanted: Entry, max_size: int = 8) -> Plan:
    """What an update to that release declares."""
    now = datetime(2026, 11, 27, tzinfo=UTC)
    return plan(LEDGER, replace(wanted, max_size=max_size), retention=Retention(5), max_size=max_size, now=now)


class Offering(Credentials):
    """Zones, each with the instance types that it offers."""

    def __init__(self, **zones: Collection[str]) -> None:
        super().__init__(there=tuple(zones))
        vars(self)["offers"] = zones

    def offered(self, instance_types: Collection[str], zones: Collection[str]) -> frozenset[str]:
        """What these zones offer."""
        offers: Mapping[str, Collection[str]] = vars(self)["offers"]
        return frozenset(each for zone in zones for each in offers[zone] if each in instance_types)


def refused(found: Plan, asked: Asked) -> str:
    """Why it is refused; empty if it is not."""
    try:
        check_rollback(LEDGER, found, asked)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("zones", "wanted", "reason"),
    [
        (
            {"a": (), "b": ("c7i.large",)},
            entry("web-2"),
            "zones a do not offer c7i.large, which release web-1",
        ),
        ({"a": ("c7i.large",), "b": ("t3.large",)}, entry("web-1"), "offer t3.large, which release web-0 launches"),
        ({"a": ("m7i.large",), "b": ("c7i.large",)}, entry("web-2"), ""),  # one of two is enough
        ({"a": (), "b": ()}, entry("web-2"), ""),  # the settings have not caused it
        ({"a": ("m7i.large",), "b": ("t3.large",)}, entry("web-2"), ""),  # web-0 is no longer warm after it
    ],
)
def test_no_update_moves_machines_away_from_what_a_rollback_launches(
    zones: dict[str, Collection[str]], wanted: Entry, reason: str
) -> None:
    """The subnets of an existing VPC change in place: after it, a rollback would start no machine."""
    found = refused(planned(wanted), Asked(Every, dict, Offering(**zones), ("a",)))
    assert reason in found if reason else not found
    assert not reason or "keep a subnet in a zone that does" in found
    assert not refused(planned(wanted), Asked(Every, dict, Offering())), "zones of an own VPC do not change"


def test_a_release_that_chooses_its_types_by_attributes_is_not_asked_about() -> None:
    """Whoever has no types by name could deploy nothing in an existing VPC."""
    ledger = replace(LEDGER, entries=(entry("web-1", ()), entry("web-0", ())))
    found = plan(ledger, entry("web-2"), retention=Retention(5), max_size=8, now=datetime.now(UTC))
    check_rollback(ledger, found, Asked(Every, dict, Offering(), ("a",)))


def test_no_deploy_is_smaller_than_what_serves() -> None:
    """The image would be sent and machines started before the rollout finds that they cannot be enough."""
    smaller = planned(entry("web-2"), max_size=1)
    found = refused(smaller, Asked(set, lambda: {"web-1": 2}, Offering()))
    assert "fleetswap:capacity.max is 1, and release web-1, which has the traffic, has 2: raise it" in found
    assert "the AMI of release web-1, which has the traffic, does not exist" in found, "all together"
    for sizes in ({"web-1": 1}, {}):
        assert not refused(smaller, Asked(Every, sizes.copy, Offering()))


def test_aws_is_asked_only_if_the_traffic_moves_or_the_zones_may_change() -> None:
    """Each preview would cost calls that say nothing, and be refused for a permission that it does not need."""

    def nobody() -> Collection[str]:
        raise AssertionError

    def never() -> Mapping[str, int]:
        raise AssertionError

    assert not refused(planned(entry("web-1")), Asked(nobody, never, Offering()))
    assert not refused(planned(entry("web-2")), Asked(Every, never, Offering()))
    first = plan(Ledger(), entry("web-1"), retention=Retention(5), max_size=8, now=datetime.now(UTC))
    check_rollback(Ledger(), first, Asked(nobody, never, Offering()))


@pytest.mark.parametrize(
    ("group", "there", "back", "reason"),
    [
        (UNKNOWN, "web-0", True, "replace its group, to which a rollback to web-0 moves the traffic: undo the change"),
        (UNKNOWN, "web-0", False, "replace its group, with which release web-0 carries the traffic: undo the change"),
        (UNKNOWN, "web-1", True, ""),  # someone has deleted it, and this update makes it again
        ("group-1", "web-0", True, ""),
    ],
)
def test_no_preview_replaces_what_a_rollback_goes_to(
    monkeypatch: pytest.MonkeyPatch, group: Any, there: str, *, back: bool, reason: str
) -> None:
    """A change that looks harmless would delete the standby's machines, or a repair be refused."""
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    service = Service("shop/prod", "web", "listener", (ReleaseTarget(there, "group", "target"),))

    async def judged() -> str:
        carrying = {"its group": pulumi.Output.from_input(group)}
        try:
            await refuse_replacement("shop/prod", "web-0", carrying, lambda: [service], back=back).future()
        except pulumi.RunError as error:
            return str(error)
        return ""

    loop = asyncio.new_event_loop()  # not asyncio.run, after which this thread has none, and Pulumi needs one
    found = loop.run_until_complete(judged())
    loop.close()
    assert reason in found if reason else not found


def test_the_standby_is_guarded_while_the_traffic_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is live would be guarded, or an update could not delete a standby that it replaces with live."""
    guarded = list[tuple[str, set[str], bool]]()

    def guard(_stack: str, release: str, ids: Mapping[str, Any], _services: object, *, back: bool = False) -> None:
        guarded.append((release, set(ids), back))

    monkeypatch.setattr(region, "refuse_replacement", guard)
    first, second = (
        {"service": "web", "image": json.dumps({"file": str(disk_file(tmp_path / f"{seed}.raw", seed=seed))})}
        for seed in (1, 2)
    )
    one = declare(first).outputs["ledger"]
    assert guarded == []
    two = declare(second, ledger=one).outputs["ledger"]
    own = {"its target group", "its auto scaling group"}
    everything = own | {"the load balancer", "its listener"}
    assert guarded == [(one["live"], everything, False)], "the next standby is what is live"
    guarded.clear()
    declare(second, ledger=two)
    assert guarded == [(two["live"], everything, False), (one["live"], own, True)]
