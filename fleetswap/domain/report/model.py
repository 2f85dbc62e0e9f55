"""What the page of a rollout says and shows: sentences, bars, lines and tables. Only values.

Times are seconds since the rollout began. `fleetswap report --json` prints a `Report`, field by field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Tone(StrEnum):
    """How an ending is to be taken."""

    GOOD = "good"
    BAD = "bad"
    OPEN = "open"
    """Not known: the record does not have the end."""


class Role(StrEnum):
    """Whose line or bar it is: the page draws each in its own color and dash."""

    CANDIDATE = "candidate"
    PREVIOUS = "previous"
    OTHER = "other"
    WANTED = "wanted"
    """What there should be, beside what there is."""
    BACK = "back"
    """What happened after a failure, to restore what was before."""
    EARLIER = "earlier"
    """What happened before the rollout: the build, the upload."""


@dataclass(frozen=True)
class Bar:
    """One bar of the timeline."""

    lane: str
    began: float
    ended: float
    role: Role = Role.CANDIDATE
    note: str = ""
    open: bool = False
    """Whether its end is not known; `ended` is then the last time of the record."""


@dataclass(frozen=True)
class Line:
    """One line of a plot; `name` is that of a release or of a quantity."""

    name: str
    role: Role


@dataclass(frozen=True)
class Sample:
    """What the lines of a plot have at one time, in their order; None is unknown. `cells` are only in the table."""

    at: float
    values: tuple[float | None, ...]
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plot:
    """Lines over time, with the table that says the same.

    `steps`: a value holds until the next one. Of `total` samples, `samples` has at least the first, the last and the
    extremes.
    """

    key: str
    title: str
    says: str
    """What it shows, in a sentence for those who do not see it."""
    unit: str
    lines: tuple[Line, ...]
    samples: tuple[Sample, ...]
    total: int
    steps: bool = True
    columns: tuple[str, ...] = ()
    """The heads of `cells`."""
    limit: float | None = None
    limit_name: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text. `left_out` is how many rows were left out."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0


@dataclass(frozen=True)
class Section:
    """A part of the page under one heading: sentences, plots and a table, any of which may be missing."""

    key: str
    title: str
    sentences: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    table: Table | None = None


@dataclass(frozen=True)
class Report:
    """The whole page."""

    service: str
    stack: str
    candidate: str
    started: str
    ending: str
    """As in the record (`succeeded`, `rolled back`, `aborted`, `failed`), or `unfinished`."""
    tone: Tone
    headline: str
    """What happened, in one sentence."""
    reason: str
    """Why it did not succeed; empty if it did."""
    facts: tuple[tuple[str, str], ...]
    until: float
    """The end of the time axes."""
    bars: tuple[Bar, ...]
    marks: tuple[tuple[float, str], ...] = ()
    """Moments that every plot shows, with their names."""
    sections: tuple[Section, ...] = field(default=())
