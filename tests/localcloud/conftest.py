"""A local cloud in this process, and clients of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from localcloud.ebs.store import SnapshotStore
from localcloud.faults.lateness import Lateness
from localcloud.server import LocalCloud
from tests.localcloud.clients import Clients

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Clock:
    """The local cloud's time: this machine's, until it is set."""

    def __init__(self) -> None:
        self.now: float | None = None

    def __call__(self) -> float:
        return time.time() if self.now is None else self.now


@pytest.fixture
def cloud(_local_cloud: None, tmp_path: Path) -> Iterator[LocalCloud]:
    """A control plane without machines, at a free port; nothing is late. Other packages borrow it."""
    store = SnapshotStore(tmp_path / "cloud" / "snapshots", settle_seconds=0.0)
    cloud = LocalCloud(tmp_path / "cloud", 0, machines=False, store=store, clock=Clock(), lateness=Lateness.none())
    try:
        cloud.start()
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture
def clock(cloud: LocalCloud) -> Clock:
    """The clock of `cloud`."""
    assert isinstance(cloud.clock, Clock)
    return cloud.clock


@pytest.fixture
def clients(cloud: LocalCloud) -> Iterator[Clients]:
    """boto3 clients of `cloud` that try once."""
    with Clients(cloud.endpoint) as clients:
        yield clients
