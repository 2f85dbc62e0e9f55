"""The probe of releases that speak HTTP/2 or gRPC, against real servers on this machine."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection

from fleetswap.aws.rollout.probe import HttpProber, health_checker
from fleetswap.domain.rollout.health import Answer, ProbeProtocol
from fleetswap.domain.rollout.rule import PREVIEW_HEADER
from tests.localcloud.balancer.secure import Http2Server, server_context
from tests.localcloud.certificates import certificate

VALUES = {"web-1": "web-1.0123456789abcdef"}
PEM = certificate("shared.example")
HTTP2, GRPC = ProbeProtocol("http2"), ProbeProtocol("grpc", "0,12-13")


class Server(Http2Server):
    """Answers with what a test has put into `says`, and notes the headers that it was asked with."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, str]] = []
        self.says: Callable[[H2Connection, int], None] = status("200")
        super().__init__("web", "127.0.0.1", server_context(PEM, "h2"))

    def _answer(self, http2: H2Connection, stream: int, asked: Mapping[str, str]) -> None:
        self.asked.append(asked)
        self.says(http2, stream)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}"


def status(code: str, **headers: str) -> Callable[[H2Connection, int], None]:
    """A response that is its headers alone."""
    given = [(":status", code), *((name.replace("_", "-"), value) for name, value in headers.items())]
    return lambda http2, stream: http2.send_headers(stream, given, end_stream=True)


def trailers(**given: str) -> Callable[[H2Connection, int], None]:
    """A response to gRPC: headers, a message, trailers."""

    def say(http2: H2Connection, stream: int) -> None:
        http2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        http2.send_data(stream, bytes(5))
        http2.send_headers(stream, [(name.replace("_", "-"), value) for name, value in given.items()], end_stream=True)

    return say


@contextlib.contextmanager
def spoken_to(offered: str, talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a server of one connection."""
    context = server_context(PEM, offered)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError), context.wrap_socket(listening.accept()[0], server_side=True) as one:
                talk(one)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def probe(url: str, protocol: ProbeProtocol = HTTP2, *, host: str | None = None, timeout: float = 5) -> Answer:
    return HttpProber(VALUES.get, host, protocol).get(url, release="web-1", timeout=timeout)


@pytest.mark.parametrize("code", ["200", "302", "404", "464", "503"])
def test_a_release_that_speaks_http2_is_probed_with_it(server: Server, code: str) -> None:
    """A load balancer would answer each probe with 464, or the release be promoted without one."""
    server.says = status(code)
    assert probe(f"{server.url}/ready?full=1", host="shop.example.com") == Answer(int(code))
    (asked,) = server.asked
    assert [asked[name] for name in (":method", ":path", ":authority", PREVIEW_HEADER.lower(), "user-agent")] == [
        "GET",
        "/ready?full=1",
        "shop.example.com",
        VALUES["web-1"],
        "fleetswap-probe",
    ]


@pytest.mark.parametrize(
    ("says", "answer"),
    [
        (trailers(grpc_status="0"), Answer(200)),
        (trailers(grpc_status="13"), Answer(200)),
        (status("200", grpc_status="12"), Answer(200)),
        (status("464"), Answer(464)),
        (status("503"), Answer(503)),
        (status("200"), Answer(None, "the response has no grpc-status")),
        (trailers(grpc_message="odd"), Answer(None, "the response has no grpc-status")),
        (trailers(grpc_status="zero"), Answer(None, "gRPC status zero instead of 0,12-13")),
        (
            trailers(grpc_status="14", grpc_message="no database"),
            Answer(None, "gRPC status 14 instead of 0,12-13 (no database)"),
        ),
    ],
)
def test_a_grpc_server_fails_with_a_grpc_status(
    server: Server, says: Callable[[H2Connection, int], None], answer: Answer
) -> None:
    """Its HTTP status is 200 whatever happens: a release whose every call fails would pass the gate."""
    server.says = says
    assert probe(f"{server.url}/web.Health/Check", GRPC) == answer
    assert [server.asked[0][name] for name in (":method", "content-type", "te")] == [
        "POST",
        "application/grpc",
        "trailers",
    ]


def test_a_release_without_a_rule_is_not_asked_by_http2_either(server: Server) -> None:
    """What is live would answer in its place."""
    answer = HttpProber(lambda _: None, None, HTTP2).get(server.url, release="web-1", timeout=5)
    assert (answer.status, server.asked) == (None, [])


def test_what_is_broken_off_is_no_answer(server: Server) -> None:
    """A target that resets its streams would end the rollout with a traceback."""
    server.says = lambda http2, stream: http2.reset_stream(stream, 2)
    assert probe(server.url) == Answer(None, "the stream was reset (INTERNAL_ERROR)")
    server.says = lambda http2, _: http2.close_connection(11, last_stream_id=0)
    assert probe(server.url) == Answer(None, "the connection was terminated (ENHANCE_YOUR_CALM)")


def test_what_never_ends_is_no_answer() -> None:
    """A server that sends pings for ever, and no response, would hold up a rollout for ever."""

    def talk(connection: socket.socket) -> None:
        http2 = H2Connection(H2Configuration(client_side=False))
        http2.initiate_connection()
        for _ in range(200):
            http2.ping(bytes(8))
            connection.sendall(http2.data_to_send())
            time.sleep(0.05)

    with spoken_to("h2", talk) as url:
        assert "timed out" in probe(url, timeout=0.3).error


def test_a_load_balancer_without_http2_is_told_of() -> None:
    """Nobody would know why no probe gets through; or it would speak HTTP/2 to who has not offered it."""
    with spoken_to("http/1.1", lambda _: None) as url:
        answer = probe(url)
    assert answer.status is None
    assert "does not offer HTTP/2" in answer.error
    assert "HTTPS" in probe("http://127.0.0.1:9").error


@pytest.mark.parametrize(("protocol", "method"), [(HTTP2, "GET"), (GRPC, "POST")])
def test_a_machine_is_checked_without_tls_as_a_load_balancer_does(protocol: ProbeProtocol, method: str) -> None:
    """An image whose service speaks HTTP/2 or gRPC behind an HTTP target group would fail every boot test."""
    asked: dict[str, str] = {}

    def serve(listening: socket.socket) -> None:
        with listening.accept()[0] as connection:
            http2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
            http2.initiate_connection()
            while not asked:
                for event in http2.receive_data(connection.recv(65_536)):
                    asked.update(getattr(event, "headers", None) or {})
            http2.send_headers(1, [(":status", "200"), ("grpc-status", "12")], end_stream=True)
            connection.sendall(http2.data_to_send())

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/web.Health/Check"
        assert health_checker(protocol, "10.0.0.1:8080").get(url, release=None, timeout=5) == Answer(200)
        thread.join()
    found = [asked[name] for name in (":method", ":scheme", ":authority", ":path", "user-agent")]
    assert found == [method, "http", "10.0.0.1:8080", "/web.Health/Check", "ELB-HealthChecker/2.0"]


def test_a_machine_without_http2_is_not_called_a_load_balancer() -> None:
    """Its developer would look for an attribute of a load balancer."""
    with spoken_to("http/1.1", lambda _: None) as url:
        answer = health_checker(HTTP2, "10.0.0.1").get(url, release=None, timeout=5)
    assert answer == Answer(None, "it does not offer HTTP/2 (ALPN)")


def test_nonsense_and_nobody_are_no_answers() -> None:
    """They would end the rollout with a traceback."""

    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(bytes(9))  # a frame of data on stream 0, which none may be on

    with spoken_to("h2", talk) as url:
        assert "ProtocolError" in probe(url).error
    assert "refused" in probe(url).error


def test_the_proxy_of_the_environment_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a company's network, whose only way out is a proxy, no such release could be deployed."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def pass_on() -> None:
            with proxy.accept()[0] as client, socket.create_connection(server.server_address) as target:
                asked.append(client.recv(4000).decode())
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=copy, args=(target, client))
                back.start()
                copy(client, target)
                back.join()

        thread = threading.Thread(target=pass_on)
        thread.start()
        monkeypatch.setattr("fleetswap.aws.rollout.probe.is_loopback", lambda _: False)
        monkeypatch.setattr("fleetswap.aws.rollout.probe.proxy_bypass", lambda _: False)
        monkeypatch.setenv("https_proxy", f"http://me:p%40ss@127.0.0.1:{proxy.getsockname()[1]}")
        assert urllib.request.getproxies()["https"]
        assert probe(server.url) == Answer(200)
        thread.join()
    assert asked[0].startswith(f"CONNECT 127.0.0.1:{server.server_address[1]} HTTP/1.")
    assert "Proxy-Authorization: Basic bWU6cEBzcw==" in asked[0]


def copy(one: Any, other: Any) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65_536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("headers", [{}, {":status": "ok"}])
def test_a_response_without_a_status_proves_nothing(headers: dict[str, str]) -> None:
    """A broken server would end the rollout with an error of Python, or pass."""
    assert HTTP2.answer(headers) == Answer(None, "the response has no status")
