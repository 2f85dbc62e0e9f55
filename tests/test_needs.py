"""The fast tests need nothing but Python, and no test has what its markers do not say."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib

import pytest

from tests.needs import FIXTURES, FOLDERS, PROGRAMS, ROOT


def test_a_program_refuses_a_test_without_its_marker() -> None:
    """A forgotten marker would be noticed only where the program is not installed: on a newcomer's machine."""
    for marker, programs in PROGRAMS.items():
        for program in programs.split():
            done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (
                97,
                f"{program}: the test that runs it lacks the marker `{marker}`\n",
            )


@pytest.mark.haproxy
def test_a_marker_gives_its_programs_and_no_others() -> None:
    """A test would fail that says what it needs, or one marker would stand for everything."""
    found = {marker: [shutil.which(program) or "" for program in PROGRAMS[marker].split()] for marker in PROGRAMS}
    refusing = {marker for marker, paths in found.items() if all(f"/{marker}/" in path for path in paths)}
    assert refusing == set(PROGRAMS) - {"haproxy"}


def test_the_fast_tests_leave_out_every_marker() -> None:
    """`make test-fast` would start whatever a new marker stands for."""
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    names = {line.partition(":")[0] for line in markers}
    assert {*PROGRAMS, *(name for needed in [*FIXTURES.values(), *FOLDERS.values()] for name in needed)} <= names
    (expression,) = re.findall(r"^fast := not \((.*)\)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(expression.split(" or ")) == names


def test_whatever_starts_a_local_cloud_is_marked() -> None:
    """`make test-fast` would start it: a local cloud, unlike a program, cannot refuse."""
    calls = {"LocalCloud", "mock_aws", "serve"}
    unmarked = []
    for file in sorted((ROOT / "tests").rglob("*.py")):
        text = file.read_text()
        if not any(f"{name}(" in text for name in calls):
            continue
        for function in ast.walk(ast.parse(text)):
            if isinstance(function, ast.FunctionDef):
                called = {ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
                head = [ast.unparse(part) for part in (function.args, *function.decorator_list)]
                if called & calls and not any("_local_cloud" in part for part in head):
                    unmarked.append(f"{file.relative_to(ROOT)}: {function.name}")
    assert unmarked == ["tests/fakes/localcloud.py: main"], "let the fixture that starts it take `_local_cloud`"


def test_the_folders_are_there() -> None:
    """A folder that was renamed would lose its markers, and its tests fail one by one."""
    assert [folder for folder in FOLDERS if not (ROOT / folder / "__init__.py").exists()] == []
