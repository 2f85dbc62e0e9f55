"""Whom AMIs and snapshots are shared with: judged before the first resource, then declared for each release.

Everything here changes in place: a release keeps its ID, and its machines do not notice.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2

from fleetswap.domain.errors import InputError
from fleetswap.domain.release.ledger import Entry
from fleetswap.domain.share import NOBODY, Share
from fleetswap_pulumi.place import Place, Whereabouts
from fleetswap_pulumi.settings import Settings

REMEDY = "set fleetswap:upload.kms_key to `stack`, or to the ARN of a customer managed key"


@dataclass(frozen=True)
class Sharing:
    """With whom, and whether a snapshot of no customer managed key can be shared."""

    share: Share
    only_own_keys: bool = False

    def of(self, entry: Entry) -> Share:
        """Whom a release is shared with: nobody, if AWS would refuse it."""
        return NOBODY if self.only_own_keys and entry.image.kms_key is None else self.share


def plan_sharing(settings: Settings, here: Place, wanted: Entry, whereabouts: Whereabouts) -> Sharing:
    """Refuse what AWS would refuse half-way. A release that the ledger has stays encrypted as it is: only a warning."""
    upload, own = settings.upload, here.identity.account
    problems = []
    if own in upload.shared.accounts:
        problems.append(f"fleetswap:upload.share.accounts: {own} is the stack's own account: leave it out")
    if own in upload.accounts:
        problems.append(
            f"fleetswap:upload.trusted_stacks: {own} is the stack's own account: name its stacks without `account`"
        )
    if problems:
        raise InputError("; ".join(problems))
    if not upload.shared:
        return Sharing(upload.shared)
    sharing = Sharing(upload.shared, whereabouts.encrypts_with_aws_key())
    if not sharing.of(wanted):
        why = f"account {own} encrypts snapshots with its AWS managed key aws/ebs, and AWS does not share those"
        if wanted.release not in {each.release for each in here.ledger.entries}:
            raise InputError(f"fleetswap:upload.share: {why}: {REMEDY}")
        pulumi.log.warn(f"{wanted.release} is not shared: {why}; for the next image, {REMEDY}")
    return sharing


def share_image(
    name: str,
    share: Share,
    ami_id: pulumi.Input[str],
    snapshot_id: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> None:
    """Let others launch from the AMI, and the accounts among them copy its snapshot.

    AWS lets whoever may launch use the snapshot for that, and only a permission of its own lets them copy it (EC2 user
    guide, "Share an AMI with specific AWS accounts").
    """
    for account in share.accounts:
        ec2.AmiLaunchPermission(f"{name}-{account}", image_id=ami_id, account_id=account, opts=opts)
        ec2.SnapshotCreateVolumePermission(
            f"{name}-{account}",
            account_id=account,
            snapshot_id=snapshot_id,
            # As of the AMI: unknown in a preview that only changes the disk's tags, where it would be a replacement.
            opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=["snapshotId"])),
        )
    for arn in share.organizations:
        ec2.AmiLaunchPermission(f"{name}-{_last(arn)}", image_id=ami_id, organization_arn=arn, opts=opts)
    for arn in share.organizational_units:
        ec2.AmiLaunchPermission(f"{name}-{_last(arn)}", image_id=ami_id, organizational_unit_arn=arn, opts=opts)


def _last(arn: str) -> str:
    return arn.rpartition("/")[2]
