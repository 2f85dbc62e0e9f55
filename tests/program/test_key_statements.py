"""The provider of statements of a key's policy, against the local cloud's KMS."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pulumi.output import UNKNOWN

from fleetswap.aws.session import Cloud
from fleetswap.domain.errors import InputError
from fleetswap_pulumi.iam_policy import trust
from fleetswap_pulumi.key_statements import KeyStatementsProvider
from localcloud.server import LocalCloud
from tests.localcloud.clients import Clients

provider = KeyStatementsProvider()


@pytest.fixture
def key(cloud: LocalCloud) -> str:
    return str(kms(cloud).create_key()["KeyMetadata"]["Arn"])


def kms(cloud: LocalCloud) -> Any:
    return Cloud("us-east-1", cloud.endpoint).kms("us-east-1")


def statement(sid: str, key: str, action: str = "kms:Decrypt") -> dict[str, Any]:
    root = f"arn:aws:iam::{key.split(':')[4]}:root"
    return {"Sid": sid, "Effect": "Allow", "Principal": {"AWS": root}, "Action": action, "Resource": "*"}


def inputs(cloud: LocalCloud, key: str, *statements: dict[str, Any]) -> dict[str, Any]:
    place = {"schema_version": 1, "region": "us-east-1", "endpoint": cloud.endpoint}
    return {**place, "key": key, "statements": list(statements)}


def names(cloud: LocalCloud, key: str) -> list[str]:
    policy = json.loads(kms(cloud).get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    return [each.get("Sid", "") for each in policy["Statement"]][1:]


def test_statements_come_and_go_with_their_resource(cloud: LocalCloud, key: str) -> None:
    """A release would keep its permission when it is gone, or take that of another release along."""
    first, second = (inputs(cloud, key, statement(sid, key)) for sid in ("A", "B"))
    made = provider.create(first)
    provider.create(second)
    assert provider.create(first).id == made.id
    assert names(cloud, key) == ["A", "B"]
    changed = inputs(cloud, key, statement("A", key, "kms:Encrypt"), statement("C", key))
    diff = provider.diff(made.id, first, changed)
    assert (diff.changes, diff.replaces) == (True, [])
    provider.update(made.id, first, changed)
    assert names(cloud, key) == ["B", "A", "C"]
    provider.delete(made.id, changed)
    provider.delete(made.id, changed)
    assert names(cloud, key) == ["B"]


def test_a_refresh_finds_what_somebody_took_away(cloud: LocalCloud, key: str) -> None:
    """Machines could not open their secrets, and no update would repair it."""
    asked = inputs(cloud, key, statement("A", key), statement("B", key))
    made = provider.create(asked)
    found = provider.read(made.id, asked)
    assert found.id == made.id
    assert not provider.diff(made.id, found.outs or {}, asked).changes
    provider.update(made.id, asked, inputs(cloud, key, statement("B", key)))
    found = provider.read(made.id, asked)
    assert found.id == made.id
    assert provider.diff(made.id, found.outs or {}, asked).changes
    provider.update(made.id, found.outs or {}, asked)
    assert names(cloud, key) == ["B", "A"] or names(cloud, key) == ["A", "B"]
    provider.delete(made.id, asked)
    assert provider.read(made.id, asked).id == ""


def test_no_other_key_takes_the_place_of_one_that_was_lost(cloud: LocalCloud, key: str) -> None:
    """After a refresh dropped a key that was then restored, the live release would lose its permission on it."""
    asked = inputs(cloud, key, statement("A", key))
    made = provider.create(asked)
    other = str(kms(cloud).create_key()["KeyMetadata"]["Arn"])
    for new in (other, UNKNOWN):
        with pytest.raises(InputError, match=rf"^the stack's key {key} is no longer in Pulumi's state.*import it"):
            provider.diff(made.id, asked, {**asked, "key": new})
    kms(cloud).schedule_key_deletion(KeyId=key.rsplit("/", 1)[1], PendingWindowInDays=7)
    provider.delete(made.id, asked)
    assert names(cloud, key) == ["A"], "it may be restored, and what is sealed with it live"
    missing = asked | {"key": key.rsplit("/", 1)[0] + "/00000000-0000-4000-8000-000000000000"}
    assert provider.read("x", missing).id == ""
    assert provider.diff("x", missing, {**missing, "key": other}).replaces == ["key"], "nothing brings it back"
    assert provider.diff("x", missing, {**missing, "key": UNKNOWN}).changes
    provider.delete("x", missing)
    assert provider.check({}, asked).failures == []
    unknown = provider.diff(made.id, asked, {**asked, "statements": UNKNOWN})
    assert (unknown.changes, unknown.replaces) == (True, []), "a preview of an image that is not built"
    assert provider.check({}, {**asked, "statements": "x"}).failures


def test_who_was_deleted_is_in_nobodys_way(cloud: LocalCloud, clients: Clients, key: str) -> None:
    """KMS takes no policy with the ID of a deleted role: no release could come or go, and no stack be destroyed."""
    clients.iam.create_role(RoleName="left", AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
    editors = statement("Editors", key) | {"Principal": {"AWS": [f"arn:aws:iam::{key.split(':')[4]}:role/left"]}}
    people, machines = inputs(cloud, key, editors), inputs(cloud, key, statement("Machines", key))
    provider.create(people)
    made = provider.create(machines)
    clients.iam.delete_role(RoleName="left")
    provider.delete(made.id, machines)
    assert names(cloud, key) == [], "nor is the deleted role left in it"
    found = provider.read("people", people)
    assert found.id == "", "so a refresh shows that the role is gone"
