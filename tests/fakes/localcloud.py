"""The local cloud without machines, in a process of its own: moto's state is global, and other tests have theirs.

`serve` starts it and ends it; run as a program, this module is that process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Served:
    """A local cloud that answers at `endpoint`."""

    endpoint: str

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Ask its own endpoint; see `localcloud.admin`."""
        sent = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"{self.endpoint}/_localcloud/{path}", sent, method=method), timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def serve(directory: Path, *, late: bool = False, healthy: bool = False) -> Iterator[Served]:
    """A local cloud whose files lie in `directory`, until the context ends.

    `late`: it does late what AWS does late. `healthy`: every target is said to be healthy, until it is told otherwise.
    """
    command = [sys.executable, "-m", "tests.fakes.localcloud", str(directory), *(["--late"] if late else [])]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        assert endpoint, "the local cloud ended before it answered"
        served = Served(endpoint)
        if healthy:
            served.ask("POST", "target-health", {"state": "healthy"})
        try:
            yield served
        finally:
            process.communicate("", timeout=60)


def main() -> None:
    """Serve until standard input ends; the endpoint is the only line on standard output."""
    from localcloud.ebs.store import SnapshotStore  # noqa: PLC0415 - the tests' own process must not import moto
    from localcloud.faults.lateness import Lateness  # noqa: PLC0415
    from localcloud.server import LocalCloud  # noqa: PLC0415

    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--late", action="store_true")
    asked = parser.parse_args()
    store = None if asked.late else SnapshotStore(asked.directory / "snapshots", settle_seconds=0.0)
    lateness = Lateness() if asked.late else Lateness.none()
    cloud = LocalCloud(asked.directory, 0, machines=False, store=store, lateness=lateness)
    cloud.start()
    print(cloud.endpoint, flush=True)
    sys.stdin.read()
    cloud.stop()


if __name__ == "__main__":
    main()
