"""What the tests of images share: nix's settings on a machine like this one, and the demo image built."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.domain.image.source import FlakeImage, NixImage
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


FLAKE = """
{{
  outputs = {{ self }}: {{
    packages.x86_64-linux = rec {{
      web = ({small} {{}}) // {{ packages = {{ a = "1"; }}; registerImage = {{ BootMode = "uefi"; }}; }};
      both = [ web (web // {{ name = "other"; drvPath = "x"; }}) ];
      wrong = import ./wrong.nix;
      listed = builtins.addErrorContext "while looking" (throw (builtins.readFile ./listed.txt));
      built = import ({small} {{}});
    }};
    nixosConfigurations.web.config.system.build.toplevel = 1;
  }};
}}
"""

WriteFlake = Callable[..., FlakeImage]


@pytest.fixture(params=["machine", pytest.param("debian13", marks=pytest.mark.debian13)])
def nix(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each nix that there is, by the name of what it comes from: this machine's 2.8, and Debian 13's 2.26."""
    if request.param == "debian13":
        run: Path = request.getfixturevalue("debian13")
        folder = tmp_path / "newer"
        folder.mkdir()
        for program in ("nix", "nix-instantiate", "nix-store"):
            script = folder / program
            script.write_text(f'#!/bin/sh\nexec {run} {program} "$@"\n')
            script.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return str(request.param)


@pytest.fixture
def flake(tmp_path: Path) -> WriteFlake:
    """Writes a flake without inputs, and answers with an image of it, which no other test has."""

    def write(attribute: str = "web", text: str | None = None, **files: str) -> FlakeImage:
        folder = tmp_path / "flake"
        folder.mkdir(exist_ok=True)
        (folder / "flake.nix").write_text(
            FLAKE.format(small=small(f"echo {tmp_path} > $out")) if text is None else text
        )
        for name, content in files.items():
            (folder / name.replace("_", ".")).write_text(content)
        for path in (*folder.iterdir(), folder):
            os.utime(path, (1_000_000_000, 1_000_000_000))  # which the flake can read
        return FlakeImage(f"path:{folder}#{attribute}", OPTIONS)

    return write
