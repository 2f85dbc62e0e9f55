"""The HTTP server of the local cloud: threads, HTTP/1.1 with connections that stay open, loopback only.

Decides nothing about AWS. Werkzeug's own handler closes every connection, because it cannot tell where an unread body
ends; an uploader with persistent connections needs them open, so this one answers with a length and drains the body.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import ThreadedWSGIServer

from localcloud.faults.inject import CUT, PAUSE

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

HOST = "127.0.0.1"


class _Body:
    """A request's body, of which no more than its length can be read."""

    def __init__(self, stream: Any, length: int) -> None:  # noqa: ANN401 - whatever http.server reads from
        self._stream = stream
        self._left = length

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or size > self._left:
            size = self._left
        data: bytes = self._stream.read(size)
        self._left -= len(data)
        return data

    def readline(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or size > self._left:
            size = self._left
        data: bytes = self._stream.readline(size)
        self._left -= len(data)
        return data

    def drain(self) -> None:
        while self._left and self.read(1 << 20):
            pass


class _Handler(MotoRequestHandler):  # type: ignore[misc] # moto ships no types
    """Answers requests of one connection until the client closes it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a small answer waits 40 ms for the client's delayed acknowledgement
    wbufsize = 1 << 16  # headers and a small body leave in one packet
    server: LoopbackServer
    _headers_buffer: list[bytes]  # of http.server: what `end_headers` would send

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        with contextlib.suppress(ConnectionError):  # the client is gone, or we are stopping
            super().finish()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Silent: a gigabyte's upload is 2,048 requests."""

    def run_wsgi(self) -> None:
        if self.headers.get("Transfer-Encoding"):  # no client of AWS sends one; its end could not be found
            self.send_error(411)
            self.close_connection = True
            return
        environ: dict[str, Any] = self.make_environ()
        body = _Body(self.rfile, int(self.headers.get("Content-Length") or 0))
        environ["wsgi.input"] = body
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:  # noqa: ANN401, ARG001 - PEP 3333
            started[:] = [(status, headers)]

        try:
            data = b"".join(self.server.app(environ, start_response))
        except Exception:  # noqa: BLE001 - an error of the stand-in must not end the connection, nor be hidden
            print(f"{self.command} {self.path}", traceback.format_exc(), sep="\n", file=sys.stderr, flush=True)  # noqa: T201 - stderr is the log
            data = b"The local cloud failed; its log says why."
            started[:] = [("500 Internal Server Error", [("Content-Type", "text/plain")])]
        cut = environ.get(CUT, "")
        if cut == "before":  # with the body unread, as a front end does it that dies
            self.close_connection = True
            return
        body.drain()
        self._answer(*started[0], data, cut, environ.get(PAUSE, 0.0))

    def _answer(self, status: str, headers: list[tuple[str, str]], data: bytes, cut: str, pause: float) -> None:
        code, _, phrase = status.partition(" ")
        self.send_response(int(code), phrase)
        for name, value in headers:
            if name.lower() not in {"content-length", "connection", "transfer-encoding"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        if cut == "in-headers":
            # Without the end of the last header that was begun: some clients take what is there for all of them.
            head, self._headers_buffer = b"".join(self._headers_buffer), []
            self.wfile.write(head[: head.rindex(b"Content-Length") + 7])
            self._hang_up()
            return
        self.end_headers()
        half = len(data) // 2
        self.wfile.write(b"" if self.command == "HEAD" else data[:half])
        if cut:
            self._hang_up()
            return
        if pause:
            self.wfile.flush()
            time.sleep(pause)
        self.wfile.write(b"" if self.command == "HEAD" else data[half:])
        self.wfile.flush()

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True


class LoopbackServer(ThreadedWSGIServer):
    """Serves an application on 127.0.0.1. Port 0 takes a free one. Raises OSError when the port is taken."""

    app: WSGIApplication

    def __init__(self, port: int, app: WSGIApplication) -> None:
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        # Werkzeug exits the process when a port is taken; with a socket of ours the error is ours.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((HOST, port))
            listening.listen(self.request_queue_size)
            super().__init__(HOST, listening.getsockname()[1], app, handler=_Handler, fd=listening.fileno())

    def opened(self, connection: socket.socket) -> None:
        """Remember a connection, to close it when the server stops."""
        with self._connections_lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._connections_lock:
            self._connections.discard(connection)

    def stop(self) -> None:
        """Stop accepting, close every connection. Call it from a thread other than the serving one."""
        self.shutdown()
        self.server_close()
        with self._connections_lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):  # closed by its own thread meanwhile
                connection.shutdown(socket.SHUT_RDWR)
