"""KMS answers a machine that can attest with what only that machine can read, under conditions on its registers."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from localcloud.attestation.documents import Attestor
from tests.localcloud.authorization.conftest import allow, people
from tests.localcloud.clients import refusal

if TYPE_CHECKING:
    from localcloud.server import LocalCloud
    from tests.localcloud.authorization.conftest import People

__all__ = ["people"]

PCRS = {index: bytes([0xA0 + index]) * 48 for index in range(24)}
KEY = rsa.generate_private_key(65537, 2048)
PUBLIC = KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
CONTEXT = {"Environment": "fleetswap/prod"}
ACCOUNT = "arn:aws:iam::123456789012:root"


@pytest.fixture
def attestor(cloud: LocalCloud) -> Attestor:
    """The local cloud's own: it keeps the root in its folder."""
    return Attestor(Path(cloud.status()["directory"]))


def recipient(attestor: Attestor, pcrs: dict[int, bytes] = PCRS, key: bytes | None = PUBLIC) -> dict[str, Any]:
    document = attestor.document("i-0a", pcrs, public_key=key)
    return {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": document}


def opened(message: bytes, tmp_path: Path) -> bytes:
    """What is in a message for our key, as OpenSSL reads it."""
    pem = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-inkey", str(tmp_path / "key.pem")]
    return subprocess.run(command, input=message, capture_output=True, check=True).stdout


def sealed(kms: Any, plain: bytes, policy: list[dict[str, Any]] | None = None) -> tuple[str, bytes]:
    """A key, and something that it encrypted."""
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    blob = kms.encrypt(KeyId=key, Plaintext=plain, EncryptionContext=CONTEXT)["CiphertextBlob"]
    if policy:
        kms.put_key_policy(
            KeyId=key,
            PolicyName="default",
            Policy=json.dumps({"Version": "2012-10-17", "Statement": policy}),
            BypassPolicyLockoutSafetyCheck=True,
        )
    return key, blob


def test_the_answer_is_for_the_machine_alone(people: People, attestor: Attestor, tmp_path: Path) -> None:
    """A data key would come over the wire in plain, or in a form that KMS does not send."""
    kms = people.client("kms", None)
    _, blob = sealed(kms, b"secret" * 20)
    answer = kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT, Recipient=recipient(attestor))
    assert "Plaintext" not in answer
    message = answer["CiphertextForRecipient"]
    assert message[:2] == b"\x30\x80"  # BER's indefinite length, as KMS sends it
    assert opened(message, tmp_path) == b"secret" * 20
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    made = kms.generate_data_key(KeyId=key, KeySpec="AES_256", Recipient=recipient(attestor))
    assert "Plaintext" not in made
    assert (
        opened(made["CiphertextForRecipient"], tmp_path)
        == kms.decrypt(CiphertextBlob=made["CiphertextBlob"])["Plaintext"]
    )
    random = kms.generate_random(NumberOfBytes=7, Recipient=recipient(attestor))
    assert len(opened(random["CiphertextForRecipient"], tmp_path)) == 7
    assert "Plaintext" not in random


def test_a_recipient_that_proves_nothing_is_refused(people: People, attestor: Attestor, tmp_path: Path) -> None:
    """KMS would answer a machine that is none."""
    kms = people.client("kms", None)
    _, blob = sealed(kms, b"secret")
    (tmp_path / "other").mkdir()
    good = recipient(attestor)
    wrong = [
        {**good, "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_1"},
        {"AttestationDocument": good["AttestationDocument"]},
        {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"},
        {**good, "AttestationDocument": b"no document"},
        recipient(Attestor(tmp_path / "other")),
        recipient(attestor, key=None),
    ]
    for one in wrong:
        with pytest.raises(ClientError, match="ValidationException"):
            kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT, Recipient=one)


def measured(pcrs: dict[int, str]) -> list[dict[str, Any]]:
    """The statements of a key that decrypts for machines with these registers."""
    condition = {"StringEquals": {f"kms:RecipientAttestation:NitroTPMPCR{index}": pcrs[index] for index in pcrs}}
    return [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": "*",
            "Condition": condition,
        },
        {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:PutKeyPolicy", "Resource": "*"},
    ]


def test_a_key_opens_for_its_measurements_alone(people: People, attestor: Attestor) -> None:
    """A machine with another kernel, another command line or no TPM at all could read the secrets."""
    wanted = {4: PCRS[4].hex(), 12: PCRS[12].hex()}
    key, blob = sealed(people.client("kms", None), b"secret", measured(wanted))
    machine = people.client("kms", people.user(allow("sts:GetCallerIdentity"), name="machine"))
    asked = {"KeyId": key, "CiphertextBlob": blob, "EncryptionContext": CONTEXT}
    assert "CiphertextForRecipient" in machine.decrypt(**asked, Recipient=recipient(attestor))
    assert "CiphertextForRecipient" in machine.generate_data_key(
        KeyId=key, KeySpec="AES_256", Recipient=recipient(attestor)
    )
    for index in wanted:
        changed = recipient(attestor, {**PCRS, index: bytes([PCRS[index][0] ^ 1]) + PCRS[index][1:]})
        assert refusal(partial(machine.decrypt, **asked, Recipient=changed)) == "AccessDeniedException"
    assert refusal(lambda: machine.decrypt(**asked)) == "AccessDeniedException"


def test_values_are_lower_case(people: People, attestor: Attestor) -> None:
    """A policy with upper-case registers would seem to work here, and refuse every machine on AWS."""
    key, blob = sealed(people.client("kms", None), b"secret", measured({4: PCRS[4].hex().upper()}))
    machine = people.client("kms", people.user(allow("sts:GetCallerIdentity"), name="machine"))
    asked = {"KeyId": key, "CiphertextBlob": blob, "EncryptionContext": CONTEXT}
    assert refusal(lambda: machine.decrypt(**asked, Recipient=recipient(attestor))) == "AccessDeniedException"
