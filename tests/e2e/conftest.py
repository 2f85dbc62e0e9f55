"""One stack for the whole story, and the certainty that nothing of it is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import LocalStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The stack `local`; a gate that gives up early enough for a test, and late enough for a busy machine."""
    stack = LocalStack(tmp_path_factory.mktemp("stack"), has_users=True)
    yield stack
    stack.run("down")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[LocalStack]:
    """A stack that was never deployed."""
    stack = LocalStack(tmp_path)
    yield stack
    stack.run("down")
