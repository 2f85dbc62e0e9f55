"""A freeze: how its tags are read and made, whom it stops, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from fleetswap.domain.errors import CloudError, InputError
from fleetswap.domain.rollout import freeze, look
from fleetswap.domain.rollout.freeze import Exemption, Freeze, judge
from fleetswap.domain.rollout.messages import Kind
from fleetswap.domain.rollout.model import Order, Rule, Terms
from fleetswap.domain.rollout.replay import replay
from fleetswap.domain.rollout.rollout_tags import ALLOWED, FROZEN, FROZEN_REASON, ROLLED_BACK
from fleetswap.domain.rollout.view import Service
from fleetswap.workflows.rollout import freeze as workflow
from fleetswap.workflows.rollout.read_record import read, recorded
from fleetswap.workflows.rollout.record_file import RecordFile
from fleetswap.workflows.rollout.recorder import Recorder
from fleetswap.workflows.rollout.run import roll_out
from tests.fakes.aws import LISTENER
from tests.fakes.world import Release, World, order, running
from tests.rollout.tables import NEW, ON_LIVE, ON_NEW, ORDER, seen, state
from tests.rollout.test_record import only, recorder


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


NOW = at("2026-11-27T05:00:00Z")
ALICE = "arn:aws:sts::123456789012:assumed-role/Admin/alice"
SALE = Freeze(NOW + 7200, NOW, ALICE, "a sale")
TAGS = freeze.frozen(SALE)
FIX = Exemption("new", NOW + 60, ALICE, "CVE-2026-1")
LINE = f"web is frozen until 2026-11-27 07:00 UTC by {ALICE}: a sale"


def test_what_is_written_is_read() -> None:
    """A freeze would end at another time, or be somebody else's; or what it allows be forgotten."""
    assert TAGS[FROZEN] == f"2026-11-27T07:00:00Z 2026-11-27T05:00:00Z {ALICE}"
    assert freeze.read(TAGS) == SALE
    assert freeze.read({**TAGS, **freeze.allowed(FIX)}) == replace(SALE, allowed=FIX)
    assert freeze.read({}) is None
    assert freeze.read({FROZEN_REASON: "a sale"}) is None


@pytest.mark.parametrize(
    "release", ["", " new", "new 2026-11-27T05:01:00Z", "a,b", "n\u00e9w", "new\n", "\x1b[31m", "x" * 65]
)
def test_what_is_no_release_is_not_let_pass(release: str) -> None:
    """The tag would be read as another release's, or be written and never shown."""
    with pytest.raises(InputError, match=r"^--only .* is not a release"):
        freeze.exempted(SALE, "web", release, "CVE", by=ALICE, now=NOW)


@pytest.mark.parametrize("value", ["", "tomorrow", "2026-11-27T07:00:00 x", "0001-01-01T00:00:00+14:00", "\x1b[31m"])
def test_what_cannot_be_read_is_a_freeze(value: str) -> None:
    """A service that someone has frozen manually, with a slip of the pen, would take new releases."""
    tags = {FROZEN: value, **freeze.allowed(FIX)}
    found = freeze.read(tags)
    assert found is not None
    assert found.until is None
    assert found.allowed is None
    assert judge(tags, NOW, service="web", release="new").refused == (
        f"web is frozen, until nobody knows when: its tag {FROZEN} cannot be read: end it with `fleetswap unfreeze`, or"
        " write it again with `fleetswap freeze`"
    )


@pytest.mark.parametrize(
    ("tags", "now", "passes", "refused", "noted"),
    [
        ({}, NOW, "", "", ""),
        (TAGS, NOW + 7200, "", "", ""),
        (TAGS, NOW + 7199, "", f"{LINE}: wait, end it with `fleetswap unfreeze`, or let this release pass with", ""),
        (TAGS, None, "", LINE, ""),
        (TAGS, NOW, "because", "", f"{LINE}; because"),
        (
            {**TAGS, **freeze.allowed(FIX)},
            NOW,
            "",
            "",
            f"{LINE}; new was allowed at 2026-11-27 05:01 UTC by {ALICE}: CVE",
        ),
        ({**TAGS, **freeze.allowed(replace(FIX, release="newer"))}, NOW, "", LINE, ""),
        ({**TAGS, **freeze.allowed(replace(FIX, since=NOW - 1))}, NOW, "", LINE, ""),
        ({**TAGS, ALLOWED: "new"}, NOW, "", LINE, ""),
        ({FROZEN: "2026-11-27T07:00:00Z"}, NOW, "", "by someone: no reason is given", ""),
        ({FROZEN: "2026-11-27T07:00:00Z", **freeze.allowed(FIX)}, NOW, "", "frozen until", ""),
    ],
)
def test_whom_a_freeze_stops(tags: dict[str, str], now: float | None, passes: str, refused: str, noted: str) -> None:
    """A freeze would stop nothing, or never end, or what an older one allowed would pass."""
    found = judge(tags, now, service="web", release="new", passes=passes)
    assert (bool(found.refused), bool(found.noted)) == (bool(refused), bool(noted))
    assert refused in found.refused
    assert noted in found.noted


@pytest.mark.parametrize(
    ("until", "end"),
    [
        ("90m", NOW + 5400),
        (" 2h ", NOW + 7200),
        ("90d", NOW + 90 * 86400),
        ("2026-12-01T08:00+01:00", at("2026-12-01T07:00:00Z")),
        ("2026-12-01T08:00:00Z", at("2026-12-01T08:00:00Z")),
        ("0h", "is not in the future: it is 2026-11-27 05:00 UTC"),
        ("2026-11-27T05:00:00Z", "is not in the future"),
        ("91d", "is more than 90 days away"),
        ("999999d", "is more than 90 days away"),
        ("2026-12-01T08:00", "is not a time"),
        ("2026-12-01", "is not a time"),
        ("2 h", "is not a time"),
        ("-2h", "is not a time"),
        ("", "is not a time"),
    ],
)
def test_until_when(until: str, end: float | str) -> None:
    """A freeze would end at another time than its author means, or be forgotten and never end."""
    if isinstance(end, float):
        assert freeze.asked("a sale", until, by=ALICE, now=NOW) == Freeze(end, NOW, ALICE, "a sale")
        return
    with pytest.raises(InputError, match=end):
        freeze.asked("a sale", until, by=ALICE, now=NOW)


def test_all_that_is_wrong_is_reported_together() -> None:
    """Who is in a hurry would correct one mistake after the other."""
    with pytest.raises(InputError, match=r"--reason is empty: .+; --until 'x' is not a time"):
        freeze.asked("\n--", "x", by=ALICE, now=NOW)
    with pytest.raises(InputError, match="--reason has 257 characters, and at most 256 can be kept"):
        freeze.asked("x" * 257, "2h", by=ALICE, now=NOW)


def test_an_exemption_needs_a_freeze() -> None:
    """What is allowed before a freeze would pass the one that someone writes later."""
    assert freeze.exempted(SALE, "web", "new", "a fix", by=ALICE, now=NOW - 60).since == NOW, "of two clocks"
    assert freeze.exempted(SALE, "web", "new", "a fix", by=ALICE, now=NOW + 60.5) == replace(FIX, reason="a fix")
    for none in (None, replace(SALE, until=NOW)):
        with pytest.raises(InputError, match="web is not frozen, so nothing keeps new from being deployed"):
            freeze.exempted(none, "web", "new", "a fix", by=ALICE, now=NOW)
    for unreadable in (Freeze(None, NOW), Freeze(NOW + 1)):
        with pytest.raises(InputError, match="write it again with `fleetswap freeze` first"):
            freeze.exempted(unreadable, "web", "new", "a fix", by=ALICE, now=NOW)


BACK = replace(ORDER, terms=Terms(overrules="rolled back"))
TRUSTED = replace(ORDER, trusted=True)


@pytest.mark.parametrize(
    ("wanted", "home", "tags", "outcome", "noted"),
    [
        (ORDER, ON_LIVE, {}, "stopped", ""),
        (ORDER, None, {}, "stopped", ""),
        (ORDER, ON_NEW, {}, "begun", ""),
        (BACK, ON_LIVE, {}, "begun", "a freeze does not stop `fleetswap rollback --now`"),
        (TRUSTED, ON_LIVE, {}, "begun", "new was live before, and a freeze does not stop a rollback"),
        (TRUSTED, ON_LIVE, {ROLLED_BACK: "new 9:00"}, "stopped", ""),
        (ORDER, ON_LIVE, freeze.allowed(FIX), "begun", "CVE-2026-1"),
    ],
)
def test_which_rollouts_a_freeze_stops(
    wanted: Order, home: Rule | None, tags: dict[str, str], outcome: str, noted: str
) -> None:
    """A freeze would keep a broken release live, because it stops the rollback; or let a new one pass."""
    world = replace(seen(home, tags={**TAGS, **tags}), time=NOW)
    refused = look.refusal(state(wanted, home=home, first=world), world)
    assert (refused is not None) is (outcome == "stopped")
    if refused is not None:
        assert refused[0] is Kind.INPUT
        assert refused[1].startswith(LINE)
    begun = look.answered(state(wanted, home=home), world, 1000.0)
    after = begun if not hasattr(begun, "state") else begun.state
    assert noted in after.freeze
    assert bool(after.freeze) is bool(noted)
    assert wanted.candidate == NEW


def deployed(world: World, recorder: Recorder | None = None) -> None:
    """`pulumi up` of `new`."""
    wanted = order("new", "live", standby="live")
    ports = {"balancer": world, "fleet": world, "prober": world, "clock": world, "notifier": world}
    roll_out(wanted, **ports, say=world.say, recorder=recorder)  # type: ignore[arg-type] # of a mapping


def frozen_world(**tags: str) -> World:
    world = World(new=Release(), live=running(2))
    world.put_traffic(live=100)
    world.rule_tags |= {FROZEN: f"2999-01-01T00:00:00Z 2026-11-27T05:00:00Z {ALICE}", FROZEN_REASON: "a sale"} | tags
    return world


def test_a_frozen_service_keeps_its_traffic_and_its_machines() -> None:
    """A deploy would start machines, or move traffic, before it finds out."""
    world = frozen_world()
    with pytest.raises(InputError, match=r"web is frozen until 2999-.*: wait, .*live keeps all"):
        deployed(world)
    assert world.serving() == {"tg-live"}
    assert (world.size("new"), world.size("live")) == ((0, 0), (2, 2))
    assert "resize" not in world.names
    assert FROZEN in world.rule_tags
    (notice,) = world.notices
    assert "web is frozen until" in notice.text


def test_who_let_a_release_pass_is_in_the_log_the_notification_and_the_record(tmp_path: Path) -> None:
    """Whoever looks into a deploy during a freeze would not find who allowed it, when, and why; nor could replay it."""
    world = frozen_world(**freeze.allowed(FIX))
    deployed(world, recorder(RecordFile(tmp_path)))
    assert world.serving() == {"tg-new"}
    said = f"new was allowed at 2026-11-27 05:01 UTC by {ALICE}: CVE-2026-1"
    (line,) = [line for line in world.log if "frozen" in line]
    assert line.endswith(said)
    (notice,) = world.notices
    assert line in notice.text
    assert FROZEN in world.rule_tags, "it stays frozen for the next one"
    text = only(tmp_path).read_bytes()
    (told,) = [each for each in map(json.loads, text.splitlines()) if each["line"] == "found"]
    assert told["freeze"] == line
    kept = recorded(read(text, "record"), "record")
    assert replay(kept, kept.order.policy).parting is None


def test_a_freeze_that_does_not_show_is_reported() -> None:
    """Who freezes a service whose rule was deleted, or whose tags come late, would rely on nothing."""
    world = frozen_world()
    service = Service("fleetswap/prod", "web", LISTENER, ())
    assert workflow.current(service, balancer=world, clock=world) is not None
    workflow.unfreeze(service, balancer=world, clock=world)
    assert workflow.current(service, balancer=world, clock=world) is None
    assert workflow.freeze(service, SALE, balancer=world, clock=world) == SALE
    assert workflow.allow(service, FIX, balancer=world, clock=world) == FIX
    assert workflow.freeze(service, replace(SALE, reason="more"), balancer=world, clock=world).allowed is None
    world.write(None)
    with pytest.raises(CloudError, match="the listener rule of web does not show its new tags: run this again"):
        workflow.freeze(service, SALE, balancer=world, clock=world)
    with pytest.raises(CloudError, match="does not show its new tags"):
        workflow.allow(service, FIX, balancer=world, clock=world)
    with pytest.raises(InputError, match="web of fleetswap/prod has no listener rule"):
        workflow.current(service, balancer=world, clock=world)
