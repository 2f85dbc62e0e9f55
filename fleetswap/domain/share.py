"""Whom images are shared with, and what the policy of the key that encrypts them must allow for that. Pure.

AWS shares a snapshot with accounts only, an AMI with organizations and organizational units as well (EC2 API reference,
ModifySnapshotAttribute, ModifyImageAttribute). It shares none that the account's AWS managed key encrypts (EBS user
guide, "Share an Amazon EBS snapshot with other AWS accounts"), because nobody can change that key's policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fleetswap.domain.partition import Partition

USE = ("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey*", "kms:ReEncrypt*")
"""What whoever launches from or copies a shared snapshot needs of its key, besides a grant for EBS (EBS user guide,
"Share the KMS key used to encrypt a shared Amazon EBS snapshot")."""

GRANT = "kms:CreateGrant"

FOR_EBS = {"kms:GrantIsForAWSResource": "true"}
"""A grant that an AWS service makes for its own use, and no other (the same, Tip)."""


@dataclass(frozen=True)
class Share:
    """With whom: account ids, and the ARNs of organizations and of organizational units."""

    accounts: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()
    organizational_units: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether it is with anybody."""
        return bool(self.accounts or self.organizations or self.organizational_units)


NOBODY = Share()


def key_statements(partition: Partition, share: Share) -> list[dict[str, Any]]:
    """The statements of a key's policy that let those use what the key encrypts; their own IAM policies must, too."""
    return [
        statement
        for name, principal, condition in _whom(partition, share)
        for statement in (
            _statement(f"{name}UseTheKey", principal, list(USE), condition),
            _statement(f"{name}LetEbsUseTheKey", principal, GRANT, {**condition, "Bool": FOR_EBS}),
        )
    ]


def _whom(partition: Partition, share: Share) -> Iterator[tuple[str, str | list[str], dict[str, Any]]]:
    """Each kind: the beginning of a `Sid`, the principal, and the condition.

    EC2 user guide, "Allow organizations and OUs to use a KMS key". The ARN of a unit does not say where in the tree it
    is, and a path of `aws:PrincipalOrgPaths` names every unit on the way, so it may stand at any depth.
    """
    if share.accounts:
        yield "SharedAccounts", [f"arn:{partition.name}:iam::{each}:root" for each in share.accounts], {}
    if share.organizations:
        ids = [each.rpartition("/")[2] for each in share.organizations]
        yield "SharedOrganizations", "*", {"StringEquals": {"aws:PrincipalOrgID": ids}}
    if share.organizational_units:
        units = [each.split("/")[1:3] for each in share.organizational_units]
        paths = [f"{organization}/*/{unit}/*" for organization, unit in units]
        yield (
            "SharedUnits",
            "*",
            {
                "StringEquals": {"aws:PrincipalOrgID": list(dict.fromkeys(organization for organization, _ in units))},
                "ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": paths},
            },
        )


def _statement(
    sid: str, principal: str | list[str], actions: str | list[str], condition: dict[str, Any]
) -> dict[str, Any]:
    statement: dict[str, Any] = {"Sid": sid, "Effect": "Allow", "Principal": {"AWS": principal}}
    statement |= {"Action": actions, "Resource": "*"}
    return {**statement, "Condition": condition} if condition else statement
