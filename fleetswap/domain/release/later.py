"""Fields of the ledger that came later than the first one."""

from __future__ import annotations

from dataclasses import field
from typing import TypeVar

_T = TypeVar("_T")


def later(default: _T) -> _T:
    """A field that came later, with what all had before. At that value it is neither part of an id nor written down."""
    made: _T = field(default=default, metadata={"later": True})
    return made
