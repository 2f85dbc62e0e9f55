"""What `make down` ends: everything that pulumi started for this stack, whoever built it, and nothing else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.local.process import LEFT_BEHIND, end_left_behind
from tools.local.work import Work

Script = Callable[[Path, str], Path]


@pytest.mark.parametrize(
    "command",
    [
        "pulumi up --yes",
        "/opt/pulumi/pulumi up",
        "/opt/pulumi/pulumi-language-python 127.0.0.1:4000",
        "/home/me/.pulumi/plugins/resource-aws-v7.51.1/pulumi-resource-aws 127.0.0.1:4000",
        "/bin/sh /opt/pulumi/pulumi-resource-pulumi-python 127.0.0.1:4000",
        "python -u /opt/pulumi/pulumi-language-python-exec --monitor 127.0.0.1:4000",
        "/x/.venv/bin/python -u -m pulumi.dynamic 127.0.0.1:4000",
        "/x/.venv/bin/python -P -m engine.aws_plugin 127.0.0.1:4000",
    ],
)
def test_everything_that_pulumi_starts_is_known_by_its_command(command: str) -> None:
    """A plugin of the official distribution, or ours, would run on after `make down`."""
    assert LEFT_BEHIND.search(command.replace(" ", "\0") + "\0")


@pytest.mark.parametrize("command", ["bash", "vim Pulumi.local.yaml", "python -m tools.local down", "make down"])
def test_a_shell_with_the_stacks_environment_is_left_alone(command: str) -> None:
    """Somebody's terminal would be closed, or `make down` would end itself."""
    assert not LEFT_BEHIND.search(command.replace(" ", "\0") + "\0")


@contextmanager
def running(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, env={"PATH": os.environ["PATH"], **env}) as process:
        try:
            yield process
        finally:
            process.kill()


def test_down_ends_the_official_host_of_this_stack_and_of_no_other(tmp_path: Path, script: Script) -> None:
    """An official language host that outlived a killed engine would stay, or another stack's would be ended."""
    host = script(tmp_path / "official/pulumi-language-python", "while :; do sleep 0.1; done")
    work = Work(tmp_path, tmp_path / "work")
    ours = {"PULUMI_BACKEND_URL": work.state.as_uri()}
    other = {"PULUMI_BACKEND_URL": (tmp_path / "other").as_uri()}
    with running([str(host), "127.0.0.1:1"], ours) as left, running([str(host), "127.0.0.1:1"], other) as theirs:
        end_left_behind(work, patience=5)
        assert left.wait(timeout=60) != 0
        assert theirs.poll() is None
