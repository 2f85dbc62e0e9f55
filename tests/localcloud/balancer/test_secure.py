"""Listeners that speak TLS, targets that do, HTTP/2 and gRPC, through real HAProxies."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from h2.exceptions import ProtocolError

from fleetswap.aws.rollout.probe import HttpProber
from fleetswap.domain.rollout.health import Answer, ProbeProtocol
from fleetswap.domain.rollout.rule import PREVIEW_HEADER
from localcloud.view import HealthCheck, Rule
from tests.localcloud.balancer.secure import Http2Server, ask_http2, client_context, server_context
from tests.localcloud.balancer.world import CHECK, Server, answer_to, fixed, forward, header
from tests.localcloud.certificates import certificate

if TYPE_CHECKING:
    from tests.localcloud.balancer.world import World

pytestmark = pytest.mark.haproxy

SHOP, API, STRANGER = certificate("shop.test"), certificate("api.test", "*.api.test"), certificate("stranger.test")


def secure(world: World, *certificates: str, **attributes: str) -> None:
    """Have the listener speak TLS."""
    world.listener = replace(
        world.listener,
        protocol="HTTPS",
        certificates=certificates,
        protocols=("TLSv1.3", "TLSv1.2"),
        ciphers=("TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        attributes=attributes,
    )


def presented(world: World, host: str) -> str:
    """The name of the certificate that a client which asks for a host is shown."""
    with world.open(client_context(SHOP, API, STRANGER), host) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        shown: Any = connection.getpeercert()
        return str(dict(pair for part in shown["subject"] for pair in part)["commonName"])


def test_a_client_is_shown_the_certificate_of_the_host_that_it_names(world: World) -> None:
    """Two services with a domain each could not share a listener: one of them would have the other's certificate."""
    secure(world, SHOP, API)
    world.serving()
    assert [presented(world, host) for host in ("shop.test", "api.test", "v1.api.test")] == [
        "shop.test",
        "api.test",
        "api.test",
    ]
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        presented(world, "nobody.test")  # it is shown the default certificate


def test_a_policy_s_versions_and_ciphers_are_the_only_ones(world: World) -> None:
    """A client that is too old for the policy would work here, and not in AWS."""
    secure(world, SHOP)
    world.listener = replace(world.listener, protocols=("TLSv1.3",), ciphers=("TLS_AES_256_GCM_SHA384",))
    world.serving()
    newest = client_context(SHOP)
    with world.open(newest, "shop.test") as connection:
        assert isinstance(connection, ssl.SSLSocket)
        assert (connection.version(), (connection.cipher() or ("",))[0]) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    older = client_context(SHOP)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        world.open(older, "shop.test")


@pytest.mark.parametrize(("http2", "chosen"), [("true", "h2"), ("false", "http/1.1")])
def test_http2_is_offered_if_the_balancer_has_it(world: World, http2: str, chosen: str) -> None:
    """`routing.http2.enabled` would mean nothing."""
    secure(world, SHOP, **{"routing.http2.enabled": http2})
    world.serving()
    with world.open(client_context(SHOP, protocols=("h2", "http/1.1")), "shop.test") as connection:
        assert isinstance(connection, ssl.SSLSocket)
        assert connection.selected_alpn_protocol() == chosen


def test_a_listener_without_tls_does_not_speak_http2(world: World) -> None:
    """A client that speaks HTTP/2 in the clear would work here, and not in AWS."""
    world.rules(Rule((), (fixed("hello"),)))
    world.serving()
    with world.open() as connection, pytest.raises((AssertionError, OSError, ProtocolError)):
        ask_http2(connection)


def test_what_is_read_at_the_start_changes_without_losing_a_request(world: World) -> None:
    """A new certificate or idle timeout would cut the clients off, or never be used."""
    world.group("blue", "b1")
    world.split(blue=1)
    secure(world, SHOP)
    world.healthy("blue")
    context = client_context(SHOP, API)
    with world.open(context, "shop.test") as kept:
        assert answer_to(kept, "GET / HTTP/1.1") == (200, "b1")
        secure(world, API, SHOP)
        new = ssl.PEM_cert_to_DER_cert(API.partition("-----BEGIN PRIVATE KEY")[0])
        world.settle(lambda: _default(world) == new, "the new certificate")
        world.group("green", "g1")
        world.split(green=1)
        world.settle(lambda: not world.balancer.quiet("g1"), "health of g1")
        # The old connection follows the new rules, too, and is closed after it.
        assert answer_to(kept, "GET / HTTP/1.1") == (200, "g1")
        assert kept.recv(1) == b""
    assert world.balancer.problems() == []
    world.settle(lambda: world.balancer.quiet("b1"), "the end of what is left")


def _default(world: World) -> bytes | None:
    """What a client that names no host is shown."""
    with world.open() as connection:
        assert isinstance(connection, ssl.SSLSocket)
        return connection.getpeercert(binary_form=True)


@pytest.mark.parametrize("version", ["HTTP1", "HTTP2"])
def test_targets_are_spoken_to_with_tls_and_not_verified(world: World, version: str) -> None:
    """A service that serves HTTPS alone would be unhealthy; or need a certificate that AWS does not ask for."""
    context = server_context(STRANGER, "h2" if version == "HTTP2" else "http/1.1")

    def serve(name: str, host: str) -> Any:
        return Http2Server(name, host, context) if version == "HTTP2" else Server(name, host, context)

    world.group("blue", protocol="HTTPS", version=version, check=replace(CHECK, protocol="HTTPS", version=version))
    world.add("blue", "b1", serve)
    world.split(blue=1)
    secure(world, SHOP)
    world.healthy("blue")
    with world.open(client_context(SHOP, protocols=("h2",)), "shop.test") as connection:
        headers, body = ask_http2(connection)
    assert (headers[":status"], body) == ("200", "b1")


def grpc(world: World, **changes: Any) -> Any:
    check = HealthCheck(
        "/web.Health/Check", interval=0.1, timeout=1.0, healthy=2, unhealthy=2, codes="0,12", version="GRPC", **changes
    )
    world.group("blue", version="GRPC", check=check)
    server = world.add("blue", "b1", Http2Server)
    world.split(blue=1)
    secure(world, SHOP)
    return server


def test_grpc_goes_to_its_targets_with_trailers(world: World) -> None:
    """A gRPC client would miss the status of its call."""
    server = grpc(world)
    world.healthy("blue")
    with world.open(client_context(SHOP, protocols=("h2",)), "shop.test") as connection:
        headers, body = ask_http2(connection, "/web.Shop/Buy", grpc=True, method="POST")
    assert (headers[":status"], headers["grpc-status"], body) == ("200", "0", "\0" * 5)
    assert server.seen["POST /web.Shop/Buy"] == 1
    server.health = 12
    world.settle(lambda: server.seen["POST /web.Health/Check"] > 10, "checks that another code of the matcher answers")
    assert not world.balancer.quiet("b1")
    world.add("blue", "b2", Http2Server)
    world.healthy("blue")
    server.health = 14
    world.settle(lambda: world.balancer.quiet("b1"), "an unhealthy target")


@pytest.mark.parametrize(
    ("version", "protocol", "asked", "status"),
    [
        ("HTTP1", "h2", {"grpc": True, "method": "POST"}, "464"),
        ("HTTP2", "h2", {}, "200"),
        ("GRPC", "h2", {"method": "GET"}, "464"),
    ],
)
def test_a_version_that_the_targets_do_not_speak_is_a_464(
    world: World, version: str, protocol: str, asked: dict[str, Any], status: str
) -> None:
    """A client with HTTP/1.1 would reach a gRPC service here, and get 464 in AWS."""
    code = {"GRPC": "0-99", "HTTP1": "200", "HTTP2": "200"}[version]
    path = "/web.Health/Check" if version == "GRPC" else "/healthz"
    world.group("blue", version=version, check=replace(CHECK, version=version, codes=code, path=path))
    world.add("blue", "b1", Server if version == "HTTP1" else Http2Server)
    world.split(blue=1)
    secure(world, SHOP)
    world.healthy("blue")
    with world.open(client_context(SHOP, protocols=(protocol,)), "shop.test") as connection:
        assert ask_http2(connection, **asked)[0][":status"] == status
    if version != "HTTP1":
        with world.open(client_context(SHOP), "shop.test") as connection:
            assert answer_to(connection, "GET / HTTP/1.1") == (464, "")


def test_http_is_redirected_to_https(world: World) -> None:
    """Whoever types the name of a service would get an error, or lose the path of what was asked for."""

    def redirect(status: str = "HTTP_301", **to: str) -> dict[str, Any]:
        return {"Type": "redirect", "RedirectConfig": {"StatusCode": status, **to}}

    def path(pattern: str) -> dict[str, Any]:
        return {"Field": "path-pattern", "Values": [pattern]}

    world.rules(
        Rule((path("/old/*"),), (redirect("HTTP_302", Path="/new/#{path}", Query="from=#{query}&x=1"),)),
        Rule((path("/bare"),), (redirect(Host="www.#{host}", Query=""),)),
        Rule((), (redirect(Protocol="HTTPS", Port="443"),)),
    )
    world.serving()
    port = world.listener.port
    for asked, status, location in (
        ("/a/b%20c?x=1&y=%23", 301, "https://shop.test:443/a/b%20c?x=1&y=%23"),
        ("/", 301, "https://shop.test:443/"),
        ("/old/one?a=b", 302, f"http://shop.test:{port}/new/old/one?from=a=b&x=1"),
        ("/bare?a=b", 301, f"http://www.shop.test:{port}/bare"),
    ):
        connection = world.connect()
        connection.request("GET", asked, headers={"Host": f"shop.test:{port}"})
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("location")) == (status, location)


def test_a_target_is_told_that_its_client_used_tls(world: World) -> None:
    """An application that redirects to HTTPS would redirect for ever."""
    world.group("blue", "b1")
    world.rules(Rule((), (forward({"blue": 1}),)))
    secure(world, SHOP)
    world.healthy("blue")
    with world.open(client_context(SHOP), "shop.test") as connection:
        seen = answer_to(connection, "GET /headers HTTP/1.1", X_Odd="1")[1].lower()
    assert ("x-forwarded-proto: https\n" in seen, "x_odd: 1" in seen) == (True, True)
    secure(world, SHOP, **{"routing.http.drop_invalid_header_fields.enabled": "true"})
    world.settle(lambda: len(world.balancer._lines["listener"].fronts) == 2, "the new HAProxy")
    world.settle(lambda: len(world.balancer._lines["listener"].fronts) == 1, "the end of the old one")
    with world.open(client_context(SHOP), "shop.test") as connection:
        assert "x_odd" not in answer_to(connection, "GET /headers HTTP/1.1", X_Odd="1")[1].lower()


@pytest.mark.parametrize("version", ["HTTP2", "GRPC"])
def test_a_rollout_probes_what_speaks_http2_alone(world: World, version: str) -> None:
    """Its probe would be a 464 from AWS, so that no such release could ever be deployed, or none ever be probed."""
    secure(world, SHOP)
    codes, path = ("0,12", "/web.Health/Check") if version == "GRPC" else ("200", "/healthz")
    world.group("green", version=version, check=replace(CHECK, version=version, codes=codes, path=path))
    server = world.add("green", "g1", Http2Server)
    world.rules(
        Rule((header(PREVIEW_HEADER, "web-2.token"),), (forward({"green": 1}),)),
        Rule((), (fixed("no release is live", "503"),)),
    )
    world.healthy("green")
    prober = HttpProber({"web-2": "web-2.token"}.get, "shop.test", ProbeProtocol(version.lower(), codes))
    url = f"https://{world.listener.address}:{world.listener.port}{path}"
    assert prober.get(url, release="web-2", timeout=15) == Answer(200)
    assert prober.get(url, release=None, timeout=15) == Answer(503)
    assert HttpProber({"web-2": "web-2.token"}.get).get(url, release="web-2", timeout=15) == Answer(464)
    server.health = 14 if version == "GRPC" else 503
    failed = prober.get(url, release="web-2", timeout=15)
    assert failed.status in {None, 503}
    assert "gRPC status 14" in failed.error or version == "HTTP2"
