"""The server of the benchmark, and how a client's cost is found."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import measure, stand_in
from bench.images import BLOCK

CORE = min(os.sched_getaffinity(0))
BODY = bytes(BLOCK)

pytestmark = [
    pytest.mark.go,
    pytest.mark.skipif(shutil.which("go") is None, reason="the benchmark's server is a Go program"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stand_in.Server]:
    folder = tmp_path_factory.mktemp("server")
    with stand_in.Server(stand_in.build(folder), folder, CORE) as running:
        yield running


def put(line: http.client.HTTPConnection, snapshot_id: str, index: int) -> int:
    line.request(
        "PUT",
        f"/snapshots/{snapshot_id}/blocks/{index}",
        BODY,
        {
            "Authorization": "any",
            "x-amz-Data-Length": str(BLOCK),
            "x-amz-Checksum": base64.b64encode(hashlib.sha256(BODY).digest()).decode(),
            "x-amz-Checksum-Algorithm": "SHA256",
        },
    )
    answer = line.getresponse()
    answer.read()
    return answer.status


def test_throttles_by_its_bucket(server: stand_in.Server) -> None:
    """If this failed, what the table calls a quota would be none."""
    server.reset(stand_in.Settings(rate=0.001, burst=3))
    line = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    line.request("POST", "/snapshots", '{"VolumeSize": 1}', {"Authorization": "any"})
    snapshot_id = json.load(line.getresponse())["SnapshotId"]
    assert [put(line, snapshot_id, index) for index in range(5)] == [201, 201, 201, 400, 400]
    line.close()
    stats = server.stats()
    assert (stats.accepted, stats.throttled, stats.connections >= 1) == (3, 2, True)
    assert [each.own for each in stats.snapshots] == [3]


@pytest.mark.parametrize("check", ["vet", "test"])
def test_go_is_content(check: str) -> None:
    """If this failed, the server would not do what its own tests say."""
    told = subprocess.run(["go", check, "."], cwd=stand_in.SOURCE, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def test_cost_of_a_command(tmp_path: Path) -> None:
    """If this failed, CPU-seconds or memory of a client would be somebody else's."""
    script = "x = bytearray(b'1' * (100 << 20))\nfor _ in range(200000): pass\nprint('done')"
    cost = measure.run(
        [sys.executable, "-c", script], cores={CORE}, env={}, cwd=tmp_path, output=tmp_path / "log", timeout=60
    )
    assert (cost.status, cost.words) == (0, "done")
    assert cost.peak > 100
    assert 0 < cost.cpu <= cost.seconds * 1.1


def test_a_command_that_does_not_end_is_stopped(tmp_path: Path) -> None:
    """If this failed, one uploader that hangs would hang the benchmark, or go on beside the next run."""
    script = (
        "import subprocess, time\np = subprocess.Popen(['sleep', '600'])\nprint(p.pid, flush=True)\ntime.sleep(600)"
    )
    cost = measure.run(
        [sys.executable, "-c", script],
        cores={CORE},
        env={"PATH": os.defpath},
        cwd=tmp_path,
        output=tmp_path / "log",
        timeout=10,
    )
    assert cost.status is None
    until = time.monotonic() + 30
    while _runs(int(cost.words)):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_start_ends_with_the_first_request(tmp_path: Path) -> None:
    """If this failed, the CPU time of a start would have that of the whole run in it, or a start without any request
    would count.
    """
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        asks = f"""
import socket
with socket.create_connection({nobody.getsockname()!r}) as line:
    line.sendall(b"GET / HTTP/1.1\\r\\n")
    line.recv(1)
while True: pass
"""
        for script, status in ((asks, 0), ("raise SystemExit(3)", 3)):
            cost = measure.run(
                [sys.executable, "-c", script],
                cores={CORE},
                env={},
                cwd=tmp_path,
                output=tmp_path / "log",
                timeout=60,
                until=nobody,
            )
            assert cost.status == status, cost.words
            assert cost.seconds < 60


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except OSError:
        return False
