"""Aliases: names for keys, which may be moved to another key.

Decides which names may be taken, and when an alias that was made, moved or deleted is so. With `LOCK` held. Source: KMS
API reference, CreateAlias, UpdateAlias, DeleteAlias, ListAliases; developer guide, "Aliases in AWS KMS", "Resource
quotas" (50 a key).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from moto.kms.utils import RESERVED_ALIASES

from localcloud.kms import keys, states
from localcloud.kms.late import Changes
from localcloud.kms.refusals import Refused, not_found

if TYPE_CHECKING:
    from localcloud.kms.request import Request
    from localcloud.moto_state import Moto

MOST: Final = 50
_AWS: Final = "alias/aws/"


def create(request: Request) -> dict[str, Any]:
    """CreateAlias."""
    name, key = _named(request)
    if name in key.aliases or request.kms.alias_exists(name):
        raise Refused("AlreadyExistsException", f"An alias with the name {request.arn(name)} already exists")
    if len(key.aliases) >= MOST:
        raise Refused("LimitExceededException", f"{key.arn} has {MOST} aliases.")
    _note(request, name, None)
    _changes(request, name).note(keys.late(key), "exists", before=False)
    made = request.kms.create_alias(key.id, name)
    made.created_at = made.updated_at = keys.late(key).clock()
    return {}


def update(request: Request) -> dict[str, Any]:
    """UpdateAlias: to a key of the same kind."""
    name, key = _named(request)
    before = _holder(request.kms, name)
    if before is None:
        raise not_found(f"Alias {request.arn(name)} is not found.")
    if (before.key_spec, before.key_usage) != (key.key_spec, key.key_usage):
        raise Refused("ValidationException", f"{before.arn} and {key.arn} are not of the same type and key usage.")
    _note(request, name, before.id)
    request.kms.update_alias(key.id, name).updated_at = keys.late(key).clock()
    return {}


def delete(request: Request) -> dict[str, Any]:
    """DeleteAlias, whatever the state of its key."""
    name = _name(request)
    before = _holder(request.kms, name)
    if before is None:
        raise not_found(f"Alias {request.arn(name)} is not found.")
    _note(request, name, before.id)
    request.kms.delete_alias(name)
    return {}


def listed(request: Request) -> dict[str, Any]:
    """ListAliases: those of AWS have no key before their first use."""
    only = keys.find(request, request.parameters["KeyId"]).id if request.parameters.get("KeyId") else None
    found = []
    for key in keys.every(request.kms):
        for name, alias in key.aliases.items():
            told = {"AliasName": name, "AliasArn": alias.alias_arn, "TargetKeyId": key.id}
            at = getattr(alias, "created_at", key.creation_date)
            updated = getattr(alias, "updated_at", at)
            there = _changes(request, name).seen(keys.late(key), "exists", value=True, once=True)
            if there and only in {None, key.id}:
                found.append({**told, "CreationDate": at, "LastUpdatedDate": updated})
    if only is None:
        names = {alias["AliasName"] for alias in found}
        found += [{"AliasName": name, "AliasArn": request.arn(name)} for name in RESERVED_ALIASES if name not in names]
    return request.page("Aliases", sorted(found, key=lambda alias: str(alias["AliasName"])), 50, 100)


def _named(request: Request) -> tuple[str, Moto]:
    """The name of a request and the key that it is to stand for."""
    name, target = _name(request), str(request.parameters["TargetKeyId"])
    if target.startswith("alias/") or ":alias/" in target:
        raise Refused("ValidationException", "Aliases must refer to keys. Not aliases")
    key = keys.find(request, target)
    states.check(request.operation, key.key_state, key.arn)
    return name, key


def _name(request: Request) -> str:
    name = str(request.parameters["AliasName"])
    if not name.startswith("alias/") or name == "alias/":
        raise Refused("ValidationException", 'Alias must start with the prefix "alias/".')
    if name.startswith(_AWS):
        raise Refused("NotAuthorizedException")
    if ":" in name:
        raise Refused("ValidationException", f"{name} contains invalid characters for an alias")
    return name


def _holder(kms: Moto, name: str) -> Moto | None:
    return next((key for key in kms.keys.values() if name in key.aliases), None)


def _changes(request: Request, name: str) -> Changes:
    changes: Changes = request.kms.alias_changes.setdefault(name, Changes(name))
    return changes


def _note(request: Request, name: str, before: str | None) -> None:
    _changes(request, name).note(keys.late(request.kms), "target", before)
