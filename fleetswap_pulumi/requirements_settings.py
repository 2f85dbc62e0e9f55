"""The settings that choose instance types by their attributes, as EC2 Auto Scaling does (InstanceRequirements)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from fleetswap_pulumi.checks import Strict, wrong_together
from fleetswap_pulumi.names import InstanceTypes, distinct

Wanted = Literal["included", "required", "excluded"]


class Bounds(Strict):
    """A range, both ends included."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min is not None and self.max is not None and self.max < self.min:
            raise ValueError(f"has a max of {self.max:g}, which is less than its min of {self.min:g}")
        return self


class Numbers(Bounds):
    """A range of whole numbers."""

    min: int | None = Field(default=None, ge=0)
    """Lowest number. Unset: no limit."""
    max: int | None = Field(default=None, ge=0)
    """Highest number. Unset: no limit."""


class FromNumber(Bounds):
    """A range of whole numbers that has a lowest one."""

    min: int = Field(ge=0)
    """Lowest number."""
    max: int | None = Field(default=None, ge=0)
    """Highest number. Unset: no limit."""


class Amounts(Bounds):
    """A range of numbers."""

    min: float | None = Field(default=None, ge=0)
    """Lowest number. Unset: no limit."""
    max: float | None = Field(default=None, ge=0)
    """Highest number. Unset: no limit."""


Patterns = Annotated[tuple[InstanceTypes, ...], AfterValidator(distinct)]


class RequirementsSettings(Strict):
    """Attributes of instance types, instead of `instance_types`: EC2 Auto Scaling launches any type of the image's
    architecture that has all of them, also types that AWS adds later.
    """

    vcpus: FromNumber
    """Number of vCPUs."""
    memory_mib: FromNumber
    """Memory in MiB."""
    memory_gib_per_vcpu: Amounts | None = None
    """Memory per vCPU in GiB."""
    cpu_manufacturers: Annotated[
        tuple[Literal["intel", "amd", "amazon-web-services", "apple"], ...], AfterValidator(distinct)
    ] = ()
    """Manufacturers of the CPU. Unset: any."""
    generations: Annotated[tuple[Literal["current", "previous"], ...], AfterValidator(distinct)] = ()
    """Generations of instance types. Unset: any."""
    allow: Patterns = Field(default=(), max_length=400, examples=[["c7i.*", "m7i.*"]])
    """Instance types to choose from, with `*` for any characters. Unset: all."""
    exclude: Patterns = Field(default=(), max_length=400, examples=[["t2.*"]])
    """Instance types to leave out, with `*` for any characters."""
    bare_metal: Wanted | None = None
    """Bare metal instance types. Unset: excluded."""
    burstable: Wanted | None = None
    """Burstable performance instance types (T). Unset: excluded."""
    local_storage: Wanted | None = None
    """Instance types with instance store volumes. Unset: included."""
    local_storage_types: Annotated[tuple[Literal["hdd", "ssd"], ...], AfterValidator(distinct)] = ()
    """Types of instance store volumes. Unset: any."""
    local_storage_gb: Amounts | None = None
    """Total size of the instance store volumes in GB."""
    ebs_mbps: Numbers | None = None
    """Baseline bandwidth to EBS in Mbps."""
    network_gbps: Amounts | None = None
    """Network bandwidth in Gbps."""
    network_interfaces: Numbers | None = None
    """Number of network interfaces that can be attached."""
    accelerators: Numbers | None = None
    """Number of accelerators. A `max` of 0 excludes instance types that have some. Unset: any number."""
    accelerator_types: Annotated[tuple[Literal["gpu", "fpga", "inference"], ...], AfterValidator(distinct)] = ()
    """Types of accelerators. Unset: any."""
    spot_max_price_percent: int | None = Field(default=None, ge=0)
    """Highest price of Spot Instances, in percent above that of the cheapest matching type of the current generation.
    Unset: 100."""
    on_demand_max_price_percent: int | None = Field(default=None, ge=0)
    """Highest price of On-Demand Instances, in percent above that of the cheapest matching type of the current
    generation. Unset: 20."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        problems = []
        if self.allow and self.exclude:
            problems.append(("exclude", "cannot be used with `allow`: remove one of them"))
        if self.local_storage == "excluded" and (self.local_storage_types or self.local_storage_gb):
            problems.append(("local_storage", "excludes what `local_storage_types` or `local_storage_gb` asks for"))
        if self.accelerators is not None and self.accelerators.max == 0 and self.accelerator_types:
            problems.append(("accelerators", "excludes what `accelerator_types` asks for"))
        if problems:
            raise wrong_together(problems)
        return self
