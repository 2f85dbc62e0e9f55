"""The key with which EBS encrypts what names no key, and whether Auto Scaling may launch machines with a key.

Machines' volumes are always encrypted: without a key, with the account's default key of the region, also where
encryption by default is off (EC2 user guide, "Use encryption with EBS-backed AMIs"). Auto Scaling launches with its
service-linked role, whose own policy has nothing of KMS, so a customer managed key must allow it, by policy or grant
(Auto Scaling user guide, "Required AWS KMS key policy for use with encrypted volumes"). Pure.

A policy is not simulated: it is only searched for a statement that may allow the role what it needs, whatever its
conditions. If there is none, every launch fails. If there is one, the gate sees whether the machines start.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from fleetswap.domain.release.keys import used_by
from fleetswap.domain.release.ledger import Entry
from fleetswap.domain.secrets.key_state import Use, is_key
from fleetswap.domain.secrets.own_statements import statements_of
from fleetswap.domain.secrets.sealing import STACK

_ROLES = {
    Use.DEFAULT: "is the account's default key for EBS",
    Use.VOLUMES: "encrypts the volumes of new machines",
    Use.SNAPSHOTS: "encrypts the snapshot",
}
"""What a key is to a release, in a message."""

NEEDED = ("kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext")
"""Of what the guide lists, what no launch with an encrypted volume does without."""


@dataclass(frozen=True)
class EbsDefault:
    """How EBS encrypts in a region of an account, when nothing says how.

    `by_default`: every new volume and snapshot (GetEbsEncryptionByDefault). `key` is the ARN of a key, or the alias of
    AWS's own (GetEbsDefaultKmsKeyId). `told` is why both are unknown, and then they mean nothing.
    """

    by_default: bool = False
    key: str = "alias/aws/ebs"
    told: str = ""

    @property
    def is_aws_managed(self) -> bool:
        """Whether its key is AWS's own, which lets the whole account use it through EBS."""
        return self.key.endswith("alias/aws/ebs")

    def encrypts(self, entry: Entry) -> bool:
        """Whether it encrypts the snapshot or the volumes of a release: volumes have the key of their snapshot."""
        return entry.image.kms_key is None and (self.by_default or entry.machine.kms_key is None)

    def key_of(self, entry: Entry) -> str | None:
        """The customer managed key that a release needs because it is the default; None if there is none."""
        return self.key if is_key(self.key) and self.encrypts(entry) else None


def launched_with(entry: Entry, default: EbsDefault) -> dict[str, Use]:
    """The customer managed keys that Auto Scaling's role must be allowed to use for a release, and what for.

    The stack's own key is left out: its policy has allowed the role since it was made. Auto Scaling's guide wants it
    allowed by keys of snapshots as by those of volumes.
    """
    found: dict[str, Use] = {key: use for use, key in used_by(entry) if use is not Use.SECRETS and key != STACK}
    of_default = default.key_of(entry)
    return found if of_default is None else {**found, of_default: Use.DEFAULT}


@dataclass(frozen=True)
class KeyAccess:
    """What a key says of a role: its policy, as JSON, and the operations that grants allow the role.

    None: it could not be read, and `told` is why.
    """

    policy: str | None = None
    granted: Collection[str] | None = None
    told: str = ""


def launch_role(arn: str, account: str) -> str:
    """The role with which EC2 Auto Scaling launches machines in an account, in the partition of a key."""
    name = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    return f"arn:{arn.split(':')[1]}:iam::{account}:{name}"


def may_launch(access: KeyAccess, role: str) -> bool | None:
    """Whether the role may launch with a key; False only if nothing allows it. None: what was seen does not say."""
    statements = [] if access.policy is None else statements_of(access.policy)
    found = [each for each in statements if _is_for(each, role)]
    granted = access.granted or ()
    missing = [
        each
        for each in NEEDED
        if each.removeprefix("kms:") not in granted and not any(_covers(statement, each) for statement in found)
    ]
    if not missing:
        return True
    return None if access.policy is None or access.granted is None else False


def _is_for(statement: Mapping[str, Any], role: str) -> bool:
    """Whether it may allow the role anything. An account as the principal leaves it to IAM, where the role has none."""
    if statement.get("Effect") != "Allow":
        return False
    principal = statement.get("Principal")
    if principal is None:  # NotPrincipal
        return True
    names = principal.get("AWS", ()) if isinstance(principal, Mapping) else principal
    return bool({"*", role} & set(_listed(names)))


def _covers(statement: Mapping[str, Any], action: str) -> bool:
    actions = statement.get("Action")
    return actions is None or any(fnmatchcase(action.lower(), each.lower()) for each in _listed(actions))  # NotAction


def _listed(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def refusal(key: str, role: str, use: Use) -> str:
    """What is wrong with a key that lets Auto Scaling launch nothing, and the remedy."""
    return (
        f"KMS key {key} {_ROLES[use]}, and neither its policy nor a grant lets {role} use it, so"
        " EC2 Auto Scaling could launch no machine: add to its policy the statements that"
        f" `fleetswap permissions --kms-key {key}` prints, or set fleetswap:machine.kms_key and"
        " fleetswap:upload.kms_key to `stack`"
    )


def unseen(key: str, told: str, use: Use) -> str:
    """The warning that nobody could see whether Auto Scaling may launch with a key."""
    return (
        f"KMS key {key} {_ROLES[use]}, and whether EC2 Auto Scaling may use it is unknown: allow"
        f" kms:GetKeyPolicy and kms:ListGrants on it, as `fleetswap permissions --kms-key {key}` prints ({told})"
    )


def unknown(told: str) -> str:
    """The warning that nobody could see which key is the default."""
    return (
        "how the account encrypts EBS volumes and snapshots by default is unknown: allow ec2:GetEbsEncryptionByDefault"
        f" and ec2:GetEbsDefaultKmsKeyId, as `fleetswap permissions` prints ({told})"
    )
