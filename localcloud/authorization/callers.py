"""Who calls: the access key of a request's signature, and the policies of whom it belongs to.

Decides what a key stands for. A key that moto's IAM or STS gave out is the user's or the role session's (a machine's
role, a role that was assumed). Any other name, such as `local`, is the account's root, as the local cloud was before it
knew rights: whoever starts it sets nothing. A key that looks like one of AWS's and that nobody gave out, or that was
deleted, is refused, and so is one whose time is over. With `LOCK` held.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from moto.backends import get_backend
from moto.utilities.utils import get_partition

from localcloud.authorization.policies import Named, Policies, Policy
from localcloud.moto_state import ACCOUNT_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from localcloud.authorization.signature import Signed
    from localcloud.moto_state import Moto

INVALID, EXPIRED = "invalid-token", "expired-token"
_GIVEN_OUT: Final = re.compile(r"A(KIA|SIA)[A-Z0-9]{16}")
"""How AWS names the keys that it gives out (IAM user guide, "Understanding unique ID prefixes")."""

_EVERYTHING: Final = Policy.parse({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})


class Rejected(Exception):
    """Credentials that AWS does not take; the argument is a fault of `calls`."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(frozen=True)
class Caller:
    """Whoever signed a request. `secret` is empty where none is known."""

    arn: str
    account: str
    named: Named
    secret: str = ""
    root: bool = False
    policies: Policies = field(default_factory=Policies)
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def of(signed: Signed | None, now: datetime | None = None) -> Caller:
    """The caller of a request. Raises `Rejected`."""
    if signed is None:
        return root(ACCOUNT_ID, "aws")
    partition = get_partition(signed.region)
    for account, backends in list(get_backend("iam").items()):
        iam = backends.get(partition)
        key = iam.access_keys.get(signed.key) if iam is not None else None
        if key is None:
            continue
        if key.status != "Active":
            raise Rejected(INVALID)
        if key.role_arn is not None:
            return _session(iam, account, partition, signed, now or datetime.now(UTC))
        return _user(iam, account, key)
    if _GIVEN_OUT.fullmatch(signed.key):
        raise Rejected(INVALID)
    return root(ACCOUNT_ID, partition)


def root(account: str, partition: str) -> Caller:
    """The root of an account: nothing is asked of it."""
    arn = f"arn:{partition}:iam::{account}:root"
    keys = {"aws:principaltype": ("Account",), "aws:userid": (account,), **_common(arn, account)}
    return Caller(arn, account, Named((arn,), account), root=True, policies=Policies((_EVERYTHING,)), keys=keys)


def _user(iam: Moto, account: str, key: Moto) -> Caller:
    user = iam.users.get(key.user_name)
    if user is None:
        raise Rejected(INVALID)
    documents = [*_documents(user)]
    for group in iam.groups.values():
        if user in group.users:
            documents += _documents(group)
    boundary = getattr(user, "permissions_boundary_arn", None)
    keys = {"aws:principaltype": ("User",), "aws:userid": (user.id,), "aws:username": (user.name,)}
    tags = iam.tagger.get_tag_dict_for_resource(user.arn) if hasattr(iam, "tagger") else {}
    return Caller(
        user.arn,
        account,
        Named((user.arn,), account),
        key.secret_access_key,
        policies=Policies(tuple(map(parsed, documents)), _boundary(iam, boundary)),
        keys={**keys, **_tags(tags), **_common(user.arn, account)},
    )


def _session(iam: Moto, account: str, partition: str, signed: Signed, now: datetime) -> Caller:
    assumed = next((one for one in reversed(_sessions(account, partition)) if one.access_key_id == signed.key), None)
    if assumed is None or assumed.session_token != signed.token:
        raise Rejected(INVALID)
    if assumed.expiration.replace(tzinfo=UTC) <= now:
        raise Rejected(EXPIRED)
    role = next((one for one in iam.roles.values() if one.arn == assumed.role_arn), None)
    if role is None or role.id != getattr(assumed, "role_id", role.id):  # a role's sessions end with it
        raise Rejected(INVALID)
    keys = {"aws:principaltype": ("AssumedRole",), "aws:userid": (f"{role.id}:{assumed.session_name}",)}
    tags = {tag["Key"]: tag["Value"] for tag in [*(role.tags or []), *getattr(assumed, "tags", [])]}
    return Caller(
        assumed.arn,
        account,
        Named((assumed.arn, role.arn), account),
        assumed.secret_access_key,
        policies=Policies(
            tuple(map(parsed, _documents(role))),
            _boundary(iam, role.permissions_boundary_arn),
            _of_session(iam, assumed),
        ),
        keys={**keys, **_tags(tags), **_common(role.arn, account)},
    )


def policies_of(iam: Moto, arn: str) -> Policies | None:
    """The policies of a user or role by its ARN, without those of a session; None if there is no such one."""
    user = next((one for one in iam.users.values() if one.arn == arn), None)
    if user is not None:
        groups = [group for group in iam.groups.values() if user in group.users]
        documents = [document for holder in (user, *groups) for document in _documents(holder)]
        return Policies(tuple(map(parsed, documents)), _boundary(iam, getattr(user, "permissions_boundary_arn", None)))
    role = next((one for one in iam.roles.values() if one.arn == arn), None)
    if role is None:
        return None
    return Policies(tuple(map(parsed, _documents(role))), _boundary(iam, role.permissions_boundary_arn))


def _of_session(iam: Moto, assumed: Moto) -> tuple[Policy, ...] | None:
    """The policies that the session was begun with, which limit it; None if there were none."""
    arns = getattr(assumed, "policy_arns", [])
    if not assumed.policy and not arns:
        return None
    attached = [policy for arn in arns if (policy := _boundary(iam, arn)) is not None]
    return (*([parsed(assumed.policy)] if assumed.policy else []), *attached)


def _sessions(account: str, partition: str) -> list[Moto]:
    sessions: list[Moto] = get_backend("sts")[account][partition].assumed_roles
    return sessions


def _documents(holder: Moto) -> Iterable[str]:
    return [*holder.policies.values(), *map(document, holder.managed_policies.values())]


def document(policy: Moto) -> str:
    """The default version of a managed policy."""
    default = next(one for one in policy.versions if one.version_id == policy.default_version_id)
    return str(default.document)


def _boundary(iam: Moto, arn: str | None) -> Policy | None:
    """A boundary that does not exist allows nothing."""
    if not arn:
        return None
    policy = iam.managed_policies.get(arn)
    return parsed(document(policy)) if policy is not None else Policy(())


@functools.lru_cache(maxsize=512)
def parsed(document: str) -> Policy:
    """A policy, read once."""
    return Policy.parse(document)


def _common(arn: str, account: str) -> dict[str, tuple[str, ...]]:
    return {"aws:principalarn": (arn,), "aws:principalaccount": (account,)}


def _tags(tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {f"aws:principaltag/{key.lower()}": (value,) for key, value in tags.items()}
