"""What a ciphertext is bound to: its key, its context, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.localcloud.kms.conftest import CONTEXT, code, refused

if TYPE_CHECKING:
    from tests.localcloud.clients import Clients


def test_a_ciphertext_needs_its_context_letter_by_letter(kms: Any, key: str) -> None:
    """A machine of one environment would open what was sealed for another."""
    blob = kms.encrypt(KeyId=key, Plaintext=b"secret", EncryptionContext={**CONTEXT, "a": "b"})["CiphertextBlob"]
    answer = kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "b", **CONTEXT})
    assert (answer["Plaintext"], answer["KeyId"], answer["EncryptionAlgorithm"]) == (
        b"secret",
        key,
        "SYMMETRIC_DEFAULT",
    )
    for context in ({}, CONTEXT, {"environment": "shop/prod", "a": "b"}, {**CONTEXT, "a": "B"}, {**CONTEXT, "ab": ""}):
        wrong = refused(lambda context=context: kms.decrypt(CiphertextBlob=blob, EncryptionContext=context))  # type: ignore[misc]
        assert wrong == (400, "InvalidCiphertextException", "")
    changed = bytes([*blob[:-1], blob[-1] ^ 1])
    assert code(lambda: kms.decrypt(CiphertextBlob=changed, EncryptionContext=CONTEXT)) == "InvalidCiphertextException"
    assert code(lambda: kms.decrypt(CiphertextBlob=b"no ciphertext")) == "InvalidCiphertextException"


def test_a_ciphertext_of_another_key_is_refused(kms: Any, key: str) -> None:
    """A file that was sealed with another stack's key would be opened, or refused for another reason than on AWS."""
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    blob = kms.encrypt(KeyId=other, Plaintext=b"x")["CiphertextBlob"]
    wanted = "The key ID in the request does not identify a CMK that can perform this operation."
    assert refused(lambda: kms.decrypt(KeyId=key, CiphertextBlob=blob)) == (400, "IncorrectKeyException", wanted)
    assert kms.decrypt(KeyId=other, CiphertextBlob=blob)["Plaintext"] == b"x"


@pytest.mark.parametrize(("size", "fine"), [(0, False), (1, True), (4096, True), (4097, False)])
def test_encrypt_takes_four_kilobytes(kms: Any, key: str, size: int, fine: bool) -> None:  # noqa: FBT001 - a table
    """A whole file would be sealed by KMS here, and not on AWS; and the refusal would repeat the secret."""
    if fine:
        kms.encrypt(KeyId=key, Plaintext=b"s" * size)
        return
    status, name, message = refused(lambda: kms.encrypt(KeyId=key, Plaintext=b"s" * size))
    assert (status, name) == (400, "ValidationException")
    assert "at 'plaintext' failed to satisfy constraint: Member must have length" in message
    assert "sss" not in message


def test_a_data_key_is_encrypted_under_the_key(kms: Any, key: str) -> None:
    """A data key would be handed out that nobody can decrypt."""
    made = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=CONTEXT)
    assert len(made["Plaintext"]) == 32
    assert (
        kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)["Plaintext"] == made["Plaintext"]
    )
    without = kms.generate_data_key_without_plaintext(KeyId=key, NumberOfBytes=24)
    assert "Plaintext" not in without
    assert len(kms.decrypt(CiphertextBlob=without["CiphertextBlob"])["Plaintext"]) == 24
    for asked in ({}, {"KeySpec": "AES_256", "NumberOfBytes": 1}):
        wanted = "Please specify either number of bytes or key spec."
        assert refused(lambda asked=asked: kms.generate_data_key(KeyId=key, **asked))[2] == wanted  # type: ignore[misc]
    assert len(kms.generate_random(NumberOfBytes=7)["Plaintext"]) == 7


def test_re_encrypt_moves_a_ciphertext_to_another_key_and_context(kms: Any, key: str) -> None:
    """An editor could not take a file from one key to another."""
    other = kms.create_key()["KeyMetadata"]["Arn"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    asked = {"DestinationKeyId": other, "DestinationEncryptionContext": {"a": "b"}}
    moved = kms.re_encrypt(CiphertextBlob=blob, SourceEncryptionContext=CONTEXT, **asked)
    assert (moved["SourceKeyId"], moved["KeyId"]) == (key, other)
    assert kms.decrypt(CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"a": "b"})["Plaintext"] == b"x"
    assert code(lambda: kms.re_encrypt(CiphertextBlob=blob, **asked)) == "InvalidCiphertextException"


def test_a_dry_run_checks_everything_and_does_nothing(kms: Any, key: str) -> None:
    """A command that asks whether it may would be answered with the plaintext."""
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    assert code(lambda: kms.decrypt(CiphertextBlob=blob, DryRun=True)) == "DryRunOperationException"
    kms.disable_key(KeyId=key)
    assert code(lambda: kms.decrypt(CiphertextBlob=blob, DryRun=True)) == "DisabledException"


def test_a_key_is_used_for_what_it_was_made_for(kms: Any) -> None:
    """A key for signatures would encrypt."""
    signing = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    wanted = f"{signing} key usage is SIGN_VERIFY which is not valid for Encrypt."
    assert refused(lambda: kms.encrypt(KeyId=signing, Plaintext=b"x")) == (400, "InvalidKeyUsageException", wanted)
    asked = {"KeyId": signing, "SigningAlgorithm": "ECDSA_SHA_256", "Message": b"hello"}
    signature = kms.sign(**asked)["Signature"]
    assert kms.verify(**asked, Signature=signature)["SignatureValid"] is True
    kms.disable_key(KeyId=signing)
    assert code(lambda: kms.sign(**asked)) == "DisabledException"
    assert code(lambda: kms.create_key(KeySpec="RSA_2048")) == "ValidationException"
    assert code(lambda: kms.create_key(KeySpec="HMAC_256", KeyUsage="SIGN_VERIFY")) == "ValidationException"


def test_a_key_of_aws_is_for_its_service_alone(kms: Any, clients: Clients) -> None:
    """Secrets would be sealed with `aws/ebs`, which no key policy of ours protects."""
    clients.snapshot(Encrypted=True)
    told = kms.describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]
    assert told["KeyManager"] == "AWS"
    assert code(lambda: kms.encrypt(KeyId="alias/aws/ebs", Plaintext=b"x")) == "AccessDeniedException"
    assert code(lambda: kms.schedule_key_deletion(KeyId=told["KeyId"])) == "AccessDeniedException"


def test_a_request_is_checked_by_the_model(kms: Any, key: str) -> None:
    """A request that AWS cannot read would be served."""
    assert code(lambda: kms.describe_key()) == "ValidationException"
    assert code(lambda: kms.create_key(KeySpec="AES_512")) == "ValidationException"
    assert code(lambda: kms.generate_data_key(KeyId=key, NumberOfBytes=1025)) == "ValidationException"
    assert code(lambda: kms.decrypt(CiphertextBlob=b"x" * 6145)) == "ValidationException"
    assert code(lambda: kms.connect_custom_key_store(CustomKeyStoreId="x")) == "UnsupportedOperationException"
