"""Where a rollout comes from: the commit that is deployed, and what the update did before it. A line of its record.

It decides which of these times belong to this update. It reads neither git nor a clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Part:
    """Something that the update did before the rollout, and how many seconds it took."""

    name: Literal["evaluation", "build", "boot test", "upload", "registration"]
    start: str
    """UTC, ISO 8601."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the rollout comes from. Times are those of the computer that deploys: UTC, ISO 8601."""

    line: Literal["origin"] = "origin"
    at: float = 0.0
    kind: Literal["deploy", "rollback"] = "deploy"
    """`rollback` if the setting `release` names the release."""
    region: str
    started: str
    """When the program of the update began."""
    commit: str | None = None
    """Hash of the commit of the work tree, with `-dirty` if it had changes; none outside of git."""
    commit_time: str | None = None
    subject: str | None = None
    """The first line of the commit's message."""
    parts: tuple[Part, ...] = ()
    """What the update did before; what it did not do, such as building an image that is there, is left out."""
    budgets: Mapping[str, float] = field(default_factory=dict)
    """The settings `fleetswap:budgets`, in seconds by the names of spans."""


@dataclass(frozen=True)
class Sent:
    """How an image was made and sent: one thing after the other, up to a time."""

    finished: datetime
    build: float
    trial: float
    upload: float

    def parts(self) -> Iterator[tuple[str, datetime, float]]:
        """Name, start and seconds of each, the first one first."""
        start = self.finished - timedelta(seconds=self.build + self.trial + self.upload)
        for name, seconds in (("build", self.build), ("boot test", self.trial), ("upload", self.upload)):
            if seconds > 0:
                yield name, start, seconds
            start += timedelta(seconds=seconds)


def parts_of(
    started: datetime,
    evaluation: tuple[datetime, float] | None,
    sent: Sequence[Sent],
    registered: datetime | None,
) -> tuple[Part, ...]:
    """The parts of an update that began at `started`, without overlaps.

    Of the images that were `sent`, the first counts that this update has made; one from before was only adopted.
    `registered` is when what makes the image a fleet was there, if this update has made it.
    """
    found: list[tuple[str, datetime, float]] = []
    if evaluation is not None:
        found.append(("evaluation", *evaluation))
    made = [[*each.parts()] for each in sent]
    found += next((each for each in made if each and each[0][1] >= started), ())
    end = started
    parts = []
    for name, start, seconds in found:
        began, ended = max(start, end), start + timedelta(seconds=seconds)
        if ended > began:
            parts.append(_part(name, began, ended))
            end = ended
    if registered is not None and registered > end:
        parts.append(_part("registration", end, registered))
    return tuple(parts)


def _part(name: str, start: datetime, end: datetime) -> Part:
    return Part(
        name=name,  # type: ignore[arg-type] # one of those above
        start=start.isoformat(timespec="milliseconds"),
        seconds=round((end - start).total_seconds(), 3),
    )
