"""What the state of a KMS key means for a deploy: whether new machines can start with it, and what to do if not.

Pure: KMS is asked elsewhere (`fleetswap.aws.keys`). Machines that run keep their volumes and their opened secrets
whatever becomes of a key, so a key stops what would launch machines, and never what moves traffic to those that run.
Sources: KMS developer guide, "Key states of AWS KMS keys" and its table; DescribeKey, KeyMetadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

ENABLED = "Enabled"
UPDATING = "Updating"
"""While the primary Region of a multi-Region key changes; it works (developer guide, the table)."""

MISSING = "missing"
DENIED = "denied"
UNANSWERED = "unanswered"
"""Beside AWS's KeyState: what DescribeKey did not answer with a state."""

WORKING = frozenset({ENABLED, UPDATING})
UNKNOWN = frozenset({DENIED, UNANSWERED})
DOOMED = frozenset({"PendingDeletion", "PendingReplicaDeletion"})
"""A key that waits for its deletion, and can still be restored."""

SYMMETRIC = "SYMMETRIC_DEFAULT"
"""The KeySpec of a key that encrypts and decrypts (KMS API reference, CreateKey)."""


_ARN = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/[\w-]+")

_MEANS = {
    "PendingDeletion": ": KMS deletes it{on}, and until then it can be restored",
    "PendingReplicaDeletion": ": KMS deletes it after its replicas",
    "PendingImport": ": its key material has expired or was deleted",
    "Unavailable": ": its custom key store is not connected",
}

_RESTORE = "restore it with {cancel} and {enable}"
"""A key whose deletion is canceled is Disabled (CancelKeyDeletion)."""

_REMEDIES = {
    "Disabled": "enable it with {enable}",
    **dict.fromkeys(DOOMED, _RESTORE),
    "PendingImport": "import the same key material again",
    "Unavailable": "connect its custom key store with `aws kms connect-custom-key-store`",
    "Creating": "try again when it is Enabled",
    MISSING: "correct its ARN, or use another key: a deleted one cannot be restored",
    DENIED: "allow kms:DescribeKey on it, in your IAM policy and in the key's",
    UNANSWERED: "try again later",
    **dict.fromkeys(WORKING, "use a symmetric encryption key"),
}


class Use(StrEnum):
    """What a release needs a key for, as a message says it."""

    SECRETS = "open secrets"
    VOLUMES = "create volumes"
    SNAPSHOTS = "read the snapshot"
    DEFAULT = "create volumes, as the account's default key for EBS"


@dataclass(frozen=True)
class KeyState:
    """`state` is AWS's KeyState, or one of `MISSING`, `DENIED`, `UNANSWERED`; `told` is why it is unknown.

    `deletion` is the day (`2026-12-26`) after which KMS deletes it, empty if none is planned or it is not known.
    """

    arn: str
    state: str
    deletion: str = ""
    told: str = ""
    spec: str = SYMMETRIC
    manager: str = "CUSTOMER"
    """KMS's KeyManager: `CUSTOMER`, or `AWS` for a key that AWS manages for one of its services."""

    @property
    def is_aws_managed(self) -> bool:
        """Whether it is AWS's own, which lets the whole account use it through its service."""
        return self.manager == "AWS"

    @property
    def works(self) -> bool:
        """Whether machines can be started with it now."""
        return self.state in WORKING and self.spec == SYMMETRIC

    @property
    def is_known(self) -> bool:
        """Whether KMS has said anything of it."""
        return self.state not in UNKNOWN

    @property
    def what(self) -> str:
        """What is wrong with it."""
        if not self.is_known:
            return f"the state of KMS key {self.arn} is unknown"
        if self.state in WORKING:
            return f"KMS key {self.arn} is not symmetric (KeySpec {self.spec})"
        if self.state == MISSING:
            return f"KMS key {self.arn} does not exist"
        on = f" on {self.deletion}" if self.deletion else ""
        return f"KMS key {self.arn} is {self.state}{_MEANS.get(self.state, '').format(on=on)}"

    @property
    def remedy(self) -> str:
        """What to do about it."""
        of_key = f"--key-id {self.arn} --region {region_of(self.arn)}"
        return _REMEDIES.get(self.state, "see it in the KMS console").format(
            enable=f"`aws kms enable-key {of_key}`", cancel=f"`aws kms cancel-key-deletion {of_key}`"
        )

    def line(self, needed: str) -> str:
        """What is wrong, who needs it, and the remedy."""
        return f"{self.what}, and {needed}: {self.remedy}" + (f" ({self.told})" if self.told else "")


@dataclass(frozen=True)
class Need:
    """A release that needs a key, and what for."""

    arn: str
    use: Use
    release: str


@dataclass(frozen=True)
class Findings:
    """`refused` keeps the wanted release from being deployed, each a line; `warnings` keep nothing from anything."""

    refused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def judge(needs: Sequence[Need], states: Mapping[str, KeyState], wanted: str, *, launches: bool) -> Findings:
    """What the keys' states mean for a deploy of `wanted`. `launches`: it has no machines yet, so it must start some.

    Only what the wanted release needs can refuse it: a deploy away from a broken key must pass. Of a key that may not
    be described, or about which KMS does not answer, only the secrets' refuses: earlier versions never asked about a
    key of volumes, so their policies may not allow it, and a launch that fails never takes traffic.
    """
    refused, warnings = [], []
    for arn in dict.fromkeys(need.arn for need in needs):
        state = states[arn]
        if state.works:
            continue
        its = [need for need in needs if need.arn == arn]
        line = state.line(_needed(its))
        mine = [need for need in its if need.release == wanted]
        if launches and any(state.is_known or need.use is Use.SECRETS for need in mine):
            refused.append(line)
        else:
            warnings.append(line)
    return Findings(tuple(refused), tuple(warnings))


def _needed(needs: Iterable[Need]) -> str:
    """Which releases need it, and what for: "web-1 and web-2 need it to open secrets and create volumes"."""
    uses = dict.fromkeys(need.use for need in needs)
    by_releases: dict[tuple[str, ...], list[Use]] = {}
    for use in uses:
        releases = tuple(dict.fromkeys(need.release for need in needs if need.use is use))
        by_releases.setdefault(releases, []).append(use)
    return " and ".join(
        f"new machines of {', '.join(releases)} need it to {' and '.join(each)}"
        for releases, each in by_releases.items()
    )


def at_start(states: Iterable[KeyState], release: str, *, launches: bool) -> Findings:
    """The same when a rollout starts, where only the candidate counts: what a preview saw may have changed since.

    Here an unknown state refuses nothing: the resources are there, and the gate sees whether the machines start.
    """
    broken = [state for state in states if not state.works]
    needed = f"new machines of {release} need it"
    return Findings(
        tuple(state.line(needed) for state in broken if launches and state.is_known),
        tuple(state.line(needed) for state in broken if not (launches and state.is_known)),
    )


def is_key(text: str) -> bool:
    """Whether it is a key's ARN: what a person has written into a tag is not asked about."""
    return _ARN.fullmatch(text) is not None


def region_of(arn: str) -> str:
    """The region of a key, which alone knows it (`arn:PARTITION:kms:REGION:ACCOUNT:key/ID`)."""
    return arn.split(":")[3]
