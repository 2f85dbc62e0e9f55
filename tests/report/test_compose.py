"""What a report says: the record's own numbers, whatever the record is like."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.report.checks import Course
from fleetswap.domain.report.compose import report
from fleetswap.domain.report.model import Bar, Role, Sample, Tone
from fleetswap.domain.report.packages import packages
from fleetswap.domain.report.thin import FEW, thin
from fleetswap.domain.report.words import LONGEST, date, moment
from fleetswap.domain.rollout.findings import Code, Finding, Unit
from fleetswap.domain.rollout.health import Failure, Machines, Target, Verdict
from fleetswap.domain.rollout.notices import Ending
from fleetswap.domain.rollout.policy import Check
from fleetswap.domain.rollout.rates import Counts
from fleetswap.domain.rollout.record import (
    Cut,
    Entered,
    Entry,
    Failed,
    Found,
    Hooked,
    Judged,
    Kind,
    MachinesRead,
    NoAnswer,
    Paused,
    Step,
    TakenUp,
    WeightsSeen,
    Written,
)
from fleetswap.domain.rollout.state import Phase
from fleetswap.domain.timeline.model import Deploy, Span
from fleetswap.workflows.rollout.read_record import read
from tests.report.lines import HEADER, ended, errors, keys, made, plot, real, section
from tests.rollout.records import record_of

FOUND = Found(at=0.1, previous="live", weights={"live": 100})


def test_the_numbers_are_those_of_the_record() -> None:
    """A report that says something else than its record is worse than none."""
    entries, of = read(record_of("bad"), "bad").entries, real("bad")
    rules = [each for each in entries if isinstance(each, Found | Written | WeightsSeen)]
    weights = plot(of, "weights")
    assert [line.name for line in weights.lines] == ["new", "live"]
    assert [(each.at, each.values) for each in weights.samples] == [
        (each.at, (float(each.weights.get("new", 0)), float(each.weights.get("live", 0)))) for each in rules
    ]
    gate = [each for each in entries if isinstance(each, MachinesRead)]
    read_ = [(each.at, each.machines.healthy, each.machines.launched, each.machines.wanted) for each in gate]
    assert [(each.at, *each.values) for each in plot(of, "machines").samples][: len(read_)] == read_
    found = [
        (entry.at, each.candidate, each.live)
        for entry in entries
        if isinstance(entry, Judged)
        for each in entry.findings
        if each.check is Check.ERRORS
    ]
    shown = {(each.at, each.cells) for each in plot(of, "errors-rates").samples}
    assert shown <= {(at, tuple(f"{of.bad:,} of {of.requests:,}" for of in (a, b) if of)) for at, a, b in found}
    _, candidate, _ = found[-1]
    assert candidate is not None
    assert plot(of, "errors-rates").samples[-1].values[0] == 100 * candidate.bad / candidate.requests
    entered = [(each.phase, each.at) for each in entries if isinstance(each, Entered)]
    assert [(bar.lane, bar.ended) for bar in of.bars] == list(
        zip((Phase.LOOK, *(phase for phase, _ in entered)), (when for _, when in entered), strict=False)
    )
    assert of.until == entries[-1].at
    json.dumps(asdict(of), allow_nan=False)


def test_evidence_reaches_its_threshold_when_the_rollout_aborts() -> None:
    """The plot would show another test than the one that ended the rollout."""
    bad = plot(real("bad"), "errors-evidence")
    *before, last = bad.samples
    assert last.values[0] is not None
    assert last.values[0] >= 100
    assert all((each.values[0] or 0) < 100 for each in before)
    (failed,) = [at for at, name in real("bad").marks if name == "failed"]
    assert last.at <= failed
    good = plot(real("good"), "errors-evidence")
    assert [line.name for line in good.lines] == ["against live's rate", "against live's former rate"]
    assert max(value for each in good.samples for value in each.values if value is not None) < 100


def test_a_record_that_still_grows_gives_a_page() -> None:
    """Whoever looks while a rollout runs, or after its computer died, would get an error."""
    of = real("start")
    assert (of.ending, of.tone, of.bars[-1].open, of.bars[-1].ended) == ("unfinished", Tone.OPEN, True, of.until)
    assert "still runs, or its process was killed" in of.headline
    assert dict(of.facts)["took"] == "unknown"
    empty = report(HEADER, (), policy=None, course=Course())
    assert (empty.until, keys(empty)) == (0.0, ["timeline", "traffic", "machines"])
    assert "in the phase look" in empty.headline


def test_a_record_of_before_replays_has_no_evidence() -> None:
    """An old record would be refused, or an empty plot be taken for a candidate against which nothing spoke."""
    of = made(FOUND, Judged(at=9, findings=(errors(1, 10),)), Judged(at=11, findings=(errors(1, 10),)))
    (rates,) = section(of, "errors").plots
    assert [(each.at, each.values, each.cells) for each in rates.samples] == [(9, (10.0, None), ("1 of 10", "none"))]
    assert section(of, "errors").sentences[-1].endswith("because the readings cannot be replayed: it is old.")
    assert section(of, "errors").sentences[1].endswith("or a rate above 5.000%.")
    unknown = report(HEADER, (Judged(at=9, findings=(errors(0, 0),)),), policy=None, course=Course())
    assert plot(unknown, "errors-rates").samples[0].values == (None, None)


BACK = (
    Entered(at=5, phase=Phase.SHIFT),
    Written(at=6, weights={"live": 95, "new": 5}),
    Failed(at=7, reason="it fails"),
    Entered(at=7, phase=Phase.COMPARE),
    Written(at=8, weights={"live": 100}),
    WeightsSeen(at=8.5, weights={"live": 100}),
    Entered(at=9, phase=Phase.DONE),
)


@pytest.mark.parametrize(
    ("entries", "tone", "headline", "said"),
    [
        (
            (Written(at=6, weights={"new": 100}), ended(7, Ending.SUCCEEDED, "new")),
            Tone.GOOD,
            "new is live: it has had all the traffic since 6.0 s after the start. The rollout took 7.0 s.",
            None,
        ),
        (
            (ended(7, Ending.SUCCEEDED, "new"),),
            Tone.GOOD,
            "new is live: it has had all the traffic. The rollout took 7.0 s.",
            None,
        ),
        (
            (*BACK, ended(9, Ending.ROLLED_BACK, reason="it fails")),
            Tone.BAD,
            "The rollout of new failed at 7.0 s, and the traffic was restored. Serving now: live.",
            ("The weights were restored at 8.0 s: live 100 %.",),
        ),
        (
            (ended(9, Ending.ROLLED_BACK),),
            Tone.BAD,
            "The rollout of new failed, and the traffic was restored. Serving now: live.",
            ("No traffic had moved to new, so no weights had to be restored.",),
        ),
        (
            (Failed(at=7, reason="no"), ended(7, Ending.ABORTED)),
            Tone.BAD,
            "The rollout of new was aborted before any traffic moved. Serving now: live.",
            ("No traffic had moved to new, so no weights had to be restored.",),
        ),
        (
            (*BACK[:4], ended(7, Ending.FAILED, "nobody knows", problems=("the weights", "<b>"))),
            Tone.BAD,
            "The rollout of new failed. Serving now: nobody knows.",
            (
                "The record has no weights that were written after the failure.",
                "Not restored: the weights.",
                "Not restored: <b>.",
            ),
        ),
    ],
)
def test_every_ending_says_what_became_of_the_traffic(
    entries: tuple[Written, ...], tone: Tone, headline: str, said: tuple[str, ...] | None
) -> None:
    """The first sentence of a report would be wrong."""
    of = made(FOUND, *entries)
    assert (of.tone, of.headline) == (tone, headline)
    assert ("restored" in keys(of)) is (said is not None)
    if said is not None:
        assert section(of, "restored").sentences == said


def test_what_was_put_back_is_told_in_order() -> None:
    """A reader could not see when the users had the old release again."""
    of = made(FOUND, *BACK, ended(9, Ending.ROLLED_BACK, reason="it fails"))
    table = section(of, "restored").table
    assert table is not None
    assert [row[:2] for row in table.rows] == [
        ("7.0 s", "failed"),
        ("7.0 s", "phase"),
        ("8.0 s", "weights written"),
        ("8.5 s", "weights seen"),
        ("9.0 s", "phase"),
        ("9.0 s", "end"),
    ]
    assert of.reason == "it fails"
    assert [(bar.lane, bar.note, bar.role) for bar in of.bars] == [
        ("look", "", Role.CANDIDATE),
        ("shift", "5 %", Role.CANDIDATE),
        ("compare", "", Role.BACK),
    ]
    killed = made(FOUND, *BACK[:4], TakenUp(at=7.5, reason="killed"))
    assert killed.reason == "it fails"
    assert killed.marks == ((7, "failed"), (7.5, "guardian"))


def test_a_first_deploy_and_a_rollback_have_pages() -> None:
    """A rollout without a previous release, or one that no settings judge, would have none."""
    first = made(Found(at=0, previous=None, weights={}), Written(at=3, weights={"new": 100}))
    assert dict(first.facts)["previous release"] == "none"
    assert plot(first, "weights").says == "The weight of each release over time, from no rule to new 100 %."
    assert [each.values for each in plot(first, "weights").samples] == [(0.0,), (100.0,)]
    back = made(FOUND, header=replace(HEADER, kind=Kind.ROLLBACK, trusted=True, standby="live"))
    assert dict(back.facts)["kind"] == "rollback --now, of a release that was live before"
    assert section(back, "traffic").sentences == ("new had no traffic.",)
    assert "errors" in keys(back)
    assert section(back, "errors").sentences == ("No requests were judged before the rollout ended.",)
    assert keys(report(HEADER, (FOUND,), policy=None, course=Course())) == ["timeline", "traffic", "machines"]


def test_machines_that_did_not_become_healthy_are_listed() -> None:
    """The reason of a failed gate would have to be looked for in the lines."""
    starting = Target("i-1", "initial", "Elb.InitialHealthChecking")
    sick = Target("i-2", "unhealthy", "Target.Timeout", "Request timed out")
    failure = Failure("a-1", "no capacity")
    read_: list[Entry] = [
        MachinesRead(at=1, machines=Machines(4, 0, 0, (starting,), weighted=True)),
        MachinesRead(at=2, machines=Machines(4, None, None, (sick,), failures=(failure,), weighted=True)),
        Judged(at=3, findings=(Finding(Check.HEALTH, Verdict.WAIT, machines=Machines(4, 2, weighted=True)),)),
    ]
    of = section(made(*read_), "machines")
    assert of.sentences == ("At the last reading 2 of 4 units of capacity were healthy.",)
    assert of.plots[0].title == "Healthy capacity"
    assert [each.values for each in of.plots[0].samples] == [(0, 0, 4), (None, None, 4), (2, None, 4)]
    assert of.table is not None
    assert of.table.rows == (
        ("2.0 s", "machine i-2", "unhealthy Target.Timeout Request timed out"),
        ("2.0 s", "launch a-1", "no capacity"),
    )
    last = section(made(read_[0]), "machines")
    assert last.table is not None
    assert last.table.rows == (("1.0 s", "machine i-1", "initial Elb.InitialHealthChecking"),)
    unknown = section(made(read_[1]), "machines")
    assert unknown.sentences == ("At the last reading unknown of 4 units of capacity were healthy.",)


def test_steps_and_events_are_listed() -> None:
    """What a step was passed on, or why a rollout took so long, would not be there."""
    slow = Finding(Check.SLOWNESS, Verdict.PROMOTE, value=0.0, unit=Unit.RATE, candidate=Counts(9, 0))
    step = Step(at=70, began=10, weight=5, hold=60, min_requests=20, verdict=Verdict.PROMOTE, findings=(slow,))
    of = made(step, replace(step, hold=math.inf, findings=()), NoAnswer(at=20, reason="read\x1b[31m it"), Cut(at=30))
    table = section(of, "steps").table
    assert table is not None
    assert table.rows == (
        ("5 %", "10.0 s", "1:00", "1:00, 20 requests", "promote", "slow: candidate 0 of 9 (0 %)"),
        ("5 %", "10.0 s", "1:00", "unknown", "promote", "not watched"),
    )
    events = section(of, "events").table
    assert events is not None
    assert [row[1:] for row in events.rows] == [
        ("no response", "read it"),
        ("record cut", "The record reached its size: only steps and the end follow."),
    ]
    many = section(made(*(NoAnswer(at=at, reason=str(at)) for at in range(1000))), "events").table
    assert many is not None
    assert (len(many.rows), many.left_out, many.rows[0][2], many.rows[-1][2]) == (60, 940, "0", "999")


def test_damaged_numbers_and_long_texts_do_no_harm() -> None:
    """One line of nonsense would make all axes useless, or the page enormous."""
    nonsense = (
        Found(at=math.nan, previous="x", weights={"x": 1}),
        Written(at=-5, weights={"new": 5}),
        Written(at=1e300, weights={"new": 5}),
        Written(at=4, weights={"new": -(10**400), **{f"r{number}": 1 for number in range(9)}}),
        MachinesRead(at=5, machines=Machines(10**400, 10**400)),
        Judged(at=6, findings=(errors(10, 9),)),
        Judged(at=6, findings=(replace(errors(1, 1), candidate=Counts(10**400, 1)),)),
        Judged(at=6, findings=(replace(errors(1, 1), candidate=None),)),
        Step(at=7, began=math.nan, weight=5, hold=60, min_requests=20, verdict=Verdict.PROMOTE),
        NoAnswer(at=8, reason="x" * 10**6),
    )
    of = made(*nonsense)
    assert of.until == 8
    assert [each.values for each in plot(of, "weights").samples] == [(None, 1, 1, 1, 1, 1)]
    assert plot(of, "machines").samples[0].values == (None, None, None)
    assert plot(of, "errors-rates").samples[0].values == (None, None)
    events = section(of, "events").table
    assert events is not None
    assert len(events.rows[0][2]) == LONGEST
    json.dumps(asdict(of), allow_nan=False)


DEPLOY = Deploy(
    release="new",
    previous="live",
    service="web",
    stack="shop/prod",
    region="eu-west-1",
    kind="deploy",
    outcome="succeeded",
    run="r",
    started="2026-11-26T11:58:30.000+00:00",
    ended="2026-11-26T12:00:10.000+00:00",
    spans=(
        Span("commit", "2026-11-25T12:00:00.000+00:00", 0.0),
        Span("build", "2026-11-26T11:58:30.000+00:00", 60.0, 45.0),
        Span("gate", "2026-11-26T12:00:00.000+00:00", 3.0),
        Span("live", "2026-11-26T12:00:05.000+00:00", 0.0),
    ),
    commit="0123456789abcdef",
    subject="<b>faster",
    budgets={"start to live": 90.0},
)


def test_what_happened_before_the_rollout_comes_first() -> None:
    """The timeline would begin with the rollout, though the build took longer, or with yesterday's commit."""
    of = made(FOUND, Entered(at=3, phase=Phase.SCALE), deploy=DEPLOY)
    table = section(of, "timeline").table
    assert table is not None
    assert table.rows == (
        ("build", "-1:30", "1:00"),
        ("look", "0.0 s", "3.0 s"),
        ("scale", "3.0 s", "0.0 s until the record ends"),
    )
    assert of.bars[0] == Bar("build", -90, -30, Role.EARLIER)
    assert section(of, "timeline").sentences == (
        "Over budget: build took 1:00, and may take 45.0 s.",
        "Over budget: start to live took 1:35, and may take 1:30.",
    )
    facts = dict(of.facts)
    assert (facts["commit"], facts["region"]) == ("0123456789ab <b>faster", "eu-west-1")
    assert facts["start to live"] == "1:35"
    unknown = made(FOUND, deploy=replace(DEPLOY, commit=None, region=""))
    assert "commit" not in dict(unknown.facts)
    damaged = made(FOUND, header=replace(HEADER, started="soon"), deploy=DEPLOY)
    assert [bar.lane for bar in damaged.bars] == ["look"]


def test_a_long_series_keeps_its_extremes() -> None:
    """One bad minute in hours would vanish from the plot."""
    samples = [Sample(float(at), (float(at % 7), None)) for at in range(100_000)]
    samples[54_321] = replace(samples[54_321], values=(99.0, None))
    samples[54_322] = replace(samples[54_322], values=(-99.0, None))
    kept = thin(samples)
    assert {samples[0], samples[-1], samples[54_321], samples[54_322]} <= {*kept}
    assert len(kept) < FEW
    assert [each.at for each in kept] == sorted(each.at for each in kept)
    assert thin(samples[:FEW]) == tuple(samples[:FEW])
    assert len(thin([replace(samples[0])] * (FEW + 1))) <= 3


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1:00"), (-75, "-1:15"), (3723, "1:02:03")]
)
def test_times_are_worded(seconds: float, said: str) -> None:
    """Two times could not be compared."""
    assert moment(seconds) == said


def test_the_time_of_the_start_is_in_utc() -> None:
    """A reader would take it for the time of another zone."""
    assert date("2026-11-26T13:00:00.000+01:00") == "2026-11-26 12:00:00 UTC"
    assert date("soon\x00") == "soon"


CHANGES = {
    "from": {"release": "live", "image": "/nix/store/a"},
    "to": {"release": None, "image": "/nix/store/b"},
    "kernel": [{"name": "linux", "before": ["6.12.1"], "after": ["6.12.2"]}],
    "packages": {
        "versions": [{"name": "openssl", "before": ["3.6.0"], "after": ["3.6.1", "3.7"]}],
        "changed": [],
        "added": [{"name": "<script>", "before": [], "after": ["1"]}],
        "removed": [],
    },
    "units": {"added": [], "removed": [], "changed": ["web.service"]},
    "files": {"added": ["x.conf"], "removed": [], "changed": []},
    "rebuilt": {"packages": ["curl"], "because": ["openssl"]},
    "size": {"before": 10**9, "after": 2 * 10**9},
}


def test_package_changes_are_shown() -> None:
    """A reader would not see what is new in the image."""
    found = packages(CHANGES)
    assert found.sentences == (
        "From live to /nix/store/b.",
        "1 package rebuilt because of changes in openssl.",
        "All store paths: 1.0 GB before, 2.0 GB after.",
    )
    assert found.table is not None
    assert found.table.rows == (
        ("kernel", "linux", "6.12.1", "6.12.2"),
        ("version", "openssl", "3.6.0", "3.6.1, 3.7"),
        ("added", "<script>", "", "1"),
        ("unit changed", "web.service", "", ""),
        ("file added", "x.conf", "", ""),
    )
    assert "packages" in keys(made(FOUND, packages=found))
    none: dict[str, list[str]] = {"added": [], "removed": [], "changed": []}
    nothing = {**CHANGES, "kernel": [], "packages": {**none, "versions": []}, "units": none, "files": none}
    nothing |= {"rebuilt": {"packages": [], "because": []}, "size": None}
    assert packages(nothing).sentences == ("From live to /nix/store/b.", "No package changes.")


@pytest.mark.parametrize(
    "wrong", [None, [], {}, "x", {**CHANGES, "kernel": [{"name": "a", "before": "b", "after": []}]}]
)
def test_other_json_is_no_package_changes(wrong: object) -> None:
    """The file of something else would end in a traceback."""
    with pytest.raises(InputError, match=r"the package changes are not what `fleetswap diff --json` prints"):
        packages(wrong)


@pytest.mark.parametrize(
    "finding",
    [
        Finding(Check.HEALTH, Verdict.PROMOTE),
        Finding(Check.METRICS, Verdict.ABORT, Code.WRONG, value=1.0, limit=2.0),
        Finding(Check.ERRORS, Verdict.ABORT, Code.ABOVE_LIVE, candidate=Counts(10, 1)),
        Finding(Check.ERRORS, Verdict.ABORT, Code.ABOVE_CEILING, candidate=Counts(10, 1), limit=math.nan),
        Finding(Check.REQUESTS, Verdict.WAIT, value="x", limit=1),
        errors(-1, 10),
    ],
)
def test_a_finding_that_makes_no_sense_costs_itself_alone(finding: Finding) -> None:
    """A damaged record would end in a traceback, or lose the steps beside the damage."""
    of = made(
        Step(
            at=9, began=5, weight=5, hold=1, min_requests=2, verdict=Verdict.PROMOTE, findings=(finding, errors(1, 10))
        ),
        Judged(at=9, findings=(finding, errors(1, 10))),
    )
    steps = section(of, "steps").table
    assert steps is not None
    assert [row[5] for row in steps.rows] == ["5xx: candidate 1 of 10 (10 %)"]
    assert plot(of, "errors-rates").samples[-1].cells[0] == "1 of 10"
    json.dumps(asdict(of), allow_nan=False)


def test_hooks_pauses_freezes_and_metrics_are_told() -> None:
    """A page would not say who let a frozen service pass, what a hook refused, or why a rollout stood still."""
    lag = Finding(Check.METRICS, Verdict.PROMOTE, subject="lag", value=1.5, limit=4.0, row=(1, 2))
    high = replace(lag, verdict=Verdict.ABORT, code=Code.ABOVE_MAX, value=9.0, row=(2, 2))
    of = made(
        replace(FOUND, freeze="\x1b[31mXmas; let pass by --overrule"),
        Entered(at=1, phase=Phase.PAUSE),
        Paused(at=5, began=1, before=0, deadline=60, otherwise="abort", verdict=Verdict.PROMOTE),
        Paused(at=6, began=5, before=25, deadline=math.inf, otherwise="continue", verdict=Verdict.ABORT),
        Entered(at=6, phase=Phase.HOOK),
        Hooked(at=8, began=6, moment="after-step", hook="smoke.sh", weight=5, verdict=Verdict.PROMOTE),
        Hooked(at=9, began=8, moment="end", hook="<b>", weight=5, verdict=Verdict.ABORT, reason="exit 1"),
        Hooked(at=9, began=math.nan, moment="end", hook="x", weight=5, verdict=Verdict.ABORT),
        Judged(at=10, findings=(lag,)),
        Judged(at=11, findings=(replace(lag, value=1.6),)),
        Judged(at=12, findings=(replace(lag, value=1.7), errors(0, 5))),
        Judged(at=13, findings=(high,)),
    )
    events = section(of, "events")
    assert events.sentences == ()
    assert events.table is not None
    assert [row[1:] for row in events.table.rows] == [
        ("freeze", "Xmas; let pass by --overrule"),
        ("pause", "promote: waited 4.0 s of 1:00 for a person, before any traffic; after that, abort"),
        ("pause", "abort: waited 1.0 s for a person, before the step of 25 %; after that, continue"),
        ("hook, after-step", "promote: smoke.sh took 2.0 s, at 5 % of the traffic"),
        ("hook, end", "abort: <b> took 1.0 s, at 5 % of the traffic: exit 1"),
    ]
    metrics = section(of, "metrics").table
    assert metrics is not None
    assert metrics.rows == (
        ("10.0 s", "promote", "metric lag is 1.5; the limit is 4 (1 of 2 in a row)"),
        ("13.0 s", "abort", "metric lag is 9; more than max 4 (2 of 2 in a row)"),
    )
    assert [bar.lane for bar in of.bars] == ["look", "pause", "hook"]
    still = section(made(Judged(at=1, findings=(lag,)), Judged(at=2, findings=(replace(lag, value=3.0),))), "metrics")
    assert still.table is not None
    assert [row[0] for row in still.table.rows] == ["1.0 s", "2.0 s"]
    codes = [replace(lag, code=(Code.OK, Code.UNSETTLED)[at % 2]) for at in range(100)]
    many = section(made(*(Judged(at=at, findings=(each,)) for at, each in enumerate(codes))), "metrics").table
    assert many is not None
    assert (len(many.rows), many.left_out) == (60, 40)
