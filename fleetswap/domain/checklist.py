"""A list of checks, as `fleetswap doctor` and `fleetswap drill` show it: one line each, with a remedy.

It checks nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

WIDTH = 12
"""Characters of a check's name, at most, so that the details of all stand in one column."""


class State(StrEnum):
    """What a check has found."""

    OK = "ok"
    WARNING = "warning"
    """It works, or is not needed yet."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It could not be checked: a permission is missing, or AWS did not answer. It is never taken for `OK`."""
    SKIPPED = "skipped"
    """It could not be checked, because of something that another line says."""


@dataclass(frozen=True)
class Finding:
    """One line. `remedy` is empty if there is nothing to do."""

    check: str
    state: State
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        """As a terminal shows it."""
        what = f"{self.state:<8} {self.check:<{WIDTH}} {self.detail}"
        return f"{what}: {self.remedy}" if self.remedy else what


def of(findings: Iterable[Finding], state: State) -> tuple[Finding, ...]:
    """Those that have a state."""
    return tuple(each for each in findings if each.state is state)
