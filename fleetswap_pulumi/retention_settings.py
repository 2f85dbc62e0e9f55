"""The settings of what is kept besides the live release."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from fleetswap.domain.release.plan import Retention
from fleetswap.domain.retention.times import UNITS, seconds
from fleetswap_pulumi.checks import Strict


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
