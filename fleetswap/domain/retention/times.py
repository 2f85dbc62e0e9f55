"""Times in words, as settings and options have them."""

from __future__ import annotations

import re

DAY = 86_400
UNITS = {"m": 60, "h": 3600, "d": DAY}
"""Minutes, hours and days, in seconds."""

LONGEST = 3650 * DAY
"""EC2 deprecates an AMI at most 10 years from now (EnableImageDeprecation, DeprecateAt)."""


def seconds(text: str) -> int:
    """The seconds of a time such as `24h`, `30d` or `90m`. Another text is a `ValueError` that says the form."""
    found = re.fullmatch(r"(\d{1,9})([mhd])", text, re.ASCII)
    if found is None:
        raise ValueError(f"must be a whole number of minutes, hours or days, such as 90m, 24h or 30d, not {text!r}")
    number = int(found[1]) * UNITS[found[2]]
    if number > LONGEST:
        raise ValueError(f"must be at most {LONGEST // DAY}d, not {text}")
    return number
