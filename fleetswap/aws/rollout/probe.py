"""The HTTP client of a rollout: one request, no redirects, and every failure returned as a result.

It never judges a status, and never raises if there is no response. Implements
`fleetswap.workflows.rollout.ports.Prober`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
    getproxies,
    proxy_bypass,
)

from fleetswap.domain.hosts import is_loopback
from fleetswap.domain.rollout.health import HTTP1, Answer, ProbeProtocol
from fleetswap.domain.rollout.rule import PREVIEW_HEADER

AGENT = "fleetswap-probe"
"""User-Agent of a probe, so that access logs tell it from users."""

HEALTH_CHECKER = "ELB-HealthChecker/2.0"
"""User-Agent of a load balancer's health check (ELB user guide, "Health checks for Application Load Balancer target
groups"). An application may tell them by it."""


class NoRedirects(HTTPRedirectHandler):
    """A redirect is the answer: followed, it would tell of another page, perhaps of another machine."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> Request | None:
        """Follow nothing."""
        del req, fp, code, msg, headers, newurl
        return None


class HttpProber:
    """Asks a load balancer over HTTP or HTTPS. The proxies of the environment are used, but never for this machine.

    A load balancer is asked by the name that AWS gave it, which no certificate holds: the certificate is not checked.
    What a probe hears decides only together with the health that AWS itself reports.
    """

    def __init__(
        self,
        preview: Callable[[str], str | None],
        host: str | None = None,
        protocol: ProbeProtocol = HTTP1,
        *,
        agent: str = AGENT,
        cleartext: bool = False,
    ) -> None:
        """`preview` gives the header value that reaches a release, or None; `host` is the `Host`, if not the URL's.

        An application may answer only to the names that users ask it by. `protocol` is that of the target group.
        With `cleartext`, HTTP/2 needs no TLS: a load balancer speaks it so to its targets, never to users.
        """
        self._preview = preview
        self._host = host
        self._protocol = protocol
        self._agent = agent
        self._cleartext = cleartext

    def get(self, url: str, *, release: str | None, timeout: float) -> Answer:
        """GET with the preview header of `release`, or without; `timeout` in seconds, for connecting and each read.

        Of gRPC it is a POST of an empty message, see `ProbeProtocol.answer`. The header's value is read from the rule
        each time: it may have been put right since. For that `TryAgain` or `CloudError` is raised.
        """
        headers = {"User-Agent": self._agent, "Cache-Control": "no-cache"}
        if release is not None:
            value = self._preview(release)
            if value is None:
                return Answer(None, f"the listener has no preview rule of {release}")
            headers[PREVIEW_HEADER] = value
        if self._host is not None:
            headers["Host"] = self._host
        if self._protocol.version != "http1":
            return self._get_http2(url, headers, timeout)
        request = Request(url, headers=headers)  # noqa: S310 - the order has checked the scheme
        try:
            with _opener(url).open(request, timeout=timeout) as response:
                return Answer(response.status)
        except HTTPError as error:
            with error:
                return Answer(error.code)
        except URLError as error:
            return Answer(None, str(error.reason))
        except (OSError, HTTPException, ValueError) as error:
            return Answer(None, f"{type(error).__name__} {error}")

    def _get_http2(self, url: str, headers: Mapping[str, str], timeout: float) -> Answer:
        from fleetswap.aws.rollout import http2  # noqa: PLC0415 - most releases speak HTTP/1.1, and need no h2

        grpc, host = self._protocol.version == "grpc", urlsplit(url).hostname or ""
        proxy = None if is_loopback(host) or proxy_bypass(host) else getproxies().get("https")
        try:
            found = http2.ask(
                url,
                headers,
                context=_context(),
                timeout=timeout,
                proxy=proxy,
                grpc=grpc,
                cleartext=self._cleartext,
            )
        except http2.NoResponse as error:
            return Answer(None, str(error))
        except (OSError, HTTPException, ValueError) as error:
            return Answer(None, f"{type(error).__name__} {error}")
        return self._protocol.answer(found)


def health_checker(protocol: ProbeProtocol, host: str) -> HttpProber:
    """Checks a machine as a load balancer does, which sends the machine's address as `host`."""
    return HttpProber(lambda _release: None, host, protocol, agent=HEALTH_CHECKER, cleartext=True)


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _opener(url: str) -> OpenerDirector:
    handlers = [NoRedirects(), HTTPSHandler(context=_context())]
    if is_loopback(urlsplit(url).hostname or ""):
        return build_opener(*handlers, ProxyHandler({}))
    return build_opener(*handlers)
