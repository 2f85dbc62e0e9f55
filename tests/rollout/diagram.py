"""Writes the rollout's state diagram into docs/explanation/rollout.md, as the simulator has seen the machine move.

`python -m tests.rollout.diagram` rewrites what stands between the two marks; tests/rollout/test_diagram.py tells when
that is due. It draws what happens when one thing goes wrong at every action; it decides nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetswap.domain.rollout.state import Phase
from tests.rollout.simulator import explored

PAGE = Path(__file__).resolve().parents[2] / "docs/explanation/rollout.md"
BEGIN = "<!-- made by tests/rollout/diagram.py: begin -->"
END = "<!-- made by tests/rollout/diagram.py: end -->"

DRAWN = ("first deploy", "canary", "rollback", "all at once", "5xx under load")
"""The scenarios that together take every way."""

TOGETHER = pytest.mark.xdist_group("drawn")
"""For the tests that explore these: on one worker, each is explored once."""


def ways() -> set[tuple[Phase, Phase]]:
    """Every way from one phase to another that was seen."""
    found: set[tuple[Phase, Phase]] = set()
    for name in DRAWN:
        found |= explored(name, 1).ways
    return found


def diagram(seen: set[tuple[Phase, Phase]]) -> str:
    """The ways as a Mermaid state diagram; those that lead to the put-back are drawn from one state for all."""
    order = list(Phase)
    forward = [phase for phase in order if not phase.is_back and phase is not Phase.DONE]
    failing = {source for source, target in seen if target.is_back and not source.is_back}
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> look"]
    for source, target in sorted(seen, key=lambda way: (order.index(way[0]), order.index(way[1]))):
        if not (source in failing and target.is_back):
            lines.append(f"    {_name(source)} --> {_name(target)}")
    lines += [f"    {_name(phase)} --> failed" for phase in forward if phase in failing]
    lines.append("    failed --> compare")
    lines += ["    done --> [*]", "```"]
    return "\n".join(lines)


def _name(phase: Phase) -> str:
    return phase.replace(" ", "_")


def page(text: str, drawn: str) -> str:
    """The page with the diagram in its place."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{drawn}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(), diagram(ways())))
