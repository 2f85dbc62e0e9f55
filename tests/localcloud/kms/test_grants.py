"""Grants: who gets one, what it allows, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.localcloud.authorization.conftest import allow, trust
from tests.localcloud.kms.conftest import ACCOUNT, CONTEXT, ROOT, code, put, refused, statement

if TYPE_CHECKING:
    from tests.localcloud.authorization.conftest import People
    from tests.localcloud.clients import Clients

ROLE = f"arn:aws:iam::{ACCOUNT}:role/machine"


@pytest.fixture
def machine(kms: Any, key: str, clients: Clients, people: People) -> Any:
    """A role's client, whom the key's policy gives nothing."""
    clients.iam.create_role(RoleName="machine", AssumeRolePolicyDocument=trust(AWS=ACCOUNT))
    put(kms, key, statement({"AWS": ROOT}, "kms:Put*", "kms:*Grant*", "kms:Encrypt"))
    return people.client("kms", people.session("machine"))


def test_a_grant_allows_its_operations_until_it_is_revoked(kms: Any, key: str, machine: Any) -> None:
    """Auto Scaling and EBS would use a key that they have no grant for, or lose one that they have."""
    asked = {"KeyId": key, "GranteePrincipal": ROLE, "Operations": ["Decrypt", "DescribeKey"], "Name": "boot"}
    constraints = {"EncryptionContextSubset": CONTEXT}
    made = kms.create_grant(**asked, Constraints=constraints)
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    assert machine.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == b"x"
    assert machine.describe_key(KeyId=key)["KeyMetadata"]["Arn"] == key
    other = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    assert code(lambda: machine.decrypt(KeyId=key, CiphertextBlob=other)) == "AccessDeniedException"
    assert code(lambda: machine.encrypt(KeyId=key, Plaintext=b"x")) == "AccessDeniedException"
    again = kms.create_grant(**asked, Constraints=constraints)
    assert (again["GrantId"], again["GrantToken"]) == (made["GrantId"], again["GrantToken"])
    assert again["GrantToken"] != made["GrantToken"]
    [listed] = kms.list_grants(KeyId=key)["Grants"]
    assert (listed["GranteePrincipal"], listed["Name"], listed["IssuingAccount"]) == (ROLE, "boot", ROOT)
    kms.revoke_grant(KeyId=key, GrantId=made["GrantId"])
    assert code(lambda: machine.decrypt(KeyId=key, CiphertextBlob=blob, EncryptionContext=CONTEXT)) == (
        "AccessDeniedException"
    )
    wanted = f"Grant ID {made['GrantId']} not found"
    assert refused(lambda: kms.revoke_grant(KeyId=key, GrantId=made["GrantId"])) == (400, "NotFoundException", wanted)


def test_whom_the_grant_names_may_retire_it_and_nobody_else(kms: Any, key: str, machine: Any, people: People) -> None:
    """Whoever is done with a grant could not give it back, or anybody could take it away."""
    made = kms.create_grant(KeyId=key, GranteePrincipal=ROOT, RetiringPrincipal=ROLE, Operations=["Decrypt"])
    other = kms.create_grant(KeyId=key, GranteePrincipal=ROOT, Operations=["Encrypt"])
    assert code(lambda: machine.retire_grant(GrantToken=other["GrantToken"])) == "AccessDeniedException"
    user = people.client("kms", people.user(allow("none:Nothing")))
    assert code(lambda: user.retire_grant(GrantToken=made["GrantToken"])) == "AccessDeniedException"
    assert [one["GrantId"] for one in kms.list_retirable_grants(RetiringPrincipal=ROLE)["Grants"]] == [made["GrantId"]]
    machine.retire_grant(GrantToken=made["GrantToken"])
    assert [one["GrantId"] for one in kms.list_grants(KeyId=key)["Grants"]] == [other["GrantId"]]


def test_a_grant_needs_somebody_and_something_that_the_key_can_do(kms: Any, key: str) -> None:
    """A grant that AWS refuses would be made."""
    asked = {"KeyId": key, "GranteePrincipal": ROLE, "Operations": ["Decrypt"]}
    assert code(lambda: kms.create_grant(**asked)) == "InvalidArnException"
    asked |= {"GranteePrincipal": ROOT}
    assert code(lambda: kms.create_grant(**asked | {"Operations": ["Sign"]})) == "ValidationException"
    assert code(lambda: kms.create_grant(**asked | {"GranteePrincipal": None})) == "ValidationException"
    assert code(lambda: kms.retire_grant(GrantToken="none")) == "InvalidGrantTokenException"
