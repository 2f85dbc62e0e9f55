"""How the page words times, weights and texts from outside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from fleetswap.domain.text import duration, one_line

LONGEST = 600
"""Characters of a text from outside. A longer one is cut: the record has all of it."""

GREATEST = 10.0 * 365 * 86400
"""Seconds. A time in a record that is greater is damage, and would be the end of every axis."""

LISTED = 6
"""Releases of a rule that are named: ELBv2 takes five target groups in a forward action."""


def moment(seconds: float) -> str:
    """A time as people compare it: 0.2 s, 8.0 s, 3:05, 1:02:03."""
    return f"{seconds:.1f} s" if abs(seconds) < 59.95 else f"{'-' if seconds < 0 else ''}{duration(abs(seconds))}"


def is_time(seconds: float) -> bool:
    """Whether a number of a record can be a time since the rollout began."""
    return math.isfinite(seconds) and 0 <= seconds <= GREATEST


def text(said: object) -> str:
    """A text from outside, in one line that is not too long."""
    line = one_line(said)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def date(written: str) -> str:
    """A time of a clock as people read it, in UTC; as it is written if it is none."""
    try:
        return datetime.fromisoformat(written).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError):
        return text(written)


def weights(given: Mapping[str, int]) -> str:
    """The weights of a rule: `new 5 %, live 95 %`."""
    return ", ".join(f"{text(release)} {weight} %" for release, weight in [*given.items()][:LISTED]) or "no rule"
