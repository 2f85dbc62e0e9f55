"""KMS for attested machines: a request with `Recipient` is answered with a message that only that machine can read.

Decides when a `Recipient` is good and what its answer looks like. Source: KMS API reference (Decrypt, GenerateDataKey,
GenerateRandom: `Recipient`, `CiphertextForRecipient`; RecipientInfo), RFC 5652 (EnvelopedData), RFC 3560 (RSAES-OAEP in
CMS), and messages of KMS's that others published. The messages of refusals are not KMS's own words, which are not
documented.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from moto.kms.models import KmsBackend

from localcloud.attestation import documents

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa

    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

ALGORITHM: Final = "RSAES_OAEP_SHA_256"
ATTESTED: Final = frozenset(
    {"Decrypt", "DeriveSharedSecret", "GenerateDataKey", "GenerateDataKeyPair", "GenerateRandom"}
)
"""The operations that have condition keys of attestation (KMS developer guide, "Condition keys for NitroTPM")."""
ROOT: Final = "attestation_root"
SEQUENCE, SET, OCTET_STRING, TAG_0 = 0x30, 0x31, 0x04, 0xA0
CHUNK: Final = 32
"""Bytes of the encrypted content in one OCTET STRING. KMS takes one or several; here it is several of nearly all."""
_AES_BLOCK: Final = 128


def patch(patches: Patches, root: x509.Certificate) -> None:
    """Trust what `root` vouches for."""
    patches.set(KmsBackend, ROOT, root)


def verified(backend: Moto, recipient: object) -> documents.Document | None:
    """The document of a request's `Recipient`, if it is good; None if there is none or it proves nothing."""
    try:
        return _document(backend, recipient) if recipient else None
    except documents.Invalid:
        return None


def key_of(backend: Moto, recipient: object) -> rsa.RSAPublicKey:
    """The key that a `Recipient`'s answer is encrypted for. Raises `documents.Invalid`."""
    return documents.recipient_key(_document(backend, recipient))


def _document(backend: Moto, recipient: object) -> documents.Document:
    given = recipient if isinstance(recipient, dict) else {}
    if given.get("KeyEncryptionAlgorithm") != ALGORITHM:
        raise documents.Invalid(f"KeyEncryptionAlgorithm must be {ALGORITHM}")
    document = given.get("AttestationDocument") or ""
    try:
        raw = document if isinstance(document, bytes) else base64.b64decode(document, validate=True)
    except (ValueError, TypeError):
        raise documents.Invalid("it is no Base64") from None
    return documents.verify(raw, getattr(backend, ROOT))


def envelope(plain: bytes, key: rsa.RSAPublicKey) -> bytes:
    """A CMS EnvelopedData for a key: AES-256-CBC, its key under RSAES-OAEP with SHA-256, as KMS makes it: in BER."""
    content_key, vector = os.urandom(32), os.urandom(16)
    padder = padding.PKCS7(_AES_BLOCK).padder()
    encryptor = Cipher(algorithms.AES(content_key), modes.CBC(vector)).encryptor()
    encrypted = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    oaep = rsa_padding.OAEP(rsa_padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    subject = _tlv(0x80, hashlib.sha256(der).digest())
    recipient = _tlv(
        SEQUENCE, _VERSION_2 + subject + _OAEP_SHA_256 + _tlv(OCTET_STRING, key.encrypt(content_key, oaep))
    )
    chunks = (encrypted[at : at + CHUNK] for at in range(0, len(encrypted), CHUNK))
    octets = b"".join(_tlv(OCTET_STRING, chunk) for chunk in chunks)
    cipher = _tlv(SEQUENCE, _AES_256_CBC + _tlv(OCTET_STRING, vector))
    content = _open(SEQUENCE, _DATA + cipher + _open(TAG_0, octets))
    enveloped = _open(SEQUENCE, _VERSION_2 + _tlv(SET, recipient) + content)
    return _open(SEQUENCE, _ENVELOPED_DATA + _open(TAG_0, enveloped))


def _tlv(tag: int, content: bytes) -> bytes:
    """One element of DER (X.690, 8.1)."""
    size = len(content).to_bytes(2, "big").lstrip(b"\0")
    short = len(content) < 128
    return bytes([tag, len(content)] if short else [tag, 0x80 | len(size), *size]) + content


def _open(tag: int, content: bytes) -> bytes:
    """BER's indefinite length (X.690, 8.1.3.6): KMS sends these, and many a parser of DER fails at them."""
    return bytes([tag, 0x80]) + content + b"\0\0"


_VERSION_2: Final = _tlv(0x02, b"\2")
_ENVELOPED_DATA: Final = bytes.fromhex("06092a864886f70d010703")
_DATA: Final = bytes.fromhex("06092a864886f70d010701")
_AES_256_CBC: Final = bytes.fromhex("060960864801650304012a")
_SHA_256: Final = _tlv(SEQUENCE, bytes.fromhex("0609608648016503040201") + b"\5\0")
_MGF_1: Final = _tlv(SEQUENCE, bytes.fromhex("06092a864886f70d010108") + _SHA_256)
_OAEP_SHA_256: Final = _tlv(
    SEQUENCE,
    bytes.fromhex("06092a864886f70d010107") + _tlv(SEQUENCE, _tlv(0xA0, _SHA_256) + _tlv(0xA1, _MGF_1)),
)
