"""What the policies allow with KMS keys: the stack's own over their life, and those that the settings name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.partition import Partition
from fleetswap.domain.permissions.keys import key_policies
from fleetswap.domain.permissions.purposes import Purpose
from fleetswap.domain.share import key_statements
from tests.permissions.scopes import ACCOUNT, EVERYTHING, GUEST, PLAIN, REGION
from tests.permissions.test_policies import NEW, OTHERS, OURS, actions, may

KMS = f"arn:aws:kms:{REGION}:{ACCOUNT}:"
OWN = f"{KMS}key/9"
ALIAS = f"{KMS}alias/fleetswap/fleetswap/prod"
CONTEXT = {
    "kms:encryptioncontext:environment": ("fleetswap/prod",),
    "kms:encryptioncontextkeys": ("Environment",),
}
STAGING = {**CONTEXT, "kms:encryptioncontext:environment": ("fleetswap/staging",)}
MORE = {**CONTEXT, "kms:encryptioncontextkeys": ("Environment", "x")}
NAMED = {"kms:resourcealiases": ("alias/bank",)}
EBS = {"kms:viaservice": (f"ec2.{REGION}.amazonaws.com",)}
GRANT = {**EBS, "kms:grantisforawsresource": ("true",)}


@pytest.mark.parametrize(
    ("action", "resource", "context", "allowed"),
    [
        ("kms:CreateKey", "*", NEW, True),
        ("kms:CreateKey", "*", {}, False),
        ("kms:TagResource", OWN, NEW, True),
        ("kms:TagResource", OWN, {**NEW, **OTHERS}, False),
        ("kms:TagResource", OWN, {**NEW, **NAMED}, False),
        ("kms:TagResource", OWN, OURS, True),
        ("kms:EnableKeyRotation", OWN, {}, True),
        ("kms:EnableKeyRotation", OWN, OTHERS, False),
        ("kms:CreateAlias", OWN, OURS, True),
        ("kms:CreateAlias", ALIAS, {}, True),
        ("kms:CreateAlias", f"{ALIAS}/volumes", {}, True),
        ("kms:DeleteAlias", f"{ALIAS}uction", {}, False),
        ("kms:UpdateAlias", f"{KMS}alias/bank", {}, False),
        ("kms:PutKeyPolicy", OWN, OURS, True),
        ("kms:PutKeyPolicy", OWN, {**OURS, **NAMED}, True),
        ("kms:PutKeyPolicy", OWN, {}, True),
        ("kms:PutKeyPolicy", OWN, NAMED, False),
        ("kms:PutKeyPolicy", OWN, OTHERS, False),
        ("kms:EnableKeyRotation", OWN, NAMED, False),
        ("kms:ScheduleKeyDeletion", OWN, OURS, True),
        ("kms:ScheduleKeyDeletion", OWN, {}, False),
        ("kms:ScheduleKeyDeletion", OWN, OTHERS, False),
        ("kms:ReplicateKey", OWN, OURS, True),
        ("kms:DescribeKey", OWN.replace(REGION, "eu-west-1"), {}, True),
        ("kms:DescribeKey", OWN.replace(REGION, "eu-north-1"), {}, False),
        ("kms:GetKeyPolicy", OWN, OTHERS, False),
        ("kms:Encrypt", OWN, CONTEXT, True),
        ("kms:Encrypt", OWN, {}, False),
        ("kms:Encrypt", OWN, STAGING, False),
        ("kms:Encrypt", OWN, MORE, False),
        ("kms:Decrypt", OWN, CONTEXT, False),
        ("kms:Decrypt", OWN, EBS, True),
        ("kms:Decrypt", OWN, {**EBS, **OTHERS}, False),
        ("kms:CreateGrant", OWN, GRANT, True),
        ("kms:CreateGrant", OWN, EBS, False),
        ("kms:CreateGrant", OWN, {"kms:grantisforawsresource": ("true",)}, False),
        ("kms:DisableKey", OWN, OURS, False),
    ],
)
def test_who_deploys_manages_the_keys_of_the_stack_alone(
    action: str, resource: str, context: dict[str, Any], *, allowed: bool
) -> None:
    """A deploy would stop at its key; or one stack's deployer could delete the keys of all, or open secrets."""
    assert may(EVERYTHING, action, resource, context) is allowed


@pytest.mark.parametrize(
    ("purpose", "action", "context", "allowed"),
    [
        (Purpose.MACHINE, "kms:Decrypt", CONTEXT, True),
        (Purpose.MACHINE, "kms:Decrypt", {}, False),
        (Purpose.MACHINE, "kms:Decrypt", STAGING, False),
        (Purpose.MACHINE, "kms:Encrypt", CONTEXT, False),
        (Purpose.SECRETS, "kms:Encrypt", CONTEXT, True),
        (Purpose.SECRETS, "kms:Decrypt", CONTEXT, True),
        (Purpose.SECRETS, "kms:Decrypt", MORE, False),
        (Purpose.SECRETS, "kms:DescribeKey", {}, True),
        (Purpose.SECRETS, "kms:PutKeyPolicy", OURS, False),
        (Purpose.PREVIEW, "kms:DescribeKey", {}, True),
        (Purpose.PREVIEW, "kms:Encrypt", CONTEXT, False),
        (Purpose.ROLLBACK, "kms:DescribeKey", {}, True),
        (Purpose.ROLLBACK, "kms:GetKeyPolicy", OURS, False),
    ],
)
@pytest.mark.parametrize(("scope", "key"), [(EVERYTHING, OWN), (GUEST, f"{KMS}key/3")])
def test_each_purpose_has_what_it_does_with_secrets(
    scope: Any, key: str, purpose: Purpose, action: str, context: dict[str, Any], *, allowed: bool
) -> None:
    """A person who edits secrets would need the deploying role; or a preview, or a machine, could do more than look."""
    assert may(scope, action, key, context, purpose) is allowed


def test_a_stack_without_keys_needs_nothing_of_kms() -> None:
    """Every role of before would have to be given new rights."""
    for purpose in set(Purpose) - {Purpose.DRILL}:  # which looks at keys that other accounts or defaults have brought
        assert not [each for each in actions(PLAIN, purpose) if each.startswith("kms:")]
    assert key_policies(PLAIN) == ()


def test_an_existing_key_gets_statements_for_what_it_is_used_for() -> None:
    """KMS would refuse the machines, or Auto Scaling, although the roles' own policies allow it."""
    (volumes,) = key_policies(EVERYTHING)
    assert volumes[0] == EVERYTHING.keys
    assert [one.sid for one in volumes[1]] == [
        "AutoScalingUsesTheKey",
        "AutoScalingLetsEc2AttachVolumes",
        *(each["Sid"] for each in key_statements(Partition("aws", "amazonaws.com"), EVERYTHING.share)),
    ]
    assert volumes[1][2].plain()["Principal"] == {"AWS": ["arn:aws:iam::777788889999:root"]}
    ((keys, secrets),) = key_policies(GUEST)
    assert keys == (f"{KMS}key/3",)
    (opens,) = (one.plain() for one in secrets if "kms:Decrypt" in one.actions)
    assert opens["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    assert opens["Condition"]["StringEquals"] == {"kms:EncryptionContext:Environment": "fleetswap/prod"}
    assert opens["Condition"]["ArnLike"] == {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/web-machines-*"}
    assert len(key_policies(replace(GUEST, keys=("arn",)))) == 2
