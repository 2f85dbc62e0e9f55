"""Clients and targets that speak TLS, HTTP/2 or gRPC, for the balancer's tests."""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
from collections import Counter
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, ResponseReceived, StreamEnded, TrailersReceived
from h2.exceptions import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 15.0


def server_context(pem: str, *protocols: str) -> ssl.SSLContext:
    """TLS as a server with this certificate speaks it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
    context.set_alpn_protocols(list(protocols))
    return context


def client_context(*trusted: str, protocols: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """TLS as a client that trusts these certificates, and no others, speaks it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for pem in trusted:
        context.load_verify_locations(cadata=pem.partition("-----BEGIN PRIVATE KEY")[0])
    context.set_alpn_protocols(list(protocols))
    return context


class Http2Server:
    """A target that speaks HTTP/2 alone. `health` is what its checks are answered with: a status, or one of gRPC.

    What comes as gRPC is answered as gRPC: a message, then `grpc-status` in the trailers.
    """

    def __init__(self, name: str, host: str, tls: ssl.SSLContext | None = None) -> None:
        self.name, self.health = name, 200
        self.seen: Counter[str] = Counter()
        self._tls = tls
        self._socket = socket.create_server((host, 0))
        self.server_address = self._socket.getsockname()
        self.slow = threading.Event()  # as the other servers have it
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self._tls.wrap_socket(plain, server_side=True) if self._tls else plain as connection:
                self._talk(connection)
        except (OSError, ProtocolError):  # the other side went away, or does not want the answer any more
            return

    def _talk(self, connection: socket.socket) -> None:
        http2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        http2.initiate_connection()
        connection.sendall(http2.data_to_send())
        asked: dict[int, dict[str, str]] = {}
        while data := connection.recv(65_536):
            for event in http2.receive_data(data):
                if isinstance(event, RequestReceived):
                    asked[event.stream_id] = dict(event.headers)
                elif isinstance(event, StreamEnded):
                    self._answer(http2, event.stream_id, asked.pop(event.stream_id))
            connection.sendall(http2.data_to_send())

    def _answer(self, http2: H2Connection, stream: int, asked: Mapping[str, str]) -> None:
        self.seen[f"{asked[':method']} {asked[':path']}"] += 1
        check = asked[":path"].startswith(("/healthz", "/web.Health/"))
        status = self.health if check else 200
        if asked.get("content-type", "").startswith("application/grpc"):
            http2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
            http2.send_data(stream, bytes(5))
            code = str(status) if check and status != 200 else "0"
            http2.send_headers(stream, [("grpc-status", code)], end_stream=True)
            return
        http2.send_headers(stream, [(":status", str(status))])
        http2.send_data(stream, self.name.encode(), end_stream=True)


def ask_http2(
    connection: socket.socket, path: str = "/", *, grpc: bool = False, method: str = "GET", host: str = "web.test"
) -> tuple[dict[str, str], str]:
    """Headers (trailers among them) and body of one request over HTTP/2."""
    http2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    http2.initiate_connection()
    headers = [(":method", method), (":scheme", "https"), (":authority", host), (":path", path)]
    if grpc:
        headers += [("content-type", "application/grpc"), ("te", "trailers")]
    http2.send_headers(1, headers, end_stream=not grpc)
    if grpc:
        http2.send_data(1, bytes(5), end_stream=True)
    connection.sendall(http2.data_to_send())
    found: dict[str, str] = {}
    body = b""
    while True:
        data = connection.recv(65_536)
        assert data, "the connection was closed"
        for event in http2.receive_data(data):
            if isinstance(event, ResponseReceived | TrailersReceived):
                found |= dict(event.headers)
            elif isinstance(event, DataReceived):
                body += event.data
            elif isinstance(event, StreamEnded):
                return found, body.decode(errors="replace")
        connection.sendall(http2.data_to_send())
