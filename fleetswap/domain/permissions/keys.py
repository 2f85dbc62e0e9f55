"""What KMS takes: the stack's own keys over their whole life, a look at every key, and sealing and opening secrets.

KMS may take five minutes until the tags of a key count (KMS developer guide, "ABAC for AWS KMS"). So what is done with
a key right after it was made is refused only for what has another stack's tag, and all that could harm a key needs the
stack's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from fleetswap.domain import tags
from fleetswap.domain.permissions.images import ENCRYPT_ANEW, KEY, key_policy
from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.permissions.statement import Conditions, Statement
from fleetswap.domain.secrets.key_policy import OPEN, in_context
from fleetswap.domain.secrets.sealing import alias, encryption_context

ALL = ("*",)

NEW: Conditions = {"Null": {"kms:ResourceAliases": "true"}}
"""Of a key that has no alias, as a new one."""


def look(scope: Scope) -> Iterator[Statement]:
    """The state of keys, which previews, rollouts and `fleetswap status` read; and the stack's own for a refresh."""
    known = _keys(scope)
    if known:
        yield Statement("LookAtKeys", "whether machines can start with the KMS keys", ("kms:DescribeKey",), known)
    if scope.makes_keys:
        yield Statement(
            "LookAtOwnKeys",
            "policy, rotation and tags of the stack's keys; never of what has another stack's tag",
            ("kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListResourceTags"),
            _own_keys(scope),
            _not_others(scope),
        )
        yield Statement(
            "FindAliases", "aliases of the stack's keys; the action knows no resource", ("kms:ListAliases",)
        )


def look_at_states(scope: Scope) -> Iterator[Statement]:
    """The state of keys alone, for `fleetswap status` and a rollback."""
    yield from (one for one in look(scope) if one.sid == "LookAtKeys")


def make(scope: Scope) -> Iterator[Statement]:
    """Making, changing and deleting the stack's own keys."""
    if not scope.makes_keys:
        return
    yield Statement("MakeKeys", "KMS keys with the tags of the stack", ("kms:CreateKey",), ALL, scope.made)
    yield Statement(
        "TagKeysAsTheyAreMade",
        "tags in the request that makes a key; never of a key that has an alias, or another stack's tag",
        ("kms:TagResource",),
        _own_keys(scope),
        {**scope.made_anew, **NEW},
    )
    yield Statement(
        "FinishKeys",
        "rotation and alias of a new key, whose tags may not count yet, and its policy, because KMS makes no key whose"
        " policy its maker may not change; never of a key that has an alias, or another stack's tag",
        ("kms:CreateAlias", "kms:EnableKeyRotation", "kms:PutKeyPolicy"),
        _own_keys(scope),
        {**_not_others(scope), **NEW},
    )
    replicate = ("kms:ReplicateKey",) if scope.replica_regions else ()
    yield Statement(
        "ChangeKeys",
        "policy, state, rotation, tags and scheduled deletion of the stack's keys",
        (
            "kms:CreateAlias",
            "kms:DeleteAlias",
            "kms:DisableKeyRotation",
            "kms:EnableKey",
            "kms:EnableKeyRotation",
            "kms:PutKeyPolicy",
            *replicate,
            "kms:ScheduleKeyDeletion",
            "kms:TagResource",
            "kms:UntagResource",
            "kms:UpdateAlias",
            "kms:UpdateKeyDescription",
        ),
        _own_keys(scope),
        scope.own,
    )
    yield Statement(
        "NameKeys",
        "the aliases of the stack's keys, and no others",
        ("kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias"),
        (_arn(scope, alias(scope.stack)), _arn(scope, f"{alias(scope.stack)}/*")),
    )


def use_own(scope: Scope) -> Iterator[Statement]:
    """What uploads and launches need of the stack's own key for volumes, through EBS alone."""
    if not scope.volume_key:
        return
    via = {"kms:ViaService": scope.host("ec2")}
    anothers = _not_others(scope)
    key = (_arn(scope, "key/*"),)
    yield Statement(
        "UseOwnKey",
        "the stack's key for volumes and snapshots, through EBS; never one with another stack's tag",
        (*(action for action in KEY if action not in {"kms:CreateGrant", "kms:DescribeKey"}), *ENCRYPT_ANEW),
        key,
        {**anothers, "StringEquals": via},
    )
    yield Statement(
        "LetEbsUseOwnKey",
        "a grant for EBS and nobody else",
        ("kms:CreateGrant",),
        key,
        {**anothers, "StringEquals": via, "Bool": {"kms:GrantIsForAWSResource": "true"}},
    )


def seal(scope: Scope) -> Iterator[Statement]:
    """Sealing the stack's secrets: nobody who can only do this can read them."""
    if scope.secrets:
        yield Statement(
            "SealSecrets",
            "sealing secrets of this stack, by their encryption context; it opens none",
            ("kms:Encrypt",),
            _secrets_keys(scope),
            in_context(encryption_context(scope.stack)),
        )


def edit(scope: Scope) -> Iterator[Statement]:
    """`fleetswap secrets edit` and `rotate`, which open what is sealed. The key's policy must name the role, too."""
    if scope.secrets:
        yield from seal(scope)
        yield _opening(scope, "secrets of this stack, by their encryption context; add the role to `secrets.editors`")


def open_at_boot(scope: Scope) -> Iterator[Statement]:
    """What the machines' role has of ours: it opens the secrets of its stack."""
    if scope.secrets:
        yield _opening(scope, "secrets of this stack at boot, by their encryption context")


def key_policies(scope: Scope) -> tuple[tuple[tuple[str, ...], tuple[Statement, ...]], ...]:
    """The statements that existing keys need in their policies, with the keys that need them."""
    found = [(scope.keys, key_policy(scope))] if scope.keys else []
    if scope.secrets_key is not None:
        found.append(((scope.secrets_key,), tuple(_existing(scope))))
    return tuple(found)


def _existing(scope: Scope) -> Iterator[Statement]:
    """For an existing key of secrets. The machines' role gets its name when it is made, and only then exists."""
    account = f"arn:{scope.partition}:iam::{scope.account}:root"
    exactly = in_context(encryption_context(scope.stack))
    yield Statement(
        "FleetswapLooks", "the state of the key, for roles of the account", ("kms:DescribeKey",), principal=account
    )
    yield Statement(
        "FleetswapSeals",
        "sealing secrets, for roles whose IAM policy allows it",
        ("kms:Encrypt",),
        conditions=exactly,
        principal=account,
    )
    yield Statement(
        "FleetswapMachinesOpen",
        "opening secrets, for the machines' role, whose IAM policy allows it; add a statement for editors",
        (OPEN,),
        conditions={**exactly, "ArnLike": {"aws:PrincipalArn": scope.roles("machines-*")}},
        principal=account,
    )


def _opening(scope: Scope, reason: str) -> Statement:
    return Statement("OpenSecrets", reason, (OPEN,), _secrets_keys(scope), in_context(encryption_context(scope.stack)))


def _secrets_keys(scope: Scope) -> tuple[str, ...]:
    """An own key has its ARN when it is made; until then it is any key of the account that takes the context."""
    return (*(_own_keys(scope) if scope.secrets_stack_key else ()), *_existing_key(scope))


def _keys(scope: Scope) -> tuple[str, ...]:
    """All keys that releases may need."""
    own = _own_keys(scope) if scope.makes_keys else ()
    return tuple(dict.fromkeys((*own, *scope.keys, *_existing_key(scope))))


def _existing_key(scope: Scope) -> tuple[str, ...]:
    return () if scope.secrets_key is None else (scope.secrets_key,)


def _own_keys(scope: Scope) -> tuple[str, ...]:
    """The stack's own keys: KMS chooses their IDs."""
    return tuple(_arn(scope, "key/*", region) for region in (scope.region, *scope.replica_regions))


def _arn(scope: Scope, resource: str, region: str | None = None) -> str:
    return f"arn:{scope.partition}:kms:{region or scope.region}:{scope.account}:{resource}"


def _not_others(scope: Scope) -> Conditions:
    return {"StringEqualsIfExists": {f"aws:ResourceTag/{tags.STACK}": scope.stack}}
