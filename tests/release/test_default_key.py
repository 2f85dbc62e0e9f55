"""Whether what is seen of a key lets Auto Scaling's role launch machines with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleetswap.domain.release.default_key import EbsDefault, KeyAccess, launch_role, may_launch

ROLE = launch_role("arn:aws-cn:kms:cn-north-1:123456789012:key/1", "111122223333")
ALL = {"CreateGrant", "Decrypt", "GenerateDataKeyWithoutPlaintext"}


def statement(**changes: Any) -> dict[str, Any]:
    """One that lets everybody do everything."""
    return {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*", **changes}


def access(*statements: dict[str, Any], granted: set[str] | None = None) -> KeyAccess:
    """What was seen of a key with this policy."""
    return KeyAccess(json.dumps({"Statement": list(statements)}), granted)


def test_the_role_is_that_of_the_account_in_its_partition() -> None:
    """In China, or with a key of another account, another role than the one that launches would be looked for."""
    of_auto_scaling = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    assert f"arn:aws-cn:iam::111122223333:{of_auto_scaling}" == ROLE


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, True),
        ({"Principal": {"AWS": [ROLE, "arn:aws:iam::123456789012:role/x"]}}, True),
        ({"Principal": {"AWS": "*"}, "Condition": {"StringEquals": {"aws:PrincipalArn": ROLE}}}, True),
        ({"Action": ["kms:creategrant", "kms:D*", "kms:GenerateDataKey*"]}, True),
        ({"Action": ["kms:Decrypt", "kms:GenerateDataKey*"]}, False),
        ({"Effect": "Deny"}, False),
        ({"Principal": {"AWS": "arn:aws:iam::111122223333:root"}}, False),
        ({"Principal": {"Service": "autoscaling.amazonaws.com"}}, False),
        ({"Principal": None, "NotPrincipal": {"AWS": "x"}}, True),
        ({"Action": None, "NotAction": "kms:Delete*"}, True),
    ],
)
def test_a_policy_allows_what_any_statement_may_allow(changes: dict[str, Any], *, allowed: bool) -> None:
    """A deploy that works would be refused, or one that cannot launch a machine begun."""
    plain = {key: value for key, value in statement(**changes).items() if value is not None}
    assert may_launch(access(plain, granted=set()), ROLE) is allowed


def test_grants_add_to_a_policy() -> None:
    """A key of another account is used by a grant alone; what neither allows, fails."""
    some = statement(Action="kms:CreateGrant")
    assert may_launch(access(some, granted=ALL - {"CreateGrant"}), ROLE) is True
    assert may_launch(access(some, granted=ALL - {"CreateGrant", "Decrypt"}), ROLE) is False
    assert may_launch(KeyAccess(None, ALL), ROLE) is True


@pytest.mark.parametrize("seen", [KeyAccess(), KeyAccess(None, set()), access(granted=None)])
def test_what_was_not_seen_refuses_nothing(seen: KeyAccess) -> None:
    """A deploy would be refused by a guess."""
    assert may_launch(seen, ROLE) is None


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("alias/aws/ebs", True),
        ("arn:aws:kms:eu-central-1:111122223333:alias/aws/ebs", True),
        ("arn:aws:kms:eu-central-1:111122223333:key/1", False),
    ],
)
def test_the_key_of_aws_is_known_by_its_alias(key: str, *, own: bool) -> None:
    """A share of snapshots that are encrypted with it would be tried, or one with a key of the account's refused."""
    assert EbsDefault(by_default=True, key=key).is_aws_managed is own
