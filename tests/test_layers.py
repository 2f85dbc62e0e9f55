"""Imports go one way: every package of ours is watched, each rule is broken by an import that breaks it, and
ARCHITECTURE.md tells the truth about who imports whom.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest

from tools.imports import ROOT, between, packages, read, room_of

SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
CONTRACTS = [contract["name"] for contract in SETTINGS["importlinter"]["contracts"]]

PLANTED = {
    "imports go one way": [
        ("bench.measure", "tests.conftest"),
        ("tools.trim_models", "bench.measure"),
        ("localcloud.sns", "engine.sdk_protocol"),
        ("engine.run_program", "localcloud.sns"),
        ("infra.config", "tools.trim_models"),
        ("components.network", "infra.config"),
        ("fleetswap_pulumi.context", "components.network"),
        ("fleetswap_pulumi.speech", "fleetswap.cli.options"),
        ("fleetswap.aws.account", "fleetswap.workflows.stop"),
        ("fleetswap.domain.text", "fleetswap.aws.account"),
    ],
    "images and rollouts do not import each other": [("fleetswap.domain.image.vhd", "fleetswap.domain.rollout.rates")],
    "the workflows of images and of rollouts do not import each other": [
        ("fleetswap.workflows.rollout.ports", "fleetswap.workflows.image.pacer")
    ],
    "the adapters of images and of rollouts do not import each other": [
        ("fleetswap.aws.image.signing", "fleetswap.aws.rollout.probe")
    ],
    "decisions need the standard library alone": [("fleetswap.domain.tags", "pydantic")],
    "workflows speak through ports": [
        ("fleetswap.workflows.stop", "boto3"),
        ("fleetswap.workflows.retry", "fleetswap.nix.build"),
        ("fleetswap.workflows.clock", "fleetswap.qemu.guard"),
        ("fleetswap.workflows.stop", "fleetswap.sops.rules"),
    ],
    "fleetswap does not know Pulumi": [("fleetswap.nix.build", "pulumi")],
    "the stand-ins for AWS and Pulumi import nothing of what they are for": [
        ("localcloud.sns", "fleetswap.domain.tags"),
        ("engine.sdk_protocol", "infra.config"),
    ],
    "the rooms of the local cloud have an order": [("localcloud.patches", "localcloud.iam")],
    "the AWS plugin and the language host do not import each other": [("engine.sdk_protocol", "engine.run_program")],
}
"""For each contract imports that must break it: who imports what."""

CIRCLES = [
    ("bench.figures", "bench.phases"),
    ("components.network", "components.switch"),
    ("engine.language_host", "engine.sdk_protocol"),
    ("fleetswap.domain.tags", "fleetswap.domain.errors"),
    ("fleetswap_pulumi.switch", "fleetswap_pulumi.context"),
    ("infra.config", "infra.__main__"),
    ("localcloud.sns", "localcloud.moto_state"),
    ("policy.pack", "policy.__main__"),
    ("tests.fakes.reads", "tests.fakes.wire"),
    ("tools.rates_power", "tools.trim_models"),
]
"""One in each package; each of the two is made to import the other."""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What import-linter says of each contract it finds broken, in a copy of our packages with all of these imports."""
    copy = tmp_path_factory.mktemp("planted")
    for package in packages():
        shutil.copytree(ROOT / package, copy / package, ignore=lambda _, names: [n for n in names if not _is_code(n)])
    shutil.copy(ROOT / "pyproject.toml", copy)
    assert _broken(copy) == {}, "before anything is planted"
    circles = [pair for one, other in CIRCLES for pair in ((one, other), (other, one))]
    for importer, imported in (*circles, *(pair for pairs in PLANTED.values() for pair in pairs)):
        with (copy / f"{importer.replace('.', '/')}.py").open("a") as file:
            file.write(f"\nimport {imported}\n")
    return _broken(copy)


def _is_code(name: str) -> bool:
    return name.endswith(".py") or ("." not in name and name != "__pycache__")


def _broken(folder: Path) -> dict[str, str]:
    """What is said of each broken contract, by its name."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout
    assert re.findall(r"^(.+) (?:KEPT|BROKEN)\b", said, re.MULTILINE) == CONTRACTS, said
    _, _, told = said.partition("\nBroken contracts\n")
    parts = re.split(r"^(.+)\n-{3,}\n", told, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_package_is_watched() -> None:
    """A new package could import anything, be unformatted and untyped, and no one would notice."""
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    ours = sorted({line.partition("/")[0] for line in tracked.splitlines() if "/" in line} - {"nix"})
    assert sorted(packages()) == ours
    assert sorted(SETTINGS["ruff"]["lint"]["isort"]["known-first-party"]) == ours
    (sources,) = re.findall(r"^sources := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    # The builder of images is a package of no one: it is run where nothing else of this is, with Python alone.
    assert sorted(sources.split()) == sorted([*ours, "nix/image"])
    circles = next(each for each in SETTINGS["importlinter"]["contracts"] if each["type"] == "acyclic_siblings")
    assert sorted(circles["ancestors"]) == ours


@pytest.mark.parametrize("contract", [name for name in CONTRACTS if name != "there is no circle"])
def test_an_import_against_a_rule_is_found(contract: str, planted: dict[str, str]) -> None:
    """The rule would be a sentence that nothing holds."""
    for importer, imported in PLANTED[contract]:
        assert re.search(rf"{re.escape(importer)} -> {re.escape(imported)} \(l\.", planted[contract]), planted[contract]


def test_a_circle_is_found_in_each_package(planted: dict[str, str]) -> None:
    """Two modules that need each other can be read, tested and moved only together."""
    told = planted["there is no circle"]
    assert {one.partition(".")[0] for one, _ in CIRCLES} == set(packages())
    for one, _ in CIRCLES:
        assert f"No cycles are allowed in {one.rpartition('.')[0]}.\n" in told, told


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return read(external=True)


def test_decisions_import_the_standard_library_alone(graph: grimp.ImportGraph) -> None:
    """A library that no contract names would come into what must run anywhere, and be tested without anything."""
    ours = {module for module in graph.modules if module.startswith("fleetswap.domain")}
    imported = {each for module in ours for each in graph.find_modules_directly_imported_by(module)} - ours
    assert imported <= sys.stdlib_module_names


def test_the_architecture_says_who_imports_whom(graph: grimp.ImportGraph) -> None:
    """A newcomer would put code where it may not be, or think that a room is independent which is not."""
    rooms, _ = between(graph)
    told = {}
    for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines():
        if match := re.fullmatch(r"\| `([\w/]+)/` \| .+ \| (.+) \|", line):
            told[match[1].replace("/", ".")] = {each.replace("/", ".") for each in re.findall(r"`([\w/]+)`", match[2])}
    ours = {room_of(module) for module in graph.modules if module.partition(".")[0] in packages()}
    ours -= {"fleetswap", "fleetswap.__main__"}  # they are no packages: the one is all of them
    assert set(told) == ours
    del told["tests"]
    assert told == {room: {other for other in ours if rooms[room, other]} for room in told}


def test_the_architecture_names_every_folder() -> None:
    """A newcomer would find a folder of which the tree says nothing, or look for one that is gone."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    parents = {parent for line in tracked.splitlines() for parent in Path(line).parents if parent.parts[:1] != (".ci",)}
    there = {f"{parent}/" for parent in parents if 1 <= len(parent.parts) <= 2}
    page = (ROOT / "ARCHITECTURE.md").read_text()
    (tree,) = re.findall(r"## The tree\n.*?```\n(.*?)```", page, re.DOTALL)
    named, top = set(), ""
    for line in tree.splitlines():
        indent, name = re.fullmatch(r"( *)(\S+)(?:  +\S.*)?", line).groups()  # type: ignore[union-attr] # else it fails
        top = top if indent else name
        named.add(f"{top}{name}" if indent else name)
    assert named == there
