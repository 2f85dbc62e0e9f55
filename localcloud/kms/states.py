"""Which operation a key takes in which state. Pure.

Source: KMS developer guide, "Key states of AWS KMS keys", whose footnotes have the words; ReplicateKey (of `Creating`).
"""

from __future__ import annotations

from typing import Final

from localcloud.kms.refusals import Refused

ENABLED, DISABLED = "Enabled", "Disabled"
PENDING, PENDING_REPLICAS = "PendingDeletion", "PendingReplicaDeletion"
CREATING, UPDATING, PENDING_IMPORT = "Creating", "Updating", "PendingImport"

CRYPTOGRAPHIC: Final = frozenset(
    {
        *("Decrypt", "DeriveSharedSecret", "Encrypt", "GenerateDataKey", "GenerateDataKeyPair"),
        *("GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext", "GenerateMac", "ReEncrypt"),
        *("Sign", "Verify", "VerifyMac"),
    }
)
"""What a quota counts together, and what a key must be in force for (developer guide, "Cryptographic operations")."""

_ENABLED_ONLY: Final = CRYPTOGRAPHIC | {
    *("CreateGrant", "DisableKeyRotation", "EnableKeyRotation", "GetPublicKey", "ReplicateKey", "RotateKeyOnDemand"),
    "UpdatePrimaryRegion",
}
_UNLESS_PENDING: Final = frozenset(
    {
        *("CreateAlias", "DisableKey", "EnableKey", "ScheduleKeyDeletion", "TagResource", "UntagResource"),
        *("UpdateAlias", "UpdateKeyDescription"),
    }
)
_SETTLED_ONLY: Final = frozenset({"DisableKey", "EnableKey"})
_WORDS: Final = {
    DISABLED: "is disabled.",
    PENDING: "is pending deletion.",
    PENDING_REPLICAS: "is pending replica deletion.",
    PENDING_IMPORT: "is pending import.",
    CREATING: "is creating.",
    UPDATING: "is updating.",
}


def check(operation: str, state: str, arn: str) -> None:
    """Raise `Refused` for an operation that a key in this state does not take."""
    pending = state in {PENDING, PENDING_REPLICAS}
    if operation == "CancelKeyDeletion":
        if not pending:
            raise Refused("KMSInvalidStateException", f"{arn} is not pending deletion.")
        return
    refused = (
        (operation in _ENABLED_ONLY and state != ENABLED)
        or (operation in _UNLESS_PENDING and pending)
        or (operation in _SETTLED_ONLY and state in {CREATING, UPDATING, PENDING_IMPORT})
    )
    if refused:
        code = "DisabledException" if state == DISABLED else "KMSInvalidStateException"
        raise Refused(code, f"{arn} {_WORDS[state]}")
