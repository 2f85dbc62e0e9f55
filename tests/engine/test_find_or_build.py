"""The decision of `engine/find-or-build`: the official engine, the one that is built, or an error."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIND = ROOT / "engine/find-or-build"
VERSION = "v3.259.0"
Script = Callable[[Path, str], Path]


class Machine:
    """A machine with an empty PATH but for the usual tools, an empty home and an empty work folder."""

    def __init__(self, tmp: Path, script: Script) -> None:
        self.official = tmp / "official"
        self.go = tmp / "go"
        self.home = tmp / "home"
        self.work = tmp / "work"
        self.bin = self.work / "engine" / "bin"
        self.plugin = self.work / "pulumi/plugins/resource-aws-v7.51.1"
        self.script = script
        tools = tmp / "tools"
        tools.mkdir()
        for name in (
            "bash",
            "sed",
            "readlink",
            "dirname",
            "basename",
            "cat",
            "ln",
            "mkdir",
            "rm",
            "mv",
            "mktemp",
            "flock",
            "sh",
            "chmod",
        ):
            (tools / name).symlink_to(str(shutil.which(name)))
        self.path = [self.official, self.go, tools]

    def has_pulumi(self, version: str, *, with_host: bool) -> None:
        """Install a distribution that says it has `version`, and writes into its home as the real one does."""
        self.script(self.official / "pulumi", f'mkdir -p "$PULUMI_HOME/logs"; echo {version}')
        if with_host:
            self.script(self.official / "pulumi-language-python", "exit 1")

    def has_go(
        self,
        body: str = 'while [ "$1" != -o ]; do shift; done; echo built >>"$0.log"; echo engine >"$2"; chmod +x "$2"',
    ) -> None:
        """Install a `go` that builds at once."""
        self.script(self.go / "go", body)

    def builds(self) -> int:
        """How often `go` built."""
        log = self.go / "go.log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def find(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run the script on this machine."""
        env = {
            "PATH": os.pathsep.join(map(str, self.path)),
            "HOME": str(self.home),
            "FLEETSWAP_ENGINE_WORK": str(self.work),
        }
        return subprocess.run([FIND, *args], env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def machine(tmp_path: Path, script: Script) -> Machine:
    """A machine with nothing of Pulumi and no Go."""
    return Machine(tmp_path, script)


def test_official_engine_is_used_as_it_is_and_fetches_no_plugin(machine: Machine) -> None:
    """A user with the official distribution would get our engine, or wait for 800 MB, or fail without a network."""
    machine.has_pulumi(VERSION, with_host=True)
    machine.has_go()
    found = machine.find("--say")
    assert (found.returncode, found.stdout.strip()) == (0, str(machine.official))
    assert found.stderr == (
        f"Engine: Pulumi {VERSION} in {machine.official}. AWS plugin: the local cloud's stand-in.\n"
    )
    assert not machine.bin.exists()
    assert (machine.plugin / "pulumi-resource-aws").resolve() == ROOT / "engine/bin/pulumi-resource-aws"


@pytest.mark.parametrize(
    ("version", "with_host", "why"),
    [
        ("v3.258.0", True, f"is v3.258.0, and this project is locked to {VERSION}: it is not used."),
        ("", True, f"is of an unknown version, and this project is locked to {VERSION}: it is not used."),
        (VERSION, False, "has no pulumi-language-python beside it, which runs the program: it is not used."),
    ],
)
def test_another_engine_is_not_used_and_that_is_told(
    machine: Machine,
    version: str,
    with_host: bool,  # noqa: FBT001 - pytest gives it by name
    why: str,
) -> None:
    """An engine of another version, or one that cannot run Python, would run, or nobody would know why it does not."""
    machine.has_pulumi(version, with_host=with_host)
    machine.has_go()
    found = machine.find("--say")
    assert (found.returncode, found.stdout.strip()) == (0, str(machine.bin))
    assert found.stderr.splitlines()[-2:] == [
        f"{machine.official}/pulumi {why}",
        f"Engine: Pulumi {VERSION}, built from its Go module. AWS plugin: the local cloud's stand-in.",
    ]
    names = {"pulumi", "pulumi-language-python", "pulumi-resource-pulumi-python"}
    assert {path.name for path in machine.bin.iterdir()} == names
    assert all(os.access(path, os.X_OK) for path in machine.bin.iterdir())


def test_our_own_engine_on_path_is_not_taken_for_the_official_one(machine: Machine) -> None:
    """A shell that has .work/engine/bin on PATH would stop being given the stand-ins, or a new engine."""
    machine.script(machine.bin / "pulumi", f"echo {VERSION}")
    machine.script(machine.bin / "pulumi-language-python", "exit 1")
    machine.path.insert(0, machine.bin)
    machine.has_go()
    machine.find()
    assert machine.builds() == 1


def test_engine_is_built_once_for_a_version(machine: Machine) -> None:
    """Every `make up` would build for minutes, or an upgrade would go on with the old engine."""
    machine.has_go()
    machine.find()
    machine.find()
    assert machine.builds() == 1
    (machine.work / "engine" / "version").write_text("v3.1.0\n")
    machine.find()
    assert machine.builds() == 2


def test_failed_build_leaves_no_engine(machine: Machine) -> None:
    """A build that was killed or failed would be run as an engine the next time."""
    machine.has_go(
        '[ "$1" = env ] && echo go1.2 && exit; while [ "$1" != -o ]; do shift; done; echo half >"$2"; exit 1'
    )
    found = machine.find()
    assert found.returncode == 2
    assert found.stdout == ""
    assert f"error: the Pulumi engine {VERSION} did not build with go1.2" in found.stderr
    assert not (machine.bin / "pulumi").exists()
    machine.has_go()
    assert machine.find().returncode == 0


@pytest.mark.parametrize("version", [VERSION, "v3.258.0"])
def test_a_check_creates_nothing(machine: Machine, version: str) -> None:
    """Each `make` would leave a log file of `pulumi version` behind, and a work folder before set-up may run at all."""
    machine.has_pulumi(version, with_host=True)
    machine.has_go()
    assert machine.find("--check").returncode == 0
    assert not machine.work.exists()
    machine.find()
    assert not (machine.work / "pulumi" / "logs").exists()


@pytest.mark.parametrize("args", [[], ["--check"]])
def test_missing_go_is_told_in_one_line_and_nothing_is_created(machine: Machine, args: list[str]) -> None:
    """Set-up would go on for minutes before it says that Go is missing, or leave things behind."""
    found = machine.find(*args)
    assert found.returncode == 2
    assert found.stderr.startswith(f"error: there is no `go`, and no pulumi {VERSION} on PATH: install Go ")
    assert len(found.stderr.splitlines()) == 1
    assert not machine.work.exists()


def test_users_aws_plugin_is_preferred(machine: Machine) -> None:
    """A user who has the official AWS plugin would get our stand-in."""
    machine.has_go()
    machine.find()
    assert (machine.plugin / "pulumi-resource-aws").resolve() == ROOT / "engine/bin/pulumi-resource-aws"
    theirs = machine.home / ".pulumi/plugins/resource-aws-v7.51.1"
    plugin = machine.script(theirs / "pulumi-resource-aws", "exit 1")
    found = machine.find("--say")
    assert "AWS plugin: yours, v7.51.1." in found.stderr
    assert not machine.plugin.is_symlink()  # the engine follows no link here
    assert (machine.plugin / "pulumi-resource-aws").resolve() == plugin
    plugin.unlink()
    machine.find()
    assert (machine.plugin / "pulumi-resource-aws").resolve() == ROOT / "engine/bin/pulumi-resource-aws"


def test_aws_plugin_on_path_is_told(machine: Machine) -> None:
    """The engine takes it before any that is installed, so to name another would be a lie."""
    machine.has_go()
    plugin = machine.script(machine.official / "pulumi-resource-aws", "exit 1")
    assert f"AWS plugin: {plugin}." in machine.find("--say").stderr


def test_a_stand_in_that_an_older_version_put_on_path_goes(machine: Machine) -> None:
    """The engine would warn, twice a run, that it takes the plugin from PATH."""
    machine.script(machine.bin / "pulumi-resource-aws", "exit 1")
    machine.has_go()
    machine.find()
    assert not (machine.bin / "pulumi-resource-aws").exists()
