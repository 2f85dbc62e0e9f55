"""The probe against real HTTP servers on this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fleetswap.aws.rollout.probe import HttpProber
from fleetswap.domain.rollout.rule import PREVIEW_HEADER

VALUES = {"web-1": "web-1.0123456789abcdef"}


class Handler(BaseHTTPRequestHandler):
    """Answers with the status in the path, and notes what was asked."""

    asked: list[tuple[str, str | None, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get(PREVIEW_HEADER), self.headers.get("Host")))
        status = int(self.path.rsplit("/", 1)[1])
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "/200")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[str]:
    """A server's address."""
    Handler.asked = []
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


@pytest.mark.parametrize("status", [200, 204, 302, 404, 503])
def test_the_status_is_the_answer(server: str, status: int) -> None:
    """An error page or a redirect would be followed, or taken for no answer."""
    answer = HttpProber(VALUES.get).get(f"{server}/{status}", release="web-1", timeout=5)
    assert answer.status == status
    assert Handler.asked == [(f"/{status}", VALUES["web-1"], server.removeprefix("http://"))]


def test_without_a_release_there_is_no_header(server: str) -> None:
    """The check after the shift would ask the preview rule instead of what users get."""
    HttpProber(VALUES.get).get(f"{server}/200", release=None, timeout=5)
    assert Handler.asked == [("/200", None, server.removeprefix("http://"))]


def test_an_application_is_asked_by_the_name_that_it_answers_to(server: str) -> None:
    """A framework that checks the Host would answer 403 to every probe, and a good release be given up."""
    prober = HttpProber(VALUES.get, "shop.example.com")
    for release in (None, "web-1"):
        assert prober.get(f"{server}/200", release=release, timeout=5).status == 200
    assert [host for _, _, host in Handler.asked] == ["shop.example.com", "shop.example.com"]


def test_a_release_without_a_rule_is_not_asked(server: str) -> None:
    """What is live would answer in its place, and a candidate that nobody has asked would pass."""
    answer = HttpProber(lambda _: None).get(f"{server}/200", release="web-1", timeout=5)
    assert (answer.status, answer.error) == (None, "the listener has no preview rule of web-1")
    assert Handler.asked == []


def test_the_proxy_of_the_environment_is_not_asked_about_this_machine(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a company's proxy, the local cloud could not be probed."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert HttpProber(VALUES.get).get(f"{server}/200", release=None, timeout=5).status == 200


def test_no_one_there_is_an_answer() -> None:
    """A refused connection would end the rollout with a traceback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answer = HttpProber(VALUES.get).get(f"http://127.0.0.1:{port}/200", release=None, timeout=5)
    assert answer.status is None
    assert "refused" in answer.error


def test_silence_and_nonsense_are_answers() -> None:
    """A machine that accepts and says nothing, or not HTTP, would hang or crash the rollout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/200"
        answer = HttpProber(VALUES.get).get(address, release=None, timeout=0.2)
        assert answer.status is None
        assert "timed out" in answer.error
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def talk() -> None:
            with odd.accept()[0] as peer:
                peer.recv(1000)
                peer.sendall(b"nonsense\r\n\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        answer = HttpProber(VALUES.get).get(f"http://127.0.0.1:{odd.getsockname()[1]}/200", release=None, timeout=5)
        thread.join()
        assert answer.status is None
        assert "BadStatusLine" in answer.error
