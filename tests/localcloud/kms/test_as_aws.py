"""A key with everything that a stack gives it, made and read back: what was asked for, as AWS tells it.

Expected answers are whole, so a member that nobody asked for and AWS does not add is an error, too.
"""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import ANY

import pytest

from tests.localcloud.kms.conftest import ACCOUNT, CONTEXT, ROOT, document, statement
from tests.localcloud.wire import Wire

POLICY = document(statement({"AWS": ROOT}))
TAGS = [{"TagKey": "Name", "TagValue": "shop/prod"}]


@pytest.fixture
def wire() -> Wire:
    """What watches the answers."""
    return Wire()


def told(answer: Any) -> Any:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def test_a_stack_s_key(kms: Any, wire: Wire) -> None:
    """The program would read something else of its key than on AWS."""
    wire.watch(kms)
    made = kms.create_key(Description="secrets", Policy=POLICY, Tags=TAGS)["KeyMetadata"]
    arn, key = made["Arn"], made["KeyId"]
    assert arn == f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{key}"
    assert told(kms.describe_key(KeyId=key)) == {
        "KeyMetadata": {
            "AWSAccountId": ACCOUNT,
            "KeyId": key,
            "Arn": arn,
            "CreationDate": ANY,
            "Enabled": True,
            "Description": "secrets",
            "KeyUsage": "ENCRYPT_DECRYPT",
            "KeyState": "Enabled",
            "Origin": "AWS_KMS",
            "KeyManager": "CUSTOMER",
            "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
            "MultiRegion": False,
            "CurrentKeyMaterialId": ANY,
        }
    }
    assert told(kms.get_key_policy(KeyId=key)) == {"Policy": ANY, "PolicyName": "default"}
    assert json.loads(kms.get_key_policy(KeyId=key)["Policy"]) == json.loads(POLICY)
    assert told(kms.list_resource_tags(KeyId=key)) == {"Tags": TAGS, "Truncated": False}
    kms.enable_key_rotation(KeyId=key)
    kms.rotate_key_on_demand(KeyId=key)
    assert told(kms.get_key_rotation_status(KeyId=arn)) == {
        "KeyRotationEnabled": True,
        "KeyId": arn,
        "RotationPeriodInDays": 365,
        "NextRotationDate": ANY,
    }
    kms.create_alias(AliasName="alias/shop/prod", TargetKeyId=key)
    assert told(kms.list_aliases(KeyId=key)) == {
        "Aliases": [
            {
                "AliasName": "alias/shop/prod",
                "AliasArn": f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/shop/prod",
                "TargetKeyId": key,
                "CreationDate": ANY,
                "LastUpdatedDate": ANY,
            }
        ],
        "Truncated": False,
    }
    _rest(kms, key)
    assert wire.problems == []
    assert len(wire.checked) == 26


def _rest(kms: Any, key: str) -> None:
    """Every other operation, for the sake of what its answer looks like."""
    grant = kms.create_grant(KeyId=key, GranteePrincipal=ROOT, Operations=["Decrypt"], Constraints=_within())
    kms.list_grants(KeyId=key)
    kms.retire_grant(GrantToken=grant["GrantToken"])
    data = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=CONTEXT)
    assert set(told(data)) == {"CiphertextBlob", "Plaintext", "KeyId", "KeyMaterialId"}
    opened = kms.decrypt(CiphertextBlob=data["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert set(told(opened)) == {"KeyId", "Plaintext", "EncryptionAlgorithm", "KeyMaterialId"}
    sealed = kms.encrypt(KeyId=key, Plaintext=b"x")
    assert set(told(sealed)) == {"CiphertextBlob", "KeyId", "EncryptionAlgorithm"}
    kms.re_encrypt(CiphertextBlob=sealed["CiphertextBlob"], DestinationKeyId=key)
    kms.generate_random(NumberOfBytes=8)
    kms.list_keys()
    kms.list_key_rotations(KeyId=key)
    kms.put_key_policy(KeyId=key, Policy=POLICY)
    kms.tag_resource(KeyId=key, Tags=TAGS)
    kms.update_key_description(KeyId=key, Description="other")
    kms.disable_key(KeyId=key)
    kms.enable_key(KeyId=key)
    assert set(told(kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7))) == {
        *("KeyId", "DeletionDate", "KeyState", "PendingWindowInDays"),
    }
    kms.cancel_key_deletion(KeyId=key)


def _within() -> Any:
    return {"EncryptionContextEquals": CONTEXT}
