"""Where the project of a program lies, wherever the library is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetswap_pulumi import project


@pytest.mark.parametrize("name", ["Pulumi.yaml", "Pulumi.yml"])
@pytest.mark.parametrize("main", [".", "infra"])
def test_paths_are_relative_to_the_project_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, main: str
) -> None:
    """A program that uses the installed library would look for its images where Python's packages are."""
    (tmp_path / name).write_text("name: shop\nruntime: python\n")
    (tmp_path / main).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / main)
    assert project.root() == tmp_path
    assert project.work() == tmp_path / ".work"


def test_without_a_project_they_are_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program under test, or one that the Automation API runs inline, could name no image."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(project, "FILES", ("no such file",))
    assert project.root() == tmp_path
