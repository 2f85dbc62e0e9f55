"""The key of secrets before there is anything else, with the real engine: what `fleetswap secrets init` runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.ebs.store import SnapshotStore
from localcloud.server import LocalCloud
from tests.engine.aws_plugin.test_real_engine import Stack
from tests.fakes.ebs import disk_file
from tests.localcloud.clients import Clients

PROGRAM = """
import pulumi

from fleetswap_pulumi.fleet import deploy
from fleetswap_pulumi.settings import ImageSettings, Settings

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
ALONE = "**fleetswap:components:SealedSecrets**"


@pytest.fixture(scope="module")
def endpoint(_local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("cloud")
    cloud = LocalCloud(root, 0, machines=False, store=SnapshotStore(root / "snapshots", settle_seconds=0.0))
    cloud.start()
    yield cloud.endpoint
    cloud.stop()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, endpoint: str, engine_bin: Path) -> Stack:
    """One for all tests, because each start of the engine takes seconds; each leaves it without resources."""
    made = Stack(tmp_path_factory.mktemp("project"), endpoint, engine_bin, program=PROGRAM)
    made.config = {"fleetswap:endpoint": endpoint}
    return made


def test_the_key_is_made_alone_and_goes_with_the_stack(stack: Stack, endpoint: str) -> None:
    """Nothing could be sealed before the first image is deployed, or a stack with secrets never be destroyed."""
    disk_file(stack.folder / "web.raw")
    stack.config["fleetswap:secrets"] = json.dumps({"attested": True})
    stack.run("up", "--yes", "--target", ALONE)
    outputs = stack.outputs()
    assert "ledger" not in outputs
    told = outputs["secrets"]
    with Clients(endpoint) as clients:
        kms = clients.client("kms")
        assert kms.describe_key(KeyId=told["alias"])["KeyMetadata"]["Arn"] == told["key"]
        sealed = kms.encrypt(KeyId=told["key"], Plaintext=b"data key", EncryptionContext=told["context"])
        assert sealed["KeyId"] == told["key"]
        assert not clients.ec2.describe_images(Owners=["self"])["Images"]
        stack.run("destroy", "--yes", "--skip-preview")
        # KMS shows it a while later than it does it.
        for _ in range(300):
            state = kms.describe_key(KeyId=told["key"])["KeyMetadata"]["KeyState"]
            if state == "PendingDeletion":
                break
            time.sleep(0.1)
        assert state == "PendingDeletion"


def test_without_an_image_the_first_update_makes_the_key(stack: Stack) -> None:
    """An image cannot be built before its sealed file is, nor that be sealed before there is a key."""
    stack.config["fleetswap:secrets"] = json.dumps({"file": "sealed.yaml"})
    said = stack.run("up", "--yes", "--skip-preview")
    assert "once sealed.yaml is sealed with that key (`fleetswap secrets init`), the next update deploys" in said
    assert stack.outputs()["secrets"]["stack_key"]
    said = stack.run("preview", expected=1)
    assert "fleetswap:secrets.file: sealed.yaml does not exist" in said
