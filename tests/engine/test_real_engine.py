"""The real engine with our language host and our launcher of dynamic providers, on a program of a few lines."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.engine.test_language_host import is_alive
from tools.local.process import environment
from tools.local.work import Work

ROOT = Path(__file__).resolve().parents[2]

PROVIDER = '''
from pathlib import Path
import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

class Provider(ResourceProvider):
    """A file and its text."""
    def create(self, props):
        pulumi.log.info("said by the provider")
        Path(props["path"]).write_text(props["text"])
        return CreateResult(props["path"], props)
    def diff(self, _id, olds, news):
        return DiffResult(changes=olds["text"] != news["text"])
    def update(self, _id, olds, news):
        Path(news["path"]).write_text(news["text"])
        return UpdateResult(news)
    def delete(self, _id, props):
        Path(props["path"]).unlink()

class File(Resource):
    def __init__(self, name, path, text):
        super().__init__(Provider(), name, {"path": path, "text": text})
'''

PROGRAM = """
import os, sys, time
from pathlib import Path
import pulumi
from file_provider import File
from pulumi.runtime import get_root_resource
from pulumi.runtime.sync_await import _sync_await

config = pulumi.Config()
mode = config.require("mode")
stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
print("printed by the program")
if mode == "raise":
    raise ValueError("boom")
if mode == "bail":
    pulumi.log.error("told by the program")
    sys.exit(32)
if mode == "hang":
    Path("../pid").write_text(f"{os.getpid()}\\n")
    time.sleep(600)
_sync_await(get_root_resource().urn.future())  # see fleet.py: before this the state may be half-written
before = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": stack}).value["outputs"]
File("file", str(Path("../made").resolve()), config.require_secret("text"))
pulumi.export("stack", stack)
pulumi.export("cwd", os.getcwd())
pulumi.export("runs", int(before.get("runs", 0)) + (not pulumi.runtime.is_dry_run()))
"""


class Project:
    """A project with `main: infra`, a virtual environment beside it, and a stack of its own."""

    def __init__(self, folder: Path, engine_bin: Path) -> None:
        self.folder = folder
        infra = folder / "infra"
        infra.mkdir()
        (folder / ".venv").symlink_to(ROOT / ".venv")
        (infra / ".venv").symlink_to("../.venv")
        (folder / "Pulumi.yaml").write_text(
            "name: tiny\nmain: infra\nruntime: {name: python, options: {virtualenv: .venv}}\n"
        )
        (infra / "__main__.py").write_text(PROGRAM)
        (infra / "file_provider.py").write_text(PROVIDER)
        self.env = environment(Work(root=folder, folder=folder / ".work"), {"PATH": "/usr/bin:/bin"}, engine=engine_bin)
        (folder / ".work/state").mkdir(parents=True)
        assert self.pulumi("stack", "init", "local").returncode == 0
        self.configure(text="one")

    def configure(self, *, mode: str = "ok", text: str = "one") -> None:
        """Write the stack's configuration, with the salt that `stack init` made."""
        path = self.folder / "Pulumi.local.yaml"
        salt = next(line for line in path.read_text().splitlines() if line.startswith("encryptionsalt"))
        path.write_text(f"{salt}\nconfig:\n  tiny:mode: {mode}\n  tiny:text: {text}\n")

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start `pulumi`."""
        command = ["pulumi", *args, "--non-interactive", "--stack", "local"]
        if args[:2] == ("stack", "init"):
            command = command[:-2]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def pulumi(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run `pulumi` to its end."""
        with self.start(*args) as process:
            output, _ = process.communicate()
        return subprocess.CompletedProcess(args, process.returncode, output)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, engine_bin: Path) -> Project:
    """One project for all tests, because each start of the engine takes seconds."""
    return Project(tmp_path_factory.mktemp("project"), engine_bin)


def test_life_of_a_stack(project: Project) -> None:
    """Nothing could be deployed, an update would not see the last one's outputs, or nothing could be taken down."""
    project.configure()
    up = project.pulumi("up", "--yes", "--skip-preview")
    assert up.returncode == 0, up.stdout
    assert "printed by the program" in up.stdout
    assert "said by the provider" in up.stdout
    assert (project.folder / "made").read_text() == "one"
    project.configure(text="two")
    preview = project.pulumi("preview")
    assert preview.returncode == 0, preview.stdout
    assert (project.folder / "made").read_text() == "one"
    up = project.pulumi("up", "--yes", "--skip-preview", "--refresh")
    assert up.returncode == 0, up.stdout
    assert (project.folder / "made").read_text() == "two"
    outputs = json.loads(project.pulumi("stack", "output", "--json").stdout)
    assert outputs == {"stack": "organization/tiny/local", "cwd": str(project.folder / "infra"), "runs": 2}
    destroy = project.pulumi("destroy", "--yes", "--skip-preview")
    assert destroy.returncode == 0, destroy.stdout
    assert not (project.folder / "made").exists()


def test_unhandled_exception_is_shown_from_the_programs_own_frames(project: Project) -> None:
    """A failed program would count as deployed, or its error would drown in the host's frames."""
    project.configure(mode="raise")
    up = project.pulumi("up", "--yes", "--skip-preview")
    assert up.returncode != 0
    assert "ValueError: boom" in up.stdout
    assert "infra/__main__.py" in up.stdout
    assert "run_program.py" not in up.stdout


def test_bail_says_nothing_more(project: Project) -> None:
    """A program that has told its error would have it followed by one of the host's."""
    project.configure(mode="bail")
    up = project.pulumi("up", "--yes", "--skip-preview")
    assert up.returncode != 0
    assert "told by the program" in up.stdout
    assert "exited" not in up.stdout


def test_terminated_engine_ends_the_program(project: Project) -> None:
    """A stopped update would leave its program running."""
    project.configure(mode="hang")
    file = project.folder / "pid"
    with project.start("up", "--yes", "--skip-preview") as engine:
        while not file.exists() or not file.read_text().endswith("\n"):
            time.sleep(0.05)
        engine.send_signal(signal.SIGTERM)
        engine.communicate()
    assert engine.returncode != 0
    deadline = time.monotonic() + 60  # it was killed, and whoever gets it has not reaped it yet
    while is_alive(int(file.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)
