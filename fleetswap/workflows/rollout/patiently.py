"""Asking once more: for the few calls beside the state machine, which has a patience of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fleetswap.domain.errors import TryAgain
from fleetswap.workflows.rollout.ports import Clock

SECONDS = 60.0
PAUSE = 2.0
"""For how long a call that AWS does not answer is made again, and the seconds between two; the client tries by itself,
too."""

T = TypeVar("T")


def patiently(call: Callable[[], T], clock: Clock, say: Callable[[str], None] = lambda _: None) -> T:
    """The answer of a call, which must be harmless to repeat. Raises `TryAgain` when the time is over."""
    deadline = clock.now() + SECONDS
    while True:
        try:
            return call()
        except TryAgain as error:
            if clock.now() >= deadline:
                raise
            say(str(error))
        clock.sleep(PAUSE)
