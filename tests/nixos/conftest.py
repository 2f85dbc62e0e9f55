"""Each test of the modules runs with the oldest nix that they are for, and with a current one."""

from __future__ import annotations

import pytest

from tests.nixos.evaluate import NEW, OLD


@pytest.fixture(params=["2.8", "2.26"])
def nix(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """What a command begins with to run with one nix or with the other."""
    if request.param == "2.8":
        return OLD
    request.getfixturevalue("debian13")
    return NEW
