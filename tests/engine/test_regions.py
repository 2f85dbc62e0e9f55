"""A stack of two regions with the real engine, each with a local cloud of its own; no machine boots."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.engine.aws_plugin.test_real_engine import Stack
from tests.engine.test_assumed_role import PROGRAM
from tests.fakes.ebs import disk_file

pytestmark = pytest.mark.engine

REGIONS = ("us-east-1", "eu-west-1")


@pytest.fixture
def endpoints(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A local cloud for each region."""
    started: dict[str, str] = {}
    for region in REGIONS:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "localcloud", "start", "--dir", str(tmp_path / region), "--port", str(port)]
        subprocess.run(command, env={**os.environ, "LOCALCLOUD_REGION": region}, check=True, capture_output=True)
        started[region] = f"http://127.0.0.1:{port}"
    yield started
    for region in started:
        stop = [sys.executable, "-m", "localcloud", "stop", "--dir", str(tmp_path / region)]
        subprocess.run(stop, check=True, capture_output=True)


def images(region: str, endpoint: str) -> list[str]:
    """The AMIs' names without what Pulumi puts behind them."""
    session = boto3.session.Session("local", "local", region_name=region)
    found = session.client("ec2", endpoint_url=endpoint).describe_images(Owners=["self"])["Images"]
    return [image["Name"].rpartition("-")[0] for image in found]


def test_each_region_gets_a_fleet_of_its_own(endpoints: dict[str, str], tmp_path: Path, engine_bin: Path) -> None:
    """The engine would take the resources of one region for those of another, or find no image there."""
    folder = tmp_path / "project"
    folder.mkdir()
    disk_file(folder / "web.raw")
    home, west = (endpoints[region] for region in REGIONS)
    stack = Stack(folder, home, engine_bin, program=PROGRAM)
    config: Any = {
        "aws:region": REGIONS[0],
        "fleetswap:endpoint": home,
        "fleetswap:service": "web",
        "fleetswap:image": {"file": "web.raw"},
        "fleetswap:regions": {REGIONS[1]: {"endpoint": west, "network": {"cidr": "10.78.0.0/16"}}},
    }
    stack.config = config
    stack.run("up", "--yes", "--skip-preview", "--exclude", "**dynamic/fleetswap:Rollout**")
    names = [images(region, endpoints[region]) for region in REGIONS]
    assert len(names[0]) == 1
    assert names[0] == names[1]
    del config["fleetswap:regions"]
    assert "the stack has a fleet in eu-west-1" in stack.run("preview", expected=1)
