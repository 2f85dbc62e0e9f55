"""The side of a machine: QEMU's end of a TPM, and a client of NitroTPM's message buffers."""

from __future__ import annotations

import os
import socket
import struct
from io import BytesIO
from typing import TYPE_CHECKING

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from localcloud.attestation import tpm_wire as wire
from localcloud.attestation.message_buffers import AUTH_READ, AUTH_WRITE
from localcloud.attestation.tpm_wire import Command, Reader, Session, sized
from localcloud.compute.tpm import _message

if TYPE_CHECKING:
    from localcloud.compute.tpm import Tpm

INDEX = 0x01000000
SECRET = b"a password of sixty-four bytes at most"
SHA512 = 0x000D
NULL = 0x40000007
INIT = 2  # CMD_INIT


class Client:
    """Says what a machine with one message buffer says to its TPM: by password, or in an HMAC session."""

    def __init__(self, tpm: Tpm, size: int = 8192) -> None:
        """The index of the buffer is of so many bytes."""
        self._qemu = socket.socket(fileno=os.dup(tpm.qemu))
        tpm.handed_over()
        self._data, for_swtpm = socket.socketpair()
        with for_swtpm:
            socket.send_fds(self._qemu, [struct.pack(">I", 16)], [for_swtpm.fileno()])
        assert self._qemu.recv(4) == bytes(4)
        self._qemu.sendall(struct.pack(">II", INIT, 0))
        assert self._qemu.recv(4) == bytes(4)
        self.send(wire.build(0x144, b"\0\0"))  # TPM2_Startup(CLEAR)
        self.size, self.index = size, INDEX
        self.attributes = AUTH_READ | AUTH_WRITE
        self.session: tuple[int, Session, int] | None = None

    def close(self) -> None:
        """The machine goes off."""
        self._data.close()
        self._qemu.close()

    def send(self, command: bytes) -> bytes:
        """What the TPM answers after its header. Raises `wire.Refused`."""
        while True:
            try:
                return self._send(command)
            except wire.Refused as refused:
                if refused.code != wire.RC_RETRY:
                    raise

    def raw(self, command: bytes) -> bytes:
        """The TPM's whole answer."""
        self._data.sendall(command)
        answer = _message(self._data)
        if not answer:
            raise EOFError
        return answer

    def _send(self, command: bytes) -> bytes:
        answer = self.raw(command)
        if wire.code_of(answer) != wire.SUCCESS:
            raise wire.Refused(wire.code_of(answer))
        return answer[wire.HEADER :]

    def start_session(self, *, aes: bool, salted: bool) -> None:
        """Use an HMAC session from now on, as nitro-tpm-attest does, with parameters encrypted both ways if `aes`."""
        nonce, salt, encrypted, key = os.urandom(64), b"", b"", NULL
        if salted:
            key, public = self._endorsement_key()
            salt = os.urandom(32)
            oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"SECRET\0")
            encrypted = public.encrypt(salt, oaep)
        symmetric = struct.pack(">HHH", 0x0006, 128, 0x0043) if aes else struct.pack(">H", 0x0010)
        body = struct.pack(">II", key, NULL) + sized(nonce) + sized(encrypted) + b"\0" + symmetric
        reader = Reader(self.send(wire.build(0x176, body + struct.pack(">H", SHA512))))
        handle, nonce_tpm = reader.number(4), reader.sized()
        session_key = wire.kdfa("sha512", salt, b"ATH", nonce_tpm + nonce, 512) if salted else b""
        attributes = wire.CONTINUE | ((wire.DECRYPT | wire.ENCRYPT) if aes else 0)
        self.session = handle, Session("sha512", session_key, nonce_tpm, 128 if aes else 0), attributes

    def define(self, *, owner: int = wire.OWNER) -> None:
        """Define the buffer."""
        public = struct.pack(">IHI", self.index, SHA512, self.attributes) + sized(b"") + struct.pack(">H", self.size)
        self._run(wire.DEFINE_SPACE, (owner,), sized(SECRET) + sized(public), struct.pack(">I", owner), b"")

    def write(self, data: bytes, offset: int = 0) -> None:
        """Write into the buffer."""
        self._with_index(wire.NV_WRITE, sized(data) + struct.pack(">H", offset))

    def read(self, size: int, offset: int = 0, *, secret: bytes = SECRET) -> bytes:
        """Read from the buffer."""
        return Reader(self._with_index(wire.NV_READ, struct.pack(">HH", size, offset), secret=secret)).sized()

    def request(self, *, secret: bytes = SECRET) -> None:
        """The vendor command."""
        self._with_index(wire.NSM_REQUEST, b"", secret=secret)

    def undefine(self) -> None:
        """Undefine the buffer, by the owner's empty password, as nitro-tpm-attest does."""
        self.session = None
        self._run(wire.UNDEFINE_SPACE, (wire.OWNER, self.index), b"", b"", b"")

    def attest(self, **given: bytes) -> bytes:
        """A document, or the answer of another kind."""
        asked = {name: given.get(name) for name in ("user_data", "nonce", "public_key")}
        self.define()
        written = cbor2.dumps({"Attestation": asked})
        for at in range(0, len(written), 512):
            self.write(written[at : at + 512], at)
        self.request()
        answer = b"".join(self.read(512, at) for at in range(0, self.size, 512))
        document = cbor2.load(BytesIO(answer))["Attestation"]["document"]
        assert isinstance(document, bytes)
        return document

    def public(self) -> tuple[bytes, bytes]:
        """The buffer's public area and its name."""
        reader = Reader(self.send(wire.build(wire.READ_PUBLIC, struct.pack(">I", self.index))))
        return reader.sized(), reader.sized()

    def _with_index(self, code: int, parameters: bytes, *, secret: bytes = SECRET) -> bytes:
        return self._run(code, (self.index, self.index), parameters, self.public()[1] * 2, secret)

    def _run(self, code: int, handles: tuple[int, ...], parameters: bytes, names: bytes, secret: bytes) -> bytes:
        if self.session is None:
            area = struct.pack(">I", wire.PASSWORD) + sized(b"") + bytes([wire.CONTINUE]) + sized(secret)
            reader = self._exchange(code, handles, area, parameters)
            return reader.take(reader.number(4))
        handle, session, attributes = self.session
        if code in {wire.NV_READ, wire.NSM_REQUEST}:
            attributes &= ~wire.DECRYPT
        if code != wire.NV_READ:
            attributes &= ~wire.ENCRYPT
        one = wire.Authorization(handle, os.urandom(64), attributes, b"")
        plain = Command(code, handles, (one,), parameters)
        command = plain
        if attributes & wire.DECRYPT:
            # CFB's two directions differ: what decrypts at the TPM was encrypted here, with the caller's nonce newer.
            turned = Session(session.algorithm, session.key, one.nonce, session.aes_bits)
            asked = Command(code, handles, (wire.Authorization(handle, session.nonce, attributes, b""),), b"")
            command = Command(code, handles, (one,), turned.encrypted(parameters, asked, secret))
        proof = session.command_hmac(command, names, secret)
        area = struct.pack(">I", handle) + sized(one.nonce) + bytes([attributes]) + sized(proof)
        reader = self._exchange(code, handles, area, command.parameters)
        answer = reader.take(reader.number(4))
        nonce, told, their_proof = reader.sized(), reader.number(1), reader.sized()
        now = Session(session.algorithm, session.key, nonce, session.aes_bits)
        assert their_proof == now.response_hmac(command, answer, secret)
        self.session = handle, now, self.session[2]
        if told & wire.ENCRYPT:
            turned = Session(session.algorithm, session.key, one.nonce, session.aes_bits)
            asked = Command(code, handles, (wire.Authorization(handle, nonce, told, b""),), answer)
            return turned.decrypted(asked, secret)
        return answer

    def _exchange(self, code: int, handles: tuple[int, ...], area: bytes, parameters: bytes) -> Reader:
        body = b"".join(struct.pack(">I", one) for one in handles) + struct.pack(">I", len(area)) + area + parameters
        return Reader(self.send(wire.build(code, body, tag=wire.SESSIONS)))

    def _endorsement_key(self) -> tuple[int, rsa.RSAPublicKey]:
        """The RSA key that TCG's default template describes (TCG EK Credential Profile, template L-1)."""
        policy = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
        public = struct.pack(">HHI", 0x0001, 0x000B, 0x000300B2) + sized(policy)
        public += struct.pack(">HHHHHI", 0x0006, 128, 0x0043, 0x0010, 2048, 0) + sized(bytes(256))
        area = struct.pack(">I", wire.PASSWORD) + sized(b"") + bytes([wire.CONTINUE]) + sized(b"")
        body = struct.pack(">I", 0x4000000B) + struct.pack(">I", len(area)) + area
        body += sized(sized(b"") + sized(b"")) + sized(public) + sized(b"") + bytes(4)
        reader = Reader(self.send(wire.build(0x131, body, tag=wire.SESSIONS)))
        handle = reader.number(4)
        reader.take(4)
        modulus = Reader(reader.sized()[-258:]).sized()
        return handle, rsa.RSAPublicNumbers(65537, int.from_bytes(modulus, "big")).public_key()
