"""The bars of the timeline: each phase of the rollout from its line in the record to that of the next one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetswap.domain.report import words
from fleetswap.domain.report.model import Bar, Role, Table
from fleetswap.domain.rollout.record import Ended, Entered, Entry, Written
from fleetswap.domain.rollout.state import Phase

MOVING = frozenset({Phase.SHIFT, Phase.HOLD, Phase.BAKE})
"""Phases that are named with the weight that they are about."""

MOST = 200
"""Bars that are shown. A rollout with twenty steps has fifty."""


def bars(entries: Sequence[Entry], candidate: str, until: float) -> tuple[Bar, ...]:
    """The bars in the order of time. The last one is open if the record does not have the end."""
    return tuple(_bars(entries, candidate, until))[:MOST]


def _bars(entries: Sequence[Entry], candidate: str, until: float) -> Iterator[Bar]:
    phase, began = Phase.LOOK, 0.0
    ended = next((entry.at for entry in entries if isinstance(entry, Ended)), None)
    for entry in entries:
        if isinstance(entry, Entered):
            yield _bar(entries, candidate, phase, began, max(began, entry.at))
            phase, began = entry.phase, max(began, entry.at)
    if phase is not Phase.DONE:
        yield _bar(entries, candidate, phase, began, max(began, until), open_=ended is None)


def _bar(
    entries: Sequence[Entry], candidate: str, phase: Phase, began: float, ended: float, *, open_: bool = False
) -> Bar:
    role = Role.BACK if phase.is_back else Role.CANDIDATE
    weight = None
    if phase in MOVING:
        written = [entry for entry in entries if isinstance(entry, Written) and entry.at <= ended]
        weight = written[-1].weights.get(candidate, 0) if written else None
    return Bar(phase.value, began, ended, role, "" if weight is None else f"{weight} %", open_)


def table(shown: Sequence[Bar]) -> Table:
    """The same as rows."""
    rows = tuple(
        (
            " ".join(filter(None, (bar.lane, bar.note))),
            words.moment(bar.began),
            words.moment(bar.ended - bar.began) + (" until the record ends" if bar.open else ""),
        )
        for bar in shown
    )
    return Table(("phase", "began at", "took"), rows)
