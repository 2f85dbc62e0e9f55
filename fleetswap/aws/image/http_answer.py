"""Reads one HTTP/1.1 response from a connection, and rejects one that is truncated, too large or malformed.

It decides where a response ends and whether the connection can be reused; `fleetswap.aws.image.block_writer` decides
what the response means. It never sends. (RFC 9112. http.client and urllib3 accept a response that is truncated inside
its headers as complete, so their parsers are not used.)
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

HEAD_BYTES = 65_536
"""Longest status line and headers. Real ones have less than 1 KiB."""

BODY_BYTES = 1 << 20
"""Longest body. That of a success is empty, that of an error a few hundred bytes of JSON, or a proxy's page."""

READ_BYTES = 16_384

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")
_LENGTH = re.compile(r"[0-9]{1,10}")


class Odd(Exception):
    """No answer that can be believed; says why."""


@dataclass(frozen=True)
class Answer:
    """A whole answer. Header names are in lower case; `close` says that the line must not be used again."""

    status: int
    headers: dict[str, str]
    body: bytes
    close: bool


class Reader:
    """What was read from a line and is not used up yet."""

    def __init__(self, read: Callable[[int], bytes], *, seconds: float) -> None:
        """`read` gives some bytes, none at the end. After `seconds` no more of an answer is waited for."""
        self._read = read
        self._until = time.monotonic() + seconds
        self._held = b""
        self.began = False
        """Whether anything at all came."""

    def answer(self) -> Answer:
        """One answer. Raises `Odd`, or what `read` raises."""
        head = self._through(b"\r\n\r\n", HEAD_BYTES)
        first, *lines = head.split(b"\r\n")
        status = _STATUS.fullmatch(first)
        if status is None:
            raise Odd("the response is not HTTP")
        headers = _headers(lines)
        body, to_the_end = self._body(headers)
        code = int(status[2])
        if code < 200:
            raise Odd(f"the response had status {code}")
        if self._held:
            raise Odd("there was more than one response")
        return Answer(
            code, headers, body, to_the_end or status[1] == b"0" or "close" in headers.get("connection", "").lower()
        )

    def head(self) -> int:
        """Only the status and headers of an answer that has no body, to CONNECT; returns the status."""
        status = _STATUS.fullmatch(self._through(b"\r\n\r\n", HEAD_BYTES).split(b"\r\n")[0])
        if status is None:
            raise Odd("the response is not HTTP")
        return int(status[2])

    def _body(self, headers: dict[str, str]) -> tuple[bytes, bool]:
        length, coding = headers.get("content-length"), headers.get("transfer-encoding")
        if coding is not None:
            if length is not None or coding.lower() != "chunked":
                raise Odd("the length of the response is unclear")
            return self._chunks(), False
        if length is not None:
            if _LENGTH.fullmatch(length) is None:
                raise Odd("the length of the response is unclear")
            return self._exactly(int(length)), False
        while self._more():
            if len(self._held) > BODY_BYTES:
                raise Odd("the response is too long")
        body, self._held = self._held, b""
        return body, True

    def _chunks(self) -> bytes:
        body = b""
        while True:
            size = _CHUNK.fullmatch(self._through(b"\r\n", HEAD_BYTES))
            if size is None:
                raise Odd("the chunks of the response are not valid")
            length = int(size[1], 16)
            if length == 0:
                break
            if len(body) + length > BODY_BYTES:
                raise Odd("the response is too long")
            body += self._exactly(length)
            if self._exactly(2) != b"\r\n":
                raise Odd("the chunks of the response are not valid")
        while self._through(b"\r\n", HEAD_BYTES):
            pass  # trailers say nothing that is wanted
        return body

    def _through(self, delimiter: bytes, limit: int) -> bytes:
        while (end := self._held.find(delimiter, 0, limit)) < 0:
            if len(self._held) >= limit:
                raise Odd("the response is too long")
            self._need()
        found, self._held = self._held[:end], self._held[end + len(delimiter) :]
        return found

    def _exactly(self, length: int) -> bytes:
        if length > BODY_BYTES:
            raise Odd("the response is too long")
        while len(self._held) < length:
            self._need()
        found, self._held = self._held[:length], self._held[length:]
        return found

    def _need(self) -> None:
        if not self._more():
            raise Odd("the response was truncated" if self.began else "the connection was closed without a response")

    def _more(self) -> bool:
        if time.monotonic() > self._until:
            raise Odd("the response takes too long")
        data = self._read(READ_BYTES)
        self.began = self.began or bool(data)
        self._held += data
        return bool(data)


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise Odd("the headers of the response are not valid")
        name, value = field[1].decode("ascii").lower(), field[2].decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
