"""Keys: how they are found, what is told of them, and the operations that manage them.

Decides what a key has besides what moto stores: its material, what of it is still late, whom its policy means, when it
is deleted and rotated. With `LOCK` held. Source: KMS API reference, the operations and KeyMetadata; developer guide,
"Rotate AWS KMS keys", "Deleting AWS KMS keys".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from moto.backends import get_backend
from moto.kms.models import Key
from moto.utilities.utils import get_partition

from localcloud.kms import documents, states, tags
from localcloud.kms.late import Changes, Late
from localcloud.kms.refusals import Refused, not_found, unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localcloud.kms.request import Request
    from localcloud.moto_state import Moto

DAY: Final = 86_400.0
WINDOW: Final = range(7, 31)  # ScheduleKeyDeletion
ON_DEMAND: Final = 25  # RotateKeyOnDemand
PERIOD: Final = 365  # EnableKeyRotation

_ID: Final = re.compile(r"(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_USAGES: Final = {
    "SYMMETRIC_DEFAULT": ("ENCRYPT_DECRYPT",),
    "HMAC": ("GENERATE_VERIFY_MAC",),
    "RSA": ("ENCRYPT_DECRYPT", "SIGN_VERIFY"),
    "ECC": ("SIGN_VERIFY", "KEY_AGREEMENT"),
    "SM2": ("ENCRYPT_DECRYPT", "SIGN_VERIFY", "KEY_AGREEMENT"),
}


def late(thing: Moto) -> Late:
    """How late things are."""
    found: Late = thing.late
    return found


def find(request: Request, name: str, *, alias: bool = False) -> Moto:
    """The key of an id or an ARN, and where AWS takes one of an alias. Raises `Refused`."""
    kms = request.kms
    if name.startswith("arn:"):
        parts = name.split(":", 5)
        if len(parts) < 6 or parts[2] != "kms" or not parts[5].startswith(("key/", "alias/")):
            raise Refused("InvalidArnException", f"Invalid arn {name}")
        if parts[3] != request.region or parts[1] != get_partition(request.region):
            raise not_found(f"Invalid arn {parts[3]}")
        if parts[4] != request.account:
            raise Refused("AccessDeniedException", _ELSEWHERE.format(request.caller.arn, request.operation, name))
        name = parts[5].removeprefix("key/")
    if name.startswith("alias/"):
        if not alias:
            raise not_found(f"Invalid keyId '{name}'")
        key_id = alias_target(kms, name)
        if key_id is None:
            raise not_found(f"Alias {request.arn(name)} is not found.")
        return kms.keys[key_id]
    if not _ID.fullmatch(name):
        raise not_found(f"Invalid keyId '{name}'")
    key = kms.keys.get(name)
    if key is None or not key.changes.seen(late(key), "exists", value=True):
        raise not_found(f"Key '{request.arn(f'key/{name}')}' does not exist")
    return key


_ELSEWHERE: Final = (
    "User: {} is not authorized to perform: kms:{} on resource: {} because the resource does not exist in this Region,"
    " no resource-based policies allow access, or a resource-based policy explicitly denies access"
)


def alias_target(kms: Moto, name: str) -> str | None:
    """The key that an alias stands for, by what is in force; of one of AWS's the key is made with its first use."""
    newest: str | None = kms.get_key_id_from_alias(name)
    found = kms.alias_changes.setdefault(name, Changes(name)).in_force(late(kms), "target", newest)
    return found if found in kms.keys else None


def managed_by_aws(key: Moto) -> bool:
    """Whether AWS manages a key for one of its services."""
    return bool(key.key_manager == "AWS")


def checked(request: Request, name: str, *, alias: bool = False) -> Moto:
    """The key of a request, in a state in which the operation is possible. Raises `Refused`."""
    key = find(request, name, alias=alias)
    cryptographic = request.operation in states.CRYPTOGRAPHIC
    states.check(request.operation, key.state_in_force() if cryptographic else key.key_state, key.arn)
    return key


def own(request: Request) -> Moto:
    """The key of a request that changes it: AWS lets nobody change those that it manages. Raises `Refused`."""
    key = find(request, str(request.parameters["KeyId"]))
    if managed_by_aws(key):
        raise not_allowed(request, key)
    states.check(request.operation, key.key_state, key.arn)
    return key


def not_allowed(request: Request, key: Moto) -> Refused:
    """A key that AWS manages is used through its service, and changed by nobody."""
    action = f"kms:{request.operation}"
    return Refused(
        "AccessDeniedException",
        f"User: {request.caller.arn} is not authorized to perform: {action} on resource: {key.arn}"
        f" because no resource-based policy allows the {action} action",
    )


def create(request: Request) -> dict[str, Any]:
    """CreateKey."""
    asked = request.parameters
    spec = asked.get("KeySpec") or asked.get("CustomerMasterKeySpec") or "SYMMETRIC_DEFAULT"
    usage = asked.get("KeyUsage") or ("ENCRYPT_DECRYPT" if spec == "SYMMETRIC_DEFAULT" else "")
    if asked.get("KeySpec") and asked.get("CustomerMasterKeySpec"):
        raise Refused(
            "ValidationException", "You cannot specify KeySpec and CustomerMasterKeySpec in the same request."
        )
    if not usage:
        raise Refused("ValidationException", "You must specify a KeyUsage value for all KMS keys except for symmetric.")
    usages = _USAGES.get(spec) or _USAGES.get(spec.partition("_")[0])
    if usages is None:
        raise unsupported(f"The local cloud has no keys of KeySpec {spec}.")
    if usage not in usages:
        raise Refused("ValidationException", f"KeyUsage {usage} is not compatible with KeySpec {spec}")
    origin = asked.get("Origin") or "AWS_KMS"
    if origin not in {"AWS_KMS", "EXTERNAL"} or asked.get("CustomKeyStoreId") or asked.get("XksKeyId"):
        raise unsupported("The local cloud has no custom key stores.")
    tags.check(asked.get("Tags") or [])
    made: Moto = Key(
        None,
        usage,
        spec,
        asked.get("Description") or "",
        request.account,
        request.region,
        multi_region=asked.get("MultiRegion") is True,
        origin=origin,
    )
    put_policy(request, made, made.policy if asked.get("Policy") is None else asked["Policy"])
    if origin == "EXTERNAL":
        made.key_state, made.enabled, made.materials[:] = states.PENDING_IMPORT, False, []
    add(request.kms, made, asked.get("Tags") or [])
    return {"KeyMetadata": metadata(made)}


def add(kms: Moto, key: Moto, given: list[dict[str, str]]) -> None:
    """Put a new key among the others."""
    key.changes.note(late(key), "exists", before=False)
    kms.keys[key.id] = key
    kms.tagger.tag_resource(key.id, given)


def put_policy(request: Request, key: Moto, policy: str) -> None:
    """Give a key a policy, once it is checked. Raises `Refused`."""
    ids = documents.accepted(policy, late(key))
    if request.parameters.get("BypassPolicyLockoutSafetyCheck") is not True:
        documents.check_lockout(policy, key.arn, request.caller)
    key.policy, key.principals = policy, ids


def metadata(key: Moto, *, read: bool = False) -> dict[str, Any]:
    """KeyMetadata; for a read as one server of many has it."""
    state, description = key.key_state, key.description
    if read:
        state = key.changes.seen(late(key), "state", state)
        description = key.changes.seen(late(key), "description", description)
    told: dict[str, Any] = {
        **key.to_dict()["KeyMetadata"],
        "KeyState": state,
        "Enabled": state == states.ENABLED,
        "Description": description,
    }
    told.pop("DeletionDate", None)
    if state == states.PENDING and key.deleted_at is not None:
        told["DeletionDate"] = key.deleted_at
    if state == states.PENDING_REPLICAS:
        told["PendingDeletionWindowInDays"] = key.window
    if key.multi_region:
        told["MultiRegionConfiguration"] = related(key)
    if key.key_spec == "SYMMETRIC_DEFAULT" and key.materials:
        told["CurrentKeyMaterialId"] = key.materials[-1].id
    if key.key_usage == "GENERATE_VERIFY_MAC":
        told["MacAlgorithms"] = [f"HMAC_SHA_{key.key_spec.rpartition('_')[2]}"]
    return {name: value for name, value in told.items() if value not in (None, [])}


def related(key: Moto) -> dict[str, Any]:
    """MultiRegionConfiguration: the primary key and its replicas."""
    every = family(key)
    primary = next((one for one in every if one.primary), key)
    return {
        "MultiRegionKeyType": "PRIMARY" if key.primary else "REPLICA",
        "PrimaryKey": {"Arn": primary.arn, "Region": primary.region},
        "ReplicaKeys": [{"Arn": one.arn, "Region": one.region} for one in every if not one.primary],
    }


def family(key: Moto) -> list[Moto]:
    """A key of several regions, in all of them."""
    regions = get_backend("kms")[key.account_id]
    return [kms.keys[key.id] for _, kms in sorted(regions.items()) if key.id in kms.keys]


def describe(request: Request) -> dict[str, Any]:
    """DescribeKey."""
    return {"KeyMetadata": metadata(checked(request, request.parameters["KeyId"], alias=True), read=True)}


def get_policy(request: Request) -> dict[str, Any]:
    """GetKeyPolicy."""
    _default_policy(request)
    key = checked(request, request.parameters["KeyId"])
    policy, ids = key.changes.seen(late(key), "policy", (key.policy, key.principals))
    return {"Policy": documents.shown(policy, ids), "PolicyName": "default"}


def list_policies(request: Request) -> dict[str, Any]:
    """ListKeyPolicies."""
    checked(request, request.parameters["KeyId"])
    return {"PolicyNames": ["default"], "Truncated": False}


def change_policy(request: Request) -> dict[str, Any]:
    """PutKeyPolicy."""
    _default_policy(request)
    key = own(request)
    before = (key.policy, key.principals)
    put_policy(request, key, request.parameters["Policy"])
    key.changes.note(late(key), "policy", before)
    return {}


def _default_policy(request: Request) -> None:
    if (request.parameters.get("PolicyName") or "default") != "default":
        raise not_found("No such policy exists")


def change_description(request: Request) -> dict[str, Any]:
    """UpdateKeyDescription."""
    key = own(request)
    key.changes.note(late(key), "description", key.description)
    key.description = request.parameters["Description"]
    return {}


def enable(request: Request) -> dict[str, Any]:
    """EnableKey."""
    set_state(own(request), states.ENABLED)
    return {}


def disable(request: Request) -> dict[str, Any]:
    """DisableKey."""
    set_state(own(request), states.DISABLED)
    return {}


def set_state(key: Moto, state: str) -> None:
    """Bring a key into a state, which takes effect late."""
    if key.key_state != state:
        key.changes.note(late(key), "state", key.key_state)
        key.key_state, key.enabled = state, state == states.ENABLED


def schedule_deletion(request: Request) -> dict[str, Any]:
    """ScheduleKeyDeletion: of a primary key with replicas, the window begins when the last of them is deleted."""
    key = own(request)
    window = int(request.parameters.get("PendingWindowInDays") or WINDOW[-1])
    if window not in WINDOW:
        raise Refused("ValidationException", f"PendingWindowInDays must be between {WINDOW[0]} and {WINDOW[-1]}.")
    key.window = window
    answer = {"KeyId": key.arn, "PendingWindowInDays": window}
    if key.multi_region and key.primary and len(family(key)) > 1:
        set_state(key, states.PENDING_REPLICAS)
        return {**answer, "KeyState": states.PENDING_REPLICAS}
    pend(key)
    return {**answer, "KeyState": states.PENDING, "DeletionDate": key.deleted_at}


def pend(key: Moto) -> None:
    """Begin a key's waiting period."""
    set_state(key, states.PENDING)
    key.deleted_at = late(key).clock() + key.window * DAY


def cancel_deletion(request: Request) -> dict[str, Any]:
    """CancelKeyDeletion."""
    key = own(request)
    set_state(key, states.DISABLED)
    key.deleted_at = None
    return {"KeyId": key.arn}


def every(kms: Moto) -> Iterator[Moto]:
    """Each key, while keys may go."""
    yield from list(kms.keys.values())
