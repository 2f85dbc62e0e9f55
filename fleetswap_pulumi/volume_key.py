"""The stack's own KMS key for EBS volumes and snapshots (`machine.kms_key: stack`, `upload.kms_key: stack`)."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
from pulumi_aws import kms

from fleetswap.aws.partition import partition_of
from fleetswap.domain.secrets import volume_key
from fleetswap.domain.share import NOBODY, Share
from fleetswap_pulumi.context import Context

OUTPUT = "volume_key"
"""Stack output: the key's ARN."""

DELETION_WINDOW = 30
"""Days that a key can be restored in: the longest that KMS has (ScheduleKeyDeletion)."""

ROTATION_PERIOD = 365
"""Days: KMS's own default (EnableKeyRotation)."""


@dataclass(frozen=True)
class VolumeKeyArgs:
    """`account` is the stack's, 12 digits; `share` says who may use what the key encrypts besides."""

    context: Context
    account: str
    share: Share = NOBODY


class VolumeKey(pulumi.ComponentResource):
    """Outputs the key's ARN, once the key can be used."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: VolumeKeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetswap:components:VolumeKey", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        key = kms.Key(
            f"{name}-volumes",
            description=f"EBS volumes and snapshots of {args.context.stack}",
            enable_key_rotation=True,
            rotation_period_in_days=ROTATION_PERIOD,
            deletion_window_in_days=DELETION_WINDOW,
            policy=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": volume_key.policy(partition_of(args.context.region), args.account, args.share),
                }
            ),
            tags=args.context.tags(f"{name}-volumes"),
            opts=child,
        )
        kms.Alias(f"{name}-volumes", name=volume_key.alias(args.context.stack), target_key_id=key.id, opts=child)
        self.arn = key.arn
        self.register_outputs({"arn": self.arn})
