"""Key material, and the ciphertexts that it makes: bound to their key and to their encryption context.

Decides what a ciphertext looks like. It names its key and its material, so that one made before a rotation can still be
decrypted, and so that Decrypt needs no key id. AWS does not say what its own look like, and clients must not care. Pure
but for the randomness. Source: KMS cryptographic details, "Encryption operations", "Encryption context".
"""

from __future__ import annotations

import json
import secrets
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAGIC: Final = b"\1\2\2\0"
_NONCE, _ID = 12, 32
_HEADER: Final = struct.Struct(f">{len(_MAGIC)}s{_ID}sB")


class NotOurs(Exception):
    """Bytes that are no ciphertext, were changed, or belong to another context."""


@dataclass(frozen=True)
class Material:
    """A key's material: an AES key of 256 bits, and the id that AWS gives it."""

    id: str
    key: bytes

    @classmethod
    def new(cls) -> Material:
        """As a key gets it when it is made, and with each rotation."""
        return cls(secrets.token_hex(_ID), secrets.token_bytes(32))


def encrypt(key_id: str, material: Material, plaintext: bytes, context: Mapping[str, str]) -> bytes:
    """A ciphertext."""
    header = _HEADER.pack(_MAGIC, bytes.fromhex(material.id), len(key_id)) + key_id.encode()
    nonce = secrets.token_bytes(_NONCE)
    return header + nonce + AESGCM(material.key).encrypt(nonce, plaintext, _bound(header, context))


def key_of(ciphertext: bytes) -> str:
    """The id of the key that made a ciphertext. Raises `NotOurs`."""
    return _read(ciphertext)[1]


def decrypt(ciphertext: bytes, materials: Sequence[Material], context: Mapping[str, str]) -> tuple[bytes, Material]:
    """The plaintext, and the material that it was encrypted with. Raises `NotOurs`."""
    material_id, key_id, end = _read(ciphertext)
    material = next((one for one in materials if one.id == material_id), None)
    if material is None:
        raise NotOurs(key_id)
    nonce, sealed = ciphertext[end : end + _NONCE], ciphertext[end + _NONCE :]
    try:
        return AESGCM(material.key).decrypt(nonce, sealed, _bound(ciphertext[:end], context)), material
    except (InvalidTag, ValueError):
        raise NotOurs(key_id) from None


def _read(ciphertext: bytes) -> tuple[str, str, int]:
    try:
        magic, material, length = _HEADER.unpack_from(ciphertext)
        end = _HEADER.size + length
        key_id = ciphertext[_HEADER.size : end].decode("ascii")
    except (struct.error, UnicodeDecodeError):
        raise NotOurs from None
    if magic != _MAGIC or len(key_id) != length:
        raise NotOurs
    return material.hex(), key_id, end


def _bound(header: bytes, context: Mapping[str, str]) -> bytes:
    """What must be the same again: the order of the context's pairs does not matter, and their case does."""
    return header + json.dumps(dict(context), sort_keys=True).encode()
