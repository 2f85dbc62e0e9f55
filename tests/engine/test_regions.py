"""A stack of two regions with the real engine, each with a local cloud of its own; no machine boots."""

from __future__ import annotations

import json
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
    try:
        for region in REGIONS:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            folder = str(tmp_path / region)
            command = [sys.executable, "-m", "localcloud", "start", "--dir", folder, "--port", str(port)]
            subprocess.run(command, env={**os.environ, "LOCALCLOUD_REGION": region}, check=True, capture_output=True)
            started[region] = f"http://127.0.0.1:{port}"
        yield started
    finally:
        for region in started:
            stop = [sys.executable, "-m", "localcloud", "stop", "--dir", str(tmp_path / region)]
            subprocess.run(stop, check=True, capture_output=True)


ROLLOUTS = "**dynamic/fleetswap:Rollout**"
"""No machine boots here."""


def tags(region: str, endpoint: str) -> list[str]:
    """The tag `look` of the stack's VPC."""
    session = boto3.session.Session("local", "local", region_name=region)
    named = [{"Name": "tag-key", "Values": ["look"]}]
    found = session.client("ec2", endpoint_url=endpoint).describe_vpcs(Filters=named)["Vpcs"]  # type: ignore[arg-type]
    return [tag["Value"] for vpc in found for tag in vpc["Tags"] if tag["Key"] == "look"]


def west(stack: Stack) -> dict[str, Any]:
    """What the state has of the western region, by URN; but for its component, whose outputs nobody reads."""
    resources = json.loads(stack.run("stack", "export", "--show-secrets"))["deployment"]["resources"]
    return {each["urn"]: each for each in resources if f"regions/{REGIONS[1]}:Region$" in each["urn"]}


def images(region: str, endpoint: str) -> list[str]:
    """The AMIs' names without what Pulumi puts behind them."""
    session = boto3.session.Session("local", "local", region_name=region)
    found = session.client("ec2", endpoint_url=endpoint).describe_images(Owners=["self"])["Images"]
    return [image["Name"].rpartition("-")[0] for image in found]


def test_each_region_has_a_fleet_and_one_that_is_down_stays_as_it_is(
    endpoints: dict[str, str], tmp_path: Path, engine_bin: Path
) -> None:
    """The engine would take the resources of one region for those of another, or find no image there; and a region that
    cannot be reached would hold up all the others, or be deleted by who deploys without it.
    """
    folder = tmp_path / "project"
    folder.mkdir()
    disk_file(folder / "web.raw")
    home, there = endpoints[REGIONS[0]], (REGIONS[1], endpoints[REGIONS[1]])
    stack = Stack(folder, home, engine_bin, program=PROGRAM)
    config: Any = {
        "aws:region": REGIONS[0],
        "fleetswap:endpoint": home,
        "fleetswap:service": "web",
        "fleetswap:image": {"file": "web.raw"},
        "fleetswap:tags": {"look": "1"},
        "fleetswap:regions": {REGIONS[1]: {"endpoint": there[1], "network": {"cidr": "10.78.0.0/16"}}},
    }
    stack.config = config
    stack.run("up", "--yes", "--skip-preview", "--exclude", ROLLOUTS)
    names = [images(region, endpoints[region]) for region in REGIONS]
    assert len(names[0]) == 1
    assert names[0] == names[1]

    before, outputs = west(stack), stack.outputs()
    config["fleetswap:tags"] = {"look": "2"}
    of_west = config["fleetswap:regions"][REGIONS[1]]
    of_west["endpoint"] = "http://127.0.0.1:9"  # the port that discards, where nobody listens
    told = stack.run("up", "--yes", "--skip-preview", "--exclude", ROLLOUTS, expected=1)
    assert f"set fleetswap:regions.{REGIONS[1]}.skip to true and run `pulumi up --exclude" in told
    of_west["skip"] = True
    for command in (["preview"], ["up", "--yes", "--skip-preview", "--exclude", ROLLOUTS]):
        told = stack.run(*command, expected=1)
        assert f"without --exclude '**regions/{REGIONS[1]}:Region**' this command would delete it" in told
    assert (west(stack), tags(REGIONS[0], home)) == (before, ["1"])
    left_out = ["--exclude", ROLLOUTS, "--exclude", f"**regions/{REGIONS[1]}:Region**"]
    stack.run("preview", *left_out)
    assert f"{REGIONS[1]} is skipped: its fleet stays as it is" in stack.run("up", "--yes", "--skip-preview", *left_out)
    assert (tags(REGIONS[0], home), tags(*there)) == (["2"], ["1"])
    assert west(stack) == before
    assert stack.outputs()["regions"] == {
        REGIONS[1]: {key: each for key, each in outputs["regions"][REGIONS[1]].items() if each is not None}
    }

    of_west.update(endpoint=there[1], skip=False)
    stack.run("up", "--yes", "--skip-preview", "--exclude", ROLLOUTS)
    assert (tags(REGIONS[0], home), tags(*there)) == (["2"], ["2"])
    del config["fleetswap:regions"]
    assert "the stack has a fleet in eu-west-1" in stack.run("preview", expected=1)
