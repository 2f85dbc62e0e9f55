"""The lock files: what a deploy installs, what the tests install, what `pulumi install` installs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.compile(r"^([\w.-]+)(?:\[[^]]*\])?==([^ ;\\\n]+)", re.MULTILINE)


def pins(file: str) -> dict[str, str]:
    return dict(PINNED.findall((ROOT / file).read_text()))


def test_a_deploy_installs_nothing_that_only_tests_need() -> None:
    """Moto, pytest and their like would run, unneeded, where the deploying credentials are."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    only_for_tests = {re.split(r"[\[=]", one)[0] for some in extras.values() for one in some}
    assert {"moto", "pytest", "ruff"} <= only_for_tests
    assert not only_for_tests & set(pins("requirements.lock"))
    assert {"pulumi", "pulumi-aws", "boto3", "typer"} <= set(pins("requirements.lock"))


def test_what_is_tested_is_what_deploys() -> None:
    """The tests would pass with other versions than the ones that deploy."""
    deployed, tested = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {name: tested.get(name) for name in deployed} == deployed


def test_pulumi_install_installs_the_locked_versions_and_the_project() -> None:
    """`pulumi install` would say that it has finished, with nothing installed, or with other versions."""
    assert pins("infra/requirements.txt") == pins("requirements.lock")
    assert (ROOT / "infra/requirements.txt").read_text().splitlines()[-1] == "-e .."


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-dev.lock"])
def test_every_locked_package_has_its_hashes(file: str) -> None:
    """A package that was changed on its way would be installed."""
    entries = [entry for entry in re.split(r"\n(?=\w)", (ROOT / file).read_text()) if PINNED.match(entry)]
    assert len(entries) == len(pins(file)) > 30
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []
