"""What the program declares for a stack of several regions, and what it refuses before the first resource."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from unittest.mock import MagicMock

import pytest

from fleetswap.domain.errors import CloudError, FleetswapError, InputError, TryAgain
from fleetswap.domain.release.ledger import from_plain, to_plain
from fleetswap.domain.release.plan import Retention, plan
from fleetswap_pulumi import fleet, rollout
from fleetswap_pulumi.place import Place, place
from fleetswap_pulumi.rollout import RolloutProvider, _is_another_order
from fleetswap_pulumi.settings import Settings
from fleetswap_pulumi.skipped import SkippedProvider
from fleetswap_pulumi.stack_state import HOME, ROLLOUT, StackState, reached
from tests.program.declared import Credentials, Declared, Program, declare
from tests.program.test_reach import rollout_inputs
from tests.program.test_stack import depends_on, local

pytestmark = pytest.mark.nix

DISK = "pulumi-python:dynamic/fleetswap:DiskImage"
WEST = {"eu-west-1": {"endpoint": "http://127.0.0.1:4610", "network": {"cidr": "10.78.0.0/16"}}}


def several(version: str = "1", regions: Mapping[str, Any] = WEST, **changes: Any) -> dict[str, str]:
    return local(version, regions=dict(regions), **changes)


@pytest.fixture(scope="module")
def alone() -> Program:
    return declare(local("1"))


@pytest.fixture(scope="module")
def both() -> Program:
    return declare(several())


def rollouts(resource: Declared) -> list[str]:
    return [each for each in depends_on(resource) if each == "Rollout"]


def test_the_home_region_is_declared_as_if_it_were_alone(alone: Program, both: Program) -> None:
    """Every running stack that gets a second region would see its fleet replaced."""
    home = both.within("")
    before, after = (sorted(of.resources, key=lambda each: (each.type, each.name)) for of in (alone, home))
    assert [(each.type, each.name) for each in before] == [(each.type, each.name) for each in after]
    for was, now in zip(before, after, strict=True):
        different = {key for key in {*was.inputs, *now.inputs} if was.inputs.get(key) != now.inputs.get(key)}
        assert different <= {ROLLOUT: {"ledger", "waves", "origin"}, DISK: {"also"}}.get(was.type, set()), (
            was.name,
            different,
        )


def test_a_further_region_has_all_that_the_home_region_has(both: Program) -> None:
    """A region would lack a part of its fleet, or share one with another region and lose it with that one."""
    west = both.within("eu-west-1")
    (component,) = west.of("Region")
    assert (component.type, component.name) == ("fleetswap:regions/eu-west-1:Region", "eu-west-1")
    kinds = {(each.type, each.name) for each in west.resources} - {(component.type, component.name)}
    assert kinds == {(each.type, each.name) for each in both.within("").resources}
    assert west.one("aws").inputs["region"] == "eu-west-1"
    assert {west.one(kind).inputs["region"] for kind in ("Rollout", "DiskImage")} == {"eu-west-1"}
    assert west.one("Vpc").inputs["cidrBlock"] == "10.78.0.0/16"
    assert west.one("Rollout").inputs["endpoint"] == "http://127.0.0.1:4610"


def test_what_a_region_does_is_told_in_its_own_rows(both: Program) -> None:
    """The progress of a region would stand in the row of another one's resource, or nowhere."""
    west = both.within("eu-west-1")
    assert "::fleetswap:regions/eu-west-1:Region$pulumi-python:dynamic" in west.one("Rollout").inputs["urn"]
    urn = west.one("DiskImage").inputs["urn"]
    assert "::fleetswap:regions/eu-west-1:Region$fleetswap:components:Release$pulumi-python:dynamic" in urn


def test_each_region_outputs_what_the_stack_does(both: Program) -> None:
    """The next update could not know what a region has, and would deploy it anew over what runs."""
    west = both.outputs["regions"]["eu-west-1"]
    assert set(west) == {"url", "live", "standby", "ledger", "seconds", "boots", "preview"}
    assert west["live"] == both.outputs["live"]
    assert west["ledger"]["identity"]["region"] == "eu-west-1"
    assert both.outputs["ledger"]["identity"]["region"] == "us-east-1"


def test_the_next_update_of_a_region_goes_on_from_its_own_ledger(both: Program) -> None:
    """A region that is a release behind would be planned as if it had what the home region has."""
    behind = {**both.outputs, "regions": {}}
    behind["ledger"] = declare(several("2"), outputs=both.outputs).outputs["ledger"]
    behind["regions"] = {"eu-west-1": both.outputs["regions"]["eu-west-1"]}
    now = declare(several("2"), outputs=behind)
    home, west = (now.within(region).one("Rollout").inputs for region in ("", "eu-west-1"))
    assert (home["live"], home["standby"]) == (west["live"], west["standby"])
    assert behind["ledger"]["live"] == home["live"] != both.outputs["regions"]["eu-west-1"]["live"] == west["standby"]


def test_rollouts_wait_for_those_of_earlier_waves() -> None:
    """A release that fails in the first region would be rolled out in all the others."""
    given = {
        "eu-west-1": {"wave": 3, "endpoint": "http://127.0.0.1:1"},
        "eu-west-2": {"wave": 1, "endpoint": "http://127.0.0.1:2"},
        "eu-west-3": {"wave": 3, "endpoint": "http://127.0.0.1:3"},
    }
    program = declare(several("1", given, wave="2"))
    waits = {region: len(rollouts(program.within(region).one("Rollout"))) for region in ("", *given)}
    assert waits == {"eu-west-2": 0, "": 1, "eu-west-1": 2, "eu-west-3": 2}


def test_a_rollout_knows_those_of_the_other_regions(alone: Program) -> None:
    """An update that fails would not tell which regions have the new release; or each preview show a change of it."""
    given = {
        f"eu-west-{each}": {"wave": wave, "endpoint": f"http://127.0.0.1:{each}"}
        for each, wave in ((1, 2), (2, 2), (3, 3))
    }
    program = declare(several("1", given))
    home, west = (program.within(region).one("Rollout").inputs["waves"] for region in ("", "eu-west-1"))
    assert home == {"earlier": {}, "beside": [], "later": [*given]}
    assert west == {
        "earlier": {"us-east-1": program.outputs["live"]},
        "beside": ["eu-west-2"],
        "later": ["eu-west-3"],
    }
    assert alone.one("Rollout").inputs.get("waves") is None
    inputs = rollout_inputs(waves=west)
    assert not _is_another_order(inputs, rollout_inputs())
    assert not _is_another_order(rollout_inputs(), inputs)


@pytest.mark.parametrize("error", [CloudError("web-2 is broken"), ValueError("web-2 is broken")])
def test_a_rollout_that_fails_tells_of_the_other_regions(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every region's row has the same name: nobody would know where the error is from, and what the others have."""

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("fleetswap.workflows.rollout.run.roll_out", fails)
    monkeypatch.setattr(rollout, "_adapters", MagicMock())
    waves = {"earlier": {"eu-west-1": "web-2"}, "beside": [], "later": ["eu-west-3"]}
    for given, told in ((waves, "us-east-1: {}; eu-west-1 serves web-2; eu-west-3 is not begun"), (None, "{}")):
        with pytest.raises(FleetswapError) as raised:
            RolloutProvider().create(rollout_inputs(waves=given))
        kind = "" if isinstance(error, CloudError) else "ValueError: "
        assert str(raised.value) == told.format(f"{kind}web-2 is broken")


def test_the_image_of_a_region_comes_after_that_of_the_home_region(both: Program) -> None:
    """The image would be built twice at once, and sent twice over one line."""
    west = both.within("eu-west-1").one("DiskImage")
    assert depends_on(west) == ["DiskImage"]
    home = both.within("").one("DiskImage")
    assert not home.options.depends_on
    (place,) = home.inputs["also"]
    assert (place["region"], place["endpoint"]) == ("eu-west-1", "http://127.0.0.1:4610")
    assert place["tags"] == west.inputs["tags"]


def test_a_region_that_is_live_is_not_deleted_by_a_setting_that_is_gone(both: Program) -> None:
    """A line that is deleted by mistake would take the service of a region down."""
    state: dict[str, dict[str, Any]] = {
        "urn:pulumi:local::fleetswap::fleetswap:regions/eu-west-1:Region$aws:ec2/vpc:Vpc::web": {}
    }
    with pytest.raises(InputError, match=r"fleet in eu-west-1.*fleetswap:regions\.eu-west-1\.retire"):
        declare(local("1"), outputs=both.outputs, resources=state)
    with pytest.raises(InputError, match="eu-west-1"):
        declare(local("1"), resources=state)
    retired = declare(several("1", {"eu-west-1": {"retire": True}}), outputs=both.outputs, resources=state)
    assert not retired.within("eu-west-1").resources
    assert "regions" not in retired.outputs


def test_all_that_is_wrong_in_any_region_is_told_before_the_first_resource() -> None:
    """A region would be changed before the next one is found to be impossible."""
    lacking = Credentials(there=("a",))
    with pytest.raises(InputError) as refused:
        declare(several(), credentials=lacking)
    home, west = str(refused.value).split("; ")
    assert home.startswith("us-east-1: us-east-1 has fewer than two")
    assert west.startswith("eu-west-1: eu-west-1 has fewer than two")


def test_a_rollback_that_the_home_region_cannot_do_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside what is wrong, its user would read that another region does not know the release, as it must not."""
    other = {"eu-west-1": {**WEST["eu-west-1"], "machine": {"instance_types": ["m7i.large"]}}}
    there = declare(several("1", other)).outputs
    assert there["live"] != there["regions"]["eu-west-1"]["live"]

    def down(ledger: Any, settings: Settings, whereabouts: Any) -> Place:
        if settings.region == "us-east-1":
            raise TryAgain("no answer")
        return place(ledger, settings, whereabouts)

    monkeypatch.setattr(fleet, "place", down)
    with pytest.raises(FleetswapError, match=r"^us-east-1: no answer$"):
        declare(several("1", other, release=there["live"]), outputs=there)


def test_an_update_that_another_region_has_failed_is_remembered(both: Program) -> None:
    """The next update would take the release before for the live one, and delete the one that carries the traffic."""
    second = declare(several("2"), outputs=both.outputs)
    rollout = {**second.within("").one("Rollout").inputs, "serving": second.outputs["live"], "left": ""}
    urn = f"urn:pulumi:local::fleetswap::{ROLLOUT}::web"
    made = [entry["release"] for entry in second.outputs["ledger"]["entries"]]
    third = declare(several("3"), outputs=both.outputs, resources={urn: rollout}, images=made)
    home, west = (third.within(region).one("Rollout").inputs for region in ("", "eu-west-1"))
    assert home["standby"] == second.outputs["live"]
    assert west["standby"] == both.outputs["live"]


def test_only_a_rollout_that_reached_its_ledger_counts(both: Program) -> None:
    """A rollout that was aborted would be taken for one that has the traffic."""
    written = both.outputs["ledger"]
    planned = declare(several("2"), outputs=both.outputs).outputs["ledger"]
    assert reached(written, {"ledger": planned, "serving": written["live"]}) is written
    assert reached(written, {}) is written
    assert reached(written, {"ledger": planned, "serving": planned["live"]}) == planned
    assert reached(planned, {"ledger": planned, "serving": planned["live"]}) is planned
    state = StackState({"ledger": written}, {HOME: {"ledger": planned, "serving": planned["live"]}}, frozenset())
    assert state.of(HOME)["ledger"] == planned
    assert state.of("eu-west-1") == {}


def test_going_back_after_an_update_that_failed_elsewhere_keeps_what_it_went_back_from(both: Program) -> None:
    """Two updates failed elsewhere: there, and back. The next one would delete the standby, whose machines are warm."""
    written = both.outputs["ledger"]
    there = from_plain(declare(several("2"), outputs=both.outputs).outputs["ledger"])
    back = plan(there, there.entry(written["live"]), retention=Retention(5), max_size=8, now=datetime.now(UTC)).ledger
    assert (back.live, back.standby) == (written["live"], there.live)
    assert reached(written, {"ledger": to_plain(back), "serving": back.live}) == to_plain(back)


def test_a_region_with_other_machines_goes_back_to_its_own_release_of_the_image() -> None:
    """The setting names a release of the home region: a region with other IDs would refuse it, or keep what is bad."""
    other = {"eu-west-1": {**WEST["eu-west-1"], "machine": {"instance_types": ["c7a.large"]}}}
    first = declare(several("1", other))
    second = declare(several("2", other), outputs=first.outputs)
    old, new = first.outputs["live"], first.outputs["regions"]["eu-west-1"]["live"]
    assert old != new
    back = declare(several("2", other, release=old), outputs=second.outputs)
    assert [back.within(region).one("Rollout").inputs["live"] for region in ("", "eu-west-1")] == [old, new]
    assert back.outputs["regions"]["eu-west-1"]["standby"] == second.outputs["regions"]["eu-west-1"]["live"]
    west = second.outputs["regions"]["eu-west-1"]
    entries = [each for each in west["ledger"]["entries"] if each["release"] != new]
    lost = {**west, "standby": None, "ledger": {**west["ledger"], "standby": None, "entries": entries}}
    gone = {**second.outputs, "regions": {"eu-west-1": lost}}
    with pytest.raises(InputError, match=f"eu-west-1 no longer has a release with the image of {old}: choose another"):
        declare(several("2", other, release=old), outputs=gone)


SKIPPED = {"eu-west-1": {**WEST["eu-west-1"], "skip": True}}
IN_WEST: dict[str, dict[str, Any]] = {
    "urn:pulumi:local::fleetswap::fleetswap:regions/eu-west-1:Region$aws:ec2/vpc:Vpc::web": {}
}


def test_a_region_that_is_skipped_is_neither_looked_at_nor_forgotten(both: Program) -> None:
    """A deploy would wait for a region that is down, or the next one not know what is live there."""
    there = Credentials(there=("a", "b"))
    program = declare(several("2", SKIPPED), credentials=there, outputs=both.outputs, resources=IN_WEST)
    assert [each.type.rpartition(":")[2] for each in program.within("eu-west-1").resources] == ["Region", "Skipped"]
    assert program.resources[1] == program.one("Skipped"), "something was declared before the engine could refuse"
    west, was = program.outputs["regions"]["eu-west-1"], both.outputs["regions"]["eu-west-1"]
    assert {**west, "seconds": {}} == {**was, "seconds": {}}  # the mocks' own None goes missing in those
    assert program.outputs["live"] != both.outputs["live"]
    assert all(not disk.inputs.get("also") for disk in program.of("DiskImage"))


def test_a_region_is_skipped_with_the_ledger_that_its_rollout_reached(both: Program) -> None:
    """An update failed elsewhere, and then the region: its next update would delete the release that is live."""
    second = declare(several("2"), outputs=both.outputs)
    rollout = {**second.within("eu-west-1").one("Rollout").inputs, "serving": second.outputs["live"], "left": ""}
    urn = f"urn:pulumi:local::fleetswap::fleetswap:regions/eu-west-1:Region${ROLLOUT}::web"
    third = declare(several("3", SKIPPED), outputs=both.outputs, resources={**IN_WEST, urn: rollout})
    assert third.outputs["regions"]["eu-west-1"]["ledger"]["live"] == second.outputs["live"]


def test_a_region_without_a_fleet_can_be_skipped(alone: Program) -> None:
    """A region that is down before its first deploy would be refused for ever: nothing there can be excluded."""
    program = declare(several("1", SKIPPED))
    assert len(program.resources) == len(alone.resources)
    assert "regions" not in program.outputs


def test_skipping_without_the_option_is_refused() -> None:
    """The engine would delete the fleet of a region that the program does not declare."""
    (failure,) = SkippedProvider().check({}, {"region": "eu-west-1"}).failures
    assert "without --exclude '**regions/eu-west-1:Region**' this command would delete it" in failure.reason
    with pytest.raises(InputError, match=r"regions\.eu-west-1\.skip: leaves the region as it is, and `retire`"):
        declare(several("1", {"eu-west-1": {"skip": True, "retire": True}}))


def test_a_region_that_is_down_is_told_with_the_way_round_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deploy would have to wait, for all that its user knows, until the region is back."""

    def down(ledger: Any, settings: Settings, whereabouts: Any) -> Place:
        if settings.region == "eu-west-1":
            raise TryAgain("no answer")
        return place(ledger, settings, whereabouts)

    monkeypatch.setattr(fleet, "place", down)
    with pytest.raises(FleetswapError) as refused:
        declare(several())
    assert str(refused.value) == (
        "eu-west-1: no answer; to deploy to the other regions without it, set fleetswap:regions.eu-west-1.skip to true"
        " and run `pulumi up --exclude '**regions/eu-west-1:Region**'`"
    )
