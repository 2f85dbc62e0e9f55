"""The record of a rollout: what it holds, that it survives what rollouts do not, and that it never harms one."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

from fleetswap.domain.errors import Aborted, InputError, TryAgain
from fleetswap.domain.rollout import readings, record
from fleetswap.domain.rollout.findings import Code, Unit
from fleetswap.domain.rollout.health import Machines, Verdict
from fleetswap.domain.rollout.model import Order
from fleetswap.domain.rollout.notices import Ending
from fleetswap.domain.rollout.policy import Check
from fleetswap.domain.rollout.rates import Counts
from fleetswap.domain.rollout.record import (
    Ended,
    Entered,
    Failed,
    Found,
    Header,
    Judged,
    Kind,
    Line,
    MachinesRead,
    NoAnswer,
    Step,
    TakenUp,
    WeightsSeen,
    Written,
    plain,
)
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.workflows.rollout import record_file
from fleetswap.workflows.rollout.read_record import Record, load
from fleetswap.workflows.rollout.record_file import RecordFile, folder_of
from fleetswap.workflows.rollout.recorder import Recorder
from fleetswap.workflows.rollout.run import Keep, Outcome, roll_out, take_up
from tests.fakes.world import World
from tests.rollout.test_canary import STEPS, deploy

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def run(world: World, wanted: Order, recorder: Recorder, *, keep: Keep = lambda _: None) -> Outcome:
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
        keep=keep,
        recorder=recorder,
    )


def recorder(sink: RecordFile) -> Recorder:
    return Recorder(sink, stack="shop/prod", wall=lambda: NOON)


def only(folder: Path) -> Path:
    (path,) = folder.glob("*.jsonl")
    return path


def of(kind: type[Line], read: Record) -> list[Line]:
    return [entry for entry in read.entries if isinstance(entry, kind)]


def test_a_good_rollout_leaves_all_that_a_report_needs(tmp_path: Path) -> None:
    """A report could not show when which weight was held for how long, and what it was judged by."""
    world, wanted = deploy()
    outcome = run(world, wanted, recorder(RecordFile(tmp_path / "new" / "folder")))
    read = load(only(tmp_path / "new" / "folder"))
    assert f"record of this rollout: {only(tmp_path / 'new' / 'folder')}" in world.log
    header = read.header
    assert (header.version, header.kind, header.run) == (1, Kind.DEPLOY, outcome.run)
    assert header.started == outcome.started == "2026-11-26T12:00:00.000+00:00"
    assert (header.service, header.stack, header.candidate, header.standby) == ("web", "shop/prod", "new", "live")
    assert header.policy["errors"]["ratio"] == 1.5
    assert read.entries[0] == Found(at=0.1, previous="live", weights={"live": 100})
    phases = [entry.phase for entry in read.entries if isinstance(entry, Entered)]
    assert phases[:4] == [Phase.SCALE, Phase.GATE, Phase.PROBE, Phase.SHIFT]
    assert phases[-1] is Phase.DONE
    weights = [entry.weights for entry in read.entries if isinstance(entry, Written)]
    assert weights == [{"live": 95, "new": 5}, {"live": 75, "new": 25}, {"new": 100}]
    machines = [entry.machines for entry in read.entries if isinstance(entry, MachinesRead)]
    assert [(each.wanted, each.healthy) for each in (machines[0], machines[-1])] == [(3, 0), (3, 3)]
    assert (machines[0].launched, len(machines[0].waiting)) == (3, 3)
    times = [entry.at for entry in read.entries]
    assert times == sorted(times)
    end = read.end
    assert end is not None
    assert read.entries[-1] is end
    assert (end.ending, end.serving, end.reason, end.problems) == (Ending.SUCCEEDED, "new", "", ())
    assert end.phases == outcome.times
    assert (end.phases[0].began, end.phases[-1].ended) == (0.0, end.at)
    assert all(one.ended == next_.began for one, next_ in pairwise(end.phases))
    for phase, seconds in outcome.phases.items():
        assert sum(time.ended - time.began for time in end.phases if time.phase == phase) == pytest.approx(
            seconds, abs=1
        )


def test_each_step_is_kept_with_the_numbers_that_it_was_judged_by(tmp_path: Path) -> None:
    """Whoever asks why a step was passed would find words, or those of another step."""
    world, wanted = deploy()
    outcome = run(world, wanted, recorder(RecordFile(tmp_path)))
    steps = [entry for entry in load(only(tmp_path)).entries if isinstance(entry, Step)]
    assert tuple(steps) == outcome.steps
    assert [(step.weight, step.hold, step.min_requests) for step in steps] == [(5, 60, 20), (25, 30, 0), (100, 60, 0)]
    assert {step.verdict for step in steps} == {Verdict.PROMOTE}
    assert all(step.at - step.began >= step.hold for step in steps)
    assert all(one.at <= next_.began for one, next_ in pairwise(steps))
    for step in steps:
        found = {finding.check: finding for finding in step.findings}
        assert set(found) == {
            Check.WEIGHTS,
            Check.HEALTH,
            Check.PROBE,
            Check.ALARMS,
            Check.REQUESTS,
            Check.ERRORS,
            Check.SLOWNESS,
        }
        assert {finding.code for finding in step.findings} == {Code.OK}
        errors, requests = found[Check.ERRORS], found[Check.REQUESTS]
        assert errors.candidate is not None
        assert errors.candidate.requests > 0
        assert errors.window is not None
        assert (errors.window[1] - errors.window[0]) % 60 == 0
        assert isinstance(requests.value, int)
        assert isinstance(requests.limit, int)
        assert requests.value >= requests.limit
    assert steps[0].findings[0].live is None


def test_a_step_that_is_not_watched_is_kept_too(tmp_path: Path) -> None:
    """A report of a rollout without a canary would have no step at all."""
    world, wanted = deploy(replace(STEPS, strategy=type(STEPS.strategy)()))
    run(world, wanted, recorder(RecordFile(tmp_path)))
    (step,) = of(Step, load(only(tmp_path)))
    assert isinstance(step, Step)
    assert (step.weight, step.hold, step.verdict, step.findings) == (100, 0, Verdict.PROMOTE, ())


def test_a_failure_is_kept_with_its_reason_and_the_rollback(tmp_path: Path) -> None:
    """Whoever looks for the cause of an aborted deploy would have only the one line of its error."""
    world, wanted = deploy(error_rate=0.5)
    with pytest.raises(Aborted) as caught:
        run(world, wanted, recorder(RecordFile(tmp_path)))
    read = load(only(tmp_path))
    (failed,) = of(Failed, read)
    assert isinstance(failed, Failed)
    assert str(caught.value).startswith(failed.reason)
    (step,) = of(Step, read)
    assert isinstance(step, Step)
    assert (step.weight, step.verdict) == (5, Verdict.ABORT)
    (bad,) = [finding for finding in step.findings if finding.verdict is Verdict.ABORT]
    assert (bad.check, bad.code) == (Check.ERRORS, Code.ABOVE_LIVE)
    assert isinstance(bad.value, float)
    assert isinstance(bad.limit, float)
    assert bad.value > bad.limit
    assert bad.candidate is not None
    assert bad.value == pytest.approx(bad.candidate.bad / bad.candidate.requests)
    assert isinstance(bad.live, Counts)
    assert bad.chance is not None
    assert bad.chance < 0.001
    weights = [entry.weights for entry in read.entries if isinstance(entry, Written)]
    assert weights[-1] == {"live": 100}, "the weights that were put back"
    end = read.end
    assert end is not None
    assert (end.ending, end.serving) == (Ending.ROLLED_BACK, "live")
    assert end.reason.startswith(failed.reason)
    assert {Phase.COMPARE, Phase.PUT_BACK, Phase.CLEAN_UP} <= {time.phase for time in end.phases}


def test_a_step_whose_weights_were_never_written_is_none(tmp_path: Path) -> None:
    """A report would show 25 % of the traffic on a release that never had more than 5."""
    world, wanted = deploy()

    def keep(state: State) -> None:
        if len(state.written) == 1 and len(state.steps) == 2:
            world.releases["new"].tags["fleetswap:abort"] = "enough"

    with pytest.raises(Aborted, match="aborted on request: enough"):
        run(world, wanted, recorder(RecordFile(tmp_path)), keep=keep)
    steps = [entry for entry in load(only(tmp_path)).entries if isinstance(entry, Step)]
    assert [(step.weight, step.verdict) for step in steps] == [(5, Verdict.PROMOTE)]


def test_a_silence_of_aws_and_weights_of_others_are_seen(tmp_path: Path) -> None:
    """The record would hide why a rollout took so long, or who had moved the traffic."""
    world, wanted = deploy()
    world.broken_calls["rule"] = TryAgain("slow down")

    def keep(state: State) -> None:
        if world.names.count("rule") == 3:
            world.broken_calls.clear()
        if state.phase is Phase.HOLD:
            world.put_traffic(live=50, new=50)

    with pytest.raises(Aborted, match="someone else moved the traffic"):
        run(world, wanted, recorder(RecordFile(tmp_path)), keep=keep)
    read = load(only(tmp_path))
    assert {"live": 50, "new": 50} in [entry.weights for entry in read.entries if isinstance(entry, WeightsSeen)]
    assert [plain(line)["reason"] for line in of(NoAnswer, read)] == ["slow down"], "three times the same is told once"


def lines_of(path: Path) -> list[str]:
    return [json.loads(line)["line"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_record_that_was_cut_off_is_read_and_gone_on_with(tmp_path: Path) -> None:
    """What a killed deploy leaves could not be read, or the guardian's lines would follow half a line."""
    world, wanted = deploy()
    sink = RecordFile(tmp_path)
    kept = list[State]()

    def keep(state: State) -> None:
        kept.append(state)
        if state.phase is Phase.HOLD:
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError):
        run(world, wanted, recorder(sink), keep=keep)
    path = only(tmp_path)
    whole = path.read_bytes()
    half = whole.index(b'"end"') + 20
    path.write_bytes(whole[:half])
    read = load(path)
    assert read.end is None
    assert len(read.entries) + len(read.readings) == whole.count(b"\n") - 2
    (taken,) = [state for state in kept if state.phase is Phase.HOLD][:1]
    world.put_traffic(live=95, new=5)
    with pytest.raises(Aborted, match="killed"):
        take_up(
            taken,
            "killed",
            balancer=world,
            fleet=world,
            prober=world,
            clock=world,
            switch=world,
            recorder=recorder(RecordFile(tmp_path)),
        )
    assert only(tmp_path) == path
    names = lines_of(path)
    assert names.count("header") == 1
    (again,) = of(TakenUp, load(path))
    assert isinstance(again, TakenUp)
    assert again.reason == "killed"
    assert names[-1] == "end"


def test_each_line_is_on_the_disk_before_the_end(tmp_path: Path) -> None:
    """A killed process would leave nothing of what it knew."""
    world, wanted = deploy()
    sink = RecordFile(tmp_path)
    seen = list[str]()

    def keep(state: State) -> None:
        if state.phase is Phase.BAKE and not seen:
            for _ in range(2000):  # the thread writes it at once, but not in the same moment
                seen[:] = lines_of(only(tmp_path))
                if seen.count("step") == 2:
                    break
                time.sleep(0.005)

    run(world, wanted, recorder(sink), keep=keep)
    assert seen.count("step") == 2
    assert "end" not in seen
    assert load(only(tmp_path)).end is not None


def test_a_folder_that_cannot_be_written_to_costs_one_warning(tmp_path: Path) -> None:
    """A full or a read-only disk of the deployer would fail a deploy, or be told at every line."""
    (tmp_path / "file").write_text("")
    world, wanted = deploy()
    run(world, wanted, recorder(RecordFile(tmp_path / "file")))
    assert world.serving() == {"tg-new"}
    warnings = [line for line in world.log if "record" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: the record of this rollout is incomplete: ")
    assert "exists" in warnings[0] or "directory" in warnings[0]


def test_a_last_line_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The disk is full at the end: the record would end without a word, as that of a rollout that was killed."""
    (tmp_path / "file").write_text("")
    sink = RecordFile(tmp_path / "file")
    _, wanted = deploy()
    sink.write(record.header(wanted, Kind.DEPLOY, run="run", stack="p/s", started="2026-11-26T09:00:00+00:00"))
    sink._thread.join(10)  # as when the last line is the one that cannot be written
    with pytest.raises(OSError, match=r"exists|directory"):
        sink.close()


def test_a_text_that_is_no_unicode_is_kept(tmp_path: Path) -> None:
    """A byte of a console or of a path that is no UTF-8 would end the record there."""
    sink = RecordFile(tmp_path)
    _, wanted = deploy()
    sink.write(record.header(wanted, Kind.DEPLOY, run="run", stack="p/s", started="2026-11-26T09:00:00+00:00"))
    sink.write(Failed(at=1.0, reason="console: \udcff"))
    assert sink.close() is not None
    assert [entry.reason for entry in load(only(tmp_path)).entries if isinstance(entry, Failed)] == ["console: ?"]


def test_a_disk_that_does_not_respond_does_not_hold_up_a_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home folder on a server that is gone would keep users on half a rollout."""
    gone = threading.Event()
    monkeypatch.setattr(record_file, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(record_file, "_write", lambda _file, _line: gone.wait(60) and 0)
    world, wanted = deploy()
    run(world, wanted, recorder(RecordFile(tmp_path)))
    gone.set()
    assert world.serving() == {"tg-new"}
    assert f"warning: the record of this rollout is incomplete: {tmp_path} does not respond" in world.log


class Full:
    """A sink that takes so many lines."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, line: Line) -> None:
        del line
        self.room -= 1
        if self.room < 0:
            raise OSError(28, "No space left on device")

    def close(self) -> str | None:
        raise AssertionError("it has raised already")


@pytest.mark.parametrize("room", [0, 1, 7, 20])
def test_whatever_the_sink_raises_is_told_once(room: int) -> None:
    """A deploy would fail, or fill the log, at whichever line the disk is full."""
    world, wanted = deploy()
    outcome = run(world, wanted, Recorder(Full(room)))
    assert world.serving() == {"tg-new"}
    assert [line for line in world.log if "record" in line] == [
        "warning: the record of this rollout is incomplete: [Errno 28] No space left on device"
    ]
    assert len(outcome.steps) == 3, "Pulumi's state has them all the same"


def test_a_defect_of_the_record_is_none_of_the_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip in what is only told later would put the traffic back."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(record.Chronicle, "after", broken)
    world, wanted = deploy()
    run(world, wanted, Recorder())
    assert world.serving() == {"tg-new"}
    assert "warning: the record of this rollout is incomplete: ZeroDivisionError" in world.log


def test_a_defect_of_what_a_replay_reads_leaves_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading that no replay could read back would end the record for people as well."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    world, wanted = deploy(replace(STEPS, strategy=type(STEPS.strategy)()))
    with monkeypatch.context() as patched:
        patched.setattr(readings.Answers, "after", broken)
        run(world, wanted, recorder(RecordFile(tmp_path)))
    assert "warning: the record of this rollout is incomplete: ZeroDivisionError" in world.log
    names = lines_of(only(tmp_path))
    assert names.count("answers-cut") == 1
    assert "answer" not in names
    assert {"found", "phase", "step", "end"} <= set(names)


def test_what_a_replay_reads_ends_before_the_rest(tmp_path: Path) -> None:
    """The numbers that a report shows would be missing, for the sake of those that only a replay reads."""
    world, wanted = deploy()
    run(world, wanted, recorder(RecordFile(tmp_path, greatest=150_000)))
    names = lines_of(only(tmp_path))
    assert names.count("answers-cut") == 1
    assert "answer" not in names[names.index("answers-cut") :]
    assert "cut" not in names
    assert {"evidence", "weights-written", "step", "end"} <= set(names[names.index("answers-cut") :])


def test_a_record_has_a_greatest_size(tmp_path: Path) -> None:
    """A rollout of days would fill the deployer's disk."""
    world, wanted = deploy()
    run(world, wanted, recorder(RecordFile(tmp_path, greatest=2500)))
    names = lines_of(only(tmp_path))
    assert names.count("cut") == 1
    assert set(names[names.index("cut") + 1 :]) == {"step", "end"}
    assert load(only(tmp_path)).end is not None


def test_the_oldest_records_of_a_stack_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Years of deploys would pile up; or the newest records, or another's files, be deleted."""
    monkeypatch.setattr(record_file, "KEPT", 3)
    for year in range(2020, 2025):
        (tmp_path / f"{year}0101T000000Z-web-0.jsonl").write_text("{}\n")
    (tmp_path / "notes.txt").write_text("")
    world, wanted = deploy()
    run(world, wanted, recorder(RecordFile(tmp_path)))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:2] == ["20230101T000000Z-web-0.jsonl", "20240101T000000Z-web-0.jsonl"]
    assert names[2].startswith("20261126T120000Z-new-")
    assert names[3:] == ["notes.txt"]
    assert oct(only_new(tmp_path).stat().st_mode)[-3:] == "600"


def only_new(folder: Path) -> Path:
    (path,) = folder.glob("2026*")
    return path


HEADER = json.dumps(
    plain(Header(kind=Kind.DEPLOY, run="1", started="", service="", stack="", candidate="", trusted=False))
)
FOUND = json.dumps(plain(Found(at=1.0, previous=None, weights={})))


def test_a_reader_skips_what_came_later(tmp_path: Path) -> None:
    """A line that a newer Fleetswap of the same version adds would make its records unreadable."""
    path = tmp_path / "record.jsonl"
    later = json.dumps({"line": "weather", "at": 1, "rain": True})
    path.write_text(f'{HEADER}\n{later}\n{FOUND[:-1]}, "mood": 1}}\n')
    assert load(path).entries == (Found(at=1.0, previous=None, weights={}),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it has no whole line"),
        (HEADER, "it has no whole line"),
        ("no\n", "line 1 is not JSON"),
        ("[]\n", "line 1 is not a JSON object"),
        ("{}\n", "its first line is not a header"),
        (
            HEADER.replace('"version": 1', '"version": 2') + "\n",
            "is a record of version 2, .* reads version 1: ",
        ),
        (HEADER.replace('"run"', '"ran"') + "\n", "line 1, run: Field required"),
        (f"{HEADER}\n{{\n{FOUND}\n", "line 2 is not JSON"),
        (f"{HEADER}\n{'[' * 100_000}\n", "line 2 is not JSON"),
        (f'{HEADER}\n{{"line": "found"}}\n', r"line 2, found\.at: Field required"),
    ],
)
def test_what_is_no_record_is_refused_by_its_name(tmp_path: Path, text: str, why: str) -> None:
    """A report would be made of something else, or end with a traceback."""
    path = tmp_path / "record.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=f"{path.name} .*{why}"):
        load(path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load(tmp_path / "none")


def test_where_records_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records would be written into the checkout, outside of their folder, or not be found."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder_of("shop/prod", {}) == tmp_path / ".local/state/fleetswap/rollouts/shop/prod"
    assert folder_of("shop/prod", {"XDG_STATE_HOME": "here"}) == folder_of("shop/prod", {})
    assert folder_of("shop/prod", {"XDG_STATE_HOME": "/var/x"}) == Path("/var/x/fleetswap/rollouts/shop/prod")
    assert folder_of("../é b", {"XDG_STATE_HOME": "/x"}) == Path("/x/fleetswap/rollouts/_/__b")


def test_long_texts_are_cut() -> None:
    """What AWS says of one failed launch would fill the record."""
    assert len(str(plain(Failed(at=0.0, reason="x" * 9000))["reason"])) == record.LONGEST


def test_every_line_survives_its_way_through_json(tmp_path: Path) -> None:
    """A kind of line could be written and never be read."""
    worlds = [deploy(), deploy(error_rate=0.5), deploy(replace(STEPS, report_only=("errors",)), error_rate=0.5)]
    for number, (world, wanted) in enumerate(worlds):
        folder = tmp_path / str(number)
        with contextlib.suppress(Aborted):
            run(world, wanted, recorder(RecordFile(folder)))
        read = load(only(folder))
        texts = only(folder).read_text(encoding="utf-8").splitlines()
        told = [json.loads(text) for text in texts]
        kinds = {kind.line for kind in get_args(readings.Reading)}
        assert [plain(line) for line in (read.header, *read.entries)] == [
            line for line in told if line["line"] not in kinds
        ]
        assert [plain(line) for line in read.readings] == [line for line in told if line["line"] in kinds]
        assert of(Judged, read)
        assert isinstance(read.end, Ended)


def test_a_reading_without_a_response_is_read_back(tmp_path: Path) -> None:
    """The record of a rollout in which AWS once did not say who is healthy could not be read by anyone."""
    path = tmp_path / "record.jsonl"
    line = plain(MachinesRead(at=1.0, machines=Machines(3, None)))
    path.write_text(f"{HEADER}\n{json.dumps(line)}\n")
    assert load(path).entries == (MachinesRead(at=1.0, machines=Machines(3, None)),)


PAGE = Path(__file__).resolve().parents[2] / "docs/reference/rollout-record.md"


def test_the_page_names_every_line_and_every_field() -> None:
    """Whoever writes a report against the page would look for fields that are not there, or miss those that are."""
    sections = {
        heading.partition("\n")[0].strip(" `"): heading
        for heading in PAGE.read_text(encoding="utf-8").split("\n### ")[1:]
    }
    classes = {**{kind.line: kind for kind in (Header, *get_args(record.Entry | readings.Reading))}, **record.PARTS}
    assert list(sections) == list(classes)
    for name, section in sections.items():
        rows = [row.split("|")[1].strip(" `") for row in section.splitlines() if row.startswith("| `")]
        fields = [field for field in classes[name].__dataclass_fields__ if field != "line"]
        assert rows == fields, name
    text = PAGE.read_text(encoding="utf-8")
    for words in (Code, Check, Phase, Ending, Verdict, Kind, Unit):
        assert [each.value for each in words if f"`{each.value}`" not in text] == [], words
