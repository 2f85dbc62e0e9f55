"""The committed settings files under the commands of Pulumi that write into them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.local.process import environment
from tools.local.work import Work

ROOT = Path(__file__).resolve().parents[2]
STACKS = sorted(file.suffixes[0].removeprefix(".") for file in ROOT.glob("Pulumi.*.yaml"))


def test_there_are_settings_to_look_at() -> None:
    """The tests below would pass on nothing."""
    assert {"local", "prod", "staging"} <= set(STACKS)


SET = {
    "fleetswap:release": "web-1",
    "fleetswap:capacity.max": "30",
    "fleetswap:capacity.warmup": "30",
    "fleetswap:upload.samples": "3",
    "fleetswap:image.nix.attr": "image",
}
"""A new key; one of a block that is there, set and not set; one of a new block; one deeper."""


@pytest.mark.parametrize("stack", STACKS)
def test_pulumi_moves_no_line_of_the_settings(stack: str, engine_bin: Path, tmp_path: Path) -> None:
    """A comment that is moved under another key means something else as soon as it is uncommented."""
    name = f"Pulumi.{stack}.yaml"
    for file in ("Pulumi.yaml", name):
        shutil.copy(ROOT / file, tmp_path / file)
    work = Work(tmp_path, tmp_path / "work")
    work.state.mkdir(parents=True)
    env = environment(work, {"PATH": "/usr/bin:/bin"}, engine=engine_bin)
    commands = [
        ["stack", "init", stack],
        *(["config", "set", "--path", key, value, "--stack", stack] for key, value in SET.items()),
    ]
    for command in commands:
        done = subprocess.run(
            ["pulumi", *command, "--non-interactive"],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    before, after = heads(ROOT / name), heads(tmp_path / name)
    found = iter(after)
    assert [line for line in before if line not in found] == []
    added = [line.strip() for line in after if line and line not in before]
    named = {part for key in SET for part in key.split(".")}
    assert set(added) <= named | {"encryptionsalt"}


def heads(file: Path) -> list[str]:
    """The lines, without the values of keys."""
    return [
        line if "#" in line else line.partition(": ")[0].removesuffix(":") for line in file.read_text().splitlines()
    ]
