"""Attestation documents are good when KMS would take them, and only then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import cbor2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from localcloud.attestation.documents import Attestor, Document, Invalid, recipient_key, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Later than any test of a long run: a certificate is not valid before it was made.
NOW = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=6)
PCRS = {index: bytes([index]) * 48 for index in range(24)}


def der(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def attestor(tmp_path: Path) -> Attestor:
    return Attestor(tmp_path)


def test_a_document_says_what_it_was_asked_to(attestor: Attestor, tmp_path: Path) -> None:
    """KMS would read other registers or keys than the machine's; or the root would be another after a restart."""
    document = attestor.document("i-0a", PCRS, public_key=b"key", nonce=b"once", now=NOW)
    assert verify(document, Attestor(tmp_path).root, NOW) == Document("i-0a", PCRS, b"key", None, b"once")
    assert document[0] == 0x84  # a COSE_Sign1 without a tag, as Nitro has it


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_document_is_good_for_five_minutes(attestor: Attestor, seconds: int) -> None:
    """Who once read a document could use it for ever."""
    document = attestor.document("i-0a", PCRS, now=NOW)
    assert verify(document, attestor.root, NOW + timedelta(seconds=299))
    with pytest.raises(Invalid):
        verify(document, attestor.root, NOW + timedelta(seconds=seconds))


def test_another_root_proves_nothing(attestor: Attestor, tmp_path: Path) -> None:
    """Anybody could make a root, and a document."""
    (tmp_path / "other").mkdir()
    other = Attestor(tmp_path / "other")
    with pytest.raises(Invalid, match="do not lead to the root"):
        verify(other.document("i-0a", PCRS, now=NOW), attestor.root, NOW)


def changed(document: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    message = cbor2.loads(document)
    payload = cbor2.loads(message[2])
    change(payload)
    return cbor2.dumps([message[0], message[1], cbor2.dumps(payload), message[3]])


def test_a_changed_document_proves_nothing(attestor: Attestor) -> None:
    """A machine could write other registers into its document."""
    document = attestor.document("i-0a", PCRS, now=NOW)
    with pytest.raises(Invalid, match="signature is wrong"):
        verify(changed(document, lambda payload: payload.update(nitrotpm_pcrs={4: bytes(48)})), attestor.root, NOW)


def test_a_chain_from_a_leaf_proves_nothing(attestor: Attestor, tmp_path: Path) -> None:
    """The holder of a machine's certificate could sign with a certificate of its own making."""
    (tmp_path / "other").mkdir()
    forged = Attestor(tmp_path / "other").document("i-0a", PCRS, now=NOW)
    genuine = cbor2.loads(cbor2.loads(attestor.document("i-0a", PCRS, now=NOW))[2])

    def chain(payload: dict[str, Any]) -> None:
        payload["cabundle"] = [*genuine["cabundle"], genuine["certificate"]]

    with pytest.raises(Invalid, match="is no authority"):
        verify(changed(forged, chain), attestor.root, NOW)


@pytest.mark.parametrize("document", [b"", b"\xff", cbor2.dumps({}), cbor2.dumps([b"", {}, b"", b""])])
def test_what_is_no_document_proves_nothing(attestor: Attestor, document: bytes) -> None:
    """A malformed document would end in an error of this program instead of a refusal."""
    with pytest.raises(Invalid):
        verify(document, attestor.root, NOW)


@pytest.mark.parametrize("name", ["cabundle", "certificate", "timestamp"])
def test_a_document_without_a_field_proves_nothing(attestor: Attestor, name: str) -> None:
    """A document could leave out what it is judged by."""
    document = attestor.document("i-0a", PCRS, now=NOW)
    with pytest.raises(Invalid):
        verify(changed(document, lambda payload: payload.pop(name)), attestor.root, NOW)


def test_answers_go_to_rsa_keys_of_2048_bits() -> None:
    """An answer would be encrypted for a key that KMS does not take."""
    key = rsa.generate_private_key(65537, 2048)
    assert recipient_key(Document("i-0a", PCRS, der(key))).key_size == 2048
    weak, curve = rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256R1())  # noqa: S505 - to be refused
    for public in (None, b"no key", der(weak), der(curve)):
        with pytest.raises(Invalid):
            recipient_key(Document("i-0a", PCRS, public))


def test_what_is_not_whole_is_refused_and_never_an_error(attestor: Attestor) -> None:
    """KMS would answer with an internal error, which clients retry; or take bytes that nobody signed."""
    document = attestor.document("i-0a", PCRS, now=NOW)

    def other_version(payload: dict[str, Any]) -> None:
        at = payload["certificate"].index(b"\xa0\x03\x02\x01\x02")  # RFC 5280: version [0] EXPLICIT INTEGER, 2 is v3
        payload["certificate"] = payload["certificate"][: at + 4] + b"\x09" + payload["certificate"][at + 5 :]

    with pytest.raises(Invalid, match=r"no X\.509"):
        verify(changed(document, other_version), attestor.root, NOW)
    for wrong in (document + b"\0", b"\x81" * 100_000, b"\x9b" + b"\xff" * 8, b"\xd8\x1c\x81\xd8\x1d\0"):
        with pytest.raises(Invalid):
            verify(wrong, attestor.root, NOW)
