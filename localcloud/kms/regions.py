"""Keys of several regions: one id and one material, and everything else each region's own.

Decides where a key can be replicated to. With `LOCK` held. Source: KMS API reference, ReplicateKey,
UpdatePrimaryRegion; developer guide, "Multi-Region keys in AWS KMS", "Deleting multi-Region keys".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.session import get_session
from moto.backends import get_backend
from moto.kms.models import Key
from moto.utilities.utils import get_partition

from localcloud.kms import keys, states, tags
from localcloud.kms.refusals import Refused, not_found, unsupported

if TYPE_CHECKING:
    from localcloud.kms.request import Request
    from localcloud.moto_state import Moto


def replicate(request: Request) -> dict[str, Any]:
    """ReplicateKey, called in the primary's region. The replica is `Creating` for a while."""
    asked = request.parameters
    key = keys.own(request)
    if not key.multi_region:
        raise unsupported(f"{key.arn} is not a multi-Region key.")
    if not key.primary:
        raise unsupported(f"{key.arn} is not a multi-Region primary key.")
    region = str(asked["ReplicaRegion"])
    partition = get_partition(request.region)
    if region not in get_session().get_available_regions("kms", partition):
        raise Refused("ValidationException", f"ReplicaRegion {region} is not a Region of the partition {partition}.")
    if any(one.region == region for one in keys.family(key)):
        raise Refused("AlreadyExistsException", f"{key.arn} already exists in {region}.")
    tags.check(asked.get("Tags") or [])
    made: Moto = Key(
        None,
        key.key_usage,
        key.key_spec,
        asked.get("Description") or "",
        key.account_id,
        region,
        multi_region=True,
        origin=key.origin,
    )
    made.id, made.arn = key.id, key.arn.replace(f":{key.region}:", f":{region}:")
    made.materials, made.private_key, made.primary = key.materials, key.private_key, False
    made.rotations = list(key.rotations)
    made.key_rotation_status, made.rotation_period = key.key_rotation_status, key.rotation_period
    made.rotated_at = key.rotated_at
    there = replace(request, region=region, kms=get_backend("kms")[request.account][region])
    keys.put_policy(there, made, made.policy if asked.get("Policy") is None else asked["Policy"])
    made.key_state, made.enabled = states.CREATING, False
    made.settled_at = keys.late(made).moment(made.arn, "creating")
    keys.add(there.kms, made, asked.get("Tags") or [])
    told = {"ReplicaKeyMetadata": keys.metadata(made), "ReplicaPolicy": made.policy}
    return {**told, "ReplicaTags": asked.get("Tags") or []}


def change_primary(request: Request) -> dict[str, Any]:
    """UpdatePrimaryRegion: both keys are `Updating` for a while."""
    key, region = keys.own(request), str(request.parameters["PrimaryRegion"])
    if not key.multi_region or not key.primary:
        raise unsupported(f"{key.arn} is not a multi-Region primary key.")
    other = next((one for one in keys.family(key) if one.region == region and one is not key), None)
    if other is None:
        raise not_found(f"Key '{key.arn.replace(f':{key.region}:', f':{region}:')}' does not exist")
    states.check(request.operation, other.key_state, other.arn)
    for one in (key, other):
        one.key_state, one.enabled = states.UPDATING, False
        one.settled_at = keys.late(one).moment(one.arn, "updating")
        one.primary = one is other
    return {}


def tick(key: Moto) -> None:
    """Settle a key that was being made or moved; begin the window of a primary whose last replica is gone."""
    settling = key.key_state in {states.CREATING, states.UPDATING}
    if settling and key.settled_at <= keys.late(key).clock():
        key.key_state, key.enabled = states.ENABLED, True
    if key.key_state == states.PENDING_REPLICAS and len(keys.family(key)) == 1:
        keys.pend(key)
