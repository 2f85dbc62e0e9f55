"""Recurrences of scheduled actions: what is refused, and when they are due.

Pure. A minute is due if its fields in the time zone are all meant. Names of months and days are refused: whether AWS
takes them is not documented.

Source: EC2 Auto Scaling API reference (PutScheduledUpdateGroupAction: Recurrence, TimeZone).
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from moto.autoscaling.exceptions import ValidationError

MINUTE = 60.0
LONGEST = 2 * 24 * 60
"""Minutes that are looked at: a local cloud that was away for longer does not make up for what it missed."""

_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def check(recurrence: str, zone: str | None) -> None:
    """Refuse an expression that is none, and a time zone that there is not."""
    _fields(recurrence)
    if zone is not None and zone not in available_timezones():
        raise ValidationError(f"Invalid time zone: {zone}")


def first(recurrence: str, zone: str | None, after: float, until: float) -> float | None:
    """The first time after `after` that is due, at `until` at the latest; both are seconds since the epoch."""
    fields, place = _fields(recurrence), ZoneInfo(zone or "UTC")
    at = max((after // MINUTE + 1) * MINUTE, until // MINUTE * MINUTE - LONGEST * MINUTE)
    while at <= until:
        local = datetime.fromtimestamp(at, UTC).astimezone(place)
        shown = (local.minute, local.hour, local.day, local.month, local.isoweekday() % 7)
        if all(value in field for value, field in zip(shown, fields, strict=True)):
            return at
        at += MINUTE
    return None


@cache
def _fields(recurrence: str) -> tuple[frozenset[int], ...]:
    parts = recurrence.split()
    if len(parts) != len(_BOUNDS):
        raise ValidationError(f"Given recurrence string: {recurrence} is invalid")
    try:
        found = [_values(part, *bounds) for part, bounds in zip(parts, _BOUNDS, strict=True)]
    except ValueError:
        raise ValidationError(f"Given recurrence string: {recurrence} is invalid") from None
    return (*found[:4], frozenset(day % 7 for day in found[4]))


def _values(part: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for each in part.split(","):
        span, _, step = each.partition("/")
        if span == "*":
            begin, end = low, high
        else:
            begin_text, dash, end_text = span.partition("-")
            begin = int(begin_text)
            end = int(end_text) if dash else high if step else begin
        if not low <= begin <= end <= high:
            raise ValueError(part)
        found |= set(range(begin, end + 1, int(step or 1)))
    return frozenset(found)
