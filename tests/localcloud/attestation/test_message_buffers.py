"""A machine asks its TPM for an attestation document as nitro-tpm-attest does: real swtpms, and no machine."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING

import cbor2
import pytest

from localcloud.attestation import documents
from localcloud.attestation import tpm_wire as wire
from localcloud.attestation.message_buffers import NO_DA
from localcloud.attestation.tpm_wire import Reader, Refused, sized
from localcloud.compute.tpm import FOLDER, Tpm
from localcloud.processes.children import Children
from tests.localcloud.attestation.machine import INDEX, SECRET, Client
from tests.localcloud.balancer.world import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.machines


@pytest.fixture
def attestor(tmp_path: Path) -> documents.Attestor:
    return documents.Attestor(tmp_path)


@pytest.fixture
def tpm(tmp_path: Path, attestor: documents.Attestor) -> Iterator[Tpm]:
    folder = tmp_path / "a machine, with a comma"
    folder.mkdir()
    started = Tpm(folder, Children(tmp_path / "children"), attestor, "i-0a")
    yield started
    started.kill()


@pytest.fixture
def client(tpm: Tpm) -> Iterator[Client]:
    connected = Client(tpm)
    yield connected
    connected.close()


SESSIONS = {
    "password": None,
    "HMAC": {"aes": False, "salted": False},
    "encrypted": {"aes": True, "salted": False},
    "salted": {"aes": True, "salted": True},
}


@pytest.mark.parametrize("kind", SESSIONS)
@pytest.mark.parametrize("size", [100, 8192])
def test_what_was_written_is_read(client: Client, kind: str, size: int) -> None:
    """An NV index, swtpm's own or one that is made up here, would not keep what a machine writes into it.

    The same client speaks to both, so what is made up authorizes and encrypts as a TPM does.
    """
    session = SESSIONS[kind]
    if session:
        client.start_session(**session)
    client.size = size
    client.define()
    client.write(b"one")
    client.write(b"two", 50)
    assert (client.read(3), client.read(3, 50)) == (b"one", b"two")
    client.undefine()
    with pytest.raises(Refused):
        client.public()


@pytest.mark.parametrize("kind", SESSIONS)
def test_a_document_is_of_the_registers(client: Client, attestor: documents.Attestor, kind: str) -> None:
    """A machine would get a document of other registers than its TPM's, or without what it asked to have in it."""
    event = struct.pack(">I", 1) + struct.pack(">H", wire.SHA384) + bytes(range(48))
    area = struct.pack(">I", wire.PASSWORD) + sized(b"") + b"\1" + sized(b"")
    extend = struct.pack(">I", 12) + struct.pack(">I", len(area)) + area + event
    client.send(wire.build(0x182, extend, tag=wire.SESSIONS))  # TPM2_PCR_Extend
    selection = struct.pack(">IHB", 1, wire.SHA384, 3) + bytes([0, 1 << 4, 0])
    reader = Reader(client.send(wire.build(wire.PCR_READ, selection)))
    reader.take(14 + 4)
    told = reader.sized()
    session = SESSIONS[kind]
    if session:
        client.start_session(**session)
    given = {"public_key": b"key", "user_data": b"data" * 256, "nonce": b"once"}
    document = documents.verify(client.attest(**given), attestor.root)
    assert document.pcrs[12] == told != bytes(48)
    assert sorted(document.pcrs) == list(range(24))
    assert (document.module_id, document.public_key, document.user_data, document.nonce) == ("i-0a", *given.values())


@pytest.mark.parametrize("kind", SESSIONS)
def test_a_wrong_password_reads_and_asks_nothing(client: Client, kind: str) -> None:
    """Another process of the machine could read a request, or ask with a buffer that is not its own."""
    session = SESSIONS[kind]
    if session:
        client.start_session(**session)
    client.attributes |= NO_DA
    client.define()
    client.write(b"request")
    before = client.session
    for attempt in (lambda: client.read(7, secret=SECRET + b"!"), lambda: client.request(secret=b"")):
        client.session = before
        with pytest.raises(Refused) as refused:
            attempt()
        assert refused.value.code in {wire.RC_AUTH_FAIL_1, wire.RC_BAD_AUTH_1}
    client.session = before
    assert client.read(7) == b"request"


def test_a_changed_command_is_refused(client: Client) -> None:
    """What comes between the machine and its TPM could write something else in the machine's session."""
    client.start_session(aes=False, salted=True)
    client.define()
    handle, session, _ = client.session or (0, None, 0)
    assert session is not None
    one = wire.Authorization(handle, bytes(64), wire.CONTINUE, b"")
    asked = wire.Command(wire.NV_WRITE, (INDEX, INDEX), (one,), sized(b"mine") + b"\0\0")
    proof = session.command_hmac(asked, client.public()[1] * 2, SECRET)
    area = struct.pack(">I", handle) + sized(one.nonce) + bytes([wire.CONTINUE]) + sized(proof)
    body = struct.pack(">III", INDEX, INDEX, len(area)) + area + sized(b"mind") + b"\0\0"
    with pytest.raises(Refused):
        client.send(wire.build(wire.NV_WRITE, body, tag=wire.SESSIONS))


def test_buffers_have_limits(client: Client) -> None:
    """A client would be written against a TPM that is more generous than NitroTPM."""
    client.size = 8193
    with pytest.raises(Refused, match=hex(wire.RC_SIZE_2)):
        client.define()
    client.size = 8192
    with pytest.raises(Refused, match=hex(wire.RC_HANDLE_1)):
        client.define(owner=0x4000000C)
    client.define()
    with pytest.raises(Refused, match=hex(wire.RC_NV_DEFINED)):
        client.define()
    with pytest.raises(Refused, match=hex(wire.RC_NV_UNINITIALIZED)):
        client.read(1)
    with pytest.raises(Refused, match=hex(wire.RC_NV_UNINITIALIZED)):
        client.request()
    with pytest.raises(Refused, match=hex(wire.RC_SIZE_1)):
        client.write(bytes(1025))
    with pytest.raises(Refused, match=hex(wire.RC_NV_RANGE)):
        client.write(b"12", 8191)
    client.write(b"1")
    with pytest.raises(Refused, match=hex(wire.RC_VALUE_1)):
        client.read(1025)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"\xff", "InvalidArgument"),
        (cbor2.dumps(1), "InvalidArgument"),
        (cbor2.dumps("GetRandom"), "InvalidOperation"),
        (cbor2.dumps({"DescribePCR": {"index": 4}}), "InvalidOperation"),
        (cbor2.dumps({"Attestation": {"nonce": "text"}}), "InvalidArgument"),
        (cbor2.dumps({"Attestation": {"nonce": bytes(1025)}}), "InputTooLarge"),
    ],
)
def test_a_wrong_request_is_answered_with_an_error(client: Client, request_: bytes, code: str) -> None:
    """A client would take for a document what is none."""
    client.define()
    for at in range(0, len(request_), 1024):
        client.write(request_[at : at + 1024], at)
    client.request()
    assert cbor2.load(BytesIO(client.read(200))) == {"Error": code}


def test_the_vendor_command_needs_a_buffer(client: Client) -> None:
    """An index that only swtpm has would be answered, though its contents are not known here."""
    client.size = 100
    client.define()
    client.write(b"1")
    with pytest.raises(Refused, match=hex(wire.RC_HANDLE_2)):
        client.request()


def test_the_tpm_ends_with_its_machine_and_keeps_its_state(tpm: Tpm, tmp_path: Path) -> None:
    """A TPM would outlive the machine, or forget at a stop what NitroTPM keeps."""
    client = Client(tpm)
    client.size = 100
    client.define()
    client.write(b"kept")
    client.close()
    until(lambda: not tpm.process.running, "swtpm has ended")
    folder = next((tmp_path / "a machine, with a comma").glob(FOLDER)).parent
    again = Tpm(folder, Children(tmp_path / "children"), documents.Attestor(tmp_path), "i-0a")
    client = Client(again)
    assert client.read(4) == b"kept"
    client.close()
    until(again.end, "swtpm has ended")
