"""`fleetswap report`: where the record is from, where the page goes, and what is never overwritten."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from fleetswap.domain.rollout.record import Found, Judged
from fleetswap.report import mark
from fleetswap.workflows.rollout.record_file import folder_of
from tests.cli.conftest import Ran
from tests.report.lines import errors, written
from tests.report.test_compose import CHANGES
from tests.rollout.records import record_of

OLD = written(Found(at=0.1, previous="live", weights={"live": 100}), Judged(at=9, findings=(errors(1, 10),)))
"""Of a Fleetswap without replays."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the record of a rollout that failed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jsonl").write_bytes(record_of("bad"))
    (tmp_path / "old.jsonl").write_bytes(OLD)
    return tmp_path


def test_a_page_is_written_and_replaced(cli: Callable[..., Ran], here: Path) -> None:
    """A report would be somewhere else than said, readable by everyone, or only the first one be written."""
    ran = cli("report", "bad.jsonl")
    assert (ran.status, ran.out, ran.err) == (0, "new-report.html\n", "")
    path = here / "new-report.html"
    assert path.stat().st_mode & 0o777 == 0o600
    first = path.read_text()
    assert "web: rollout of new rolled back</title>" in first
    assert "from bad.jsonl." in first
    assert cli("report", "./old.jsonl", "--output", "new-report.html").status == 0
    assert "unfinished" in path.read_text()
    assert [each.name for each in here.iterdir() if each.name.startswith(".")] == []


def test_something_else_is_not_overwritten(cli: Callable[..., Ran], here: Path) -> None:
    """A mistyped --output would destroy a file."""
    (here / "mine").write_text("mine")
    ran = cli("report", "old.jsonl", "--output", "mine")
    assert (ran.status, ran.error) == (
        2,
        "mine exists, and is not a report of stack shop/prod: name another file with --output, or use --force",
    )
    assert (here / "mine").read_text() == "mine"
    assert cli("report", "old.jsonl", "--output", "mine", "--force").status == 0
    assert mark("shop/prod") in (here / "mine").read_text()
    (here / "other.jsonl").write_bytes(OLD.replace(b"shop/prod", b"shop/test"))
    assert "is not a report of stack shop/test" in cli("report", "other.jsonl", "--output", "mine").error
    (here / "loop").symlink_to("loop")
    for name in ("loop", "x" * 300, "none/x.html"):
        assert "cannot be" in cli("report", "old.jsonl", "--output", name).error
    assert cli("report", "x" * 300).status == 2
    assert cli("report", "old.jsonl", "--output", ".").error == ". is not a file: name another one with --output"
    assert "cannot be written" in cli("report", "old.jsonl", "--output", "none/x.html").error


def test_it_reads_and_writes_pipes(cli: Callable[..., Ran], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ssh ci cat RECORD | fleetswap report - --output -` would need files."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO((here / "old.jsonl").read_bytes())))
    ran = cli("report", "-", "--output", "-")
    assert ran.out.startswith("<!doctype html>")
    assert "from standard input." in ran.out
    assert [*here.glob("*.html")] == []


def test_a_damaged_reading_costs_the_evidence_alone(cli: Callable[..., Ran], here: Path) -> None:
    """One line that makes no sense to the state machine would end the report in a traceback."""
    lines = (here / "bad.jsonl").read_text().splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if '"event": "seen"' in line)
    plain = json.loads(lines[first])
    plain["told"] = {"rule": None, "group": None, "candidate": None}
    (here / "damaged.jsonl").write_text("".join([*lines[:first], json.dumps(plain) + "\n", *lines[first + 1 :]]))
    sections = {each["key"]: each for each in cli("report", "damaged.jsonl", "--json").result["sections"]}
    assert "the readings cannot be replayed" in sections["errors"]["sentences"][-1]
    assert len(sections["errors"]["plots"]) == 1


def test_it_begins_with_what_the_deploy_did_before(cli: Callable[..., Ran], here: Path) -> None:
    """The timeline would begin with the rollout, though the build took longer."""
    origin = {
        "line": "origin",
        "at": 0.0,
        "region": "eu-west-1",
        "started": "2026-11-26T11:58:00.000+00:00",
        "parts": [{"name": "build", "start": "2026-11-26T11:58:00.000+00:00", "seconds": 90.0}],
        "budgets": {"build": 60.0},
    }
    header, *rest = OLD.splitlines(keepends=True)
    (here / "whole.jsonl").write_bytes(b"".join([header, json.dumps(origin).encode() + b"\n", *rest]))
    found = cli("report", "whole.jsonl", "--json").result
    assert [(bar["lane"], bar["began"], bar["ended"]) for bar in found["bars"]][:2] == [
        ("build", -120.0, -30.0),
        ("wait", -30.0, 0.0),
    ]
    (timeline,) = [each for each in found["sections"] if each["key"] == "timeline"]
    assert timeline["sentences"] == ["Over budget: build took 1:30, and may take 1:00."]
    (here / "damaged.jsonl").write_bytes(OLD.replace(b"2026-11-26T", b"soon"))
    assert cli("report", "damaged.jsonl", "--json").status == 0


def test_a_script_gets_the_numbers(cli: Callable[..., Ran], here: Path) -> None:
    """A script would have to read the page."""
    (here / "changes.json").write_text(json.dumps(CHANGES))
    found = cli("report", "bad.jsonl", "--json", "--changes", "changes.json").result
    assert (found["service"], found["stack"], found["ending"], found["tone"]) == (
        "web",
        "shop/prod",
        "rolled back",
        "bad",
    )
    sections = {each["key"]: each for each in found["sections"]}
    assert [*sections] == [
        "restored",
        "timeline",
        "traffic",
        "machines",
        "errors",
        "slow",
        "steps",
        "packages",
    ]
    assert sections["traffic"]["plots"][0]["lines"][0] == {"name": "new", "role": "candidate"}
    assert sections["errors"]["plots"][1]["limit"] == 100.0


@pytest.mark.usefixtures("here")
def test_a_release_means_its_newest_record(cli: Callable[..., Ran]) -> None:
    """Users would have to look for the file of the record themselves."""
    folder = folder_of("report/prod")
    assert folder is not None
    folder.mkdir(parents=True)
    (folder / "1.jsonl").write_bytes(OLD.replace(b'"shop/prod"', b'"report/prod"').replace(b'"new"', b'"web-1a2b"'))
    ran = cli("report", "web-1", "--stack", "report/prod")
    assert (ran.status, ran.out) == (0, "web-1a2b-report.html\n")
    assert cli("report", "--stack", "prod", "--json").status == 0
    assert cli("report", "web-2", "--stack", "report/prod").status == 2


def test_what_has_no_meaning_is_refused(cli: Callable[..., Ran], here: Path) -> None:
    """An option that does nothing would be taken for one that does."""
    assert "have no meaning" in cli("report", "old.jsonl", "--json", "--force").error
    assert cli("report", "old.jsonl", "--stack", "x").error == "--stack has no meaning with the file of a record"
    assert "none.jsonl cannot be read" in cli("report", "none.jsonl").error
    (here / "no").write_text("[")
    assert "no is not JSON" in cli("report", "old.jsonl", "--changes", "no").error
    assert "nowhere cannot be read" in cli("report", "old.jsonl", "--changes", "nowhere").error
    assert "is not the record of a rollout" in cli("report", "no").error
    assert cli("report", "old.jsonl", "--changes", "bad.jsonl").status == 2


def test_without_its_packages_it_says_what_to_install(
    cli: Callable[..., Ran], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever installed Fleetswap alone would get a traceback."""
    for name in [*sys.modules]:
        if name.startswith(("fleetswap.report.", "jinja2")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    ran = cli("report", "old.jsonl")
    assert (ran.status, ran.error) == (
        2,
        "a page needs packages that are not installed (jinja2): pip install 'fleetswap[report]'",
    )
    assert not (here / "new-report.html").exists()
    assert cli("report", "old.jsonl", "--json").status == 0
