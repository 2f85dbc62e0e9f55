"""The network of the machines: keeps router, endpoints and internet as the control plane has them.

Decides nothing itself. `follow` and `stop` belong to the machines' thread, which the router's process does not outlive.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from localcloud.network import reading
from localcloud.network.exits import Outside
from localcloud.network.link import Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from typing import Any
    from wsgiref.types import StartResponse, WSGIEnvironment

    from localcloud.network.authority import Authority
    from localcloud.network.topology import Machine
    from localcloud.processes.children import Children
    from localcloud.view import Cloud


class Fabric:
    """Everything between the machines. `api` answers what AWS's services are asked."""

    def __init__(
        self,
        directory: Path,
        children: Children,
        authority: Authority,
        api: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]],
        refuses: Callable[[str], bool],
    ) -> None:
        self._link = Link(directory / "network", children)
        self._outside = Outside(authority, api, refuses)
        self._callers = reading.Callers()
        self._doors: Mapping[str, Mapping[int, frozenset[str]]] = {}

    def doors(self, cloud: Cloud) -> Mapping[str, Mapping[int, frozenset[str]]]:
        """The ports of each instance that load balancers may call at its address on this machine, and which do."""
        self._doors = self._callers.follow(cloud)
        return self._doors

    def follow(self, machines: Iterable[Machine]) -> None:
        """Let packets pass as the control plane says now, between these machines."""
        topology, exits = reading.read()
        callers = tuple(
            (instance, port, tuple(sorted(balancers)))
            for instance, ports in sorted(self._doors.items())
            for port, balancers in sorted(ports.items())
        )
        ways = self._outside.follow(exits)
        self._link.follow(replace(topology, callers=callers, exits=ways, machines=tuple(machines)))

    def status(self) -> dict[str, Any]:
        """The last rejected flows and the last requests that the internet got."""
        return {"rejected": self._link.rejected(), "internet": self._outside.visits()}

    def problems(self) -> list[str]:
        """What is not as it should be."""
        return self._link.problems()

    def stop(self) -> None:
        """Let no packet pass any more."""
        self._link.stop()
        self._outside.close()
