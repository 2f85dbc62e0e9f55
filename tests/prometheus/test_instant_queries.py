"""What is asked of Prometheus, which of its responses are a value, and that nothing leaks or hangs."""

from __future__ import annotations

import contextlib
import socket
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from fleetswap.domain.errors import CloudError, FleetswapError, InputError, TryAgain
from fleetswap.domain.rollout.metric_checks import Prometheus as Query
from fleetswap.domain.rollout.metric_values import Sample
from fleetswap.prometheus import instant_queries
from fleetswap.prometheus.instant_queries import PrometheusQueries
from tests.fakes.prometheus import NOW, Prometheus, Result, error, send, vector

TOKEN = "s3cret-t0ken"


def asked(result: Result, **known: Any) -> Sample:
    with Prometheus({"up": result}) as server:
        return PrometheusQueries({}, seconds=known.pop("seconds", 5)).value(Query(server.url, "up", **known))


def scalar(value: str) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "scalar", "result": [NOW, value]}}


def kept(request: BaseHTTPRequestHandler) -> None:
    send(request, 200, vector("1"), Age="90")


def odd(request: BaseHTTPRequestHandler) -> None:
    send(request, 200, vector("1"), Age="old")


@pytest.mark.parametrize(
    ("result", "sample"),
    [
        (vector("1.5"), Sample(NOW, 0, 1.5)),
        (scalar("2"), Sample(NOW, 0, 2.0)),
        (vector("1", infos=["PromQL info: a hint"]), Sample(NOW, 0, 1.0)),
        (vector("1", warnings=["PromQL info: a hint, as of version 2"]), Sample(NOW, 0, 1.0)),
        (vector("1", at=NOW - 90), Sample(NOW - 90, 90, 1.0)),
        (kept, Sample(NOW, 90, 1.0)),
        (odd, Sample(NOW, 0, 1.0)),
        (vector(), Sample(NOW, problem="no series matches")),
        (vector("NaN"), Sample(NOW, 0, problem="the value is NaN")),
        (vector("+Inf"), Sample(NOW, 0, problem="the value is +Inf")),
        (
            vector("1", warnings=["remote read\nfailed"]),
            Sample(NOW, 0, problem="the value is incomplete (Prometheus warns: remote read failed)"),
        ),
        (vector(warnings=["a"]), Sample(NOW, problem="no series matches (Prometheus warns: a)")),
    ],
)
def test_only_one_whole_number_is_a_value(result: Result, sample: Sample) -> None:
    """NaN, part of the data or an old response would pass a candidate; a hint would hold up a good one."""
    assert asked(result) == sample


def redirect(request: BaseHTTPRequestHandler) -> None:
    send(request, 302, "", Location="http://127.0.0.1:1/elsewhere")


def huge(request: BaseHTTPRequestHandler) -> None:
    send(request, 200, "x" * (instant_queries.LARGEST + 1))


def broken(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True
    request.connection.shutdown(socket.SHUT_RDWR)


def page(request: BaseHTTPRequestHandler) -> None:
    send(request, 200, "<html>log in</html>")


def nested(request: BaseHTTPRequestHandler) -> None:
    send(request, 200, "[" * 100_000)


histogram: Result = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {}, "histogram": [NOW, {"count": "3", "sum": "2"}]}]},
}


def throttled(request: BaseHTTPRequestHandler) -> None:
    send(request, 429, "slow down")


@pytest.mark.parametrize(
    ("result", "kind", "message"),
    [
        (
            error("bad_data", "parse error: unexpected\x1b[31m end"),
            InputError,
            "does not accept the query: parse error: unexpected end",
        ),
        (error("execution", "many-to-many matching"), InputError, "many-to-many matching"),
        (vector("1", "2"), InputError, "up has 2 series: make one of them"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, InputError, "results in a matrix"),
        (huge, InputError, "more than 1,048,576 bytes"),
        (error("timeout", "query timed out"), TryAgain, "cannot answer right now: query timed out"),
        (throttled, TryAgain, "cannot answer right now: status 429"),
        (broken, TryAgain, "does not respond"),
        (redirect, CloudError, r"redirects \(status 302\), which is not followed"),
        (page, CloudError, "does not respond as its HTTP API does"),
        (nested, CloudError, "does not respond as its HTTP API does"),
        ({"status": "success", "data": {"resultType": "vector", "result": [{}]}}, CloudError, "as its HTTP API does"),
        (histogram, InputError, "results in a histogram: take a number of it"),
        (vector("1", at=float("inf")), CloudError, "as its HTTP API does"),
        (vector("1", at=10**400), CloudError, "as its HTTP API does"),
        (vector("1", warnings=7), CloudError, "as its HTTP API does"),
    ],
)
def test_what_is_no_value_says_why(result: Result, kind: type[Exception], message: str) -> None:
    """A wrong query would be tried until the deadline, or a server that restarts be taken for a wrong query."""
    with pytest.raises(kind, match=message) as raised:
        asked(result)
    assert type(raised.value) is kind
    assert str(raised.value).isprintable()


def test_a_server_that_never_answers_does_not_hold_up_the_rollout() -> None:
    """The other evidence would wait, and users meet a bad candidate until then."""

    def silent(_: BaseHTTPRequestHandler) -> None:
        server.closing.wait(10)

    def dripping(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not server.closing.wait(0.05):
            request.wfile.write(b" ")

    def dripping_headers(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        with contextlib.suppress(OSError):
            while not server.closing.wait(0.05):
                request.wfile.write(b"x")

    for behaviour in (silent, dripping, dripping_headers):
        with Prometheus({"up": behaviour}) as server, pytest.raises(TryAgain, match="does not respond"):
            PrometheusQueries({}, seconds=0.3).value(Query(server.url, "up"))


def test_a_port_that_nobody_listens_on_is_tried_again() -> None:
    """A Prometheus that restarts would end the rollout."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(TryAgain, match="Connection refused") as raised:
        PrometheusQueries({}).value(Query(f"http://127.0.0.1:{port}", "up"))
    assert "object at" not in str(raised.value)


def test_a_query_is_asked_as_the_api_says() -> None:
    """An instant selector would take a sample from before the step: Prometheus looks back five minutes."""
    with Prometheus() as server:
        PrometheusQueries({}).value(Query(f"{server.url}/", 'up{a="b&c"}', window=90))
        assert server.asked == [{"query": 'up{a="b&c"}', "timeout": "5s", "lookback_delta": "90s"}]


def test_the_token_is_of_the_environment_and_in_no_message() -> None:
    """The token would be needed in the settings, or end up in a log."""
    with Prometheus({"up": vector("1")}, token=TOKEN) as server:
        query = Query(server.url, "up", token_env="PROM")  # noqa: S106 - a variable
        assert PrometheusQueries({"PROM": f"{TOKEN}\n"}).value(query).value == 1.0
        for environment, message in (
            ({}, "PROM, for a token of Prometheus, is not set"),
            ({"PROM": f"{TOKEN}\n{TOKEN}"}, "PROM contains what no bearer token does"),
            ({"PROM": f"{TOKEN}x"}, r"refuses the request \(status 401\): check PROM"),
        ):
            with pytest.raises(FleetswapError, match=message) as raised:
                PrometheusQueries(environment).value(query)
            assert TOKEN not in str(raised.value)
            assert raised.value.__cause__ is None


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployer behind a proxy would reach no Prometheus; one on this machine is never asked through it."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(TryAgain, match="proxy"):
        PrometheusQueries({}).value(Query("http://prometheus.invalid", "up"))
    assert asked(vector("1")).value == 1.0
