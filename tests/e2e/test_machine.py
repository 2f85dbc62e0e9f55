"""A machine with systemd, laid out as a NixOS image is: from its closure to an answer, and a change of its application.

The stack is its own, and so the order of its tests: the second deploys on top of what the first has deployed.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.e2e.stack import ROOT, LocalStack

pytestmark = pytest.mark.debian13

PATIENT = {"strategy": "all-at-once", "bake": 0, "deadline": 300, "readings": 2, "interval": 0.5, "convergence": 4}

MOST_BLOCKS = 12
"""For a change of the application: its own, that of what names it (units, /etc, the system), that of the UKI's command
line, those of the store's inodes, and the map at the end of the snapshot. The disk has 388."""


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack that deploys the Debian machine."""
    subprocess.run([ROOT / "nix/debian/fetch-parts", ROOT / ".work/debian"], check=True)
    stack = LocalStack(tmp_path_factory.mktemp("machines"))
    image = stack.config["fleetswap:image"]
    image["nix"]["expression"] = "nix/debian"
    # A machine is several processes here, which an emulator runs one after another.
    stack.set(image=image, capacity={"min": 1, "max": 2}, health={"drain": 5, "grace": 180}, rollout=PATIENT)
    yield stack
    stack.run("down")


def console(stack: LocalStack) -> str:
    """What the newest machine said."""
    ec2 = stack.client("ec2")
    running = [
        instance
        for reservation in ec2.describe_instances()["Reservations"]
        for instance in reservation["Instances"]
        if instance["State"]["Name"] == "running"
    ]
    newest = max(running, key=lambda instance: instance["LaunchTime"])
    return str(ec2.get_console_output(InstanceId=newest["InstanceId"], Latest=True).get("Output", ""))


def blocks(said: str) -> tuple[int, int]:
    """How many blocks the image has and how many were sent, as the update says."""
    found = re.search(r"is complete: ([\d,]+) blocks, ([\d,]+) sent", said)
    assert found is not None
    return int(found[1].replace(",", "")), int(found[2].replace(",", ""))


def test_a_closure_with_systemd_becomes_a_machine_that_answers(machines: LocalStack) -> None:
    """An image laid out by the builder would not boot, find its store, get an address or know which instance it is."""
    ran = machines.run("up", version="1")
    assert ran.status == 0
    assert re.fullmatch(r"version 1 on i-[0-9a-f]+", machines.get())
    assert machines.get("version") == "1"


def test_the_machine_tells_what_it_waited_for(machines: LocalStack) -> None:
    """A boot that has become slow could not be explained, or the report would go on for ever."""
    deadline = time.monotonic() + 90
    while "web.service @" not in console(machines) and time.monotonic() < deadline:
        time.sleep(1)
    said = console(machines)
    assert said.count("web.service @") == 1
    assert re.search(r"Startup finished in [\d.]+s \(kernel\) \+ [\d.]+s \(userspace\)", said)
    assert re.search(r"fleetswap-debian version 1: serving on :8080 as i-[0-9a-f]{17} after", said)


def test_a_change_of_the_application_moves_few_blocks(machines: LocalStack) -> None:
    """An application of a few kilobytes would move a whole system unseen, or a machine would go on with the old one."""
    ran = machines.run("up", version="2")
    assert ran.status == 0
    assert "fleetswap-web 1 → 2" in ran.said
    whole, sent = blocks(ran.said)
    assert sent <= MOST_BLOCKS < whole / 10
    assert machines.serves("2")
