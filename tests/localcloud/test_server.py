"""The command line and the endpoint: started, refused, stopped, and nothing left."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from localcloud.processes.process import Process

if TYPE_CHECKING:
    from pathlib import Path

    from localcloud.server import LocalCloud
    from tests.localcloud.clients import Clients


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "localcloud", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pid(directory: Path) -> int:
    return int((directory / "pid").read_text().split()[0])


def test_the_command_line_does_not_wait_for_moto() -> None:
    """Each `make` would take two seconds longer, only to ask whether a local cloud runs."""
    look = "import sys, localcloud.__main__; print(sorted({'boto3', 'botocore', 'moto'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("host", ["127.0.0.1", "motoapi.amazonaws.com", "kms.us-east-1.amazonaws.com"])
def test_nobody_reaches_what_moto_adds_to_aws(cloud: LocalCloud, clients: Clients, host: str) -> None:
    """Whoever has any key at all, a machine too, would delete the whole account with one request."""
    vpcs = len(clients.ec2.describe_vpcs()["Vpcs"])
    clients.ec2.create_vpc(CidrBlock="10.0.0.0/16")
    connection = http.client.HTTPConnection("127.0.0.1", cloud.port, timeout=10)
    signed = "AWS4-HMAC-SHA256 Credential=local/20261126/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=00"
    connection.request("POST", "/moto-api/reset", headers={"Host": host, "Authorization": signed})
    assert connection.getresponse().status == 404
    connection.close()
    assert len(clients.ec2.describe_vpcs()["Vpcs"]) == vpcs + 1


def test_a_machine_is_not_the_account_s_root(cloud: LocalCloud) -> None:
    """A machine without a role would do everything, under a key that nobody gave it."""
    said: list[str] = []
    asked = b"Action=GetCallerIdentity&Version=2011-06-15"
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(asked)),
        "wsgi.input": BytesIO(asked),
        "HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 Credential=local/20261126/us-east-1/sts/aws4_request,"
        " SignedHeaders=host, Signature=00",
    }

    def start(status: str, *_: object) -> Any:
        said.append(status)

    answer = b"".join(cloud._api(environ, start))
    assert said[0].startswith("403")
    assert b"InvalidClientTokenId" in answer


def test_it_starts_once_and_stops_with_its_children(tmp_path: Path) -> None:
    """`make up` would start a second one, or `make down` leave processes behind."""
    directory, port = tmp_path / "cloud", free_port()
    try:
        started = run("start", "--dir", directory, "--port", port)
        assert started.returncode == 0, started.stderr
        with urlopen(f"http://127.0.0.1:{port}/_localcloud/status") as answer:
            shown = json.load(answer)
        assert (shown["pid"], shown["port"], shown["instances"]) == (pid(directory), port, [])
        again = run("start", "--dir", directory, "--port", port)
        assert again.returncode == 0
        assert "runs already" in again.stdout
        assert json.loads(run("status", "--dir", directory).stdout)["pid"] == shown["pid"]
        other = run("start", "--dir", tmp_path / "other", "--port", port)
        assert other.returncode == 2
        assert other.stderr.count("\n") == 1
        assert f"Port {port} " in other.stderr
        assert "--port" in other.stderr
        assert not (tmp_path / "other").exists()
        server = Process.of(pid(directory))
    finally:
        stopped = run("stop", "--dir", directory)
    assert stopped.returncode == 0, stopped.stderr
    assert server is not None
    assert not server.alive
    assert not (directory / "pid").exists()
    assert run("stop", "--dir", directory).returncode == 0
    assert run("status", "--dir", directory).returncode == 1


def test_a_stop_after_a_crash_ends_the_recorded_children_and_nobody_else(tmp_path: Path) -> None:
    """Machines of a killed local cloud would run for ever, or a stranger with an old pid would be killed."""
    directory = tmp_path / "cloud"
    directory.mkdir()
    with (
        subprocess.Popen(["sleep", "300"]) as child,
        subprocess.Popen(["sleep", "300"]) as stranger,
    ):
        try:
            recorded, other = Process.of(child.pid), Process.of(stranger.pid)
            assert recorded is not None
            assert other is not None
            stale = Process(other.pid, other.start - 1)
            (directory / "children").write_text(recorded.record() + stale.record())
            (directory / "pid").write_text(stale.record() + "1\n")
            assert run("stop", "--dir", directory).returncode == 0
            assert child.wait(30) == -signal.SIGKILL
            assert stranger.poll() is None
            assert list(directory.iterdir()) == []
        finally:
            child.kill()
            stranger.kill()


def test_a_crash_at_the_start_shows_why(tmp_path: Path) -> None:
    """A user would see no more than that it did not start."""
    directory = tmp_path / "cloud"
    directory.mkdir()
    (directory / "snapshots").write_text("a file where a directory belongs")
    failed = run("start", "--dir", directory, "--port", free_port())
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert "snapshots" in failed.stderr
    assert not (directory / "pid").exists()


def test_a_body_that_nobody_reads_is_not_the_next_request(cloud: LocalCloud) -> None:
    """A client that keeps its connection would get the answer to something that it did not ask."""
    connection = socket.create_connection(("127.0.0.1", cloud.port), timeout=30)
    with connection, connection.makefile("rb") as answer:
        request = b"GET /_localcloud/status HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab\r\n"
        for _ in range(2):
            connection.sendall(request)
            assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
            length = 0
            while (line := answer.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert json.loads(answer.read(length))["pid"] == os.getpid()


SIGNED = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=00"


def test_a_failure_of_the_stand_in_is_logged_and_survived(
    cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One request that moto cannot handle would take the connection, or the whole cloud, with it, or say nothing."""

    def broken(*_: object) -> list[bytes]:
        raise RuntimeError("moto does not know that")

    monkeypatch.setattr(cloud, "_moto", broken)
    connection = http.client.HTTPConnection("127.0.0.1", cloud.port, timeout=30)
    try:
        for path, status in (("/", 500), ("/_localcloud/status", 200)):
            connection.request("GET", path, headers={"Authorization": SIGNED})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status
    finally:
        connection.close()
    assert "moto does not know that" in capsys.readouterr().err
