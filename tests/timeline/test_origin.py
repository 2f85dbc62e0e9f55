"""What the update did before a rollout."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fleetswap.domain.rollout.origin import Sent, parts_of

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def brief(*args: object) -> list[tuple[str, float, float]]:
    """Name, seconds since noon, seconds."""
    parts = parts_of(NOON, *args)  # type: ignore[arg-type]
    return [(part.name, (datetime.fromisoformat(part.start) - NOON).total_seconds(), part.seconds) for part in parts]


def test_an_image_is_built_tried_sent_and_registered() -> None:
    """The slowest part of a deploy would have another's name."""
    sent = Sent(at(100), build=50, trial=20, upload=10)
    assert brief((at(1), 4.0), [sent], at(130)) == [
        ("evaluation", 1, 4),
        ("build", 20, 50),
        ("boot test", 70, 20),
        ("upload", 90, 10),
        ("registration", 100, 30),
    ]


def test_what_this_update_did_not_do_is_left_out() -> None:
    """A build of last week would make a rollback look slow; one of 0 seconds, builds look fast."""
    assert brief(None, [Sent(at(-100), build=50, trial=0, upload=10)], None) == []
    assert brief(None, [Sent(at(5), build=50, trial=0, upload=10)], None) == []
    assert brief(None, [Sent(at(30), build=0, trial=0, upload=10)], None) == [("upload", 20, 10)]
    assert brief(None, [], at(8)) == [("registration", 0, 8)]


def test_another_region_counts_the_image_of_the_home_region() -> None:
    """In a further region, the time of the build would be one of registration."""
    own, home = Sent(at(40), build=0, trial=0, upload=0), Sent(at(30), build=20, trial=0, upload=10)
    assert [part[0] for part in brief(None, [own, home], at(50))] == ["build", "upload", "registration"]


def test_nothing_overlaps() -> None:
    """The parts would sum to more than the whole: Nix was asked while the clock was set."""
    found = brief((at(0), 30.0), [Sent(at(40), build=20, trial=0, upload=10)], at(35))
    assert found == [("evaluation", 0, 30), ("upload", 30, 10)]
