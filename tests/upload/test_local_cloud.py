"""The whole uploader against the local cloud's strict EBS API, over the wire, read back through the API."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from fleetswap.aws.ebs import BotoPuts, DirectSnapshots
from fleetswap.aws.session import Cloud
from fleetswap.domain.blocks import digest, linear_checksum
from fleetswap.domain.errors import CloudError
from fleetswap.domain.snapshots import Absent, Start
from fleetswap.workflows.image_file import identify
from fleetswap.workflows.upload import Order, upload
from tests.upload.fake import BLOCK, disk_file, nothing

SERVE = """
import pathlib, sys
from localcloud.server import LocalCloud
cloud = LocalCloud(pathlib.Path(sys.argv[1]), 0, machines=False)
cloud.start()
print(cloud.endpoint, flush=True)
sys.stdin.read()
cloud.stop()
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A local cloud in a process of its own: moto's state is global, and other tests have theirs."""
    directory = tmp_path_factory.mktemp("cloud")
    command = [sys.executable, "-c", SERVE, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, "the local cloud ended before it answered"
        yield url
        process.communicate("", timeout=60)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")


@pytest.fixture
def port(endpoint: str) -> DirectSnapshots:
    return DirectSnapshots(*Cloud("us-east-1", endpoint).ebs_and_ec2(8))


def read_back(endpoint: str, snapshot_id: str) -> dict[int, bytes]:
    ebs = boto3.client("ebs", endpoint_url=endpoint, region_name="us-east-1")
    listed = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]
    return {
        each["BlockIndex"]: ebs.get_snapshot_block(
            SnapshotId=snapshot_id, BlockIndex=each["BlockIndex"], BlockToken=each["BlockToken"]
        )["BlockData"].read()
        for each in listed
    }


def test_the_image_comes_back_whole(endpoint: str, port: DirectSnapshots, tmp_path: Path) -> None:
    """What the fake accepts, the API would not, or it would hold other bytes than the image's."""
    path = disk_file(tmp_path / "image.raw", size=9 * BLOCK + 1024)
    order = Order(path, identify(path), "demo/local", {"Name": "image"}, "an image")
    first = upload(order, port, BotoPuts(port), nothing, connections=8)
    held = read_back(endpoint, first.snapshot_id)
    content = path.read_bytes().ljust(10 * BLOCK, b"\0")
    assert b"".join(held[index] for index in range(10)) == content
    assert sorted(held) == [*range(10), 2047]
    again = upload(order, port, BotoPuts(port), nothing, connections=8)
    assert (again.snapshot_id, again.adopted) == (first.snapshot_id, True)
    ec2 = boto3.client("ec2", endpoint_url=endpoint, region_name="us-east-1")
    (about,) = ec2.describe_snapshots(SnapshotIds=[first.snapshot_id])["Snapshots"]
    assert {tag["Key"]: tag["Value"] for tag in about["Tags"]} == {
        "Name": "image",
        "fleetswap:parent": "none",
    } | order.mark
    assert (about["State"], about["VolumeSize"], about["Description"]) == ("completed", 1, "an image")


def test_an_unfinished_upload_is_replaced(port: DirectSnapshots, tmp_path: Path) -> None:
    """After a killed run the next one would fail, or leave the killed one's snapshot."""
    path = disk_file(tmp_path / "image.raw", seed=7)
    order = Order(path, identify(path), "demo/local")
    killed = port.start(Start("killed", 1, order.mark, "", encrypted=False, kms_key=None)).snapshot_id
    block = bytes(BLOCK)
    port.put(killed, 0, block, digest(block))
    uploaded = upload(order, port, BotoPuts(port), nothing, connections=8)
    assert not uploaded.adopted
    assert [each.snapshot_id for each in port.find(order.mark)] == [uploaded.snapshot_id]
    with pytest.raises(Absent):
        port.describe(killed)
    with pytest.raises(Absent):
        port.put(killed, 1, block, digest(block))


def test_an_encrypted_snapshot_is_what_it_says(port: DirectSnapshots, tmp_path: Path) -> None:
    """An order for encryption would be forgotten on the way, or its snapshot never be adopted again."""
    path = disk_file(tmp_path / "image.raw", seed=8)
    order = Order(path, identify(path), "demo/local", encrypted=True)
    uploaded = upload(order, port, BotoPuts(port), nothing, connections=8)
    assert port.describe(uploaded.snapshot_id).encrypted
    assert upload(order, port, BotoPuts(port), nothing).adopted


def test_the_api_catches_what_the_fake_catches(port: DirectSnapshots) -> None:
    """If the local cloud were looser than the fake, the tests against it would prove nothing."""
    mark = {"fleetswap:stack": "demo/strict"}
    snapshot_id = port.start(Start("strict", 1, mark, "", encrypted=False, kms_key=None)).snapshot_id
    assert port.start(Start("strict", 1, mark, "", encrypted=False, kms_key=None)).snapshot_id == snapshot_id
    with pytest.raises(CloudError, match="ConflictException"):
        port.start(Start("strict", 2, mark, "", encrypted=False, kms_key=None))
    block = b"x" * BLOCK
    with pytest.raises(CloudError, match="block 0 of snapshot"):
        port.put(snapshot_id, 0, block, digest(b"other"))
    with pytest.raises(CloudError, match="block 2048 of snapshot"):
        port.put(snapshot_id, 2048, block, digest(block))
    port.put(snapshot_id, 0, block, digest(block))
    with pytest.raises(CloudError, match="completing snapshot"):
        port.complete(snapshot_id, 2, linear_checksum(digest(block)))
    port.delete(snapshot_id)
    with pytest.raises(Absent):
        port.delete(snapshot_id)
