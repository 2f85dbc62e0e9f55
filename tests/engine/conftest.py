"""What the tests of the engine share: the real engine, and scripts that stand for commands."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def engine_bin() -> Path:
    """The directory of the real engine, as `make` finds it."""
    found = subprocess.run([ROOT / "engine/find-or-build"], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip())


@pytest.fixture
def script() -> Callable[[Path, str], Path]:
    """Write a shell script where a command should be."""

    def write(path: Path, body: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return write
