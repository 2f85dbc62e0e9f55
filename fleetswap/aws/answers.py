"""What every response of AWS says apart from its content."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any


def answered_at(answer: Mapping[str, Any]) -> datetime:
    """When AWS sent an answer, by its own clock, to the second: the header `Date`. This computer's time if it has none.

    A deployer's clock may be wrong, and what AWS does at a time it does by its own.
    """
    try:
        date: str = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
        return parsedate_to_datetime(date)
    except (KeyError, ValueError):
        return datetime.now(UTC)
