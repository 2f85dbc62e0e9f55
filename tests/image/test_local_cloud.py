"""The whole uploader against the local cloud's strict EBS API, over the wire, read back through the API."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from fleetswap.aws.image.block_writer import BlockPuts
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.session import Cloud
from fleetswap.domain.errors import CloudError, Invalid, NotFound
from fleetswap.domain.image.blocks import digest, linear_checksum
from fleetswap.domain.image.snapshots import Start
from fleetswap.domain.tags import UPLOAD
from fleetswap.workflows.clock import SystemClock
from fleetswap.workflows.image import acquire
from fleetswap.workflows.image.block_list import listing
from fleetswap.workflows.image.complete import NOT_PENDING
from fleetswap.workflows.image.image_file import identify
from fleetswap.workflows.image.journal import Journal
from fleetswap.workflows.image.ports import Puts
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.upload import Uploaded
from fleetswap.workflows.retry import Patience
from tests.fakes.ebs import BLOCK, disk_file, nothing, spelled
from tests.fakes.localcloud import serve
from tests.image.uploads import upload


@pytest.fixture(scope="module")
def endpoint(_local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A local cloud for all tests; a snapshot takes its time to be completed."""
    with serve(tmp_path_factory.mktemp("cloud"), late=True) as served:
        yield served.endpoint


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")


@dataclass(frozen=True)
class Aws:
    """The adapters of an upload, against the local cloud."""

    port: DirectSnapshots
    puts: Puts

    def upload(self, path: Path, request: UploadRequest, **changes: Any) -> Uploaded:
        return upload(path, replace(request, **changes), self.port, self.puts, nothing, connections=8)

    def put(self, snapshot_id: str, index: int, block: bytes, checksum: bytes) -> None:
        line = self.puts.connect()
        try:
            line.put(snapshot_id, index, block, checksum, nothing)
        finally:
            line.close()

    def read(self, snapshot_id: str) -> dict[int, bytes]:
        """Every block that a volume made of the snapshot gets."""
        patience = Patience(SystemClock(), threading.Event(), seconds=30)
        tokens = listing(self.port, patience, snapshot_id, 0)
        return {index: self.port.get(snapshot_id, index, token) for index, token in tokens}


@pytest.fixture
def aws(endpoint: str) -> Aws:
    cloud = Cloud("us-east-1", endpoint)
    ebs, ec2 = cloud.ebs_and_ec2(8)
    return Aws(DirectSnapshots(ebs, ec2), BlockPuts.of(cloud, ebs))


def check(held: dict[int, bytes], content: bytes) -> None:
    """A volume made of it begins with the image, and the snapshot has a map."""
    count = -(-len(content) // BLOCK)
    assert b"".join(held[index] for index in range(count)) == content.ljust(count * BLOCK, b"\0")
    assert 2047 in held


def test_the_image_comes_back_whole(endpoint: str, aws: Aws, tmp_path: Path) -> None:
    """What the fake accepts, the API would not, or it would hold other bytes than the image's."""
    path = disk_file(tmp_path / "image.raw", size=9 * BLOCK + 1024)
    request = UploadRequest(identify(path), "demo/local", {"Name": "image"}, "an image")
    first = aws.upload(path, request)
    held = aws.read(first.snapshot_id)
    check(held, path.read_bytes())
    assert sorted(held) == [*range(10), 2047]
    again = aws.upload(path, request)
    assert (again.snapshot_id, again.adopted) == (first.snapshot_id, True)
    ec2 = boto3.client("ec2", endpoint_url=endpoint, region_name="us-east-1")
    (about,) = ec2.describe_snapshots(SnapshotIds=[first.snapshot_id])["Snapshots"]
    tags = {"Name": "image", "fleetswap:parent": "none", "fleetswap:upload": first.snapshot_id} | request.own_tags
    assert {tag["Key"]: tag["Value"] for tag in about["Tags"]} == tags
    assert (about["State"], about["VolumeSize"], about["Description"]) == ("completed", 1, "an image")


def test_from_version_to_version_only_what_differs_is_sent(aws: Aws, tmp_path: Path) -> None:
    """What the fake says of parents would not be so: each deploy would send everything, or a child hold other bytes."""
    path = tmp_path / "image.raw"
    sent, parent = [], None
    for number, letters in enumerate(("abcd0", "abcd0", "aXc.00", "aXc.00ef", "ab")):
        content = spelled(path, letters)
        request = UploadRequest(f"/nix/store/{number}", "demo/chain", lineage="chain", sparse="holes")
        uploaded = aws.upload(path, request)
        assert uploaded.parent == parent
        check(aws.read(uploaded.snapshot_id), content)
        sent.append(uploaded.blocks_sent)
        parent = uploaded.snapshot_id
    # The first block has the partition table with the disk's size; the last one that is sent is the map.
    assert sent == [6, 1, 1 + 1 + 1 + 1 + 1, 1 + 2 + 1, 1 + 1 + 1]


def test_an_encrypted_parent_passes_its_key_on(aws: Aws, tmp_path: Path) -> None:
    """The second image of an encrypted lineage would be refused, or be plain."""
    path = tmp_path / "image.raw"
    spelled(path, "abcd")
    request = UploadRequest("/nix/store/one", "demo/secret", lineage="secret", encrypted=True)
    first = aws.upload(path, request)
    content = spelled(path, "abce")
    second = aws.upload(path, request, identity="/nix/store/two")
    assert (second.parent, second.blocks_sent) == (first.snapshot_id, 2)
    one, two = aws.port.describe(first.snapshot_id), aws.port.describe(second.snapshot_id)
    assert two.encrypted
    assert two.kms_key == one.kms_key
    check(aws.read(second.snapshot_id), content)
    assert aws.upload(path, request).adopted


def test_a_killed_upload_is_gone_on_with(aws: Aws, tmp_path: Path) -> None:
    """After a killed run the next one would fail, begin from nothing, or leave the killed one's snapshot."""
    path = disk_file(tmp_path / "image.raw", seed=7)
    content = path.read_bytes()
    request = UploadRequest(identify(path), "demo/killed", lineage="killed", journal=tmp_path / "journal")
    killed = aws.port.start(request.start(1, None, "0")).snapshot_id
    aws.port.tag(killed, {UPLOAD: killed})
    with Journal(
        request.journal, snapshot_id=killed, plan=f"{len(content)} None none", blocks=6, tell=nothing
    ) as journal:
        for index in range(2):
            block = content[index * BLOCK : (index + 1) * BLOCK]
            aws.put(killed, index, block, digest(block))
            journal.add(index, digest(block))
    uploaded = aws.upload(path, request)
    assert (uploaded.snapshot_id, uploaded.resumed, uploaded.adopted) == (killed, True, False)
    assert uploaded.blocks_sent == 4 + 1
    check(aws.read(killed), content)


def test_what_is_of_no_use_is_replaced(aws: Aws, tmp_path: Path) -> None:
    """What an older version's killed run left would be completed as if it were this one's, or stay for ever."""
    path = disk_file(tmp_path / "image.raw", seed=8)
    request = UploadRequest(identify(path), "demo/old")
    old = aws.port.start(Start("old", 1, request.own_tags, "", encrypted=False, kms_key=None)).snapshot_id
    aws.port.tag(old, {UPLOAD: old})
    block = bytes(BLOCK)
    aws.put(old, 0, block, digest(block))
    uploaded = aws.upload(path, request)
    assert not uploaded.adopted
    assert [each.snapshot_id for each in aws.port.find(request.own_tags)] == [uploaded.snapshot_id]
    with pytest.raises(NotFound):
        aws.port.describe(old)
    with pytest.raises(NotFound):
        aws.put(old, 1, block, digest(block))


def test_what_was_destroyed_can_be_shipped_again(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EBS may answer the client token with the snapshot that is gone; an image could be shipped only once."""
    monkeypatch.setattr(acquire, "GONE_SECONDS", 1.0)
    path = disk_file(tmp_path / "image.raw", seed=9)
    request = UploadRequest(identify(path), "demo/again")
    first = aws.upload(path, request)
    aws.port.delete(first.snapshot_id)
    time.sleep(acquire.SHARED_SECONDS + 1)  # a younger one would be waited for like a new one
    second = aws.upload(path, request)
    assert second.snapshot_id != first.snapshot_id
    check(aws.read(second.snapshot_id), path.read_bytes())


def test_a_tag_is_found_by_all_of_its_value_and_by_nothing_else(aws: Aws) -> None:
    """`prod-*` would mean every stack whose name begins so: their snapshots adopted, their uploads deleted."""
    values = [r"w-a", r"w-*", r"w-?", r"w-\\", r"w-\\*", r"w-[ab]", r"W-A"]
    made = {}
    for value in values:
        start = Start(value, 1, {"fleetswap:stack": value}, "", encrypted=False, kms_key=None)
        made[value] = aws.port.start(start).snapshot_id
    for value in values:
        assert [each.snapshot_id for each in aws.port.find({"fleetswap:stack": value})] == [made[value]]
    for each in made.values():
        aws.port.delete(each)


def test_two_at_once_end_in_one_snapshot(aws: Aws, tmp_path: Path) -> None:
    """What the fake says of two in one snapshot would not be so."""
    path = disk_file(tmp_path / "image.raw", seed=10, size=12 * BLOCK)
    request = UploadRequest(identify(path), "demo/two", lineage="two", journal=tmp_path / "journal")
    with ThreadPoolExecutor(2) as pool:
        ends = [each.result() for each in [pool.submit(aws.upload, path, request) for _ in range(2)]]
    (held,) = aws.port.find(request.own_tags)
    assert {each.snapshot_id for each in ends} == {held.snapshot_id}
    check(aws.read(held.snapshot_id), path.read_bytes())


def test_the_api_catches_what_the_fake_catches(aws: Aws) -> None:
    """If the local cloud were looser than the fake, the tests against it would prove nothing."""
    mark = {"fleetswap:stack": "demo/strict"}
    start = Start("strict", 1, mark, "", encrypted=False, kms_key=None)
    snapshot_id = aws.port.start(start).snapshot_id
    assert aws.port.start(start).snapshot_id == snapshot_id
    with pytest.raises(CloudError, match="ConflictException"):
        aws.port.start(replace(start, volume_gib=2))
    block = b"x" * BLOCK
    with pytest.raises(Invalid, match="block 0 of snapshot"):
        aws.put(snapshot_id, 0, block, digest(b"other"))
    with pytest.raises(Invalid, match="block 2048 of snapshot"):
        aws.put(snapshot_id, 2048, block, digest(block))
    aws.put(snapshot_id, 0, block, digest(block))
    with pytest.raises(Invalid, match="listing the blocks of"):
        aws.port.list_blocks(snapshot_id, 0, None)
    with pytest.raises(Invalid):
        aws.port.start(replace(start, token="child", parent=snapshot_id))  # noqa: S106
    with pytest.raises(Invalid, match="completing snapshot"):
        aws.port.complete(snapshot_id, 2, linear_checksum([digest(block)]))
    with pytest.raises(Invalid, match="completing snapshot"):
        aws.port.complete(snapshot_id, 1, linear_checksum([digest(b"")]))
    aws.port.complete(snapshot_id, 1, linear_checksum([digest(block)]))
    with pytest.raises(Invalid) as caught:
        aws.put(snapshot_id, 1, block, digest(block))
    assert caught.value.reason == NOT_PENDING
    aws.port.delete(snapshot_id)
    with pytest.raises(NotFound):
        aws.port.delete(snapshot_id)
