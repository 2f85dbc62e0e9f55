"""A warm pool: machines beside the live release's group that have been launched, and that a scale-out takes first.

Only the live release has one: on any other it would cost money and never be used. So the rollout gives it to what is
live in the settle phase, and takes it from the others, as with schedules.
"""

from __future__ import annotations

from dataclasses import dataclass

STATES = ("Stopped", "Running")
"""What its machines are in the pool. Not `Hibernated`: no release's launch template turns hibernation on."""


@dataclass(frozen=True)
class WarmPool:
    """As PutWarmPool has it. The pool has `prepared` minus the desired capacity machines, but `size` at least."""

    size: int
    prepared: int
    state: str = "Stopped"
    reuse: bool = False
    """Whether a scale-in puts machines back into the pool."""


EMPTY = WarmPool(0, 0)
"""One without machines, which costs nothing: by it a candidate shows that it can have one at all."""
