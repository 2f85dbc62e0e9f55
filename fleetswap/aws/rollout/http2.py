"""One request over HTTP/2 (RFC 9113) or gRPC, for probes of target groups with one of these protocol versions: to
HTTP/1.1, a load balancer would respond with 464 (ELB user guide, "Troubleshoot your Application Load Balancers").

It uses the library `h2`, which is loaded with this module, so only who probes such a release needs it.
"""

from __future__ import annotations

import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPSConnection
from urllib.parse import unquote, urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

EMPTY_MESSAGE = bytes(5)
"""One message of no bytes, not compressed (gRPC over HTTP2, Length-Prefixed-Message)."""

NO_HTTP2 = "the load balancer does not offer HTTP/2: is its attribute routing.http2.enabled false?"

STREAM = 1
"""Of a client's first request (RFC 9113, 5.1.1)."""


class NoResponse(Exception):
    """Why there is no response, for people."""


def ask(
    url: str,
    headers: Mapping[str, str],
    *,
    context: ssl.SSLContext,
    timeout: float,
    proxy: str | None,
    grpc: bool,
    cleartext: bool = False,
) -> dict[str, str]:
    """The headers of the response, for gRPC with its trailers: `:status`, and `grpc-status` if it has one.

    `timeout` is in seconds, for connecting and then for the whole response, so that a server that sends for ever
    cannot hold up a rollout. `proxy` is the URL of one that knows CONNECT. Of gRPC, an empty message is sent: most
    methods refuse it, but as gRPC. With `cleartext`, an `http` URL is spoken to in HTTP/2 from the first byte
    (RFC 9113, 3.3), without the proxy. Raises `NoResponse`, or `OSError` and `HTTPException` of the connection.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not cleartext:
        raise NoResponse("HTTP/2 needs an HTTPS listener")
    sent = {name.lower(): value for name, value in headers.items()}
    first = {
        ":method": "POST" if grpc else "GET",
        ":scheme": parts.scheme,
        ":authority": sent.pop("host", parts.netloc),
        ":path": (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        **sent,
    }
    try:
        if parts.scheme == "http":
            with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=timeout) as plain:
                return _exchange(plain, first, timeout=timeout, grpc=grpc)
        context.set_alpn_protocols(["h2"])
        with closing(_connection(parts.hostname or "", parts.port or 443, proxy, context, timeout)) as connection:
            connection.connect()
            tls = connection.sock
            if not isinstance(tls, ssl.SSLSocket) or tls.selected_alpn_protocol() != "h2":
                raise NoResponse("it does not offer HTTP/2 (ALPN)" if cleartext else NO_HTTP2)
            return _exchange(tls, first, timeout=timeout, grpc=grpc)
    except ProtocolError as error:
        raise NoResponse(f"{type(error).__name__} {error}") from error


def _connection(host: str, port: int, proxy: str | None, context: ssl.SSLContext, timeout: float) -> HTTPSConnection:
    if proxy is None:
        return HTTPSConnection(host, port, timeout=timeout, context=context)
    through = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    connection = HTTPSConnection(through.hostname or "", through.port or 80, timeout=timeout, context=context)
    login = {}
    if through.username is not None:
        words = f"{unquote(through.username)}:{unquote(through.password or '')}"
        login = {"Proxy-Authorization": f"Basic {b64encode(words.encode()).decode()}"}
    connection.set_tunnel(host, port, login)
    return connection


def _exchange(connection: socket.socket, first: dict[str, str], *, timeout: float, grpc: bool) -> dict[str, str]:
    http2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    http2.initiate_connection()
    if grpc:
        http2.send_headers(STREAM, [*first.items(), ("content-type", "application/grpc"), ("te", "trailers")])
        http2.send_data(STREAM, EMPTY_MESSAGE, end_stream=True)
    else:
        http2.send_headers(STREAM, list(first.items()), end_stream=True)
    deadline = time.monotonic() + timeout
    found: dict[str, str] = {}
    while True:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        connection.sendall(http2.data_to_send())
        data = connection.recv(65_536)
        if not data:
            raise NoResponse("the connection was closed before a response")
        for event in http2.receive_data(data):
            if _ends(event, found, http2, grpc=grpc):
                return found
        if time.monotonic() > deadline:
            raise NoResponse("timed out")


def _ends(event: Event, found: dict[str, str], http2: H2Connection, *, grpc: bool) -> bool:
    """Take what an event says into `found`; whether that is the whole response. A body is of no interest."""
    match event:
        case ResponseReceived() | TrailersReceived():
            found |= dict(event.headers)
            return "grpc-status" in found if grpc and found.get(":status") == "200" else True
        case StreamEnded():
            return True
        case DataReceived():
            http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        case StreamReset() if not found or grpc:
            raise NoResponse(f"the stream was reset ({_named(event.error_code)})")
        case ConnectionTerminated() if (event.last_stream_id or 0) < STREAM:
            raise NoResponse(f"the connection was terminated ({_named(event.error_code)})")
    return False


def _named(code: object) -> str:
    return code.name if isinstance(code, ErrorCodes) else str(code)
