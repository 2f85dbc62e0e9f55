"""When a scheduled action recurs: cron expressions as EC2 Auto Scaling takes them, in a time zone.

Five fields: minute, hour, day of the month, month, day of the week (0 is Sunday), each `*`, numbers, ranges, steps, or
several of these with commas (PutScheduledUpdateGroupAction, Recurrence). If both days are given, either is enough in
one cron and both are needed in another; so one of them must be `*`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 6))

LONGEST_DAYS = 8 * 366
"""How far back a time is looked for: a 29 February may be eight years ago."""


@dataclass(frozen=True)
class Recurrence:
    """The values of each field that are meant; `text` is as it was written."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Recurrence:
        """Read an expression. Raises ValueError with what is wrong with it."""
        parts = text.split()
        if len(parts) != len(FIELDS):
            raise ValueError(f"{text!r} must have five fields: minute, hour, day of the month, month, day of the week")
        if parts[2] != "*" and parts[4] != "*":
            raise ValueError(f"{text!r} has a day of the month and a day of the week: one of them must be `*`")
        found = cls(text, *(_values(part, *field) for part, field in zip(parts, FIELDS, strict=True)))
        if found.last_before(datetime(2000, 12, 31, tzinfo=UTC), "UTC") is None:
            raise ValueError(f"{text!r} is never due")
        return found

    def last_before(self, now: datetime, zone: str) -> datetime | None:
        """When it was due last, at `now` at the latest; None if it never is."""
        place = ZoneInfo(zone)
        today = now.astimezone(place).date()
        for back in range(LONGEST_DAYS):
            day = today - timedelta(days=back)
            if day.month not in self.months or day.day not in self.days or day.isoweekday() % 7 not in self.weekdays:
                continue
            for hour in sorted(self.hours, reverse=True):
                for minute in sorted(self.minutes, reverse=True):
                    due = datetime.combine(day, time(hour, minute), place).astimezone(UTC)
                    if due <= now:
                        return due
        return None


def _values(part: str, name: str, low: int, high: int) -> frozenset[int]:
    """The values of one field."""
    found: set[int] = set()
    for each in part.split(","):
        match = re.fullmatch(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?", each)
        if match is None:
            raise ValueError(f"{part!r} is no {name}: write `*`, numbers, ranges (1-5), steps (*/5), or several (1,15)")
        first = low if match[1] is None else int(match[1])
        last = high if match[1] is None or (match[3] and not match[2]) else int(match[2] or match[1])
        step = int(match[3] or 1)
        if not low <= first <= last <= high or step < 1:
            raise ValueError(f"{part!r} is no {name}: it is from {low} to {high}")
        found |= set(range(first, last + 1, step))
    return frozenset(found)


def is_time_zone(name: str) -> bool:
    """Whether the IANA Time Zone Database has a zone of this name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
