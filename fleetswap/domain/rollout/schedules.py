"""Scheduled scaling: what changes the bounds of the live release at certain times.

Only the live release follows schedules: on any other, the next time would start machines that nobody asked for. So the
rollout moves them at its end, when the traffic stays where it is. This module says what a group is to have, and which
bounds are due now; `settle` moves them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from fleetswap.domain.rollout.recurrence import Recurrence

ACTION = "fleetswap-schedule-"
"""What the names of their scheduled actions begin with; then comes the name of the schedule."""


@dataclass(frozen=True)
class Schedule:
    """From each time of `recurrence` in `time_zone` on, the group has this minimum, until another schedule sets one."""

    name: str
    recurrence: str
    time_zone: str
    minimum: int


def digest(schedules: Sequence[Schedule]) -> str:
    """What a group is tagged with (`rollout_tags.SCHEDULES`) that follows these; empty for none."""
    if not schedules:
        return ""
    plain = [asdict(each) for each in sorted(schedules, key=lambda each: each.name)]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def minima(schedules: Sequence[Schedule], minimum: int) -> frozenset[int]:
    """Every minimum that a group may have that follows these."""
    return frozenset({minimum, *(each.minimum for each in schedules)})


def due(schedules: Sequence[Schedule], minimum: int, now: datetime) -> int:
    """The minimum now: that of the schedule that was due last. Of several at the same time, the largest."""
    found = [
        (at, each.minimum)
        for each in schedules
        if (at := Recurrence.parse(each.recurrence).last_before(now, each.time_zone)) is not None
    ]
    return max(found)[1] if found else minimum
