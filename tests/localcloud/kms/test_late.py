"""KMS is eventually consistent: a change takes effect later, and until then reads say the one and the other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.localcloud.authorization.conftest import trust
from tests.localcloud.kms.conftest import ACCOUNT, ROOT, attempt, code, put, statement

if TYPE_CHECKING:
    from localcloud.server import LocalCloud
    from tests.localcloud.authorization.conftest import People
    from tests.localcloud.clients import Clients
    from tests.localcloud.conftest import Clock

ROLE = f"arn:aws:iam::{ACCOUNT}:role/machine"
NOW = 1_800_000_000.0


@pytest.fixture
def late(cloud: LocalCloud, clock: Clock, key: str, clients: Clients) -> Clock:
    """From now on a change takes 10 s; the clock stands still. The key, and the role `machine`, are older."""
    clients.iam.create_role(RoleName="machine", AssumeRolePolicyDocument=trust(AWS=ACCOUNT))
    clock.now = NOW
    cloud.lateness.change({"keys": [10, 10]})
    assert key
    return clock


def test_a_key_is_used_for_a_while_after_it_was_disabled(kms: Any, key: str, late: Clock) -> None:
    """A test that disables a key would never meet a machine that boots in the meantime."""
    kms.disable_key(KeyId=key)
    kms.encrypt(KeyId=key, Plaintext=b"x")
    seen = {kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] for _ in range(2)}
    assert seen == {"Enabled", "Disabled"}
    late.now = NOW + 10
    assert code(lambda: kms.encrypt(KeyId=key, Plaintext=b"x")) == "DisabledException"
    assert {kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] for _ in range(2)} == {"Disabled"}


def test_a_policy_counts_later(kms: Any, key: str, late: Clock, people: People) -> None:
    """A rollout that boots machines right after it changed the policy would work here, and now and then on AWS."""
    machine = people.client("kms", people.session("machine"))
    put(kms, key, statement({"AWS": ROOT}), statement({"AWS": ROLE}, "kms:Encrypt"))
    assert code(lambda: machine.encrypt(KeyId=key, Plaintext=b"x")) == "AccessDeniedException"
    seen = [len(json.loads(kms.get_key_policy(KeyId=key)["Policy"])["Statement"]) for _ in range(4)]
    assert seen == [1, 2, 1, 2]
    late.now = NOW + 10
    machine.encrypt(KeyId=key, Plaintext=b"x")
    put(kms, key, statement({"AWS": ROOT}))
    machine.encrypt(KeyId=key, Plaintext=b"x")
    late.now = NOW + 20
    assert code(lambda: machine.encrypt(KeyId=key, Plaintext=b"x")) == "AccessDeniedException"


def test_a_grant_counts_later_and_with_its_token_at_once(kms: Any, key: str, late: Clock, people: People) -> None:
    """Whoever uses a grant without its token would learn on AWS that it is too early."""
    machine = people.client("kms", people.session("machine"))
    made = kms.create_grant(KeyId=key, GranteePrincipal=ROLE, Operations=["Encrypt"])
    asked = {"KeyId": key, "Plaintext": b"x"}
    assert code(lambda: machine.encrypt(**asked)) == "AccessDeniedException"
    machine.encrypt(**asked, GrantTokens=[made["GrantToken"]])
    late.now = NOW + 10
    machine.encrypt(**asked)
    kms.revoke_grant(KeyId=key, GrantId=made["GrantId"])
    machine.encrypt(**asked)
    late.now = NOW + 20
    assert code(lambda: machine.encrypt(**asked)) == "AccessDeniedException"


def test_a_new_key_and_a_new_alias_are_not_found_everywhere(kms: Any, key: str, late: Clock) -> None:
    """A program that does not wait for what it made would pass here."""
    made = kms.create_key()["KeyMetadata"]["KeyId"]
    calls = [attempt(lambda: kms.describe_key(KeyId=made))[1] for _ in range(4)]
    assert calls == ["NotFoundException", "", "NotFoundException", ""]
    kms.create_alias(AliasName="alias/web", TargetKeyId=key)
    assert code(lambda: kms.encrypt(KeyId="alias/web", Plaintext=b"x")) == "NotFoundException"
    late.now = NOW + 10
    assert kms.encrypt(KeyId="alias/web", Plaintext=b"x")["KeyId"] == key
    kms.update_alias(AliasName="alias/web", TargetKeyId=made)
    assert kms.encrypt(KeyId="alias/web", Plaintext=b"x")["KeyId"] == key
    late.now = NOW + 20
    assert kms.encrypt(KeyId="alias/web", Plaintext=b"x")["KeyId"].endswith(made)


def test_what_a_read_says_of_rotation_tags_and_description(kms: Any, key: str, late: Clock) -> None:
    """What waits for such a change until it was read once would pass here."""
    assert late
    kms.enable_key_rotation(KeyId=key)
    assert [kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] for _ in range(3)] == [False, True, False]
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "b"}])
    assert [len(kms.list_resource_tags(KeyId=key)["Tags"]) for _ in range(3)] == [0, 1, 0]
    kms.update_key_description(KeyId=key, Description="new")
    assert [kms.describe_key(KeyId=key)["KeyMetadata"].get("Description", "") for _ in range(3)] == ["", "new", ""]


def test_a_new_role_is_unknown_to_a_policy_for_a_moment(
    cloud: LocalCloud, kms: Any, key: str, clients: Clients
) -> None:
    """A deploy that makes the key right after the role it names would pass here, and on AWS need another attempt."""
    cloud.lateness.change({"principals": [60, 60]})
    clients.iam.create_role(RoleName="machine", AssumeRolePolicyDocument=trust(AWS=ACCOUNT))
    named = (statement({"AWS": ROOT}), statement({"AWS": ROLE}))
    assert code(lambda: put(kms, key, *named)) == "MalformedPolicyDocumentException"
    cloud.lateness.change({"principals": [0, 0]})
    put(kms, key, *named)
