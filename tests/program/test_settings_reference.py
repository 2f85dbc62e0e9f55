"""The reference page says what the model says."""

from __future__ import annotations

from pathlib import Path

from tools.settings_reference import render

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "settings.md"


def test_the_page_is_what_the_model_says() -> None:
    """The reference would describe settings that do not exist, or leave out some that do. `make fmt` writes it."""
    assert PAGE.read_text() == render()
