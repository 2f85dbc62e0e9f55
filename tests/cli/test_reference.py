"""docs/reference/cli.md says what the command line says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.reference import tables, usage
from tests.cli.test_upload_command import FIGURES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md").read_text()


@pytest.mark.parametrize("command", usage())
def test_the_page_has_each_command_and_exactly_its_options(command: str) -> None:
    """An option would be undocumented, or described otherwise. `python -m tests.cli.reference` prints them."""
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1 + list(usage()).index(command)]
    assert section.startswith(f"fleetswap {command}\n")
    assert f"`{usage()[command]}`" in section
    assert tables()[command] in section


def test_the_page_has_every_figure_of_an_upload() -> None:
    """A key of the JSON object would be undocumented."""
    for key in FIGURES:
        assert f"`{key}`" in PAGE, key
