"""Completed snapshots: does one still exist, its tags, its deletion. `fleetswap.workflows.image.upload` uploads them.

The client retries passing errors (`fleetswap.aws.session.control`); every call here is safe to repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from fleetswap.aws.errors import code, explained

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ABSENT = "InvalidSnapshot.NotFound"
IN_USE = "InvalidSnapshot.InUse"
"""Error codes of DescribeSnapshots and DeleteSnapshot (EC2 API reference, Error codes)."""


def exists(ec2: EC2Client, snapshot_id: str) -> bool:
    """Whether the snapshot is there and can be used. One in state `error` can never be used."""
    with explained("ec2:DescribeSnapshots", snapshot_id):
        try:
            found = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        except ClientError as error:
            if code(error) == ABSENT:
                return False
            raise
    return any(snapshot["State"] != "error" for snapshot in found)


def write_tags(ec2: EC2Client, snapshot_id: str, wanted: Mapping[str, str], former: Mapping[str, str]) -> None:
    """Make the tags of a snapshot the wanted ones; of others, only those in `former` are taken off."""
    with explained("ec2:CreateTags", snapshot_id):
        ec2.create_tags(Resources=[snapshot_id], Tags=[{"Key": key, "Value": value} for key, value in wanted.items()])
    gone = sorted(set(former) - set(wanted))
    if gone:
        with explained("ec2:DeleteTags", snapshot_id):
            ec2.delete_tags(Resources=[snapshot_id], Tags=[{"Key": key} for key in gone])


def delete(ec2: EC2Client, snapshot_id: str) -> bool:
    """Delete the snapshot, or find it gone. False, and nothing done, if an AMI uses it."""
    with explained("ec2:DeleteSnapshot", snapshot_id):
        try:
            ec2.delete_snapshot(SnapshotId=snapshot_id)
        except ClientError as error:
            if code(error) == IN_USE:
                return False
            if code(error) != ABSENT:
                raise
    return True
