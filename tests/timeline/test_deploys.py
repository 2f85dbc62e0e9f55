"""Whole deploys: from records of all kinds, with what came before the rollout."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fleetswap.domain.errors import Aborted
from fleetswap.domain.rollout.origin import Origin, Part
from fleetswap.domain.rollout.record import PhaseTime
from fleetswap.domain.rollout.state import Phase
from fleetswap.domain.timeline.deploys import assembled, of_record
from fleetswap.domain.timeline.model import Deploy, to_plain
from fleetswap.domain.timeline.of_state import of_state
from fleetswap.workflows.rollout.past import past
from fleetswap.workflows.rollout.read_record import read
from fleetswap.workflows.rollout.record_file import RecordFile
from fleetswap.workflows.rollout.recorder import Recorder
from tests.rollout.records import record_of
from tests.rollout.test_canary import STEPS, deploy
from tests.rollout.test_record import NOON, run
from tests.timeline.examples import DEPLOY

ORIGIN = Origin(
    region="eu-central-1",
    started="2026-11-26T11:58:00.000+00:00",
    commit="4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    commit_time="2026-11-26T11:50:00.000+00:00",
    subject="Sell more",
    parts=(
        Part(name="evaluation", start="2026-11-26T11:58:01.000+00:00", seconds=2.0),
        Part(name="build", start="2026-11-26T11:58:10.000+00:00", seconds=60.0),
        Part(name="registration", start="2026-11-26T11:59:10.000+00:00", seconds=30.0),
    ),
    budgets={"build": 45.0, "step": 400.0, "start to live": 600.0},
)


def recorded(folder: Path, **world: object) -> Deploy:
    """The deploy of the record that a simulated rollout leaves."""
    made, wanted = deploy(STEPS, **world)
    recorder = Recorder(RecordFile(folder), stack="shop/prod", origin=ORIGIN, wall=lambda: NOON)
    with contextlib.suppress(Aborted):
        run(made, wanted, recorder)
    (found,), problems = past(folder, 10)
    assert problems == ()
    return found


def test_a_record_has_the_whole_deploy(tmp_path: Path) -> None:
    """Of a deploy that failed nobody would know of which commit it was, and what it took before."""
    found = recorded(tmp_path, error_rate=0.06)
    assert (found.release, found.previous, found.service, found.stack) == ("new", "live", "web", "shop/prod")
    assert (found.region, found.kind, found.outcome) == ("eu-central-1", "deploy", "rolled back")
    assert found.reason.startswith("with 5 % of the traffic on new, 5xx")
    assert (found.commit, found.subject) == (ORIGIN.commit, "Sell more")
    assert (found.started, found.ended) == (ORIGIN.started, "2026-11-26T12:04:21.910+00:00")
    before = [(span.name, span.start[14:19], span.seconds, span.over) for span in found.spans[:5]]
    assert before == [
        ("commit", "50:00", 0.0, False),
        ("evaluation", "58:01", 2.0, False),
        ("build", "58:10", 60.0, True),
        ("registration", "59:10", 30.0, False),
        ("wait", "59:40", 20.0, False),
    ]
    assert found.spans[5].name == "look"
    assert found.totals == ()


def test_a_good_deploy_has_its_totals(tmp_path: Path) -> None:
    """The time from the commit to live is what everybody asks for."""
    start, commit = recorded(tmp_path).totals
    assert (start.name, start.seconds, start.over) == ("start to live", 699.98, True)
    assert (commit.name, commit.seconds, commit.budget) == ("commit to live", 1179.98, None)


def test_an_old_record_is_a_deploy_too() -> None:
    """The history would begin with the upgrade."""
    lines = record_of("bad").splitlines()
    order = json.loads(lines[1])
    order["order"]["listener"] = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/web/1/2"
    old = b"\n".join([lines[0], json.dumps(order).encode(), *lines[2:]]) + b"\n"
    for text, region in ((old, "eu-west-1"), (record_of("bad"), "")):
        found = read(text, "old")
        made = of_record(found.header, found.entries, found.readings)
        assert (made.region, made.commit, made.started) == (region, None, "2026-11-26T12:00:00.000+00:00")
        assert made.spans[0].name == "look"


def test_a_record_without_an_end_is_unfinished() -> None:
    """A rollout that was killed, or still runs, would be shown as one that succeeded, or not at all."""
    found = read(record_of("start"), "start")
    made = of_record(found.header, found.entries)
    assert made.outcome == "unfinished"
    assert [span.name for span in made.spans][:4] == ["look", "launch", "first healthy", "gate"]
    assert made.ended > made.started
    assert of_record(found.header, ()).spans[0].seconds == 0.0


def test_what_a_guardian_ended_has_the_phases_of_both() -> None:
    """The launch would be missing, because another process had made it."""
    lines = record_of("bad").splitlines(keepends=True)
    end = json.loads(lines[-1])
    end["phases"] = end["phases"][-2:]
    taken = json.dumps({"line": "taken-up", "at": 200.0, "reason": "killed"}).encode() + b"\n"
    found = read(b"".join([*lines[:-1], taken, json.dumps(end).encode() + b"\n"]), "taken")
    whole = read(record_of("bad"), "bad")
    assert of_record(found.header, found.entries).spans == of_record(whole.header, whole.entries).spans


def test_times_of_a_clock_that_was_set_are_left_out() -> None:
    """A bar would have a negative length."""
    phases = [PhaseTime(Phase.LOOK, 0.0, 1.0)]

    def made(origin: Origin, started: str = "2026-11-26T12:00:00.000+00:00") -> Deploy:
        return assembled(
            release="new",
            previous=None,
            service="web",
            stack="shop/prod",
            region="",
            kind="deploy",
            run="0f",
            started=started,
            phases=phases,
            steps=(),
            healthy=None,
            origin=origin,
        )

    later = made(ORIGIN, "2026-11-26T11:00:00.000+00:00")
    assert ([span.name for span in later.spans], later.started) == (["look"], "2026-11-26T11:00:00.000+00:00")
    earlier = made(replace(ORIGIN, commit_time="2026-11-26T10:00:00.000+00:00"), "2026-11-26T11:00:00.000+00:00")
    assert ([span.name for span in earlier.spans], earlier.started) == (["look"], "2026-11-26T11:00:00.000+00:00")
    odd = made(replace(ORIGIN, parts=(ORIGIN.parts[1], ORIGIN.parts[0])))
    assert [span.name for span in odd.spans] == ["commit", "build", "wait", "look"]
    half = made(ORIGIN, "2026-11-26T11:58:30.000+00:00")
    assert [span.name for span in half.spans] == ["commit", "evaluation", "wait", "look"]
    tomorrow = made(replace(ORIGIN, commit_time="2026-11-27T12:00:00.000+00:00"))
    assert tomorrow.spans[0].name == "evaluation"
    exact = made(ORIGIN, "2026-11-26T11:59:40.000+00:00")
    assert [span.name for span in exact.spans][-2:] == ["registration", "look"]


def test_a_damaged_record_hides_no_other(tmp_path: Path) -> None:
    """One file of a full disk, and nobody could see the history."""
    good = record_of("good")
    (tmp_path / "20261126T120000Z-new-1.jsonl").write_bytes(good)
    (tmp_path / "20261126T130000Z-new-2.jsonl").write_bytes(b"")
    (tmp_path / "20261126T140000Z-new-3.jsonl").write_bytes(good.replace(b"2026-11-26T12", b"yesterday, at 12"))
    (tmp_path / "20261126T150000Z-new-4.jsonl").mkdir()
    (tmp_path / "20261126T160000Z-new-5.jsonl").write_bytes(re.sub(rb'"began": [0-9.]+', b'"began": 1e999', good))
    (tmp_path / "20261126T110000Z-new-6.jsonl").write_bytes(good.splitlines()[0] + b'\n{"line": []}\n')
    found, problems = past(tmp_path, 10)
    assert [(each.release, each.outcome) for each in found] == [("new", "succeeded"), ("new", "unfinished")]
    assert [each.partition(".jsonl ")[2] for each in problems] == [
        "is damaged: cannot convert float infinity to integer",
        "cannot be read: Is a directory",
        "is damaged: Invalid isoformat string: 'yesterday, at 12:00:00.000+00:00'",
        "is not the record of a rollout: it has no whole line",
    ]
    assert past(tmp_path, 1)[0] == ()
    assert past(tmp_path / "none", 10) == ((), ())
    assert past(None, 10)[1] == ("this user has no home directory, so there are no records of rollouts",)


def test_the_state_has_the_history_of_each_region() -> None:
    """The deploys of a further region would not be known to other computers."""
    kind = "pulumi-python:dynamic/fleetswap:Rollout"
    other = to_plain(replace(DEPLOY, run="a", region="eu-west-1"))
    state = {
        "deployment": {
            "resources": [
                {"type": kind, "outputs": {"history": [to_plain(DEPLOY), {"version": 2}, {"version": 2}]}},
                {"type": kind, "outputs": {"history": [other]}},
                {"type": kind, "outputs": {}},
                {"type": kind},
                {"type": "other", "outputs": {"history": [other]}},
                None,
            ]
        }
    }
    deploys, problems = of_state(state)
    assert [each.region for each in deploys] == ["eu-central-1", "eu-west-1"]
    assert problems == ("a deploy in the state cannot be read: it is of version 2, and this Fleetswap reads version 1",)


@pytest.mark.parametrize("state", [{}, {"deployment": None}, {"deployment": {"resources": None}}])
def test_a_new_stack_has_no_history(state: dict[str, object]) -> None:
    """`fleetswap history` of a stack that was never deployed would be a traceback."""
    assert of_state(state) == ((), ())
