"""The local cloud's side of the router: starts its process, tells it what has changed, and starts it again.

Decides nothing about packets. Belongs to the thread that the router's process must not outlive (see `children`).
"""

from __future__ import annotations

import logging
import pickle
import sys
import time
from typing import TYPE_CHECKING

from localcloud.network.record import tail
from localcloud.network.router import CONTROL, RECORD
from localcloud.processes.children import Child, Children, connect

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from localcloud.network.topology import Topology

START_SECONDS = 10.0
_SEND_SECONDS = 5.0

log = logging.getLogger(__name__)


class Link:
    """A router, its files in `folder`."""

    def __init__(self, folder: Path, children: Children) -> None:
        self._folder = folder
        self._children = children
        self._child: Child | None = None
        self._connection: socket.socket | None = None
        self._told: Topology | None = None
        self._started = 0.0

    def follow(self, topology: Topology) -> None:
        """Make the router follow a topology. Cheap when nothing changed; does nothing before the first machine.

        Never waits for a router that is about to start: it is told the next time.
        """
        if self._child is not None and not self._child.running:
            log.error("the router ended with status %s: see %s", self._child.returncode, self._child.log)
            self._forget()
        if self._child is None:
            if not topology.machines:
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / CONTROL).unlink(missing_ok=True)
            command = [sys.executable, "-m", "localcloud.network.router"]
            self._child = self._children.start(command, cwd=self._folder, log=self._folder / "log")
            self._started = time.monotonic()
        if topology == self._told:
            return
        data = pickle.dumps(topology)
        try:
            if self._connection is None:
                self._connection = connect(self._folder / CONTROL, _SEND_SECONDS)
            self._connection.sendall(len(data).to_bytes(4, "big") + data)
        except OSError as error:
            if self._connection is not None or time.monotonic() - self._started > START_SECONDS:
                log.warning("the router does not listen: %s", error)
                self._child.kill()
            return
        self._told = topology

    def rejected(self) -> list[str]:
        """The last flows that were rejected, a line each."""
        return tail(self._folder / RECORD)

    def problems(self) -> list[str]:
        """Why no packet passes, if none does."""
        if self._child is not None and not self._child.running:
            return [f"the router of the machines' packets ended: see {self._child.log}"]
        return []

    def stop(self) -> None:
        """Say goodbye; the process ends with the other children."""
        if self._child is not None:
            self._child.end()
        self._forget()

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._child = self._connection = self._told = None
