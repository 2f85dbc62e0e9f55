"""Who has a phase in a log finds its file: by its name, and in the table of docs/explanation/rollout.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetswap.domain.rollout import machine
from fleetswap.domain.rollout.state import Phase

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/explanation/rollout.md").read_text()
PHASES = [phase for phase in Phase if phase is not Phase.DONE]


def file_of(phase: Phase) -> str:
    """The bake is the hold of the last step."""
    return "hold.py" if phase is Phase.BAKE else f"{phase.replace(' ', '_')}.py"


@pytest.mark.parametrize("phase", PHASES)
def test_each_phase_has_its_file(phase: Phase) -> None:
    """Who reads `put back` in a log would search for what decides then."""
    path = Path("fleetswap/domain/rollout") / file_of(phase)
    tables = (machine.ENTER, machine.MADE, machine.ANSWERED, machine.STUMBLED)
    modules = {table[phase].__module__ for table in tables if phase in table}
    assert modules == {".".join(path.with_suffix("").parts)}
    assert f"| {phase} | " in PAGE
    assert f"[{path.name}](../../{path})" in next(line for line in PAGE.splitlines() if line.startswith(f"| {phase} |"))


def test_no_phase_calls_another_ones_code() -> None:
    """The order of the phases would be hidden in calls: they hand over through the machine, but for a failure."""
    forward = {file_of(phase).removesuffix(".py") for phase in PHASES if not phase.is_back}
    for name in forward:
        text = (ROOT / f"fleetswap/domain/rollout/{name}.py").read_text()
        for other in forward - {name}:
            assert f"{other}.enter(" not in text, f"{name} enters {other}"
            assert f"{other}.answered(" not in text
