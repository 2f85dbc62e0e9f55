"""What went through the load balancers: HAProxy says a line about each request, and they are counted here.

Decides what a line means for an Application Load Balancer's metrics, and in which slot of time it counts. Knows nothing
of CloudWatch, beyond what its metrics count (user guide for Application Load Balancers, "CloudWatch metrics").

HAProxy sends its log as datagrams over loopback (configuration manual 2.6, `log`, `log-format`): the request is done
when its line comes, and no file grows.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SLOT_SECONDS = 10
"""How long a slot is. In AWS a load balancer reports each 60 s; a rehearsal's holds are shorter than that."""

BUFFER_BYTES = 4 << 20
FORMAT = "%b %s %ST %Tr %ts %[var(txn.answer)]"
"""Backend, server, status, milliseconds until the response's headers (-1: never), how it ended, and which answer a rule
asked for (`fixed`, `redirect`; `-`: none)."""

NOBODY = "<NOSRV>"


@dataclass
class Tally:
    """Requests of one slot, for one target group of one listener (or for none).

    `chosen` had a target. Of those, `answers` counts the targets' answers by class (2 for 2xx), and `times` their
    milliseconds. `own` counts the load balancer's own answers by class, `fixed` and `redirects` those that a rule asked
    for.
    """

    chosen: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    times: Counter[int] = field(default_factory=Counter)
    own: Counter[int] = field(default_factory=Counter)
    fixed: int = 0
    redirects: int = 0

    def count(self, server: str, status: int, milliseconds: int, ended: str, rule: str = "-") -> None:
        """Count one request."""
        if server != NOBODY:
            self.chosen += 1
            if milliseconds >= 0:
                self.answers[status // 100] += 1
                self.times[milliseconds] += 1
                return
        if status > 0:
            self.own[status // 100] += 1
        elif ended.startswith("C"):  # the client went away: an ALB's own 460 (user guide, "Troubleshoot", HTTP 460)
            self.own[4] += 1
        self.fixed += rule == "fixed"
        self.redirects += rule == "redirect"


Slot = tuple[int, str, str]
"""Its start in seconds since the epoch, the listener's ARN, the target group's ARN (empty for none)."""


class Traffic:
    """Counts requests until they are taken. `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tallies: dict[Slot, Tally] = {}
        self._listeners: dict[str, str] = {}
        self._groups: dict[tuple[str, str], str] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._thread.start()

    def name(self, front: str, listener: str, backends: Mapping[str, str]) -> None:
        """Say whose requests a front's are: its listener's ARN, and the target groups' ARNs by backend.

        A backend that is not named again stays whose it was: its last requests are yet to end.
        """
        with self._lock:
            self._listeners[front] = listener
            self._groups |= {(front, backend): arn for backend, arn in backends.items()}

    def take(self, before: float) -> dict[Slot, Tally]:
        """What was counted in slots that ended before a time, and is not counted any more."""
        with self._lock:
            done = [slot for slot in self._tallies if slot[0] + SLOT_SECONDS <= before]
            return {slot: self._tallies.pop(slot) for slot in done}

    def close(self) -> None:
        """Count no more. Doing it again is harmless."""
        if self._thread.is_alive():
            self._socket.sendto(b"", self._socket.getsockname())
            self._thread.join()
            self._socket.close()

    def _run(self) -> None:
        while line := self._socket.recv(4096):
            self.read(line.decode(errors="replace"))

    def read(self, line: str) -> None:
        """Count a line; one that is not about a request of a known listener says nothing."""
        words = line.split()
        if len(words) != 7:
            return
        front, backend, server, status, milliseconds, ended, rule = words
        try:
            numbers = int(status), int(milliseconds)
        except ValueError:
            return
        slot = int(self._clock() // SLOT_SECONDS) * SLOT_SECONDS
        with self._lock:
            listener = self._listeners.get(front)
            if listener is not None:
                place = slot, listener, self._groups.get((front, backend), "")
                self._tallies.setdefault(place, Tally()).count(server, *numbers, ended, rule)
