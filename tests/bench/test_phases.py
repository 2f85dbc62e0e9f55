"""The verdicts of the deploy benchmark: from figures alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.phases import Goal, Timeline, goals, phases_of, sent_of

DEPLOY = Timeline(
    "canary", 80.0, launched=6.0, first_healthy=15.0, all_healthy=16.0, shifted=20.0, arrived=75.0, holds=60.0
)
BACK = Timeline("warm rollback", 8.0)


def verdicts(deploy: Timeline, back: Timeline) -> list[str]:
    return [goal.verdict for goal in goals(deploy, back)]


def test_each_goal_is_held_against_its_own_figure() -> None:
    """A slow boot, canary or rollback would be shown as what was to be reached."""
    assert verdicts(DEPLOY, BACK) == ["ok", "ok", "ok"]
    assert verdicts(replace(DEPLOY, all_healthy=21.5), BACK) == ["short", "ok", "ok"]
    assert verdicts(replace(DEPLOY, total=84.1), BACK) == ["ok", "short", "ok"]
    assert verdicts(DEPLOY, replace(BACK, total=10.1)) == ["ok", "ok", "short"]


@pytest.mark.parametrize("launched", [None, 6.0])
def test_what_failed_or_was_not_seen_is_no_success(launched: float | None) -> None:
    """An update that fails early is quick, and would be shown as a good one."""
    failed = replace(DEPLOY, launched=launched, problem="status 1")
    assert verdicts(failed, replace(BACK, problem="status 1")) == ["fails", "fails", "fails"]
    assert verdicts(replace(DEPLOY, launched=None), BACK) == ["fails", "fails", "ok"]
    assert Goal("anything", None, 10).verdict == "fails"


def test_the_phases_are_read_out_of_the_summary() -> None:
    """The table would show no phase of the rollout, and no one would know where the time went."""
    said = "http://x is served by web-1\n(its image: build 0.8 s; the last rollout: gate 13 s, shift 2.6 s)\n"
    assert phases_of(said) == {"build": 0.8, "gate": 13.0, "shift": 2.6}
    assert phases_of("error: no\n") == {}


def test_the_blocks_are_read_out_of_what_an_update_says() -> None:
    """A change that moves a whole image would be shown as one that moves nothing."""
    assert sent_of("snapshot snap-1 is complete: 1,388 blocks, 7 sent, including the block map\n") == "7 of 1,388"
    assert sent_of("snapshot snap-1 is complete: 1 block, 1 sent, including the block map\n") == "1 of 1"
    assert sent_of("Resources: 12 unchanged\n") == ""


def test_only_what_was_seen_is_shown() -> None:
    """A row would claim a launch that a warm rollback does not have."""
    assert [row[1:] for row in BACK.rows()] == [["total", "8.0 s"]]
    assert ["canary", "launch to first healthy", "9.0 s"] in DEPLOY.rows()
