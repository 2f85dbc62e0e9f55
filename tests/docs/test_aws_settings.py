"""The page of the settings `aws:*` says what becomes of each one."""

from __future__ import annotations

import re
from pathlib import Path

from fleetswap.domain.access import READERS, REFUSED, camel

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/aws-settings.md"


def test_each_setting_is_in_the_table() -> None:
    """A setting would be refused that the page calls supported, or be accepted without a word."""
    rows = re.findall(r"^\| `aws:(\w+)` \| (\w+) \| \S", PAGE.read_text(), re.MULTILINE)
    assert len(dict(rows)) == len(rows)
    assert {key for key, what in rows if what == "supported"} == {"region", *map(camel, READERS)}
    assert {key for key, what in rows if what == "refused"} == set(REFUSED)
