"""Debian 13's programs beside this Debian's: `tools/debian13` and `tools/debian13-run`."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.needs import ROOT

CODENAME = platform.freedesktop_os_release()["VERSION_CODENAME"]
TOOLS = "bash cat cut dirname dpkg-deb flock grep head mkdir mktemp readlink rm sed sha256sum"


def test_they_run(debian13: Path) -> None:
    """Tests of images would run with this Debian's tools, which cannot lay out a store, or not at all."""
    script = "nix --version; mkfs.erofs --version; systemd-repart --version; ukify --version; python3 --version"
    said = subprocess.run([debian13, "sh", "-c", script], check=True, capture_output=True, text=True).stdout
    for found in ("nix (Nix) 2.26", "mkfs.erofs (erofs-utils) 1.8", "systemd 257", "ukify 257", "Python 3.13"):
        assert found in said
    others = "for each in mcopy mkfs.vfat mke2fs mksquashfs veritysetup fsck.erofs awk; do command -v $each; done"
    found = subprocess.run([debian13, "sh", "-c", others], check=True, capture_output=True, text=True).stdout
    assert len(found.split()) == 7, found


def test_a_command_sees_this_machine_and_its_status_is_returned(debian13: Path, tmp_path: Path) -> None:
    """A test could hand it no files, or would take its failure for success."""
    (tmp_path / "there").write_text("of this machine\n")
    done = subprocess.run(
        [debian13, "sh", "-c", "cat there; unshare --map-root-user true && exit 7"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (7, "of this machine\n"), done.stderr


def test_a_second_run_changes_nothing(debian13: Path, tmp_path: Path) -> None:
    """Every `make test` would fetch them again, and fail where there is no network."""
    before = (ROOT / ".work/debian13").stat().st_ino
    tools = _tools(tmp_path)
    subprocess.run([ROOT / "tools/debian13"], check=True, env={"PATH": str(tools)})
    assert (ROOT / ".work/debian13").stat().st_ino == before
    assert debian13.exists()


APT = """#!/bin/bash
case "$*" in
  indextargets*) echo "$MIRRORS" ;;
  *update*) echo "E: the mirror is down" >&2; exit 100 ;;
esac
"""


@pytest.mark.parametrize(
    ("apt", "mirrors", "said"),
    [
        ("", "", "apt-get is missing: Debian 13's packages are unpacked on Debian 12 or later only"),
        (APT, "sid main there", "no mirror is known: add one to /etc/apt/sources.list"),
        (APT, f"{CODENAME} main mirror:/debian", "lists from mirror:/debian: E: the mirror is down"),
    ],
)
def test_what_it_cannot_do_is_one_line_and_leaves_nothing(tmp_path: Path, apt: str, mirrors: str, said: str) -> None:
    """Someone on another system would get an error of a command that they did not call, or half of the packages."""
    (tmp_path / "tools").mkdir()
    script = shutil.copy(ROOT / "tools/debian13", tmp_path / "tools")
    tools = _tools(tmp_path)
    if apt:
        (tools / "apt-get").write_text(apt)
        (tools / "apt-get").chmod(0o755)
    done = subprocess.run(
        [script], check=False, capture_output=True, text=True, env={"PATH": str(tools), "MIRRORS": mirrors}
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("debian13: ")
    assert said in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.glob(".work/debian13*")] in ([], ["debian13.lock"])


def _tools(folder: Path) -> Path:
    tools = folder / "bin"
    tools.mkdir()
    for name in TOOLS.split():
        (tools / name).symlink_to(str(shutil.which(name)))
    return tools
