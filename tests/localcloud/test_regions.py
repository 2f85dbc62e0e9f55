"""A local cloud of each region."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend

from localcloud.regions import KNOWN, addresses
from tools.local.config import front_address

if TYPE_CHECKING:
    from pathlib import Path


def test_no_two_regions_answer_at_the_same_addresses() -> None:
    """A load balancer of one region would take requests to another's, or `make up` look for a free port elsewhere."""
    assert len({addresses(region) for region in KNOWN}) == len(KNOWN)
    assert {region: f"{addresses(region)}1" for region in KNOWN} == {region: front_address(region) for region in KNOWN}
    assert addresses("us-east-1") == "127.66.0."


def test_each_region_has_its_own_hosted_zones_and_a_network() -> None:
    """An alias of one region's load balancer would be taken for another's, or a fleet find no second zone."""
    assert len({zone for each in KNOWN.values() for zone in (each.balancers, each.endpoints)}) == 2 * len(KNOWN)
    assert [region for region in KNOWN if len(RegionsAndZonesBackend.zones.get(region, ())) < 2] == []


@pytest.mark.parametrize("verb", ["start", "serve"])
def test_a_region_that_it_does_not_know_is_refused(tmp_path: Path, verb: str) -> None:
    """A misspelt region would end in an error somewhere within moto."""
    command = [sys.executable, "-m", "localcloud", verb, "--dir", str(tmp_path), "--port", "1"]
    done = subprocess.run(
        command, env={"LOCALCLOUD_REGION": "eu-wset-1"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("LOCALCLOUD_REGION is 'eu-wset-1': the local cloud knows af-south-1, ")
