"""The calls of the official AWS provider for a key, its alias and a replica, in their order, while KMS is late.

As terraform-provider-aws 6 makes them (internal/service/kms: key.go, alias.go, replica_key.go, tags_gen.go): each
change is read until it was seen several times in a row.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tests.localcloud.authorization.conftest import trust
from tests.localcloud.kms.conftest import ACCOUNT, ROOT, attempt, code, document, statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.server import LocalCloud
    from tests.localcloud.clients import Clients

GONE = {"PendingDeletion", "PendingReplicaDeletion"}


def retried(codes: set[str], call: Callable[[], Any]) -> Any:
    """`tfresource.RetryWhenIsA`."""
    deadline = time.monotonic() + 60
    answer, code = attempt(call)
    while code:
        assert code in codes
        assert time.monotonic() < deadline
        answer, code = attempt(call)
    return answer


def steady(seen: Callable[[], bool], times: int) -> None:
    """`tfresource.WaitUntil` with ContinuousTargetOccurence."""
    row, deadline = 0, time.monotonic() + 60
    while row < times:
        found, code = attempt(seen)
        assert code in {"", "NotFoundException"}
        row = row + 1 if found else 0
        assert time.monotonic() < deadline
        time.sleep(0.01)


def metadata(kms: Any, key: str) -> Any:
    """`findKeyByID`."""
    return kms.describe_key(KeyId=key)["KeyMetadata"]


def tags(kms: Any, key: str) -> dict[str, str]:
    return {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=key)["Tags"]}


def same(kms: Any, key: str, policy: str) -> bool:
    return bool(json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]) == json.loads(policy))


def test_its_lives_of_a_key_an_alias_and_a_replica(cloud: LocalCloud, clients: Clients, kms: Any) -> None:
    """A deploy with the official plugin would wait forever, or stop half-way."""
    cloud.lateness.change({"keys": [0.1, 0.3], "principals": [0.2, 0.2]})
    clients.iam.create_role(RoleName="machine", AssumeRolePolicyDocument=trust(AWS=ACCOUNT))
    role = statement({"AWS": f"arn:aws:iam::{ACCOUNT}:role/machine"}, "kms:Decrypt")
    policy = document(statement({"AWS": ROOT}), role)
    made = retried(
        {"MalformedPolicyDocumentException"},
        lambda: kms.create_key(
            BypassPolicyLockoutSafetyCheck=False,
            KeySpec="SYMMETRIC_DEFAULT",
            KeyUsage="ENCRYPT_DECRYPT",
            Tags=[{"TagKey": "a", "TagValue": "b"}],
            Description="secrets",
            MultiRegion=True,
            Policy=policy,
        ),
    )["KeyMetadata"]
    key = made["KeyId"]
    retried(
        {"NotFoundException", "DisabledException"}, lambda: kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    )
    steady(lambda: _rotation(kms, key) == (True, 90), 5)
    steady(lambda: same(kms, key, policy), 5)
    steady(lambda: tags(kms, key) == {"a": "b"}, 5)
    told = metadata(kms, key)
    assert (told["Origin"], told["MultiRegion"], told["Description"]) == ("AWS_KMS", True, "secrets")
    assert told["MultiRegionConfiguration"]["MultiRegionKeyType"] == "PRIMARY"

    retried({"NotFoundException"}, lambda: kms.create_alias(AliasName="alias/shop/prod", TargetKeyId=key))
    steady(lambda: _alias(kms) == key, 1)

    west = clients.client("kms", "us-west-2")
    answer = kms.replicate_key(KeyId=key, ReplicaRegion="us-west-2", Policy=policy, Tags=[])
    assert answer["ReplicaKeyMetadata"]["KeyId"] == key
    steady(lambda: metadata(west, key)["KeyState"] == "Enabled", 1)
    steady(lambda: same(west, key, policy), 5)
    replica = metadata(west, key)
    assert (replica["KeyManager"], replica["Origin"]) == ("CUSTOMER", "AWS_KMS")
    assert replica["MultiRegionConfiguration"]["PrimaryKey"]["Arn"] == made["Arn"]

    kms.disable_key(KeyId=key)
    steady(lambda: metadata(kms, key)["Enabled"] is False, 15)
    kms.enable_key(KeyId=key)
    steady(lambda: metadata(kms, key)["Enabled"] is True, 15)
    kms.update_key_description(KeyId=key, Description="other")
    steady(lambda: metadata(kms, key)["Description"] == "other", 5)
    changed = document(statement({"AWS": ROOT}))
    retried(
        {"NotFoundException", "MalformedPolicyDocumentException"},
        lambda: kms.put_key_policy(
            KeyId=key, PolicyName="default", Policy=changed, BypassPolicyLockoutSafetyCheck=False
        ),
    )
    steady(lambda: same(kms, key, changed), 5)
    kms.untag_resource(KeyId=key, TagKeys=["a"])
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "c", "TagValue": "d"}])
    steady(lambda: tags(kms, key) == {"c": "d"}, 5)

    west.schedule_key_deletion(KeyId=key, PendingWindowInDays=30)
    steady(lambda: metadata(west, key)["KeyState"] in GONE, 1)
    kms.delete_alias(AliasName="alias/shop/prod")
    assert code(lambda: kms.delete_alias(AliasName="alias/shop/prod")) == "NotFoundException"
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    steady(lambda: metadata(kms, key)["KeyState"] in GONE, 1)
    assert code(lambda: west.schedule_key_deletion(KeyId=key)) == "KMSInvalidStateException"


def _rotation(kms: Any, key: str) -> tuple[bool, int | None]:
    told = kms.get_key_rotation_status(KeyId=key)
    return told["KeyRotationEnabled"], told.get("RotationPeriodInDays")


def _alias(kms: Any) -> str | None:
    return next(
        (one["TargetKeyId"] for one in kms.list_aliases()["Aliases"] if one["AliasName"] == "alias/shop/prod"), None
    )
