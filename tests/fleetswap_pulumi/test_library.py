"""The library as someone uses it who has no checkout: the wheel in an environment of its own, and README's program."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from localcloud.ebs.store import SnapshotStore
from localcloud.server import LocalCloud
from tests.engine.aws_plugin.test_real_engine import Stack
from tests.fakes.ebs import disk_file
from tests.localcloud.clients import Clients

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ("fleetswap", "fleetswap_pulumi")

MOCKS = """
import json, runpy, sys
import pulumi
from pulumi.runtime import mocks

made = {}


class Recorder(mocks.Mocks):
    def call(self, args):
        return {}, []  # no update came before this one

    def new_resource(self, args):
        made[args.name] = made.get(args.name, []) + [args.typ]
        computed = {"arn": "arn:" + args.name, "dnsName": "front.example", "latestVersion": 1}
        computed |= {"serving": args.inputs.get("live"), "left": "", "seconds": {}}
        return args.name + "-id", {**args.inputs, **computed}


pulumi.runtime.set_all_config({"fleetswap:endpoint": sys.argv[1]})
mocks.set_mocks(Recorder(), project="shop", stack="dev", organization="me")


@mocks.test
def program():
    runpy.run_path("__main__.py", run_name="__main__")
    exported = pulumi.runtime.get_root_resource().outputs
    return pulumi.Output.from_input(exported).apply(lambda outputs: print(json.dumps([made, outputs])))


program()
"""
"""The program under Pulumi's mocks, as its author would test it; prints what it declares and what it exports."""


def readme(language: str) -> str:
    """The block of that language under "Use it as a library"."""
    _, _, section = (ROOT / "README.md").read_text().partition("\n## Use it as a library\n")
    (block,) = re.findall(rf"```{language}\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    return str(block)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project: the build backend writes beside what it builds."""
    copy = tmp_path_factory.mktemp("project") / "checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "tests"))
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    """Built by the pinned backend's own hook (PEP 517), which is what pip and every other front end calls."""
    hook = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", hook], cwd=checkout, check=True, capture_output=True)
    (built,) = (checkout / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel, and of the packages here only those of `requirements.lock`."""
    home = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    (site,) = home.glob("lib/python*/site-packages")
    for name in re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE):
        package = metadata.distribution(name)
        tops = {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}
        for top in (top for top in tops if not (site / top).exists()):
            (site / top).symlink_to(str(package.locate_file(top)))
    install = [
        "uv",
        "pip",
        "install",
        "--offline",
        "--no-deps",
        "--no-cache",
        "--python",
        str(home / "bin/python"),
        str(wheel),
    ]
    subprocess.run([sys.executable, "-m", *install], check=True, capture_output=True)
    return home


@pytest.fixture(scope="module")
def endpoint(_local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The local cloud's control plane, in which machines do not boot."""
    root = tmp_path_factory.mktemp("cloud")
    cloud = LocalCloud(root, 0, machines=False, store=SnapshotStore(root / "snapshots", settle_seconds=0.0))
    cloud.start()
    yield cloud.endpoint
    cloud.stop()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with README's program and the image that it names."""
    (tmp_path / "__main__.py").write_text(readme("python"))
    disk_file(tmp_path / "web.raw")
    return tmp_path


def test_the_wheel_holds_the_library_alone(checkout: Path, wheel: Path) -> None:
    """An install would miss a file (AWS's models, the licence), or put packages in the place of a user's own."""
    here = {
        str(file.relative_to(checkout))
        for package in LIBRARY
        for file in (checkout / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {"fleetswap/py.typed", "fleetswap_pulumi/py.typed", "fleetswap/aws/models/endpoints.json"} <= here
    packed = set(zipfile.ZipFile(wheel).namelist())
    others = {name for name in packed if name.partition("/")[0] not in LIBRARY}
    assert packed - others == here
    assert {name.partition("/")[0] for name in others} == {f"fleetswap-{metadata.version('fleetswap')}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in others)


def test_the_environment_has_no_checkout(environment: Path, tmp_path: Path) -> None:
    """The tests of this file would pass with the checkout's packages, and say nothing of the wheel's."""
    look = (
        "import importlib.util as u, fleetswap, fleetswap_pulumi;"
        "print(fleetswap.__file__, fleetswap_pulumi.__file__,"
        " [n for n in ('components', 'infra', 'localcloud', 'engine', 'tools', 'moto', 'pytest') if u.find_spec(n)])"
    )
    python = [str(environment / "bin/python"), "-c", look]
    said = subprocess.run(python, cwd=tmp_path, env={}, check=True, capture_output=True, text=True).stdout.split()
    assert [Path(place).is_relative_to(environment) for place in said[:2]] == [True, True]
    assert said[2:] == ["[]"]
    subprocess.run([environment / "bin/fleetswap", "--help"], cwd=tmp_path, env={}, check=True, capture_output=True)


def test_the_program_with_mocks(environment: Path, project: Path, endpoint: str) -> None:
    """Who writes the program of the README could not test it as Pulumi teaches, or it would declare no fleet."""
    keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "PATH": os.defpath}
    command = [str(environment / "bin/python"), "-c", MOCKS, endpoint]
    done = subprocess.run(command, cwd=project, env=keys, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made, outputs = json.loads(done.stdout)
    (entry,) = outputs["ledger"]["entries"]
    kinds = {kind.rpartition(":")[2] for kind in made[entry["release"]]}
    assert kinds > {"Release", "DiskImage", "MachineImage", "LaunchTemplate", "Group", "TargetGroup", "PreviewRule"}
    assert (outputs["live"], outputs["url"]) == (entry["release"], "http://front.example")
    assert entry["image"]["file"] == "web.raw"


def test_the_program_with_the_engine(environment: Path, project: Path, endpoint: str, engine_bin: Path) -> None:
    """README's program would not run under Pulumi; or what ships its image would miss a file of the library."""
    stack = Stack(project, endpoint, engine_bin, venv=environment, program=readme("python"))
    stack.config = {"fleetswap:endpoint": endpoint}
    steps = json.loads(stack.run("preview", "--json"))["steps"]
    assert {step["op"] for step in steps} == {"create"}
    urns = [step["urn"] for step in steps]
    (release,) = (urn.rpartition("::")[2] for urn in urns if "::fleetswap:components:Release::" in urn)
    assert [urn for urn in urns if urn.endswith(f"aws:ec2/ami:Ami::{release}")]
    assert [urn for urn in urns if urn.endswith(":dynamic/fleetswap:Rollout::web")]

    image = [f"--target={urn}" for urn in urns if urn.endswith((f":Release::{release}", f":DiskImage::{release}"))]
    stack.run("up", "--yes", "--skip-preview", *image)
    with Clients(endpoint) as clients:
        (snapshot,) = clients.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert snapshot["State"] == "completed"
    assert "ledger" not in stack.outputs(), "nothing is live yet, and the next update begins with a new ledger"
    assert '"op": "create"' in stack.run("preview", "--json")
