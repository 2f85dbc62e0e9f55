"""One HAProxy that serves one listener, and everything that is changed in it while it runs.

Decides HAProxy's configuration, which never changes while it runs: a listener has a fixed number of numbered backends
with a fixed number of server slots, all empty at first. Servers, their states and the routing table are set through the
stats socket, so no change needs a reload and no connection is ever handed over or closed by one. Knows nothing of AWS
beyond the answers that an Application Load Balancer gives on its own. HAProxy 2.6: configuration manual, management
guide ("set server").
"""

from __future__ import annotations

import contextlib
import csv
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localcloud.balancer.traffic import FORMAT
from localcloud.processes.children import connect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localcloud.processes.children import Child, Children

BACKENDS = 40
"""Target groups that one listener's rules can refer to at a time. AWS allows 100 a load balancer."""

SLOTS = 24
"""Servers of a backend: targets of a target group, draining ones included. AWS allows 1,000."""

COMMAND_SECONDS = 5.0

SOCKET = "stats.sock"
ROUTES = "routes.lua"

_ERRORS = {
    # HAProxy answers 503 when no server accepted the connection; an ALB answers 502 then (user guide, "Troubleshoot").
    "400": "400 Bad Request",
    "408": "408 Request Time-out",
    "500": "500 Internal Server Error",
    "502": "502 Bad Gateway",
    "503": "502 Bad Gateway",
    "504": "504 Gateway Time-out",
}


class Refused(Exception):
    """HAProxy did not take a configuration or a command; the message is what it said."""


def config(address: str, port: int, idle_timeout: int, log_port: int) -> str:
    """The configuration of a listener at an address of this machine. `idle_timeout` is the load balancer's, seconds.

    Each request is told to `log_port`, in the format that `traffic` reads.

    `option http-server-close` gives each request a connection of its own to the target: a target that closes an idle
    connection can then never make a request fail, and what a draining target still has open is requests in flight.
    `option abortonclose` ends a request when its client goes away, as an ALB does (HTTP 460), and not when the target
    answers at last. Nothing is tried again, not even a connection that a target refuses: an ALB answers 502 then, and
    504 when it does not come about within 10 s (user guide, "Troubleshoot").
    """
    errors = "".join(f"    errorfile {status} {status}.http\n" for status in _ERRORS)
    backends = "".join(
        f"backend {name}\n"
        f"    http-request return status 503 content-type text/html file 503.html hdr server awselb/2.0"
        f" if {{ nbsrv eq 0 }}\n"
        f"    server-template s 1-{SLOTS} 127.0.0.1:1 disabled\n"
        for name in backend_names()
    )
    return f"""# Written by localcloud/balancer/haproxy.py for one listener; never changed while HAProxy runs.
global
    stats socket unix@{SOCKET} mode 600 level admin
    log 127.0.0.1:{log_port} len 1024 format raw local0
    lua-load router.lua
    nbthread 1
    noreuseport
    maxconn 4000
    hard-stop-after 1s

defaults
    mode http
    log global
    log-format "{address}:{port} {FORMAT}"
    option dontlognull
    option http-server-close
    option abortonclose
    retries 0
    timeout connect 10s
    timeout client {idle_timeout}s
    timeout server {idle_timeout}s
    timeout http-request {idle_timeout}s
    timeout http-keep-alive {idle_timeout}s
{errors}
frontend listener
    bind {address}:{port}
    http-request set-header X-Forwarded-For "%[req.fhdr(x-forwarded-for)], %[src]" if {{ req.fhdr(x-forwarded-for) -m found }}
    http-request set-header X-Forwarded-For %[src] if !{{ req.fhdr(x-forwarded-for) -m found }}
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Port {port}
    http-request lua.route
    use_backend %[var(txn.backend)]
    default_backend none

backend none
    http-request return status 503 content-type text/html file 503.html hdr server awselb/2.0

{backends}"""  # noqa: E501 - HAProxy has no way to break a line


def backend_names() -> list[str]:
    """The names of the numbered backends."""
    return [f"tg{number}" for number in range(BACKENDS)]


def page(status: str) -> str:
    """The page of an answer that a load balancer gives on its own, as an ALB's look."""
    return f"<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n</body>\r\n</html>\r\n"  # noqa: E501


@dataclass(frozen=True)
class Server:
    """Where a slot points, and whether it gets new requests. One that does not still ends those that it has."""

    address: str
    port: int
    ready: bool


class HAProxy:
    """A running HAProxy with its files in `folder`. Start it from a thread that lives as long as it should."""

    def __init__(
        self, children: Children, folder: Path, *, address: str, port: int, idle_timeout: int, log_port: int
    ) -> None:
        """Start it without a route. Raises `Refused` if the configuration is wrong; see `problem` for the rest."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._slots: dict[tuple[str, int], Server] = {}
        self._routes = "return {}\n"
        self._answering = False
        (folder / "haproxy.cfg").write_text(config(address, port, idle_timeout, log_port), encoding="utf-8")
        shutil.copyfile(Path(__file__).with_name("router.lua"), folder / "router.lua")
        (folder / ROUTES).write_text(self._routes, encoding="utf-8")
        (folder / "503.html").write_text(page("503 Service Temporarily Unavailable"), encoding="utf-8")
        for status, shown in _ERRORS.items():
            text = page(shown)
            head = (
                f"HTTP/1.1 {shown}\r\nServer: awselb/2.0\r\nContent-Type: text/html\r\nContent-Length: {len(text)}\r\n"
            )
            (folder / f"{status}.http").write_text(f"{head}\r\n{text}", encoding="utf-8", newline="")
        check = subprocess.run(
            ["haproxy", "-c", "-f", "haproxy.cfg"], cwd=folder, capture_output=True, text=True, check=False
        )
        if check.returncode != 0:
            raise Refused(f"haproxy -c refused {folder / 'haproxy.cfg'}: {_one_line(check.stdout + check.stderr)}")
        log = folder / "haproxy.log"
        log.unlink(missing_ok=True)
        self._child: Child = children.start(["haproxy", "-db", "-f", "haproxy.cfg"], cwd=folder, log=log)

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._child.running

    def answering(self) -> bool:
        """Whether it has started so far that it takes commands. True for good once it is."""
        if not self._answering:
            with contextlib.suppress(OSError):  # it is about to listen
                self._answering = bool(self.command("show version"))
        return self._answering

    @property
    def problem(self) -> str:
        """What it complained of, for when it does not run: for example that the port is taken."""
        said = self._child.log.read_text(encoding="utf-8", errors="replace")
        return _one_line("\n".join(line for line in said.splitlines() if "[ALERT]" in line))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def end(self) -> bool:
        """End it; whether it has ended. Never waits."""
        return self._child.end()

    def route(self, routes: str) -> None:
        """Follow another routing table from the next request on. The same one again costs nothing."""
        if routes == self._routes:
            return
        partial = self._folder / f"{ROUTES}.partial"
        partial.write_text(routes, encoding="utf-8")
        partial.replace(self._folder / ROUTES)
        answer = self.command("fleetswap routes").strip()
        if answer != "loaded":
            raise Refused(f"HAProxy did not read the routing table: {answer}")
        self._routes = routes

    def set(self, backend: str, slot: int, server: Server | None) -> None:
        """Point a slot somewhere, or empty it. What is so already costs nothing."""
        before = self._slots.get((backend, slot))
        if before == server:
            return
        name = f"{backend}/s{slot + 1}"
        if server is None:
            self._set(f"set server {name} state maint")
            del self._slots[backend, slot]
            return
        if before is None or (before.address, before.port) != (server.address, server.port):
            self._set(f"set server {name} addr {server.address} port {server.port}")
        self._set(f"set server {name} state {'ready' if server.ready else 'drain'}")
        self._slots[backend, slot] = server

    def cut(self, backend: str, slot: int) -> None:
        """End the requests that a slot still has, as a load balancer does when the deregistration delay is over."""
        self._set(f"shutdown sessions server {backend}/s{slot + 1}")

    def in_flight(self) -> Mapping[tuple[str, int], int]:
        """Requests that the slots have now, for slots that have any."""
        return {
            (row["# pxname"], int(row["svname"][1:]) - 1): int(row["scur"])
            for row in self._stat()
            if row["svname"].startswith("s") and row["scur"] not in {"", "0"}
        }

    def command(self, text: str) -> str:
        """The answer to a command at the stats socket. Raises OSError when HAProxy does not answer."""
        with connect(self._folder / SOCKET, COMMAND_SECONDS) as connection:
            connection.sendall(text.encode() + b"\n")
            answer = b""
            while piece := connection.recv(65_536):
                answer += piece
            return answer.decode(errors="replace")

    def _set(self, text: str) -> None:
        answer = self.command(text).strip()
        # "set server addr" tells what it changed; any other answer is a complaint.
        if answer and "changed from" not in answer and "no need to change" not in answer:
            raise Refused(f"HAProxy refused {text!r}: {_one_line(answer)}")

    def _stat(self) -> list[dict[str, str]]:
        return list(csv.DictReader(self.command("show stat -1 6 -1").splitlines()))


def _one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip()) or "it said nothing"
