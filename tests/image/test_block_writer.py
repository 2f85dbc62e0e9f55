"""PutSnapshotBlock on the wire: what is sent, what each answer means, and what becomes of the connection."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import MetadataRetrievalError, UnauthorizedSSOTokenError

from fleetswap.aws.errors import refusal
from fleetswap.aws.image import block_writer as puts_module
from fleetswap.aws.image import signing
from fleetswap.aws.image.block_writer import BlockConnection, BlockPuts
from fleetswap.aws.image.connection import Endpoint
from fleetswap.aws.image.signing import UNSIGNED, Request, Signer
from fleetswap.aws.session import Cloud
from fleetswap.domain.errors import CloudError, InputError, NotFound, Throttled, TryAgain
from fleetswap.domain.image.blocks import digest, encode
from tests.fakes.wire import Wire, certificate

BLOCK = bytes(range(256)) * 2048
DIGEST = digest(BLOCK)
KEYS = Credentials("AKIDEXAMPLE", "secret")
NOON = datetime.datetime(2026, 11, 24, 12, 0, 0, tzinfo=datetime.UTC)


def answer(status: str, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    fields = {"Content-Length": str(len(body))} | (headers or {})
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def error(status: str, code: str, message: str = "because", reason: str | None = None, **more: str) -> bytes:
    body = {"Message": message} | ({"Reason": reason} if reason else {})
    headers = {"x-amzn-ErrorType": code, "Content-Type": "application/json"} | more
    return answer(status, headers, json.dumps(body).encode())


ECHO = {"x-amz-Checksum": encode(DIGEST), "x-amz-Checksum-Algorithm": "SHA256"}
GOOD = answer("201 Created", ECHO)


def no_context() -> ssl.SSLContext:
    raise AssertionError("no TLS was asked for")


class Line:
    """A connection, and how often it said that the block is sent."""

    def __init__(self, connection: BlockConnection) -> None:
        self.connection = connection
        self.sent = 0

    def put(self, index: int = 7) -> None:
        self.connection.put("snap-1", index, bytearray(BLOCK), DIGEST, self._count)

    def _count(self) -> None:
        self.sent += 1


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as server:
        yield server


def signer(*found: Credentials | None) -> Signer:
    """One that finds these credentials, one at each look, and the last one again and again."""
    left = list(found or [KEYS])
    return Signer("us-east-1", lambda: left.pop(0) if len(left) > 1 else left[0])


@pytest.fixture
def line(wire: Wire) -> Iterator[Line]:
    connection = BlockPuts(wire.url, signer(), no_context).connect()
    yield Line(connection)
    connection.close()


def test_a_put_is_what_the_api_asks_for(wire: Wire, line: Line) -> None:
    """EBS would refuse the block, or keep it without having checked it."""
    wire.answers.put(GOOD)
    line.put()
    (asked,) = wire.asked
    assert asked.line == "PUT /snapshots/snap-1/blocks/7 HTTP/1.1"
    assert asked.body == BLOCK
    assert asked.headers["host"] == f"127.0.0.1:{wire.port}"
    assert asked.headers["x-amz-checksum"] == encode(DIGEST)
    assert (asked.headers["x-amz-checksum-algorithm"], asked.headers["x-amz-data-length"]) == ("SHA256", "524288")
    assert asked.headers["user-agent"].startswith("fleetswap")
    assert line.sent == 1


@pytest.mark.parametrize("token", [None, "a+token/="])
@pytest.mark.parametrize("payload", [UNSIGNED, DIGEST.hex()])
@pytest.mark.parametrize("url", ["https://ebs.us-east-1.amazonaws.com", "http://127.0.0.1:4510/a%20b/c"])
def test_the_signature_is_botocores(monkeypatch: pytest.MonkeyPatch, token: str | None, payload: str, url: str) -> None:
    """AWS would refuse every block: SignatureDoesNotMatch."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: NOON)
    keys = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", token)
    connection = BlockPuts(url.replace("https", "http"), signer(keys), no_context).connect()
    path = f"{connection._signed_prefix}/snapshots/snap-1/blocks/7"  # what it would sign
    host = url.split("/")[2]
    ours, _ = Signer("us-east-1", lambda: keys, now=NOON.timestamp).sign(
        Request(host, path, encode(DIGEST), len(BLOCK), payload)
    )
    theirs = AWSRequest(
        "PUT",
        f"{url}/snapshots/snap-1/blocks/7",
        headers={
            "x-amz-data-length": "524288",
            "x-amz-checksum": encode(DIGEST),
            "x-amz-checksum-algorithm": "SHA256",
            "x-amz-content-sha256": payload,
        },
    )
    SigV4Auth(keys, "ebs", "us-east-1").add_auth(theirs)
    assert ours["authorization"] == theirs.headers["Authorization"]
    assert (ours["x-amz-date"], ours.get("x-amz-security-token")) == (theirs.headers["X-Amz-Date"], token)


def test_a_new_day_is_signed_with_a_new_key() -> None:
    """An upload over midnight would be refused from then on."""
    days = [NOON, NOON + datetime.timedelta(days=1)]
    now = [days[0]]
    made = Signer("us-east-1", lambda: KEYS, now=lambda: now[0].timestamp())
    request = Request("h", "/", "c", 1, UNSIGNED)
    signatures = []
    for now[0] in days:
        signatures.append(made.sign(request)[0]["authorization"])
    fresh = Signer("us-east-1", lambda: KEYS, now=days[1].timestamp).sign(request)[0]["authorization"]
    assert signatures[0] != signatures[1] == fresh


@pytest.mark.parametrize("cut", range(len(GOOD)))
def test_a_cut_answer_is_none(wire: Wire, line: Line, cut: int) -> None:
    """A block that EBS never acknowledged would count as written."""
    wire.close_after = True
    wire.answers.put(GOOD[:cut] or None)
    with pytest.raises(TryAgain, match="truncated" if cut else "without a response"):
        line.put()
    wire.answers.put(GOOD)
    line.put()
    assert wire.connections == 2


def test_an_answer_may_come_in_any_pieces(wire: Wire, line: Line) -> None:
    """A good answer on a slow line would be taken for a cut one, and the block be sent for ever."""
    wire.piece = 1
    chunked = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n"
    chunked += f"x-amz-checksum:{encode(DIGEST)}\r\n\r\n".encode() + b"2;x=y\r\n{}\r\n0\r\nTrailer: x\r\n\r\n"
    for each in (GOOD, chunked, answer("201", ECHO, b"{}")):
        wire.answers.put(each)
        line.put()
    assert wire.connections == 1


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (answer("201 Created"), "does not echo the checksum"),
        (answer("201 Created", {"x-amz-Checksum": encode(digest(b""))}), "EBS received other data"),
        (answer("200 OK", ECHO), "status 200 instead of 201"),
        (answer("302 Found", ECHO | {"Location": "/"}), "status 302 instead of 201"),
        (answer("100 Continue", ECHO), "status 100"),
        (answer("500 Internal Server Error"), "status 500"),
        (answer("503 Service Unavailable", body=b"<html>busy</html>"), "status 503"),
        (answer("502 Bad Gateway", body=b"[1]"), "status 502"),
        (error("500 Internal Server Error", "InternalServerException:http://x/"), "InternalServerException: because"),
        (answer("500 Oops", body=b'{"__type": "aws#Internal", "message": "m"}'), "Internal: m"),
        (error("400 Bad Request", "ValidationException", reason="CONFLICTING_BLOCK_UPDATE"), "Validation"),
        (error("400 Bad Request", "ValidationException", reason="WRITE_REQUEST_TIMEOUT"), "Validation"),
        (answer("408 Request Timeout"), "status 408"),
        (b"HTTP/1.1 201 Created\r\n" + b"x: y\r\n" * 20_000, "too long"),
        (answer("201 Created", ECHO | {"Content-Length": str(1 << 30)}), "too long"),
        (answer("201 Created", ECHO | {"Content-Length": "-1"}), "length of the response is unclear"),
        (answer("201 Created", ECHO | {"Content-Length": "0, 0"}), "length of the response is unclear"),
        (answer("201 Created", ECHO | {"Transfer-Encoding": "gzip"}), "length of the response is unclear"),
        (answer("201 Created", ECHO | {"Transfer-Encoding": "chunked"}), "length of the response is unclear"),
        (b"HTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunks of the response are not valid"),
        (b"HTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", "chunks of the response are not valid"),
        (b"HTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", "too long"),
        (GOOD + b"HTTP/1.1", "more than one response"),
        (answer("201 Created", {"x y": "z"}), "headers of the response are not valid"),
        (answer("201 Created", {"x": "a\r\n b"}), "headers of the response are not valid"),
        (b"HTTP/2 201\r\n\r\n", "not HTTP"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
    ],
)
def test_what_may_pass_is_to_be_tried_again(wire: Wire, line: Line, raw: bytes, message: str) -> None:
    """A fault of a moment would end the upload, or, worse, a block that EBS never got would count as written."""
    wire.answers.put(raw)
    with pytest.raises(TryAgain, match=message) as caught:
        line.put()
    assert type(caught.value) is TryAgain
    assert str(caught.value).startswith("writing block 7 of snapshot snap-1: ")
    assert "\n" not in str(caught.value)
    wire.answers.put(GOOD)
    line.put()
    assert line.sent == 2


@pytest.mark.parametrize(
    ("raw", "kind", "message"),
    [
        (error("400 Bad Request", "RequestThrottledException", reason="RESOURCE_LEVEL_THROTTLE"), Throttled, "Request"),
        (error("400 Bad Request", "ThrottlingException"), Throttled, "ThrottlingException"),
        (answer("429 Too Many Requests"), Throttled, "status 429"),
        (error("404 Not Found", "ResourceNotFoundException", reason="SNAPSHOT_NOT_FOUND"), NotFound, "NotFound"),
        (error("404 Not Found", "ResourceNotFoundException", reason="GRANT_NOT_FOUND"), CloudError, "NotFound"),
        (error("403 Forbidden", "AccessDeniedException"), CloudError, "access denied: allow ebs:PutSnapshotBlock"),
        (
            error("403 Forbidden", "AccessDeniedException", "User: x is not authorized to perform: kms:Decrypt on y"),
            CloudError,
            "access denied: allow kms:Decrypt",
        ),
        (error("402 Payment Required", "ServiceQuotaExceededException"), CloudError, "a quota of the account"),
        (error("403 Forbidden", "SignatureDoesNotMatch", "wrong secret"), CloudError, "wrong secret"),
    ],
)
def test_the_other_answers_say_what_they_are(wire: Wire, line: Line, raw: bytes, kind: type, message: str) -> None:
    """A throttle would end the upload, or a missing permission be found only after minutes, without its name."""
    wire.answers.put(raw)
    with pytest.raises(kind, match=message) as caught:
        line.put()
    assert type(caught.value) is kind
    wire.answers.put(GOOD)
    line.put()
    assert wire.connections == 1, "the connection is as good as before"


def test_an_invalid_request_is_final(wire: Wire, line: Line) -> None:
    """A block out of the volume would be sent for minutes before the user hears of it."""
    wire.answers.put(error("400 Bad Request", "ValidationException", reason="INVALID_BLOCK"))
    with pytest.raises(CloudError, match="ValidationException: because") as caught:
        line.put()
    assert not isinstance(caught.value, TryAgain)


@pytest.mark.parametrize("code", ["ExpiredTokenException", "ExpiredToken"])
def test_expired_credentials_are_replaced(wire: Wire, code: str) -> None:
    """An upload that takes longer than a session would fail half-way."""
    new = Credentials("AKIDNEW", "secret", "token")
    line = Line(BlockPuts(wire.url, signer(KEYS, new), no_context).connect())
    wire.answers.put(error("403 Forbidden", code))
    with pytest.raises(TryAgain, match=code):
        line.put()
    wire.answers.put(GOOD)
    line.put()
    assert wire.asked[1].headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDNEW/")
    wire.answers.put(error("403 Forbidden", code))
    with pytest.raises(CloudError, match="log in again") as caught:
        line.put()
    assert not isinstance(caught.value, TryAgain), "there are no newer ones"
    line.connection.close()


def test_credentials_that_another_thread_replaced_are_used() -> None:
    """Of many threads whose token expires at once, all but the first would end the upload."""
    made = signer(KEYS, Credentials("AKIDNEW", "secret"))
    request = Request("h", "/", "c", 1, UNSIGNED)
    _, first = made.sign(request)
    assert made.renew(first)
    assert made.renew(first)
    _, second = made.sign(request)
    assert second.keys[0] == "AKIDNEW"
    assert not made.renew(second)


def short_lived(refresh: Callable[[], None]) -> RefreshableCredentials:
    """What a `credential_process` gives that never hands out more than ten minutes: botocore renews it at each use."""

    def metadata() -> dict[str, str]:
        refresh()
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=9)
        return {"access_key": "AKID", "secret_key": "secret", "token": "token", "expiry_time": until.isoformat()}

    return RefreshableCredentials.create_from_metadata(metadata(), metadata, "process")


def test_credentials_that_end_soon_cost_a_look_now_and_then() -> None:
    """Each block would start a process for credentials while all others wait: two blocks a second."""
    renewed, now = list[int](), [1.0]
    made = Signer("us-east-1", lambda: short_lived(lambda: renewed.append(1)), now=lambda: now[0])
    request = Request("h", "/", "c", 1, UNSIGNED)
    for _ in range(50):
        made.sign(request)
    before = len(renewed)
    assert before <= 2
    now[0] += signing.LOOK_SECONDS
    for _ in range(50):
        made.sign(request)
    assert len(renewed) == before + 1


def test_one_thread_renews_while_the_others_sign_on() -> None:
    """Every connection would stand still for as long as credentials take to be renewed."""
    there, go, now = threading.Event(), threading.Event(), [1.0]
    slow = [False]

    def refresh() -> None:
        if slow[0]:
            there.set()
            assert go.wait(60)

    made = Signer("us-east-1", lambda: short_lived(refresh), now=lambda: now[0])
    request = Request("h", "/", "c", 1, UNSIGNED)
    made.sign(request)
    slow[0], now[0] = True, now[0] + signing.LOOK_SECONDS
    renewing = threading.Thread(target=lambda: made.sign(request))
    renewing.start()
    assert there.wait(60)
    others = [threading.Thread(target=lambda: made.sign(request)) for _ in range(4)]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
    assert not any(other.is_alive() for other in others)
    go.set()
    renewing.join(60)


def test_a_renewal_that_fails_ends_nothing_while_the_credentials_hold() -> None:
    """A hiccup of the metadata service in the last minutes of a session would count as a failure of each block."""
    now, broken = [1.0], [False]

    def refresh() -> None:
        if broken[0]:
            raise MetadataRetrievalError(error_msg="timed out")

    made = Signer("us-east-1", lambda: short_lived(refresh), now=lambda: now[0])
    request = Request("h", "/", "c", 1, UNSIGNED)
    _, first = made.sign(request)
    broken[0], now[0] = True, now[0] + signing.LOOK_SECONDS
    _, second = made.sign(request)
    assert second.keys == first.keys
    with pytest.raises(TryAgain, match="cannot be renewed"):
        made.renew(second)


@pytest.mark.parametrize(
    ("found", "kind", "message"),
    [
        (EOFError("EOF when reading a line"), CloudError, "asks for an MFA code, and there is no terminal"),
        (FileNotFoundError(2, "No such file", "token"), CloudError, "cannot be read: correct the profile .*token"),
        (None, CloudError, "no AWS credentials: set AWS_PROFILE"),
        (UnauthorizedSSOTokenError(), CloudError, "log in again, for example with `aws sso login`"),
        (MetadataRetrievalError(error_msg="timed out"), TryAgain, "cannot be renewed"),
    ],
)
def test_missing_credentials_are_told(wire: Wire, found: Exception | None, kind: type, message: str) -> None:
    """A user who is not logged in would wait, or a hiccup of the metadata service end the upload."""

    def find() -> None:
        if found is not None:
            raise found

    line = Line(BlockPuts(wire.url, Signer("us-east-1", find), no_context).connect())
    with pytest.raises(kind, match=message) as caught:
        line.put()
    assert type(caught.value) is kind
    assert str(caught.value).startswith("writing block 7 of snapshot snap-1: ")
    assert wire.connections == 0


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("RequestTimeTooSkewed", "because"),
        ("RequestExpired", "because"),
        ("InvalidSignatureException", "Signature expired: 20261124T100000Z is now earlier than 20261124T105500Z"),
        ("SignatureDoesNotMatch", "Signature not yet current: 20261124T110000Z is still later than 20261124T105500Z"),
    ],
)
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wrong_clock_is_made_up_for(wire: Wire, line: Line, code: str, message: str, hours: int) -> None:
    """A machine whose clock is off could not upload at all."""
    there = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
    wire.answers.put(error("403 Forbidden", code, message, Date=format_datetime(there, usegmt=True)))
    with pytest.raises(TryAgain, match=code):
        line.put()
    wire.answers.put(GOOD)
    line.put()
    told = datetime.datetime.strptime(wire.asked[1].headers["x-amz-date"], "%Y%m%dT%H%M%S%z")
    assert abs(told - there) < datetime.timedelta(minutes=2)


@pytest.mark.parametrize("date", ["", "yesterday", "now"])
def test_a_clock_that_cannot_be_set_is_told(wire: Wire, line: Line, date: str) -> None:
    """The user would wait for minutes, and then not hear what is wrong."""
    if date == "now":
        date = format_datetime(datetime.datetime.now(datetime.UTC), usegmt=True)
    wire.answers.put(error("403 Forbidden", "RequestTimeTooSkewed", **({"Date": date} if date else {})))
    with pytest.raises(CloudError, match="the clock of this computer is wrong: set it") as caught:
        line.put()
    assert not isinstance(caught.value, TryAgain)


def test_a_connection_is_kept(wire: Wire, line: Line) -> None:
    """Every block would cost a handshake."""
    for index in range(3):
        wire.answers.put(GOOD)
        line.put(index)
    assert {asked.connection for asked in wire.asked} == {1}


@pytest.mark.parametrize("raw", [answer("201 Created", ECHO | {"Connection": "Close"}), GOOD.replace(b"1.1", b"1.0")])
def test_an_announced_close_is_honoured(wire: Wire, line: Line, raw: bytes) -> None:
    """The next block would be sent into a connection that the server does not read any more."""
    wire.answers.put(raw)
    line.put()
    wire.answers.put(GOOD)
    line.put()
    assert [asked.connection for asked in wire.asked] == [1, 2]


def test_a_connection_closed_while_idle_is_opened_again(wire: Wire, line: Line) -> None:
    """After a pause, each connection would first cost a failure and its wait."""
    wire.answers.put(GOOD)
    line.put()
    wire.hang_up()
    wire.answers.put(GOOD)
    line.put()
    assert [asked.connection for asked in wire.asked] == [1, 2]
    assert line.sent == 2


def test_a_connection_closed_while_the_block_is_sent_is_opened_again(
    wire: Wire, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that closes a kept connection at just that moment would cost a failure."""
    wire.answers.put(GOOD)
    line.put()
    kept = line.connection._line
    assert kept is not None
    wire.hang_up()
    monkeypatch.setattr(type(kept), "idle", lambda _: True)  # it looked as if nothing had come
    monkeypatch.setattr(type(kept), "send", _reset_once(type(kept).send))
    wire.answers.put(GOOD)
    line.put()
    assert [asked.connection for asked in wire.asked] == [1, 2]
    assert line.sent == 2


def _reset_once(real: Callable[..., None]) -> Callable[..., None]:
    left = [ConnectionResetError(104, "Connection reset by peer")]

    def send(*arguments: object) -> None:
        if left:
            raise left.pop()
        real(*arguments)

    return send


def test_a_refusal_before_the_block_is_read_is_heard(wire: Wire, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A throttle or a refusal would look like a cut connection, because the server did not wait for the block."""

    def send(plain: object, head: bytes, _: object) -> None:
        plain._sock.sendall(head)  # type: ignore[attr-defined]
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("fleetswap.aws.image.connection._Plain.send", send)
    wire.early = True
    wire.answers.put(error("400 Bad Request", "ThrottlingException"))
    with pytest.raises(Throttled):
        line.put()
    wire.answers.put(GOOD)
    with pytest.raises(TryAgain, match="Broken pipe"):  # it cannot have acknowledged what it has not got
        line.put()
    assert wire.connections == 2


def test_nobody_listening_may_pass() -> None:
    """A restart of the endpoint would end an upload."""
    with Wire() as server:
        url = server.url
    line = Line(BlockPuts(url, signer(), no_context).connect())
    with pytest.raises(TryAgain, match="writing block 7 of snapshot snap-1: Connection refused"):
        line.put()
    assert line.sent == 0


def test_silence_may_pass(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead connection would hold its block for ever."""
    monkeypatch.setattr("fleetswap.aws.image.connection.PROGRESS_SECONDS", 1)
    monkeypatch.setattr(puts_module, "PROGRESS_SECONDS", 1)
    line = Line(BlockPuts(wire.url, signer(), no_context).connect())
    try:
        with pytest.raises(TryAgain, match="no progress for 1 s"):
            line.put()
    finally:
        wire.answers.put(None)
        line.connection.close()


def test_close_ends_a_put_that_waits(wire: Wire, line: Line) -> None:
    """Ctrl-C would wait for every answer that is still to come."""
    told: list[BaseException] = []

    def put() -> None:
        try:
            line.put()
        except CloudError as caught:
            told.append(caught)

    thread = threading.Thread(target=put)
    thread.start()
    while not wire.asked:
        thread.join(0.01)
    line.connection.close()
    thread.join(60)
    assert [type(each) for each in told] == [TryAgain]
    wire.answers.put(None)
    with pytest.raises(TryAgain, match="closed"):
        line.put()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure(tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Wire, BlockPuts]]:
    """A server with TLS and a client that trusts it, made as the program makes it."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tls[1]))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    with Wire(tls[0]) as wire:
        cloud = Cloud("us-east-1", wire.url)
        yield wire, BlockPuts.of(cloud, cloud.ebs_and_ec2(1)[0])


def test_tls(secure: tuple[Wire, BlockPuts]) -> None:
    """Nothing would reach AWS, or not the bytes that were meant, or not with the body unsigned as the API has it."""
    wire, puts = secure
    line = Line(puts.connect())
    wire.piece = 100
    for index in range(3):
        wire.answers.put(GOOD)
        line.put(index)
    assert [asked.body == BLOCK for asked in wire.asked] == [True] * 3
    assert {asked.headers["x-amz-content-sha256"] for asked in wire.asked} == {UNSIGNED}
    assert wire.connections == 1
    wire.hang_up()
    wire.answers.put(GOOD)
    line.put()
    assert wire.connections == 2
    line.connection.close()


@pytest.mark.parametrize("cut", [0, 1, 20, len(GOOD) - 1])
def test_a_cut_answer_over_tls_is_none(secure: tuple[Wire, BlockPuts], cut: int) -> None:
    """A block that EBS never acknowledged would count as written."""
    wire, puts = secure
    line = Line(puts.connect())
    wire.close_after = True
    wire.answers.put(GOOD[:cut] or None)
    with pytest.raises(TryAgain, match="truncated" if cut else "without a response"):
        line.put()


def test_a_stranger_is_not_trusted(tls: tuple[ssl.SSLContext, Path], tmp_path: Path) -> None:
    """Anybody on the way could read the images, or lose them."""
    _, other = certificate(tmp_path)
    with Wire(tls[0]) as wire:
        line = Line(BlockPuts(wire.url, signer(), lambda: ssl.create_default_context(cafile=other)).connect())
        with pytest.raises(CloudError, match=r"certificate of 127\.0\.0\.1 is not trusted: .*AWS_CA_BUNDLE") as caught:
            line.put()
        assert not isinstance(caught.value, TryAgain)
        assert wire.asked == []


def test_the_host_name_is_checked(tls: tuple[ssl.SSLContext, Path]) -> None:
    """Anybody with any certificate could take AWS's place."""
    context, authority = tls
    with Wire(context) as wire:
        url = wire.url.replace("127.0.0.1", "localhost")  # which the certificate does not name
        line = Line(BlockPuts(url, signer(), lambda: ssl.create_default_context(cafile=authority)).connect())
        with pytest.raises(CloudError, match="certificate of localhost is not trusted"):
            line.put()
        assert wire.asked == []


def test_unreadable_authorities_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user would read a traceback about ssl."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    cloud = Cloud("us-east-1", "https://127.0.0.1:9")
    ebs, _ = cloud.ebs_and_ec2(1)
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(empty))
    with pytest.raises(InputError, match=r"empty.pem cannot be read .*correct AWS_CA_BUNDLE"):
        BlockPuts.of(Cloud("us-east-1", "https://127.0.0.1:9"), ebs)


def test_a_folder_of_authorities_is_refused_as_botocore_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Blocks would go through, but no other call; each would be told after half a minute, without a remedy."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    cloud = Cloud("us-east-1", "https://127.0.0.1:9")
    ebs, _ = cloud.ebs_and_ec2(1)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path))
    with pytest.raises(InputError, match="are a folder, and the AWS SDK reads one file"):
        BlockPuts.of(Cloud("us-east-1", "https://127.0.0.1:9"), ebs)


def test_authorities_are_trusted_as_botocore_trusts_them(
    tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.13 refuses a company's authority that botocore takes: each block would fail after a good start."""
    real = ssl.create_default_context

    def strict(**told: Any) -> ssl.SSLContext:
        context = real(**told)
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # as from Python 3.13 on
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tls[1]))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    context = Cloud("us-east-1", "https://127.0.0.1:9").trust()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_a_proxy_leads_to_the_endpoint(
    secure: tuple[Wire, BlockPuts], tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a company's proxy nothing could be uploaded."""
    wire, _ = secure
    with Wire(tunnel=wire.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://us%20er:pass@127.0.0.1:{proxy.port}")
        puts = BlockPuts(wire.url, signer(), lambda: ssl.create_default_context(cafile=tls[1]))
        line = Line(puts.connect())
        proxy.answers.put(b"HTTP/1.1 200 Connection established\r\n\r\n")
        wire.answers.put(GOOD)
        line.put()
        line.connection.close()
        (asked,) = proxy.asked
        assert asked.line == f"CONNECT 127.0.0.1:{wire.port} HTTP/1.1"
        assert asked.headers["proxy-authorization"] == "Basic dXMgZXI6cGFzcw=="
        assert "proxy-authorization" not in wire.asked[0].headers


@pytest.mark.parametrize(
    ("raw", "kind", "message"),
    [
        (answer("407 Proxy Authentication Required"), CloudError, "the proxy needs another password"),
        (answer("503 Busy"), TryAgain, "the proxy responded with status 503"),
        (b"what?\r\n\r\n", TryAgain, "not HTTP"),
        (b"HTTP/1.1 200", TryAgain, "truncated"),
    ],
)
def test_a_proxy_that_does_not_lead_is_told(
    monkeypatch: pytest.MonkeyPatch, raw: bytes, kind: type, message: str
) -> None:
    """The user would look for the fault at AWS."""
    with Wire() as proxy:
        proxy.close_after = True
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
        line = Line(BlockPuts("https://127.0.0.1:9", signer(), ssl.create_default_context).connect())
        proxy.answers.put(raw)
        with pytest.raises(kind, match=message) as caught:
            line.put()
        assert type(caught.value) is kind


def test_a_plain_endpoint_is_asked_through_its_proxy(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY would be ignored, where boto3 heeds it."""
    monkeypatch.setenv("HTTP_PROXY", wire.url)
    line = Line(BlockPuts("http://ebs.example:8080/prefix", signer(), no_context).connect())
    wire.answers.put(GOOD)
    line.put()
    assert wire.asked[0].line == "PUT http://ebs.example:8080/prefix/snapshots/snap-1/blocks/7 HTTP/1.1"
    assert wire.asked[0].headers["host"] == "ebs.example:8080"
    line.connection.close()


def test_no_proxy_is_heeded(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """The local cloud, or a VPC endpoint, would be looked for through the proxy."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    direct = Line(BlockPuts(wire.url, signer(), no_context).connect())
    wire.answers.put(GOOD)
    direct.put()
    direct.connection.close()
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY")
    with pytest.raises(InputError, match="is not an http:// proxy"):
        BlockPuts(wire.url, signer(), no_context)


def test_no_proxy_with_a_port_is_heeded_as_by_botocore(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """StartSnapshot would go directly, and every block to a proxy that does not lead there: 0 % until it gives up."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    for told, proxy in (
        (f"127.0.0.1:{wire.port}", None),
        (f"x, 127.0.0.1:{wire.port}", None),
        ("127.0.0.1:1", "http://127.0.0.1:9"),
    ):
        monkeypatch.setenv("NO_PROXY", told)
        assert Endpoint.of(wire.url).proxy == proxy


def test_an_address_that_is_dead_is_left_for_the_next(wire: Wire, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """One dead address of an endpoint's many would fail the blocks that got it."""
    real = socket.getaddrinfo("127.0.0.1", wire.port, type=socket.SOCK_STREAM)
    dead = [(*each[:4], ("127.0.0.1", 9)) for each in real]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: dead + real)
    wire.answers.put(GOOD)
    line.put()


def test_expiry_and_clock_without_remedy_are_told_apart() -> None:
    """boto3's calls, which cannot mend either, would tell the user the wrong remedy."""
    expired = refusal("starting", ("ebs:StartSnapshot",), code="ExpiredTokenException", message="old", status=403)
    skewed = refusal("starting", ("ebs:StartSnapshot",), code="RequestExpired", message="old", status=400)
    assert "log in again" in str(expired)
    assert "set the clock" in str(skewed)
