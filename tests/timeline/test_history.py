"""What is kept of deploys, and how one of them is chosen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.timeline.history import GREATEST, KEPT, added, chosen, merged
from fleetswap.domain.timeline.model import Span, of_plain
from tests.timeline.examples import DEPLOY, deploy


def test_the_last_deploys_are_kept() -> None:
    """The state would grow with every deploy, or forget the last one."""
    kept: Any = None
    for number in range(KEPT + 5):
        kept = added(kept, deploy(run=f"run-{number}"))
    assert [each["run"] for each in kept] == [f"run-{number}" for number in range(KEPT + 4, 4, -1)]
    assert of_plain(kept[0]) == deploy(run="run-24")


def test_the_history_has_a_size() -> None:
    """A strategy with a thousand steps would make a state that the backend refuses."""
    long = deploy(spans=tuple(Span(f"step {number} %", DEPLOY.started, 1.0) for number in range(200)))
    kept: Any = []
    for number in range(KEPT):
        kept = added(kept, deploy(run=f"run-{number}", spans=long.spans))
    assert 1 < len(kept) < KEPT
    assert len(json.dumps(kept)) <= GREATEST
    assert kept[0]["run"] == "run-19"
    huge = deploy(spans=long.spans * 10)
    assert [each["run"] for each in added(kept, huge)] == [DEPLOY.run]


@pytest.mark.parametrize("kept", [None, "a text", 7, {}, [7, None]])
def test_a_state_may_have_anything(kept: object) -> None:
    """A rollout that succeeded would fail at its end, and lose its ledger."""
    assert [each["run"] for each in added(kept, DEPLOY)] == [DEPLOY.run]


def test_what_a_newer_version_wrote_stays() -> None:
    """One deploy from an older computer would erase the history of all others."""
    newer = {"version": 9, "run": "later"}
    assert added([newer], DEPLOY)[1] == newer


def test_a_run_is_kept_once() -> None:
    """A deploy would be counted twice."""
    assert len(added(added(None, DEPLOY), deploy(outcome="failed"))) == 1
    failed, running = deploy(run="failed", ended="2026-11-27T10:00:00.000+00:00"), deploy(subject=None)
    assert merged([DEPLOY], [failed, running]) == (failed, DEPLOY)


@pytest.mark.parametrize("name", ["web-7f3a1b2c", "web-7f", "7f3a", DEPLOY.run, DEPLOY.run[:6], "live"])
def test_a_release_is_named_by_its_beginning(name: str) -> None:
    """Nobody types whole IDs."""
    other = deploy(release="web-02aa0000", run="ab", outcome="failed")
    assert chosen([other, DEPLOY, deploy(run="older")], name) == DEPLOY


def test_a_name_that_may_be_two_releases_is_refused() -> None:
    """The wrong one would be shown."""
    with pytest.raises(InputError, match="may be web-7f3a1b2c or web-7f000000"):
        chosen([DEPLOY, deploy(release="web-7f000000", run="ab")], "web-7f")
    with pytest.raises(InputError, match="known of: web-7f3a1b2c"):
        chosen([DEPLOY], "api")
    with pytest.raises(InputError, match="known of: web-7f3a1b2c"):
        chosen([DEPLOY], "")
    with pytest.raises(InputError, match="no deploy that succeeded"):
        chosen([deploy(outcome="aborted")], "live")
    whole = deploy(release="web-7f3a1b2", run="ab")
    assert chosen([DEPLOY, whole], "web-7f3a1b2") == whole
