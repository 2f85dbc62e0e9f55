"""What the tests of images share: nix's settings on a machine like this one, and the demo image built."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetswap.nix import build

PROJECT = Path(__file__).parents[2]
DEMO = PROJECT / "nix" / "demo"

# Debian's nix as root, without a binary cache; nix/README.md says why each.
OPTIONS = {"sandbox": "false", "substitute": "false", "build-users-group": ""}

Write = Callable[[str], Path]


@pytest.fixture(scope="session")
def parts() -> Path:
    """What the demo image is made of; fetched if `make` has not."""
    folder = PROJECT / ".work" / "kernel"
    subprocess.run([DEMO / "fetch-kernel", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def demo(parts: Path) -> Callable[[str], Path]:
    """Builds a version of the demo image, or finds it built; answers with its store path."""

    def built(version: str) -> Path:
        derivation = build.instantiate(DEMO, attr=None, args={"version": version, "parts": str(parts)}, options=OPTIONS)
        return build.realise(derivation, root=None, say=lambda _: None, options=OPTIONS)

    return built


@pytest.fixture
def expression(tmp_path: Path) -> Write:
    """Writes a Nix expression into a file of its own."""

    def write(text: str) -> Path:
        path = tmp_path / "image.nix"
        path.write_text(text)
        return path

    return write
