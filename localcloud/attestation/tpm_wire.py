"""Commands of a TPM 2.0 and the answers to them, as bytes, and the HMAC sessions that authorize them.

Decides nothing. Source: TPM 2.0 Library specification, part 1 ("Session-based authorizations": cpHash, rpHash, HMAC and
parameter encryption), part 2 (structures, constants), part 3 (commands).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

HEADER: Final = 10
NO_SESSIONS, SESSIONS = 0x8001, 0x8002
PASSWORD: Final = 0x40000009  # TPM_RS_PW
OWNER: Final = 0x40000001
DEFINE_SPACE, UNDEFINE_SPACE, NV_WRITE, NV_READ, READ_PUBLIC = 0x12A, 0x122, 0x137, 0x14E, 0x169
PCR_READ, FLUSH_CONTEXT = 0x17E, 0x165
NSM_REQUEST: Final = 0x20000001  # TPM2_VENDOR_AWS_NSM_REQUEST of nitro-tpm-attest
SHA384: Final = 0x000C
HASHES: Final = {0x0004: "sha1", 0x000B: "sha256", 0x000C: "sha384", 0x000D: "sha512"}
CONTINUE, DECRYPT, ENCRYPT = 0x01, 0x20, 0x40

# Response codes, with the number of the handle, parameter or session that is meant already in them.
SUCCESS: Final = 0
RC_COMMAND_SIZE, RC_COMMAND_CODE, RC_AUTH_MISSING = 0x142, 0x143, 0x125
RC_SIZE_1, RC_VALUE_1, RC_SIZE_2, RC_ATTRIBUTES_2, RC_HASH_2 = 0x1D5, 0x1C4, 0x2D5, 0x2C2, 0x2C3
RC_RETRY: Final = 0x922
RC_HANDLE_1, RC_HANDLE_2 = 0x18B, 0x28B
RC_AUTH_FAIL_1, RC_BAD_AUTH_1, RC_SYMMETRIC = 0x98E, 0x9A2, 0x996
RC_NV_RANGE, RC_NV_AUTHORIZATION, RC_NV_UNINITIALIZED, RC_NV_DEFINED = 0x146, 0x149, 0x14A, 0x14C


class Refused(Exception):
    """A command that is answered with a response code alone."""

    def __init__(self, code: int) -> None:
        super().__init__(hex(code))
        self.code = code


class Reader:
    """Takes values from bytes, in the order of a TPM's structures. Raises `Refused` at the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        found = self._data[self._at : self._at + size]
        if len(found) < size:
            raise Refused(RC_COMMAND_SIZE)
        self._at += size
        return found

    def number(self, size: int) -> int:
        """The next number of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        """The next TPM2B: a size of two bytes, and so many bytes."""
        return self.take(self.number(2))

    def rest(self) -> bytes:
        """Everything that is left."""
        found = self._data[self._at :]
        self._at = len(self._data)
        return found


def sized(data: bytes) -> bytes:
    """A TPM2B."""
    return struct.pack(">H", len(data)) + data


@dataclass(frozen=True)
class Authorization:
    """One entry of a command's authorization area. `auth` is a password or an HMAC."""

    handle: int
    nonce: bytes
    attributes: int
    auth: bytes


@dataclass(frozen=True)
class Command:
    """A command, taken apart."""

    code: int
    handles: tuple[int, ...]
    authorizations: tuple[Authorization, ...]
    parameters: bytes


def code_of(command: bytes) -> int:
    """The command code of a command; 0 of what is too short."""
    return int.from_bytes(command[6:HEADER], "big") if len(command) >= HEADER else 0


def parse(command: bytes, handles: int) -> Command:
    """Take a command apart that has so many handles. Raises `Refused`."""
    reader = Reader(command)
    tag, _, code = reader.number(2), reader.number(4), reader.number(4)
    found = tuple(reader.number(4) for _ in range(handles))
    authorizations = []
    if tag == SESSIONS:
        area = Reader(reader.take(reader.number(4)))
        while left := area.rest():
            one = Reader(left)
            authorizations.append(Authorization(one.number(4), one.sized(), one.number(1), one.sized()))
            area = Reader(one.rest())
    return Command(code, found, tuple(authorizations), reader.rest())


def build(code: int, body: bytes, *, tag: int = NO_SESSIONS) -> bytes:
    """A command, or with a response code an answer."""
    return struct.pack(">HII", tag, HEADER + len(body), code) + body


@dataclass(frozen=True)
class Session:
    """What an HMAC session of a TPM knows. `aes_bits` is 0 if it encrypts no parameters."""

    algorithm: str
    key: bytes
    nonce: bytes
    aes_bits: int = 0

    def command_hmac(self, command: Command, names: bytes, secret: bytes) -> bytes:
        """The HMAC of a command's first session. `secret` is the authorization value of what it authorizes."""
        one = command.authorizations[0]
        digest = self._hash(struct.pack(">I", command.code) + names + command.parameters)
        return self._hmac(secret, digest, one.nonce, self.nonce, one.attributes)

    def response_hmac(self, command: Command, parameters: bytes, secret: bytes) -> bytes:
        """The HMAC of the answer to a command."""
        one = command.authorizations[0]
        digest = self._hash(struct.pack(">II", SUCCESS, command.code) + parameters)
        return self._hmac(secret, digest, self.nonce, one.nonce, one.attributes)

    def decrypted(self, command: Command, secret: bytes) -> bytes:
        """A command's parameters, with the first, a TPM2B, decrypted."""
        reader = Reader(command.parameters)
        cipher = self._cipher(secret, command.authorizations[0].nonce, self.nonce).decryptor()
        return sized(cipher.update(reader.sized()) + cipher.finalize()) + reader.rest()

    def encrypted(self, parameters: bytes, command: Command, secret: bytes) -> bytes:
        """An answer's parameters, with the first, a TPM2B, encrypted."""
        reader = Reader(parameters)
        cipher = self._cipher(secret, self.nonce, command.authorizations[0].nonce).encryptor()
        return sized(cipher.update(reader.sized()) + cipher.finalize()) + reader.rest()

    def _hash(self, data: bytes) -> bytes:
        return hashlib.new(self.algorithm, data).digest()

    def _hmac(self, secret: bytes, digest: bytes, newer: bytes, older: bytes, attributes: int) -> bytes:
        return hmac.digest(self.key + secret, digest + newer + older + bytes([attributes]), self.algorithm)

    def _cipher(self, secret: bytes, newer: bytes, older: bytes) -> Cipher[CFB]:
        if not self.aes_bits:
            raise Refused(RC_SYMMETRIC)
        stream = kdfa(self.algorithm, self.key + secret, b"CFB", newer + older, self.aes_bits + 128)
        return Cipher(algorithms.AES(stream[: self.aes_bits // 8]), CFB(stream[self.aes_bits // 8 :]))


def kdfa(algorithm: str, key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """The key derivation function KDFa: SP 800-108 in counter mode."""
    stream = b""
    while len(stream) * 8 < bits:
        counter = struct.pack(">I", len(stream) // hashlib.new(algorithm).digest_size + 1)
        stream += hmac.digest(key, counter + label + b"\0" + context + struct.pack(">I", bits), algorithm)
    return stream[: bits // 8]
