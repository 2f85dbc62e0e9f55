"""The settings of what is kept besides the live release."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from fleetswap.domain.release.plan import Retention
from fleetswap_pulumi.checks import Strict
from fleetswap_pulumi.names import DAY

UNITS = {"m": 60, "h": 3600, "d": DAY}
"""Of a time in words: minutes, hours and days."""

LONGEST = 3650 * DAY
"""EC2 deprecates an AMI at most 10 years from now (EnableImageDeprecation, DeprecateAt)."""


def seconds(text: str) -> int:
    """The seconds of a time such as `24h`, `30d` or `90m`. Another text is a `ValueError` that says the form."""
    found = re.fullmatch(r"(\d{1,9})([mhd])", text)
    if found is None:
        raise ValueError(f"must be a whole number of minutes, hours or days, such as 90m, 24h or 30d, not {text!r}")
    number = int(found[1]) * UNITS[found[2]]
    if number > LONGEST:
        raise ValueError(f"must be at most {LONGEST // DAY}d, not {text}")
    return number


def _text(value: object) -> object:
    """A number has no unit, and to guess one would keep things 60 times too long, or too short. But 0 is 0."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "0m" if value == 0 else f"{value:g}"
    return "0m" if value == "0" else value


def _time(text: str) -> str:
    seconds(text)
    return text


def _an_hour(text: str) -> str:
    if seconds(text) < UNITS["h"]:
        raise ValueError(f"must be 1h or more, not {text}")
    return text


Time = Annotated[str, BeforeValidator(_text), AfterValidator(_time)]


class RetentionSettings(Strict):
    """What is kept besides the live release and its standby."""

    warm: int = Field(default=1, ge=1, le=10)
    """Number of earlier releases that keep their group, target group and preview rule. The first is the standby; the
    others have no machines, and a rollback to them starts some at once."""
    images: int = Field(default=5, ge=0, le=50)
    """Number of older releases whose AMI is kept without machines."""
    min_age: Time = "24h"
    """Age up to which a release's AMI is kept, whatever `images` says: `90m`, `24h`, `7d`. It counts from its first
    deploy. At most 3650 days."""
    deprecate_after: Annotated[Time, AfterValidator(_an_hour)] | None = "30d"
    """Time until an AMI is deprecated, from the deploy after which its release has no machines and is not warm: from
    `1h` to `3650d`. `null`: never. A deprecated AMI can be used as before, but nobody else finds it. A rollback undoes
    it."""

    @property
    def retention(self) -> Retention:
        """The same for the plan."""
        after = self.deprecate_after
        return Retention(self.images, self.warm, seconds(self.min_age), None if after is None else seconds(after))
