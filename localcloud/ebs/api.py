"""Stand-in for the wire protocol of the EBS direct API, strict, on top of the block store.

Decides how a request is read and how an answer or an error looks on the wire; what is allowed is the store's to decide.

Facts of the wire, all from botocore's model `ebs/2019-11-02` (protocol rest-json):
- paths: POST /snapshots; PUT and GET /snapshots/{id}/blocks/{index}; POST /snapshots/completion/{id};
  GET /snapshots/{id}/blocks; GET /snapshots/{id}/changedblocks
- numbers and checksums travel in headers (`x-amz-Data-Length`, `x-amz-Checksum`, …), a block is the raw body
- StartSnapshot and PutSnapshotBlock answer 201, CompleteSnapshot 202, the others 200
- an error names itself in the header `x-amzn-ErrorType`; its body has `Message` and mostly `Reason`
- times are seconds since the epoch
Signatures are not verified, but a request without one is refused, as in AWS.

From the user guide, "EBS direct APIs FAQ": block tokens live for 7 days, page tokens for an hour; a page token's
StartingBlockIndex is ignored; a list may be empty, or shorter than asked for, and yet not the last (here only when a
rule of `faults` says so). MaxResults below 100 is refused: the FAQ says "no", and that such a request gets 100 results.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import struct
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from localcloud.ebs.blocks import BLOCK_SIZE
from localcloud.ebs.records import DEFAULT_TIMEOUT_MINUTES, Request, Snapshot, StoreError, invalid
from localcloud.faults.rules import Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from localcloud.ebs.store import SnapshotStore

ERROR_STATUS: Final = {
    "AccessDeniedException": 403,
    "ConcurrentLimitExceededException": 400,
    "ConflictException": 409,
    "InternalServerException": 500,
    "MissingAuthenticationTokenException": 403,
    "RequestThrottledException": 400,
    "ResourceNotFoundException": 404,
    "ServiceQuotaExceededException": 402,
    "UnknownOperationException": 404,
    "ValidationException": 400,
}
BLOCK_TOKEN_SECONDS = 7 * 24 * 3600
PAGE_TOKEN_SECONDS = 3600
MAX_TOKEN = 64  # user guide: a client token has up to 64 characters (botocore's model would take 255)
MAX_TAG_KEY, MAX_TAG_VALUE = 127, 255  # botocore's model: TagKey, TagValue
MAX_RESULTS = range(100, 10_001)  # API reference: ListSnapshotBlocks, MaxResults

_SNAPSHOT_ID = r"(?P<snapshot>snap-[0-9a-f]+)"
_INDEX = r"(?P<index>[0-9]+)"
_TOKEN = struct.Struct(">Qd")


@dataclass(frozen=True)
class Call:
    """One request, read: what its path named, its query, its headers (lower case) and its body."""

    path: dict[str, str]
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What goes back. `body` is JSON, or a block's bytes when `raw`."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    raw: bool = False


class EbsApi:
    """The WSGI application of the EBS direct API.

    `on_start` is told of every snapshot that StartSnapshot answers with, so that EC2 can show it; `resolve_key` turns
    the KMS key asked for (None: the account's default) into the ARN of one that can be used, or raises LookupError;
    `by_default` tells whether the account encrypts by default. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        store: SnapshotStore,
        *,
        owner_id: str,
        on_start: Callable[[Snapshot], None],
        resolve_key: Callable[[str | None], str],
        by_default: Callable[[], bool] = lambda: False,
        faults: Faults | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._owner_id = owner_id
        self._on_start = on_start
        self._resolve_key = resolve_key
        self._by_default = by_default
        self._faults = Faults() if faults is None else faults
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._routes: list[tuple[str, re.Pattern[str], Callable[[Call], Answer]]] = [
            ("POST", re.compile("/snapshots"), self._start),
            ("POST", re.compile(f"/snapshots/completion/{_SNAPSHOT_ID}"), self._complete),
            ("PUT", re.compile(f"/snapshots/{_SNAPSHOT_ID}/blocks/{_INDEX}"), self._put),
            ("GET", re.compile(f"/snapshots/{_SNAPSHOT_ID}/blocks/{_INDEX}"), self._get),
            ("GET", re.compile(f"/snapshots/{_SNAPSHOT_ID}/blocks"), self._list),
            ("GET", re.compile(f"/snapshots/{_SNAPSHOT_ID}/changedblocks"), self._changed),
        ]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. Never raises for what a client sent."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""  # read first: the connection is kept alive
        try:
            answer = self._dispatch(environ, body)
        except StoreError as error:
            answer = _refusal(error)
        content_type = "application/octet-stream" if answer.raw else "application/json"
        start_response(
            f"{answer.status} {HTTPStatus(answer.status).phrase}",
            [
                ("Content-Type", content_type),
                ("Content-Length", str(len(answer.body))),
                ("x-amzn-RequestId", secrets.token_hex(16)),
                *answer.headers,
            ],
        )
        return [answer.body]

    def _dispatch(self, environ: WSGIEnvironment, body: bytes) -> Answer:
        if "HTTP_AUTHORIZATION" not in environ:
            raise StoreError("MissingAuthenticationTokenException", "", "Missing Authentication Token")
        for method, pattern, handle in self._routes:
            found = pattern.fullmatch(environ["PATH_INFO"])
            if found and method == environ["REQUEST_METHOD"]:
                query = {key: values[0] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
                headers = {
                    key[5:].replace("_", "-").lower(): value
                    for key, value in environ.items()
                    if key.startswith("HTTP_")
                }
                return handle(Call(found.groupdict(), query, headers, body))
        raise StoreError("UnknownOperationException", "", f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")

    def _start(self, call: Call) -> Answer:
        asked = _json_object(call.body)
        request = Request(
            volume_size_gib=_member(asked, "VolumeSize", int),
            parent=_member(asked, "ParentSnapshotId", str, default=None),
            tags=_tags(_member(asked, "Tags", list, default=[])),
            description=_member(asked, "Description", str, default=""),
            encrypted=_member(asked, "Encrypted", bool, default=None),
            kms_key_arn=_member(asked, "KmsKeyArn", str, default=None),
            timeout_minutes=_member(asked, "Timeout", int, default=DEFAULT_TIMEOUT_MINUTES),
        )
        if len(request.description) > 255:
            raise invalid("INVALID_PARAMETER_VALUE", "A description has at most 255 characters.")
        token = _member(asked, "ClientToken", str, default=None)
        if token is not None and not re.fullmatch(rf"\S{{1,{MAX_TOKEN}}}", token, re.ASCII):
            raise invalid("INVALID_PARAMETER_VALUE", f"A client token has 1 to {MAX_TOKEN} characters, no space.")
        by_default = self._by_default()
        snapshot = self._store.start(
            request, client_token=token, key=self._key(request, by_default=by_default), by_default=by_default
        )
        if not snapshot.dead:
            self._on_start(snapshot)
        shown = {
            "SnapshotId": snapshot.id,
            "OwnerId": self._owner_id,
            "Status": "pending" if snapshot.dead else self._store.status(snapshot.id),
            "StartTime": snapshot.start_time,
            "VolumeSize": snapshot.volume_size_gib,
            "BlockSize": BLOCK_SIZE,
            "Tags": [{"Key": key, "Value": value} for key, value in request.tags],
            "SseType": "sse-kms" if snapshot.encrypted else "none",
            "Description": request.description or None,
            "ParentSnapshotId": request.parent,
            "KmsKeyArn": snapshot.key,
        }
        return _json_answer(201, {key: value for key, value in shown.items() if value is not None})

    def _key(self, request: Request, *, by_default: bool) -> str | None:
        """The key of a snapshot without a parent (user guide, "Encryption outcomes: No parent snapshot")."""
        wanted = request.encrypted or (request.encrypted is None and (by_default or request.kms_key_arn))
        if request.parent is not None or not wanted:
            return None
        try:
            return self._resolve_key(request.kms_key_arn)
        except LookupError as error:
            raise invalid("INVALID_CUSTOMER_KEY", str(error)) from None

    def _check_key(self, snapshot_id: str) -> None:
        """KMS encrypts or decrypts nothing for EBS with a key that is gone or not enabled. That the refusal's reason is
        this one is not documented; the model has no other that fits.
        """
        key = self._store.find(snapshot_id).key
        try:
            if key is not None:
                self._resolve_key(key)
        except LookupError as error:
            raise invalid("INVALID_CUSTOMER_KEY", str(error)) from None

    def _put(self, call: Call) -> Answer:
        if _number(call.headers, "x-amz-data-length") != BLOCK_SIZE:
            raise invalid("INVALID_PARAMETER_VALUE", f"x-amz-Data-Length must be {BLOCK_SIZE}.")
        checksum = _checksum(call.headers)
        self._check_key(call.path["snapshot"])
        self._store.put(call.path["snapshot"], int(call.path["index"]), call.body, checksum)
        return Answer(
            201,
            b"{}",
            (("x-amz-Checksum", call.headers["x-amz-checksum"]), ("x-amz-Checksum-Algorithm", "SHA256")),
        )

    def _complete(self, call: Call) -> Answer:
        count = _number(call.headers, "x-amz-changedblockscount")
        checksum = None
        if "x-amz-checksum" in call.headers:
            checksum = _checksum(call.headers)
            if call.headers.get("x-amz-checksum-aggregation-method") != "LINEAR":
                raise invalid("INVALID_PARAMETER_VALUE", "x-amz-Checksum-Aggregation-Method must be LINEAR.")
        return _json_answer(202, {"Status": self._store.complete(call.path["snapshot"], count, checksum)})

    def _get(self, call: Call) -> Answer:
        snapshot_id, index = call.path["snapshot"], int(call.path["index"])
        self._check_key(snapshot_id)
        data, digest = self._store.get(snapshot_id, index)
        scope = f"block|{snapshot_id}|{index}|{digest.hex()}"
        if self._read_token(call.query.get("blockToken", ""), scope) is None:
            raise invalid("INVALID_BLOCK_TOKEN", f"The token is not, or no longer, that of block {index}.")
        return Answer(
            200,
            data,
            (
                ("x-amz-Data-Length", str(len(data))),
                ("x-amz-Checksum", base64.b64encode(digest).decode()),
                ("x-amz-Checksum-Algorithm", "SHA256"),
            ),
            raw=True,
        )

    def _list(self, call: Call) -> Answer:
        snapshot_id = call.path["snapshot"]
        until = self._until(BLOCK_TOKEN_SECONDS, "ListSnapshotBlocks")

        def shown(found: tuple[int, bytes]) -> dict[str, Any]:
            index, digest = found
            return {"BlockIndex": index, "BlockToken": self._block_token(snapshot_id, index, digest, until)}

        return self._page(call, snapshot_id, "Blocks", self._store.list_blocks(snapshot_id), shown, until)

    def _changed(self, call: Call) -> Answer:
        second = call.path["snapshot"]
        first = call.query.get("firstSnapshotId")
        if first is None:
            raise invalid("INVALID_SNAPSHOT_ID", "firstSnapshotId is required.")
        until = self._until(BLOCK_TOKEN_SECONDS, "ListChangedBlocks")

        def shown(found: tuple[int, bytes | None, bytes | None]) -> dict[str, Any]:
            index, before, after = found
            block: dict[str, Any] = {"BlockIndex": index}
            if before is not None:
                block["FirstBlockToken"] = self._block_token(first, index, before, until)
            if after is not None:
                block["SecondBlockToken"] = self._block_token(second, index, after, until)
            return block

        return self._page(call, second, "ChangedBlocks", self._store.list_changed(first, second), shown, until)

    def _page(
        self,
        call: Call,
        snapshot_id: str,
        name: str,
        blocks: list[Any],
        show: Callable[[Any], dict[str, Any]],
        until: float,
    ) -> Answer:
        operation = "ListSnapshotBlocks" if name == "Blocks" else "ListChangedBlocks"
        # The reference names no default; the largest page is taken.
        limit = _number(call.query, "maxResults", default=MAX_RESULTS[-1])
        if limit not in MAX_RESULTS:
            raise invalid("INVALID_PARAMETER_VALUE", "MaxResults must be 100 to 10000.")
        start = _number(call.query, "startingBlockIndex", default=0)
        scope = f"page|{name}|{call.query.get('firstSnapshotId')}|{snapshot_id}"
        if "pageToken" in call.query:
            found = self._read_token(call.query["pageToken"], scope)
            if found is None:
                raise invalid("INVALID_PAGE_TOKEN", "The page token is not, or no longer, one of this list.")
            start = found
        left = [block for block in blocks if block[0] >= start]
        if left and self._faults.page("empty-page", operation):
            limit = 0
        elif left and (rule := self._faults.page("short-page", operation)):
            limit = rule.random.randint(1, limit)
        shown: dict[str, Any] = {
            name: [show(block) for block in left[:limit]],
            "ExpiryTime": until,
            "VolumeSize": self._store.find(snapshot_id).volume_size_gib,
            "BlockSize": BLOCK_SIZE,
        }
        if len(left) > limit:
            until = self._until(PAGE_TOKEN_SECONDS, operation)
            shown["NextToken"] = self._token(scope, left[limit][0], until)
        return _json_answer(200, shown)

    # Tokens match ^[A-Za-z0-9+/=]+$ and have at most 256 characters (botocore: BlockToken, PageToken). Ours are a
    # number, when they expire, and a signature of both and of what they are for.

    def _until(self, seconds: float, operation: str) -> float:
        rule = self._faults.page("token-seconds", operation)
        return self._clock() + (rule.seconds if rule else seconds)

    def _token(self, scope: str, number: int, until: float) -> str:
        head = _TOKEN.pack(number, until)
        return base64.b64encode(head + hmac.new(self._secret, head + scope.encode(), hashlib.sha256).digest()).decode()

    def _read_token(self, token: str, scope: str) -> int | None:
        """The number in a token; None if it is of something else, or has expired."""
        head = _base64(token)[: _TOKEN.size]
        if len(head) < _TOKEN.size:
            return None
        number, until = _TOKEN.unpack(head)
        if not hmac.compare_digest(token.encode(), self._token(scope, number, until).encode()):
            return None
        return int(number) if self._clock() < until else None

    def _block_token(self, snapshot_id: str, index: int, digest: bytes, until: float) -> str:
        return self._token(f"block|{snapshot_id}|{index}|{digest.hex()}", index, until)


def _refusal(error: StoreError) -> Answer:
    body = {"Message": error.message[:256], "Reason": error.reason} if error.reason else {"Message": error.message}
    return Answer(ERROR_STATUS[error.code], json.dumps(body).encode(), (("x-amzn-ErrorType", error.code),))


def _json_answer(status: int, shown: dict[str, Any]) -> Answer:
    return Answer(status, json.dumps(shown).encode())


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body or b"{}")
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise invalid("INVALID_PARAMETER_VALUE", "The body is not a JSON object.")
    return asked


_REQUIRED: Any = object()


def _member(asked: dict[str, Any], name: str, kind: type, default: Any = _REQUIRED) -> Any:  # noqa: ANN401 - JSON
    value = asked.get(name)
    if value is None:
        if default is _REQUIRED:
            raise invalid("INVALID_PARAMETER_VALUE", f"{name} is required.")
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise invalid("INVALID_PARAMETER_VALUE", f"{name} must be of type {kind.__name__}.")
    return value


def _tags(given: list[Any]) -> tuple[tuple[str, str], ...]:
    """Tags as pairs. At most 50, no key twice, none that begins with `aws:` (EC2 user guide: tag restrictions)."""
    tags = []
    for tag in given:
        if not isinstance(tag, dict) or not isinstance(tag.get("Key"), str) or not tag["Key"]:
            raise invalid("INVALID_TAG", "A tag needs a Key.")
        tags.append((tag["Key"], str(tag.get("Value") or "")))
    keys = [key for key, _ in tags]
    if len(keys) > 50 or len(set(keys)) < len(keys) or any(key.lower().startswith("aws:") for key in keys):
        raise invalid("INVALID_TAG", "At most 50 tags, each key once, none that begins with 'aws:'.")
    if any(len(key) > MAX_TAG_KEY or len(value) > MAX_TAG_VALUE for key, value in tags):
        raise invalid("INVALID_TAG", f"A key has at most {MAX_TAG_KEY} characters, a value {MAX_TAG_VALUE}.")
    return tuple(tags)


def _number(given: dict[str, str], name: str, default: int | None = None) -> int:
    text = given.get(name)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch("[0-9]{1,18}", text):
        raise invalid("INVALID_PARAMETER_VALUE", f"{name} must be a number.")
    return int(text)


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise invalid("INVALID_PARAMETER_VALUE", "A token or checksum is not base64.") from None


def _checksum(headers: dict[str, str]) -> bytes:
    if headers.get("x-amz-checksum-algorithm") != "SHA256" or "x-amz-checksum" not in headers:
        raise invalid("INVALID_PARAMETER_VALUE", "x-amz-Checksum with the algorithm SHA256 is required.")
    return _base64(headers["x-amz-checksum"])
