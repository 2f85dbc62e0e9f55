"""A connection to an endpoint, plain or TLS, direct or through a proxy, made for sending much and reading little.

It decides how bytes are transferred and how long each step may take. It does not know what the bytes mean, and never
reconnects on its own.
"""

from __future__ import annotations

import base64
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, urlsplit

from botocore.utils import get_environ_proxies

from fleetswap.aws.errors import PROXY_PASSWORD, untrusted
from fleetswap.aws.image.http_answer import Odd, Reader
from fleetswap.aws.session import CONNECT_SECONDS
from fleetswap.domain.errors import CloudError, InputError

PROGRESS_SECONDS = 30
"""Longest time in which not one byte is taken by, or comes from, the other side."""

PIECE_BYTES = 32_768
"""What TLS encrypts and sends at once: two records. 64 and 128 KiB cost as much CPU, and each connection keeps memory
for its largest piece several times over: 64 KiB cost 30 MiB more at 160 connections. (ssl.SSLSocket sends each record
by itself.)"""

Open = Callable[[socket.socket], None]


class Line(Protocol):
    """An open connection."""

    def send(self, head: bytes, body: bytes | bytearray) -> None:
        """Send all of it. Raises `OSError`."""

    def read(self, size: int) -> bytes:
        """At most `size` bytes, none at the end. Raises `OSError`."""

    def idle(self) -> bool:
        """Whether nothing has come since the last answer, not even the end."""

    def close(self) -> None:
        """Close it."""


@dataclass(frozen=True)
class Endpoint:
    """Where to connect to, from an URL; `proxy` is the URL of an HTTP proxy, or None."""

    secure: bool
    host: str
    port: int
    authority: str
    """Host and, unless it is the scheme's own, port: the `Host` header."""
    prefix: str
    """What comes before the path of a request."""
    proxy: str | None

    @classmethod
    def of(cls, url: str) -> Endpoint:
        """Of an URL and the environment's proxies (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host = parts.hostname or ""
        port = parts.port or (443 if secure else 80)
        name = f"[{host}]" if ":" in host else host
        authority = name if port == (443 if secure else 80) else f"{name}:{port}"
        proxy = get_environ_proxies(url).get(parts.scheme)  # botocore's own, so that all calls go the same way
        if proxy is not None and "://" not in proxy:
            proxy = f"http://{proxy}"
        if proxy is not None and not proxy.startswith("http://"):
            raise InputError(f"the proxy of {host} is not an http:// proxy: use one, or add the host to NO_PROXY")
        return cls(secure, host, port, authority, parts.path.rstrip("/"), proxy)

    @property
    def target(self) -> str:
        """What comes before the path in a request line: something only if a proxy reads it."""
        return f"http://{self.authority}" if self.proxy is not None and not self.secure else ""

    @property
    def proxy_header(self) -> str:
        """The header line that tells the proxy who we are; nothing if its URL names nobody."""
        proxy = urlsplit(self.proxy or "")
        if not proxy.username:
            return ""
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        return f"Proxy-Authorization: Basic {base64.b64encode(user.encode()).decode('ascii')}\r\n"


def connect(endpoint: Endpoint, context: ssl.SSLContext | None, opened: Open) -> Line:
    """A line to the endpoint, over TLS if there is a `context`.

    `opened` is told the socket before anything is waited for, so that another thread can shut it down. Raises
    `OSError`, `Odd` if a proxy gives no sensible answer, `CloudError` if it, or the certificate, will not do.
    """
    host, port = endpoint.host, endpoint.port
    proxy = urlsplit(endpoint.proxy) if endpoint.proxy is not None else None
    if proxy is not None:
        host, port = proxy.hostname or "", proxy.port or 80
    sock = _connect(host, port, opened)
    try:
        line: Line = _Plain(sock)
        if proxy is not None and endpoint.secure:
            _tunnel(line, endpoint)
        if context is not None:
            line = _Tls(sock, context, endpoint.host)
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise CloudError(f"{untrusted(endpoint.host)} ({error.verify_message})") from error
    except BaseException:
        sock.close()
        raise
    return line


def _connect(host: str, port: int, opened: Open) -> socket.socket:
    failure: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            opened(sock)
            sock.settimeout(CONNECT_SECONDS)
            sock.connect(address)
            # From here on the kernel keeps the time: with Python's own time-outs each call would be two system calls.
            sock.settimeout(None)
            seconds = struct.pack("ll", PROGRESS_SECONDS, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure or OSError(f"{host} has no address")


def _tunnel(line: Line, endpoint: Endpoint) -> None:
    name = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    request = f"CONNECT {name}:{endpoint.port} HTTP/1.1\r\nHost: {name}:{endpoint.port}\r\n{endpoint.proxy_header}\r\n"
    line.send(request.encode("latin-1"), b"")
    status = Reader(line.read, seconds=PROGRESS_SECONDS).head()
    if status == 407:
        raise CloudError(PROXY_PASSWORD)
    if status // 100 != 2:
        raise Odd(f"the proxy responded with status {status}")


class _Plain:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, head: bytes, body: bytes | bytearray) -> None:
        with memoryview(body) as view:
            done = self._sock.sendmsg([head, view]) - len(head)
            if done < 0:
                self._sock.sendall(head[done:])
                done = 0
            while done < len(view):
                with view[done:] as rest:
                    done += self._sock.send(rest)

    def read(self, size: int) -> bytes:
        return self._sock.recv(size)

    def idle(self) -> bool:
        try:
            self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        self._sock.close()


class _Tls:
    """TLS between two buffers in memory, so that the socket gets and gives large pieces."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except ssl.SSLError:
                self._flush()  # the alert that tells the other side why
                raise
            else:
                self._flush()
                return

    def send(self, head: bytes, body: bytes | bytearray) -> None:
        self._write(head)
        with memoryview(body) as view:
            for start in range(0, len(view), PIECE_BYTES):
                with view[start : start + PIECE_BYTES] as piece:
                    self._write(piece)
                self._flush()
        self._flush()

    def _write(self, data: bytes | memoryview) -> None:
        done = 0
        while done < len(data):
            done += self._tls.write(data[done:])

    def read(self, size: int) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def idle(self) -> bool:
        try:
            while data := self._sock.recv(PIECE_BYTES, socket.MSG_DONTWAIT):
                self._in.write(data)
                try:
                    self._tls.read(1)
                except ssl.SSLWantReadError:
                    continue  # a session ticket or the like
                return False
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        self._sock.close()

    def _flush(self) -> None:
        if self._out.pending:
            self._sock.sendall(self._out.read())

    def _fill(self) -> None:
        data = self._sock.recv(PIECE_BYTES)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()
