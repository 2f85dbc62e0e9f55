"""Rotation: new material for a key, by the calendar or on demand; what was encrypted before can still be decrypted.

Decides which keys can be rotated, and when. With `LOCK` held. Source: KMS API reference, EnableKeyRotation,
GetKeyRotationStatus, RotateKeyOnDemand, ListKeyRotations; developer guide, "Rotate AWS KMS keys".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localcloud.kms import keys, states
from localcloud.kms.material import Material
from localcloud.kms.refusals import Refused, unsupported

if TYPE_CHECKING:
    from localcloud.kms.request import Request
    from localcloud.moto_state import Moto


def _check(request: Request, key: Moto, *, change: bool = True) -> None:
    """Only symmetric keys with AWS's material rotate; related keys together, as the primary says."""
    if key.key_spec != "SYMMETRIC_DEFAULT":
        raise unsupported(f"{key.arn} key spec is {key.key_spec} which is not valid for {request.operation}.")
    if key.origin != "AWS_KMS":
        raise unsupported(f"{key.arn} origin is {key.origin} which is not valid for this operation.")
    if change and not key.primary:
        raise unsupported(f"{key.arn} is a multi-Region replica key, which is not valid for {request.operation}.")


def _shared(key: Moto, name: str, value: object) -> None:
    for one in keys.family(key) if key.multi_region else [key]:
        one.changes.note(keys.late(one), "rotation", (one.key_rotation_status, one.rotation_period))
        setattr(one, name, value)


def enable(request: Request) -> dict[str, Any]:
    """EnableKeyRotation; a repeat changes the period."""
    key = keys.own(request)
    _check(request, key)
    period = int(request.parameters.get("RotationPeriodInDays") or key.rotation_period or keys.PERIOD)
    _shared(key, "rotation_period", period)
    for one in keys.family(key) if key.multi_region else [key]:
        one.key_rotation_status = True
        one.rotated_at = keys.late(one).clock()
    return {}


def disable(request: Request) -> dict[str, Any]:
    """DisableKeyRotation."""
    key = keys.own(request)
    _check(request, key)
    _shared(key, "key_rotation_status", value=False)
    return {}


def status(request: Request) -> dict[str, Any]:
    """GetKeyRotationStatus; of a key that is pending deletion it is false."""
    key = keys.checked(request, request.parameters["KeyId"])
    _check(request, key, change=False)
    on, period = key.changes.seen(keys.late(key), "rotation", (key.key_rotation_status, key.rotation_period))
    on = (on or keys.managed_by_aws(key)) and key.key_state not in {states.PENDING, states.PENDING_REPLICAS}
    told: dict[str, Any] = {"KeyId": key.arn, "KeyRotationEnabled": on}
    if on:
        told |= {"RotationPeriodInDays": period or keys.PERIOD, "NextRotationDate": _next(key)}
    return told


def _next(key: Moto) -> float:
    return float(key.rotated_at + (key.rotation_period or keys.PERIOD) * keys.DAY)


def on_demand(request: Request) -> dict[str, Any]:
    """RotateKeyOnDemand, which changes nothing of the calendar."""
    key = keys.own(request)
    _check(request, key)
    if sum(one["RotationType"] == "ON_DEMAND" for one in key.rotations) >= keys.ON_DEMAND:
        raise Refused("LimitExceededException", f"{key.arn} was rotated on demand {keys.ON_DEMAND} times.")
    rotate(key, "ON_DEMAND")
    return {"KeyId": key.arn}


def rotate(key: Moto, kind: str) -> None:
    """Give a key, and those that are related to it, new material."""
    key.materials.append(Material.new())  # related keys have one list of them
    done = {"RotationDate": keys.late(key).clock(), "RotationType": kind, "KeyMaterialId": key.materials[-1].id}
    for one in keys.family(key) if key.multi_region else [key]:
        one.rotations.append(done)


def listed(request: Request) -> dict[str, Any]:
    """ListKeyRotations."""
    key = keys.checked(request, request.parameters["KeyId"])
    _check(request, key, change=False)
    return request.page("Rotations", [{"KeyId": key.arn, **one} for one in key.rotations], 100, 1000)


def tick(key: Moto) -> None:
    """Rotate a key whose time has come. A disabled key is not rotated (EnableKeyRotation)."""
    if key.key_rotation_status and key.primary and key.key_state == states.ENABLED:
        due = _next(key)
        if due <= keys.late(key).clock():
            rotate(key, "AUTOMATIC")
            for one in keys.family(key) if key.multi_region else [key]:
                one.rotated_at = due
