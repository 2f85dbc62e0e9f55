"""The adapter on the wire: what each answer means, against a server that says what it is told to."""

from __future__ import annotations

import itertools
import json
import queue
import socketserver
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import ClassVar
from urllib.parse import parse_qs

import pytest
from botocore.exceptions import HTTPClientError, ProxyConnectionError, SSLError

from fleetswap.aws.errors import DEPENDENCY, explained
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.session import Cloud
from fleetswap.domain.errors import CloudError, Invalid, NotFound, Throttled, TryAgain
from fleetswap.domain.image.blocks import BLOCK_SIZE, digest, encode
from fleetswap.domain.image.snapshots import Page, Snapshot, Start, Started

BLOCK = bytes(range(256)) * 2048
DIGEST = digest(BLOCK)
START = Start("token", 3, {"fleetswap:stack": "demo/local"}, "an image", encrypted=False, kms_key=None)


class Wire(socketserver.ThreadingTCPServer):
    """Answers request after request with the bytes it was told, then closes. Keeps what it was asked."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: queue.Queue[bytes] = queue.Queue()
        self.asked: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(socketserver.StreamRequestHandler):
    server: Wire
    timeout: ClassVar[float] = 60

    def handle(self) -> None:
        line = self.rfile.readline().decode().strip()
        headers = {}
        while field := self.rfile.readline().decode().strip():
            name, value = field.split(":", 1)
            headers[name.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", 0)))
        self.server.asked.append((line, headers, body))
        self.wfile.write(self.server.answers.get_nowait())


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Wire, DirectSnapshots]]:
    """One for all tests: boto3 takes half a second to make the clients."""
    with Wire() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "local")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "local")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server, DirectSnapshots(*Cloud("us-east-1", server.url).ebs_and_ec2(1))
        server.shutdown()
        thread.join()


@pytest.fixture
def wire(server: tuple[Wire, DirectSnapshots]) -> Wire:
    server[0].answers = queue.Queue()
    server[0].asked = []
    return server[0]


@pytest.fixture
def port(server: tuple[Wire, DirectSnapshots]) -> DirectSnapshots:
    return server[1]


def answer(status: str, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    fields = {"Content-Length": str(len(body)), "Connection": "close"} | (headers or {})
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def error(status: str, code: str, message: str = "because", reason: str | None = None) -> bytes:
    body = {"Message": message} | ({"Reason": reason} if reason else {})
    return answer(status, {"x-amzn-ErrorType": code, "Content-Type": "application/json"}, json.dumps(body).encode())


def get(port: DirectSnapshots) -> bytes:
    return port.get("snap-1", 7, "token+/=")


def block(data: bytes = BLOCK, status: str = "200 OK", **headers: str) -> bytes:
    told = {"x-amz-Data-Length": str(len(data)), "x-amz-Checksum": encode(DIGEST), "x-amz-Checksum-Algorithm": "SHA256"}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    return answer(status, {name: value for name, value in told.items() if value}, data)


GOOD = block()


def test_a_block_is_read_and_checked(wire: Wire, port: DirectSnapshots) -> None:
    """Nothing could be read back, and no parent be trusted."""
    wire.answers.put(GOOD)
    assert get(port) == BLOCK
    ((line, _, _),) = wire.asked
    assert line == "GET /snapshots/snap-1/blocks/7?blockToken=token%2B%2F%3D HTTP/1.1"


def test_pages_are_asked_for_by_index_and_by_token(wire: Wire, port: DirectSnapshots) -> None:
    """A list would lack blocks, or begin anew with each page."""
    pages = [
        {"Blocks": [{"BlockIndex": 7, "BlockToken": "a"}], "VolumeSize": 3, "BlockSize": 524288, "NextToken": "next"},
        {"Blocks": [], "VolumeSize": 3, "BlockSize": 524288},
    ]
    for page in pages:
        wire.answers.put(answer("200 OK", body=json.dumps(page).encode()))
    assert port.list_blocks("snap-1", 5, None) == Page([(7, "a")], "next", 3)
    assert port.list_blocks("snap-1", 5, "next") == Page([], None, 3)
    asked = [line for line, _, _ in wire.asked]
    assert asked[0] == "GET /snapshots/snap-1/blocks?startingBlockIndex=5&maxResults=4096 HTTP/1.1"
    assert asked[1] == "GET /snapshots/snap-1/blocks?pageToken=next&maxResults=4096 HTTP/1.1"


def test_a_start_is_what_was_ordered(wire: Wire, port: DirectSnapshots) -> None:
    """A snapshot would lack its tags, be encrypted otherwise, or be made twice when an answer is lost."""
    good = answer("201 Created", body=b'{"SnapshotId": "snap-1", "BlockSize": 524288}')
    parent = Start("token", 3, {}, "", encrypted=True, kms_key="k", parent="snap-0")
    key = "arn:aws:kms:us-east-1:123456789012:key/1"
    for _ in range(3):
        wire.answers.put(good)
    assert port.start(START) == Started("snap-1", 0.0)
    port.start(Start("token", 3, {}, "", encrypted=True, kms_key=key))
    port.start(parent)
    plain, encrypted, child = (json.loads(body) for _, _, body in wire.asked)
    assert plain == {
        "VolumeSize": 3,
        "ClientToken": "token",
        "Timeout": 60,
        "Tags": [{"Key": "fleetswap:stack", "Value": "demo/local"}],
        "Description": "an image",
    }
    assert (encrypted["Encrypted"], encrypted["KmsKeyArn"]) == (True, key)
    assert (child["ParentSnapshotId"], child.keys() & {"Encrypted", "KmsKeyArn"}) == ("snap-0", set())


@pytest.mark.parametrize(
    ("date", "began", "age"),
    [
        ("Tue, 24 Nov 2026 12:00:00 GMT", "1795521600.5", 0.0),
        ("Tue, 24 Nov 2026 12:00:00 GMT", "1795521000", 600.0),
        ("Tue, 24 Nov 2026 12:00:00 GMT", "null", 0.0),
        ("once upon a time", "1795521000", 0.0),
    ],
)
def test_an_old_snapshot_is_told_by_its_age(
    wire: Wire, port: DirectSnapshots, date: str, began: str, age: float
) -> None:
    """The answer to an old client token would be taken for a new snapshot, and be waited for."""
    body = f'{{"SnapshotId": "snap-1", "BlockSize": 524288, "StartTime": {began}}}'
    wire.answers.put(answer("201 Created", {"Date": date}, body.encode()))
    assert port.start(START).age == age


def test_a_description_has_what_decides_about_a_parent(wire: Wire, port: DirectSnapshots) -> None:
    """A snapshot in the archive, or of another lineage, would be taken for the parent."""
    wire.answers.put(
        answer(
            "200 OK",
            body=b"<DescribeSnapshotsResponse><snapshotSet><item><snapshotId>snap-1</snapshotId><status>completed</status>"
            b"<startTime>2026-11-24T12:00:00.000Z</startTime><ownerId>123456789012</ownerId><volumeSize>3</volumeSize>"
            b"<encrypted>true</encrypted><kmsKeyId>k</kmsKeyId><storageTier>archive</storageTier><tagSet><item>"
            b"<key>fleetswap:lineage</key><value>web</value></item></tagSet></item></snapshotSet>"
            b"</DescribeSnapshotsResponse>",
        )
    )
    when = datetime(2026, 11, 24, 12, tzinfo=UTC)
    tags = {"fleetswap:lineage": "web"}
    assert port.describe("snap-1") == Snapshot(
        "snap-1",
        "completed",
        "",
        3,
        True,  # noqa: FBT003
        "k",
        when,
        tags,
        "123456789012",
        archived=True,
    )


def test_only_own_snapshots_are_looked_for(wire: Wire, port: DirectSnapshots) -> None:
    """Anybody could plant an image: a public snapshot with the right tags would be adopted."""
    wire.answers.put(answer("200 OK", body=b"<DescribeSnapshotsResponse><snapshotSet/></DescribeSnapshotsResponse>"))
    assert port.find({"fleetswap:stack": "demo/local"}) == []
    ((_, _, body),) = wire.asked
    asked = parse_qs(body.decode())
    assert asked["Owner.1"] == ["self"]
    assert (asked["Filter.1.Name"], asked["Filter.1.Value.1"]) == (["tag:fleetswap:stack"], ["demo/local"])


def test_a_completion_is_what_the_api_asks_for(wire: Wire, port: DirectSnapshots) -> None:
    """EBS would complete a snapshot without checking that it has every block."""
    wire.answers.put(answer("202 Accepted", body=b'{"Status": "pending"}'))
    port.complete("snap-1", 5, "abc=")
    ((line, headers, _),) = wire.asked
    assert line == "POST /snapshots/completion/snap-1 HTTP/1.1"
    assert headers["x-amz-changedblockscount"] == "5"
    assert headers["x-amz-checksum"] == "abc="
    assert (headers["x-amz-checksum-algorithm"], headers["x-amz-checksum-aggregation-method"]) == ("SHA256", "LINEAR")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "Connection was closed"),
        (GOOD[:9], "Connection was closed|Bad|bad|BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\n", "the response was truncated"),
        (GOOD[:-1], "truncated|IncompleteRead|broken"),
        (GOOD[:-BLOCK_SIZE], "truncated|IncompleteRead|broken"),
        (block(BLOCK[:-1]), "the response was truncated after 524287 bytes"),
        (block(BLOCK, x_amz_Data_Length="524287"), "the response was truncated"),
        (block(BLOCK, x_amz_Data_Length=""), "the response was truncated"),
        (block(BLOCK[::-1]), "the data does not have the checksum that came with it"),
        (block(BLOCK, x_amz_Checksum=""), "the data does not have the checksum that came with it"),
        (block(BLOCK, x_amz_Checksum_Algorithm="CRC"), "the data does not have the checksum that came with it"),
        (block(status="206 Partial Content"), "status 206 instead of 200"),
        (answer("500 Internal Server Error"), "500"),
        (answer("503 Service Unavailable", body=b"<html>busy</html>"), "503"),
        (error("500 Internal Server Error", "InternalServerException"), "InternalServerException: because"),
        (error("400 Bad Request", "RequestThrottledException", reason="RESOURCE_LEVEL_THROTTLE"), "RequestThrottled"),
        (error("400 Bad Request", "ThrottlingException"), "ThrottlingException"),
        (answer("500 Internal Server Error", {"Content-Length": "99"}, b'{"Mess'), "block 7"),
    ],
    ids=itertools.count(),
)
def test_what_may_pass_is_to_be_tried_again(wire: Wire, port: DirectSnapshots, raw: bytes, message: str) -> None:
    """A fault of a moment would end the upload, or, worse, half a block be compared as if it were whole."""
    wire.answers.put(raw)
    with pytest.raises(TryAgain, match=message) as caught:
        get(port)
    assert str(caught.value).startswith("reading block 7 of snapshot snap-1: ")
    assert "\n" not in str(caught.value)
    assert len(wire.asked) == 1, "only the workflow tries again"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (error("403 Forbidden", "AccessDeniedException"), "access denied: allow ebs:GetSnapshotBlock"),
        (
            error("403 Forbidden", "AccessDeniedException", "User: x is not authorized to perform: kms:Decrypt on y"),
            "access denied: allow kms:Decrypt",
        ),
        (error("400 Bad Request", "ValidationException", reason="INVALID_BLOCK_TOKEN"), "ValidationException: because"),
        (error("402 Payment Required", "ServiceQuotaExceededException"), "a quota of the account is used up"),
        (error("400 Bad Request", "ConcurrentLimitExceededException"), "too many snapshots are pending"),
        (error("409 Conflict", "ConflictException"), "ConflictException: because"),
        (error("403 Forbidden", "ExpiredTokenException"), "ExpiredTokenException: because"),
    ],
    ids=itertools.count(),
)
def test_a_refusal_is_final(wire: Wire, port: DirectSnapshots, raw: bytes, message: str) -> None:
    """A missing permission would be found only after minutes of trying, and without its name."""
    wire.answers.put(raw)
    with pytest.raises(CloudError, match=message) as caught:
        get(port)
    assert not isinstance(caught.value, TryAgain)
    assert str(caught.value).startswith("reading block 7 of snapshot snap-1: ")


def test_a_wrong_request_keeps_its_reason(wire: Wire, port: DirectSnapshots) -> None:
    """A completion that another run was faster with would be told as a failure."""
    wire.answers.put(error("400 Bad Request", "ValidationException", reason="INVALID_SNAPSHOT_ID"))
    with pytest.raises(Invalid) as caught:
        port.complete("snap-1", 1, "x")
    assert caught.value.reason == "INVALID_SNAPSHOT_ID"


def test_a_denial_of_kms_names_the_rights_on_the_key(wire: Wire, port: DirectSnapshots) -> None:
    """An administrator would allow what is allowed already, and the deploy be refused again."""
    raw = error("403 Forbidden", "AccessDeniedException", "Access to a dependency (KMS) was denied", DEPENDENCY)
    wire.answers.put(raw)
    with pytest.raises(
        CloudError, match=r"^starting a snapshot: KMS denies access: allow kms:CreateGrant, .* on the key"
    ):
        port.start(START)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (EOFError("EOF when reading a line"), "asks for an MFA code, and there is no terminal"),
        (FileNotFoundError(2, "No such file", "token"), "cannot be read: correct the profile .*token"),
        (
            SSLError(endpoint_url="https://ebs", error=OSError("[SSL: CERTIFICATE_VERIFY_FAILED] no")),
            "name the right authorities with AWS_CA_BUNDLE",
        ),
        (
            ProxyConnectionError(proxy_url="http://proxy", error="Tunnel connection failed: 407 Proxy Auth"),
            "the proxy needs another password",
        ),
        (HTTPClientError(error="Invalid header value b'AKID\\r'"), "hold a line break"),
    ],
)
def test_what_never_passes_is_told_at_once(
    port: DirectSnapshots, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    """It would be tried for half a minute, and then be told without the remedy, or as a traceback."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(port._ec2, "delete_snapshot", fail)
    with pytest.raises(CloudError, match=message) as caught:
        port.delete("snap-1")
    assert not isinstance(caught.value, TryAgain)
    assert "AKID" not in str(caught.value)
    with pytest.raises(CloudError, match=message) as told, explained("ec2:DeleteSnapshot", "snap-1"):
        fail()
    assert not isinstance(told.value, TryAgain)


def ec2_error(code: str) -> bytes:
    body = f"<Response><Errors><Error><Code>{code}</Code><Message>because</Message></Error></Errors></Response>"
    return answer("400 Bad Request", body=body.encode())


@pytest.mark.parametrize(
    ("call", "raw", "kind", "message"),
    [
        (get, error("404 Not Found", "ResourceNotFoundException"), NotFound, "block 7 of snapshot snap-1"),
        (
            lambda port: port.list_blocks("snap-1", 0, None),
            answer("200 OK", body=b'{"Blo'),
            TryAgain,
            "truncated|cannot",
        ),
        (lambda port: port.list_blocks("snap-1", 0, None), answer("200 OK", body=b"{}"), TryAgain, "was truncated"),
        (
            lambda port: port.list_blocks("snap-1", 0, None),
            answer("200 OK", body=b'{"Blocks": [], "VolumeSize": 1, "BlockSize": 512}'),
            CloudError,
            "listing the blocks of snapshot snap-1: it has blocks of 512 bytes",
        ),
        (
            lambda port: port.list_blocks("snap-1", 0, None),
            error("403 Forbidden", "AccessDeniedException"),
            CloudError,
            "allow ebs:ListSnapshotBlocks",
        ),
        (lambda port: port.describe("snap-1"), ec2_error("InvalidSnapshot.NotFound"), NotFound, "snapshot snap-1"),
        (lambda port: port.delete("snap-1"), ec2_error("InvalidSnapshot.NotFound"), NotFound, "snapshot snap-1"),
        (lambda port: port.delete("snap-1"), ec2_error("InvalidSnapshot.InUse"), CloudError, "InUse: because"),
        (lambda port: port.delete("snap-1"), ec2_error("UnauthorizedOperation"), CloudError, "allow ec2:DeleteSnap"),
        (lambda port: port.find({}), ec2_error("UnauthorizedOperation"), CloudError, "allow ec2:DescribeSnapshots"),
        (lambda port: port.find({}), ec2_error("RequestLimitExceeded"), Throttled, "RequestLimitExceeded"),
        (lambda port: port.find({}), answer("200 OK", body=b"<Descr"), TryAgain, "the response of AWS cannot be read"),
        (lambda port: port.start(START), answer("201 Created", body=b'{"Snap'), TryAgain, "the response was truncated"),
        (lambda port: port.start(START), answer("201 Created", body=b"{}"), TryAgain, "the response was truncated"),
        (
            lambda port: port.start(START),
            answer("201 Created", body=b'{"SnapshotId": "snap-1", "BlockSize": 512}'),
            CloudError,
            "snapshot snap-1 has blocks of 512 bytes",
        ),
        (
            lambda port: port.start(START),
            error("403 Forbidden", "AccessDeniedException"),
            CloudError,
            "allow ebs:StartSnapshot and ec2:CreateTags",
        ),
        (lambda port: port.complete("snap-1", 1, "x"), answer("200 OK", body=b"{}"), TryAgain, "200 instead of 202"),
    ],
    ids=itertools.count(),
)
def test_the_other_calls_tell_the_same_way(
    wire: Wire, port: DirectSnapshots, call: Callable[[DirectSnapshots], object], raw: bytes, kind: type, message: str
) -> None:
    """The start, the end or the clean-up of an upload would take a fault for a refusal, or the other way round."""
    wire.answers.put(raw)
    with pytest.raises(kind, match=message) as caught:
        call(port)
    assert type(caught.value) is kind


def test_nobody_listening_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart of the endpoint would end an upload."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    with Wire() as server:
        url = server.url
    with pytest.raises(TryAgain, match="looking at snapshot snap-1: "):
        DirectSnapshots(*Cloud("us-east-1", url).ebs_and_ec2(1)).describe("snap-1")


def test_missing_credentials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is not logged in would wait, or read a traceback."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(CloudError, match="no AWS credentials: set AWS_PROFILE"):
        DirectSnapshots(*Cloud("us-east-1", "http://127.0.0.1:9").ebs_and_ec2(1)).describe("snap-1")
