"""The state diagram in the documents is what the machine does."""

from __future__ import annotations

from tools import rollout_diagram


def test_the_diagram_is_current() -> None:
    """The page would show states that the rollout does not have; `python -m tools.rollout_diagram` mends it."""
    text = rollout_diagram.PAGE.read_text()
    assert rollout_diagram.page(text, rollout_diagram.diagram(rollout_diagram.ways())) == text
