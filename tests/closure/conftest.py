"""The NixOS machine in miniature, evaluated by the real Nix."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from fleetswap.domain.closure.model import Closure
from fleetswap.nix.closures import derived

MACHINE = Path(__file__).parent / "nixos"

Derived = Callable[..., Closure]
"""What the machine with these arguments would need."""


@cache
def _derived(**arguments: str) -> Closure:
    given = [word for name, value in sorted(arguments.items()) for word in ("--argstr", name, value)]
    done = subprocess.run(["nix-instantiate", str(MACHINE), *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return derived(done.stdout.strip())


@pytest.fixture
def nixos() -> Derived:
    """Evaluates the machine with arguments of its expression."""
    return _derived
