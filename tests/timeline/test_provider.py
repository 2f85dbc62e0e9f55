"""The timeline in the provider of a rollout: what it reads, what it keeps, and that it fails nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fleetswap.domain.rollout.origin import Origin, Part
from fleetswap.domain.timeline.model import of_plain
from fleetswap.workflows.rollout.recorder import Recorder
from fleetswap.workflows.rollout.run import Outcome, roll_out
from fleetswap_pulumi import commit as commits
from fleetswap_pulumi.budgets_settings import BudgetsSettings
from fleetswap_pulumi.commit import Commit, commit_of
from fleetswap_pulumi.timeline import deploy_of, history_with, origin_of, over_budget
from tests.fakes.world import World
from tests.rollout.test_canary import STEPS, deploy
from tests.rollout.test_record import NOON
from tests.timeline.examples import DEPLOY

GIVEN: dict[str, Any] = {
    "kind": "deploy",
    "commit": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "commit_time": "2026-11-26T11:50:00.000+00:00",
    "subject": "Sell more",
    "started": "2026-11-26T11:58:00.000+00:00",
    "evaluation": ["2026-11-26T11:58:01.000+00:00", 2.0],
    "images": [
        {"finished": None, "build": 0.0, "trial": None, "upload": 0.0},
        {"finished": "2026-11-26T11:59:00.000+00:00", "build": 30.0, "trial": None, "upload": 6.0},
    ],
    "registered": "2026-11-26T11:59:30.000+00:00",
    "budgets": {"build": 20.0, "start to live": 600.0},
}


def test_the_input_is_read_as_it_was_written() -> None:
    """The history would have other times than the update."""
    assert origin_of(GIVEN, "eu-central-1") == Origin(
        region="eu-central-1",
        started=GIVEN["started"],
        commit=GIVEN["commit"],
        commit_time=GIVEN["commit_time"],
        subject="Sell more",
        parts=(
            Part(name="evaluation", start="2026-11-26T11:58:01.000+00:00", seconds=2.0),
            Part(name="build", start="2026-11-26T11:58:24.000+00:00", seconds=30.0),
            Part(name="upload", start="2026-11-26T11:58:54.000+00:00", seconds=6.0),
            Part(name="registration", start="2026-11-26T11:59:00.000+00:00", seconds=30.0),
        ),
        budgets=GIVEN["budgets"],
    )


@pytest.mark.parametrize(
    "change",
    [
        {"started": None},
        {"started": "noon"},
        {"evaluation": ["2026-11-26T11:58:01.000+00:00"]},
        {"images": [7]},
        {"budgets": {"build": "soon"}},
        {"kind": None, "started": 7},
        {"commit": 7},
        {"commit_time": "noon"},
        {"evaluation": ["2026-11-26T11:58:01.000+00:00", float("inf")]},
    ],
)
def test_an_input_that_is_something_else_is_none(change: dict[str, Any]) -> None:
    """A rollout would fail before it begins, for something that is only shown."""
    assert origin_of({**GIVEN, **change}, "eu-central-1") is None
    assert origin_of(None, "eu-central-1") is None


def rolled_out(world: World, wanted: Any, notes: Any) -> Outcome:
    return roll_out(
        wanted,
        balancer=world,
        fleet=world,
        prober=world,
        clock=world,
        metrics=world,
        switch=world,
        notifier=world,
        say=world.say,
        recorder=Recorder(stack="shop/prod", wall=lambda: NOON),
        notes=notes,
    )


def test_a_rollout_becomes_the_newest_deploy_of_the_history() -> None:
    """The state would not know what was deployed, or people would not hear that it was slow."""
    world, wanted = deploy(STEPS)
    origin = origin_of(GIVEN, "eu-central-1")

    def made(outcome: Outcome) -> Any:
        return deploy_of(outcome, origin, service="web", stack="shop/prod", region="eu-central-1")

    outcome = rolled_out(world, wanted, lambda outcome: over_budget(made(outcome)))
    lines = [
        "over budget: build took 30.0 s, and fleetswap:budgets.build is 20 s",
        "over budget: start to live took 11:40, and fleetswap:budgets.start_to_live is 600 s",
    ]
    assert world.notices[-1].text.splitlines()[-len(lines) - len(world.notices[-1].evidence) :][:2] == lines
    warned: list[str] = []
    newest, before = history_with([{"run": "older"}], lambda: made(outcome), warned.append) or ()
    assert warned == lines
    assert before == {"run": "older"}
    found = of_plain(newest)
    assert found == made(outcome)
    assert (found.release, found.previous, found.run) == ("new", "live", outcome.run)
    names = ["commit", "evaluation", "build", "upload", "registration", "wait"]
    assert [span.name for span in found.spans][:6] == names
    assert "first healthy" in [span.name for span in found.spans]


def test_a_defect_of_the_timeline_is_none_of_the_rollout() -> None:
    """A release that is live would be forgotten: who raises at the end of a rollout loses the ledger."""
    world, wanted = deploy(STEPS)

    def broken(*_: object) -> Any:
        raise RuntimeError("broken")

    assert rolled_out(world, wanted, broken).live == "new"
    assert "warning: could not measure the rollout: RuntimeError: broken" in world.log
    warned: list[str] = []
    assert history_with([{"run": "older"}], broken, warned.append) == [{"run": "older"}]
    assert history_with(None, broken, warned.append) is None
    assert warned == ["this deploy is missing in `fleetswap history`: broken"] * 2


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def test_the_commit_is_that_of_the_work_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The history would name another commit, or one that is not what was deployed."""
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-11-27T10:00:00+02:00")
    git(tmp_path, "init", "--quiet")
    (tmp_path / "app").write_text("1")
    git(tmp_path, "add", "app")
    git(tmp_path, "commit", "--quiet", "--message", "Sell \x1b[2Jmore\n\nMuch more.")
    (tmp_path / "new").write_text("not of the commit, and not of git")
    found = commit_of(tmp_path, {"GITHUB_SHA": "0" * 40})
    assert found is not None
    assert (found.time, found.subject) == ("2026-11-27T08:00:00.000+00:00", "Sell more")
    assert len(found.hash) == 40
    (tmp_path / "app").write_text("2")
    dirty = commit_of(tmp_path, {})
    assert dirty is not None
    assert dirty.hash == f"{found.hash}-dirty"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert commit_of(tmp_path, {"GITHUB_SHA": "0" * 40}) == Commit("0" * 40), "git says: dubious ownership"


def test_without_git_the_ci_system_says_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container without git the history would have no commits; without both, no deploy would be possible."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    sha = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    gitlab = {"CI_COMMIT_SHA": sha, "CI_COMMIT_TIMESTAMP": "2026-11-27T10:00:00+02:00", "CI_COMMIT_TITLE": "Sell more"}
    assert commit_of(tmp_path, gitlab) == Commit(sha, "2026-11-27T08:00:00.000+00:00", "Sell more")
    assert commit_of(tmp_path, {"GITHUB_SHA": sha, "CI_COMMIT_TITLE": "Sell \udce9"}) == Commit(sha, None, "Sell")
    assert commit_of(tmp_path, {"GITHUB_SHA": "$(reboot)"}) is None
    assert commit_of(tmp_path, {}) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(tmp_path, {"GITHUB_SHA": sha}) == Commit(sha)
    assert commit_of(tmp_path / "gone", {}) is None


def test_a_git_that_hangs_holds_up_no_deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A work tree on a network that is down would make every preview wait for ever."""
    (tmp_path / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(commits, "SECONDS", 0.05)
    assert commit_of(tmp_path, {}) is None


def test_the_budgets_have_the_names_of_spans() -> None:
    """A budget would be that of nothing."""
    settings = BudgetsSettings(boot_test=10, start_to_live=600)
    assert settings.seconds == {"boot test": 10.0, "start to live": 600.0}
    named = {name.replace("_", " ") for name in BudgetsSettings.model_fields}
    spans = {span.name for span in DEPLOY.spans} | {"boot test", "step", "start to live", "commit to live"}
    assert named <= spans
