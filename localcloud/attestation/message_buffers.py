"""A stand-in for what NitroTPM does that no other TPM does: message buffers, and the vendor command that answers them.

It stands between a machine and its TPM, which is swtpm, and passes on whatever it does not answer itself. Decides what
is answered here: an NV index too large for swtpm (2,048 bytes; NitroTPM's clients define 8,192), as long as the machine
runs, and the vendor command on such an index. The registers of a document are read from the TPM itself. Every command
is authorized as in a TPM, by password or HMAC session, with parameters encrypted or not.

It differs from NitroTPM in this: a buffer allows AUTHREAD and AUTHWRITE alone, the owner's password is empty, a command
has one session, and a session's nonce stays the same after a command that was answered here (the client takes what it
is told). Source of the protocol: nitro-tpm-attest in NitroTPM-Tools.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from localcloud.attestation import nsm
from localcloud.attestation import tpm_wire as wire
from localcloud.attestation.tpm_wire import Command, Reader, Refused, Session, sized

if TYPE_CHECKING:
    from collections.abc import Callable

    Sign = Callable[..., bytes]
    """Takes the registers, `public_key`, `user_data` and `nonce`; answers a signed document."""


SWTPM_INDEX: Final = 2048  # libtpms: MAX_NV_INDEX_SIZE
LARGEST: Final = 8192  # what nitro-tpm-attest defines; more is not known to work
CHUNK: Final = 1024  # TPM_PT_NV_BUFFER_MAX of libtpms
PCRS: Final = 24
AUTH_WRITE, AUTH_READ, NO_DA, WRITTEN = 1 << 2, 1 << 18, 1 << 25, 1 << 29
SESSION_MAGIC: Final = (0x44BE9F45).to_bytes(4, "big")  # libtpms: NVMarshal.c, SESSION_Marshal
_ALG_NULL, _ALG_AES = 0x0010, 0x0006


@dataclass
class _Buffer:
    index: int
    name_algorithm: int
    attributes: int
    policy: bytes
    secret: bytes = field(repr=False)
    data: bytearray = field(repr=False)

    @property
    def public(self) -> bytes:
        """TPMS_NV_PUBLIC."""
        return (
            struct.pack(">IHI", self.index, self.name_algorithm, self.attributes)
            + sized(self.policy)
            + struct.pack(">H", len(self.data))
        )

    @property
    def name(self) -> bytes:
        digest = hashlib.new(wire.HASHES[self.name_algorithm], self.public).digest()
        return struct.pack(">H", self.name_algorithm) + digest


class MessageBuffers:
    """The buffers of one machine.

    `transmit` executes a command at its TPM, `volatile` answers the TPM's volatile state (swtpm's blob, in which the
    keys of its sessions are), `sign` makes documents.
    """

    def __init__(self, transmit: Callable[[bytes], bytes], volatile: Callable[[], bytes], sign: Sign) -> None:
        self._transmit, self._volatile, self._sign = transmit, volatile, sign
        self._buffers: dict[int, _Buffer] = {}
        self._guarded = False

    def __call__(self, command: bytes) -> bytes:
        """Answer a command."""
        try:
            answered = self._answered(command)
        except Refused as refused:
            return wire.build(refused.code, b"")
        return self._transmit(command) if answered is None else answered

    def _answered(self, command: bytes) -> bytes | None:
        """The answer to a command that concerns a buffer; None for every other."""
        code = wire.code_of(command)
        if code == wire.DEFINE_SPACE:
            return self._define(wire.parse(command, 1))
        if code == wire.READ_PUBLIC:
            parsed = wire.parse(command, 1)
            buffer = self._buffers.get(parsed.handles[0])
            return None if buffer is None else self._read_public(parsed, buffer)
        work = {
            wire.UNDEFINE_SPACE: self._undefine,
            wire.NV_WRITE: self._write,
            wire.NV_READ: self._read,
            wire.NSM_REQUEST: self._request,
        }.get(code)
        if work is None:
            return None
        parsed = wire.parse(command, 2)
        buffer = self._buffers.get(parsed.handles[1])
        if buffer is None and code == wire.NSM_REQUEST:
            raise Refused(wire.RC_HANDLE_2)
        return None if buffer is None else work(parsed, buffer)

    def _define(self, command: Command) -> bytes | None:
        reader = Reader(command.parameters)
        reader.sized()  # the password, which may be encrypted
        public = Reader(reader.sized())
        index, name_algorithm, attributes = public.number(4), public.number(2), public.number(4)
        policy, size = public.sized(), public.number(2)
        if size <= SWTPM_INDEX:
            return None
        if command.handles[0] != wire.OWNER:
            raise Refused(wire.RC_HANDLE_1)
        if size > LARGEST:
            raise Refused(wire.RC_SIZE_2)
        if attributes & ~NO_DA != AUTH_READ | AUTH_WRITE:
            raise Refused(wire.RC_ATTRIBUTES_2)
        if name_algorithm not in wire.HASHES:
            raise Refused(wire.RC_HASH_2)
        there = self._transmit(wire.build(wire.READ_PUBLIC, struct.pack(">I", index)))
        if index in self._buffers or wire.code_of(there) == wire.SUCCESS:
            raise Refused(wire.RC_NV_DEFINED)

        def work(parameters: bytes) -> bytes:
            secret = Reader(parameters).sized().rstrip(b"\0")
            self._buffers[index] = _Buffer(index, name_algorithm, attributes, policy, secret, bytearray(size))
            return b""

        return self._authorized(command, struct.pack(">I", wire.OWNER), b"", work)

    def _undefine(self, command: Command, buffer: _Buffer) -> bytes:
        if command.handles[0] != wire.OWNER:
            raise Refused(wire.RC_HANDLE_1)

        def work(_: bytes) -> bytes:
            del self._buffers[buffer.index]
            return b""

        return self._authorized(command, struct.pack(">I", wire.OWNER) + buffer.name, b"", work)

    def _read_public(self, command: Command, buffer: _Buffer) -> bytes:
        public = sized(buffer.public) + sized(buffer.name)
        if not command.authorizations:
            return wire.build(wire.SUCCESS, public)
        return self._authorized(command, buffer.name, b"", lambda _: public)

    def _write(self, command: Command, buffer: _Buffer) -> bytes:
        def work(parameters: bytes) -> bytes:
            reader = Reader(parameters)
            data, offset = reader.sized(), reader.number(2)
            if len(data) > CHUNK:
                raise Refused(wire.RC_SIZE_1)
            if offset + len(data) > len(buffer.data):
                raise Refused(wire.RC_NV_RANGE)
            buffer.data[offset : offset + len(data)] = data
            buffer.attributes |= WRITTEN
            return b""

        return self._by_owner_of(command, buffer, work)

    def _read(self, command: Command, buffer: _Buffer) -> bytes:
        def work(parameters: bytes) -> bytes:
            reader = Reader(parameters)
            size, offset = reader.number(2), reader.number(2)
            if size > CHUNK:
                raise Refused(wire.RC_VALUE_1)
            if not buffer.attributes & WRITTEN:
                raise Refused(wire.RC_NV_UNINITIALIZED)
            if offset + size > len(buffer.data):
                raise Refused(wire.RC_NV_RANGE)
            return sized(bytes(buffer.data[offset : offset + size]))

        return self._by_owner_of(command, buffer, work)

    def _request(self, command: Command, buffer: _Buffer) -> bytes:
        """The vendor command: the request in the buffer is replaced by the answer to it."""

        def work(_: bytes) -> bytes:
            if not buffer.attributes & WRITTEN:
                raise Refused(wire.RC_NV_UNINITIALIZED)
            pcrs = self._pcrs()
            answer = nsm.answer(bytes(buffer.data), lambda **given: self._sign(pcrs, **given))
            if len(answer) > len(buffer.data):
                answer = nsm.TOO_SMALL
            buffer.data[: len(answer)] = answer
            return b""

        return self._by_owner_of(command, buffer, work)

    def _by_owner_of(self, command: Command, buffer: _Buffer, work: Callable[[bytes], bytes]) -> bytes:
        if command.handles[0] != buffer.index:
            raise Refused(wire.RC_NV_AUTHORIZATION)
        if not buffer.attributes & NO_DA and not self._guarded:
            self._guarded = True  # a TPM first notes, in what lasts, that passwords are tried
            raise Refused(wire.RC_RETRY)
        return self._authorized(command, buffer.name * 2, buffer.secret, work)

    def _authorized(self, command: Command, names: bytes, secret: bytes, work: Callable[[bytes], bytes]) -> bytes:
        """Do `work` on a command's parameters if its session may; the answer. Raises `Refused`."""
        if len(command.authorizations) != 1:
            raise Refused(wire.RC_AUTH_MISSING)
        one = command.authorizations[0]
        if one.handle == wire.PASSWORD:
            if not hmac.compare_digest(one.auth.rstrip(b"\0"), secret):
                raise Refused(wire.RC_BAD_AUTH_1)
            answer, proof = work(command.parameters), sized(b"") + bytes([wire.CONTINUE]) + sized(b"")
        else:
            session = self._session(command, names, secret)
            decrypts = one.attributes & wire.DECRYPT
            answer = work(session.decrypted(command, secret) if decrypts else command.parameters)
            if one.attributes & wire.ENCRYPT and answer:
                answer = session.encrypted(answer, command, secret)
            proof = sized(session.nonce) + bytes([one.attributes])
            proof += sized(session.response_hmac(command, answer, secret))
            if not one.attributes & wire.CONTINUE:
                self._transmit(wire.build(wire.FLUSH_CONTEXT, struct.pack(">I", one.handle)))
        return wire.build(wire.SUCCESS, struct.pack(">I", len(answer)) + answer + proof, tag=wire.SESSIONS)

    def _session(self, command: Command, names: bytes, secret: bytes) -> Session:
        """The TPM's session whose HMAC the command has. Raises `Refused` if none made it."""
        given = command.authorizations[0].auth
        for session in sessions(self._volatile()):
            if hmac.compare_digest(session.command_hmac(command, names, secret), given):
                return session
        raise Refused(wire.RC_AUTH_FAIL_1)

    def _pcrs(self) -> dict[int, bytes]:
        """The registers of the SHA-384 bank. A TPM answers at most eight at once."""
        found: dict[int, bytes] = {}
        for first in range(0, PCRS, 8):
            bits = (0xFF << first).to_bytes(3, "little")
            selection = struct.pack(">IHB", 1, wire.SHA384, len(bits)) + bits
            reader = Reader(self._transmit(wire.build(wire.PCR_READ, selection))[wire.HEADER :])
            reader.take(4 + 4 + 2 + 1 + len(bits))  # the update counter, and the selection again
            found |= {first + at: reader.sized() for at in range(reader.number(4))}
        return found


def sessions(volatile: bytes) -> list[Session]:
    """The HMAC sessions in a TPM's volatile state, as libtpms writes it (0.9: NVMarshal.c, SESSION_Marshal)."""
    found = []
    at = volatile.find(SESSION_MAGIC)
    while at >= 0:
        with contextlib.suppress(Refused, KeyError):  # the bytes of the magic number may stand there by chance
            found.append(_read_session(Reader(volatile[at + len(SESSION_MAGIC) :])))
        at = volatile.find(SESSION_MAGIC, at + 1)
    return found


def _read_session(reader: Reader) -> Session:
    reader.take(2 + 4 + 4 + 8 + 8)  # version, attributes, PCR counter, start, timeout
    reader.take(reader.number(1))  # epoch
    reader.take(4)  # command
    algorithm = wire.HASHES[reader.number(2)]
    reader.take(1)  # locality
    symmetric, bits = reader.number(2), 0
    if symmetric != _ALG_NULL:
        bits = reader.number(2) if symmetric == _ALG_AES else 0
        reader.take(2)  # the mode; of XOR, the hash
    return Session(algorithm, reader.sized(), reader.sized(), bits)
