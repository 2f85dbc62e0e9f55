"""`fleetswap doctor`: one line for each thing that is there, old, missing or wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.cli.conftest import Ran

PLUGIN = version("pulumi-aws")
SETTINGS = {
    "aws:region": "us-east-1",
    "fleetswap:service": "web",
    "fleetswap:image": {"file": "web.raw"},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the stack prod, and no tool on PATH."""
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    write(tmp_path, SETTINGS)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, settings: Mapping[str, object]) -> None:
    """The settings of the stack. JSON is YAML."""
    (folder / "Pulumi.prod.yaml").write_text(json.dumps({"config": settings}))


def tool(folder: Path, name: str, body: str = "") -> None:
    """Put a script on PATH."""
    path = folder / "bin" / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def pulumi(folder: Path, *, says: str = "v" + version("pulumi"), plugins: str = "[]") -> None:
    """An installation of Pulumi."""
    tool(folder, "pulumi", f"case $1 in version) echo {says};; plugin) echo '{plugins}';; esac")
    tool(folder, "pulumi-language-python")


def checks(ran: Ran) -> dict[str, tuple[str, str]]:
    """State and detail of each check."""
    return {each["check"]: (each["state"], each["detail"]) for each in ran.result["checks"]}


def test_all_is_well(folder: Path, endpoint: str, cli: Callable[..., Ran]) -> None:
    """A user with a working set-up would be sent to mend it."""
    pulumi(folder, plugins=json.dumps([{"name": "aws", "kind": "resource", "version": PLUGIN}]))
    ran = cli("doctor", "--json", "--endpoint-url", endpoint)
    assert (ran.status, ran.err) == (0, "")
    found = checks(ran)
    assert {state for name, (state, _) in found.items() if name != "permissions"} == {"ok"}, found
    state, why = found["permissions"]
    assert (state, why.startswith("IAM does not simulate arn:")) == ("skipped", True), why
    names = [
        "fleetswap",
        "pulumi",
        "python host",
        "aws plugin",
        "settings",
        "region",
        "credentials",
        "account",
        "clock",
        "permissions",
        "quotas",
    ]
    assert list(found) == names
    assert found["aws plugin"] == ("ok", PLUGIN)
    assert found["credentials"][1].endswith("from env")


def test_nothing_is_there(folder: Path, cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing that is missing would hide the others, or end in a traceback."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    write(folder, SETTINGS | {"fleetswap:image": ".#web", "fleetswap:capacity": {"min": 0}})
    ran = cli("doctor")
    assert ran.status == 1
    assert ran.error == "3 checks failed: pulumi, settings, credentials"
    said = {line.split()[1]: line for line in ran.out.splitlines()}
    assert said["pulumi"] == "failed   pulumi       not on PATH: install it (pulumi.com/docs/install)"
    assert "capacity.min: must be 1 or more" in said["settings"]
    assert said["nix"].startswith("warning")  # these settings do not say what is needed
    assert "aws sso login" in said["credentials"]
    assert said["region"].startswith("skipped")


def test_what_the_settings_need_must_be_there(folder: Path, cli: Callable[..., Ran]) -> None:
    """Nix, sops or QEMU would be found missing by the deploy."""
    pulumi(folder)
    write(folder, SETTINGS | {"fleetswap:image": ".#web", "fleetswap:secrets": {"file": "secrets/prod.yaml"}})
    found = checks(cli("doctor", "--json"))
    assert found["nix"][0] == found["sops"][0] == "failed"
    write(folder, SETTINGS | {"fleetswap:image": {"file": "web.raw", "boot_test": True}})
    assert checks(cli("doctor", "--json"))["qemu"] == ("failed", "qemu-system-x86_64 is not on PATH")
    tool(folder, "qemu-system-x86_64")
    assert checks(cli("doctor", "--json"))["qemu"][0] == "ok"


@pytest.mark.parametrize(
    ("says", "plugins", "check", "detail"),
    [
        ("v3.1.0", "[]", "pulumi", "v3.1.0, older than its Python SDK"),
        ("", "[]", "pulumi", "no version, older than"),
        ("v9.0.0", "[]", "aws plugin", f"{PLUGIN} is not installed"),
        ("v9.0.0", '[{"name": "aws", "kind": "resource", "version": "1.0.0"}]', "aws plugin", f"{PLUGIN} is not"),
        ("v9.0.0", "nonsense", "aws plugin", "does not list the plugins"),
    ],
)
def test_an_unusual_pulumi_is_a_warning(
    folder: Path, cli: Callable[..., Ran], says: str, plugins: str, check: str, detail: str
) -> None:
    """An old engine, or a plugin that a build without internet cannot get, would be found out in a deploy."""
    pulumi(folder, says=says, plugins=plugins)
    state, found = checks(cli("doctor", "--json"))[check]
    assert state == "warning"
    assert detail in found


def test_another_account_is_told_apart(folder: Path, endpoint: str, cli: Callable[..., Ran]) -> None:
    """Credentials of another account would look fine."""
    write(folder, SETTINGS | {"fleetswap:account": "999999999999"})
    pulumi(folder)
    found = checks(cli("doctor", "--json", "--endpoint-url", endpoint))
    assert found["credentials"][0] == "ok"
    assert found["account"][0] == "failed"
    assert "999999999999" in found["account"][1]


@pytest.mark.parametrize(("wrong", "state"), [(5, "ok"), (60, "warning"), (600, "failed")])
def test_a_clock_is_compared_with_that_of_aws(
    folder: Path,
    endpoint: str,
    cli: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
    wrong: int,
    state: str,
) -> None:
    """A clock that is wrong fails each signature, with an error about credentials."""
    pulumi(folder)
    there = datetime.now(UTC) - timedelta(seconds=wrong)
    monkeypatch.setattr("fleetswap.cli.doctor.answered_at", lambda _: there)
    assert checks(cli("doctor", "--json", "--endpoint-url", endpoint))["clock"][0] == state


def test_a_clock_that_aws_refuses_is_still_told(
    folder: Path, endpoint: str, cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that is so wrong that AWS answers nothing else would be the one that is never compared."""
    pulumi(folder)
    there = format_datetime(datetime.now(UTC) - timedelta(seconds=1800))

    def refused(*_: object) -> None:
        response = {
            "Error": {"Code": "SignatureDoesNotMatch", "Message": "Signature expired"},
            "ResponseMetadata": {"HTTPHeaders": {"date": there}, "HTTPStatusCode": 403},
        }
        raise ClientError(response, "GetCallerIdentity")  # type: ignore[arg-type] # enough of a response

    monkeypatch.setattr("fleetswap.aws.session.Cloud.sts", refused)
    found = checks(cli("doctor", "--json", "--endpoint-url", endpoint))
    assert found["region"][0] == "failed"
    assert found["clock"][0] == "failed"
    assert found["clock"][1].startswith("30:0")


@pytest.mark.parametrize("program", ["pulumi", "nix", "sops"])
def test_a_tool_that_says_nonsense_or_hangs_ends_nothing(
    folder: Path, endpoint: str, cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """The list of what is wrong would be a traceback, or never come."""
    pulumi(folder)
    tool(folder, program, "printf '\\377\\376'")
    words = ("doctor", "--json", "--stack", "none", "--region", "us-east-1", "--endpoint-url", endpoint)
    assert checks(cli(*words))["pulumi"]
    for each in ("cli.doctor.SECONDS", "nix.process.VERSION_SECONDS", "sops.program.VERSION_SECONDS"):
        monkeypatch.setattr(f"fleetswap.{each}", 0.1)
    tool(folder, program, "exec /bin/sleep 60" if program == "nix" else "/bin/sleep 60 & wait")
    assert checks(cli(*words))[program][0] == "warning"


def test_a_credential_process_that_hangs_ends_nothing(
    folder: Path, cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Botocore waits for it for ever, and doctor is run to find out why nothing works."""
    pulumi(folder)
    (folder / "config").write_text("[profile slow]\ncredential_process = /bin/sleep 20\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("fleetswap.cli.doctor.SECONDS", 0.5)
    state, detail = checks(cli("doctor", "--json", "--profile", "slow"))["credentials"]
    assert state == "failed"
    assert "have not come after" in detail


def test_a_folder_that_is_gone_is_told(folder: Path, endpoint: str, cli: Callable[..., Ran]) -> None:
    """Whoever runs a command in a checkout that was replaced would get a traceback."""
    gone = folder / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    told = "the current folder no longer exists: change to one that does"
    assert told in cli("doctor", "--region", "us-east-1", "--endpoint-url", endpoint).out
    assert cli("rollback", "--yes").error == told


def test_without_a_project_it_says_where_to_run_it(
    tmp_path: Path, cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user in the wrong folder would get a green list of half the checks."""
    monkeypatch.chdir(tmp_path)
    said = cli("doctor", "--region", "us-east-1").out
    assert "run this in the project folder, with --stack" in said


def test_an_endpoint_that_does_not_answer_is_named(folder: Path, cli: Callable[..., Ran]) -> None:
    """The list would end with a traceback, or hang."""
    pulumi(folder)
    state, detail = checks(cli("doctor", "--json"))["region"]
    assert state == "failed"
    assert "no answer from AWS" in detail
