"""What is outside of a VPC, over TLS that a client checks: AWS's services, each by its name, and the internet."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import TYPE_CHECKING

import pytest

from localcloud.authorization.gate import VPC_ENDPOINT
from localcloud.faults.rules import Faults
from localcloud.network.authority import KEY, Authority
from localcloud.network.exits import Outside
from localcloud.network.reading import Exits, host_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from wsgiref.types import StartResponse, WSGIEnvironment

KMS = "kms.us-east-1.amazonaws.com"
SIGNED = "AWS4-HMAC-SHA256 Credential=local/20261126/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=00"
WANTED = Exits({"vpce-1": "com.amazonaws.us-east-1.kms"}, frozenset({"198.51.100.7"}))


def api(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [f"AWS by {environ.get(VPC_ENDPOINT)}".encode()]


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    outside = Outside(Authority(tmp_path), api)
    try:
        yield outside
    finally:
        outside.close()


def ask(port: int, name: str, ca: Path, *, host: str = "", headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    """What HTTPS to a name gets at a port of this computer."""
    context = ssl.create_default_context(cafile=str(ca))
    connection = http.client.HTTPSConnection(name, timeout=10)
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    plain.connect()
    connection.sock = context.wrap_socket(plain.sock, server_hostname=name)
    try:
        connection.request("GET", "/a", headers={"Host": host or name, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()
    finally:
        connection.close()


def test_an_endpoint_is_for_its_own_service(outside: Outside, tmp_path: Path) -> None:
    """One endpoint would be the way to every service; or its certificate be one that no client takes."""
    port = dict(outside.follow(WANTED))["vpce-1"].tls
    ca = tmp_path / "ca.pem"
    assert ask(port, KMS, ca) == (200, "AWS by vpce-1")
    assert ask(port, "vpce-1-x.kms.us-east-1.vpce.amazonaws.com", ca) == (200, "AWS by vpce-1")
    assert ask(port, KMS, ca, host="logs.us-east-1.amazonaws.com") == (403, "vpce-1 is no endpoint for logs.us-east-1.amazonaws.com.")  # fmt: skip # noqa: E501
    other = {"Authorization": SIGNED.format("ec2")}
    assert ask(port, KMS, ca, headers=other) == (403, "vpce-1 is no endpoint for ec2.")
    assert ask(port, KMS, ca, headers={"Authorization": SIGNED.format("kms")}) == (200, "AWS by vpce-1")
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(port, "logs.us-east-1.amazonaws.com", ca)


def test_an_endpoint_of_a_service_that_is_down_refuses_connections(tmp_path: Path) -> None:
    """A machine that boots while KMS is down could not be tried; or its other services would be down, too."""
    faults = Faults()
    outside = Outside(Authority(tmp_path), api, faults.refuses)
    wanted = Exits({**WANTED.endpoints, "vpce-2": "com.amazonaws.us-east-1.logs"}, frozenset())
    try:
        up = dict(outside.follow(wanted))
        (rule,) = faults.add({"fault": "refuse", "service": "kms"})
        down = dict(outside.follow(wanted))
        assert down["vpce-2"] == up["vpce-2"]
        with pytest.raises(ConnectionRefusedError):
            ask(down["vpce-1"].tls, KMS, tmp_path / "ca.pem")
        assert faults.judge("kms", "Decrypt").rule is None
        faults.remove(rule.id)
        assert dict(outside.follow(wanted)) == up
    finally:
        outside.close()


def test_the_internet_says_who_asked_and_aws_is_in_it(outside: Outside, tmp_path: Path) -> None:
    """Nobody could tell which NAT gateway a request came through, or reach AWS without an endpoint."""
    port = dict(outside.follow(WANTED))["198.51.100.7"].tls
    status, text = ask(port, "example.com", tmp_path / "ca.pem")
    assert status == 200
    assert json.loads(text) == outside.visits()[0]
    assert {key: outside.visits()[0][key] for key in ("source", "scheme", "host", "path")} == {
        "source": "198.51.100.7",
        "scheme": "https",
        "host": "example.com",
        "path": "/a",
    }
    assert ask(port, KMS, tmp_path / "ca.pem") == (200, "AWS by None")
    assert len(outside.visits()) == 1


def test_what_is_gone_answers_no_more_and_the_rest_stays_where_it_was(outside: Outside, tmp_path: Path) -> None:
    """A deleted endpoint would go on; or a change of one would cut the connections of all."""
    before = dict(outside.follow(WANTED))
    after = dict(outside.follow(Exits({}, WANTED.public)))
    assert after == {"198.51.100.7": before["198.51.100.7"]}
    with pytest.raises(ConnectionRefusedError):
        ask(before["vpce-1"].tls, KMS, tmp_path / "ca.pem")


def test_the_authority_lasts_and_its_key_is_nobody_s_business(tmp_path: Path) -> None:
    """An image that trusts it would trust nobody after the local cloud has started again."""
    first = Authority(tmp_path)
    assert first.pem() == Authority(tmp_path).pem() == (tmp_path / "ca.pem").read_text()
    assert (tmp_path / KEY).stat().st_mode & 0o077 == 0
    (tmp_path / "ca.pem").unlink()
    assert Authority(tmp_path).pem() != first.pem()


@pytest.mark.parametrize(
    ("service", "host"),
    [
        ("com.amazonaws.us-east-1.kms", KMS),
        ("com.amazonaws.us-east-1.ecr.api", "api.ecr.us-east-1.amazonaws.com"),
        ("com.amazonaws.us-east-1.monitoring", "monitoring.us-east-1.amazonaws.com"),
    ],
)
def test_a_service_has_the_name_that_its_endpoint_answers_for(service: str, host: str) -> None:
    """A machine would ask for a name that leads nowhere."""
    assert host_names(service) == (host, f"*.{host}")
