"""Makes moto as strict as AWS where the program depends on it, and joins it to the store and the machines.

Decides nothing itself: it applies the patches, each of which lies in the module of its subject and says what AWS does
and what moto does instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moto.core.base_backend import BackendDict

from localcloud import images, mirror
from localcloud.backends import ACCOUNT_ID, LOCK, MachineHooks, backend
from localcloud.ebs import EbsApi

if TYPE_CHECKING:
    from localcloud.patches import Patches
    from localcloud.snapshots import Snapshot, SnapshotStore


class Control:
    """The control plane on top of moto: patched, empty but for the snapshots of the store. Made with `LOCK` held."""

    def __init__(self, patches: Patches, store: SnapshotStore, machines: MachineHooks | None) -> None:  # noqa: ARG002
        mirror.patch(patches, store)
        images.patch(patches)
        for backends in list(BackendDict._instances):
            for account in backends.values():
                account.reset()
        for snapshot in store.all():
            mirror.show(store, snapshot)

        def show(snapshot: Snapshot) -> None:
            mirror.show(store, snapshot)

        self.ebs = EbsApi(store, owner_id=ACCOUNT_ID, on_start=show, resolve_key=resolve_key)

    def tick(self) -> None:
        """Do what is due. Called about four times a second, with `LOCK` held."""


def resolve_key(arn: str | None) -> str:
    """The ARN of a KMS key that exists; None stands for the account's default key for EBS. Raises LookupError."""
    with LOCK:
        if arn is None:
            default: str = backend("ec2")._create_default_encryption_key()
            return default
        keys = backend("kms").keys
        if arn.rpartition("/")[2] not in keys:
            raise LookupError(arn)
        return arn
