"""What a key takes in which state: KMS developer guide, "Key states of AWS KMS keys"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.localcloud.balancer.world import until
from tests.localcloud.kms.conftest import CONTEXT, code, document, refused, statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.localcloud.conftest import Clock

DAY = 86_400.0
ROLE = "arn:aws:iam::123456789012:root"
USES: dict[str, Callable[[Any, str], Any]] = {
    "Encrypt": lambda kms, key: kms.encrypt(KeyId=key, Plaintext=b"x"),
    "GenerateDataKey": lambda kms, key: kms.generate_data_key(KeyId=key, KeySpec="AES_256"),
    "GenerateDataKeyWithoutPlaintext": lambda kms, key: kms.generate_data_key_without_plaintext(
        KeyId=key, NumberOfBytes=8
    ),
    "CreateGrant": lambda kms, key: kms.create_grant(KeyId=key, GranteePrincipal=ROLE, Operations=["Decrypt"]),
    "EnableKeyRotation": lambda kms, key: kms.enable_key_rotation(KeyId=key),
    "DisableKeyRotation": lambda kms, key: kms.disable_key_rotation(KeyId=key),
    "RotateKeyOnDemand": lambda kms, key: kms.rotate_key_on_demand(KeyId=key),
}
CHANGES: dict[str, Callable[[Any, str], Any]] = {
    "CreateAlias": lambda kms, key: kms.create_alias(AliasName="alias/web", TargetKeyId=key),
    "EnableKey": lambda kms, key: kms.enable_key(KeyId=key),
    "DisableKey": lambda kms, key: kms.disable_key(KeyId=key),
    "TagResource": lambda kms, key: kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "b"}]),
    "UntagResource": lambda kms, key: kms.untag_resource(KeyId=key, TagKeys=["a"]),
    "UpdateKeyDescription": lambda kms, key: kms.update_key_description(KeyId=key, Description="x"),
    "ScheduleKeyDeletion": lambda kms, key: kms.schedule_key_deletion(KeyId=key),
}
ALWAYS: dict[str, Callable[[Any, str], Any]] = {
    "DescribeKey": lambda kms, key: kms.describe_key(KeyId=key),
    "GetKeyPolicy": lambda kms, key: kms.get_key_policy(KeyId=key, PolicyName="default"),
    "GetKeyRotationStatus": lambda kms, key: kms.get_key_rotation_status(KeyId=key),
    "ListAliases": lambda kms, key: kms.list_aliases(KeyId=key),
    "ListGrants": lambda kms, key: kms.list_grants(KeyId=key),
    "ListResourceTags": lambda kms, key: kms.list_resource_tags(KeyId=key),
    "PutKeyPolicy": lambda kms, key: kms.put_key_policy(KeyId=key, Policy=document(statement({"AWS": ROLE}))),
}


def test_an_enabled_key_takes_everything_but_the_end_of_a_deletion(kms: Any, key: str) -> None:
    """A key would be refused for what it can do; what follows could not fail for the right reason."""
    for call in (*ALWAYS.values(), *USES.values(), *CHANGES.values()):
        call(kms, key)
        kms.cancel_key_deletion(KeyId=key) if call is CHANGES["ScheduleKeyDeletion"] else None
        kms.enable_key(KeyId=key)
    message = f"{key} is not pending deletion."
    assert refused(lambda: kms.cancel_key_deletion(KeyId=key)) == (400, "KMSInvalidStateException", message)


def test_a_disabled_key_is_managed_and_not_used(kms: Any, key: str) -> None:
    """A machine would open secrets with a key that its owner has switched off."""
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    kms.disable_key(KeyId=key)
    told = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert (told["KeyState"], told["Enabled"]) == ("Disabled", False)
    wanted = (400, "DisabledException", f"{key} is disabled.")
    assert refused(lambda: kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)) == wanted
    for name, call in USES.items():
        assert refused(lambda call=call: call(kms, key)) == wanted, name  # type: ignore[misc] # mypy on a default
    for call in (*ALWAYS.values(), *(call for name, call in CHANGES.items() if name != "EnableKey")):
        call(kms, key)
        if call is CHANGES["ScheduleKeyDeletion"]:
            kms.cancel_key_deletion(KeyId=key)
    kms.enable_key(KeyId=key)
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == b"x"


def test_a_key_that_is_pending_deletion_is_only_read_and_rescued(kms: Any, key: str) -> None:
    """A stack would be deployed with a key that is about to be gone."""
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    wanted = (400, "KMSInvalidStateException", f"{key} is pending deletion.")
    assert refused(lambda: kms.decrypt(CiphertextBlob=blob)) == wanted
    for name, call in {**USES, **CHANGES}.items():
        assert refused(lambda call=call: call(kms, key)) == wanted, name  # type: ignore[misc] # mypy on a default
    for call in ALWAYS.values():
        call(kms, key)
    assert kms.cancel_key_deletion(KeyId=key)["KeyId"] == key
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"
    kms.enable_key(KeyId=key)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


@pytest.mark.parametrize("days", [6, 31])
def test_a_window_is_a_week_to_a_month(kms: Any, key: str, days: int) -> None:
    """A deletion window that AWS refuses would pass here."""
    assert code(lambda: kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=days)) == "ValidationException"
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"


def test_a_key_is_gone_when_its_window_has_passed(kms: Any, key: str, clock: Clock) -> None:
    """A key that nobody rescued would live forever, and with it what it encrypted."""
    clock.now = 1_800_000_000.0
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.create_alias(AliasName="alias/web", TargetKeyId=key)
    answer = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert (answer["KeyId"], answer["KeyState"], answer["PendingWindowInDays"]) == (key, "PendingDeletion", 7)
    assert answer["DeletionDate"].timestamp() == clock.now + 7 * DAY
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["DeletionDate"] == answer["DeletionDate"]
    clock.now += 7 * DAY - 1
    kms.describe_key(KeyId=key)
    clock.now += 2
    _gone(kms, key)
    assert code(lambda: kms.describe_key(KeyId="alias/web")) == "NotFoundException"
    message = refused(lambda: kms.decrypt(CiphertextBlob=blob))
    assert message[1] == "AccessDeniedException"
    assert message[2].startswith("The ciphertext refers to a customer master key that does not exist")


def _gone(kms: Any, key: str) -> None:
    until(lambda: all(one["KeyArn"] != key for one in kms.list_keys()["Keys"]), "the key is gone")
    message = f"Key '{key}' does not exist"
    assert refused(lambda: kms.describe_key(KeyId=key)) == (400, "NotFoundException", message)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("web", (400, "NotFoundException", "Invalid keyId 'web'")),
        ("alias/none", (400, "NotFoundException", "Alias arn:aws:kms:us-east-1:123456789012:alias/none is not found.")),
        ("arn:aws:kms:eu-west-1:123456789012:key/x", (400, "NotFoundException", "Invalid arn eu-west-1")),
        ("arn:aws:s3:::x", (400, "InvalidArnException", "Invalid arn arn:aws:s3:::x")),
    ],
)
def test_a_key_that_there_is_not_is_told_in_aws_s_words(kms: Any, name: str, wanted: tuple[int, str, str]) -> None:
    """A program that looks at the words would see others than on AWS."""
    assert refused(lambda: kms.describe_key(KeyId=name)) == wanted


def test_only_some_operations_take_an_alias(kms: Any, key: str) -> None:
    """A command that names a key by its alias would work here and fail on AWS."""
    kms.create_alias(AliasName="alias/web", TargetKeyId=key)
    for call in (ALWAYS["DescribeKey"], USES["Encrypt"], USES["GenerateDataKey"]):
        call(kms, "alias/web")
    for name in ("GetKeyPolicy", "GetKeyRotationStatus", "ListResourceTags", "ListGrants"):
        assert code(lambda name=name: ALWAYS[name](kms, "alias/web")) == "NotFoundException", name  # type: ignore[misc]
