"""Certificates for tests."""

from __future__ import annotations

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate(*names: str) -> str:
    """A certificate for these names that is its own authority, with its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (built.public_bytes(serialization.Encoding.PEM) + secret).decode()


def issued(acm: Any, *names: str) -> str:
    """The ARN of a certificate for these names that ACM has issued: one that is requested waits for its validation."""
    pem, mark, key = certificate(*names).partition("-----BEGIN PRIVATE KEY")
    imported = acm.import_certificate(Certificate=pem.encode(), PrivateKey=(mark + key).encode())
    return str(imported["CertificateArn"])
