"""From staging's account to production's over the wire, against the local cloud: EC2, EBS direct and KMS."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from fleetswap.aws.image.block_writer import BlockPuts
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.session import Cloud
from fleetswap.domain.tags import COPY
from fleetswap.workflows.clock import SystemClock
from fleetswap.workflows.image import promote
from fleetswap.workflows.image.block_list import listing
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.upload import Uploaded
from fleetswap.workflows.retry import Patience
from localcloud.server import LocalCloud
from tests.fakes.ebs import BLOCK, spelled
from tests.image.uploads import upload
from tests.localcloud.clients import Clients
from tests.localcloud.conftest import clients, clock, cloud

__all__ = ["clients", "clock", "cloud"]

STAGING = "444455556666"
LETTERS = "aAb0c*"


class Stacks:
    """Staging, whose snapshots are given to an account of its own, and production."""

    def __init__(self, cloud: LocalCloud, clients: Clients, endpoint: str, path: Path) -> None:
        self._cloud, self._clients, self._path = cloud, clients, path
        self.content = spelled(path, LETTERS)
        self.reach = Cloud("us-east-1", endpoint)
        self.ebs, self.ec2 = self.reach.ebs_and_ec2(4)
        self.port = DirectSnapshots(self.ebs, self.ec2)
        self.lines: list[str] = []

    def send(self, stack: str, **changes: Any) -> Uploaded:
        """Upload as one of them. A description with special characters is one all the same."""
        request = UploadRequest("/nix/store/a*b?c-web", stack, description="/nix/store/a*b?c-web", **changes)
        puts = BlockPuts.of(self.reach, self.ebs)
        return upload(self._path, request, self.port, puts, self.lines.append, connections=4)

    def stage(self, *, shared: bool = True, **changes: Any) -> str:
        """Staging's snapshot."""
        snapshot_id = self.send("shop/staging", **changes).snapshot_id
        self._cloud.store.give(snapshot_id, STAGING, shared=shared)
        return snapshot_id

    def promote(self, **changes: Any) -> Uploaded:
        """Upload as production, and check what its snapshot holds."""
        sent = self.send("shop/prod", lineage="web", trusted_accounts=(STAGING,), **changes)
        patience = Patience(SystemClock(), threading.Event(), seconds=30)
        for index, token in listing(self.port, patience, sent.snapshot_id, 0, len(LETTERS)):
            wanted = self.content[index * BLOCK : (index + 1) * BLOCK]
            assert self.port.get(sent.snapshot_id, index, token) == wanted, f"block {index}"
        ours = self._clients.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        assert not [each for each in ours if any(tag["Key"] == COPY for tag in each.get("Tags", []))]
        return sent


@pytest.fixture
def stacks(cloud: LocalCloud, clients: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stacks:
    """Both, in a local cloud."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    monkeypatch.setattr(promote, "POLL_SECONDS", 0.05)
    return Stacks(cloud, clients, cloud.endpoint, tmp_path / "image")


def test_staging_to_production_sends_no_block(stacks: Stacks) -> None:
    """AWS's tags, owners and copies are not what the uploader takes them for."""
    staged = stacks.stage(lineage="web")
    sent = stacks.promote()
    assert (sent.blocks_sent, sent.adopted) == (1, False)  # the block map
    assert any(f"copying snapshot {staged} of account {STAGING}" in line for line in stacks.lines)


def test_another_disk_under_the_name_of_the_image_is_not_booted(stacks: Stacks, cloud: LocalCloud) -> None:
    """Whoever can write to staging's account would decide what production's machines boot."""
    staged = stacks.stage(lineage="web")
    found = cloud.store.find(staged)
    found.written[1] = found.written[0]
    assert stacks.promote(samples=0).blocks_sent == 2


def test_what_is_not_shared_is_sent(stacks: Stacks) -> None:
    """A deploy of production would fail where staging does not share, or would see what it may not."""
    stacks.stage(shared=False, lineage="web")
    assert stacks.promote().blocks_sent == len(LETTERS) + 1
    assert f"account {STAGING} shares no snapshot of this image with this account" in stacks.lines


def test_a_promotion_encrypts_with_the_key_of_production(stacks: Stacks, clients: Clients) -> None:
    """Production's machines would need staging's key for as long as they run."""
    keys = [clients.client("kms").create_key()["KeyMetadata"]["Arn"] for _ in range(2)]
    stacks.stage(lineage="web", encrypted=True, kms_key=keys[0])
    sent = stacks.promote(encrypted=True, kms_key=keys[1])
    assert sent.blocks_sent == 1
    (shown,) = clients.ec2.describe_snapshots(SnapshotIds=[sent.snapshot_id])["Snapshots"]
    assert shown["KmsKeyId"] == keys[1]
    clients.client("kms").disable_key(KeyId=keys[0])
    patience = Patience(SystemClock(), threading.Event(), seconds=30)
    assert dict(listing(stacks.port, patience, sent.snapshot_id, 0))
