"""The EBS direct API over HTTP, asked with boto3 and by hand: it refuses what AWS refuses."""

from __future__ import annotations

import http.client
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.localcloud.clients import BLOCK, Clients, block, linear, refusal, sha256

if TYPE_CHECKING:
    from localcloud.server import LocalCloud

MIB = 2**20


def put(clients: Clients, snapshot_id: str, **changed: Any) -> Any:
    data = block(1)
    return clients.ebs.put_snapshot_block(
        **{
            "SnapshotId": snapshot_id,
            "BlockIndex": 0,
            "BlockData": data,
            "DataLength": BLOCK,
            "Checksum": sha256(data),
            "ChecksumAlgorithm": "SHA256",
            **changed,
        }
    )


def test_a_snapshot_is_started_filled_completed_and_read_back(clients: Clients) -> None:
    """Nothing could be uploaded, or something else would be read back."""
    blocks = {index: block(index) for index in (0, 1, 2047)}
    started = clients.ebs.start_snapshot(VolumeSize=1, Description="d", Tags=[{"Key": "k", "Value": "v"}])
    assert started["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (started["BlockSize"], started["Status"], started["VolumeSize"]) == (BLOCK, "pending", 1)
    snapshot_id = started["SnapshotId"]
    for index, data in blocks.items():
        answer = put(clients, snapshot_id, BlockIndex=index, BlockData=data, Checksum=sha256(data))
        assert (answer["Checksum"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (sha256(data), 201)
    done = clients.ebs.complete_snapshot(
        SnapshotId=snapshot_id,
        ChangedBlocksCount=3,
        Checksum=linear(blocks),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    assert done["ResponseMetadata"]["HTTPStatusCode"] == 202
    listed = clients.ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
    assert [entry["BlockIndex"] for entry in listed["Blocks"]] == [0, 1, 2047]
    for entry in listed["Blocks"]:
        got = clients.ebs.get_snapshot_block(
            SnapshotId=snapshot_id, BlockIndex=entry["BlockIndex"], BlockToken=entry["BlockToken"]
        )
        assert got["BlockData"].read() == blocks[entry["BlockIndex"]]
        assert got["Checksum"] == sha256(blocks[entry["BlockIndex"]])


@pytest.mark.parametrize(
    "changed",
    [
        {"Checksum": sha256(block(2))},
        {"DataLength": 512},
        {"BlockData": block(1)[:-1]},
        {"BlockIndex": 2048},
        {"ChecksumAlgorithm": "SHA1"},
        {"Checksum": "no base64"},
    ],
    ids=["checksum", "length header", "short body", "outside", "algorithm", "not base64"],
)
def test_a_wrong_block_is_refused(clients: Clients, changed: dict[str, Any]) -> None:
    """An uploader that sends damaged, short or misplaced blocks would look right."""
    snapshot_id = clients.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    assert refusal(lambda: put(clients, snapshot_id, **changed)) == "ValidationException"
    clients.ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)


@pytest.mark.parametrize(
    "asked",
    [
        {"VolumeSize": 0},
        {"VolumeSize": 65_537},
        {"VolumeSize": 1, "Timeout": 9},
        {"VolumeSize": 1, "Timeout": 4321},
        {"VolumeSize": 1, "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/none"},
        {"VolumeSize": 1, "Encrypted": True, "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/none"},
        {"VolumeSize": 1, "Tags": [{"Key": "aws:x", "Value": "y"}]},
        {"VolumeSize": 1, "Tags": [{"Key": "x", "Value": "y"}, {"Key": "x", "Value": "z"}]},
        {"VolumeSize": 1, "Description": "x" * 256},
    ],
    ids=str,
)
def test_a_wrong_start_is_refused(clients: Clients, asked: dict[str, Any]) -> None:
    """A request that AWS refuses would create a snapshot here."""
    assert refusal(lambda: clients.ebs.start_snapshot(**asked)) == "ValidationException"
    assert clients.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []


def test_a_parent_must_be_completed_known_and_no_larger(clients: Clients) -> None:
    """An incremental upload onto a wrong parent would be taken."""
    start = clients.ebs.start_snapshot
    parent = clients.snapshot(VolumeSize=2)
    pending = start(VolumeSize=1)["SnapshotId"]
    gone = clients.snapshot()
    clients.ec2.delete_snapshot(SnapshotId=gone)
    assert refusal(lambda: start(VolumeSize=1, ParentSnapshotId=parent)) == "ValidationException"
    assert refusal(lambda: start(VolumeSize=1, ParentSnapshotId=pending)) == "ValidationException"
    assert refusal(lambda: start(VolumeSize=1, ParentSnapshotId=gone)) == "ResourceNotFoundException"
    assert refusal(lambda: start(VolumeSize=2, ParentSnapshotId="snap-0")) == "ResourceNotFoundException"
    assert start(VolumeSize=3, ParentSnapshotId=parent)["ParentSnapshotId"] == parent


def test_a_child_outlives_its_parent(clients: Clients) -> None:
    """Deleting an old image's snapshot would break what was uploaded on top of it."""
    parent = clients.snapshot({0: block(0), 1: block(1)})
    child = clients.ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=parent)["SnapshotId"]
    clients.ec2.delete_snapshot(SnapshotId=parent)
    clients.put(child, 1, block(2))
    clients.ebs.complete_snapshot(SnapshotId=child, ChangedBlocksCount=1)
    listed = clients.ebs.list_snapshot_blocks(SnapshotId=child)["Blocks"]
    assert [entry["BlockIndex"] for entry in listed] == [0, 1]


@pytest.mark.parametrize("by_default", [False, True])
@pytest.mark.parametrize("parent", [None, "plain", "encrypted"])
def test_encryption_comes_out_as_in_aws_s_table(clients: Clients, parent: str | None, *, by_default: bool) -> None:
    """An upload that AWS refuses, or encrypts, would be taken, or left plain.

    User guide, "Encryption outcomes for EBS direct APIs"; the cell of a plain parent with a key is read as a refusal.
    """
    kms = clients.client("kms")
    mine = kms.create_key()["KeyMetadata"]["Arn"]
    always: dict[str, Any] = {"VolumeSize": 1}
    if parent is not None:
        always["ParentSnapshotId"] = clients.snapshot({}, Encrypted=parent == "encrypted")
    if by_default:
        clients.ec2.enable_ebs_encryption_by_default()
    for encrypted, key in itertools.product((None, False, True), (None, mine)):
        asked = {**always, "Encrypted": encrypted, "KmsKeyArn": key}
        asked = {name: value for name, value in asked.items() if value is not None}
        if parent is not None:
            refused = encrypted is not None or key is not None or (parent == "plain" and by_default)
            becomes = parent == "encrypted"
        else:
            refused = encrypted is False and (key is not None or by_default)
            becomes = encrypted or (encrypted is None and (key is not None or by_default))
        if refused:
            assert refusal(lambda asked=asked: clients.ebs.start_snapshot(**asked)) == "ValidationException"  # type: ignore[misc] # mypy cannot tell a lambda with a default
            continue
        made = clients.ebs.start_snapshot(**asked)
        (shown,) = clients.ec2.describe_snapshots(SnapshotIds=[made["SnapshotId"]])["Snapshots"]
        assert shown["Encrypted"] == becomes
        assert ("KmsKeyArn" in made) == becomes
        if becomes:
            expected = key or kms.describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]["Arn"]
            assert made["KmsKeyArn"] == shown["KmsKeyId"] == expected


def test_the_default_key_is_the_account_s_choice(clients: Clients) -> None:
    """A snapshot would be encrypted with a key that the account does not use."""
    mine = clients.client("kms").create_key()["KeyMetadata"]["Arn"]
    clients.ec2.modify_ebs_default_kms_key_id(KmsKeyId=mine)
    assert clients.ebs.start_snapshot(VolumeSize=1, Encrypted=True)["KmsKeyArn"] == mine


def test_blocks_of_a_key_that_is_not_enabled_are_neither_read_nor_written(clients: Clients) -> None:
    """An upload with a key that somebody disabled would go on, and a snapshot be read that AWS cannot decrypt."""
    kms = clients.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    arn = kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"]
    full = clients.snapshot({0: block(1)}, Encrypted=True, KmsKeyArn=arn)
    (listed,) = clients.ebs.list_snapshot_blocks(SnapshotId=full)["Blocks"]
    pending = clients.ebs.start_snapshot(VolumeSize=1, Encrypted=True, KmsKeyArn=arn)["SnapshotId"]

    def get() -> Any:
        return clients.ebs.get_snapshot_block(SnapshotId=full, BlockIndex=0, BlockToken=listed["BlockToken"])

    for close, reopen in ((kms.disable_key, kms.enable_key), (kms.schedule_key_deletion, kms.cancel_key_deletion)):
        close(KeyId=key)
        for call in (get, lambda: put(clients, pending)):
            with pytest.raises(clients.ebs.exceptions.ValidationException, match="is not enabled") as refused:
                call()
            told: Any = refused.value.response
            assert told["Reason"] == "INVALID_CUSTOMER_KEY"
        reopen(KeyId=key)
        kms.enable_key(KeyId=key)
        assert get()["BlockData"].read() == block(1)
        put(clients, pending)


def test_another_account_s_snapshot_is_no_parent(cloud: LocalCloud, clients: Clients) -> None:
    """An uploader that takes a shared snapshot for its own lineage would look right."""
    snapshot_id = clients.snapshot()
    start = clients.ebs.start_snapshot
    cloud.store.give(snapshot_id, "999999999999", shared=True)
    assert refusal(lambda: start(VolumeSize=1, ParentSnapshotId=snapshot_id)) == "AccessDeniedException"
    assert clients.ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]
    assert clients.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
    (shown,) = clients.ec2.describe_snapshots()["Snapshots"]
    assert shown["OwnerId"] == "999999999999"
    assert refusal(lambda: clients.ec2.delete_snapshot(SnapshotId=snapshot_id)) == "UnauthorizedOperation"
    cloud.store.give(snapshot_id, "999999999999", shared=False)
    assert refusal(lambda: start(VolumeSize=1, ParentSnapshotId=snapshot_id)) == "ResourceNotFoundException"
    assert refusal(lambda: clients.ebs.list_snapshot_blocks(SnapshotId=snapshot_id)) == "ResourceNotFoundException"
    assert clients.ec2.describe_snapshots()["Snapshots"] == []
    cloud.store.give(snapshot_id, None, shared=False)
    start(VolumeSize=1, ParentSnapshotId=snapshot_id)


def test_an_encrypted_snapshot_is_not_shared_with_just_anybody(clients: Clients) -> None:
    """A snapshot that nobody else could read would count as shared."""
    snapshot_id = clients.snapshot(Encrypted=True)

    def share(**to: Any) -> object:
        return clients.ec2.modify_snapshot_attribute(
            SnapshotId=snapshot_id, Attribute="createVolumePermission", OperationType="add", **to
        )

    assert refusal(lambda: share(UserIds=["999999999999"])) == "OperationNotPermitted"
    assert refusal(lambda: share(GroupNames=["all"])) == "OperationNotPermitted"


def test_a_child_inherits_blocks_and_key(clients: Clients) -> None:
    """A child would be plain although its parent is encrypted, or lack what only the parent has."""
    parent = clients.snapshot({0: block(0), 1: block(1)}, Encrypted=True)
    child = clients.snapshot({1: block(2), 2: block(3)}, ParentSnapshotId=parent)
    shown = {s["SnapshotId"]: s for s in clients.ec2.describe_snapshots(SnapshotIds=[parent, child])["Snapshots"]}
    assert shown[child]["Encrypted"]
    assert shown[child]["KmsKeyId"] == shown[parent]["KmsKeyId"]
    blocks = clients.ebs.list_snapshot_blocks(SnapshotId=child)["Blocks"]
    assert [entry["BlockIndex"] for entry in blocks] == [0, 1, 2]


def test_changed_blocks_are_those_that_differ_on_either_side(clients: Clients) -> None:
    """A block that only the second snapshot has would be missed, as moto misses it."""
    first = clients.snapshot({0: block(0), 1: block(1)})
    second = clients.snapshot({1: block(2), 5: block(3)}, ParentSnapshotId=first)
    changed = clients.ebs.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=second)["ChangedBlocks"]
    assert [(c["BlockIndex"], "FirstBlockToken" in c, "SecondBlockToken" in c) for c in changed] == [
        (1, True, True),
        (5, False, True),
    ]
    got = clients.ebs.get_snapshot_block(SnapshotId=second, BlockIndex=5, BlockToken=changed[1]["SecondBlockToken"])
    assert got["BlockData"].read() == block(3)
    stranger = clients.snapshot({0: block(0)})
    assert (
        refusal(lambda: clients.ebs.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=stranger))
        == "ValidationException"
    )


def test_a_client_token_makes_a_start_repeatable(clients: Clients) -> None:
    """A retried StartSnapshot would leave a second, pending snapshot behind."""
    start = clients.ebs.start_snapshot
    first = start(VolumeSize=1, ClientToken="t", Description="d")["SnapshotId"]
    assert start(VolumeSize=1, ClientToken="t", Description="d")["SnapshotId"] == first
    assert refusal(lambda: start(VolumeSize=2, ClientToken="t", Description="d")) == "ConflictException"
    assert start(VolumeSize=1, ClientToken="u", Description="d")["SnapshotId"] != first
    assert refusal(lambda: start(VolumeSize=1, ClientToken="t" * 65)) == "ValidationException"
    assert refusal(lambda: start(VolumeSize=1, ClientToken="t t")) == "ValidationException"


def test_a_client_token_remembers_the_dead(clients: Clients) -> None:
    """An uploader that goes on in a snapshot that is gone could not be caught."""
    start = clients.ebs.start_snapshot
    first = start(VolumeSize=1, ClientToken="t")["SnapshotId"]
    clients.ec2.delete_snapshot(SnapshotId=first)
    again = start(VolumeSize=1, ClientToken="t")
    assert (again["SnapshotId"], again["Status"]) == (first, "pending")
    assert refusal(lambda: put(clients, first)) == "ResourceNotFoundException"
    assert clients.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []


def test_a_completed_snapshot_takes_no_block_and_a_pending_one_gives_none(clients: Clients) -> None:
    """An uploader could write after the end, or trust what is not there yet."""
    snapshot_id = clients.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    put(clients, snapshot_id)
    assert refusal(lambda: clients.ebs.list_snapshot_blocks(SnapshotId=snapshot_id)) == "ValidationException"
    assert (
        refusal(lambda: clients.ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=2))
        == "ValidationException"
    )
    assert (
        refusal(
            lambda: clients.ebs.complete_snapshot(
                SnapshotId=snapshot_id,
                ChangedBlocksCount=1,
                Checksum=sha256(block(1)),
                ChecksumAlgorithm="SHA256",
                ChecksumAggregationMethod="LINEAR",
            )
        )
        == "ValidationException"
    )
    clients.ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)
    assert refusal(lambda: put(clients, snapshot_id)) == "ValidationException"
    assert refusal(lambda: put(clients, "snap-0")) == "ResourceNotFoundException"


def test_a_list_comes_in_pages_and_tokens_are_checked(clients: Clients) -> None:
    """A reader that ignores the next page, or mixes up tokens, would look right."""
    snapshot_id = clients.snapshot({index: bytes(BLOCK) for index in range(250)})
    listing = clients.ebs.list_snapshot_blocks
    first = listing(SnapshotId=snapshot_id, MaxResults=100)
    second = listing(SnapshotId=snapshot_id, MaxResults=100, NextToken=first["NextToken"])
    third = listing(SnapshotId=snapshot_id, MaxResults=100, NextToken=second["NextToken"])
    indexes = [entry["BlockIndex"] for page in (first, second, third) for entry in page["Blocks"]]
    assert indexes == list(range(250))
    assert "NextToken" not in third
    assert [entry["BlockIndex"] for entry in listing(SnapshotId=snapshot_id, StartingBlockIndex=248)["Blocks"]] == [
        248,
        249,
    ]
    ahead = listing(SnapshotId=snapshot_id, MaxResults=100, NextToken=first["NextToken"], StartingBlockIndex=248)
    assert ahead["Blocks"][0]["BlockIndex"] == 100
    assert refusal(lambda: listing(SnapshotId=snapshot_id, MaxResults=99)) == "ValidationException"
    assert refusal(lambda: listing(SnapshotId=snapshot_id, MaxResults=10_001)) == "ValidationException"
    assert refusal(lambda: listing(SnapshotId=snapshot_id, NextToken="AAAA")) == "ValidationException"
    assert refusal(lambda: listing(SnapshotId=snapshot_id, NextToken=first["Blocks"][0]["BlockToken"])) == (
        "ValidationException"
    )
    one, two = first["Blocks"][0]["BlockToken"], first["Blocks"][1]["BlockToken"]
    assert one != two
    get = clients.ebs.get_snapshot_block
    assert refusal(lambda: get(SnapshotId=snapshot_id, BlockIndex=0, BlockToken=two)) == "ValidationException"
    assert refusal(lambda: get(SnapshotId=snapshot_id, BlockIndex=300, BlockToken=one)) == "ValidationException"


def test_ec2_shows_tags_and_deletes_snapshots(clients: Clients) -> None:
    """The program could not find, adopt or prune what it uploaded."""
    snapshot_id = clients.snapshot(Tags=[{"Key": "a", "Value": "b"}], Description="d")
    clients.ec2.create_tags(Resources=[snapshot_id], Tags=[{"Key": "c", "Value": "d"}])
    found = clients.ec2.describe_snapshots(
        OwnerIds=["self"],
        Filters=[{"Name": "tag:c", "Values": ["d"]}, {"Name": "status", "Values": ["completed"]}],
    )["Snapshots"]
    assert [
        (s["SnapshotId"], s["State"], s["Progress"], s["VolumeSize"], s["OwnerId"], s["Encrypted"], s["Description"])
        for s in found
    ] == [(snapshot_id, "completed", "100%", 1, "123456789012", False, "d")]
    assert {tag["Key"]: tag["Value"] for tag in found[0]["Tags"]} == {"a": "b", "c": "d"}
    assert clients.ec2.describe_snapshots(OwnerIds=["amazon"])["Snapshots"] == []
    clients.ec2.delete_snapshot(SnapshotId=snapshot_id)
    assert refusal(lambda: clients.ebs.list_snapshot_blocks(SnapshotId=snapshot_id)) == "ResourceNotFoundException"
    assert refusal(lambda: clients.ec2.describe_snapshots(SnapshotIds=[snapshot_id])) == "InvalidSnapshot.NotFound"


def test_the_wire_is_that_of_the_api(cloud: LocalCloud) -> None:
    """A client of its own (the uploader's) could not keep its connection, or read why it was refused."""
    connection = http.client.HTTPConnection("127.0.0.1", cloud.port, timeout=30)
    try:
        connection.request("POST", "/snapshots", body=b'{"VolumeSize": 1}')
        unsigned = connection.getresponse()
        assert (unsigned.status, unsigned.getheader("x-amzn-ErrorType")) == (
            403,
            "MissingAuthenticationTokenException",
        )
        unsigned.read()
        socket = connection.sock
        signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/ebs/aws4_request, x=y"}
        connection.request("POST", "/snapshots", body=b'{"VolumeSize": 0}', headers=signed)
        refused = connection.getresponse()
        assert (refused.status, refused.getheader("x-amzn-ErrorType")) == (400, "ValidationException")
        assert json.loads(refused.read())["Reason"] == "INVALID_VOLUME_SIZE"
        assert connection.sock is socket
    finally:
        connection.close()
