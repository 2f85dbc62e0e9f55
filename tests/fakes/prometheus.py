"""Stand-in for a Prometheus server: the instant queries of its HTTP API, on this machine, and what goes wrong there.

It evaluates nothing: a test says what each query results in. What is not in the documented API (a path, a method, a
parameter) is refused. Source: Prometheus documentation, "HTTP API".
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

PARAMETERS = {"query", "time", "timeout", "limit", "lookback_delta", "stats"}
NOW = 1_800_000_000.0
"""The server's time."""

Result = dict[str, Any] | Callable[[BaseHTTPRequestHandler], None]


class Prometheus:
    """A server that runs while the context lasts. `results` are by query; any other has no series."""

    def __init__(self, results: dict[str, Result] | None = None, token: str | None = None) -> None:
        self.results, self.token = results or {}, token
        self.asked: list[dict[str, str]] = []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002 - its own time
                return formatdate(NOW, usegmt=True)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Prometheus:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        asked = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.asked.append(asked)
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            send(request, 401, {"status": "error", "errorType": "unauthorized", "error": "no or a wrong token"})
        elif parts.path != "/api/v1/query":
            send(request, 404, "404 page not found")
        elif set(asked) - PARAMETERS or "query" not in asked:
            send(request, 400, error("bad_data", f"wrong parameters {sorted(asked)}"))
        else:
            result = self.results.get(asked["query"], vector())
            if callable(result):
                result(request)
            else:
                send(
                    request,
                    {"bad_data": 400, "execution": 422, "timeout": 503}.get(result.get("errorType", ""), 200),
                    result,
                )


def send(request: BaseHTTPRequestHandler, status: int, body: object, **headers: str) -> None:
    """Send JSON, or a text as it is."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)


def vector(*values: str, at: float = NOW, **more: Any) -> dict[str, Any]:
    """A result with one series for each value."""
    series = [{"metric": {"instance": str(number)}, "value": [at, value]} for number, value in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": series}, **more}


def error(kind: str, text: str) -> dict[str, Any]:
    """What Prometheus says of a query that it cannot answer."""
    return {"status": "error", "errorType": kind, "error": text}
