"""What answers outside of the VPCs: AWS's own API behind an endpoint, and a stand-in for the internet.

Decides which host names are answered where. Each endpoint, and each public address, has ports of its own on loopback,
so it is known who asks: the router leads guests there and nobody else. A name of AWS's is answered by the local cloud's
API, as its own endpoint does. Any other name is the internet's: its stand-in says who asked, and remembers it.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from localcloud.authorization import signature
from localcloud.authorization.gate import VPC_ENDPOINT
from localcloud.http_server import LoopbackServer
from localcloud.network.reading import host_names
from localcloud.network.topology import Exit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from localcloud.network.authority import Authority
    from localcloud.network.reading import Exits

REMEMBERED: Final = 200
CLOSED: Final = Exit(1, 1)
"""Ports of this computer at which nothing listens: a connection to them is refused."""

_AWS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


class _Server(LoopbackServer):
    """A server with a thread of its own; TLS with `context`, whose handshake is left to the connection's thread."""

    def __init__(self, app: WSGIApplication, context: ssl.SSLContext | None = None) -> None:
        super().__init__(0, app)
        if context is not None:
            self.ssl_context = context  # so that werkzeug knows the scheme
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name=f"exit {self.port}", daemon=True)
        self._thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's own
        """Silent: a guest that gives up, or trusts nobody, is no failure of ours."""

    def close(self) -> None:
        self.stop()
        self._thread.join()


class Outside:
    """All of it. `api` is the local cloud's own application. `follow` and `close` belong to one thread."""

    def __init__(
        self,
        authority: Authority,
        api: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]],
        refuses: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`refuses` tells of a service, such as `kms`, whether its endpoints refuse connections now."""
        self._authority = authority
        self._refuses = refuses
        self._api = api
        self._ways: dict[str, tuple[Exit, list[_Server]]] = {}
        self._visits: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        self._contexts: dict[str, ssl.SSLContext] = {}

    def visits(self) -> list[dict[str, Any]]:
        """The last requests that the internet got, oldest first."""
        return list(self._visits)

    def follow(self, wanted: Exits) -> tuple[tuple[str, Exit], ...]:
        """Answer for these and no others; the ports of each."""
        for name in [name for name in self._ways if name not in wanted.endpoints and name not in wanted.public]:
            for server in self._ways.pop(name)[1]:
                server.close()
        for name, service in wanted.endpoints.items():
            if name not in self._ways:
                self._ways[name] = self._endpoint(name, host_names(service))
        for address in wanted.public:
            if address not in self._ways:
                self._ways[address] = self._internet(address)
        down = {name for name, service in wanted.endpoints.items() if self._refuses(service.rpartition(".")[2])}
        return tuple(sorted((name, CLOSED if name in down else way) for name, (way, _) in self._ways.items()))

    def close(self) -> None:
        """Answer nothing more."""
        for _, servers in self._ways.values():
            for server in servers:
                server.close()
        self._ways.clear()

    def _endpoint(self, name: str, hosts: tuple[str, ...]) -> tuple[Exit, list[_Server]]:
        own = f"*.{hosts[0].replace('.amazonaws.com', '.vpce.amazonaws.com')}"
        suffixes = (own.removeprefix("*"), hosts[1].removeprefix("*"))

        def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            host = _host(environ)
            if host != hosts[0] and not host.endswith(suffixes):
                return _answer(start_response, "403 Forbidden", f"{name} is no endpoint for {host}.")
            # Who signs for another service is answered by that one here: AWS compares both.
            signed = signature.read(environ)
            if signed is not None and signed.service not in hosts[0].split("."):
                return _answer(start_response, "403 Forbidden", f"{name} is no endpoint for {signed.service}.")
            environ[VPC_ENDPOINT] = name
            return self._api(environ, start_response)

        tls = _Server(application, self._authority.context((*hosts, own)))
        plain = _Server(application)
        return Exit(tls.port, plain.port), [tls, plain]

    def _internet(self, address: str) -> tuple[Exit, list[_Server]]:
        def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            host = _host(environ)
            if host.endswith(_AWS):
                return self._api(environ, start_response)
            visit = {
                "time": time.time(),
                "source": address,
                "scheme": environ["wsgi.url_scheme"],
                "host": host,
                "method": environ["REQUEST_METHOD"],
                "path": environ["PATH_INFO"],
            }
            self._visits.append(visit)
            return _answer(start_response, "200 OK", json.dumps(visit))

        first = self._authority.context(("internet.example",))
        first.sni_callback = self._choose
        tls, plain = _Server(application, first), _Server(application)
        return Exit(tls.port, plain.port), [tls, plain]

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        """The certificate for the name that a client asks for (PEP 447's successor: ssl.SSLContext.sni_callback)."""
        if name:
            if name not in self._contexts:
                if len(self._contexts) >= REMEMBERED:
                    self._contexts.clear()
                self._contexts[name] = self._authority.context((name,))
            connection.context = self._contexts[name]
        return None


def _host(environ: WSGIEnvironment) -> str:
    return str(environ.get("HTTP_HOST", "")).partition(":")[0].lower()


def _answer(start_response: StartResponse, status: str, text: str) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]
