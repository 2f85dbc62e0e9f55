"""Whom an AMI and a snapshot are shared with: facts and API calls of both types."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from engine.aws_plugin.kind import Call, Kind, OperationError, code
from engine.aws_plugin.wire import Props

_WITH = {
    "accountId": ("UserId", ""),
    "group": ("Group", "group-"),
    "organizationArn": ("OrganizationArn", "org-"),
    "organizationalUnitArn": ("OrganizationalUnitArn", "ou-"),
}
"""With whom an AMI is shared: the property, its name in the API, and what stands before it in the id."""

_NO_IMAGE = frozenset({"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"})
_NO_SNAPSHOT = frozenset({"InvalidSnapshot.NotFound"})


class AmiLaunchPermission(Kind):
    """One launch permission of an AMI (`aws_ami_launch_permission`)."""

    type_name = "aws:ec2/amiLaunchPermission:AmiLaunchPermission"
    noun = "AMI Launch Permission"
    supported = frozenset({"imageId", "region", *_WITH})
    replace = frozenset({"imageId", *_WITH})

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """With one, and not with several."""
        if len([name for name in _WITH if props.get(name)]) != 1:
            yield "accountId", f"exactly one of {', '.join(_WITH)} must be set"

    def create(self, call: Call, props: Props) -> str:
        """Add it; one that there is already is no error."""
        name = next(name for name in _WITH if props.get(name))
        self._change(call, props["imageId"], "Add", {_WITH[name][0]: props[name]})
        call.made = f"{props['imageId']}-{_WITH[name][1]}{props[name]}"
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """Whether the AMI has it; the id says which."""
        image_id, name, value = _parts(resource_id)
        try:
            answer = call.client("ec2").describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
        except ClientError as error:
            if code(error) in _NO_IMAGE:
                return None
            raise
        wanted = {_WITH[name][0]: value}
        return {"imageId": image_id, name: value} if wanted in answer.get("LaunchPermissions", []) else None

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Remove it; of an AMI that is gone there is nothing to remove."""
        image_id, name, value = _parts(resource_id)
        try:
            self._change(call, image_id, "Remove", {_WITH[name][0]: value})
        except ClientError as error:
            if code(error) not in _NO_IMAGE:
                raise

    @staticmethod
    def _change(call: Call, image_id: str, how: str, permission: dict[str, Any]) -> None:
        call.client("ec2").modify_image_attribute(
            ImageId=image_id, Attribute="launchPermission", LaunchPermission={how: [permission]}
        )


def _parts(resource_id: str) -> tuple[str, str, str]:
    """The AMI, the property and its value: `ami-1-111122223333`, `ami-1-org-arn:…`."""
    prefix, _, rest = resource_id.partition("-")
    image, _, whom = rest.partition("-")
    if prefix != "ami" or not image or not whom:
        message = f"the id of a launch permission is IMAGE_ID-ACCOUNT_ID or the like, not {resource_id}"
        raise OperationError(message)
    named = ((name, begin) for name, (_, begin) in _WITH.items() if begin and whom.startswith(begin))
    name, begin = next(named, ("accountId", ""))
    return f"ami-{image}", name, whom.removeprefix(begin)


class SnapshotCreateVolumePermission(Kind):
    """One permission to create volumes from a snapshot (`aws_snapshot_create_volume_permission`)."""

    type_name = "aws:ec2/snapshotCreateVolumePermission:SnapshotCreateVolumePermission"
    noun = "EBS Snapshot CreateVolumePermission"
    supported = frozenset({"accountId", "region", "snapshotId"})
    replace = frozenset({"accountId", "snapshotId"})
    timeout: ClassVar[float] = 1200.0

    def create(self, call: Call, props: Props) -> str:
        """Add it, unless the account is the owner, and wait until it is seen."""
        snapshot_id, account = str(props["snapshotId"]), str(props["accountId"])
        (snapshot,) = call.client("ec2").describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        if snapshot.get("OwnerId") == account:
            message = f"AWS Account ({account}) owns EBS Snapshot ({snapshot_id})"
            raise OperationError(message)
        self._change(call, snapshot_id, "Add", account)
        call.made = f"{snapshot_id}-{account}"
        call.wait(f"creating {self.noun} {call.made}", lambda: self._has(call, snapshot_id, account))
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """Whether the snapshot has it; the id is `SNAPSHOT_ID-ACCOUNT_ID`."""
        snapshot_id, _, account = resource_id.rpartition("-")
        return {"snapshotId": snapshot_id, "accountId": account} if self._has(call, snapshot_id, account) else None

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Remove it, and wait until it is not seen any more."""
        snapshot_id, _, account = resource_id.rpartition("-")
        try:
            self._change(call, snapshot_id, "Remove", account)
        except ClientError as error:
            if code(error) not in _NO_SNAPSHOT:
                raise
            return
        call.wait(
            f"deleting {self.noun} {resource_id}", lambda: not self._has(call, snapshot_id, account), seconds=300.0
        )

    @staticmethod
    def _change(call: Call, snapshot_id: str, how: str, account: str) -> None:
        call.client("ec2").modify_snapshot_attribute(
            SnapshotId=snapshot_id,
            Attribute="createVolumePermission",
            CreateVolumePermission={how: [{"UserId": account}]},
        )

    @staticmethod
    def _has(call: Call, snapshot_id: str, account: str) -> bool:
        try:
            answer = call.client("ec2").describe_snapshot_attribute(
                SnapshotId=snapshot_id, Attribute="createVolumePermission"
            )
        except ClientError as error:
            if code(error) in _NO_SNAPSHOT:
                return False
            raise
        return any(each.get("UserId") == account for each in answer.get("CreateVolumePermissions", []))
