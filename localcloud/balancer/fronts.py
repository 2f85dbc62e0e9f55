"""The load balancers: an HAProxy for each listener, fed with routes and servers as ELBv2 and the health checks say.

Decides which targets get requests and when one has drained. The checks are `health`'s and not HAProxy's own (see
docs/decisions/0003-target-health.md); HAProxy routes to what is given to it. A change never reloads or restarts an
HAProxy, so it cannot fail a request. Never changes anything in ELBv2. What it cannot do as ELBv2 does it leaves as it
was, and says so in the log and in `status`.

Requests follow a listener's rules late (`lateness`, `weights`), as in AWS, where the API answers new weights before the
load balancer's nodes know them, one after the other: until then a target group of weight 0 gets requests, and answers
them with 503 if its targets are gone.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localcloud import view
from localcloud.balancer import health, routes
from localcloud.balancer.haproxy import BACKENDS, SLOTS, HAProxy, Refused, Server, backend_names
from localcloud.balancer.health import Checker, Probe
from localcloud.balancer.traffic import Traffic
from localcloud.faults.lateness import Late, Lateness
from localcloud.hooks import TargetHealth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from localcloud.processes.children import Children
    from localcloud.view import Cloud, Listener, Rule, TargetGroup

NODES = 2  # of a load balancer: one in each of the two zones that it needs at least
RETRY_SECONDS = 2.0  # between attempts to start an HAProxy that does not get so far as to answer
CUT_SECONDS = 5.0  # what a target that went without draining is given to end its requests

log = logging.getLogger(__name__)


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
    found = {
        target: Server(instance.address, group.targets[target], target in routable)
        for target, instance in running.items()
    }
    for target, (port, _) in group.draining.items():
        if (instance := cloud.instances.get(target)) is not None:
            found[target] = Server(instance.address, port, ready=False)
    return found


@dataclass
class _Slot:
    """A slot in use. `leaving` is when its requests are cut; None while the target belongs to its group."""

    number: int
    server: Server
    leaving: float | None = None


@dataclass
class _Backend:
    name: str
    slots: dict[str, _Slot] = field(default_factory=dict)
    draining_until: dict[str, float] = field(default_factory=dict)


class Front:
    """One listener's HAProxy, and what of it is given to which target group."""

    def __init__(self, haproxy: HAProxy) -> None:
        self.haproxy = haproxy
        self._backends: dict[str, _Backend] = {}
        self._busy: Mapping[tuple[str, int], int] = {}

    def backend(self, arn: str) -> str:
        """The name of a target group's backend. Raises `Unsupported` when there is none left."""
        if arn not in self._backends:
            used = {backend.name for backend in self._backends.values()}
            free = next((name for name in backend_names() if name not in used), None)
            if free is None:
                raise routes.Unsupported(f"rules of a listener may refer to {BACKENDS} target groups at a time here")
            self._backends[arn] = _Backend(free)
        return self._backends[arn].name

    def backends(self) -> dict[str, str]:
        """ARNs of target groups by the names of their backends."""
        return {backend.name: arn for arn, backend in self._backends.items()}

    @property
    def target_groups(self) -> set[str]:
        """Target groups that have a backend."""
        return set(self._backends)

    def fill(self, arn: str, group: TargetGroup, wanted: Mapping[str, Server]) -> list[str]:
        """Give a target group its servers. New ones come before old ones go, so that there is always one.

        Answers the targets that got no slot.
        """
        backend, left_out = self._backends[arn], []
        for target, server in sorted(wanted.items(), key=lambda item: not item[1].ready):
            slot = backend.slots.get(target)
            if slot is None:
                if not server.ready and target not in group.targets:
                    continue  # it drains, and never got a request from here
                if (number := _free(backend)) is None:
                    left_out.append(target)
                    continue
                slot = backend.slots[target] = _Slot(number, server)
            slot.server, slot.leaving = server, None
            self.haproxy.set(backend.name, slot.number, server)
        known = backend.draining_until | {target: until for target, (_, until) in group.draining.items()}
        backend.draining_until = {
            target: until for target, until in known.items() if target in backend.slots and target not in group.targets
        }
        self._dismiss(backend, [target for target in backend.slots if target not in wanted])
        return left_out

    def forget(self, arns: Iterable[str]) -> None:
        """Let the servers of target groups go that no rule refers to any more."""
        for arn in [arn for arn in self._backends if arn not in arns]:
            self._dismiss(self._backends[arn], list(self._backends[arn].slots))

    def sweep(self) -> None:
        """Empty the slots of what has left and has no request any more; after its time, end its requests."""
        # To ask costs some 30 ms, so it is done only when the answer matters.
        busy = self._busy = self.haproxy.in_flight() if self._anything_leaves() else {}
        for backend in self._backends.values():
            for target, slot in list(backend.slots.items()):
                if slot.leaving is None:
                    continue
                if (backend.name, slot.number) not in busy:
                    self.haproxy.set(backend.name, slot.number, None)
                    del backend.slots[target]
                elif time.monotonic() >= slot.leaving:
                    self.haproxy.cut(backend.name, slot.number)

    def release(self, arns: Iterable[str]) -> None:
        """Free the backends of target groups that are not among `arns` and have no servers left."""
        for arn in [arn for arn, backend in self._backends.items() if arn not in arns and not backend.slots]:
            del self._backends[arn]

    def active(self) -> set[tuple[str, str]]:
        """Target groups and targets that get requests or, leaving, still have some. As of the last sweep."""
        return {
            (arn, target)
            for arn, backend in self._backends.items()
            for target, slot in backend.slots.items()
            if slot.server.ready or (backend.name, slot.number) in self._busy
        }

    def _anything_leaves(self) -> bool:
        return any(
            backend.draining_until or any(slot.leaving is not None for slot in backend.slots.values())
            for backend in self._backends.values()
        )

    def _dismiss(self, backend: _Backend, targets: Iterable[str]) -> None:
        for target in targets:
            slot = backend.slots[target]
            if slot.leaving is None:
                slot.leaving = backend.draining_until.pop(target, time.monotonic() + CUT_SECONDS)
                slot.server = Server(slot.server.address, slot.server.port, ready=False)
                self.haproxy.set(backend.name, slot.number, slot.server)


def _free(backend: _Backend) -> int | None:
    used = {slot.number for slot in backend.slots.values()}
    return next((number for number in range(SLOTS) if number not in used), None)


class Balancer:
    """All load balancers. `follow` and `stop` belong to one thread; the rest may be called from any."""

    def __init__(
        self,
        directory: Path,
        children: Children,
        changed: Callable[[], None] = lambda: None,
        forwards: Callable[[str, int], bool] = lambda _instance_id, _port: True,
        lateness: Lateness | None = None,
    ) -> None:
        """`forwards` tells whether a port of an instance leads to its machine, and not to whatever has the address.

        Without `lateness` nothing is late.
        """
        self._directory = directory / "balancer"
        shutil.rmtree(self._directory, ignore_errors=True)
        self._children = children
        self._checker = Checker(changed)
        self.traffic = Traffic()
        self._fronts: dict[str, Front] = {}
        self._ending: list[HAProxy] = []
        self._forwards = forwards
        self._lateness = lateness or Lateness.none()
        self._nodes: dict[str, list[Late[tuple[Rule, ...]]]] = {}
        self._retry_at: dict[str, float] = {}
        self._problems: dict[str, str] = {}
        self._active: frozenset[tuple[str, str]] = frozenset()
        self._seen_draining: frozenset[tuple[str, str]] = frozenset()

    def follow(self, cloud: Cloud) -> None:
        """Do what `cloud` wants. Cheap when nothing changed. Raises nothing that one listener alone is to blame for."""
        nodes = {arn: self._followed(listener) for arn, listener in cloud.listeners.items()}
        self._nodes = {arn: self._nodes[arn] for arn in nodes}
        self._checker.follow(self._probes(cloud, nodes))
        for arn in [arn for arn in self._fronts if arn not in cloud.listeners]:
            self._close(arn)
        for arn in [arn for arn in self._problems if arn not in cloud.listeners]:
            del self._problems[arn]
        for listener in cloud.listeners.values():
            try:
                self._serve(listener, nodes[listener.arn], cloud)
            except (routes.Unsupported, Refused, OSError) as error:
                self._problem(listener, str(error))
        self._ending = [haproxy for haproxy in self._ending if not haproxy.end()]
        self._active = frozenset(pair for front in self._fronts.values() for pair in front.active())
        self._seen_draining = frozenset(
            (group.arn, target) for group in cloud.target_groups.values() for target in group.draining
        )

    def target_health(self, arn: str) -> list[TargetHealth]:
        """Health of every target of a group, draining ones too. An unknown group has none."""
        found = view.target_group(arn)
        if found is None:
            return []
        group, used, states = found
        answer = []
        for target, port in group.targets.items():
            if states[target] != "running":
                state = health.STOPPED
            elif not used:
                state = health.UNUSED
            else:
                state = self._checker.state((arn, target, port)) or health.REGISTERING
            answer.append(TargetHealth(target, port, *state))
        return answer + [
            TargetHealth(target, port, *health.DRAINING)
            for target, (port, _) in group.draining.items()
            if target not in group.targets
        ]

    def drained(self, arn: str, instance_id: str) -> bool:
        """Whether a deregistered target is known to drain and has no request left."""
        return (arn, instance_id) in self._seen_draining and (arn, instance_id) not in self._active

    def quiet(self, instance_id: str) -> bool:
        """Whether no load balancer has, or would send, a request to an instance."""
        return all(target != instance_id for _, target in self._active)

    def problems(self) -> list[str]:
        """What is not as ELBv2 has it, and why."""
        return sorted(self._problems.values())

    def stop(self) -> None:
        """Stop checking and end every HAProxy."""
        self._checker.close()
        for arn in list(self._fronts):
            self._close(arn)
        ending, self._ending = self._ending, []
        while ending := [haproxy for haproxy in ending if not haproxy.end()]:
            time.sleep(0.02)
        self.traffic.close()

    def _followed(self, listener: Listener) -> list[tuple[Rule, ...]]:
        """The rules of a listener that each node is to follow now."""
        nodes = self._nodes.setdefault(listener.arn, [Late(listener.rules) for _ in range(NODES)])
        now = time.monotonic()
        return [
            node.follow(listener.rules, self._lateness.of("weights", listener.arn, number, now), now)
            for number, node in enumerate(nodes)
        ]

    def _probes(self, cloud: Cloud, nodes: Mapping[str, list[tuple[Rule, ...]]]) -> dict[Checker.Key, Probe]:
        listeners = {
            arn: listener
            for listener in cloud.listeners.values()
            for rules in (listener.rules, *nodes[listener.arn])
            for arn in _target_groups(rules)
        }
        probes = {}
        for arn in set(listeners) & set(cloud.target_groups):
            group = cloud.target_groups[arn]
            for target, port in group.targets.items():
                instance = cloud.instances.get(target)
                if instance is None or instance.state != "running":
                    continue
                check_port = group.check.port or port
                probes[arn, target, port] = Probe(
                    instance.address,
                    check_port,
                    f"{instance.private_ip}:{check_port}",
                    group.check,
                    reachable=self._forwards(target, check_port)
                    and cloud.reaches(listeners[arn], instance, check_port)
                    and cloud.reaches(listeners[arn], instance, port),
                )
        return probes

    def _serve(self, listener: Listener, nodes: list[tuple[Rule, ...]], cloud: Cloud) -> None:
        if listener.protocol != "HTTP":
            raise routes.Unsupported(f"protocol {listener.protocol} is not supported: use HTTP")
        if not cloud.accepts(listener):
            self._close(listener.arn)
            raise Refused("no security group of the load balancer opens the port to a client")
        front = self._front(listener)
        if front is None:
            return
        # A group may be gone that requests are still sent to, because they follow the rules late.
        referred = {arn for rules in nodes for arn in _target_groups(rules)}
        arns = referred & set(cloud.target_groups)
        table, problem = None, ""
        try:
            for arn in arns:
                _check_supported(cloud.target_groups[arn])
            table = routes.tables(nodes, front.backend)
        except routes.Unsupported as error:  # the routes stay as they were; their servers are still looked after
            problem, referred = str(error), front.target_groups
            arns = referred & set(cloud.target_groups)
        for arn in arns:
            group = cloud.target_groups[arn]
            if left_out := front.fill(arn, group, servers(group, cloud, listener, self._state_in(group))):
                problem = f"no room for {', '.join(left_out)}: {SLOTS} targets of a group, draining ones included"
        self.traffic.name(f"{listener.address}:{listener.port}", listener.arn, front.backends())
        if table is not None:
            front.haproxy.route(table)
        front.forget(arns)
        front.sweep()
        front.release(referred)
        if problem:
            raise Refused(problem)
        self._problems.pop(listener.arn, None)

    def _state_in(self, group: TargetGroup) -> Callable[[str], str]:
        def state(target: str) -> str:
            return (self._checker.state((group.arn, target, group.targets[target])) or health.REGISTERING)[0]

        return state

    def _front(self, listener: Listener) -> Front | None:
        """The listener's HAProxy; None until it answers. Raises `Refused` if it cannot run."""
        front = self._fronts.get(listener.arn)
        if front is not None and not front.haproxy.running:
            del self._fronts[listener.arn]
            pause = 0.0 if front.haproxy.answering() else RETRY_SECONDS
            self._retry_at[listener.arn] = time.monotonic() + pause
            raise Refused(f"HAProxy ended: {front.haproxy.problem}")
        if front is None:
            if time.monotonic() < self._retry_at.get(listener.arn, 0.0):
                return None
            haproxy = HAProxy(
                self._children,
                self._directory / f"{listener.address}-{listener.port}",
                address=listener.address,
                port=listener.port,
                idle_timeout=listener.idle_timeout,
                log_port=self.traffic.port,
            )
            front = self._fronts[listener.arn] = Front(haproxy)
        return front if front.haproxy.answering() else None

    def _close(self, arn: str) -> None:
        front = self._fronts.pop(arn, None)
        self._retry_at.pop(arn, None)
        if front is not None and not front.haproxy.end():
            self._ending.append(front.haproxy)

    def _problem(self, listener: Listener, message: str) -> None:
        told = f"listener {listener.address}:{listener.port} ({listener.arn}): {message}"
        if self._problems.get(listener.arn) != told:
            log.warning("%s", told)
        self._problems[listener.arn] = told


def _check_supported(group: TargetGroup) -> None:
    if group.target_type != "instance":
        raise routes.Unsupported(f"target group {group.arn} has targets of type {group.target_type}, not instance")
    if (group.protocol, group.check.protocol) != ("HTTP", "HTTP"):
        raise routes.Unsupported(f"target group {group.arn} and its health check must use the protocol HTTP here")
    if group.attributes.get("stickiness.enabled", "false").lower() == "true":
        raise routes.Unsupported(f"target group {group.arn} has stickiness enabled, which is not supported: disable it")


def _target_groups(rules: Iterable[Rule]) -> set[str]:
    return {arn for rule in rules for arn in rule.target_groups}
