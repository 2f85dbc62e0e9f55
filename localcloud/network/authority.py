"""The local cloud's certificate authority: certificates for the names of AWS's services and of the internet.

Decides how long they are good for. The authority lasts as long as the local cloud's directory: an image that trusts it
goes on doing so when the local cloud starts again. Its certificate is the file `ca.pem`, and `/_localcloud/ca`.
"""

from __future__ import annotations

import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence

CERTIFICATE, KEY = "ca.pem", "ca.key"
AUTHORITY_DAYS: Final = 3650
DAYS: Final = 90
BACKDATED: Final = timedelta(days=1)  # a guest's clock may be behind


class Authority:
    """An authority with its files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / CERTIFICATE
        key_path = folder / KEY
        try:
            self._certificate = x509.load_pem_x509_certificate(self.path.read_bytes())
            key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        except (FileNotFoundError, ValueError):
            key = ec.generate_private_key(ec.SECP256R1())
            self._certificate = _authority(key)
            key_path.touch(mode=0o600)
            key_path.write_bytes(_pem(key))
            self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{key_path} holds another kind of key")
        self._key = key

    def pem(self) -> str:
        """The authority's certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def context(self, names: Sequence[str]) -> ssl.SSLContext:
        """What a server for these host names answers TLS with."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        certificate = (
            _builder(x509.Name([]), key.public_key(), now, DAYS)
            .issuer_name(self._certificate.subject)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # the ssl module takes files only
            file.write(certificate.public_bytes(serialization.Encoding.PEM) + _pem(key))
            file.flush()
            context.load_cert_chain(file.name)
        return context


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fleetswap local cloud")])
    return (
        _builder(name, key.public_key(), datetime.now(UTC), AUTHORITY_DAYS)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )


def _builder(subject: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
