"""The state diagram in the documents is what the machine does."""

from __future__ import annotations

import pytest

from tests.rollout import diagram


@pytest.mark.slow
@diagram.TOGETHER
def test_the_diagram_is_current() -> None:
    """The page would show states that the rollout does not have; `python -m tests.rollout.diagram` mends it."""
    text = diagram.PAGE.read_text()
    assert diagram.page(text, diagram.diagram(diagram.ways())) == text
