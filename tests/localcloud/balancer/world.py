"""A small world for the balancer: HTTP servers that stand for machines, and what the control plane would want."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from localcloud.view import (
    Cloud,
    HealthCheck,
    Instance,
    Listener,
    Permission,
    Rule,
    SecurityGroup,
    TargetGroup,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from localcloud.balancer.fronts import Balancer

SECONDS = 15.0
PATIENCE = 60.0  # after which something that should happen never will; other work may have the processors
ANYONE = SecurityGroup("sg-lb", (Permission(0, 65_535, cidr="0.0.0.0/0"),), (Permission(0, 65_535, cidr="0.0.0.0/0"),))
MACHINES = SecurityGroup("sg-web", (Permission(0, 65_535, group="sg-lb"),))
CHECK = HealthCheck("/healthz", interval=0.1, timeout=1.0, healthy=2, unhealthy=2)


def until(true: Callable[[], object], what: str) -> None:
    """Wait for something that must happen."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)


class Server(ThreadingHTTPServer):
    """A machine's HTTP server: says its name; `health` is what its health check returns (0: it cuts the connection)."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, name: str, host: str, tls: ssl.SSLContext | None = None) -> None:
        super().__init__((host, 0), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.name, self.health = name, 200
        self.seen: Counter[str] = Counter()
        self.slow = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.slow.set()
        self.shutdown()
        self.thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that a test cuts."""


_BROKEN = {
    "/half": b"HTTP/1.1 200 OK\r\nContent-Le",
    "/bad": b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
    "/noise": b"\x16\x03\x01 hello",
}
"""What is no answer, by its path."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen[f"{self.command} {self.path}"] += 1
        status = self.server.health if self.path == "/healthz" else 200
        if status == 0 or self.path == "/cut":
            self.close_connection = True
            return
        if self.path == "/reset":  # a RST instead of a FIN: socket(7), SO_LINGER
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if self.path in _BROKEN:
            self.wfile.write(_BROKEN[self.path])
            self.close_connection = True
            return
        body = self.server.name.encode()
        if self.path == "/slow":
            self.server.slow.wait(SECONDS)
        if self.path == "/headers":
            body = str(self.headers).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


def answer_to(connection: socket.socket, request: str, **headers: str) -> tuple[int, str]:
    """Status and body of one request, `GET / HTTP/1.1` for example, over a connection that stays open."""
    lines = [request, "Host: shop.test", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    connection.sendall("\r\n".join(lines).encode())
    with http.client.HTTPResponse(connection) as answer:
        answer.begin()
        return answer.status, answer.read().decode()


def forward(weights: Mapping[str, int], **config: Any) -> dict[str, Any]:
    """A forward action."""
    groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights.items()]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": groups, **config}}


def fixed(body: str, status: str = "200") -> dict[str, Any]:
    """A fixed response."""
    return {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": status, "MessageBody": body}}


def header(name: str, *values: str) -> dict[str, Any]:
    """A condition on a header."""
    return {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": name, "Values": list(values)}}


class World:
    """What the control plane wants, and a balancer that is made to follow it."""

    def __init__(self, balancer: Balancer, subnet: int) -> None:
        self.balancer = balancer
        self._subnet = subnet
        self.servers: dict[str, Any] = {}
        self.groups: dict[str, TargetGroup] = {}
        self.instances: dict[str, Instance] = {}
        self.security_groups = {group.id: group for group in (ANYONE, MACHINES)}
        self.listener = Listener("listener", f"127.66.{subnet}.1", self._free_port(), "HTTP", (), ("sg-lb",))
        self.rules(Rule((), (fixed("nothing is live", "503"),)))
        self._connections: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        for server in self.servers.values():
            server.slow.set()
        self.balancer.stop()
        for server in self.servers.values():
            server.close()

    def _free_port(self) -> int:
        with socket.socket() as probe:
            probe.bind((f"127.66.{self._subnet}.1", 0))
            return int(probe.getsockname()[1])

    def rules(self, *rules: Rule) -> None:
        self.listener = replace(self.listener, rules=rules)

    def split(self, **weights: int) -> None:
        """Forward everything by these weights."""
        self.rules(Rule((), (forward(weights),)))

    def group(self, arn: str, *names: str, **changes: Any) -> None:
        """A target group with a new machine of each name."""
        self.groups[arn] = replace(TargetGroup(arn, 80, CHECK), **changes)
        for name in names:
            self.add(arn, name)

    def add(self, arn: str, name: str, make: Callable[[str, str], Any] = Server) -> Any:
        """A new machine in a target group, and its server, which `make` makes of a name and an address."""
        private_ip = f"10.210.{self._subnet}.{len(self.instances) + 10}"
        self.instances[name] = Instance(name, "running", private_ip, ("sg-web",))
        server = self.servers[name] = make(name, self.instances[name].address)
        group = self.groups[arn]
        self.groups[arn] = replace(group, targets={**group.targets, name: int(server.server_address[1])})
        return server

    def deregister(self, arn: str, name: str, *, delay: float = SECONDS) -> None:
        group = self.groups[arn]
        targets = dict(group.targets)
        draining = {**group.draining, name: (targets.pop(name), time.monotonic() + delay)}
        self.groups[arn] = replace(group, targets=targets, draining=draining)

    def forget(self, arn: str, name: str) -> None:
        """The delay is over, or the instance is terminated."""
        group = self.groups[arn]
        targets = {target: port for target, port in group.targets.items() if target != name}
        draining = {target: left for target, left in group.draining.items() if target != name}
        self.groups[arn] = replace(group, targets=targets, draining=draining)

    def cloud(self) -> Cloud:
        return Cloud(dict(self.instances), dict(self.security_groups), dict(self.groups), {"listener": self.listener})

    def follow(self) -> bool:
        self.balancer.follow(self.cloud())
        return True

    def settle(self, true: Callable[[], object], what: str) -> None:
        """Follow until something is so."""
        until(lambda: self.follow() and true(), what)

    def serving(self) -> None:
        """Follow until the listener answers, and as the rules say."""
        self.settle(lambda: not self.refused(), "the listener")
        with self.open() as waiting:
            waiting.sendall(b"OPTIONS /serving HTTP/1.1\r\nHost: serving\r\n\r\n")
            self.settle(lambda: select.select([waiting], [], [], 0)[0], "an answer of the listener")
            waiting.recv(4096)
        until(lambda: self.balancer.traffic.take(float("inf")), "what counts that request")
        self.follow()

    def healthy(self, *arns: str) -> None:
        """Follow until all targets of the groups get requests, and ask through the listener's own HAProxy."""
        self.serving()
        names = {name for arn in arns for name in self.groups[arn].targets}
        self.settle(lambda: not any(self.balancer.quiet(name) for name in names), f"health of {names}")

    def refused(self) -> bool:
        try:
            socket.create_connection((self.listener.address, self.listener.port), SECONDS).close()
        except ConnectionRefusedError:
            return True
        return False

    def open(self, tls: ssl.SSLContext | None = None, host: str | None = None, source: str = "") -> socket.socket:
        """A connection to the listener. Of a listener that speaks TLS, one that trusts whatever it presents."""
        plain = socket.create_connection(
            (self.listener.address, self.listener.port), SECONDS, (source, 0) if source else None
        )
        if self.listener.protocol != "HTTPS":
            return plain
        if tls is None:
            tls = ssl.create_default_context()
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        return tls.wrap_socket(plain, server_hostname=host)

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.listener.address, self.listener.port, timeout=SECONDS)
        self._connections.append(connection)
        return connection

    def ask(
        self,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        over: http.client.HTTPConnection | None = None,
        body: str | None = None,
    ) -> tuple[int, str]:
        """Status and body of one request, over a new connection unless one is given."""
        connection = over or self.connect()
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            if over is None:
                connection.close()

    def answers(self, count: int = 1) -> Counter[str]:
        """What so many requests are answered with."""
        return Counter(self.ask()[1] for _ in range(count))


class Load:
    """A constant load from threads that keep their connections and threads that do not; counts every answer.

    A connection that is kept is never opened anew: that the balancer closes it is a failure.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.answers: Counter[str] = Counter()
        kinds = [(keep, method) for keep in (True, False) for method in ("GET", "POST")]
        self._threads = [threading.Thread(target=self._run, args=kind, daemon=True) for kind in kinds]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 100) -> Callable[[], bool]:
        """Whether so many more requests were answered by now."""
        goal = sum(self.answers.values()) + count
        return lambda: sum(self.answers.values()) >= goal

    def _run(self, keep: bool, method: str) -> None:  # noqa: FBT001 - a thread's arguments
        kept = self._world.connect()
        if keep:
            kept.connect()
            kept.auto_open = 0
        while not self._stop.is_set():
            try:
                body = "some data" if method == "POST" else None
                status, text = self._world.ask("/", method=method, over=kept if keep else None, body=body)
                outcome = text if status == 200 else f"{status} {text}"
            except (OSError, http.client.HTTPException) as error:
                outcome = repr(error)
            with self._lock:
                self.answers[outcome] += 1
