"""One HAProxy that serves one listener, and everything that is changed in it while it runs.

Decides how HAProxy is told: servers, their states, the routing table and who may connect are set through the stats
socket, so no such change needs a reload and no connection is ever handed over or closed by one. What it is started with
is `config`'s. The listening socket is the caller's: another HAProxy with other settings takes over at the same socket,
and no client is refused meanwhile. HAProxy 2.6: management guide ("add server", "set server", "shutdown frontend").
"""

from __future__ import annotations

import contextlib
import csv
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localcloud.balancer.config import CLIENTS, ROUTES, SOCKET, Settings, config, files
from localcloud.processes.children import connect

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Mapping

    from localcloud.processes.children import Child, Children

COMMAND_SECONDS = 5.0


class Refused(Exception):
    """HAProxy did not take a configuration or a command; the message is what it said."""


@dataclass(frozen=True)
class Server:
    """A target as HAProxy has it, and whether it gets new requests. One that does not still ends those that it has.

    `tls` (its certificate is not verified, as an ALB does not) and `http2` are how it is spoken to. `slow_start` is in
    seconds.
    """

    address: str
    port: int
    ready: bool
    tls: bool = False
    http2: bool = False
    slow_start: int = 0


class HAProxy:
    """A running HAProxy with its files in `folder`. Start it from a thread that lives as long as it should."""

    def __init__(
        self,
        children: Children,
        folder: Path,
        settings: Settings,
        listening: socket.socket,
        *,
        name: str,
        admitted: Collection[str],
    ) -> None:
        """Start it without a route. Raises `Refused` if the configuration is wrong; see `problem` for the rest.

        `name` is what it calls itself when it tells of a request; `admitted` are networks, as in `admit`.
        """
        self._folder = folder
        self.settings = settings
        self._servers: dict[tuple[str, str], Server] = {}
        self._routes = ""
        self._clients = frozenset(admitted)
        self._answering = False
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        for file, text in files(settings).items():
            (folder / file).write_text(text, encoding="utf-8", newline="")
        (folder / "haproxy.cfg").write_text(config(settings, listening.fileno(), name), encoding="utf-8")
        shutil.copyfile(Path(__file__).with_name("router.lua"), folder / "router.lua")
        (folder / ROUTES).write_text("return {}\n", encoding="utf-8")
        (folder / CLIENTS).write_text("".join(f"{network}\n" for network in admitted), encoding="utf-8")
        command = ["haproxy", "-f", "haproxy.cfg"]
        inherited = (listening.fileno(),)
        check = subprocess.run(
            [*command, "-c"], cwd=folder, capture_output=True, text=True, check=False, pass_fds=inherited
        )
        if check.returncode != 0:
            raise Refused(f"haproxy -c refused {folder / 'haproxy.cfg'}: {_one_line(check.stdout + check.stderr)}")
        self._child: Child = children.start(
            [*command, "-db"], cwd=folder, log=folder / "haproxy.log", inherited=inherited
        )

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
        """What it complained of, for when it does not run."""
        said = self._child.log.read_text(encoding="utf-8", errors="replace")
        return _one_line("\n".join(line for line in said.splitlines() if "[ALERT]" in line))

    def end(self) -> bool:
        """End it; whether it has ended. Never waits."""
        return self._child.end()

    def leave(self) -> None:
        """Accept no more connections; those that it has get their answers, and are closed with their next one."""
        self._set("shutdown frontend listener")

    def connections(self) -> int:
        """Connections that clients have to it now."""
        return sum(int(row["scur"] or 0) for row in self._stat("listener 1 -1"))

    def route(self, routes: str) -> None:
        """Follow another routing table from the next request on. The same one again costs nothing.

        Requests that came before the first one have waited for it.
        """
        if routes == self._routes:
            return
        partial = self._folder / f"{ROUTES}.partial"
        partial.write_text(routes, encoding="utf-8")
        partial.replace(self._folder / ROUTES)
        answer = self.command("fleetswap routes").strip()
        if answer != "loaded":
            raise Refused(f"HAProxy did not read the routing table: {answer}")
        self._routes = routes

    def admit(self, networks: Collection[str]) -> None:
        """Let clients of these networks connect, and no others. Connections that are open stay so."""
        if self._clients == frozenset(networks):
            return
        version = self.command(f"prepare acl {CLIENTS}").rpartition(":")[2].strip()
        for network in networks:
            self._set(f"add acl @{version} {CLIENTS} {network}")
        self._set(f"commit acl @{version} {CLIENTS}")
        self._clients = frozenset(networks)

    def set(self, backend: str, target: str, server: Server) -> None:
        """Have a target as a server of a backend. What is so already costs nothing."""
        before = self._servers.get((backend, target))
        if before == server:
            return
        name = f"{backend}/{target}"
        if before is None:
            self._set(f"add server {name} {server.address}:{server.port}{_spoken_to(server)}")
        elif (before.address, before.port) != (server.address, server.port):
            self._set(f"set server {name} addr {server.address} port {server.port}")
        self._set(f"set server {name} state {'ready' if server.ready else 'drain'}")
        self._servers[backend, target] = server

    def remove(self, backend: str, target: str) -> bool:
        """Have a target no longer; False if a connection to it is not closed yet."""
        name = f"{backend}/{target}"
        self._set(f"set server {name} state maint")
        answer = self.command(f"del server {name}").strip()
        if "still has connections" in answer:
            return False
        if "deleted" not in answer:
            raise Refused(f"HAProxy refused to delete {name}: {_one_line(answer)}")
        del self._servers[backend, target]
        return True

    def cut(self, backend: str, target: str) -> None:
        """End the requests that a target still has, as a load balancer does when the deregistration delay is over."""
        self._set(f"shutdown sessions server {backend}/{target}")

    def in_flight(self) -> Mapping[tuple[str, str], int]:
        """Requests that the servers have now, for those that have any."""
        return {
            (row["# pxname"], row["svname"]): int(row["scur"])
            for row in self._stat("-1 4 -1")
            if row["scur"] not in {"", "0"} and row["# pxname"] != "hop"
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
        # Some commands tell what they did; any other answer is a complaint.
        if answer and not any(words in answer for words in ("changed from", "no need to change", "registered")):
            raise Refused(f"HAProxy refused {text!r}: {_one_line(answer)}")

    def _stat(self, of: str) -> list[dict[str, str]]:
        return list(csv.DictReader(self.command(f"show stat {of}").splitlines()))


def _spoken_to(server: Server) -> str:
    tls = " ssl verify none" if server.tls else ""
    spoken = (" alpn h2" if server.tls else " proto h2") if server.http2 else ""
    slow = f" slowstart {server.slow_start}s" if server.slow_start else ""
    return tls + spoken + slow


def _one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip()) or "it said nothing"
