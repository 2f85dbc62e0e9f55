"""Stand-in for one endpoint of EBS: says, byte for byte, what a test tells it to, and keeps what it was asked."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import queue
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Play = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Asked:
    """A request. `connection` counts the connections, from 1."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int


class Wire:
    """Answers each request with the next of `answers`: bytes to send, or None to close the connection without a word.

    After the answer the connection is kept, unless `close_after` is set. With `early`, it answers before it has read
    the body. With a `context` it speaks TLS; with `tunnel` it is a proxy that leads every CONNECT to that port.
    """

    def __init__(self, context: ssl.SSLContext | None = None, tunnel: int | None = None) -> None:
        self.answers: queue.Queue[bytes | None] = queue.Queue()
        self.asked: list[Asked] = []
        self.close_after = False
        self.early = False
        self.piece = 1 << 20
        self.connections = 0
        self._context = context
        self._tunnel = tunnel
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []
        self._ended = False

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'http' if self._context is None else 'https'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Wire:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._threads[0].join()
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join()

    def hang_up(self) -> None:
        """Close every connection that is open, as a server does with those that are idle for long."""
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._ended:
                sock.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock, self.connections))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        self._open.append(sock)
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
                self._open.append(sock)
            with sock, sock.makefile("rb") as stream:
                while self._answer(sock, stream, number):
                    pass
        except OSError:
            sock.close()

    def _answer(self, sock: socket.socket, read: BinaryIO, number: int) -> bool:
        line = read.readline().decode().strip()
        if not line:
            return False
        headers: dict[str, str] = {}
        while field := read.readline().decode().strip():
            name, value = field.split(":", 1)
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        body = b"" if self.early else read.read(length)
        if not self.early and len(body) < length:
            return False
        self.asked.append(Asked(line, headers, body, number))
        answer = self.answers.get(timeout=60)
        if answer is None:
            return False
        for start in range(0, len(answer), self.piece):
            sock.sendall(answer[start : start + self.piece])
        if line.startswith("CONNECT") and self._tunnel is not None:
            self._lead(sock, self._tunnel)
            return False
        return not (self.close_after or self.early)

    def _lead(self, sock: socket.socket, port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as there:
            self._open.append(there)
            back = threading.Thread(target=_pump, args=(there, sock))
            back.start()
            _pump(sock, there)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context for 127.0.0.1 and localhost, and the file that a client must trust for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    authority, both = folder / "authority.pem", folder / "server.pem"
    text = made.public_bytes(serialization.Encoding.PEM)
    authority.write_bytes(text)
    both.write_bytes(
        text
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context, authority
