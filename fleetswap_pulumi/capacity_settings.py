"""The settings of the size of a fleet, and of what scales it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from fleetswap.domain.rollout.recurrence import Recurrence, is_time_zone
from fleetswap_pulumi.checks import Strict, wrong, wrong_together


class HealthyPercentSettings(Strict):
    """Instance maintenance policy: how many machines stay in service while EC2 Auto Scaling replaces some."""

    min: int = Field(default=100, ge=0, le=100)
    """Percentage of the desired capacity that stays in service. With 100, a replacement is launched before the machine
    that it replaces is terminated."""
    max: int = Field(default=110, ge=100, le=200)
    """Percentage of the desired capacity that there may be during a replacement, at least one machine more than
    desired. Must not exceed `min` by more than 100."""

    @model_validator(mode="after")
    def _is_within_reach(self) -> Self:
        if self.max - self.min > MOST_APART:
            raise wrong("max", f"{self.max} exceeds min ({self.min}) by more than {MOST_APART}")
        return self


ScheduleName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]

MOST_SCHEDULES = 40
"""Of the 125 scheduled actions that a group may have (EC2 Auto Scaling user guide, "Quotas")."""

MOST_APART = 100
"""Between the two percentages (EC2 Auto Scaling API reference, InstanceMaintenancePolicy)."""


class ScheduleSettings(Strict):
    """A scheduled change of the live release's minimum."""

    recurrence: str = Field(examples=["0 8 * * 1-5"])
    """Cron expression of five fields: minute, hour, day of the month, month, day of the week (0 is Sunday). One of the
    two days must be `*`."""
    time_zone: str = Field(default="UTC", examples=["Europe/Berlin"])
    """Time zone of `recurrence`, by its name in the IANA Time Zone Database."""
    min: int = Field(ge=1, examples=[8])
    """Minimum number of machines of the live release from each of these times on, until another schedule sets one."""

    @field_validator("recurrence")
    @classmethod
    def _is_a_recurrence(cls, value: str) -> str:
        Recurrence.parse(value)
        return value

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, value: str) -> str:
        if not is_time_zone(value):
            raise ValueError(f"{value} is not in the IANA Time Zone Database")
        return value


class CapacitySettings(Strict):
    """Number of machines of a release. Changes apply in place."""

    min: int = Field(default=2, ge=1)
    """Minimum number of machines of the live release."""
    max: int = Field(default=8, ge=1, validate_default=True)
    """Maximum number of machines of one release. An increase applies in place, a decrease to the next release."""
    cpu_percent: float = Field(default=50, gt=0, le=100)
    """Target tracking: average CPU utilization to maintain, in percent."""
    requests_per_target: float | None = Field(default=None, gt=0, examples=[500])
    """Target tracking: number of requests per machine and minute to maintain, instead of `cpu_percent`."""
    # The provider leaves a 0 out of CreateAutoScalingGroup, and AWS then takes the group's cooldown, 300 s.
    warmup: int = Field(default=60, ge=1, le=3600)
    """Instance warmup: seconds after launch before the metrics of a machine are counted. A longer warmup delays
    scale-out."""
    healthy_percent: HealthyPercentSettings = HealthyPercentSettings()
    schedules: dict[ScheduleName, ScheduleSettings] = Field(
        default={},
        max_length=MOST_SCHEDULES,
        examples=[{"morning": {"recurrence": "0 8 * * 1-5", "time_zone": "Europe/Berlin", "min": 8}}],
    )
    """Scheduled scaling, by name. Only the live release follows schedules; a release that becomes live gets the minimum
    of the schedule that was due last."""

    @field_validator("max")
    @classmethod
    def _not_below_min(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("min", value):
            raise ValueError(f"{value} is less than min ({info.data['min']})")
        return value

    @field_validator("schedules")
    @classmethod
    def _not_above_max(cls, value: dict[str, ScheduleSettings], info: ValidationInfo) -> dict[str, ScheduleSettings]:
        above = [(f"{name}.min", each.min) for name, each in value.items() if each.min > info.data.get("max", each.min)]
        if above:
            problems = [(key, f"{given} is more than max ({info.data['max']})") for key, given in above]
            raise wrong_together(problems)
        return value

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        if self.requests_per_target is not None and "cpu_percent" in self.model_fields_set:
            raise wrong("requests_per_target", "target tracking maintains one of the two: remove it, or cpu_percent")
        return self
