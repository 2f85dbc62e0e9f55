"""The load balancers: an HAProxy for each listener, fed with routes and servers as ELBv2 and the health checks say.

Decides which targets get requests and when one has drained. The checks are `health`'s and not HAProxy's own (see
docs/decisions/0003-target-health.md); HAProxy routes to what is given to it. Changes of rules, targets and security
groups never restart an HAProxy. What HAProxy reads only when it starts (certificates, TLS policy, attributes) needs
another one: it takes over at the same socket once it has the routes and servers, and the one before it answers the
requests that it has, by the same routes, until its clients are gone (docs/decisions/0029-front-doors.md). Never changes
anything in ELBv2. What it cannot do as ELBv2 does it leaves as it was, and says so in the log and in `status`.

Requests follow a listener's rules late (`lateness`, `weights`), as in AWS, where the API answers new weights before the
load balancer's nodes know them, one after the other: until then a target group of weight 0 gets requests, and answers
them with 503 if its targets are gone.
"""

from __future__ import annotations

import logging
import shutil
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localcloud import view
from localcloud.balancer import clients, health, routes
from localcloud.balancer.config import Settings, Tls
from localcloud.balancer.front import Front, servers
from localcloud.balancer.haproxy import HAProxy, Refused
from localcloud.balancer.health import Checker
from localcloud.balancer.probes import Probe
from localcloud.balancer.traffic import Traffic
from localcloud.faults.lateness import Late, Lateness
from localcloud.hooks import TargetHealth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from localcloud.balancer.haproxy import Server
    from localcloud.processes.children import Children
    from localcloud.view import Cloud, Listener, Rule, TargetGroup

NODES = 2  # of a load balancer: one in each of the two zones that it needs at least
RETRY_SECONDS = 2.0  # between attempts to start an HAProxy that does not get so far as to answer
BACKLOG = 1024

log = logging.getLogger(__name__)


@dataclass
class _Line:
    """The socket of a listener and the HAProxies that have it, the newest last. `number` names the next one."""

    socket: socket.socket
    fronts: list[Front] = field(default_factory=list)
    number: int = 0
    retry_at: float = 0.0


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
        self._lines: dict[str, _Line] = {}
        self._ending: list[HAProxy] = []
        self._forwards = forwards
        self._lateness = lateness or Lateness.none()
        self._nodes: dict[str, list[Late[tuple[Rule, ...]]]] = {}
        self._problems: dict[str, str] = {}
        self._active: frozenset[tuple[str, str]] = frozenset()
        self._seen_draining: frozenset[tuple[str, str]] = frozenset()

    def follow(self, cloud: Cloud) -> None:
        """Do what `cloud` wants. Cheap when nothing changed. Raises nothing that one listener alone is to blame for."""
        nodes = {arn: self._followed(listener) for arn, listener in cloud.listeners.items()}
        self._nodes = {arn: self._nodes[arn] for arn in nodes}
        self._checker.follow(self._probes(cloud, nodes))
        for arn in [arn for arn in self._lines if arn not in cloud.listeners]:
            self._close(arn)
        for arn in [arn for arn in self._problems if arn not in cloud.listeners]:
            del self._problems[arn]
        for listener in cloud.listeners.values():
            try:
                self._serve(listener, nodes[listener.arn], cloud)
            except (routes.Unsupported, Refused, OSError) as error:
                self._problem(listener, str(error))
        self._ending = [haproxy for haproxy in self._ending if not haproxy.end()]
        self._active = frozenset(
            pair for line in self._lines.values() for front in line.fronts for pair in front.active()
        )
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
        for arn in list(self._lines):
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
        settings = _settings(listener, self.traffic.port)
        admitted = frozenset(network for block in cloud.clients(listener) for network in clients.networks(block))
        if not admitted:
            self._close(listener.arn)
            raise Refused("no security group of the load balancer opens the port to a client")
        line = self._line(listener)
        problems = self._start(line, listener, settings, admitted)
        wanted: dict[str, dict[str, Server]] = {}
        for front in line.fronts:
            if front.haproxy.answering():
                front.haproxy.admit(admitted)
                problems += self._steer(front, listener, nodes, cloud, wanted)
        if line.fronts and line.fronts[-1].haproxy.answering():
            self._replace(line)
        if problems:
            raise Refused("; ".join(dict.fromkeys(problems)))
        self._problems.pop(listener.arn, None)

    def _line(self, listener: Listener) -> _Line:
        """The listener's socket. Raises `Refused` if its port is taken."""
        line = self._lines.get(listener.arn)
        if line is not None and line.socket.getsockname() != (listener.address, listener.port):
            self._close(listener.arn)
            line = None
        if line is None:
            listening = socket.socket()
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind((listener.address, listener.port))
                listening.listen(BACKLOG)
            except OSError as error:
                listening.close()
                raise Refused(f"the port cannot be used: {error.strerror}") from None
            line = self._lines[listener.arn] = _Line(listening)
        return line

    def _start(self, line: _Line, listener: Listener, settings: Settings, admitted: frozenset[str]) -> list[str]:
        """Have an HAProxy with these settings start if there is none; what ails those that ended by themselves."""
        ended = [front for front in line.fronts if not front.haproxy.running]
        line.fronts = [front for front in line.fronts if front not in ended]
        problems = [f"HAProxy ended: {front.haproxy.problem}" for front in ended if not front.left]
        if problems:
            pause = 0.0 if all(front.haproxy.answering() for front in ended) else RETRY_SECONDS
            line.retry_at = time.monotonic() + pause
            return problems
        newest = line.fronts[-1] if line.fronts else None
        if (newest is None or newest.haproxy.settings != settings) and time.monotonic() >= line.retry_at:
            line.number += 1
            name = f"{listener.address}:{listener.port}/{line.number}"
            folder = self._directory / f"{listener.address}-{listener.port}-{line.number}"
            line.retry_at = time.monotonic() + RETRY_SECONDS
            try:
                haproxy = HAProxy(self._children, folder, settings, line.socket, name=name, admitted=admitted)
                line.fronts.append(Front(haproxy, name))
            except Refused as refused:
                return [str(refused)]
            line.retry_at = 0.0
        return []

    def _replace(self, line: _Line) -> None:
        """Let the HAProxies before the newest one go, which has the routes and the servers by now."""
        for front in line.fronts[:-1]:
            if not front.left:
                front.haproxy.leave()
                front.left = True
            elif front.haproxy.connections() == 0 and not front.haproxy.end():
                self._ending.append(front.haproxy)
        gone = [*self._ending]
        line.fronts = [front for front in line.fronts if front.haproxy not in gone]

    def _steer(
        self,
        front: Front,
        listener: Listener,
        nodes: list[tuple[Rule, ...]],
        cloud: Cloud,
        wanted: dict[str, dict[str, Server]],
    ) -> list[str]:
        """Give an HAProxy the routes and the servers; what it cannot do.

        `wanted` keeps the servers of a target group, so that all HAProxies of a listener get the same.
        """
        # A group may be gone that requests are still sent to, because they follow the rules late.
        referred = {arn for rules in nodes for arn in _target_groups(rules)}
        arns = referred & set(cloud.target_groups)
        table, problems = None, []

        def backend(arn: str) -> tuple[str, str]:
            group = cloud.target_groups.get(arn)
            return front.backend(arn), "HTTP1" if group is None else group.version

        try:
            for arn in arns:
                _check_supported(cloud.target_groups[arn])
            table = routes.tables(nodes, backend)
        except routes.Unsupported as error:  # the routes stay as they were; their servers are still looked after
            problems.append(str(error))
            referred = front.target_groups
            arns = referred & set(cloud.target_groups)
        for arn in arns:
            group = cloud.target_groups[arn]
            if arn not in wanted:
                wanted[arn] = servers(group, cloud, listener, self._state_in(group))
            front.fill(arn, group, wanted[arn])
        self.traffic.name(front.name, listener.arn, front.backends())
        if table is not None:
            front.haproxy.route(table)
        front.forget(arns)
        front.sweep()
        front.release(referred)
        return problems

    def _state_in(self, group: TargetGroup) -> Callable[[str], str]:
        def state(target: str) -> str:
            return (self._checker.state((group.arn, target, group.targets[target])) or health.REGISTERING)[0]

        return state

    def _close(self, arn: str) -> None:
        line = self._lines.pop(arn, None)
        if line is not None:
            line.socket.close()
            self._ending += [front.haproxy for front in line.fronts if not front.haproxy.end()]

    def _problem(self, listener: Listener, message: str) -> None:
        told = f"listener {listener.address}:{listener.port} ({listener.arn}): {message}"
        if self._problems.get(listener.arn) != told:
            log.warning("%s", told)
        self._problems[listener.arn] = told


def _settings(listener: Listener, log_port: int) -> Settings:
    """What the listener's HAProxy is started with. Raises `Unsupported`."""
    if listener.protocol not in {"HTTP", "HTTPS"}:
        raise routes.Unsupported(f"protocol {listener.protocol} is not supported: use HTTP or HTTPS")
    tls = None
    if listener.protocol == "HTTPS":
        if not listener.certificates:
            raise routes.Unsupported("its default certificate is gone: replace it")
        tls = Tls(listener.certificates, listener.protocols, listener.ciphers)
    attributes = listener.attributes
    return Settings(
        listener.address,
        listener.port,
        log_port,
        idle_timeout=listener.idle_timeout,
        tls=tls,
        http2=attributes.get("routing.http2.enabled", "true") == "true",
        drop_invalid_headers=attributes.get("routing.http.drop_invalid_header_fields.enabled") == "true",
        forwarded_for=attributes.get("routing.http.xff_header_processing.mode", "append"),
        client_port=attributes.get("routing.http.xff_client_port.enabled") == "true",
    )


def _check_supported(group: TargetGroup) -> None:
    if group.target_type != "instance":
        raise routes.Unsupported(f"target group {group.arn} has targets of type {group.target_type}, not instance")
    if not {group.protocol, group.check.protocol} <= {"HTTP", "HTTPS"}:
        raise routes.Unsupported(f"target group {group.arn} and its health check must use HTTP or HTTPS")
    if group.attributes.get("stickiness.enabled", "false").lower() == "true":
        raise routes.Unsupported(f"target group {group.arn} has stickiness enabled, which is not supported: disable it")


def _target_groups(rules: Iterable[Rule]) -> set[str]:
    return {arn for rule in rules for arn in rule.target_groups}
