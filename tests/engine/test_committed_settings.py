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


@pytest.mark.parametrize("stack", STACKS)
def test_pulumi_moves_no_line_of_the_settings(stack: str, engine_bin: Path, tmp_path: Path) -> None:
    """A comment that is moved under another key means something else as soon as it is uncommented."""
    name = f"Pulumi.{stack}.yaml"
    for file in ("Pulumi.yaml", name):
        shutil.copy(ROOT / file, tmp_path / file)
    work = Work(tmp_path, tmp_path / "work")
    work.state.mkdir(parents=True)
    env = environment(work, {"PATH": "/usr/bin:/bin"}, engine=engine_bin)
    for command in (["stack", "init", stack], ["config", "set", "fleetswap:release", "web-1", "--stack", stack]):
        done = subprocess.run(
            ["pulumi", *command, "--non-interactive"],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    before, after = (ROOT / name).read_text().splitlines(), (tmp_path / name).read_text().splitlines()
    assert [line for line in after if line in before] == before
    assert {line.strip().split(":")[0] for line in after if line not in before} == {"fleetswap", "encryptionsalt"}
