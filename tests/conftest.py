"""For all tests: what each needs, which may run side by side, and that Hypothesis does not mind a busy machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import needs

# Run by a shell in the background, the tests and all that they start would ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline is a timing; on a shared machine it fails at random.
# No test asserts timings: a busy machine is no failure.
hypothesis.settings.register_profile(
    "fleetswap", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("fleetswap")

GROUPS = {
    "e2e": ("e2e",),
    "rollouts": (),
    "engine": ("engine",),
    "localcloud": ("machines", "haproxy"),
    "served": ("localcloud",),
    "images": ("nix", "disks", "debian13", "go"),
}
"""What runs other programs, by folder or else by marker: groups for `make test`, in the order in which they begin."""

ROLLOUTS = {"test_rollout.py", "test_scaling.py", "test_spot.py"}
"""The modules of tests/e2e that are a group of their own: all of it takes longer than everything else."""

UNMEASURED = (
    "e2e",
    "engine",
    "localcloud",
    "cli/test_gc.py",
    "image/test_local_cloud.py",
    "image/test_pace.py",
    "image/test_resume.py",
    "program/test_attested.py",
    "program/test_disk_image.py",
    "program/test_preview.py",
    "program/test_sealed_secrets.py",
    "rollout/test_aws.py",
    "rollout/test_judgement.py",
    "rollout/test_metrics_simulated.py",
    "rollout/test_now.py",
    "rollout/test_rates.py",
    "rollout/test_run.py",
    "secrets/test_open_secrets.py",
)
"""Folders, and the modules that compute longest, whose tests run nothing of fleetswap/domain that others must not run
as well."""

REFUSALS = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Write the programs that refuse, and know the groups also where pytest-xdist is off."""
    config.addinivalue_line("markers", "xdist_group(name): the group of a test, of pytest-xdist")
    folder = Path(tempfile.mkdtemp(prefix="fleetswap-needs-"))
    needs.write_refusals(folder)
    config.stash[REFUSALS] = folder


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take them away."""
    shutil.rmtree(config.stash[REFUSALS], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where records of rollouts go: those of tests are of no use to who runs them."""
    home = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home))
        yield home


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker, and pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups for `make test`, each on one worker, the longest first: the short ones fill what is left of each worker.

    Tests that run programs share ports, machines and folders with others of their kind, and wait most of their time;
    what only computes goes by modules. Within a group the order stays: the tests of a story follow one another.
    """
    for item in items:
        needs.mark(item)
        if item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.xdist_group(_group(item)))
    if items and hasattr(items[0].config, "workerinput"):
        items.sort(key=_turn)


def _module(item: pytest.Item) -> Path:
    return item.path.relative_to(Path(__file__).parent)


def _group(item: pytest.Item) -> str:
    path = _module(item)
    if path.parts[0] == "e2e" and path.name in ROLLOUTS:
        return "rollouts"
    if path.parts[0] in GROUPS:
        return path.parts[0]
    for group, markers in GROUPS.items():
        if any(item.get_closest_marker(marker) for marker in markers):
            return group
    return str(path.with_suffix(""))


def _turn(item: pytest.Item) -> int:
    """When its group is handed out. What is slow is in none, unless it shares its work with others."""
    if item.get_closest_marker("slow"):
        return len(GROUPS)
    group = _group(item)
    return [*GROUPS].index(group) if group in GROUPS else len(GROUPS) + 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test, with all fixtures that are made for it, finds on PATH only what it needs, and is measured or not."""
    path, tracers = os.environ["PATH"], (sys.gettrace(), threading.gettrace())
    os.environ["PATH"] = needs.path_of(item, item.config.stash[REFUSALS], path)
    if not _is_measured(item):
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type] # the stubs have no way to end it
    try:
        return (yield)
    finally:
        os.environ["PATH"] = path
        sys.settrace(tracers[0])
        threading.settrace(tracers[1])  # type: ignore[arg-type] # what gettrace gave


def _is_measured(item: pytest.Item) -> bool:
    """Whether the coverage of fleetswap/domain counts what a test runs: it makes a test two to three times as slow.

    The marker `no_cover` does not do: pytest-cov 7.0 measures twice in a worker of pytest-xdist, and pauses once.
    """
    return not any(map(_module(item).is_relative_to, UNMEASURED)) and item.get_closest_marker("slow") is None


@pytest.fixture(scope="session")
def _local_cloud() -> None:
    """For what starts a local cloud, or moto alone: the tests that use it get the marker `localcloud`."""


@pytest.fixture(scope="session")
def engine_bin() -> Path:
    """The directory of the real engine, as `make` finds it."""
    found = subprocess.run([needs.ROOT / "engine/find-or-build"], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip())


@pytest.fixture(scope="session")
def debian13() -> Path:
    """The program that runs a command with Debian 13's programs; they are fetched if `make` has not."""
    subprocess.run([needs.ROOT / "tools/debian13"], check=True)
    return needs.ROOT / "tools/debian13-run"
