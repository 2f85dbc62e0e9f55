"""Where a rollout comes from, as the program says it to the rollout."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pulumi
import pytest

from fleetswap_pulumi import fleet, region_plan, timeline
from fleetswap_pulumi.commit import Commit
from fleetswap_pulumi.rollout import RolloutProvider
from tests.fakes.ebs import disk_file
from tests.program.declared import declare
from tests.program.test_reach import rollout_inputs, steady

__all__ = ["steady"]

COMMIT = Commit("4b825dc642cb6eb9a060e54bf8d69288fbee4904", "2026-11-26T11:50:00.000+00:00", "Sell more")
TOLD = {"kind": "deploy", "commit": COMMIT.hash, "commit_time": COMMIT.time, "subject": "Sell more"}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Those of a stack whose image is a file, in a work tree with a commit."""
    monkeypatch.setattr(fleet, "commit_of", lambda _root: COMMIT)
    values = {"service": "web", "image": {"file": str(disk_file(tmp_path / "disk.raw"))}, "budgets": {"launch": 60}}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def test_an_update_says_where_its_rollout_comes_from(settings: dict[str, str]) -> None:
    """The history would have neither commits nor what came before the rollout."""
    first = declare(settings)
    given = first.one("Rollout").inputs["origin"]
    assert {key: given[key] for key in TOLD} == TOLD
    assert given["budgets"] == {"launch": 60}
    assert datetime.fromisoformat(given["started"]) <= datetime.fromisoformat(given["registered"])
    origin = timeline.origin_of(given, "us-east-1")
    assert origin is not None
    assert [part.name for part in origin.parts] == ["registration"]
    ledger = first.outputs["ledger"]
    again = declare(settings, ledger=ledger).one("Rollout").inputs["origin"]
    assert again.get("registered") is None, "it was there before"
    back = declare({**settings, "release": ledger["live"]}, ledger=ledger).one("Rollout").inputs["origin"]
    assert back["kind"] == "rollback"


def test_a_preview_shows_the_commit_alone(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A reviewer would read times that no update has; outputs that are not known yet would hide the commit."""
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    monkeypatch.setattr(region_plan, "tell_upload", lambda *_: None)  # it would look for a parent, in AWS
    assert declare(settings).one("Rollout").inputs["origin"] == TOLD


def test_another_commit_is_no_rollout(steady: list[str]) -> None:
    """Every commit would show a change in the preview, and roll out what is live."""
    assert steady == []
    old: dict[str, Any] = rollout_inputs() | {"serving": "web-1"}
    for origin in (TOLD, {**TOLD, "commit": "0" * 40}, {"images": [pulumi.output.UNKNOWN]}):
        assert not RolloutProvider().diff("id", old, old | {"origin": origin}).changes
        assert not RolloutProvider().diff("id", old | {"origin": TOLD}, old | {"origin": origin}).changes
        assert RolloutProvider().check(old, old | {"origin": origin}).failures == []
