"""What an update declares, and the ledger that it leaves, for any history of a stack."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.image.source import FileImage
from fleetswap.domain.release.ledger import Entry, HealthCheck, Image, Ledger, Machine
from fleetswap.domain.release.plan import Plan, Retention, deprecation, is_past, plan, served, written

NOW = datetime(2026, 11, 26, 12, 0, 30, tzinfo=UTC)
SOURCE = FileImage("disk.raw")
MACHINE = Machine(instance_types=("c7i.large",), on_demand_base=2, on_demand_percent=0)
HEALTH = HealthCheck(port=8080, path="/", codes="200", interval=5, timeout=3, healthy=2, unhealthy=2)


def entry(number: int) -> Entry:
    return Entry(f"web-{number:08x}", Image(f"/nix/store/{number}", SOURCE), MACHINE, HEALTH, max_size=4)


def after(numbers: list[int], *, kept_images: int) -> tuple[Ledger, list[Plan]]:
    ledger, plans = Ledger(), []
    for number in numbers:
        decided = plan(ledger, entry(number), retention=Retention(kept_images), max_size=4, now=NOW)
        plans.append(decided)
        ledger = decided.ledger
    return ledger, plans


histories = st.lists(st.integers(min_value=0, max_value=6), min_size=1, max_size=12)


@given(histories, st.integers(min_value=0, max_value=4))
def test_the_last_deployed_is_live_and_the_one_before_is_standby(numbers: list[int], kept: int) -> None:
    """A rollback would go to a release that was not the one before."""
    ledger, _ = after(numbers, kept_images=kept)
    distinct = [number for index, number in enumerate(numbers) if index == 0 or numbers[index - 1] != number]
    assert ledger.live == entry(distinct[-1]).release
    assert ledger.standby == (entry(distinct[-2]).release if len(distinct) > 1 else None)


@given(histories, st.integers(min_value=0, max_value=4))
def test_what_is_live_is_always_declared_with_machines(numbers: list[int], kept: int) -> None:
    """An update would delete the machines that carry the traffic while it deploys."""
    ledger = Ledger()
    for number in numbers:
        decided = plan(ledger, entry(number), retention=Retention(kept), max_size=4, now=NOW)
        assert ledger.live in {None, *(running.release for running in decided.running)}
        ledger = decided.ledger


@given(histories, st.integers(min_value=0, max_value=4))
def test_planning_again_changes_nothing(numbers: list[int], kept: int) -> None:
    """A second `up` of the same version would show a diff, or throw the standby away."""
    ledger, plans = after(numbers, kept_images=kept)
    again = plan(ledger, entry(numbers[-1]), retention=Retention(kept), max_size=4, now=NOW)
    assert again.ledger == ledger
    assert again.running == plans[-1].running
    assert again.kept == plans[-1].kept


@given(histories, st.integers(min_value=0, max_value=4))
def test_every_entry_is_declared_once_or_forgotten(numbers: list[int], kept: int) -> None:
    """A release would be declared twice (Pulumi refuses), or vanish from the ledger while it is still declared."""
    ledger = Ledger()
    for number in numbers:
        decided = plan(ledger, entry(number), retention=Retention(kept), max_size=4, now=NOW)
        declared = [item.release for item in (*decided.running, *decided.kept)]
        assert len(declared) == len(set(declared))
        assert set(declared) == {item.release for item in decided.ledger.entries}
        assert len(decided.kept) <= kept
        before = {item.release for item in ledger.entries} | {decided.wanted.release}
        assert set(declared) <= before
        ledger = decided.ledger


def test_a_release_is_declared_as_it_was_whatever_the_settings_say_now() -> None:
    """A rollback after a change of settings would change the release that it goes back to."""
    ledger, _ = after([1, 2], kept_images=0)
    recorded = ledger.entry("web-00000001")
    asked = Entry(recorded.release, Image(recorded.image.identity, SOURCE, changes=("other",)), MACHINE, HEALTH, 4)
    assert plan(ledger, asked, retention=Retention(0), max_size=4, now=NOW).wanted == recorded


def test_who_goes_back_leaves_a_release_that_must_prove_itself_anew() -> None:
    """A release that was rolled back would skip canary and bake when it is deployed again."""
    ledger, _ = after([1, 2], kept_images=3)
    one, two = entry(1).release, entry(2).release
    assert ledger.trusts(one, 3)
    assert ledger.trusts(two, 3)
    assert not ledger.trusts(one, 1), "only the newest ones"
    assert not ledger.trusts("web-new", 3)
    back = plan(ledger, entry(1), retention=Retention(3), max_size=4, now=NOW).ledger
    assert not back.trusts(two, 3)
    assert back.trusts(one, 3)
    third = plan(back, entry(3), retention=Retention(3), max_size=4, now=NOW).ledger
    assert not third.trusts(two, 3), "the mark stays while others are deployed"
    assert third.trusts(one, 3), "the release that was live before is the way back"
    again = plan(third, entry(2), retention=Retention(3), max_size=4, now=NOW).ledger
    assert again.trusts(two, 3), "it has proved itself again"


@given(histories, st.integers(min_value=0, max_value=6))
def test_what_is_not_trusted_was_left(numbers: list[int], last: int) -> None:
    """A release that was never live would skip canary and bake, or the way back would take as long as a deploy."""
    ledger, _ = after(numbers, kept_images=9)
    wanted = entry(last).release
    order = [each.release for each in ledger.entries]
    assert ledger.trusts(wanted, 0) is False
    if wanted not in order:
        assert not ledger.trusts(wanted, 9)
    elif wanted == ledger.live:
        assert ledger.trusts(wanted, 9)


def test_only_what_was_reached_is_written_down() -> None:
    """After `pulumi up --target` a release that never had traffic would count as live, and skip its canary."""
    read, _ = after([1, 2], kept_images=3)
    planned = plan(read, entry(3), retention=Retention(3), max_size=4, now=NOW).ledger
    one, two, three = (entry(number).release for number in (1, 2, 3))
    assert served(read, planned, three, None) == planned
    for serving in (None, "", one, two):
        assert served(read, planned, serving, None) == read
    assert not served(read, planned, three, two).trusts(two, 9), "a hand had gone back from it"
    assert served(read, planned, three, three) == planned, "and this one has proved itself since"


def test_a_maximum_grows_in_place_and_never_shrinks() -> None:
    """Lowering the maximum would take machines from the live release, or be refused by AWS for good."""
    ledger, _ = after([1, 2], kept_images=0)
    grown = plan(ledger, entry(2), retention=Retention(0), max_size=9, now=NOW)
    assert {running.max_size for running in grown.running} == {9}
    assert plan(grown.ledger, entry(2), retention=Retention(0), max_size=3, now=NOW).ledger == grown.ledger


HOUR, DAY = 3600.0, 86_400.0
retentions = st.builds(
    Retention,
    images=st.integers(0, 4),
    warm=st.integers(1, 3),
    min_age=st.sampled_from([0.0, HOUR, DAY]),
    deprecate_after=st.sampled_from([None, HOUR, 30 * DAY]),
)
deploys = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 90_000)), min_size=1, max_size=14)


@given(deploys, retentions)
def test_retention_keeps_what_it_says_for_any_history(given: list[tuple[int, int]], retention: Retention) -> None:
    """The way back would be deleted early, an AMI be deprecated that has machines, or a preview show a change that no
    one made.
    """
    ledger, now = Ledger(), NOW
    for number, pause in given:
        now += timedelta(seconds=pause)
        decided = plan(ledger, entry(number), retention=retention, max_size=4, now=now)
        ran, kept = {each.release for each in decided.running}, {each.release for each in decided.kept}
        assert len(decided.warm) <= retention.warm - 1
        assert ran.isdisjoint(kept)
        assert {each.release for each in decided.ledger.entries} == ran | kept
        gone = [each for each in ledger.entries if each.release not in ran | kept]
        assert not gone or len(kept) >= retention.images, "nothing goes while there is room"
        assert all((now - datetime.fromisoformat(each.made)).total_seconds() >= retention.min_age for each in gone)
        assert all(not each.deprecated for each in decided.running)
        moved = ledger.live != decided.wanted.release
        for each in decided.kept:
            before = next(old for old in ledger.entries if old.release == each.release)
            assert each.deprecated == (
                before.deprecated or (deprecation(now, retention.deprecate_after) if moved else "")
            )
        again = plan(decided.ledger, entry(number), retention=retention, max_size=4, now=now)
        assert (again.ledger, again.running, again.kept) == (decided.ledger, decided.running, decided.kept)
        ledger = decided.ledger


def test_an_upgrade_changes_nothing_until_the_next_deploy() -> None:
    """The first `up` of a newer version would change the AMIs of older releases that nobody asked it to change."""
    old = Ledger(live=entry(3).release, standby=entry(2).release, entries=tuple(entry(each) for each in (3, 2, 1, 0)))
    keeps = Retention(5, min_age=DAY, deprecate_after=30 * DAY)
    assert plan(old, entry(3), retention=keeps, max_size=4, now=NOW).ledger == old
    after = plan(old, entry(4), retention=keeps, max_size=4, now=NOW).ledger
    assert [each.deprecated for each in after.entries] == ["", "", *["2026-12-26T12:01:00Z"] * 3]
    assert [each.made for each in after.entries] == ["2026-11-26T12:00:30Z", "", "", "", ""]
    assert not plan(old, entry(4), retention=Retention(0, min_age=DAY), max_size=4, now=NOW).kept, (
        "their age is unknown"
    )


def test_a_deprecation_is_in_whole_minutes_and_one_that_was_is_known() -> None:
    """EC2 rounds a time, so that each preview would show a change; and it refuses one in the past."""
    assert deprecation(NOW, None) == ""
    assert deprecation(NOW, HOUR) == "2026-11-26T13:01:00Z"
    assert deprecation(NOW.replace(second=0), HOUR) == "2026-11-26T13:00:00Z"
    dated = replace(entry(1), deprecated=written(NOW + timedelta(hours=1)))
    assert not is_past(dated, NOW)
    assert is_past(dated, NOW + timedelta(minutes=31)), "it would be past before the update comes to it"
    assert not is_past(entry(1), NOW)
