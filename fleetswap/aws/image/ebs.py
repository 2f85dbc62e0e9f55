"""EBS direct and EC2 with boto3. Implements `fleetswap.workflows.image.ports.Snapshots`.

It decides which responses can be trusted; `fleetswap.aws.errors` decides what an error means. A call is one attempt:
this module never retries, never waits and never reads a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from fleetswap.aws.errors import explaining
from fleetswap.domain.errors import CloudError, NotFound, TryAgain
from fleetswap.domain.image.blocks import BLOCK_SIZE, digest, encode
from fleetswap.domain.image.snapshots import PENDING_MINUTES, Page, Snapshot, Start, Started

if TYPE_CHECKING:
    from mypy_boto3_ebs import EBSClient
    from mypy_boto3_ebs.type_defs import StartSnapshotRequestTypeDef, StartSnapshotResponseTypeDef
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import CopySnapshotRequestTypeDef, FilterTypeDef, SnapshotTypeDef

PAGE_BLOCKS = 4_096
"""Blocks of one page of ListSnapshotBlocks. It takes 100 to 10,000; this is 2 GiB, and a few MiB of memory."""


_SPECIAL = re.compile(r"[\\*?]")


class DirectSnapshots:
    """The port, over the two clients of `Cloud.ebs_and_ec2`, which must not retry. Safe to use from several threads."""

    def __init__(self, ebs: EBSClient, ec2: EC2Client) -> None:
        self._ebs = ebs
        self._ec2 = ec2

    def find(self, tags: Mapping[str, str]) -> list[Snapshot]:
        """All snapshots of this account that carry all of `tags`, in whatever state.

        In a filter `*`, `?` and the backslash are special (EC2 user guide, "List and filter using the CLI and API"), so
        they are escaped, and what comes back is compared all the same.
        """
        filters: list[FilterTypeDef] = [
            {"Name": f"tag:{key}", "Values": [_SPECIAL.sub(r"\\\g<0>", value)]} for key, value in tags.items()
        ]
        with explaining("looking for snapshots of the image", "ec2:DescribeSnapshots"):
            pages = self._ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=filters)
            found = [_snapshot(each) for page in pages for each in page["Snapshots"]]
            return [each for each in found if tags.items() <= each.tags.items()]

    def shared(self, account: str, description: str) -> list[Snapshot]:
        """All snapshots of another account that it shares with this one, and that have this description.

        Of a shared snapshot only its owner sees the tags (EC2 user guide, "Share an AMI with specific AWS accounts").
        """
        with explaining(f"looking for snapshots that account {account} shares", "ec2:DescribeSnapshots"):
            pages = self._ec2.get_paginator("describe_snapshots").paginate(
                OwnerIds=[account],
                RestorableByUserIds=["self"],
                Filters=[{"Name": "description", "Values": [_SPECIAL.sub(r"\\\g<0>", description)]}],
            )
            answers = [each for page in pages for each in page["Snapshots"]]
            return [_snapshot(each) for each in answers if each.get("Description") == description]

    def copy(
        self, snapshot_id: str, tags: Mapping[str, str], *, description: str, encrypted: bool, kms_key: str | None
    ) -> str:
        """Begin to copy a snapshot within the region.

        What is encrypted stays so; without `kms_key`, the copy gets the account's default key. A key that cannot be
        used shows only in the copy's state (API reference, CopySnapshot, KmsKeyId: "parses KmsKeyId asynchronously").
        """
        request: CopySnapshotRequestTypeDef = {
            "SourceRegion": self._ec2.meta.region_name,
            "SourceSnapshotId": snapshot_id,
            "Description": description,
            "TagSpecifications": [
                {"ResourceType": "snapshot", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
            ],
        }
        if encrypted:
            request["Encrypted"] = True
        if kms_key is not None:
            request["KmsKeyId"] = kms_key
        with explaining(f"copying snapshot {snapshot_id}", "ec2:CopySnapshot", "ec2:CreateTags"):
            return self._ec2.copy_snapshot(**request)["SnapshotId"]

    def start(self, start: Start) -> Started:
        """Start a snapshot, or be told again of the one that this token has started.

        A repeat with the same token and the same parameters is answered with the result of the first; with other
        parameters it is a ConflictException (EBS user guide, "Ensure idempotency in StartSnapshot API requests"). For
        how long, and what is answered when that snapshot is gone, no document says: `age` tells an old one.
        A parent excludes Encrypted and KmsKeyArn, and the child gets the parent's key; with encryption by default, a
        plain parent is a ValidationException (user guide, "Encryption outcomes for EBS direct APIs").
        """
        request: StartSnapshotRequestTypeDef = {
            "VolumeSize": start.volume_gib,
            "ClientToken": start.token,
            "Timeout": PENDING_MINUTES,
            "Tags": [{"Key": key, "Value": value} for key, value in start.tags.items()],
        }
        if start.description:
            request["Description"] = start.description
        if start.parent is not None:
            request["ParentSnapshotId"] = start.parent
        else:
            # Left out if not asked for: false would not win over an account that encrypts by default anyway.
            if start.encrypted:
                request["Encrypted"] = True
            if start.kms_key is not None:
                request["KmsKeyArn"] = start.kms_key
        with explaining("starting a snapshot", "ebs:StartSnapshot", "ec2:CreateTags"):
            answer = self._ebs.start_snapshot(**request)
            _expect(answer["ResponseMetadata"]["HTTPStatusCode"], 201, "starting a snapshot")
            snapshot_id = answer.get("SnapshotId")
            if not snapshot_id:
                raise TryAgain("starting a snapshot: the response was truncated")
            if answer.get("BlockSize", BLOCK_SIZE) != BLOCK_SIZE:
                raise CloudError(
                    f"snapshot {snapshot_id} has blocks of {answer['BlockSize']} bytes, not {BLOCK_SIZE}:"
                    " delete it, and use a newer Fleetswap"
                )
            return Started(snapshot_id, _age(answer))

    def complete(self, snapshot_id: str, block_count: int, checksum: str) -> None:
        """Complete a snapshot.

        `block_count` is "the number of blocks that were written to the snapshot" (API reference, ChangedBlocksCount):
        each index once, and none that is only inherited. "You cannot write new blocks to a snapshot after it has been
        completed" (CompleteSnapshot); whether a repeat is refused no document says, so it is taken to be possible.
        """
        doing = f"completing snapshot {snapshot_id}"
        with explaining(doing, "ebs:CompleteSnapshot"):
            answer = self._ebs.complete_snapshot(
                SnapshotId=snapshot_id,
                ChangedBlocksCount=block_count,
                Checksum=checksum,
                ChecksumAlgorithm="SHA256",
                ChecksumAggregationMethod="LINEAR",
            )
            _expect(answer["ResponseMetadata"]["HTTPStatusCode"], 202, doing)

    def list_blocks(self, snapshot_id: str, start: int, page: str | None) -> Page:
        """A page of the blocks that a completed snapshot has, its parents' too, from index `start` or after `page`.

        Ascending, each once; a page may be empty and yet have a next one (API reference, ListSnapshotBlocks; EBS user
        guide, "Frequently asked questions for EBS direct APIs": page tokens live for an hour, block tokens for 7 days).
        """
        doing = f"listing the blocks of snapshot {snapshot_id}"
        with explaining(doing, "ebs:ListSnapshotBlocks"):
            if page is None:
                answer = self._ebs.list_snapshot_blocks(
                    SnapshotId=snapshot_id, StartingBlockIndex=start, MaxResults=PAGE_BLOCKS
                )
            else:
                answer = self._ebs.list_snapshot_blocks(SnapshotId=snapshot_id, NextToken=page, MaxResults=PAGE_BLOCKS)
            _expect(answer["ResponseMetadata"]["HTTPStatusCode"], 200, doing)
            if "Blocks" not in answer or "VolumeSize" not in answer:
                raise TryAgain(f"{doing}: the response was truncated")
            if answer.get("BlockSize", BLOCK_SIZE) != BLOCK_SIZE:
                raise CloudError(f"{doing}: it has blocks of {answer['BlockSize']} bytes, not {BLOCK_SIZE}")
            blocks = [(each["BlockIndex"], each["BlockToken"]) for each in answer["Blocks"]]
            return Page(blocks, answer.get("NextToken"), answer["VolumeSize"])

    def get(self, snapshot_id: str, index: int, token: str) -> bytes:
        """A whole block of a completed snapshot. Only the whole length with the checksum that came with it counts."""
        doing = f"reading block {index} of snapshot {snapshot_id}"
        with explaining(doing, "ebs:GetSnapshotBlock"):
            answer = self._ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=index, BlockToken=token)
            with closing(answer["BlockData"]) as body:
                data = body.read()
            _expect(answer["ResponseMetadata"]["HTTPStatusCode"], 200, doing)
            if len(data) != BLOCK_SIZE or answer.get("DataLength") != BLOCK_SIZE:
                raise TryAgain(f"{doing}: the response was truncated after {len(data)} bytes")
            if answer.get("ChecksumAlgorithm") != "SHA256" or answer.get("Checksum") != encode(digest(data)):
                raise TryAgain(f"{doing}: the data does not have the checksum that came with it")
            return data

    def tag(self, snapshot_id: str, tags: Mapping[str, str]) -> None:
        """Give a snapshot these tags, besides those that it has. To repeat it is harmless."""
        with explaining(f"tagging snapshot {snapshot_id}", "ec2:CreateTags"):
            self._ec2.create_tags(
                Resources=[snapshot_id], Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
            )

    def describe(self, snapshot_id: str) -> Snapshot:
        """What EC2 knows of a snapshot, of this account or of one that shares it."""
        doing = f"looking at snapshot {snapshot_id}"
        with explaining(doing, "ec2:DescribeSnapshots"):
            found = self._ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
            if not found:
                raise NotFound(f"{doing}: it does not exist")
            return _snapshot(found[0])

    def delete(self, snapshot_id: str) -> None:
        """Delete a snapshot. One that an AMI uses is refused; one that is gone already raises `NotFound`."""
        with explaining(f"deleting snapshot {snapshot_id}", "ec2:DeleteSnapshot"):
            self._ec2.delete_snapshot(SnapshotId=snapshot_id)


def _snapshot(answer: SnapshotTypeDef) -> Snapshot:
    return Snapshot(
        snapshot_id=answer["SnapshotId"],
        state=answer["State"],
        state_message=answer.get("StateMessage", ""),
        volume_gib=answer["VolumeSize"],
        encrypted=answer["Encrypted"],
        kms_key=answer.get("KmsKeyId"),
        started=answer["StartTime"],
        tags={tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])},
        owner=answer.get("OwnerId", ""),
        archived=answer.get("StorageTier") == "archive",
    )


def _age(answer: StartSnapshotResponseTypeDef) -> float:
    """Seconds from the snapshot's start to this answer, both by the service's clock; 0 if it does not tell."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    try:
        return max(0.0, (parsedate_to_datetime(date or "") - answer["StartTime"]).total_seconds())
    except (KeyError, TypeError, ValueError):
        return 0.0


def _expect(status: int, wanted: int, doing: str) -> None:
    if status != wanted:
        raise TryAgain(f"{doing}: the response had status {status} instead of {wanted}")
