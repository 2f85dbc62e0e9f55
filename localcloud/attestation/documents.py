"""A stand-in for the AWS Nitro Attestation PKI: it signs attestation documents and validates them as KMS does.

Decides what a document holds and when one is good. Its root is the local cloud's own, in `folder`, and as long as that
lasts: AWS's root signs nothing here, and this one nothing that AWS would take. Sources: EC2 user guide ("Validate a
NitroTPM Attestation Document": fields, sizes, checks), RFC 9052 (COSE_Sign1), and KMS developer guide ("Cryptographic
attestation": a document is taken for five minutes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CERTIFICATE, KEY = "nitro-attestation.pem", "nitro-attestation.key"
ROOT_DAYS: Final = 3650
LEAF_HOURS: Final = 3  # as AWS's: a machine's certificate is renewed long before
BACKDATED: Final = timedelta(minutes=5)
MOST_AGE: Final = timedelta(minutes=5)
MOST_OPTIONAL: Final = 1024  # bytes of public_key, user_data, nonce each
MOST_CERTIFICATE: Final = 1024
PCR_BYTES: Final = 48
COORDINATE: Final = 48  # bytes of a number of P-384
LEAST_RSA: Final = 2048
ES384: Final = -35  # RFC 9053, table 1
_PROTECTED: Final = cbor2.dumps({1: ES384})


class Invalid(Exception):
    """A document that proves nothing; the text says why."""


@dataclass(frozen=True)
class Document:
    """An attestation document that was found good. `pcrs` are SHA-384 values."""

    module_id: str
    pcrs: Mapping[int, bytes] = field(default_factory=dict)
    public_key: bytes | None = None
    user_data: bytes | None = None
    nonce: bytes | None = None


class Attestor:
    """The root with its files in `folder`, and one certificate for each machine."""

    def __init__(self, folder: Path) -> None:
        path, key_path = folder / CERTIFICATE, folder / KEY
        try:
            self.root = x509.load_pem_x509_certificate(path.read_bytes())
            key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        except (FileNotFoundError, ValueError):
            key = ec.generate_private_key(ec.SECP384R1())
            now = datetime.now(UTC)
            self.root = _certificate(_name("local.nitro-enclaves"), key.public_key(), now, None, key)
            key_path.touch(mode=0o600)
            key_path.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
            path.write_bytes(self.root.public_bytes(serialization.Encoding.PEM))
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{key_path} holds another kind of key")
        self._key = key

    def document(
        self,
        module_id: str,
        pcrs: Mapping[int, bytes],
        *,
        public_key: bytes | None = None,
        user_data: bytes | None = None,
        nonce: bytes | None = None,
        now: datetime | None = None,
    ) -> bytes:
        """A signed document of this moment, as the bytes of a COSE_Sign1 without a tag, which is how Nitro has it."""
        now = now or datetime.now(UTC)
        key = ec.generate_private_key(ec.SECP384R1())
        leaf = _certificate(_name(module_id), key.public_key(), now, self.root, self._key)
        payload = cbor2.dumps(
            {
                "module_id": module_id,
                "digest": "SHA384",
                "timestamp": int(now.timestamp() * 1000),
                "nitrotpm_pcrs": dict(pcrs),
                "certificate": leaf.public_bytes(serialization.Encoding.DER),
                "cabundle": [self.root.public_bytes(serialization.Encoding.DER)],
                "public_key": public_key,
                "user_data": user_data,
                "nonce": nonce,
            }
        )
        signature = key.sign(_signed(_PROTECTED, payload), ec.ECDSA(hashes.SHA384()))
        raw = b"".join(number.to_bytes(COORDINATE, "big") for number in decode_dss_signature(signature))
        return cbor2.dumps([_PROTECTED, {}, payload, raw])


def verify(document: bytes, root: x509.Certificate, now: datetime | None = None) -> Document:
    """The content of a document that chains to `root`, is signed by its own certificate and is of these five minutes.

    Raises `Invalid`.
    """
    now = now or datetime.now(UTC)
    protected, payload, signature = _cose(document)
    told = _mapping(payload)
    bundle = _field(told, "cabundle", list)
    if not bundle:
        raise Invalid("it has no cabundle")
    chain = [_read_certificate(one) for one in [*bundle, _field(told, "certificate", bytes)]]
    _check_chain(chain, root, now)
    key = chain[-1].public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise Invalid("its certificate has no P-384 key")
    halves = (int.from_bytes(signature[:COORDINATE], "big"), int.from_bytes(signature[COORDINATE:], "big"))
    try:
        key.verify(encode_dss_signature(*halves), _signed(protected, payload), ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise Invalid("its signature is wrong") from None
    _check_age(_field(told, "timestamp", int), now)
    return _content(told)


def recipient_key(document: Document) -> rsa.RSAPublicKey:
    """The RSA key that a document names for answers (KMS API reference, RecipientInfo). Raises `Invalid`."""
    if document.public_key is None:
        raise Invalid("it has no public key")
    try:
        key = serialization.load_der_public_key(document.public_key)
    except ValueError:
        raise Invalid("its public key is no DER SubjectPublicKeyInfo") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < LEAST_RSA:
        raise Invalid(f"its public key is no RSA key of {LEAST_RSA} bits or more")
    return key


def _cose(document: bytes) -> tuple[bytes, bytes, bytes]:
    try:
        stream = BytesIO(document)
        message = cbor2.load(stream)
    except (cbor2.CBORError, ValueError):
        raise Invalid("it is no CBOR") from None
    if stream.read():
        raise Invalid("something follows it")
    match message:
        case [bytes(protected), dict(), bytes(payload), bytes(signature)] if len(signature) == 2 * COORDINATE:
            pass
        case _:
            raise Invalid("it is no COSE_Sign1")
    if protected != _PROTECTED:
        raise Invalid("its algorithm is not ES384")
    return protected, payload, signature


def _mapping(payload: bytes) -> dict[str, Any]:
    try:
        told = cbor2.loads(payload, allow_duplicate_keys=False)
    except (cbor2.CBORError, ValueError):
        raise Invalid("its payload is no CBOR") from None
    if not isinstance(told, dict):
        raise Invalid("its payload is no map")
    return told


def _field(told: Mapping[str, Any], name: str, kind: type) -> Any:  # noqa: ANN401 - CBOR
    value = told.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Invalid(f"its {name} is missing or wrong")
    return value


def _read_certificate(der: object) -> x509.Certificate:
    if not isinstance(der, bytes) or not 1 <= len(der) <= MOST_CERTIFICATE:
        raise Invalid("a certificate is missing or too long")
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion):
        raise Invalid("a certificate is no X.509") from None


def _check_chain(chain: list[x509.Certificate], root: x509.Certificate, now: datetime) -> None:
    """Each certificate is signed by the one before it, is good now, and the first is the root."""
    if chain[0] != root:
        raise Invalid("its certificates do not lead to the root")
    for one in chain:
        if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            raise Invalid("a certificate is not valid now")
    for issuer, one in pairwise(chain):
        if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise Invalid("a certificate is signed by one that is no authority")
        try:
            one.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            raise Invalid("a certificate is not signed by the one before it") from None


def _check_age(milliseconds: int, now: datetime) -> None:
    try:
        made = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise Invalid("its timestamp is wrong") from None
    if now - made > MOST_AGE or made - now > BACKDATED:
        raise Invalid("it is older than five minutes")


def _content(told: Mapping[str, Any]) -> Document:
    if told.get("digest") != "SHA384":
        raise Invalid("its digest is not SHA384")
    pcrs = _field(told, "nitrotpm_pcrs", dict)
    for index, value in pcrs.items():
        if not isinstance(index, int) or not 0 <= index <= 31 or not isinstance(value, bytes):
            raise Invalid("its nitrotpm_pcrs are wrong")
        if len(value) != PCR_BYTES:
            raise Invalid("its nitrotpm_pcrs are wrong")
    optional = {name: told.get(name) for name in ("public_key", "user_data", "nonce")}
    for name, value in optional.items():
        if value is not None and not (isinstance(value, bytes) and len(value) <= MOST_OPTIONAL):
            raise Invalid(f"its {name} is wrong")
    return Document(_field(told, "module_id", str), pcrs, **optional)


def _signed(protected: bytes, payload: bytes) -> bytes:
    return cbor2.dumps(["Signature1", protected, b"", payload])  # RFC 9052, section 4.4


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    issuer: x509.Certificate | None,
    signer: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    constraints = x509.BasicConstraints(ca=issuer is None, path_length=0 if issuer is None else None)
    life = timedelta(days=ROOT_DAYS) if issuer is None else timedelta(hours=LEAF_HOURS)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + life)
        .add_extension(constraints, critical=True)
        .sign(signer, hashes.SHA384())
    )
