"""Shows the block store's snapshots in EC2: DescribeSnapshots, CopySnapshot, DeleteSnapshot, tags, sharing.

Decides how a stored snapshot looks in EC2 and when it may be deleted. The store keeps the snapshots; moto only shows
them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fnmatch import translate
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import moto.ec2.utils
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidSnapshotIdError
from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_block_store import EBSBackend, Snapshot
from moto.ec2.models.tags import TagBackend
from moto.ec2.responses.elastic_block_store import ElasticBlockStore

from localcloud.ebs.records import Request, StoreError
from localcloud.ebs.records import Snapshot as Stored
from localcloud.moto_state import ACCOUNT_ID, LOCK, Moto, backend

if TYPE_CHECKING:
    from localcloud.ebs import store
    from localcloud.patches import Patches

NO_VOLUME = "vol-ffffffff"  # what EC2 shows as the volume of a snapshot that was made by the EBS direct API

_create_tags, _delete_tags = TagBackend.create_tags, TagBackend.delete_tags
_add_permission = EBSBackend.add_create_volume_permission
_describe_snapshots = ElasticBlockStore.describe_snapshots
_modify_attribute = ElasticBlockStore.modify_snapshot_attribute


def of_volume(ec2: Moto, ebs: dict[str, Any]) -> Moto:
    """The snapshot that a block device is made from; its size goes into `ebs` if that has none.

    Raises what RegisterImage and RunInstances refuse a device with (API reference, EbsBlockDevice).
    """
    snapshot_id = ebs["SnapshotId"]
    snapshot = ec2.snapshots.get(snapshot_id)
    if snapshot is None:
        raise EC2ClientError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
    if snapshot.status != "completed":
        raise EC2ClientError("IncorrectState", f"The snapshot '{snapshot_id}' is {snapshot.status}, not completed.")
    ebs["VolumeSize"] = int(ebs.get("VolumeSize") or snapshot.volume_size)
    if ebs["VolumeSize"] < snapshot.volume_size:
        raise EC2ClientError(
            "InvalidBlockDeviceMapping",
            f"Volume of size {ebs['VolumeSize']}GB is smaller than snapshot '{snapshot_id}', expect size >="
            f" {snapshot.volume_size}GB",
        )
    return snapshot


class _NoVolume:
    """The volume that a snapshot of the EBS direct API claims to be of."""

    id = NO_VOLUME

    def __init__(self, size: int) -> None:
        self.size = size


class StoredSnapshot(Snapshot):  # type: ignore[misc] # moto ships no types
    """A snapshot of the block store, as EC2 shows it."""

    def __init__(self, ec2: Moto, store: store.SnapshotStore, stored: Stored) -> None:
        self._store = store
        super().__init__(
            ec2,
            stored.id,
            _NoVolume(stored.volume_size_gib),
            stored.request.description,
            encrypted=stored.encrypted,
            kms_key_id=stored.key,
        )
        self.start_time = datetime.fromtimestamp(stored.start_time, UTC).replace(tzinfo=None)
        self._stored = stored

    @property
    def owner_id(self) -> str:
        """The account that the snapshot is of."""
        return self._stored.owner or ACCOUNT_ID

    @owner_id.setter
    def owner_id(self, value: str) -> None:
        """Ignored: moto's constructor calls every snapshot ours."""

    @property
    def status(self) -> str:
        """`pending`, `completed` or `error`, as of now."""
        return self._store.status(self.id)

    @status.setter
    def status(self, value: str) -> None:
        """Ignored: moto's constructor calls every snapshot completed."""

    @property
    def progress(self) -> str:
        """How much of the snapshot is there; EC2 shows 0 % until it is completed."""
        return "100%" if self.status == "completed" else "0%"

    @property
    def state_message(self) -> str | None:
        """Why the snapshot failed. EC2 says the latter of a copy whose key it cannot use."""
        if self.status != "error":
            return None
        return (
            "Given key ID is not accessible" if self._stored.encrypted else "No block was written within the timeout."
        )

    def get_tags(self) -> list[dict[str, str]]:
        """Tags are the owner's alone: nobody with whom a snapshot is shared sees them (EC2 user guide, "Tag your Amazon
        EC2 resources").
        """
        tags: list[dict[str, str]] = super().get_tags() if self._stored.owner is None else []
        return tags


def show(store: store.SnapshotStore, stored: Stored) -> None:
    """Let EC2 show a snapshot. Showing it again is harmless."""
    with LOCK:
        ec2 = backend("ec2")
        if stored.id not in ec2.snapshots:
            ec2.snapshots[stored.id] = StoredSnapshot(ec2, store, stored)
            ec2.create_tags([stored.id], dict(stored.tags))


def patch(patches: Patches, store: store.SnapshotStore) -> None:
    """Make EC2's snapshot calls work on the store."""
    patches.set(EC2Backend, "snapshot_store", store)
    patches.methods(EBSBackend, delete_snapshot, add_create_volume_permission)
    patches.methods(TagBackend, create_tags, delete_tags)
    patches.methods(ElasticBlockStore, describe_snapshots, modify_snapshot_attribute, copy_snapshot)
    patches.set(moto.ec2.utils, "fnmatch", SimpleNamespace(fnmatch=filter_matches, translate=translate))
    patches.set(moto.ec2.utils, "simple_aws_filter_to_re", filter_pattern)


def filter_matches(value: str, text: str) -> bool:
    """Whether a filter's value means this value of a resource."""
    return re.match(filter_pattern(text), value) is not None


def filter_pattern(text: str) -> str:
    r"""The regular expression of a filter's value: `*` and `?`, and the backslash takes what follows as it is.

    EC2 user guide, "List and filter using the CLI and API". moto takes `[` for special too, and not the backslash.
    """
    special = {"*": ".*", "?": "."}
    parts = [special.get(part) or re.escape(part[-1]) for part in re.findall(r"\\.|.", text, re.DOTALL)]
    return f"(?s:{''.join(parts)})\\Z"


def delete_snapshot(self: Moto, snapshot_id: str) -> Moto:
    """AWS refuses to delete a snapshot that a registered AMI uses; moto knows only the snapshots that it invents."""
    if snapshot_id not in self.snapshots:
        raise InvalidSnapshotIdError
    if self.snapshots[snapshot_id].owner_id != ACCOUNT_ID:
        raise EC2ClientError("UnauthorizedOperation", "You are not authorized to perform this operation.")
    binned = [image for image, _ in self.recycle_bin.held(datetime.now(UTC)).values()]
    for image in (*self.amis.values(), *binned):
        if any(mapping["Ebs"].get("SnapshotId") == snapshot_id for mapping in image.block_device_mappings):
            raise EC2ClientError(
                "InvalidSnapshot.InUse", f"The snapshot {snapshot_id} is currently in use by {image.id}"
            )
    try:
        self.snapshot_store.delete(snapshot_id)
    except StoreError as error:
        if error.code != "ResourceNotFoundException":  # a snapshot of moto's own has no blocks to remove
            raise
    self.tags.pop(snapshot_id, None)
    return self.snapshots.pop(snapshot_id)


def create_tags(self: Moto, resource_ids: list[str], tags: dict[str, str]) -> Moto:
    """Tags of snapshots outlive a restart, as the snapshots do; moto has nothing that lasts."""
    done = _create_tags(self, resource_ids, tags)
    _keep_tags(self, resource_ids)
    return done


def delete_tags(self: Moto, resource_ids: list[str], tags: dict[str, str]) -> Moto:
    """As `create_tags`."""
    done = _delete_tags(self, resource_ids, tags)
    _keep_tags(self, resource_ids)
    return done


def _keep_tags(ec2: Moto, resource_ids: list[str]) -> None:
    for resource_id in resource_ids:
        if isinstance(ec2.snapshots.get(resource_id), StoredSnapshot):
            ec2.snapshot_store.set_tags(resource_id, dict(ec2.tags[resource_id]))


def describe_snapshots(self: Moto) -> Moto:
    """AWS knows the owner filter, and shows what others share; moto shows everybody's snapshots as ours."""
    owners = {ACCOUNT_ID if owner == "self" else owner for owner in self._get_param("OwnerIds", [])}
    answer = _describe_snapshots(self)
    answer.result["Snapshots"] = [
        snapshot
        for snapshot in answer.result["Snapshots"]
        if (not owners or snapshot.owner_id in owners) and not _hidden(snapshot)
    ]
    return answer


def _hidden(snapshot: Moto) -> bool:
    return isinstance(snapshot, StoredSnapshot) and snapshot._stored.owner is not None and not snapshot._stored.shared


def has_managed_key(snapshot: Moto) -> bool:
    """Whether the account's AWS managed key for EBS encrypts a snapshot."""
    return bool(snapshot.encrypted) and snapshot.kms_key_id == backend("kms").describe_key("alias/aws/ebs").arn


def add_create_volume_permission(self: Moto, snapshot_id: str, user_ids: list[str], groups: list[str]) -> None:
    """AWS shares no encrypted snapshot with all, and none of the default key with anybody; moto any.

    API reference: ModifySnapshotAttribute.
    """
    snapshot = self.get_snapshot(snapshot_id)
    if snapshot.encrypted and (groups or has_managed_key(snapshot)):
        raise EC2ClientError("OperationNotPermitted", "Encrypted snapshots with EBS default key cannot be shared")
    _add_permission(self, snapshot_id, user_ids, groups)


def modify_snapshot_attribute(self: Moto) -> Moto:
    """AWS takes `CreateVolumePermission` with what to add and remove, as the AWS provider sends it; moto ignores it."""
    snapshot_id = self._get_param("SnapshotId")
    self.error_on_dryrun()
    if self.ec2_backend.get_snapshot(snapshot_id).owner_id != ACCOUNT_ID:
        raise EC2ClientError("UnauthorizedOperation", "You are not authorized to perform this operation.")
    asked = self._get_param("CreateVolumePermission") or {}
    changes = (
        ("Add", self.ec2_backend.add_create_volume_permission),
        ("Remove", self.ec2_backend.remove_create_volume_permission),
    )
    for how, change in changes:
        wanted = asked.get(how) or []
        users, groups = ([each[kind] for each in wanted if kind in each] for kind in ("UserId", "Group"))
        if wanted:
            change(snapshot_id, user_ids=users, groups=groups)
    return _modify_attribute(self)


def copy_snapshot(self: Moto) -> Moto:
    """AWS copies the blocks, encrypts them anew, and gives the copy no tags of the source; moto copies nothing.

    API reference: CopySnapshot. A source that this account may not use does not exist for it.
    """
    self.error_on_dryrun()
    ec2, source_id = self.ec2_backend, self._get_param("SourceSnapshotId")
    source = ec2.snapshots.get(source_id)
    if source is None or _hidden(source):
        raise EC2ClientError("InvalidSnapshot.NotFound", f"The snapshot '{source_id}' does not exist.")
    if source.status != "completed":
        raise EC2ClientError("IncorrectState", f"The snapshot '{source_id}' is {source.status}, not completed.")
    key, encrypted = self._get_param("KmsKeyId"), self._get_param("Encrypted") is True
    if key and not (encrypted or source.encrypted):
        raise EC2ClientError(
            "InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set."
        )
    failed = False
    if encrypted or source.encrypted or ec2.ebs_encryption_by_default:
        key = key or ec2.default_kms_key_id or ec2._create_default_encryption_key()
        failed = not all(_is_usable(each) for each in (key, source.kms_key_id) if each)
    tags = self._parse_tag_specification().get("snapshot", {})
    request = Request(source.volume_size, tags=tuple(tags.items()), description=self._get_param("Description") or "")
    copied = ec2.snapshot_store.copy(source_id, request, key=key, failed=failed)
    show(ec2.snapshot_store, copied)
    return ActionResult({"SnapshotId": copied.id, "Tags": [{"Key": name, "Value": tags[name]} for name in tags]})


def _is_usable(arn: str) -> bool:
    """Whether a key can be used. One of another account, which this process does not have, is as its policy lets it."""
    key = backend("kms").keys.get(arn.rpartition("/")[2])
    return key is not None and key.state_in_force() == "Enabled"
