"""HAProxy's configuration for one listener, which never changes while an HAProxy runs. Pure: no I/O.

Decides which attributes of a load balancer and of its listener HAProxy is given, and as what. Everything else (routes,
servers, who may connect) is set while it runs. HAProxy 2.6: configuration manual. What a load balancer answers on its
own: user guide for Application Load Balancers, "Troubleshoot".

Not done: `client_keep_alive.seconds` (HAProxy 2.6 cannot limit a connection's age), IPv6 addresses, TLS policies that
OpenSSL does not have (post-quantum key exchange), mutual TLS, rules of a web ACL.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from localcloud.balancer.traffic import FORMAT

BACKENDS = 100
"""Target groups that a listener's rules can refer to at a time; in AWS, those of a load balancer ("Quotas")."""

ROUTES = "routes.lua"
CLIENTS = "clients.acl"
CERTIFICATES = "certificates.list"
SOCKET = "stats.sock"
HOP = "hop.sock"
HOP_HEADER = "x-localcloud-backend"
HOP_SECONDS = 5  # what the inner half has more than the outer one, to be the one that answers 504
PAGE = "503.html"

ERRORS = {
    # HAProxy answers 503 when no server accepted the connection; an ALB answers 502 then (user guide, "Troubleshoot").
    "400": "400 Bad Request",
    "408": "408 Request Time-out",
    "500": "500 Internal Server Error",
    "502": "502 Bad Gateway",
    "503": "502 Bad Gateway",
    "504": "504 Gateway Time-out",
}


@dataclass(frozen=True)
class Tls:
    """How a listener speaks TLS. `certificates` are PEM files' contents, keys included, the default one first."""

    certificates: tuple[str, ...] = field(repr=False)
    protocols: tuple[str, ...] = ("TLSv1.2",)
    ciphers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """What an HAProxy is started with. A change needs another HAProxy. Seconds."""

    address: str
    port: int
    log_port: int
    idle_timeout: int = 60
    tls: Tls | None = None
    http2: bool = True
    drop_invalid_headers: bool = False
    forwarded_for: str = "append"
    client_port: bool = False


def config(settings: Settings, descriptor: int, name: str) -> str:
    """The configuration of a listener. `descriptor` is the socket that listens already, which HAProxy inherits.

    Each request is told to `log_port`, in the format that `traffic` reads, as one of `name`.

    `option http-server-close` gives each request a connection of its own to the target: a target that closes an idle
    connection can then never make a request fail, and what a draining target still has open is requests in flight.
    `option abortonclose` ends a request when its client goes away, as an ALB does (HTTP 460), and not when the target
    answers at last. Nothing is tried again, not even a connection that a target refuses: an ALB answers 502 then, and
    504 when it does not come about within 10 s (user guide, "Troubleshoot").

    When a target breaks off at a request that is not the first one of its client's connection, HAProxy 2.6 closes that
    connection without an answer, and without a word in its log (`abort_keep_alive`); an ALB answers 502 and counts it.
    So what is forwarded goes through HAProxy twice: the outer half keeps the clients' connections, the inner one gets
    every request as the first one of a connection.


    `option idle-close-on-response` lets the clients of an HAProxy that another one replaces end their connections at
    their next request, which is still answered.
    """
    errors = "".join(f"    errorfile {status} {status}.http\n" for status in ERRORS)
    unavailable = f"http-request return status 503 content-type text/html file {PAGE} hdr server awselb/2.0"
    backends = "".join(
        f"backend {numbered}\n    balance roundrobin\n    {unavailable} if {{ nbsrv eq 0 }}\n"
        for numbered in backend_names()
    )
    headers = "".join(f"    {line}\n" for line in _headers(settings))
    return f"""# Written by localcloud/balancer/config.py for one listener; never changed while HAProxy runs.
global
    stats socket unix@{SOCKET} mode 600 level admin
    log 127.0.0.1:{settings.log_port} len 1024 format raw local0
    lua-load router.lua
    nbthread 1
    maxconn 4000

defaults
    mode http
    log global
    log-format "{name} {FORMAT}"
    option dontlognull
    option http-server-close
    option abortonclose
    option idle-close-on-response
    retries 0
    timeout connect 10s
    timeout client {settings.idle_timeout}s
    timeout server {settings.idle_timeout}s
    timeout http-request {settings.idle_timeout}s
    timeout http-keep-alive {settings.idle_timeout}s
{errors}
frontend listener
    bind fd@{descriptor}{_secure(settings)}
    tcp-request connection silent-drop unless {{ src -f {CLIENTS} }}
{headers}    http-request lua.route
    http-request set-header {HOP_HEADER} %[var(txn.backend)]
    http-request set-log-level silent
    default_backend hop

backend hop
    http-reuse never
    timeout server {settings.idle_timeout + HOP_SECONDS}s
    server hop unix@{HOP}

frontend forwarded
    bind unix@{HOP} mode 600
    http-request set-var(txn.backend) req.hdr({HOP_HEADER})
    http-request del-header {HOP_HEADER}
    use_backend %[var(txn.backend)]
    default_backend none

backend none
    {unavailable}

{backends}"""


def _secure(settings: Settings) -> str:
    """An ALB speaks HTTP/2 with TLS only, and only if it may (`routing.http2.enabled`)."""
    tls = settings.tls
    if tls is None:
        return " proto h1"
    versions = sorted(tls.protocols)
    offered = " alpn h2,http/1.1" if settings.http2 else " proto h1 alpn http/1.1"
    older = [name for name in tls.ciphers if not name.startswith("TLS_")]
    newer = [name for name in tls.ciphers if name.startswith("TLS_")]
    # OpenSSL refuses TLS 1.0 and 1.1 at any higher level than 0 (its manual, SSL_CTX_set_security_level).
    ciphers = f" ciphers {':'.join(older)}:@SECLEVEL=0" if older else ""
    suites = f" ciphersuites {':'.join(newer)}" if newer else ""
    return (
        f" ssl crt-list {CERTIFICATES}{offered} ssl-min-ver {versions[0]} ssl-max-ver {versions[-1]}{ciphers}{suites}"
    )


def _headers(settings: Settings) -> list[str]:
    """What a target is told of the client (user guide, "HTTP headers and Application Load Balancers")."""
    client = "%[src]:%[src_port]" if settings.client_port else "%[src]"
    known = "{ req.fhdr(x-forwarded-for) -m found }"
    lines = [
        f"http-request set-header X-Forwarded-Proto {'https' if settings.tls else 'http'}",
        f"http-request set-header X-Forwarded-Port {settings.port}",
    ]
    if settings.forwarded_for == "append":
        lines += [
            f'http-request set-header X-Forwarded-For "%[req.fhdr(x-forwarded-for)], {client}" if {known}',
            f"http-request set-header X-Forwarded-For {client} if !{known}",
        ]
    elif settings.forwarded_for == "remove":
        lines.append("http-request del-header X-Forwarded-For")
    if settings.drop_invalid_headers:  # names that are not of [-A-Za-z0-9] (API reference, LoadBalancerAttribute)
        lines.append("http-request del-header [^-A-Za-z0-9] -m reg")
    return lines


def backend_names() -> list[str]:
    """The names of the numbered backends."""
    return [f"tg{number}" for number in range(BACKENDS)]


def page(status: str) -> str:
    """The page of an answer that a load balancer gives on its own, as an ALB's look."""
    return f"<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n</body>\r\n</html>\r\n"  # noqa: E501


def files(settings: Settings) -> dict[str, str]:
    """What HAProxy reads besides its configuration, by name: its pages and its certificates."""
    written = {PAGE: page("503 Service Temporarily Unavailable")}
    for status, shown in ERRORS.items():
        text = page(shown)
        head = f"HTTP/1.1 {shown}\r\nServer: awselb/2.0\r\nContent-Type: text/html\r\nContent-Length: {len(text)}\r\n"
        written[f"{status}.http"] = f"{head}\r\n{text}"
    certificates = settings.tls.certificates if settings.tls else ()
    names = [f"certificate{number}.pem" for number in range(len(certificates))]
    written |= dict(zip(names, certificates, strict=True))
    # The first one is presented to a client that names no host, or one that no certificate has.
    written[CERTIFICATES] = "".join(f"{name}\n" for name in names)
    return written
