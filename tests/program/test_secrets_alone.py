"""The key of secrets before there is an image, with the real engine; that alone: tests/engine/test_secrets_init.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.ebs.store import SnapshotStore
from localcloud.server import LocalCloud
from tests.engine.aws_plugin.test_real_engine import Stack

PROGRAM = """
import pulumi

from fleetswap_pulumi.fleet import deploy
from fleetswap_pulumi.image_settings import ImageSettings
from fleetswap_pulumi.settings import Settings

config = pulumi.Config("fleetswap")
deploy(
    Settings(
        service="web",
        region="us-east-1",
        image=ImageSettings(file="web.raw", ami={"tpm_support": "v2.0"}),
        secrets=config.require_object("secrets"),
        endpoint=config.require("endpoint"),
    )
)
"""


@pytest.fixture
def endpoint(_local_cloud: None, tmp_path: Path) -> Iterator[str]:
    root = tmp_path / "cloud"
    cloud = LocalCloud(root, 0, machines=False, store=SnapshotStore(root / "snapshots", settle_seconds=0.0))
    cloud.start()
    yield cloud.endpoint
    cloud.stop()


@pytest.fixture
def stack(tmp_path: Path, endpoint: str, engine_bin: Path) -> Stack:
    (tmp_path / "project").mkdir()
    made = Stack(tmp_path / "project", endpoint, engine_bin, program=PROGRAM)
    made.config = {"fleetswap:endpoint": endpoint}
    return made


def test_without_an_image_the_first_update_makes_the_key(stack: Stack) -> None:
    """An image cannot be built before its sealed file is, nor that be sealed before there is a key."""
    stack.config["fleetswap:secrets"] = json.dumps({"file": "sealed.yaml"})
    said = stack.run("up", "--yes", "--skip-preview")
    assert "once sealed.yaml is sealed with that key (`fleetswap secrets init`), the next update deploys" in said
    assert stack.outputs()["secrets"]["stack_key"]
    said = stack.run("preview", expected=1)
    assert "fleetswap:secrets.file: sealed.yaml does not exist" in said
