"""The data of a timeline: what it says, and that it survives a state."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleetswap.domain.timeline.model import BUDGETS, Span, budget_of, of_plain, time_of, to_plain
from tests.timeline.examples import DEPLOY, deploy


def test_a_deploy_survives_json() -> None:
    """What the state has would not be what was measured."""
    assert of_plain(json.loads(json.dumps(to_plain(DEPLOY)))) == DEPLOY
    bare = deploy(previous=None, region="", commit=None, commit_time=None, subject=None, budgets={}, spans=())
    assert of_plain(json.loads(json.dumps(to_plain(bare)))) == bare


def test_keys_of_later_versions_are_skipped_and_other_versions_refused() -> None:
    """An older computer could not show what a newer one deployed, or would show something else."""
    assert of_plain({**to_plain(DEPLOY), "colour": "green"}) == DEPLOY
    with pytest.raises(ValueError, match="version 2, and this Fleetswap reads version 1"):
        of_plain({**to_plain(DEPLOY), "version": 2})


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("release", 7, "release must be text"),
        ("release", "\x1b[2J\x00", "release must be text"),
        ("outcome", None, "outcome must be text"),
        ("started", "yesterday", "isoformat"),
        ("started", "2026-11-27T09:00:00", "with its offset"),
        ("started", "9999-12-31T23:59:59+00:00", "with its offset"),
        ("ended", "0001-01-01T00:00:00+23:00", "with its offset"),
        ("commit_time", "now", "isoformat"),
        ("spans", {}, "spans must be a list"),
        ("spans", ["build"], "a span must be an object"),
        ("spans", [{"name": "build", "start": DEPLOY.started, "seconds": -1}], "seconds must be seconds"),
        ("spans", [{"name": "build", "start": DEPLOY.started, "seconds": True}], "seconds must be seconds"),
        ("spans", [{"name": "build", "start": DEPLOY.started, "seconds": float("nan")}], "seconds must be seconds"),
        ("spans", [{"name": "build", "start": DEPLOY.started, "seconds": 1e300}], "seconds must be seconds"),
        ("spans", [{"name": "build", "start": "noon", "seconds": 1}], "isoformat"),
        ("budgets", [], "budgets an object"),
        ("budgets", {"start to live": "soon"}, "start to live must be seconds"),
    ],
)
def test_what_is_no_deploy_is_refused(key: str, value: Any, said: str) -> None:
    """Whoever shows it would fail later, at a place that says nothing about the state."""
    with pytest.raises(ValueError, match=said):
        of_plain({**to_plain(DEPLOY), key: value})


def test_anything_may_come() -> None:
    """A list in the place of a deploy would be a traceback."""
    with pytest.raises(ValueError, match="must be an object"):
        of_plain([])


def test_texts_from_outside_are_one_line_and_short() -> None:
    """The subject of a commit could clear the terminal of whoever asks for the history, or fill the state."""
    hostile = deploy(subject="\x1b[2Jfix\n\u202e\udc9ball " + "x" * 999, reason="no\r\nway")
    for found in (of_plain(to_plain(hostile)), of_plain({**to_plain(hostile), "subject": hostile.subject})):
        assert found.subject is not None
        assert found.subject.startswith("fix all xxx")
        assert len(found.subject) == 300
        assert found.reason == "no way"


def test_the_totals_end_when_all_the_traffic_is_there() -> None:
    """A long bake would look like a slow deploy."""
    start, commit = DEPLOY.totals
    assert (start.name, start.seconds, start.over) == ("start to live", 136.0, True)
    assert (commit.name, commit.seconds, commit.over) == ("commit to live", 256.0, False)
    assert DEPLOY.total("commit to live") == commit
    assert DEPLOY.total("bake") is None
    assert DEPLOY.seconds == 240.0


def test_there_is_no_time_since_a_commit_that_was_not_deployed() -> None:
    """What was never committed would look minutes old, or weeks."""
    assert [each.name for each in deploy(commit="4b825dc-dirty").totals] == ["start to live"]
    assert [each.name for each in deploy(commit_time=None).totals] == ["start to live"]
    assert [each.name for each in deploy(commit=None).totals] == ["start to live"]


def test_no_time_is_less_than_none() -> None:
    """The clock of who committed is ahead, or someone has edited the state: a deploy would take minus three hours."""
    ahead = deploy(commit_time="2026-11-27T12:00:00.000+00:00")
    assert [each.name for each in ahead.totals] == ["start to live"]
    assert deploy(ended="2026-11-26T00:00:00.000+00:00").seconds == 0.0


def test_what_did_not_become_live_has_no_time_to_live() -> None:
    """A deploy that was rolled back out of its bake would count among the fast ones."""
    assert deploy(outcome="rolled back").totals == ()
    assert deploy(spans=()).totals == ()


def test_over_budget_is_what_took_longer() -> None:
    """A budget would never be noticed, or always."""
    assert [each.name for each in DEPLOY.over_budget] == ["build", "start to live"]
    assert not Span("build", DEPLOY.started, 15.0, budget=15.0).over


def test_each_step_has_the_budget_of_steps() -> None:
    """The budget of steps would be that of none."""
    assert budget_of("step 25 %", {"step": 60.0}) == 60.0
    assert budget_of("bake", {"step": 60.0}) is None
    assert {"build", "launch", "step", "bake"} <= set(BUDGETS)


def test_a_moment_has_no_length() -> None:
    """A picture would draw a bar of no width."""
    assert [span.name for span in DEPLOY.spans if span.is_moment] == ["commit", "first healthy", "live"]
    assert DEPLOY.spans[2].end == "2026-11-27T09:00:24.000+00:00"


def test_times_are_compared_in_utc() -> None:
    """A commit made in Tokyo would be nine hours older."""
    assert time_of("2026-11-27T18:00:00+09:00") == time_of("2026-11-27T09:00:00Z")
