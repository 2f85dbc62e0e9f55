"""The metadata service of a boot test, as the machine's connections reach it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fleetswap.domain.boot.machine import INSTANCE, Hardware, identity
from fleetswap.domain.partition import Partition
from fleetswap.qemu import metadata

DATA = {"key": "ab" * 32, **identity(Hardware())}
NOW = 1_000_000.0


def token(ttl: str = "60", **headers: str) -> metadata.Response:
    return metadata.respond("PUT", "/latest/api/token", {metadata.TTL: ttl, **headers}, DATA, NOW)


def get(path: str, given: str | None = None, now: float = NOW) -> tuple[int, str]:
    return metadata.respond("GET", path, {metadata.TOKEN: token()[1] if given is None else given}, DATA, now)[:2]


def test_an_instance_learns_who_it_is_by_a_token() -> None:
    """A machine that asks as EC2's documentation says would not serve, and its image be refused."""
    assert token()[2] == {metadata.TTL: "60"}
    assert get("/latest/meta-data/instance-id") == (200, INSTANCE)
    assert get("/2021-07-15/meta-data/placement/region") == (200, "us-east-1")
    assert "instance-id" in get("/latest/meta-data/")[1].split("\n")
    assert get("/latest/")[1] == "meta-data/\ndynamic/"
    assert get("/") == (200, "latest")
    assert json.loads(get("/latest/dynamic/instance-identity/document")[1])["instanceId"] == INSTANCE


def test_an_instance_learns_which_partition_it_is_in() -> None:
    """A program on a machine in China would call the hosts of another partition, and its image be refused."""
    here = Hardware(region="cn-north-1", partition=Partition("aws-cn", "amazonaws.com.cn"))
    data = {"key": "ab" * 32, **identity(here)}
    headers = {metadata.TOKEN: metadata.respond("PUT", "/latest/api/token", {metadata.TTL: "60"}, data, NOW)[1]}
    assert metadata.respond("GET", "/latest/meta-data/services/domain", headers, data, NOW)[1] == "amazonaws.com.cn"
    assert metadata.respond("GET", "/latest/meta-data/services/partition", headers, data, NOW)[1] == "aws-cn"


@pytest.mark.parametrize(
    "path", ["/latest/user-data", "/latest/meta-data/iam/security-credentials/", "/latest/meta-data/tags/", "/other/x"]
)
def test_there_is_nothing_that_a_deploy_would_add(path: str) -> None:
    """An image that needs user data or a role's credentials to boot would pass."""
    assert get(path)[0] == 404


@pytest.mark.parametrize("given", ["", "x", "1-", f"{int(NOW) + 60}-{'0' * 64}", "9" * 5000, "٣-x", "é"])
def test_without_a_valid_token_there_is_nothing(given: str) -> None:
    """An image that uses IMDSv1 would pass, and read nothing on the machines, which require IMDSv2."""
    assert get("/latest/meta-data/instance-id", given)[0] == 401
    assert metadata.respond("GET", "/latest/meta-data/instance-id", {}, DATA, NOW)[0] == 401


def test_a_token_ends() -> None:
    """An image that keeps a token for ever would pass."""
    given = token("60")[1]
    assert get("/latest/meta-data/mac", given, NOW + 59)[0] == 200
    assert get("/latest/meta-data/mac", given, NOW + 61)[0] == 401


def test_what_is_no_request_for_a_token_gets_none() -> None:
    """It would be laxer than the real one: EC2 refuses these."""
    assert [token(ttl)[0] for ttl in ("", "0", "x", "21601", "9" * 5000, "21600")] == [400, 400, 400, 400, 400, 200]
    assert token(**{"x-forwarded-for": "1.2.3.4"})[0] == 403
    assert metadata.respond("PUT", "/latest/other", {}, DATA, NOW)[0] == 405
    assert metadata.respond("POST", "/latest/meta-data", {}, DATA, NOW)[0] == 405


def test_a_connection_is_kept_or_closed_as_the_client_asks() -> None:
    """A client that sends its next request on the same connection would wait for ever."""
    given = token()[1]
    one = f"GET /latest/meta-data/mac HTTP/1.1\r\nHost: x\r\n{metadata.TOKEN}: {given}\r\n"
    responses = io.BytesIO()
    requests = io.BytesIO(f"{one}\r\n{one}Connection: close\r\n\r\n{one}\r\n".encode())
    metadata.serve(requests, responses, DATA)
    statuses = [line for line in responses.getvalue().split(b"\r\n") if line.startswith(b"HTTP/")]
    assert statuses == [b"HTTP/1.1 401 Unauthorized"] * 2  # the token is of another time; the third is not read
    assert b"Server: fleetswap-boot-test" in responses.getvalue()


def test_it_runs_alone_and_prints_nothing_but_responses(tmp_path: Path) -> None:
    """QEMU starts it without Fleetswap's environment, and its standard error is the machine's connection, too."""
    file = tmp_path / "metadata.json"
    file.write_text(json.dumps(DATA))
    done = subprocess.run(
        [sys.executable, "-I", "-S", metadata.__file__, file],
        input=b"PUT /latest/api/token HTTP/1.0\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n",
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env={},
    )
    assert done.stdout.startswith(b"HTTP/1.1 200 OK\r\n")
    assert done.stderr == b""
