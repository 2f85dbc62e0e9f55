"""Asks Prometheus an instant query (HTTP API, `/api/v1/query`), and reads its one value.

It judges no value. Implements `fleetswap.workflows.rollout.ports.InstantQueries`. No redirect is followed, so the token
goes nowhere but to the URL of the settings; no message contains it. A response is read for a few seconds, its headers
too, and up to a limit of bytes. The certificate of the server is checked with the CA certificates of this computer
(`SSL_CERT_FILE`).

`lookback_delta` limits how old a sample may be that an instant selector takes: Prometheus's default is five minutes,
which would be the time before a step. Versions that do not know the parameter ignore it.

Source: Prometheus documentation, "HTTP API".
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

from fleetswap.domain.errors import CloudError, InputError, TryAgain
from fleetswap.domain.rollout.metric_checks import LOOPBACK, Prometheus
from fleetswap.domain.rollout.metric_values import Sample
from fleetswap.domain.text import one_line

SECONDS = 5.0
"""For the whole response."""

LARGEST = 1 << 20
"""Bytes of a response."""

LONGEST = 300
"""Characters of what Prometheus says that are shown."""

LAST = 253_402_300_800.0
"""Unix seconds of the year 10,000. No Prometheus has this time."""

INFO = "PromQL info"
"""How an annotation begins that is not a warning. Before version 3 it is among the warnings."""

_TOKEN = re.compile(r"[\x21-\x7e]+")


class PrometheusQueries:
    """Asks any Prometheus over HTTP or HTTPS. The proxies of the environment are used, but never for this machine."""

    def __init__(self, environment: Mapping[str, str] = os.environ, seconds: float = SECONDS) -> None:
        """`environment` has the tokens."""
        self._environment = environment
        self._seconds = seconds

    def value(self, query: Prometheus) -> Sample:
        """See the port."""
        where = f"Prometheus at {query.url}"
        parameters = {"query": query.query, "timeout": f"{self._seconds:g}s", "lookback_delta": f"{query.window}s"}
        status, headers, body = self._get(query, where, f"{query.url.rstrip('/')}/api/v1/query?{urlencode(parameters)}")
        said = _json(body)
        if 300 <= status < 400:
            raise CloudError(f"{where} redirects (status {status}), which is not followed: set the final URL")
        if status in {400, 422}:
            raise InputError(f"{query.words}: Prometheus does not accept the query: {_said(said, status)}")
        if status in {401, 403}:
            raise CloudError(f"{where} refuses the request (status {status}): check {query.token_env or 'token_env'}")
        if status == 429 or status >= 500:
            raise TryAgain(f"{where} cannot answer right now: {_said(said, status)}")
        if status != 200 or not isinstance(said, dict) or said.get("status") != "success":
            raise CloudError(f"{where} does not respond as its HTTP API does (status {status}): check the URL")
        sample = _sample(query, said, headers.get("Date", ""))
        return replace(sample, age=sample.age + _kept(headers.get("Age", "")))

    def _get(self, query: Prometheus, where: str, url: str) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Accept": "application/json", "Cache-Control": "no-cache", "User-Agent": "fleetswap"}
        if query.token_env is not None:
            headers["Authorization"] = f"Bearer {self._token(query.token_env)}"
        until = time.monotonic() + self._seconds
        timeout = urllib3.Timeout(connect=self._seconds, read=self._seconds)
        with _pool(url) as pool:
            try:
                answer = pool.request(
                    "GET", url, headers=headers, timeout=timeout, retries=False, redirect=False, preload_content=False
                )
                body = b""
                while chunk := answer.read1(LARGEST):
                    body += chunk
                    if len(body) > LARGEST:
                        raise InputError(f"{where}: the response has more than {LARGEST:,} bytes: aggregate the query")
                    if time.monotonic() > until:
                        break
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise TryAgain(f"{where} does not respond: {_reason(error)}") from error
            if time.monotonic() > until:
                raise TryAgain(f"{where} does not respond within {self._seconds:g} s")
            return answer.status, answer.headers, body

    def _token(self, name: str) -> str:
        token = self._environment.get(name, "").strip()
        if not token:
            raise InputError(f"the environment variable {name}, for a token of Prometheus, is not set")
        if not _TOKEN.fullmatch(token):
            raise InputError(f"the environment variable {name} contains what no bearer token does")
        return token


class _Limited(HTTPConnection):
    """A connection whose headers must all be there in time: a timeout of `http.client` is that of each byte."""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as urllib3's own
        """As `HTTPConnection`."""
        seconds = self.timeout if isinstance(self.timeout, int | float) else SECONDS
        end = threading.Timer(seconds, _shut, [self.sock])
        end.daemon = True
        end.start()
        try:
            return super().getresponse()
        finally:
            end.cancel()


class _LimitedTls(_Limited, HTTPSConnection):
    """The same over TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Limited


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _LimitedTls


def _shut(sock: socket.socket) -> None:
    """Nothing more is read. What TLS has to say at its end would be waited for."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _pool(url: str) -> urllib3.PoolManager:
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = None if host in LOOPBACK or proxy_bypass(host) else getproxies().get(parts.scheme)
    pool = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return pool


def _reason(error: Exception) -> str:
    """What urllib3 says names its own objects."""
    reason = getattr(error, "reason", None) or error
    return one_line(re.sub(r"<[^>]*>(\([^)]*\))?: ", "", str(reason)))[:LONGEST]


def _json(body: bytes) -> Any:  # noqa: ANN401 (JSON)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _said(said: object, status: int) -> str:
    error = said.get("error") if isinstance(said, dict) else None
    return one_line(error)[:LONGEST] if error else f"status {status}"


def _sample(query: Prometheus, said: Mapping[str, Any], date: str) -> Sample:
    """The value of a response. Anything but one number is no value; several series are a wrong query."""
    try:
        warnings = [one_line(each)[:LONGEST] for each in said.get("warnings") or () if not str(each).startswith(INFO)]
        kind, result = said["data"]["resultType"], said["data"]["result"]
        if kind not in {"vector", "scalar"}:
            raise InputError(f"{query.words} results in a {one_line(kind)}: an instant vector or a scalar is needed")
        if kind == "vector" and len(result) > 1:
            raise InputError(f"{query.words} has {len(result)} series: make one of them, for example with sum or max")
        if not result:
            return Sample(_seconds(date), problem=_with(warnings, "no series matches"))
        if kind == "vector" and "histogram" in result[0]:
            raise InputError(
                f"{query.words} results in a histogram: take a number of it, for example with histogram_avg"
            )
        at, text = result if kind == "scalar" else result[0]["value"]
        at, value = float(at), float(text)
        if not 0 <= at < LAST:
            raise ValueError(at)
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise CloudError(f"Prometheus at {query.url} does not respond as its HTTP API does: check the URL") from error
    age = max(0.0, _seconds(date) - at)
    if not math.isfinite(value):
        return Sample(at, age, problem=_with(warnings, f"the value is {one_line(text)}"))
    if warnings:
        return Sample(at, age, problem=_with(warnings, "the value is incomplete"))
    return Sample(at, age, value)


def _with(warnings: list[str], problem: str) -> str:
    return f"{problem} (Prometheus warns: {'; '.join(warnings[:2])})" if warnings else problem


def _kept(age: str) -> float:
    """The header `Age`: for how many seconds something in between has kept the response, with its old `Date`."""
    return float(age) if age.isascii() and age.isdigit() and len(age) < 10 else 0.0


def _seconds(date: str) -> float:
    """The header `Date` in Unix seconds; 0 if there is none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ArithmeticError, TypeError, ValueError):
        return 0.0
