"""The settings of the size of a fleet, and of what scales it."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from fleetswap_pulumi.checks import Strict


class CapacitySettings(Strict):
    """Number of machines of a release. Changes apply in place."""

    min: int = Field(default=2, ge=1)
    """Minimum number of machines of the live release."""
    max: int = Field(default=8, ge=1, validate_default=True)
    """Maximum number of machines of one release. An increase applies in place, a decrease to the next release."""
    cpu_percent: float = Field(default=50, gt=0, le=100)
    """Target tracking: average CPU utilization to maintain, in percent."""
    # The provider leaves a 0 out of CreateAutoScalingGroup, and AWS then takes the group's cooldown, 300 s.
    warmup: int = Field(default=60, ge=1, le=3600)
    """Instance warmup: seconds after launch before the CPU utilization of a machine is counted. A longer warmup delays
    scale-out."""

    @field_validator("max")
    @classmethod
    def _not_below_min(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("min", value):
            raise ValueError(f"{value} is less than min ({info.data['min']})")
        return value
