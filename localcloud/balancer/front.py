"""What one HAProxy of a listener is given: which target group has which backend, and which targets are its servers.

Decides when a server that left has no request any more, and when its requests are cut. Never restarts an HAProxy.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from localcloud.balancer import routes
from localcloud.balancer.config import BACKENDS, backend_names
from localcloud.balancer.haproxy import HAProxy, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from localcloud.view import Cloud, Listener, TargetGroup

CUT_SECONDS = 5.0  # what a target that went without draining is given to end its requests
SLOW_START = "slow_start.duration_seconds"


def servers(group: TargetGroup, cloud: Cloud, listener: Listener, state: Callable[[str], str]) -> dict[str, Server]:
    """The servers of a target group for a listener. `state` tells a registered target's health.

    Healthy targets get requests. If there are none, unhealthy ones get them (user guide: a target group that has only
    unhealthy targets fails open), but never one that is new, stopped, draining or out of reach.
    """
    running = {
        target: instance
        for target in group.targets
        if (instance := cloud.instances.get(target)) is not None and instance.state == "running"
    }
    states = {target: state(target) for target in running}
    routable = {target for target in running if states[target] == "healthy"}
    if not routable:
        routable = {
            target
            for target, instance in running.items()
            if states[target] == "unhealthy" and cloud.reaches(listener, instance, group.targets[target])
        }
    kind = Server(
        "",
        0,
        ready=False,
        tls=group.protocol == "HTTPS",
        http2=group.version != "HTTP1",
        slow_start=int(group.attributes.get(SLOW_START, 0)),
    )
    found = {
        target: replace(kind, address=instance.address, port=group.targets[target], ready=target in routable)
        for target, instance in running.items()
    }
    for target, (port, _) in group.draining.items():
        if (instance := cloud.instances.get(target)) is not None:
            found[target] = replace(kind, address=instance.address, port=port)
    return found


@dataclass
class _Member:
    """A server. `leaving` is when its requests are cut; None while the target belongs to its group."""

    server: Server
    leaving: float | None = None


@dataclass
class _Backend:
    name: str
    members: dict[str, _Member] = field(default_factory=dict)
    draining_until: dict[str, float] = field(default_factory=dict)


class Front:
    """One HAProxy, and what of it is given to which target group. `name` is what it calls itself to `traffic`."""

    def __init__(self, haproxy: HAProxy, name: str) -> None:
        self.haproxy = haproxy
        self.name = name
        self.left = False
        self._backends: dict[str, _Backend] = {}
        self._busy: Mapping[tuple[str, str], int] = {}

    def backend(self, arn: str) -> str:
        """The name of a target group's backend. Raises `Unsupported` when there is none left."""
        if arn not in self._backends:
            used = {backend.name for backend in self._backends.values()}
            free = next((name for name in backend_names() if name not in used), None)
            if free is None:
                raise routes.Unsupported(f"rules of a listener may refer to {BACKENDS} target groups at a time")
            self._backends[arn] = _Backend(free)
        return self._backends[arn].name

    def backends(self) -> dict[str, str]:
        """ARNs of target groups by the names of their backends."""
        return {backend.name: arn for arn, backend in self._backends.items()}

    @property
    def target_groups(self) -> set[str]:
        """Target groups that have a backend."""
        return set(self._backends)

    def fill(self, arn: str, group: TargetGroup, wanted: Mapping[str, Server]) -> None:
        """Give a target group its servers. New ones come before old ones go, so that there is always one."""
        backend = self._backends[arn]
        for target, server in sorted(wanted.items(), key=lambda item: not item[1].ready):
            member = backend.members.get(target)
            if member is None:
                if not server.ready and target not in group.targets:
                    continue  # it drains, and never got a request from here
                member = backend.members[target] = _Member(server)
            member.server, member.leaving = server, None
            self.haproxy.set(backend.name, target, server)
        known = backend.draining_until | {target: until for target, (_, until) in group.draining.items()}
        backend.draining_until = {
            target: until
            for target, until in known.items()
            if target in backend.members and target not in group.targets
        }
        self._dismiss(backend, [target for target in backend.members if target not in wanted])

    def forget(self, arns: Iterable[str]) -> None:
        """Let the servers of target groups go that no rule refers to any more."""
        for arn in [arn for arn in self._backends if arn not in arns]:
            self._dismiss(self._backends[arn], list(self._backends[arn].members))

    def sweep(self) -> None:
        """Delete the servers that have left and have no request any more; after its time, end a server's requests."""
        # To ask costs some 30 ms, so it is done only when the answer matters.
        busy = self._busy = self.haproxy.in_flight() if self._anything_leaves() else {}
        for backend in self._backends.values():
            for target, member in list(backend.members.items()):
                if member.leaving is None:
                    continue
                if (backend.name, target) not in busy:
                    if self.haproxy.remove(backend.name, target):
                        del backend.members[target]
                elif time.monotonic() >= member.leaving:
                    self.haproxy.cut(backend.name, target)

    def release(self, arns: Iterable[str]) -> None:
        """Free the backends of target groups that are not among `arns` and have no servers left."""
        for arn in [arn for arn, backend in self._backends.items() if arn not in arns and not backend.members]:
            del self._backends[arn]

    def active(self) -> set[tuple[str, str]]:
        """Target groups and targets that get requests or, leaving, still have some. As of the last sweep."""
        return {
            (arn, target)
            for arn, backend in self._backends.items()
            for target, member in backend.members.items()
            if member.server.ready or (backend.name, target) in self._busy
        }

    def _anything_leaves(self) -> bool:
        return any(
            backend.draining_until or any(member.leaving is not None for member in backend.members.values())
            for backend in self._backends.values()
        )

    def _dismiss(self, backend: _Backend, targets: Iterable[str]) -> None:
        for target in targets:
            member = backend.members[target]
            if member.leaving is None:
                member.leaving = backend.draining_until.pop(target, time.monotonic() + CUT_SECONDS)
                member.server = replace(member.server, ready=False)
                self.haproxy.set(backend.name, target, member.server)
