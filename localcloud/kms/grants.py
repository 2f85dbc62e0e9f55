"""Grants: what one principal may do with one key, until the grant is retired or revoked.

Decides which grants can be made, and which are in force: a new one late, unless the request brings its token; a retired
one a little longer. Whether a grant allows a request is judged in `authorization`. With `LOCK` held. Source: KMS API
reference, CreateGrant, RetireGrant, RevokeGrant, ListGrants; developer guide, "Grants in AWS KMS".
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any, Final

from localcloud.kms import documents, keys
from localcloud.kms.refusals import Refused, not_found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localcloud.kms.request import Request
    from localcloud.moto_state import Moto

MOST: Final = 50_000
_SYMMETRIC_ONLY: Final = frozenset(
    {*("GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo")}
)
_NOT_SYMMETRIC: Final = frozenset(
    {*("Sign", "Verify", "GetPublicKey", "GenerateMac", "VerifyMac", "DeriveSharedSecret")}
)


def create(request: Request) -> dict[str, Any]:
    """CreateGrant; with the same name and the same words it is the same grant, and another token."""
    asked = request.parameters
    key = keys.own(request)
    if bool(asked.get("GranteePrincipal")) == bool(asked.get("GranteeServicePrincipal")):
        raise Refused("ValidationException", "Specify either GranteePrincipal or GranteeServicePrincipal.")
    people = {name: _principal(asked.get(name)) for name in ("GranteePrincipal", "RetiringPrincipal")}
    operations = list(dict.fromkeys(asked["Operations"]))
    wrong = _NOT_SYMMETRIC if key.key_spec == "SYMMETRIC_DEFAULT" else _SYMMETRIC_ONLY
    if found := sorted(set(operations) & wrong):
        raise Refused("ValidationException", f"Grant operation {found[0]} is not supported for {key.arn}.")
    if asked.get("Constraints") and key.key_spec != "SYMMETRIC_DEFAULT":
        raise Refused("ValidationException", "Grant constraints are only supported for symmetric encryption KMS keys.")
    if len(key.grants) >= MOST:
        raise Refused("LimitExceededException", f"{key.arn} has {MOST} grants.")
    same = next((one for one in key.grants.values() if asked.get("Name") and _words(one) == _asked(asked)), None)
    grant = same or key.add_grant(
        asked.get("Name"),
        asked.get("GranteePrincipal") or asked["GranteeServicePrincipal"],
        operations,
        asked.get("Constraints") or {},
        asked.get("RetiringPrincipal") or asked.get("RetiringServicePrincipal"),
    )
    token = base64.b64encode(secrets.token_bytes(96)).decode()
    if same is None:
        late = keys.late(key)
        grant.id = secrets.token_hex(32)
        grant.created_at, grant.until, grant.tokens = late.clock(), None, {}
        grant.starts_at = late.moment(key.id, "grant", grant.id)
        grant.people, grant.by_service = people, bool(asked.get("GranteeServicePrincipal"))
        key.grants = {**{name: one for name, one in key.grants.items() if one is not grant}, grant.id: grant}
    grant.tokens[token] = None
    return {"GrantId": grant.id, "GrantToken": token}


def _principal(arn: str | None) -> str | None:
    """The unique id of a principal of ours; None for an account, or one of another's. Raises `Refused`."""
    if arn is None:
        return None
    try:
        ids = documents.accepted_principal(arn)
    except Refused:
        raise Refused("InvalidArnException", f"ARN does not refer to a valid principal: {arn}") from None
    return ids.get(arn)


def _words(grant: Moto) -> tuple[Any, ...]:
    return (
        grant.name,
        grant.grantee_principal,
        grant.retiring_principal,
        tuple(sorted(grant.operations)),
        repr(sorted((grant.constraints or {}).items())),
    )


def _asked(asked: Any) -> tuple[Any, ...]:  # noqa: ANN401 - parameters
    return (
        asked.get("Name"),
        asked.get("GranteePrincipal") or asked.get("GranteeServicePrincipal"),
        asked.get("RetiringPrincipal") or asked.get("RetiringServicePrincipal"),
        tuple(sorted(set(asked["Operations"]))),
        repr(sorted((asked.get("Constraints") or {}).items())),
    )


def in_force(key: Moto, tokens: Sequence[str] = ()) -> list[Moto]:
    """The grants of a key that count, for a request with these grant tokens."""
    now = keys.late(key).clock()
    new = [one for one in key.grants.values() if one.starts_at <= now or set(tokens) & set(one.tokens)]
    key.ended = [one for one in key.ended if one.until > now]
    return [*new, *key.ended]


def person(grant: Moto, role: str) -> str:
    """The grantee, or who may retire: an ARN, or the unique id of somebody who is gone."""
    arn = str((grant.grantee_principal if role == "GranteePrincipal" else grant.retiring_principal) or "")
    meant = grant.people[role]
    now = documents.principal(arn) if meant is not None else None
    return arn if meant is None or (now is not None and now.id == meant) else str(meant)


def revoke(request: Request) -> dict[str, Any]:
    """RevokeGrant."""
    key = keys.own(request)
    _end(key, str(request.parameters["GrantId"]))
    return {}


def retire(request: Request) -> dict[str, Any]:
    """RetireGrant, by its token, or by its key and id."""
    token, grant_id = request.parameters.get("GrantToken"), request.parameters.get("GrantId")
    if token:
        found = with_token(request.kms, token)
        if found is None:
            raise Refused("InvalidGrantTokenException")
        key, grant_id = found[0], found[1].id
    elif grant_id and request.parameters.get("KeyId"):
        key = keys.own(request)
    else:
        raise Refused("ValidationException", "Specify a grant token, or a key ID and a grant ID.")
    _end(key, grant_id)
    return {}


def with_token(kms: Moto, token: str) -> tuple[Moto, Moto] | None:
    """The key and the grant of a grant token."""
    return next(
        ((key, grant) for key in kms.keys.values() for grant in key.grants.values() if token in grant.tokens), None
    )


def _end(key: Moto, grant_id: str) -> None:
    grant = key.grants.pop(grant_id, None)
    if grant is None:
        raise not_found(f"Grant ID {grant_id} not found")
    grant.until = keys.late(key).moment(key.id, "ended", grant_id)
    key.ended.append(grant)


def listed(request: Request) -> dict[str, Any]:
    """ListGrants."""
    key = keys.checked(request, request.parameters["KeyId"])
    wanted, grantee = request.parameters.get("GrantId"), request.parameters.get("GranteePrincipal")
    found = [
        _told(key, one)
        for one in key.grants.values()
        if wanted in {None, one.id} and grantee in {None, one.grantee_principal}
    ]
    return request.page("Grants", found, 50, 100)


def retirable(request: Request) -> dict[str, Any]:
    """ListRetirableGrants."""
    who = request.parameters.get("RetiringPrincipal") or request.parameters.get("RetiringServicePrincipal")
    every = [(key, one) for key in request.kms.keys.values() for one in key.grants.values()]
    return request.page("Grants", [_told(key, one) for key, one in every if one.retiring_principal == who], 50, 100)


def _told(key: Moto, grant: Moto) -> dict[str, Any]:
    told = {
        "KeyId": key.arn,
        "GrantId": grant.id,
        "Name": grant.name,
        "CreationDate": grant.created_at,
        "GranteePrincipal": person(grant, "GranteePrincipal"),
        "RetiringPrincipal": person(grant, "RetiringPrincipal") or None,
        "IssuingAccount": f"arn:{key.arn.split(':')[1]}:iam::{key.account_id}:root",
        "Operations": grant.operations,
        "Constraints": grant.constraints or None,
    }
    return {name: value for name, value in told.items() if value is not None}
