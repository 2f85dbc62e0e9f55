"""KMS is eventually consistent: what is changed takes effect, and is seen, a little later.

Decides what is in force (what is used: the old value, until its time is over) and what a read is answered with (old and
new by turns meanwhile, as from one of many servers each time). A key that was just made is not found by every second
request. `lateness` has the seconds; with none, everything is at once. With `LOCK` held.
Source: KMS developer guide, "Eventual consistency" ("a few seconds … up to several minutes"), "Grant tokens".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.faults.lateness import Lateness

Value = TypeVar("Value")


@dataclass
class _Change:
    before: Any
    until: float
    reads: int = 0


class Changes:
    """What was changed of one thing, part by part."""

    def __init__(self, thing: str) -> None:
        self._thing = thing
        self._parts: dict[str, _Change] = {}

    def note(self, late: Late, part: str, before: object) -> None:
        """A part is about to be changed; `before` is what it is now."""
        now = late.clock()
        seconds = late.lateness.of("keys", self._thing, part, now)
        self._parts[part] = _Change(self.in_force(late, part, before), now + seconds)

    def in_force(self, late: Late, part: str, value: Value) -> Value:
        """What a part counts as now, of which `value` is the newest."""
        change = self._of(late, part)
        return value if change is None else change.before

    def seen(self, late: Late, part: str, value: Value, *, once: bool = False) -> Value:
        """What a read answers of a part; `once`: the old value once, and then the new one."""
        change = self._of(late, part)
        if change is None:
            return value
        change.reads += 1
        old = change.reads == 1 if once else change.reads % 2
        return change.before if old else value

    def _of(self, late: Late, part: str) -> _Change | None:
        change = self._parts.get(part)
        if change is not None and change.until <= late.clock():
            del self._parts[part]
            return None
        return change


@dataclass
class Late:
    """How late, and by which clock (seconds since the epoch)."""

    lateness: Lateness
    clock: Callable[[], float]

    def moment(self, *thing: object) -> float:
        """When something that is done now is in force."""
        now = self.clock()
        return now + self.lateness.of("keys", *thing, now)
