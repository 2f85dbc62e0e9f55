"""The settings of machines: instance types, placement, volume, roles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fleetswap.domain.release.hardware import Requirements
from fleetswap_pulumi.checks import Strict, wrong_together
from fleetswap_pulumi.names import (
    IamPath,
    InstanceType,
    KeyOrStack,
    PlacementGroup,
    PolicyArn,
    SecurityGroupId,
    distinct,
)
from fleetswap_pulumi.requirements_settings import RequirementsSettings

INSTANCE_TYPES = {
    "x86_64": ("c7i.large", "c7a.large", "m7i.large", "m7a.large"),
    "arm64": ("c7g.large", "c6g.large", "m7g.large", "m6g.large"),
}
"""What is launched if the settings name no instance types, by architecture."""


IOPS_PER_GIB = 500
MBPS_PER_IOPS = 0.25
BASELINE_IOPS = 3000
"""Of a gp3 volume: the most IOPS for a GiB, MiB/s for an IOPS, and what each has without asking (EBS user guide,
"General Purpose SSD volumes")."""


class VolumeSettings(Strict):
    """Performance of the root volume, which is gp3. A change creates a new release."""

    iops: int | None = Field(default=None, ge=BASELINE_IOPS, le=80_000, examples=[6000])
    """IOPS. More than 3000 need `root_gib`: at most 500 per GiB. Unset: 3000."""
    throughput: int | None = Field(default=None, ge=125, le=2000, examples=[250])
    """Throughput in MiB/s, at most 0.25 per IOPS. Unset: 125."""
    initialization_rate: int | None = Field(default=None, ge=100, le=300, examples=[300])
    """Rate in MiB/s at which EBS loads a new volume from its snapshot, for a fee per GiB. Unset: AWS promises none, and
    what was not read before may come at a few MiB/s."""


class WeightedType(Strict):
    """An instance type, and how many units of capacity each of its machines is."""

    type: InstanceType
    """Name of the instance type."""
    weight: int = Field(default=1, ge=1, le=999)
    """Units of capacity of a machine of this type."""


def _weighted(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


def _distinct(types: tuple[WeightedType, ...]) -> tuple[WeightedType, ...]:
    distinct(tuple(each.type for each in types))
    return types


WeightedTypes = Annotated[
    tuple[Annotated[WeightedType, BeforeValidator(_weighted, json_schema_input_type=InstanceType | WeightedType)], ...],
    Field(min_length=1, max_length=40),
    AfterValidator(_distinct),
]


class MachineSettings(Strict):
    """Instance types, root volume and role of the machines. A change creates a new release."""

    instance_types: WeightedTypes | None = Field(
        default=None, examples=[["c7i.large", "c7a.large", "m7i.large", "m7a.large"]]
    )
    """Instance types to launch, of the image's architecture: names or, with weights, `{type: c7i.xlarge, weight: 2}`.
    Every size of the fleet is in units of capacity then, and a type without a weight is one unit. List several, so that
    Spot capacity can come from more pools. Unset: c7i.large, c7a.large, m7i.large and m7a.large or, for an image for
    arm64, c7g.large, c6g.large, m7g.large and m6g.large."""
    requirements: RequirementsSettings | None = Field(
        default=None, examples=[{"vcpus": {"min": 2, "max": 8}, "memory_mib": {"min": 4096}}]
    )
    on_demand_base: int = Field(default=2, ge=0)
    """Number of machines that are always On-Demand Instances, which EC2 does not interrupt. They serve while others
    take the place of Spot Instances."""
    on_demand_percent: int = Field(default=0, ge=0, le=100)
    """Percentage of On-Demand Instances among the machines above `on_demand_base`. The others are Spot Instances."""
    threads_per_core: Literal[1, 2] | None = None
    """Threads of a CPU core: 1 turns simultaneous multithreading off. EC2 asks for the number of cores with it, so all
    instance types must have the same. Unset: as the instance type has."""
    tenancy: Literal["default", "dedicated"] = "default"
    """`dedicated`: on hardware that only this account uses, for a fee."""
    placement_group: PlacementGroup | None = Field(default=None, examples=["web"])
    """Name of an existing placement group for the machines."""
    monitoring: bool | None = Field(default=None, examples=[True])
    """Detailed monitoring: CloudWatch has the metrics of the machines every minute, not every five, for a fee. Unset:
    on for new releases, and as it is for those that the stack has."""
    volume: VolumeSettings = VolumeSettings()
    root_gib: int | None = Field(default=None, ge=1, le=16384, examples=[20])
    """Size of the root volume in GiB. Unset: as large as the image needs."""
    kms_key: KeyOrStack | None = Field(
        default=None,
        examples=["stack", "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"],
    )
    """Customer managed KMS key that encrypts the volumes: `stack` for one that the stack makes, or the ARN of an
    existing key in the stack's region, whose key policy must let EC2 Auto Scaling use it (`fleetswap permissions`
    prints the statements). Unset: the account's default key for EBS."""
    policies: Annotated[tuple[PolicyArn, ...], AfterValidator(distinct)] = Field(
        default=(), max_length=20, examples=[["arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"]]
    )
    """ARNs of managed policies for the instance role. The default quota is 10 per role."""
    security_groups: Annotated[tuple[SecurityGroupId, ...], AfterValidator(distinct)] = Field(
        default=(), max_length=15, examples=[["sg-0a1b2c3d4e5f60718"]]
    )
    """IDs of further security groups of the machines, in their VPC. The default quota is 5 per network interface, of
    which the stack's own group takes one."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = [*self._conflicts(), *self._beyond_the_volume()]
        if problems:
            raise wrong_together(problems)
        return self

    def _conflicts(self) -> Iterator[tuple[str, str]]:
        if self.requirements is None:
            return
        if self.instance_types is not None:
            yield "requirements", "cannot be used with `instance_types`: remove one of them"
        if self.threads_per_core is not None:
            yield (
                "threads_per_core",
                "needs `instance_types` with the same number of cores, and cannot be used with `requirements`",
            )

    def _beyond_the_volume(self) -> Iterator[tuple[str, str]]:
        iops = self.volume.iops or BASELINE_IOPS
        gib = -(-iops // IOPS_PER_GIB)
        if iops > BASELINE_IOPS and (self.root_gib or 0) < gib:
            yield "volume.iops", f"{iops} need a volume of {gib} GiB or more: set `root_gib` to that"
        most = int(iops * MBPS_PER_IOPS)
        if self.volume.throughput is not None and self.volume.throughput > most:
            needed = int(self.volume.throughput / MBPS_PER_IOPS)
            yield "volume.throughput", f"{self.volume.throughput} needs {needed} IOPS: set `volume.iops` to that"

    def types_for(self, architecture: str) -> tuple[str, ...]:
        """The instance types that are set, or the default ones for an architecture; none with `requirements`."""
        if self.requirements is not None:
            return ()
        return INSTANCE_TYPES[architecture] if self.instance_types is None else self._names

    @property
    def attributes(self) -> Requirements | None:
        """The attributes that are set, as the ledger has them."""
        return None if self.requirements is None else Requirements.of(self.requirements.model_dump(exclude_none=True))

    @property
    def weights(self) -> tuple[int, ...]:
        """Units of capacity of a machine of each instance type; none if each is one."""
        found = tuple(each.weight for each in self.instance_types or ())
        return found if set(found) - {1} else ()

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(each.type for each in self.instance_types or ())


class IamSettings(Strict):
    """Roles that the stack makes: of the machines, and of the dead man's switch."""

    permissions_boundary: PolicyArn | None = Field(default=None, examples=["arn:aws:iam::111122223333:policy/boundary"])
    """ARN of the permissions boundary of every role. Applies in place."""
    path: IamPath = Field(default="/", examples=["/fleetswap/"])
    """Path of every role and instance profile. A change creates a new release."""
