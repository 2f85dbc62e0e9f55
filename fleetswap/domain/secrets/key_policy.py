"""The key policy of a stack's own KMS key, and what the machines' role may do with a key. Pure: it builds documents.

Nobody but those that a policy names can decrypt: an IAM policy of the account counts only for the actions that the key
policy leaves to the account (KMS developer guide, "Key policies in AWS KMS": "Unless the key policy explicitly allows
it, you cannot use IAM policies to allow access to a KMS key").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ADMINISTER = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:ReplicateKey",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
    "kms:UpdatePrimaryRegion",
)
"""What IAM policies of the account may allow: all that manages a key and nothing that uses it (KMS developer guide,
"Default key policy" and "AWS KMS permissions"). `kms:PutKeyPolicy` is among it, so that the account is never locked out
("Make the key manageable"; CreateKey refuses a policy without it, unless it is told not to check). `kms:CreateGrant` is
not: whoever has it can let anybody decrypt ("Grants in AWS KMS")."""

SEAL = ("kms:Encrypt", "kms:GenerateDataKey*")
"""What IAM policies of the account may allow in the encryption context: sops encrypts its data key (sops,
`kms/keysource.go`), and whoever can only do that cannot read what is sealed."""

OPEN = "kms:Decrypt"

ATTESTED = "kms:RecipientAttestation:NitroTPMPCR"
"""Begins the condition keys of a NitroTPM's PCRs, whose values are lowercase hex (KMS developer guide, "Condition keys
for NitroTPM"). They are in no request without an attestation document, so a condition on one refuses those."""

ARGUMENTS = frozenset({"7", "12"})
"""PCRs that cover the kernel's command line, of which a policy must name one: PCR 4 does not cover it
(GHSA-xrv8-2pf5-f3q7)."""


@dataclass(frozen=True)
class Machines:
    """A role of machines, by its ARN. `plain`: it opens secrets without attestation, for releases without it.

    `measurements` are PCRs by their numbers, for each attested release. `name` tells the roles of a key apart.
    """

    role: str
    plain: bool = True
    measurements: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    name: str = ""


def in_context(context: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The condition that a request has exactly this encryption context.

    The first operator wants each pair, and a request without one does not have it. It ignores the case of the pair's
    key, because condition keys do; the second operator does not, and refuses further pairs. `ForAllValues` alone would
    take a request without any (KMS developer guide, "kms:EncryptionContext:context-key" and
    "kms:EncryptionContextKeys"; IAM user guide, "Multivalued context keys").
    """
    return {
        "StringEquals": {f"kms:EncryptionContext:{key}": value for key, value in context.items()},
        "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": list(context)},
    }


def measured(pcrs: Mapping[str, str]) -> dict[str, str]:
    """The conditions that the PCRs of one image have these values, for `StringEquals`.

    Raises `ValueError` where they would let another image in: without PCR 4, which the image's own code is in, or
    without one that the command line is in.
    """
    if "4" not in pcrs or not ARGUMENTS & set(pcrs):
        raise ValueError(f"PCRs {', '.join(sorted(pcrs)) or '(none)'} do not identify an image: 4, and 7 or 12 do")
    return {
        f"{ATTESTED}{number}": value.lower() for number, value in sorted(pcrs.items(), key=lambda each: int(each[0]))
    }


def statements(
    *,
    partition: str,
    account: str,
    context: Mapping[str, str],
    machines: Sequence[Machines],
    editors: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """All statements of the key policy. `account` is the stack's, `context` its encryption context.

    Every principal must exist, or KMS refuses the policy (CreateKey, MalformedPolicyDocumentException). `Resource` is
    `*`: in a key policy it means this key.
    """
    found = of_account(partition=partition, account=account, context=context, editors=editors)
    found += [of_machines(each.role, context, each.name) for each in machines if each.plain]
    return found + [
        of_release(release, each.role, context, pcrs)
        for each in machines
        for release, pcrs in each.measurements.items()
    ]


def of_account(
    *, partition: str, account: str, context: Mapping[str, str], editors: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """What people and the deploying role may do, whatever releases there are."""
    root = f"arn:{partition}:iam::{account}:root"
    exactly = in_context(context)
    found = [
        _statement("IamPoliciesOfTheAccountManage", [root], ADMINISTER),
        _statement("IamPoliciesOfTheAccountSeal", [root], SEAL, exactly),
    ]
    if editors:
        found.append(_statement("EditorsSealAndOpen", editors, (*SEAL, OPEN), exactly))
    return found


def of_machines(role: str, context: Mapping[str, str], name: str = "") -> dict[str, Any]:
    """What the machines of releases without attestation may do. `name` is that of `Machines`."""
    return _statement(f"MachinesOpen{name}", [role], (OPEN,), in_context(context))


def of_release(release: str, role: str, context: Mapping[str, str], pcrs: Mapping[str, str]) -> dict[str, Any]:
    """What the machines of an attested release may do: only with its measurements, see `measured`.

    A `Sid` has letters and digits (IAM user guide, "IAM JSON policy elements: Sid"). That of a release is its own, as
    no two releases have the same eight digits.
    """
    exactly = in_context(context)
    condition = {**exactly, "StringEquals": {**exactly["StringEquals"], **measured(pcrs)}}
    return _statement(f"AttestedMachinesOf{re.sub('[^A-Za-z0-9]', '', release)}", [role], (OPEN,), condition)


def of_role(keys: Sequence[str], context: Mapping[str, str]) -> dict[str, Any]:
    """The statement of the machines' own policy: they may open what is sealed with these keys.

    It is what allows the use of an existing key that leaves its use to IAM policies, or is another account's (KMS
    developer guide, "Allowing users in other accounts to use a KMS key"). For the stack's own key it only repeats the
    key policy.
    """
    return {"Effect": "Allow", "Action": OPEN, "Resource": list(keys), "Condition": in_context(context)}


def _statement(
    sid: str, principals: Sequence[str], actions: Sequence[str], condition: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    made = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"AWS": list(principals)},
        "Action": list(actions),
        "Resource": "*",
    }
    return made if condition is None else {**made, "Condition": dict(condition)}
