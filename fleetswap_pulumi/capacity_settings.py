"""The settings of the size of a fleet, and of what scales it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from fleetswap.domain.rollout.pins import ALL_ON_DEMAND
from fleetswap.domain.rollout.recurrence import Recurrence, is_time_zone
from fleetswap.domain.rollout.warm_pool import WarmPool
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


class WarmPoolSettings(Strict):
    """Warm pool of the live release: machines that are launched before they are needed. Needs On-Demand Instances only
    (`machine.on_demand_percent: 100`).
    """

    size: int = Field(ge=1, examples=[2])
    """Number of machines in the pool; with `max_prepared`, the least. At most `capacity.max`."""
    max_prepared: int | None = Field(default=None, ge=1, examples=[8])
    """The pool has this number minus the number of machines that are desired, but at least `size`. Unset: always
    `size`."""
    state: Literal["stopped", "running"] = Field(default="stopped", examples=["running"])
    """`stopped`: only the volumes cost, and a machine boots again when it is needed. `running`: a machine only has to
    be registered, and costs like any other."""
    reuse: bool = False
    """Puts machines back into the pool when the group is scaled in."""

    @field_validator("state", mode="before")
    @classmethod
    def _cannot_hibernate(cls, value: object) -> object:
        if value == "hibernated":
            raise ValueError("a release's machines cannot hibernate: use stopped or running")
        return value

    @property
    def pool(self) -> WarmPool:
        """As the rollout gives it to a group. With both numbers the same, the pool has that size (PutWarmPool)."""
        prepared = self.size if self.max_prepared is None else self.max_prepared
        return WarmPool(self.size, prepared, self.state.capitalize(), self.reuse)


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
    warm_pool: WarmPoolSettings | None = Field(default=None, examples=[{"size": 2, "state": "running"}])

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

    @field_validator("warm_pool")
    @classmethod
    def _fits_the_group(cls, value: WarmPoolSettings | None, info: ValidationInfo) -> WarmPoolSettings | None:
        if value is None or not {"min", "max"} <= info.data.keys():
            return value
        least, most, problems = info.data["min"], info.data["max"], []
        if value.size > most:
            problems.append(("size", f"{value.size} is more than max ({most})"))
        if value.max_prepared is not None and value.max_prepared <= least:
            problems.append(("max_prepared", f"{value.max_prepared} must be more than min ({least})"))
        if value.max_prepared is not None and value.max_prepared > most:
            problems.append(("max_prepared", f"{value.max_prepared} is more than max ({most})"))
        if problems:
            raise wrong_together(problems)
        return value

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        if self.requests_per_target is not None and "cpu_percent" in self.model_fields_set:
            raise wrong("requests_per_target", "target tracking maintains one of the two: remove it, or cpu_percent")
        return self


def misfits_of_warm_pool(
    pool: WarmPoolSettings | None, on_demand_percent: int, weights: Sequence[int]
) -> Iterator[tuple[str, str]]:
    """Why machines like that cannot have this warm pool, with the setting. Nothing if they can.

    EC2 Auto Scaling takes no warm pool for a group that requests Spot Instances. Its documentation does not say in
    which units a pool counts machines of different weights.
    """
    if pool is None:
        return
    if on_demand_percent < ALL_ON_DEMAND:
        yield (
            "capacity.warm_pool",
            f"AWS has no warm pools for Spot Instances: set machine.on_demand_percent to {ALL_ON_DEMAND}, not"
            f" {on_demand_percent}",
        )
    if weights:
        yield "capacity.warm_pool", "cannot be used with weights of machine.instance_types"
