"""`fleetswap history` and `fleetswap show`: what they find in the state and in the records, and what if they do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetswap.cli import engine
from fleetswap.cli.engine import EngineError
from fleetswap.domain.errors import InputError
from fleetswap.domain.timeline.model import Deploy, to_plain
from tests.cli.conftest import Ran
from tests.rollout.records import record_of
from tests.timeline.examples import DEPLOY, deploy

ROLLOUT = "pulumi-python:dynamic/fleetswap:Rollout"


class Engine:
    """Pulumi, whose backend has these deploys; or it fails."""

    def __init__(self, *deploys: Deploy, error: str = "") -> None:
        history = [to_plain(each) for each in deploys]
        self._state = {"deployment": {"resources": [{"type": ROLLOUT, "outputs": {"history": history}}]}}
        self._error = error

    def selected(self) -> str:
        return "prod"

    def state(self, stack: str) -> dict[str, Any]:
        assert stack in {"prod", "org/shop/prod"}
        if self._error:
            raise EngineError(self._error, 255)
        return self._state


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The project `shop`, and what pulumi has."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def has(*deploys: Deploy, error: str = "") -> None:
        monkeypatch.setattr(engine, "find", lambda _folder: Engine(*deploys, error=error))

    has()
    return has


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """The folder of the stack's records, with one of a deploy that was rolled back."""
    folder = tmp_path / "state" / "fleetswap" / "rollouts" / "shop" / "prod"
    folder.mkdir(parents=True)
    (folder / "20261126T120000Z-new-1.jsonl").write_bytes(record_of("bad"))
    return folder


@pytest.mark.usefixtures("records")
def test_it_merges_the_state_and_the_records(cli: Callable[..., Ran], shop: Callable[..., None]) -> None:
    """A failed deploy is in no state, and one of another computer in no record: half of the story would be missing."""
    shop(DEPLOY)
    ran = cli("history")
    assert (ran.status, ran.err) == (0, "")
    assert [line.split()[2:4] for line in ran.out.splitlines()] == [["RELEASE", "REGION"], *ran_rows(ran)]
    assert ran_rows(ran) == [["web-7f3a1b2c", "eu-central-1"], ["new", "-"]]
    found = cli("history", "--json", "--stack", "org/shop/prod").result
    assert (found["stack"], found["unread"]) == ("shop/prod", [])
    assert [each["outcome"] for each in found["deploys"]] == ["succeeded", "rolled back"]
    first = found["deploys"][0]
    assert first["totals"] == {"start to live": 136.0, "commit to live": 256.0}
    assert first["over_budget"] == ["build", "start to live"]
    assert len(cli("history", "--json", "--limit", "1").result["deploys"]) == 1
    here = cli("history", "--json", "--region", "eu-central-1").result["deploys"]
    assert [each["release"] for each in here] == ["web-7f3a1b2c"]


def ran_rows(ran: Ran) -> list[list[str]]:
    """Release and region of each row of a table."""
    return [line.split()[2:4] for line in ran.out.splitlines()[1:]]


def test_one_source_is_enough(cli: Callable[..., Ran], shop: Callable[..., None], records: Path) -> None:
    """While the backend is down, nobody could see what was deployed; or nobody would know that it is not all."""
    shop(error="the backend is down")
    ran = cli("history", "--stack", "prod")
    assert ran.status == 0
    assert ran.err == "warning: the state of stack prod cannot be read: the backend is down\n"
    assert "rolled back" in ran.out
    assert cli("history", "--json").result["unread"] == ["the state of stack prod cannot be read: the backend is down"]
    (records / "20261127T120000Z-new-2.jsonl").write_bytes(b"{}\n")
    shop(DEPLOY)
    ran = cli("history")
    assert (ran.status, ran.out.count("\n")) == (0, 3)
    assert "20261127T120000Z-new-2.jsonl is not the record of a rollout" in ran.err


def test_nothing_that_could_be_read_is_an_error(
    cli: Callable[..., Ran], shop: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty table would say that nothing was ever deployed."""
    shop(error="the backend is down")
    ran = cli("history")
    assert ran.status == 1
    assert ran.error.startswith("stack shop/prod: no deploy is known, and not all could be read: the state of stack")
    shop()
    ran = cli("history")
    assert (ran.status, ran.out, ran.err) == (0, "", "stack shop/prod: no deploy is known\n")
    assert cli("history", "--json").result["deploys"] == []
    monkeypatch.chdir(tmp_path)
    assert cli("history").status == 2
    assert cli("history", "--stack", "prod").error.startswith("no Pulumi project here")


@pytest.mark.usefixtures("shop", "records")
def test_the_records_need_no_project(cli: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the computer of a CI system, what failed could not be looked at without a checkout."""
    monkeypatch.chdir(tmp_path)
    ran = cli("show", "new", "--stack", "org/shop/prod")
    assert (ran.status, ran.out.splitlines()[0]) == (0, "web: deploy of new in place of live, rolled back")
    assert ran.err == "warning: the state is not read, because there is no Pulumi project here\n"


@pytest.mark.usefixtures("shop")
def test_no_stack_is_selected(cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback would say less."""
    monkeypatch.setattr(Engine, "selected", lambda _self: "")
    assert cli("history").error == "no stack is selected: name one with --stack"

    def missing(_folder: Path) -> None:
        raise InputError("`pulumi` is not on PATH: install it")

    monkeypatch.setattr(engine, "find", missing)
    assert cli("history").error.startswith("`pulumi` is not on PATH")
    assert "state of stack prod cannot be read: `pulumi` is not on PATH" in cli("history", "--stack", "prod").error


def test_a_deploy_is_shown(cli: Callable[..., Ran], shop: Callable[..., None]) -> None:
    """Nobody could find what makes a deploy slow."""
    shop(DEPLOY, deploy(release="web-02aa0000", run="ab", outcome="failed", ended="2026-11-27T10:00:00.000+00:00"))
    for name in ("live", "7f3a"):
        ran = cli("show", name)
        assert (ran.status, ran.out.splitlines()[0]) == (
            0,
            "web: deploy of web-7f3a1b2c in place of web-91bc0d3e in eu-central-1, succeeded",
        )
    assert ran.err.splitlines() == [
        "warning: over budget: build took 20.0 s, and fleetswap:budgets.build is 15 s",
        "warning: over budget: start to live took 2:16, and fleetswap:budgets.start_to_live is 120 s",
    ]
    found = cli("show", "live", "--json")
    assert found.err == ""
    assert {key: found.result[key] for key in to_plain(DEPLOY)} == json.loads(json.dumps(to_plain(DEPLOY)))
    assert cli("show", "api").status == 2


def test_a_script_learns_that_a_deploy_was_slow(cli: Callable[..., Ran], shop: Callable[..., None]) -> None:
    """A CI system would go on with a deploy that takes longer each week."""
    shop(DEPLOY)
    ran = cli("show", "live", "--strict")
    assert ran.status == 6
    assert ran.error.startswith("the deploy of web-7f3a1b2c is over budget: build took 20.0 s, and fleetswap:budgets")
    assert ran.out
    shop(deploy(budgets={}, spans=DEPLOY.spans[-2:]))
    assert cli("show", "live", "--strict").status == 0
