"""What an upload and its AMI take: snapshots through EBS direct, images, tags, and the key that encrypts them."""

from __future__ import annotations

from collections.abc import Iterator

from fleetswap.domain import tags
from fleetswap.domain.partition import Partition
from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.permissions.statement import Statement
from fleetswap.domain.share import FOR_EBS, key_statements

KEY = ("kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext")
"""What encrypted snapshots and volumes need of a key, besides to encrypt anew (EBS user guide, "Requirements for Amazon
EBS encryption")."""

ENCRYPT_ANEW = ("kms:ReEncryptFrom", "kms:ReEncryptTo")


def images(scope: Scope) -> Iterator[Statement]:
    """Uploads, AMIs, and their deletion."""
    snapshots = scope.ec2("snapshot")
    yield Statement(
        "StartSnapshots",
        "new snapshots with the tags of the stack, on which the next upload finds them",
        ("ebs:StartSnapshot",),
        snapshots,
        scope.made,
    )
    yield Statement(
        "FillSnapshots",
        "blocks, tags and deletion of the stack's snapshots",
        (
            "ebs:CompleteSnapshot",
            "ebs:PutSnapshotBlock",
            "ec2:CreateTags",
            "ec2:DeleteSnapshot",
            "ec2:DeleteTags",
            "ec2:RegisterImage",
        ),
        snapshots,
        scope.own,
    )
    yield read_snapshots(scope)
    yield from _copies(scope)
    yield from _shares(scope)
    yield Statement(
        "RegisterImages",
        "new AMIs with the tags of the stack",
        ("ec2:RegisterImage",),
        scope.ec2("image"),
        scope.made,
    )
    yield Statement(
        "ChangeImages",
        "tags, deprecation, protection and deletion of the stack's AMIs",
        (
            "ec2:CreateTags",
            "ec2:DeleteTags",
            "ec2:DeregisterImage",
            "ec2:DisableImageDeprecation",
            "ec2:DisableImageDeregistrationProtection",
            "ec2:EnableImageDeprecation",
            "ec2:EnableImageDeregistrationProtection",
        ),
        scope.ec2("image"),
        scope.own,
    )


def _copies(scope: Scope) -> Iterator[Statement]:
    """Copying what other accounts share: EC2 asks for the source and for the copy."""
    if not scope.trusted_accounts:
        return
    snapshots = scope.ec2("snapshot")
    yield Statement(
        "CopyWhatIsShared",
        "snapshots of the accounts in `upload.trusted_stacks`, for promotions",
        ("ec2:CopySnapshot",),
        snapshots,
        {"StringEquals": {"ec2:Owner": scope.trusted_accounts}},
    )
    yield Statement(
        "MakeCopies",
        "their copies, with the tags of the stack",
        ("ec2:CopySnapshot",),
        snapshots,
        scope.made,
    )
    keys = tuple(f"arn:{scope.partition}:kms:{scope.region}:{each}:key/*" for each in scope.trusted_accounts)
    via = {"kms:ViaService": scope.host("ec2")}
    yield Statement(
        "OpenWhatIsShared",
        "keys of those accounts, for copies of encrypted snapshots; their key policies must allow it as well",
        ("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom"),
        keys,
        {"StringEquals": via},
    )
    yield Statement(
        "LetEbsOpenWhatIsShared",
        "a grant for EBS and nobody else",
        ("kms:CreateGrant",),
        keys,
        {"Bool": FOR_EBS, "StringEquals": via},
    )


def _shares(scope: Scope) -> Iterator[Statement]:
    """Sharing the stack's own AMIs and snapshots, and looking whether they are."""
    if not scope.share:
        return
    yield Statement(
        "ShareImages",
        "launch permissions of the stack's AMIs",
        ("ec2:ModifyImageAttribute",),
        scope.ec2("image"),
        scope.own,
    )
    if scope.share.accounts:
        yield Statement(
            "ShareSnapshots",
            "permissions to create volumes from the stack's snapshots",
            ("ec2:ModifySnapshotAttribute",),
            scope.ec2("snapshot"),
            scope.own,
        )


def look_at_encryption(scope: Scope) -> Iterator[Statement]:
    """How the account encrypts by default, and whether Auto Scaling may launch with a key that is the default."""
    yield Statement(
        "LookAtEncryption",
        "whether the account encrypts all snapshots, and which key is the default; these actions know no resource",
        ("ec2:GetEbsDefaultKmsKeyId", "ec2:GetEbsEncryptionByDefault"),
    )
    if scope.keys:
        yield Statement(
            "LookAtKeyAccess",
            "whether the customer managed key lets EC2 Auto Scaling launch machines",
            ("kms:GetKeyPolicy", "kms:ListGrants"),
            scope.keys,
        )


def look_at_shares(scope: Scope) -> Iterator[Statement]:
    """Whether and with whom AMIs and snapshots are shared."""
    if not scope.share:
        return
    # Not by their tags: what is gone has none, and must be found gone.
    kinds = {"image": "ec2:DescribeImageAttribute"}
    if scope.share.accounts:
        kinds["snapshot"] = "ec2:DescribeSnapshotAttribute"
    yield Statement("LookAtShares", "whom AMIs and snapshots are shared with", tuple(kinds.values()), scope.ec2(*kinds))


def read_snapshots(scope: Scope) -> Statement:
    """What uploads, previews, `fleetswap why` and `fleetswap manifest` read of snapshots."""
    readable = (scope.stack, *scope.trusted_stacks)
    return Statement(
        "ReadSnapshots",
        "a parent's blocks, so that only what has changed is sent, and manifests, for the changes in a preview; without"
        " it, every block is sent, and a preview says that it does not know the manifest",
        ("ebs:GetSnapshotBlock", "ebs:ListSnapshotBlocks"),
        scope.ec2("snapshot"),
        {"StringEquals": {f"aws:ResourceTag/{tags.STACK}": readable if len(readable) > 1 else scope.stack}},
    )


def key(scope: Scope) -> Iterator[Statement]:
    """What the uploads, and the launches of the stack's machines, need of the customer managed key."""
    if not scope.keys:
        return
    yield Statement(
        "UseKey",
        "the customer managed key that encrypts the account's snapshots and volumes",
        (*KEY[1:], *ENCRYPT_ANEW),
        scope.keys,
    )
    yield Statement(
        "LetEbsUseKey",
        "a grant for EBS and nobody else",
        (KEY[0],),
        scope.keys,
        {"Bool": {"kms:GrantIsForAWSResource": "true"}, "StringEquals": {"kms:ViaService": scope.host("ec2")}},
    )


def decrypt(scope: Scope) -> Iterator[Statement]:
    """What reading needs of the customer managed key (EBS user guide, "Permissions to use AWS KMS keys")."""
    if scope.keys:
        yield Statement(
            "DecryptSnapshots",
            "reading blocks of snapshots that the customer managed key encrypts",
            ("kms:Decrypt",),
            scope.keys,
        )


def key_policy(scope: Scope) -> tuple[Statement, ...]:
    """Statements for the policy of the key: Auto Scaling launches with its own role, which must be allowed to, and
    those with whom images are shared.

    Auto Scaling user guide, "Required AWS KMS key policy for use with encrypted volumes". Without them every launch
    ends as Cancelled (Client.InternalError).
    """
    if not scope.keys:
        return ()
    role = scope.linked_role("autoscaling.amazonaws.com", "AWSServiceRoleForAutoScaling")
    return (
        Statement(
            "AutoScalingUsesTheKey",
            "launches of machines",
            ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"),
            principal=role,
        ),
        Statement(
            "AutoScalingLetsEc2AttachVolumes",
            "volumes that outlive the launch",
            ("kms:CreateGrant",),
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
            principal=role,
        ),
        *(
            Statement(
                each["Sid"],
                "for whom AMIs and snapshots are shared with (`upload.share`)",
                (each["Action"],) if isinstance(each["Action"], str) else tuple(each["Action"]),
                conditions=each.get("Condition", {}),
                principal=each["Principal"]["AWS"],
            )
            for each in key_statements(Partition(scope.partition, scope.suffix), scope.share)
        ),
    )
