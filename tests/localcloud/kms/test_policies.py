"""Which key policies KMS takes, and whom they mean."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.localcloud.authorization.conftest import allow, policy, trust
from tests.localcloud.kms.conftest import ACCOUNT, CONTEXT, ROOT, code, document, put, refused, statement

if TYPE_CHECKING:
    from tests.localcloud.authorization.conftest import People
    from tests.localcloud.clients import Clients

ADMIN = statement({"AWS": ROOT})
MALFORMED = "MalformedPolicyDocumentException"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/machine"
NOBODY = "Policy contains a statement with one or more invalid principals."


def test_a_key_without_a_policy_leaves_everything_to_the_account(kms: Any, key: str) -> None:
    """A policy that gives nobody anything, or everybody all, would be compared with nothing."""
    told = json.loads(kms.get_key_policy(KeyId=key)["Policy"])
    assert told["Id"] == "key-default-1"
    assert told["Statement"] == [{"Sid": "Enable IAM User Permissions", **ADMIN, "Action": "kms:*"}]


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "[]",
        json.dumps({"Version": "2012-10-17"}),
        json.dumps({"Version": "2020-01-01", "Statement": [ADMIN]}),
        json.dumps({"Version": "2012-10-17", "Statement": [ADMIN], "Statements": []}),
        document({**ADMIN, "Effect": "allow"}),
        document({name: value for name, value in ADMIN.items() if name != "Resource"}),
        document({name: value for name, value in ADMIN.items() if name != "Principal"}),
        document({name: value for name, value in ADMIN.items() if name != "Action"}),
        document({**ADMIN, "Conditions": {}}),
        document({**ADMIN, "Condition": {"StringEqual": {"kms:ViaService": "x"}}}),
        document({**ADMIN, "Action": "Decrypt"}),
        document(ADMIN, statement({"AWS": f"arn:aws:iam::{ACCOUNT}:role/*"})),
        document(ADMIN, statement({"AWS": "AROAEXAMPLE"})),
        document(ADMIN, statement({"AWS": []})),
        document(ADMIN, statement({"Service": "no service"})),
        document(ADMIN, statement("everybody")),
    ],
)
def test_a_malformed_policy_is_refused(kms: Any, key: str, text: str) -> None:
    """A policy with a slip of the pen would be tested here, and refused on AWS."""
    before = kms.get_key_policy(KeyId=key)["Policy"]
    assert code(lambda: kms.put_key_policy(KeyId=key, PolicyName="default", Policy=text)) == MALFORMED
    assert code(lambda: kms.create_key(Policy=text)) == MALFORMED
    assert kms.get_key_policy(KeyId=key)["Policy"] == before
    assert len(kms.list_keys()["Keys"]) == 1


def test_principals_must_exist(kms: Any, key: str, clients: Clients) -> None:
    """A key would be made before the role that its policy names, which AWS refuses."""
    named = (ADMIN, statement({"AWS": [ROLE]}, "kms:Decrypt"))
    assert refused(lambda: put(kms, key, *named)) == (400, MALFORMED, NOBODY)
    clients.iam.create_role(RoleName="machine", AssumeRolePolicyDocument=trust(AWS=ACCOUNT))
    put(kms, key, *named)
    put(kms, key, *named, statement({"Service": "logs.us-east-1.amazonaws.com"}), statement({"AWS": "999999999999"}))
    assert json.loads(kms.get_key_policy(KeyId=key)["Policy"])["Statement"][1]["Principal"] == {"AWS": [ROLE]}


def test_a_role_that_was_deleted_is_not_the_next_of_its_name(
    kms: Any, key: str, clients: Clients, people: People
) -> None:
    """Whoever may make a role with the name of a deleted one would read its secrets."""
    made = clients.iam.create_role(RoleName="machine", AssumeRolePolicyDocument=trust(AWS=ACCOUNT))["Role"]
    put(kms, key, ADMIN, statement({"AWS": ROLE}, "kms:Decrypt"))
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    assert people.client("kms", people.session("machine")).decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    clients.iam.delete_role(RoleName="machine")
    shown = json.loads(kms.get_key_policy(KeyId=key)["Policy"])["Statement"][1]["Principal"]
    assert shown == {"AWS": made["RoleId"]}
    clients.iam.create_role(RoleName="machine", AssumeRolePolicyDocument=trust(AWS=ACCOUNT))
    other = people.client("kms", people.session("machine"))
    assert code(lambda: other.decrypt(KeyId=key, CiphertextBlob=blob)) == "AccessDeniedException"
    assert json.loads(kms.get_key_policy(KeyId=key)["Policy"])["Statement"][1]["Principal"] == shown


def test_nobody_locks_themselves_out_unless_they_say_so(kms: Any, key: str, people: People) -> None:
    """A key that nobody can manage any more would pass here."""
    locked = "The new key policy will not allow you to update the key policy in the future."
    only_read = statement({"AWS": ROOT}, "kms:Describe*")
    assert refused(lambda: put(kms, key, only_read)) == (400, MALFORMED, locked)
    user = people.client("kms", people.user(allow("kms:CreateKey", "kms:TagResource")))
    assert refused(lambda: user.create_key(Policy=document(ADMIN)))[2] == locked
    people.may(allow("kms:*"))
    user.create_key(Policy=document(ADMIN))
    put(kms, key, only_read, BypassPolicyLockoutSafetyCheck=True)
    assert code(lambda: user.put_key_policy(KeyId=key, Policy=document(ADMIN))) == "AccessDeniedException"


def test_a_policy_has_32_kilobytes(kms: Any, key: str) -> None:
    """A policy with the measurements of many releases would grow past what AWS takes."""
    long = [statement({"AWS": ROOT}, "kms:Decrypt", Sid="s" * 1000) for _ in range(31)]
    assert code(lambda: put(kms, key, ADMIN, *long)) == "LimitExceededException"
    put(kms, key, ADMIN, *long[:-4])


def test_the_account_s_policies_count_only_where_the_key_s_leaves_it_to_them(
    kms: Any, key: str, clients: Clients, people: People
) -> None:
    """An administrator of the account would read secrets that the key policy gives to machines alone."""
    user = people.client("kms", people.user(allow("kms:*")))
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    asked = {"KeyId": key, "CiphertextBlob": blob, "EncryptionContext": CONTEXT}
    assert user.decrypt(**asked)["Plaintext"] == b"x"
    put(kms, key, statement({"AWS": ROOT}, "kms:Put*", "kms:Describe*", "kms:Encrypt"))
    user.describe_key(KeyId=key)
    for one in (user, kms):
        message = refused(partial(one.decrypt, **asked))[2]
        assert message.endswith("because no resource-based policy allows the kms:Decrypt action"), "nor the root itself"
    clients.iam.put_user_policy(UserName="deployer", PolicyName="own", PolicyDocument=policy(allow("none:Nothing")))
    assert refused(lambda: user.encrypt(KeyId=key, Plaintext=b"x"))[2].endswith(
        "because no identity-based policy allows the kms:Encrypt action"
    )


EXACT = {
    "StringEquals": {"kms:EncryptionContext:Environment": "shop/prod"},
    "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["Environment"]},
}


@pytest.mark.parametrize(
    ("condition", "context", "may"),
    [
        (EXACT, CONTEXT, True),
        (EXACT, {}, False),
        (EXACT, {"Environment": "shop/dev"}, False),
        (EXACT, {"Environment": "SHOP/PROD"}, False),
        (EXACT, {**CONTEXT, "more": "x"}, False),
        # A condition key's name has no case, the names of pairs do (developer guide, kms:EncryptionContextKeys).
        ({"StringEquals": EXACT["StringEquals"]}, {"environment": "shop/prod"}, True),
        (EXACT, {"environment": "shop/prod"}, False),
        ({"ForAllValues:StringEquals": EXACT["ForAllValues:StringEquals"]}, {}, True),
        ({"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "Environment"}}, {}, False),
        ({"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "Environment"}}, {**CONTEXT, "a": "b"}, True),
        ({"Null": {"kms:EncryptionContext:Environment": "false"}}, CONTEXT, True),
        ({"Null": {"kms:EncryptionContext:Environment": "false"}}, {}, False),
        ({"StringEquals": {"kms:CallerAccount": ACCOUNT}}, {}, True),
        ({"StringEquals": {"kms:CallerAccount": "999999999999"}}, {}, False),
        ({"StringEquals": {"kms:ViaService": "ec2.us-east-1.amazonaws.com"}}, {}, False),
        ({"StringEquals": {"kms:KeyOrigin": "AWS_KMS", "kms:KeySpec": "SYMMETRIC_DEFAULT"}}, {}, True),
        ({"Bool": {"kms:MultiRegion": "true"}}, {}, False),
        ({"ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/shop/*"}}, {}, True),
        ({"ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/other/*"}}, {}, False),
        ({"StringEquals": {"kms:RequestAlias": "alias/shop/prod"}}, {}, False),
        ({"StringEquals": {"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}}, {}, True),
        ({"StringEquals": {"aws:ResourceTag/team": "web"}}, {}, True),
    ],
)
def test_conditions_of_kms(
    kms: Any,
    key: str,
    people: People,
    condition: Any,
    context: dict[str, str],
    may: bool,  # noqa: FBT001 - a table
) -> None:
    """A policy with a condition would let in, or keep out, others than on AWS."""
    kms.create_alias(AliasName="alias/shop/prod", TargetKeyId=key)
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "team", "TagValue": "web"}])
    put(
        kms,
        key,
        statement({"AWS": ROOT}, "kms:Put*", "kms:Encrypt"),
        statement({"AWS": ROOT}, "kms:Decrypt", Condition=condition),
    )
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=context)["CiphertextBlob"]
    user = people.client("kms", people.user(allow("kms:*")))
    asked = {"KeyId": key, "CiphertextBlob": blob, "EncryptionContext": context}
    if may:
        assert user.decrypt(**asked)["Plaintext"] == b"x"
    else:
        assert code(lambda: user.decrypt(**asked)) == "AccessDeniedException"


def test_the_alias_of_a_request_is_known(kms: Any, key: str, people: People) -> None:
    """A policy for one alias would keep out whoever names it."""
    kms.create_alias(AliasName="alias/shop/prod", TargetKeyId=key)
    condition = {"StringEquals": {"kms:RequestAlias": "alias/shop/prod"}}
    put(kms, key, statement({"AWS": ROOT}, "kms:Put*"), statement({"AWS": ROOT}, "kms:Encrypt", Condition=condition))
    user = people.client("kms", people.user(allow("kms:*")))
    user.encrypt(KeyId="alias/shop/prod", Plaintext=b"x")
    assert code(lambda: user.encrypt(KeyId=key, Plaintext=b"x")) == "AccessDeniedException"


def test_what_making_a_key_needs(people: People) -> None:
    """A deployer would lack rights on AWS that nobody asked for here."""
    user = people.client("kms", people.user(allow("kms:CreateKey", "kms:PutKeyPolicy")))
    user.create_key()
    asked = {"Tags": [{"TagKey": "a", "TagValue": "b"}]}
    assert "kms:TagResource" in refused(lambda: user.create_key(**asked))[2]
    assert "iam:CreateServiceLinkedRole" in refused(lambda: user.create_key(MultiRegion=True))[2]
