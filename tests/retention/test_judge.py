"""Whether a thing lives or dies, for each reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fleetswap.domain.release.ledger import Entry, Image, Ledger
from fleetswap.domain.retention.judge import Verdict, judge
from fleetswap.domain.retention.things import Kind, Stack, Thing
from fleetswap.domain.retention.times import seconds
from tests.release.test_plan import HEALTH, MACHINE, SOURCE

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=3)
DAY = 86_400


def entry(name: str) -> Entry:
    return Entry(f"web-{name}", Image(f"/nix/store/{name}", SOURCE), MACHINE, HEALTH, max_size=4)


PROD = Stack("shop/prod", (Ledger("web-live", "web-standby", (entry("live"), entry("standby"), entry("kept"))),))
STACKS = {"shop/prod": PROD}
SNAPSHOT = Thing(Kind.SNAPSHOT, "us-east-1", "snap-1", "shop/prod", "web", "", "/nix/store/x", OLD, state="completed")
IMAGE = Thing(Kind.IMAGE, "us-east-1", "ami-1", "shop/prod", "web", "web-x", "/nix/store/x", OLD, uses=("snap-1",))


def one(thing: Thing, stacks: dict[str, Stack] = STACKS, **changes: float) -> Verdict:
    return judge([thing], stacks, NOW, changes.get("min_age", DAY))[0]


@pytest.mark.parametrize("name", ["live", "standby", "kept"])
@pytest.mark.parametrize("kind", [Kind.IMAGE, Kind.TEMPLATE, Kind.TARGET_GROUP, Kind.SNAPSHOT])
def test_what_a_ledger_has_lives(kind: Kind, name: str) -> None:
    """What is live, or the way back, would be deleted."""
    found = one(Thing(kind, "us-east-1", "x", "shop/prod", "web", f"web-{name}", "", OLD, state="completed"))
    assert not found.dies
    assert f"web-{name} of stack shop/prod" in found.why
    other = one(Thing(kind, "us-east-1", "x", "shop/prod", "web", "web-none", "", OLD, state="completed"))
    assert other.dies, "a release that no ledger has"


LIVING = {
    "an image of another stack's ledger": (
        replace(SNAPSHOT, stack="shop/dev", image="/nix/store/kept"),
        "retained release",
    ),
    "an ID in another stack's state": (replace(SNAPSHOT, id="snap-9"), "has it in its state"),
    "too new": (replace(SNAPSHOT, made=NOW - timedelta(hours=23)), "so new"),
    "an upload that runs": (replace(SNAPSHOT, state="pending"), "an upload may be running"),
    "in the Recycle Bin": (replace(SNAPSHOT, until=NOW), "in the Recycle Bin until 2026-11-26 12:00 UTC"),
    "held": (replace(IMAGE, holders=("instance i-1 was launched from it",)), "instance i-1"),
    "doubted": (replace(IMAGE, doubts=("access denied",)), "access denied"),
    "of a stack that cannot be read": (replace(IMAGE, stack="shop/other"), "cannot be read: access denied"),
    "of a stack that nobody knows": (replace(IMAGE, stack="shop/never"), "nothing is known of it"),
    "of a stack that is gone": (replace(IMAGE, stack="shop/gone"), "use --gone shop/gone"),
    "of a stack in another backend": (replace(IMAGE, stack="shop/runs"), "it may be in another backend"),
    "of a stack that may run where nothing can be read": (
        replace(IMAGE, stack="shop/hidden"),
        "may run in eu-west-1, which cannot be read",
    ),
    "a pin": (Thing(Kind.PIN, "us-east-1", "g/pin", "shop/prod", made=OLD), "the next rollout"),
    "a planned scale-in": (Thing(Kind.ACTION, "us-east-1", "g/a", "shop/prod", made=OLD), "part of its group"),
    "a target group while an update runs": (
        Thing(Kind.TARGET_GROUP, "us-east-1", "t", "shop/busy"),
        "pending operations",
    ),
    "a snapshot that an update may be adopting": (replace(SNAPSHOT, stack="shop/busy"), "pending operations"),
    "an AMI in error of a release": (replace(IMAGE, release="web-kept", state="error"), "retained release"),
    "a switch that is armed": (Thing(Kind.SCHEDULE, "us-east-1", "s", made=NOW + timedelta(hours=1)), "may be running"),
    "a switch of no known time": (Thing(Kind.SCHEDULE, "us-east-1", "s"), "its time cannot be read"),
    "a switch whose rule is there": (
        Thing(Kind.SCHEDULE, "us-east-1", "s", made=OLD, holders=("its rule",)),
        "its rule",
    ),
}
ALL = {
    **STACKS,
    "shop/dev": Stack("shop/dev", state=frozenset({"snap-9"})),
    "shop/gone": Stack("shop/gone", gone=True),
    "shop/named": Stack("shop/named", gone=True, named=True),
    "shop/runs": Stack("shop/runs", gone=True, named=True, running=("group web-1",)),
    "shop/hidden": Stack("shop/hidden", gone=True, named=True, hidden=("eu-west-1",)),
    "shop/busy": Stack("shop/busy", busy=True),
}


@pytest.mark.parametrize("name", LIVING)
def test_what_may_be_needed_lives_and_says_why(name: str) -> None:
    """Something that is needed would be deleted, or nobody could find out why something stays."""
    thing, why = LIVING[name]
    unread = {"shop/other": Stack("shop/other", unread="access denied")} if thing.stack == "shop/other" else {}
    found = one(thing, ALL | unread)
    assert not found.dies
    assert why in found.why


DYING = {
    "an AMI of no release": (IMAGE, "no ledger has release web-x"),
    "a snapshot of no release": (SNAPSHOT, "no release has its image"),
    "a snapshot without an image": (replace(SNAPSHOT, image=""), "nothing of stack shop/prod refers to it"),
    "a failed upload of what is live": (replace(SNAPSHOT, image="/nix/store/live", state="error"), "never completed"),
    "of a stack that is gone for good": (replace(IMAGE, stack="shop/named"), "stack shop/named is gone"),
    "a target group of no release": (
        Thing(Kind.TARGET_GROUP, "us-east-1", "t", "shop/prod", release="web-x"),
        "no ledger",
    ),
    "a failed upload of an update that was killed": (
        replace(SNAPSHOT, stack="shop/busy", state="error"),
        "never completed",
    ),
    "a switch without its rule": (Thing(Kind.SCHEDULE, "us-east-1", "s", made=OLD), "its time is over"),
}


@pytest.mark.parametrize("name", DYING)
def test_what_nothing_refers_to_dies_and_says_why(name: str) -> None:
    """Orphans would be paid for, for ever."""
    thing, why = DYING[name]
    found = one(thing, ALL)
    assert found.dies, found
    assert why in found.why


def test_what_something_living_uses_lives_and_dies_with_it() -> None:
    """The snapshot of an AMI that another stack adopted would be deleted, or that of a dead one stay."""
    template = Thing(Kind.TEMPLATE, "us-east-1", "lt-1", "shop/prod", "web", "web-x", "", OLD, uses=("ami-1",))
    dead = judge([SNAPSHOT, IMAGE, template], STACKS, NOW, DAY)
    assert [each.dies for each in dead] == [True, True, True]
    held = judge([SNAPSHOT, IMAGE, replace(template, holders=("group g launches with it",))], STACKS, NOW, DAY)
    assert [each.why for each in held] == [
        "AMI ami-1 uses it",
        "launch template lt-1 uses it",
        "group g launches with it",
    ]
    elsewhere = judge([replace(SNAPSHOT, region="eu-west-1"), replace(IMAGE, holders=("x",))], STACKS, NOW, DAY)
    assert elsewhere[0].dies, "of another region, only the ID is the same"


def test_one_ledger_that_cannot_be_read_keeps_the_images_of_all_stacks() -> None:
    """It may be the one that has the image, of a promotion."""
    stacks = {**STACKS, "shop/other": Stack("shop/other", unread="access denied")}
    found = one(SNAPSHOT, stacks)
    assert (found.dies, found.unsure) == (False, True)
    assert "the ledger of stack shop/other cannot be read" in found.why
    assert one(replace(SNAPSHOT, state="error"), stacks).dies, "it can be nobody's image"
    assert "live release" in one(replace(SNAPSHOT, image="/nix/store/live"), stacks).why


def test_a_time_in_words_is_in_seconds() -> None:
    """Something would be kept for seconds, or for years."""
    assert [seconds(each) for each in ("0m", "90m", "24h", "7d")] == [0, 5400, 86_400, 604_800]
    for wrong in ("", "24", "1.5h", "-1h", "1w", "\u0661h"):
        with pytest.raises(ValueError, match="such as 90m, 24h or 30d"):
            seconds(wrong)
    with pytest.raises(ValueError, match="at most 3650d"):
        seconds("9999d")


def test_a_thing_is_named_as_aws_names_it() -> None:
    """Nobody could find in AWS what a message is about."""
    assert str(IMAGE) == "AMI ami-1"
