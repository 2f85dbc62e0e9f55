"""The router's process: between all guests, their user networks, and nothing else.

Decides nothing about a packet (`guests` does): it plugs and unplugs wires as machines come and go, and takes the
topologies that the local cloud sends to the socket `control` in its folder. It needs no privileges. While it does not
run no packet of a guest passes; the local cloud starts it again (`link`), and it finds the machines where they were.

Run as `python -m localcloud.network.router`, in the folder that holds its files.
"""

from __future__ import annotations

import pickle
import select
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from localcloud.network.flows import Socket, sweep
from localcloud.network.guests import Guest, World
from localcloud.network.record import Record
from localcloud.network.topology import Topology
from localcloud.network.wires import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

CONTROL, RECORD = "control", "rejected.log"
NIC, HOST = "nic.sock", "host.sock"
"""In the folder of a machine: QEMU listens there."""

PLUG_SECONDS, SWEEP_SECONDS = 0.05, 5.0


class Router:
    """Everything that the process does. Belongs to one thread."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._record = Record(Path(RECORD))
        self._guests: dict[str, Guest] = {}
        self._plugged: dict[int, tuple[Socket, Callable[[bytes, float], None]]] = {}
        self._writing: set[int] = set()
        self._control = socket.socket(socket.AF_UNIX)
        Path(CONTROL).unlink(missing_ok=True)
        self._control.bind(CONTROL)
        self._control.listen()
        self._poll.register(self._control, select.EPOLLIN)
        self._sender: socket.socket | None = None
        self._part = b""

    def run(self) -> None:
        """Never returns."""
        plug_at = sweep_at = 0.0
        while True:
            waiting = any(guest.nic.wire is None or guest.host.wire is None for guest in self._guests.values())
            for descriptor, _ in self._poll.poll(PLUG_SECONDS if waiting else SWEEP_SECONDS):
                self._ready(descriptor)
            now = time.monotonic()
            if waiting and now >= plug_at:
                self._plug()
                plug_at = now + PLUG_SECONDS
            if now >= sweep_at:
                sweep([s.table for guest in self._guests.values() for s in (guest.nic, guest.host)], now)
                sweep_at = now + SWEEP_SECONDS
            self._flush()

    def follow(self, topology: Topology) -> None:
        """Be the router of another topology. Guests that are in both keep their flows."""
        world = World.of(topology)
        running = {machine.instance for machine in topology.machines}
        for name in [name for name in self._guests if name not in running]:
            guest = self._guests.pop(name)
            for place in (guest.nic, guest.host):
                self._unplug(place)
                for hop in list(place.table.values()):
                    hop.flow.forget()
        for machine in topology.machines:
            interface = next(iter(world.judge.owned(machine.instance)), None)
            if interface is None:
                continue
            guest = self._guests.setdefault(machine.instance, Guest(self._record.reject))
            guest.follow(machine, interface, world, self._guests)

    def _ready(self, descriptor: int) -> None:
        if descriptor == self._control.fileno():
            self._accept()
        elif self._sender is not None and descriptor == self._sender.fileno():
            self._hear()
        elif descriptor in self._plugged:
            place, take = self._plugged[descriptor]
            now = time.monotonic()
            try:
                for frame in place.wire.receive() if place.wire else ():
                    take(frame, now)
            except (OSError, ValueError):  # its machine went off
                self._unplug(place)

    def _plug(self) -> None:
        for guest in self._guests.values():
            for place, name, take in ((guest.nic, NIC, guest.sent), (guest.host, HOST, guest.came)):
                if place.wire is not None:
                    continue
                try:
                    place.wire = Wire.to(Path(guest.machine.folder) / name)
                except OSError:  # not yet
                    continue
                self._plugged[place.wire.fileno()] = (place, take)
                self._poll.register(place.wire.fileno(), select.EPOLLIN)

    def _unplug(self, place: Socket) -> None:
        if place.wire is None:
            return
        descriptor = place.wire.fileno()
        self._poll.unregister(descriptor)
        self._writing.discard(descriptor)
        del self._plugged[descriptor]
        place.wire.close()
        place.wire = None

    def _flush(self) -> None:
        for descriptor, (place, _) in list(self._plugged.items()):
            wire = place.wire
            if wire is None or not (wire.waits or descriptor in self._writing):
                continue
            try:
                wire.flush()
            except OSError:
                self._unplug(place)
                continue
            if wire.waits != (descriptor in self._writing):
                self._poll.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if wire.waits else 0))
                (self._writing.add if wire.waits else self._writing.discard)(descriptor)

    def _accept(self) -> None:
        if self._sender is not None:
            self._poll.unregister(self._sender)
            self._sender.close()
        self._sender, _ = self._control.accept()
        self._part = b""
        self._poll.register(self._sender, select.EPOLLIN)

    def _hear(self) -> None:
        """Read topologies, each after its length in four bytes."""
        sender = self._sender
        if sender is None:
            return
        data = sender.recv(1 << 20)
        if not data:
            self._poll.unregister(sender)
            sender.close()
            self._sender = None
            return
        self._part += data
        while len(self._part) >= 4 and len(self._part) >= 4 + (length := int.from_bytes(self._part[:4], "big")):
            sent, self._part = self._part[4 : 4 + length], self._part[4 + length :]
            topology: Topology = pickle.loads(sent)  # noqa: S301 - of the process that started us, in a folder of its own
            self.follow(topology)


def main() -> int:
    """Run until killed."""
    Router().run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
