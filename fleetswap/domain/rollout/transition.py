"""How one phase hands over to the next: each phase knows which one comes next, and none calls another's code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from fleetswap.domain.rollout.messages import Change, Event
from fleetswap.domain.rollout.state import Phase, State


@dataclass(frozen=True)
class Go:
    """Another phase is entered with this state."""

    phase: Phase
    state: State


@dataclass(frozen=True)
class Made:
    """All changes of the present phase are made."""

    state: State


Next = State | Go | Made
"""What a phase makes of an event."""


def make(state: State, changes: Sequence[Change], now: float) -> State | Made:
    """Make the changes, one after the other, in the present phase."""
    return proceed(replace(state, queue=tuple(changes)), now)


def proceed(state: State, now: float) -> State | Made:
    """Make the next change of the queue."""
    return state.change(state.queue[0], now) if state.queue else Made(state)


def unexpected(state: State, event: Event) -> NoReturn:
    """An event that cannot follow what is being done: a defect of the caller."""
    raise TypeError(f"{type(event).__name__} cannot follow {type(state.doing).__name__}")
