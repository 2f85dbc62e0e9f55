"""Aliases: names for keys, which may be moved."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localcloud.kms.conftest import code, refused

ARN = "arn:aws:kms:us-east-1:123456789012:"


def test_an_alias_stands_for_a_key_until_it_is_moved(kms: Any, key: str) -> None:
    """A stack's alias would lead to the key of before."""
    other = kms.create_key()["KeyMetadata"]["Arn"]
    for name in ("alias/shop/prod", "alias/shop/two"):
        kms.create_alias(AliasName=name, TargetKeyId=key)
    assert kms.encrypt(KeyId="alias/shop/prod", Plaintext=b"x")["KeyId"] == key
    assert kms.encrypt(KeyId=f"{ARN}alias/shop/prod", Plaintext=b"x")["KeyId"] == key
    kms.update_alias(AliasName="alias/shop/prod", TargetKeyId=other)
    assert kms.describe_key(KeyId="alias/shop/prod")["KeyMetadata"]["Arn"] == other
    assert [one["AliasName"] for one in kms.list_aliases(KeyId=key)["Aliases"]] == ["alias/shop/two"]
    kms.delete_alias(AliasName="alias/shop/prod")
    gone = (400, "NotFoundException", f"Alias {ARN}alias/shop/prod is not found.")
    assert refused(lambda: kms.delete_alias(AliasName="alias/shop/prod")) == gone
    assert refused(lambda: kms.encrypt(KeyId="alias/shop/prod", Plaintext=b"x")) == gone


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("shop", "ValidationException"),
        ("alias/", "ValidationException"),
        ("alias/a:b", "ValidationException"),
        ("alias/a b", "ValidationException"),
        ("alias/aws/ebs", "NotAuthorizedException"),
        ("alias/taken", "AlreadyExistsException"),
    ],
)
def test_names_that_aws_refuses(kms: Any, key: str, name: str, wanted: str) -> None:
    """A stack of some name would not get its alias on AWS."""
    kms.create_alias(AliasName="alias/taken", TargetKeyId=key)
    assert code(lambda: kms.create_alias(AliasName=name, TargetKeyId=key)) == wanted


def test_an_alias_leads_to_a_key_of_its_kind(kms: Any, key: str) -> None:
    """An alias would lead to another alias, or from a key that encrypts to one that signs."""
    kms.create_alias(AliasName="alias/web", TargetKeyId=key)
    signing = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    assert code(lambda: kms.update_alias(AliasName="alias/web", TargetKeyId=signing)) == "ValidationException"
    assert code(lambda: kms.create_alias(AliasName="alias/two", TargetKeyId="alias/web")) == "ValidationException"


def test_lists_come_in_pages(kms: Any, key: str) -> None:
    """Whoever reads one page would miss aliases, keys or tags."""
    for number in range(5):
        kms.create_alias(AliasName=f"alias/x{number}", TargetKeyId=key)
    first = kms.list_aliases(KeyId=key, Limit=3)
    assert (len(first["Aliases"]), first["Truncated"]) == (3, True)
    last = kms.list_aliases(KeyId=key, Limit=3, Marker=first["NextMarker"])
    assert [one["AliasName"] for one in last["Aliases"]] == ["alias/x3", "alias/x4"]
    assert code(lambda: kms.list_aliases(Marker="no marker")) == "InvalidMarkerException"
    assert "alias/aws/ebs" in {one["AliasName"] for one in kms.list_aliases()["Aliases"]}
