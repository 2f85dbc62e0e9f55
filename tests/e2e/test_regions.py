"""Two regions with real machines, in two waves, under load: the second fails, and the update is retried."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.load import Load
from tests.e2e.stack import PORT, WORKER, LocalStack, Ran

pytestmark = [pytest.mark.e2e]

HOME, SECOND = "eu-west-1", "us-east-1"
PORTS = {HOME: PORT, SECOND: PORT + 1}
NEVER_HEALTHY = {"health": {"path": "/missing"}, "rollout": {"deadline": 20}}
"""Of one region: its candidate boots, and answers every health check with a 404."""


def cloud(verb: str, folder: Path) -> None:
    """Start or stop the local cloud of the second region; `make` has that of the home region."""
    port = ["--port", str(PORTS[SECOND])] if verb == "start" else []
    command = [sys.executable, "-m", "localcloud", verb, "--dir", str(folder / SECOND), *port]
    subprocess.run(command, env={**os.environ, "LOCALCLOUD_REGION": SECOND}, check=True, capture_output=True)


def second(**settings: Any) -> dict[str, Any]:
    """The setting `regions`."""
    where = {"endpoint": f"http://127.0.0.1:{PORTS[SECOND]}", "network": {"cidr": f"10.{88 + WORKER}.0.0/16"}}
    return {SECOND: where | settings}


@pytest.fixture(scope="module")
def fleets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LocalStack]]:
    """The stack, and whom to ask what is there in each region; one machine each, version 1, in one wave."""
    folder = tmp_path_factory.mktemp("regions")
    seen = {region: LocalStack(folder, region=region, port=port) for region, port in PORTS.items()}
    home = seen[HOME]
    home.set(capacity={"min": 1, "max": 2}, regions=second(wave=1))
    cloud("start", folder)
    try:
        assert home.run("up").status == 0
        yield seen
    finally:
        home.run("down")
        cloud("stop", folder)


def under_load(fleets: dict[str, LocalStack], version: str) -> Ran:
    """Deploy while users ask in both regions. None of their requests may be lost."""
    loads = {region: Load(stack.url, pause=0.2, users=2) for region, stack in fleets.items()}
    with ExitStack() as users:
        for load in loads.values():
            users.enter_context(load)
        ran = fleets[HOME].run("up", version=version)
    for region, load in loads.items():
        print(region, load.report())
    assert {region: dict(load.failures) for region, load in loads.items()} == {region: {} for region in fleets}
    assert all(load.answers for load in loads.values())
    return ran


def live(fleets: dict[str, LocalStack]) -> dict[str, str]:
    """The version that each region's users get."""
    return {region: stack.get().split()[1] for region, stack in fleets.items()}


def test_a_region_that_fails_stays_as_it_was_and_those_before_it_as_they_are(fleets: dict[str, LocalStack]) -> None:
    """A release that no machine of a region can run would get its users, or those of the regions before would be sent
    back; or nobody could tell from the update what is where.
    """
    before = fleets[SECOND].weights()
    assert live(fleets) == {HOME: "1", SECOND: "1"}
    fleets[HOME].set(regions=second(**NEVER_HEALTHY))
    ran = under_load(fleets, "2")
    assert ran.status != 0
    assert live(fleets) == {HOME: "2", SECOND: "1"}
    assert fleets[SECOND].weights() == before
    (new,) = fleets[HOME].weights()
    assert re.search(
        rf"error: .*{SECOND}: release \S+ is not healthy after \d+ s: .*; {HOME} serves {new}$", ran.said, re.M
    )
    assert f"{SECOND}: serving now: {next(iter(before))}" in ran.said


def test_the_next_update_goes_on(fleets: dict[str, LocalStack]) -> None:
    """After its repair, a region's users would stay with the version before; or the home region would be deployed once
    more.
    """
    home = fleets[HOME].weights()
    fleets[HOME].set(regions=second())
    assert under_load(fleets, "2").status == 0
    assert live(fleets) == {HOME: "2", SECOND: "2"}
    assert fleets[HOME].weights() == home
    assert [sum(stack.weights().values()) for stack in fleets.values()] == [100, 100]
