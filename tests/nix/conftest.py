"""What the tests of images share: nix's settings on a machine like this one, and the demo image built."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.domain.image.source import NixImage
from fleetswap.nix import build
from fleetswap.nix.evaluate import evaluate

PROJECT = Path(__file__).parents[2]
DEMO = PROJECT / "nix" / "demo"

# Debian's nix as root, without a binary cache; nix/README.md says why each.
OPTIONS = {"sandbox": "false", "substitute": "false", "build-users-group": ""}

Write = Callable[[str], Path]


SMALL = """
({{ text ? "nothing" }}:
derivation {{
  name = "small"; system = "x86_64-linux"; builder = "/bin/sh"; inherit text;
  args = [ "-c" "{script}" ];
}})
"""


def small(script: str = "echo $text > $out") -> str:
    return SMALL.format(script=script)


def name(path: Path, *, attr: str | None = None, **args: str) -> Evaluation:
    """A file's image, as a preview names it."""
    return evaluate(NixImage(path.name, args, OPTIONS, attr), path.parent, preview=True)


def message(error: pytest.ExceptionInfo[FleetswapError]) -> str:
    """The error's text, which must be one line."""
    text = str(error.value)
    assert "\n" not in text
    return text


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
        image = NixImage("nix/demo", {"version": version, "parts": str(parts)}, OPTIONS)
        return build.realise(evaluate(image, PROJECT, preview=True), root=None, say=lambda _: None, options=OPTIONS)

    return built


@pytest.fixture
def expression(tmp_path: Path) -> Write:
    """Writes a Nix expression into a file of its own."""

    def write(text: str) -> Path:
        path = tmp_path / "image.nix"
        path.write_text(text)
        return path

    return write
