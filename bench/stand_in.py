"""Builds, starts and asks `bench/server`, the stand-in for EBS direct.

It decides nothing that is measured; the server's own options do.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from bench import measure

SOURCE = Path(__file__).parent / "server"


class NoServer(Exception):
    """The server cannot be built or does not start; the message says why, in one line."""


@dataclass(frozen=True)
class Settings:
    """What the server does to the clients: puts a second (0: all), burst, milliseconds, share of puts that fail."""

    rate: float = 0
    burst: float = 100
    latency_ms: float = 0
    fail: float = 0
    verify: bool = False


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of the server: blocks of its own, and with what it inherits."""

    id: str
    state: str
    parent: str
    gib: int
    own: int
    all: int


@dataclass(frozen=True)
class Stats:
    """What the server counted since the last reset. `window`: seconds from the first to the last accepted put."""

    accepted: int = 0
    distinct: int = 0
    throttled: int = 0
    window: float = 0
    connections: int = 0
    server_cpu: float = 0
    refused: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    timeline: list[list[int]] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)


def build(work: Path) -> Path:
    """Build the server into the folder `work`. Go builds only what changed."""
    if shutil.which("go") is None:
        raise NoServer("the benchmark's server is a Go program: install Go 1.24 or newer")
    made = work / "server"
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    told = subprocess.run(["go", "build", "-o", made, "."], cwd=SOURCE, env=env, capture_output=True, check=False)
    if told.returncode:
        raise NoServer(f"the benchmark's server does not build: {told.stderr.decode(errors='replace').strip()}")
    return made


class Server:
    """A running server. A context manager."""

    def __init__(self, program: Path, folder: Path, core: int, *, tls: bool = False, keep_data: bool = False) -> None:
        """Start `program` on `core`; `folder` exists and takes its certificate and, if they are kept, the blocks."""
        self.certificate = folder / "ca.pem" if tls else None
        command = [str(program), "-dir", str(folder), "-keep", "data" if keep_data else "digests"]
        output = folder / "server.log"
        # One thread that runs Go code: it has but one core, and the garbage of a run is small.
        env = {"GOMAXPROCS": "1", "GOGC": "400"}
        self._process = measure.start(
            command + (["-tls"] if tls else []), cores={core}, env=env, cwd=folder, output=output
        )
        try:
            self.url = self._listening(output)
        except BaseException:
            measure.stop(self._process)
            raise
        self._context = ssl.create_default_context(cafile=self.certificate) if tls else None

    def _listening(self, output: Path) -> str:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            lines = output.read_text().splitlines()
            if len(lines) >= 2:
                return lines[1]
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise NoServer(f"the benchmark's server does not start: {output.read_text().strip()}")

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        measure.stop(self._process)

    def reset(self, settings: Settings, *, keep_snapshots: bool = False) -> None:
        """Counters at nothing, the bucket full, `settings` in force, all snapshots gone unless they are kept."""
        query = "?snapshots=keep" if keep_snapshots else ""
        self._call("POST", f"/reset{query}", json.dumps(vars(settings)).encode())

    def stats(self) -> Stats:
        """The counters now."""
        told: dict[str, Any] = json.loads(self._call("GET", "/stats"))
        told["snapshots"] = [Snapshot(**each) for each in told["snapshots"]]
        return Stats(**told)

    def digests(self, snapshot_id: str) -> bytes:
        """The checksums of a finished snapshot's blocks, 32 bytes each, zeros where it has no block."""
        return self._call("GET", f"/digests/{snapshot_id}")

    def delete(self, snapshot_id: str) -> None:
        """Delete a snapshot, as EC2 does."""
        self._form({"Action": "DeleteSnapshot", "SnapshotId": snapshot_id})

    def _form(self, members: Mapping[str, str]) -> None:
        self._call("POST", "/", urllib.parse.urlencode(members).encode())

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.url + path, data=body, method=method)  # noqa: S310 (this machine's own)
        with urllib.request.urlopen(request, timeout=60, context=self._context) as answer:  # noqa: S310
            return bytes(answer.read())
