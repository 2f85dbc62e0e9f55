"""An option that a command would ignore is refused, and the list of commands says what they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetswap.cli import locate
from fleetswap.cli.app import COMMANDS, load
from fleetswap.domain.errors import InputError
from tests.cli.conftest import Ran
from tests.cli.reference import commands

VALUES = {
    "--to": "web-a",
    "--stack": "prod",
    "--service": "web",
    "--region": "us-east-1",
    "--profile": "company",
    "--endpoint-url": "http://127.0.0.1:9",
    "--health-deadline": "300",
}
"""Of the options that take one. Some are the defaults: to give one is to expect an effect all the same."""

BOTH = {"--to", "--stack", "--json"}
AWS = BOTH | {"--service", "--region", "--profile", "--endpoint-url"}
TAKES: dict[tuple[str, ...], set[str]] = {
    (): BOTH | {"--yes", "--skip-preview"},
    ("--dry-run",): BOTH,
    ("--now",): AWS | {"--write", "--health-deadline", "--quiet"},
    ("--now", "--dry-run"): AWS,
}
"""What each way to roll back uses."""

OPTIONS = sorted(set().union(*TAKES.values()))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no project here, and no service is found: each command ends where it would begin."""

    def find(*_: Any) -> None:
        raise InputError("no service is found here")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(locate, "find", find)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("way", TAKES, ids=" ".join)
def test_a_rollback_refuses_what_it_does_not_use(cli: Callable[..., Ran], way: tuple[str, ...], option: str) -> None:
    """`--health-deadline 5` would be believed to limit a rollback that never looks at it."""
    ran = cli("rollback", *way, option, *([VALUES[option]] if option in VALUES else []))
    assert (ran.status, ran.out) == (2, "")
    refused = f"`{' '.join(['fleetswap rollback', *way])}` does not take {option} (see `fleetswap rollback --help`)"
    begun = "no service is found here" if "--now" in way else "no Pulumi project here"
    assert ran.error.startswith(begun if option in TAKES[way] else refused)


def test_each_option_of_a_rollback_is_judged() -> None:
    """A new option could be ignored by one of the ways, unseen."""
    options = {max(each.opts, key=len) for each in commands()["rollback"].params}
    assert options - {"--now", "--dry-run"} == set(OPTIONS)


def test_several_are_refused_in_one_line(cli: Callable[..., Ran]) -> None:
    """One would be told of them one by one."""
    ran = cli("rollback", "--write", "-q", "-y", "--region", "us-east-1")
    assert ran.error.startswith("`fleetswap rollback` does not take --region and --write and --quiet")


@pytest.mark.parametrize(
    ("way", "option", "refused"),
    [
        (["--no-parent"], ["--parent", "snap-0123456789abcdef0"], True),
        (["--no-parent"], ["--trust-stack", "other"], True),
        (["--no-parent"], ["--samples", "8"], True),
        (["--no-parent"], ["--lineage", "web"], False),
        (["--parent", "snap-0123456789abcdef0"], ["--trust-stack", "other"], True),
        (["--parent", "snap-0123456789abcdef0"], ["--samples", "8"], False),
        (["--data"], ["--boot-test"], True),
        (["--boot-test"], ["--boot-port", "80"], False),
    ],
)
def test_an_upload_refuses_what_it_does_not_use(
    cli: Callable[..., Ran], tmp_path: Path, way: list[str], option: list[str], *, refused: bool
) -> None:
    """A stack would be believed to be searched for a parent, or a parent to be checked, that is not even looked at."""
    ran = cli("upload", tmp_path / "no.raw", *way, *option)
    message = f"`fleetswap upload {way[0]}` does not take {option[0]} (see `fleetswap upload --help`)"
    assert ran.status == 2
    assert (ran.error == message) == refused


@pytest.mark.parametrize("option", [["--boot-port", "80"], ["--boot-path", "/"], ["--boot-timeout", "9"]])
def test_an_upload_without_a_boot_test_refuses_its_options(
    cli: Callable[..., Ran], tmp_path: Path, option: list[str]
) -> None:
    """Whoever forgets `--boot-test` would take the image for tested."""
    ran = cli("upload", tmp_path / "no.raw", *option)
    assert (ran.status, ran.out) == (2, "")
    assert ran.error.startswith(f"`fleetswap upload without --boot-test` does not take {option[0]} ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--codes", "ok"], "--codes 'ok' is not a list of status codes such as 200, 200,204 or 200-299"),
        (["--path", "healthz"], "the path 'healthz' of the health check does not start with /"),
        ([], "no.raw does not exist"),
    ],
)
def test_a_boot_test_judges_its_arguments_first(
    cli: Callable[..., Ran], tmp_path: Path, options: list[str], words: str
) -> None:
    """A machine would be waited for in vain, or a traceback be the answer."""
    ran = cli("boot-test", tmp_path / "no.raw", *options)
    assert ran.status == 2
    assert words in ran.error


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_their_help_says(name: str) -> None:
    """`fleetswap --help`, which loads no command, would promise something else than `fleetswap NAME --help`."""
    text = load(name).help
    assert text is not None
    assert " ".join(text.split("\n\n")[0].split()) == COMMANDS[name].summary


def test_the_list_of_commands_is_grouped(cli: Callable[..., Ran]) -> None:
    """Who runs a fleet would look for its commands among those for images."""
    out = cli("--help").out
    places = [out.index(each) for each in ("─ Images ─", " upload ", " verify ", "─ Fleet ─", " status ", " rollback ")]
    assert places == sorted(places)
