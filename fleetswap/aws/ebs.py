"""EBS direct and EC2 over boto3, as `fleetswap.workflows.upload.Snapshots` wants them.

It decides what an answer means: success, a failure that may pass, or a refusal, each in one line that names the
snapshot, the block and, where one is missing, the permission. It makes one attempt a call; it never tries again, never
waits and never reads a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 (botocore's name for what never got as far as an answer)
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
)
from botocore.parsers import ResponseParserError

from fleetswap.domain.blocks import BLOCK_SIZE, encode
from fleetswap.domain.errors import CloudError
from fleetswap.domain.snapshots import PENDING_MINUTES, Absent, Snapshot, Start, TryAgain

if TYPE_CHECKING:
    from mypy_boto3_ebs import EBSClient
    from mypy_boto3_ebs.type_defs import StartSnapshotRequestTypeDef
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, SnapshotTypeDef

THROTTLES = frozenset(
    {
        # EBS direct: the first is the snapshot's limit, the second the account's (API reference, PutSnapshotBlock).
        "RequestThrottledException",
        "ThrottlingException",
        # EC2 (API reference, "Error codes"); the others are what a proxy or an older front end says.
        "RequestLimitExceeded",
        "Throttling",
        "RequestThrottled",
        "TooManyRequestsException",
    }
)

PASSING_REASONS = frozenset({"CONFLICTING_BLOCK_UPDATE", "WRITE_REQUEST_TIMEOUT"})
"""Reasons of a ValidationException that the request itself is innocent of: an earlier attempt at the same block, whose
answer was lost, is still being written; or the write took too long (API reference, ValidationException)."""

DENIALS = frozenset({"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"})

QUOTAS = {
    "ServiceQuotaExceededException": "a quota of the account is used up",
    "ConcurrentLimitExceededException": "the account has as many pending snapshots as it may have (100 by default)",
}

ABSENT = frozenset({"ResourceNotFoundException", "InvalidSnapshot.NotFound"})


class DirectSnapshots:
    """The port, over the two clients of `Cloud.ebs_and_ec2`, which must not retry. Safe to use from several threads."""

    def __init__(self, ebs: EBSClient, ec2: EC2Client) -> None:
        self._ebs = ebs
        self._ec2 = ec2

    def find(self, tags: Mapping[str, str]) -> list[Snapshot]:
        """All snapshots of this account that carry all of `tags`, in whatever state."""
        filters: list[FilterTypeDef] = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
        with _speaking("looking for snapshots of the image", "ec2:DescribeSnapshots"):
            pages = self._ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=filters)
            return [_snapshot(each) for page in pages for each in page["Snapshots"]]

    def start(self, start: Start) -> str:
        """Start a snapshot and return its id. The same token again, with the same rest, gives the same snapshot."""
        request: StartSnapshotRequestTypeDef = {
            "VolumeSize": start.volume_gib,
            "ClientToken": start.token,
            "Timeout": PENDING_MINUTES,
            "Tags": [{"Key": key, "Value": value} for key, value in start.tags.items()],
        }
        if start.description:
            request["Description"] = start.description
        # Left out if not asked for: false would not win over an account that encrypts by default anyway.
        if start.encrypted:
            request["Encrypted"] = True
        if start.kms_key is not None:
            request["KmsKeyArn"] = start.kms_key
        with _speaking("starting a snapshot", "ebs:StartSnapshot", "ec2:CreateTags"):
            answer = self._ebs.start_snapshot(**request)
            _expect(answer["ResponseMetadata"]["HTTPStatusCode"], 201, "starting a snapshot")
            snapshot_id = answer.get("SnapshotId")
            if not snapshot_id:
                raise TryAgain("starting a snapshot: the answer was cut off")
            if answer.get("BlockSize", BLOCK_SIZE) != BLOCK_SIZE:
                raise CloudError(
                    f"snapshot {snapshot_id} has blocks of {answer['BlockSize']} bytes, not {BLOCK_SIZE}:"
                    " delete it, and use a newer Fleetswap"
                )
            return snapshot_id

    def put(self, snapshot_id: str, index: int, block: bytes, digest: bytes) -> None:
        """Write a block; to write it again is harmless.

        Only status 201 with the checksum echoed counts: urllib3 takes an answer cut inside its headers for a success.
        """
        doing = f"writing block {index} of snapshot {snapshot_id}"
        checksum = encode(digest)
        with _speaking(doing, "ebs:PutSnapshotBlock"):
            answer = self._ebs.put_snapshot_block(
                SnapshotId=snapshot_id,
                BlockIndex=index,
                BlockData=block,
                DataLength=len(block),
                Checksum=checksum,
                ChecksumAlgorithm="SHA256",
            )
            _expect(answer["ResponseMetadata"]["HTTPStatusCode"], 201, doing)
            echoed = answer.get("Checksum")
            if echoed != checksum:
                raise TryAgain(f"{doing}: " + ("EBS got other data" if echoed else "the answer was cut off"))

    def complete(self, snapshot_id: str, block_count: int, checksum: str) -> None:
        """Seal a snapshot. Refused with a ValidationException if it is not pending, so a repeat may be refused."""
        doing = f"completing snapshot {snapshot_id}"
        with _speaking(doing, "ebs:CompleteSnapshot"):
            answer = self._ebs.complete_snapshot(
                SnapshotId=snapshot_id,
                ChangedBlocksCount=block_count,
                Checksum=checksum,
                ChecksumAlgorithm="SHA256",
                ChecksumAggregationMethod="LINEAR",
            )
            _expect(answer["ResponseMetadata"]["HTTPStatusCode"], 202, doing)

    def describe(self, snapshot_id: str) -> Snapshot:
        """What EC2 knows of a snapshot."""
        doing = f"looking at snapshot {snapshot_id}"
        with _speaking(doing, "ec2:DescribeSnapshots"):
            found = self._ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
            if not found:
                raise Absent(f"{doing}: it does not exist")
            return _snapshot(found[0])

    def delete(self, snapshot_id: str) -> None:
        """Delete a snapshot. One that an AMI uses is refused; one that is gone already raises `Absent`."""
        with _speaking(f"deleting snapshot {snapshot_id}", "ec2:DeleteSnapshot"):
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
    )


def _expect(status: int, wanted: int, doing: str) -> None:
    if status != wanted:
        raise TryAgain(f"{doing}: the answer had status {status} instead of {wanted}")


@contextmanager
def _speaking(doing: str, *permissions: str) -> Iterator[None]:
    """Turn what boto3 raises while `doing` something into our errors."""
    try:
        yield
    except ClientError as error:
        raise _refusal(error, doing, permissions) from error
    except (HTTPClientError, ConnectionError, IncompleteReadError) as error:
        raise TryAgain(f"{doing}: {_one_line(error)}") from error
    except ResponseParserError as error:
        raise TryAgain(f"{doing}: the answer cannot be read ({_one_line(error)})") from error
    except NoCredentialsError as error:
        raise CloudError(f"{doing}: no AWS credentials: set AWS_PROFILE, or log in with `aws sso login`") from error
    except BotoCoreError as error:
        raise CloudError(f"{doing}: {_one_line(error)}") from error


def _refusal(error: ClientError, doing: str, permissions: tuple[str, ...]) -> CloudError:
    code = error.response.get("Error", {}).get("Code", "")
    message = _one_line(error.response.get("Error", {}).get("Message", "") or "no reason given")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = f"{doing}: {code}: {message}"
    if code in ABSENT:
        return Absent(text)
    if code in THROTTLES or status in (408, 429) or status >= 500:
        return TryAgain(text)
    # botocore puts the members of a modelled error beside "Error"; its types know nothing of them.
    if code == "ValidationException" and error.response.get("Reason") in PASSING_REASONS:
        return TryAgain(text)
    if code in DENIALS:
        # AWS often says which action it was, e.g. one on the KMS key; then it knows better.
        told = re.search(r"not authorized to perform: ([\w-]+:\w+)", message)
        missing = told.group(1) if told else " and ".join(permissions)
        return CloudError(f"{doing}: access denied: allow {missing} ({message})")
    if code in QUOTAS:
        return CloudError(f"{doing}: {QUOTAS[code]}: wait, clean up, or ask for more in Service Quotas ({message})")
    return CloudError(text)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
