"""What a test may need beside Python, one marker each, and that none gets what its marker does not say.

`make test-fast` leaves out what has such a marker. A fixture gives its users their markers, a folder gives them to all
that is in it; a module or a test says the rest with `pytest.mark`. A marker cannot be forgotten: without it, the
programs that it stands for refuse to run. A local cloud cannot: `tests/test_needs.py` finds what lacks its marker.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PROGRAMS = {
    "chromium": "chromium",
    "disks": "qemu-img qemu-io sgdisk mformat mcopy mkfs.ext4 mkswap",
    "machines": "qemu-system-x86_64 qemu-system-aarch64 swtpm",
    "nix": "nix nix-build nix-instantiate nix-store",
    "haproxy": "haproxy",
    "go": "go gofmt",
    "engine": "pulumi pulumi-language-python",
}
"""The programs behind each marker."""

FIXTURES = {
    "debian13": ("debian13",),
    "engine_bin": ("engine",),
    "gpt_bytes": ("disks",),
    "_local_cloud": ("localcloud",),
    "parts": ("nix",),
    "nixos": ("nix",),
}
"""What a test needs that uses one of these fixtures."""

FOLDERS = {"tests/e2e": ("e2e", *PROGRAMS), "tests/nix": ("nix", "disks"), "tests/nixos": ("nix", "debian13")}
"""What every test in one of these folders needs."""


def mark(item: pytest.Item) -> None:
    """Give a test the markers of its folder and of its fixtures."""
    folder = item.path.parent.relative_to(ROOT).as_posix()
    needed = {*FOLDERS.get(folder, ())}
    for fixture in getattr(item, "fixturenames", ()):
        needed.update(FIXTURES.get(fixture, ()))
    for name in sorted(needed):
        item.add_marker(name)


def write_refusals(folder: Path) -> None:
    """For each marker a folder of programs that refuse, with a line that names the marker."""
    for name, programs in PROGRAMS.items():
        (folder / name).mkdir(parents=True)
        for program in programs.split():
            path = folder / name / program
            path.write_text(
                f"#!/bin/sh\necho '{program}: the test that runs it lacks the marker `{name}`' >&2\nexit 97\n"
            )
            path.chmod(0o755)


def path_of(item: pytest.Item, refusals: Path, path: str) -> str:
    """The PATH for a test: what it does not need comes first, and refuses."""
    lacking = [str(refusals / name) for name in PROGRAMS if item.get_closest_marker(name) is None]
    return os.pathsep.join([*lacking, path])
