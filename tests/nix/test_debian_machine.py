"""The Debian machine as Nix builds it: what it is made of, and what a change of its application moves."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetswap.domain.image.source import NixImage
from fleetswap.nix import build
from fleetswap.nix.evaluate import evaluate
from tests.nix.conftest import OPTIONS, PROJECT

BLOCK = 512 * 1024

pytestmark = pytest.mark.debian13


@pytest.fixture(scope="session")
def debian() -> Callable[[str], Path]:
    """Builds a version of the machine, or finds it built; answers with its store path."""
    parts = PROJECT / ".work" / "debian"
    subprocess.run([PROJECT / "nix/debian/fetch-parts", parts], check=True)

    def built(version: str) -> Path:
        image = NixImage("nix/debian", {"version": version, "parts": str(parts)}, OPTIONS)
        return build.realise(evaluate(image, PROJECT, preview=True), root=None, say=lambda _: None, options=OPTIONS)

    return built


def closure(image: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((image / "nix-support/closure.json").read_text())
    return found


def names(image: Path) -> set[str]:
    return {entry["path"] for entry in closure(image)["paths"]}


def test_the_store_of_the_image_is_the_closure_of_the_system(debian: Callable[[str], Path]) -> None:
    """The manifest would name what is not on the machine, or the machine would lack a library that a program needs."""
    image = debian("1")
    root = closure(image)["root"]
    listed = subprocess.run(["nix-store", "--query", "--requisites", root], check=True, capture_output=True, text=True)
    assert names(image) == set(listed.stdout.split())
    references = {entry["path"]: entry["references"] for entry in closure(image)["paths"]}
    (systemd,) = (path for path in references if re.search(r"-systemd-[0-9]", path))
    assert any("-libc6-" in path for path in references[systemd])
    assert not any("patchelf" in path for path in references)


def test_a_change_of_the_application_changes_what_names_it_and_few_blocks(debian: Callable[[str], Path]) -> None:
    """A deploy of a changed application would rebuild packages, or move blocks that have nothing to do with it."""
    old, new = debian("1"), debian("2")
    gone = {re.sub(r"^/nix/store/[^-]+-", "", path) for path in names(old) - names(new)}
    assert {re.sub(r"-[0-9].*", "", name) for name in gone} == {
        "fleetswap-web",
        "system-units",
        "etc",
        "debian-system",
    }
    with (old / "debian.raw").open("rb") as before, (new / "debian.raw").open("rb") as after:
        changed = 0
        while (block := before.read(BLOCK)) + (other := after.read(BLOCK)):
            changed += block != other
    assert 1 <= changed <= 8
