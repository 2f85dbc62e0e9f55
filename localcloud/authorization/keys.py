"""What KMS asks of IAM besides the action on the key: its condition keys, and the keys of other services' data.

Decides the condition keys of a request and of a key. Sources: Service Authorization Reference, KMS; KMS developer
guide, "AWS KMS condition keys"; EBS user guide, "Requirements for Amazon EBS encryption". With `LOCK` held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from localcloud.attestation import recipients
from localcloud.authorization import resources
from localcloud.authorization.checks import KEY, Check, keys_of
from localcloud.authorization.owners import GRANT
from localcloud.authorization.policies import Question

if TYPE_CHECKING:
    from localcloud.authorization.asked import Asked
    from localcloud.authorization.checks import Keys

_EBS_KEY: Final = (
    "CreateGrant",
    "Decrypt",
    "DescribeKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
)
"""What encrypted snapshots and volumes need of their key."""

REQUEST_KEYS: Final = {
    "kms:datakeypairspec": "KeyPairSpec",
    "kms:encryptionalgorithm": "EncryptionAlgorithm",
    "kms:granteeprincipal": "GranteePrincipal",
    "kms:grantoperations": "Operations",
    "kms:macalgorithm": "MacAlgorithm",
    "kms:messagetype": "MessageType",
    "kms:primaryregion": "PrimaryRegion",
    "kms:replicaregion": "ReplicaRegion",
    "kms:retiringprincipal": "RetiringPrincipal",
    "kms:rotationperiodindays": "RotationPeriodInDays",
    "kms:schedulekeydeletionpendingwindowindays": "PendingWindowInDays",
    "kms:signingalgorithm": "SigningAlgorithm",
}
"""Condition keys, and where a request has their values."""

_OF_A_NEW_KEY: Final = {"kms:keyspec": "KeySpec,CustomerMasterKeySpec", "kms:keyusage": "KeyUsage"}
_ENCRYPTS: Final = frozenset({"Encrypt", "Decrypt", "ReEncrypt"})
_POLICY: Final = frozenset({"CreateKey", "PutKeyPolicy", "ReplicateKey"})


def of_request(asked: Asked) -> Keys:
    """The condition keys of a request that belong to none of its keys."""
    keys: Keys = {
        key: values for key, path in REQUEST_KEYS.items() if (values := tuple(dict.fromkeys(asked.values(path))))
    }
    keys["kms:calleraccount"] = (asked.account,)
    keys |= context(asked, "EncryptionContext")
    operation = asked.operation
    if operation in _ENCRYPTS:
        keys.setdefault("kms:encryptionalgorithm", ("SYMMETRIC_DEFAULT",))
    if operation in _POLICY:
        bypass = asked.parameters.get("BypassPolicyLockoutSafetyCheck") is True
        keys["kms:bypasspolicylockoutsafetycheck"] = (str(bypass).lower(),)
    if operation == "ScheduleKeyDeletion":
        keys.setdefault("kms:schedulekeydeletionpendingwindowindays", ("30",))
    if operation == "CreateGrant":
        keys["kms:grantisforawsresource"] = ("false",)
        if constraints := asked.parameters.get("Constraints"):
            keys["kms:grantconstrainttype"] = tuple(constraints)
    if operation == "CreateKey":
        keys |= {key: values[:1] for key, path in _OF_A_NEW_KEY.items() if (values := tuple(asked.values(path)))}
        keys["kms:keyorigin"] = (asked.value("Origin") or "AWS_KMS",)
        several = asked.parameters.get("MultiRegion") is True
        keys["kms:multiregion"] = (str(several).lower(),)
        if several:
            keys["kms:multiregionkeytype"] = ("PRIMARY",)
    attested = recipients.verified(resources.moto(asked, "kms"), asked.parameters.get("Recipient"))
    if attested is not None and operation in recipients.ATTESTED:
        keys |= {f"kms:recipientattestation:nitrotpmpcr{pcr}": (value.hex(),) for pcr, value in attested.pcrs.items()}
    if operation == "RetireGrant":
        _, granted = resources.moto(asked, "kms").grant_of(asked.value("GrantToken"))
        keys[GRANT] = (granted or asked.value("GrantId"),)
    return keys | _alias(asked.value("KeyId"))


def context(asked: Asked, member: str) -> Keys:
    """The condition keys of an encryption context. Their names have no case; the pairs' own names do.

    Two pairs whose names differ in case alone are one key with two values.
    """
    pairs = asked.parameters.get(member) or {}
    keys: Keys = {"kms:encryptioncontextkeys": tuple(pairs)} if pairs else {}
    for name, value in pairs.items():
        key = f"kms:encryptioncontext:{name.lower()}"
        keys[key] = (*keys.get(key, ()), str(value))
    return keys


def _alias(name: str) -> Keys:
    return {"kms:requestalias": ("alias/" + name.partition("alias/")[2],)} if "alias/" in name else {}


def of_key(asked: Asked, arn: str) -> Keys:
    """The condition keys of a key that there is."""
    key = resources.moto(asked, "kms").keys.get(arn.rpartition("/")[2]) if ":key/" in arn else None
    if key is None:
        return {}
    keys: Keys = {
        "kms:keyorigin": (key.origin,),
        "kms:keyspec": (key.key_spec,),
        "kms:keyusage": (key.key_usage,),
        "kms:multiregion": (str(bool(key.multi_region)).lower(),),
    }
    if key.multi_region:
        keys["kms:multiregionkeytype"] = ("PRIMARY" if key.primary else "REPLICA",)
    if key.aliases:
        keys["kms:resourcealiases"] = tuple(key.aliases)
    return keys


def re_encrypt(asked: Asked) -> list[Check]:
    """ReEncrypt is two actions, each with its own key and its own context."""
    source = resources.found(asked, "key:SourceKeyId") or resources.found(asked, "key")
    destination = resources.found(asked, "key:DestinationKeyId")
    same = str({arn for _, arn in source} == {arn for _, arn in destination}).lower()
    checks = []
    for name, side, found in (("ReEncryptFrom", "Source", source), ("ReEncryptTo", "Destination", destination)):
        keys = {
            **of_request(asked),
            **context(asked, f"{side}EncryptionContext"),
            **_alias(asked.value(f"{side}KeyId")),
            "kms:encryptionalgorithm": (asked.value(f"{side}EncryptionAlgorithm") or "SYMMETRIC_DEFAULT",),
            "kms:reencryptonsamekey": (same,),
        }
        for _, arn in found:
            own = {**of_key(asked, arn), **resources.context(asked, "key", arn)}
            checks.append(Check(Question(f"kms:{name}", arn, {**keys, **own})))
    return checks


def made(asked: Asked) -> list[Check]:
    """What making a key, or a replica, needs besides: TagResource for its tags, CreateKey in the other region."""
    checks = []
    tags = keys_of(asked.parameters.get("Tags") or [])
    if asked.operation == "ReplicateKey":
        region = {"kms:calleraccount": (asked.account,), "aws:requestedregion": (asked.value("ReplicaRegion"),)}
        checks.append(Check(Question("kms:CreateKey", "*", {**region, **tags})))
    if tags:
        arn = resources.arn(asked, "kms", "key/*")
        checks.append(Check(Question("kms:TagResource", arn, {"kms:calleraccount": (asked.account,), **tags})))
    return checks


def key_checks(asked: Asked, key: str, service: str) -> list[Check]:
    """What is asked of a customer managed key of EBS; nothing of one that AWS manages."""
    arn = resources.key_arn(asked, key)
    if managed_by_aws(asked, arn):
        return []
    via = resources.host(asked, service)
    keys: Keys = {"kms:calleraccount": (asked.account,), "kms:viaservice": (via,)}
    return [
        Check(
            Question(
                f"kms:{name}", arn, {**keys, "kms:grantisforawsresource": ("true",)} if name == "CreateGrant" else keys
            ),
            KEY,
        )
        for name in _EBS_KEY
    ]


def managed_by_aws(asked: Asked, key_arn: str) -> bool:
    """Whether a key is one that AWS manages for a service: its alias says so."""
    key = resources.moto(asked, "kms").keys.get(key_arn.rpartition("/")[2])
    return key is not None and any(alias.startswith("alias/aws/") for alias in key.aliases)
