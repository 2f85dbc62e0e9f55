"""The settings of machines: instance types, volume, roles."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from fleetswap_pulumi.checks import Strict
from fleetswap_pulumi.names import IamPath, InstanceType, KeyOrStack, PolicyArn, SecurityGroupId, distinct

INSTANCE_TYPES = {
    "x86_64": ("c7i.large", "c7a.large", "m7i.large", "m7a.large"),
    "arm64": ("c7g.large", "c6g.large", "m7g.large", "m6g.large"),
}
"""What is launched if the settings name no instance types, by architecture."""


class MachineSettings(Strict):
    """Instance types, root volume and role of the machines. A change creates a new release."""

    instance_types: (
        Annotated[tuple[InstanceType, ...], Field(min_length=1, max_length=40), AfterValidator(distinct)] | None
    ) = Field(default=None, examples=[["c7i.large", "c7a.large", "m7i.large", "m7a.large"]])
    """Instance types to launch, of the image's architecture. List several, so that Spot capacity can come from more
    pools. Unset: c7i.large, c7a.large, m7i.large and m7a.large or, for an image for arm64, c7g.large, c6g.large,
    m7g.large and m6g.large."""
    on_demand_base: int = Field(default=2, ge=0)
    """Number of machines that are always On-Demand Instances."""
    on_demand_percent: int = Field(default=0, ge=0, le=100)
    """Percentage of On-Demand Instances among the machines above `on_demand_base`. The others are Spot Instances."""
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

    def types_for(self, architecture: str) -> tuple[str, ...]:
        """The instance types that are set, or the default ones for an architecture."""
        return INSTANCE_TYPES[architecture] if self.instance_types is None else self.instance_types


class IamSettings(Strict):
    """Roles that the stack makes: of the machines, and of the dead man's switch."""

    permissions_boundary: PolicyArn | None = Field(default=None, examples=["arn:aws:iam::111122223333:policy/boundary"])
    """ARN of the permissions boundary of every role. Applies in place."""
    path: IamPath = Field(default="/", examples=["/fleetswap/"])
    """Path of every role and instance profile. A change creates a new release."""
