"""The list of mutants that may live: what it says can be held against the code without running them."""

from __future__ import annotations

import tomllib
from pathlib import Path

REASONS = Path(__file__).with_name("mutants.toml")
DOMAIN = Path(__file__).resolve().parents[2] / "fleetswap" / "domain"


def test_every_reason_is_about_code_that_is_there() -> None:
    """A reason would stay for what was long changed, and excuse a new mutant that looks alike."""
    entries = tomllib.loads(REASONS.read_text(encoding="utf-8"))["survivor"]
    assert entries
    for entry in entries:
        module, _, function = entry["where"].partition(".")
        source = (DOMAIN / f"{module}.py").read_text(encoding="utf-8")
        assert f"def {function.split('.')[-1]}(" in source, entry["where"]
        lines = {line.strip() for line in source.splitlines()}
        assert set(entry["was"].splitlines()) <= lines, entry["where"]
        assert entry["why"]
