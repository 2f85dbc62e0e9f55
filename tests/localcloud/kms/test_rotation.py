"""Rotation: new material for the same key; what is old can still be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.localcloud.balancer.world import until
from tests.localcloud.kms.conftest import code

if TYPE_CHECKING:
    from tests.localcloud.conftest import Clock

DAY = 86_400.0


def test_what_was_encrypted_before_a_rotation_is_still_decrypted(kms: Any, key: str) -> None:
    """A rotation would lock every machine out of its secrets."""
    blobs = []
    for _ in range(3):
        blobs.append(kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"])
        kms.rotate_key_on_demand(KeyId=key)
    used = {kms.decrypt(CiphertextBlob=blob)["KeyMaterialId"] for blob in blobs}
    assert len(used) == 3
    assert [one["RotationType"] for one in kms.list_key_rotations(KeyId=key)["Rotations"]] == ["ON_DEMAND"] * 3
    for _ in range(22):
        kms.rotate_key_on_demand(KeyId=key)
    assert code(lambda: kms.rotate_key_on_demand(KeyId=key)) == "LimitExceededException"


def test_a_key_rotates_by_the_calendar(kms: Any, key: str, clock: Clock) -> None:
    """The rotation that the stack asks for would never happen."""
    clock.now = 1_800_000_000.0
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    told = kms.get_key_rotation_status(KeyId=key)
    assert (told["KeyRotationEnabled"], told["RotationPeriodInDays"]) == (True, 90)
    assert told["NextRotationDate"].timestamp() == clock.now + 90 * DAY
    before = kms.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"]
    clock.now += 91 * DAY
    until(lambda: kms.list_key_rotations(KeyId=key)["Rotations"], "the rotation")
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"] != before
    assert kms.list_key_rotations(KeyId=key)["Rotations"][0]["RotationType"] == "AUTOMATIC"
    kms.schedule_key_deletion(KeyId=key)
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False


@pytest.mark.parametrize("days", [89, 2561])
def test_a_period_has_limits(kms: Any, key: str, days: int) -> None:
    """A setting that AWS refuses would pass."""
    assert code(lambda: kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=days)) == "ValidationException"


@pytest.mark.parametrize(
    "asked",
    [
        {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"},
        {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"},
    ],
)
def test_only_symmetric_keys_rotate(kms: Any, asked: Any) -> None:
    """A key that cannot rotate would say that it does."""
    key = kms.create_key(**asked)["KeyMetadata"]["KeyId"]
    for call in (kms.enable_key_rotation, kms.rotate_key_on_demand, kms.get_key_rotation_status):
        assert code(lambda call=call: call(KeyId=key)) == "UnsupportedOperationException"  # type: ignore[misc]


def test_a_key_without_material_waits_for_it(kms: Any) -> None:
    """A key for imported material would encrypt with material that nobody imported."""
    made = kms.create_key(Origin="EXTERNAL")["KeyMetadata"]
    assert (made["KeyState"], made["Origin"]) == ("PendingImport", "EXTERNAL")
    assert code(lambda: kms.encrypt(KeyId=made["KeyId"], Plaintext=b"x")) == "KMSInvalidStateException"
    assert code(lambda: kms.get_key_rotation_status(KeyId=made["KeyId"])) == "UnsupportedOperationException"
