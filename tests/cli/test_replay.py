"""`fleetswap replay`: from a file and from a pipe, as text and as JSON, and what it refuses."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from fleetswap.domain.rollout.record import Kind
from tests.cli.conftest import Ran
from tests.rollout.records import record_of
from tests.rollout.test_metric_reader import deploy as measured_deploy
from tests.rollout.test_metric_reader import run as measured_run
from tests.rollout.test_record import only


@pytest.fixture
def bad(tmp_path: Path) -> str:
    """The record of a candidate that failed in its first step."""
    path = tmp_path / "record.jsonl"
    path.write_bytes(record_of("bad"))
    return str(path)


def test_it_tells_what_the_rollout_did(cli: Callable[..., Ran], bad: str) -> None:
    """Whoever looks at a failed deploy would have to read its lines of JSON."""
    ran = cli("replay", bad)
    assert (ran.status, ran.err) == (0, "")
    head, *told, said = ran.out.splitlines()
    assert head == "web: rollout of new, begun 2026-11-26T12:00:00.000+00:00, replayed"
    assert told[-1].startswith("      4:22  done      end: with 5 % of the traffic on new, 5xx: candidate 4 of 124")
    assert said == "all 287 actions are the same, at the same times"


def test_it_reads_a_pipe_and_other_settings(cli: Callable[..., Ran], bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ssh ci cat RECORD | fleetswap replay -` would need a file."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(Path(bad).read_bytes())))
    ran = cli("replay", "-", "--set", "errors.alpha=0.4", "--set", "fleetswap:rollout.warm=5")
    head, *_, said = ran.out.splitlines()
    assert head.endswith("replayed with errors.alpha=0.4, fleetswap:rollout.warm=5")
    assert said.startswith("it would have aborted at 2:26 in the step with 5 %, 1:55 before the rollout did: ")


def test_a_script_gets_every_action(cli: Callable[..., Ran], bad: str) -> None:
    """A script would have to read the words."""
    same = cli("replay", bad, "--json").result
    assert (same["parts"], same["incomplete"], same["set"]) == (None, None, [])
    assert (same["service"], same["stack"], same["candidate"]) == ("web", "shop/prod", "new")
    assert len(same["actions"]) == 287
    assert not any("rollout" in action for action in same["actions"])
    sooner = cli("replay", bad, "--json", "--set", "errors.alpha=0.4").result
    assert sooner["parts"].keys() == {"how", "at", "rollout_at"}
    assert sooner["parts"]["how"] == "fails"
    assert sooner["parts"]["at"] < sooner["parts"]["rollout_at"]
    *_, last = sooner["actions"]
    assert (last["action"], last["phase"], last["rollout"]["action"]) == ("compare", "compare", "wait")
    held = cli("replay", bad, "--json", "--set", "strategy=all-at-once").result
    assert held["parts"] == {"how": "otherwise", "at": held["actions"][-1]["at"], "rollout_at": None}


def test_all_that_is_wrong_is_told_together(cli: Callable[..., Ran], bad: str) -> None:
    """Each run would tell of one more mistake, or a misspelled setting would change nothing."""
    wrong = [
        "errors.alpha=9",
        "foo=1",
        "slow=2",
        "probe_path=/x",
        'alarms=["errors", "other"]',
        "x",
        "errors.x=1",
        "strategy[7].hold=1",
        "strategy.hold=1",
        "warm.x=1",
        "A=1",
    ]
    ran = cli("replay", bad, *(word for each in wrong for word in ("--set", each)))
    assert ran.status == 2
    start, *problems = ran.error.split("; ")
    assert start == (
        "the settings are not valid for a replay: probe_path: cannot be replayed: another probe would have got another"
        " response"
    )
    assert problems == [
        "x: must be KEY=VALUE",
        "strategy[7].hold: there is no such key",
        "strategy.hold: there is no such key",
        "warm.x: there is no such key",
        "A: is not a setting",
        "alarms: the rollout did not read alarm other",
        "slow: the rollout counted those above 1 s",
        "errors.alpha: must be 0.5 or less, not 9",
        "errors.x: there is no such key",
        "foo: there is no such key",
    ]
    assert "slowness.ceiling" not in ran.error


def test_what_was_never_counted_is_not_judged(cli: Callable[..., Ran], tmp_path: Path) -> None:
    """No figures would be taken for good ones."""
    header, *rest = record_of("bad").splitlines()
    plain = json.loads(header)
    plain["policy"].update(errors=None, slow=None)
    plain["policy"]["strategy"]["steps"][0]["min_requests"] = 0
    path = tmp_path / "uncounted.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in (json.dumps(plain).encode(), *rest)))
    ran = cli("replay", str(path), "--set", "errors.alpha=0.01", "--set", "slow=1")
    assert ran.error == (
        "the settings are not valid for a replay: slow: the rollout did not count slow responses; the rollout counted"
        " no requests: errors, slow and min_requests cannot be replayed"
    )


def test_what_cannot_be_replayed_is_refused(cli: Callable[..., Ran], tmp_path: Path, bad: str) -> None:
    """A file that is no record, or a rollback that no settings have judged, would be taken for a deploy."""
    assert "No such file" in cli("replay", str(tmp_path / "none")).error
    path = tmp_path / "rollback.jsonl"
    text = Path(bad).read_text().replace(f'"kind": "{Kind.DEPLOY}"', f'"kind": "{Kind.ROLLBACK}"', 1)
    path.write_text(text)
    ran = cli("replay", str(path), "--set", "warm=5")
    assert (ran.status, ran.error) == (
        2,
        f"{path}: `fleetswap rollback --now` does not go by the settings, so --set has no meaning",
    )
    assert cli("replay", str(path)).status == 0


@pytest.fixture
def measured(tmp_path: Path) -> str:
    """The record of a good candidate, judged by two metrics; only the first is compared with live."""
    world, wanted = measured_deploy()
    measured_run(world, wanted, folder=tmp_path / "records")
    return str(only(tmp_path / "records"))


def test_the_limit_of_a_metric_can_be_another_one(cli: Callable[..., Ran], measured: str) -> None:
    """A limit would be found by deploys that fail."""
    same = cli("replay", measured, "--set", "metrics[0].at_most=3", "--set", "metrics[1].max=7")
    assert same.status == 0
    assert same.out.splitlines()[-1].startswith("it would have gone the same way")
    stricter = cli("replay", measured, "--set", "metrics[1].max=0.5").out.splitlines()[-1]
    assert "metric lag is 1; more than max 0.5" in stricter
    assert "it would have aborted" in stricter
    compared = cli("replay", measured, "--set", "metrics[0].max=0.5", "--set", "metrics[1].consecutive=1")
    assert "metric refusals is 1; more than max 0.5" in compared.out
    assert cli("replay", measured, "--set", "metrics=[]").status == 0, "what was read need not be judged"


def test_what_no_rollout_has_asked_is_not_judged(cli: Callable[..., Ran], measured: str) -> None:
    """The values of one query would be judged as those of another one, or live's as if they were known."""
    wrong = [
        "metrics[0].cloudwatch.statistic=Average",
        "metrics[1].at_most=2",
        "metrics[2].max=1",
        "metrics[1].prometheus.query=up",
    ]
    ran = cli("replay", measured, *(word for each in wrong for word in ("--set", each)))
    start, *problems = ran.error.split("; ")
    assert (ran.status, start) == (2, "the settings are not valid for a replay: metrics[2].max: there is no such key")
    assert problems[:3] == [
        "metrics[0]: the rollout asked another query",
        "metrics[1]: the rollout asked another query",
        "metrics[1]: the rollout did not read the live release's values",
    ]
    other = (
        'metrics=[{"name":"lag","max":1,"cloudwatch":{"namespace":"a","metric":"b","statistic":"Sum"}},{"name":"x"},7]'
    )
    ran = cli("replay", measured, "--set", other)
    assert ran.status == 2
    for problem in (
        "metrics[0]: the rollout asked another query",
        *(f"metrics[{n}]: the rollout did not" for n in (1, 2)),
    ):
        assert problem in ran.error
    renamed = cli("replay", measured, "--set", "metrics[0].name=other").error
    assert "metrics[0]: the rollout did not read such a metric" in renamed
