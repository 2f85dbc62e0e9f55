"""Retries for the few calls outside the state machine, which has its own patience."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from fleetswap.workflows.clock import Clock
from fleetswap.workflows.retry import Patience

SECONDS = 60.0
"""For how long a call that AWS does not answer is made again; the client tries again, too."""

T = TypeVar("T")


def patiently(call: Callable[[], T], clock: Clock, say: Callable[[str], None] = lambda _: None) -> T:
    """The answer of a call, which must be harmless to repeat. Raises `GaveUp` when the time is over."""
    return Patience(clock, threading.Event(), seconds=SECONDS).call(call, say=say)
