"""Writes blocks into a snapshot (PutSnapshotBlock) without boto3, which needs three times the CPU for this one call.

Only a response with status 201 that repeats the checksum counts as success. A call is one attempt, except on a
kept-alive connection that turns out to be closed before the block was sent. This module never waits to retry, and never
reads a file. docs/decisions/0004-put-transport.md explains why, with measurements. Implements
`fleetswap.workflows.image.ports.Puts`.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from botocore.utils import normalize_url_path

from fleetswap.aws.errors import meaning, refusal
from fleetswap.aws.image.connection import PROGRESS_SECONDS, Endpoint, Line, connect
from fleetswap.aws.image.http_answer import Answer, Odd, Reader
from fleetswap.aws.image.signing import UNSIGNED, Request, Signer, Stamp
from fleetswap.aws.session import READ_SECONDS, USER_AGENT, Cloud
from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.image.blocks import encode
from fleetswap.domain.text import one_line

if TYPE_CHECKING:
    from mypy_boto3_ebs import EBSClient

PERMISSION = "ebs:PutSnapshotBlock"


class BlockPuts:
    """Where blocks are written to: one endpoint, one signer. Safe to use from several threads."""

    def __init__(
        self, url: str, signer: Signer, context: Callable[[], ssl.SSLContext], agent: str = USER_AGENT
    ) -> None:
        """`url` is the endpoint's; `context` is asked for only if that is https. `agent` is our name for CloudTrail."""
        endpoint = Endpoint.of(url)
        self._make = partial(BlockConnection, endpoint, signer, context() if endpoint.secure else None, agent)

    @classmethod
    def of(cls, cloud: Cloud, ebs: EBSClient) -> BlockPuts:
        """To the endpoint and region of that client. Raises `InputError` if the authorities' file cannot be read."""
        signer = Signer(ebs.meta.region_name, cloud.credentials())
        return cls(ebs.meta.endpoint_url, signer, cloud.trust, cloud.user_agent)

    def connect(self) -> BlockConnection:
        """A new connection; it is opened by its first put."""
        return self._make()


class BlockConnection:
    """A kept connection, for one thread; another may `close` it. It is a `ports.Connection`."""

    def __init__(
        self, endpoint: Endpoint, signer: Signer, context: ssl.SSLContext | None, agent: str = USER_AGENT
    ) -> None:
        self._endpoint = endpoint
        self._signer = signer
        self._context = context
        # The path is signed encoded once more than it is sent (IAM user guide, "canonical URI"; all but S3).
        self._signed_prefix = quote(normalize_url_path(endpoint.prefix + "/"), safe="/~").rstrip("/")
        self._extra = f"user-agent: {agent}\r\n{endpoint.proxy_header if endpoint.target else ''}"
        self._line: Line | None = None
        self._socket: socket.socket | None = None
        self._closed = False
        self._busy = threading.Lock()

    def put(
        self, snapshot_id: str, index: int, block: bytes | bytearray, digest: bytes, sent: Callable[[], None]
    ) -> None:
        """Write a block; to write it again is harmless. `sent` is called when `block` is not needed any more.

        Raises `Throttled` or another `TryAgain`, `NotFound` if the snapshot does not exist (yet), or `CloudError`.
        """
        doing = f"writing block {index} of snapshot {snapshot_id}"
        checksum = encode(digest)
        path = f"/snapshots/{snapshot_id}/blocks/{index}"
        payload = digest.hex() if self._context is None else UNSIGNED
        request = Request(self._endpoint.authority, self._signed_prefix + path, checksum, len(block), payload)
        try:
            headers, stamp = self._signer.sign(request)
            answer = self._exchange(self._head(path, headers, len(block)), block, sent)
            again = answer.status >= 400 and self._helps(answer, stamp)
        except Odd as error:
            raise TryAgain(f"{doing}: {error}") from error
        except OSError as error:
            raise TryAgain(f"{doing}: {_why(error)}") from error
        except (CloudError, TryAgain) as error:  # what the credentials or the proxy say
            raise type(error)(f"{doing}: {error}") from error
        _judge(answer, checksum, doing, again=again)

    def close(self) -> None:
        """Close the connection; a put of another thread that is under way fails. To repeat it is harmless."""
        self._closed = True
        if (sock := self._socket) is not None:
            with suppress(OSError):  # it was not connected, or is closed
                sock.shutdown(socket.SHUT_RDWR)
        if self._busy.acquire(blocking=False):  # else it is closed at the end of the put
            try:
                self._drop()
            finally:
                self._busy.release()

    def _head(self, path: str, headers: dict[str, str], length: int) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        target = f"{self._endpoint.target}{self._endpoint.prefix}{path}"
        return f"PUT {target} HTTP/1.1\r\n{lines}{self._extra}content-length: {length}\r\n\r\n".encode("latin-1")

    def _exchange(self, head: bytes, block: bytes | bytearray, sent: Callable[[], None]) -> Answer:
        with self._busy:
            try:
                answer = self._attempt(head, block, sent)
            except BaseException:
                self._drop()
                raise
            if answer.close:
                self._drop()
        if self._closed:
            self.close()
        return answer

    def _attempt(self, head: bytes, block: bytes | bytearray, sent: Callable[[], None]) -> Answer:
        kept = self._line if self._line is not None and self._line.idle() else None
        line = kept or self._open()
        try:
            line.send(head, block)
        except ConnectionError:
            answer = _early(line)
            if answer is not None:
                return answer
            if kept is None:
                raise
            # A server may close a connection that it kept at any moment, so also at the one when we begin to write.
            line = self._open()
            line.send(head, block)
        sent()
        return Reader(line.read, seconds=READ_SECONDS).answer()

    def _open(self) -> Line:
        self._drop()
        self._line = connect(self._endpoint, self._context, self._opened)
        return self._line

    def _opened(self, sock: socket.socket) -> None:
        self._socket = sock
        if self._closed:
            raise ConnectionAbortedError("the connection is closed")

    def _drop(self) -> None:
        line, self._line, self._socket = self._line, None, None
        if line is not None:
            line.close()

    def _helps(self, answer: Answer, stamp: Stamp) -> bool:
        """Whether the next attempt is signed with what this answer asks for: newer credentials, or the right time."""
        code, message, _ = _told(answer)
        means = meaning(code, message)
        return (means.may_be_skew and self._signer.set_clock(stamp, answer.headers.get("date"))) or (
            means.may_be_expiry and self._signer.renew(stamp)
        )


def _judge(answer: Answer, checksum: str, doing: str, *, again: bool) -> None:
    """Raise what the answer means, unless it means that the block is written. With `again`, it is to be tried again."""
    if answer.status == 201:
        echoed = answer.headers.get("x-amz-checksum")
        if echoed != checksum:
            raise TryAgain(
                f"{doing}: " + ("EBS received other data" if echoed else "the response does not echo the checksum")
            )
        return
    if answer.status < 400:
        raise TryAgain(f"{doing}: the response had status {answer.status} instead of 201")
    code, message, reason = _told(answer)
    error = refusal(doing, (PERMISSION,), code=code, message=message, reason=reason, status=answer.status)
    raise TryAgain(str(error)) if again else error


def _early(line: Line) -> Answer | None:
    """The answer of a server that did not want the whole request, or None. A success is none: it had not all of it."""
    try:
        answer = Reader(line.read, seconds=READ_SECONDS).answer()
    except (OSError, Odd):
        return None
    return replace(answer, close=True) if answer.status >= 400 else None


def _told(answer: Answer) -> tuple[str, str, str | None]:
    """Code, message and reason of an error answer (restJson1 protocol, "Operation error serialization")."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = None
    told = {name.lower(): str(value) for name, value in body.items()} if isinstance(body, dict) else {}
    code = answer.headers.get("x-amzn-errortype") or told.get("code") or told.get("__type") or ""
    return code.split(":")[0].rpartition("#")[2], told.get("message", ""), told.get("reason")


def _why(error: OSError) -> str:
    if isinstance(error, BlockingIOError):  # what the kernel's time-outs are to Python
        return f"no progress for {PROGRESS_SECONDS} s"
    return one_line(error.strerror or error) or type(error).__name__
