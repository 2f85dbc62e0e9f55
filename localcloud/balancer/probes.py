"""One health check of one target, over HTTP/1.1, HTTP/2 or gRPC, with or without TLS.

Decides what an answer is. What it means for the target is `health`'s. Sources: user guide for Application Load
Balancers ("Health checks for your target groups"); RFC 9113; the protocol of gRPC over HTTP/2.

| protocol version | what is asked | what answers |
| --- | --- | --- |
| `HTTP1` | `GET` over HTTP/1.1 | the status |
| `HTTP2` | `GET` over HTTP/2 | the status |
| `GRPC` | a call of the method at the path, with an empty message | `grpc-status`: a trailer, or a header if there is no message |

With TLS the target's certificate is not verified, as an Application Load Balancer does not.
"""  # noqa: E501 - a table's row is one line

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localcloud.view import HealthCheck

AGENT = "ELB-HealthChecker/2.0"
EMPTY_MESSAGE = bytes(5)  # not compressed, of length 0
READ_BYTES = 65_536


@dataclass(frozen=True)
class Answered:
    """A check got a whole status: of HTTP, or of gRPC."""

    code: int


@dataclass(frozen=True)
class TimedOut:
    """A check got no answer within the timeout."""


@dataclass(frozen=True)
class Broken:
    """A check's connection was refused or cut, or the answer was not HTTP."""


Outcome: TypeAlias = Answered | TimedOut | Broken


@dataclass(frozen=True)
class Probe:
    """Where and how to check one target. An unreachable one (security groups) times out without being asked."""

    address: str
    port: int
    host: str
    check: HealthCheck
    reachable: bool = True


async def ask(probe: Probe) -> Outcome:
    """Check a target once."""
    if not probe.reachable:
        await asyncio.sleep(probe.check.timeout)
        return TimedOut()
    http1 = probe.check.version == "HTTP1"
    try:
        async with asyncio.timeout(probe.check.timeout):
            tls = _tls("http/1.1" if http1 else "h2") if probe.check.protocol == "HTTPS" else None
            reader, writer = await asyncio.open_connection(probe.address, probe.port, ssl=tls)
            try:
                return await (_http1 if http1 else _http2)(probe, reader, writer)
            finally:
                writer.transport.abort()  # to close it would wait for a TLS peer, which may never say goodbye
    except TimeoutError:
        return TimedOut()
    # Cut off, no TLS, or a head without an end.
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return Broken()


def _tls(protocol: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


async def _http1(probe: Probe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Outcome:
    writer.write(
        f"GET {probe.check.path} HTTP/1.1\r\nHost: {probe.host}\r\nUser-Agent: {AGENT}\r\n"
        "Accept-Encoding: gzip, compressed\r\nConnection: close\r\n\r\n".encode()
    )
    words = (await reader.readuntil(b"\r\n\r\n")).split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return Broken()
    return Answered(int(words[1]))


async def _http2(probe: Probe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Outcome:
    from h2.config import H2Configuration  # noqa: PLC0415 - only where a target speaks it
    from h2.connection import H2Connection  # noqa: PLC0415
    from h2.exceptions import ProtocolError  # noqa: PLC0415

    grpc = probe.check.version == "GRPC"
    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    asked = [
        (":method", "POST" if grpc else "GET"),
        (":scheme", probe.check.protocol.lower()),
        (":authority", probe.host),
        (":path", probe.check.path),
        ("user-agent", AGENT),
    ]
    if grpc:
        asked += [("te", "trailers"), ("content-type", "application/grpc")]
    connection.send_headers(1, asked, end_stream=not grpc)
    if grpc:
        connection.send_data(1, EMPTY_MESSAGE, end_stream=True)
    name = "grpc-status" if grpc else ":status"
    while True:
        writer.write(connection.data_to_send())
        data = await reader.read(READ_BYTES)
        if not data:
            return Broken()
        try:
            events = connection.receive_data(data)
        except ProtocolError:
            return Broken()
        for event in events:
            code = _member(getattr(event, "headers", None) or (), name)
            if code is not None:
                return Answered(int(code)) if code.isdigit() else Broken()
            if type(event).__name__ in {"StreamEnded", "StreamReset", "ConnectionTerminated"}:
                return Broken()


def _member(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    return next((value for key, value in headers if key == name), None)
