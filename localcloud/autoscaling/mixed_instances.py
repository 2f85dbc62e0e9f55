"""What an auto scaling group launches: its launch template and its mixed instances policy, checked as AWS checks them.

Decides what CreateAutoScalingGroup and UpdateAutoScalingGroup refuse of both, and how a policy is told. AWS tries a
launch without doing it, so a template that cannot launch is refused at once; moto finds out with the first instance.

Sources: EC2 Auto Scaling API reference (MixedInstancesPolicy, InstancesDistribution, LaunchTemplateOverrides), user
guide ("Troubleshoot: launch templates").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.autoscaling.exceptions import ValidationError
from moto.core.exceptions import ServiceException
from moto.ec2.models.instance_types import INSTANCE_TYPES

from localcloud.ec2 import hardware, instance_requirements, launch

if TYPE_CHECKING:
    from localcloud.moto_state import Moto

_DISTRIBUTION = {
    "OnDemandAllocationStrategy": "prioritized",
    "OnDemandBaseCapacity": 0,
    "OnDemandPercentageAboveBaseCapacity": 100,
    "SpotAllocationStrategy": "lowest-price",
}
"""What InstancesDistribution is where nothing is asked for; SpotInstancePools, 2, goes with `lowest-price` only."""

_WEIGHTS = range(1, 1000)
_SETS = 4
"""Weights, and sets of requirements of a group (API reference, LaunchTemplateOverrides)."""

_ON_DEMAND = {"lowest-price", "prioritized"}
_SPOT = {"capacity-optimized", "capacity-optimized-prioritized", "lowest-price", "price-capacity-optimized"}


def whole(policy: dict[str, Any] | None) -> dict[str, Any] | None:
    """AWS tells the whole distribution; moto what was asked for."""
    if not policy:
        return policy
    distribution = {**_defaults(policy), **(policy.get("InstancesDistribution") or {})}
    if distribution["SpotAllocationStrategy"] == "lowest-price":
        distribution.setdefault("SpotInstancePools", 2)
    return {**policy, "InstancesDistribution": distribution}


def _defaults(policy: dict[str, Any] | None) -> dict[str, Any]:
    """The strategy is `lowest-price` for groups that specify InstanceRequirements (API reference)."""
    by_attributes = any("InstanceRequirements" in each for each in overrides_of(policy))
    return {**_DISTRIBUTION, **({"OnDemandAllocationStrategy": "lowest-price"} if by_attributes else {})}


def overrides_of(policy: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The overrides of a policy, if it has some."""
    found: list[dict[str, Any]] = ((policy or {}).get("LaunchTemplate") or {}).get("Overrides") or []
    return found


def types_of(ec2: Moto, policy: dict[str, Any] | None, architecture: str, default: str | None) -> dict[str, int]:
    """The instance types that may be launched, in order, with the units of capacity that each is."""
    found: dict[str, int] = {}
    for each in overrides_of(policy):
        if required := each.get("InstanceRequirements"):
            names = instance_requirements.matching(ec2.region_name, required, [architecture])
        else:
            names = [each.get("InstanceType") or default or ""]
        found |= {name: int(each.get("WeightedCapacity") or 1) for name in names if name not in found}
    return found or ({default: 1} if default else {})


def _check_overrides(ec2: Moto, overrides: list[dict[str, Any]]) -> None:
    """API reference, LaunchTemplateOverrides: a weight for all or for none, and types or attributes."""
    weights = [each["WeightedCapacity"] for each in overrides if each.get("WeightedCapacity") is not None]
    if weights and len(weights) < len(overrides):
        raise ValidationError("You must specify WeightedCapacity for all of the overrides, or for none of them")
    if not all(str(weight).isdigit() and int(weight) in _WEIGHTS for weight in weights):
        raise ValidationError(f"WeightedCapacity must be a whole number from 1 to {_WEIGHTS[-1]}")
    by_attributes = [each["InstanceRequirements"] for each in overrides if each.get("InstanceRequirements")]
    if len(by_attributes) > _SETS:
        raise ValidationError(f"You can specify up to {_SETS} sets of InstanceRequirements")
    if by_attributes and (weights or any("InstanceType" in each for each in overrides)):
        raise ValidationError("InstanceRequirements cannot be used with InstanceType or WeightedCapacity")
    for required in by_attributes:
        if problem := instance_requirements.mistake(required):
            raise ValidationError(problem)
        if not instance_requirements.matching(ec2.region_name, required, ["i386", "x86_64", "arm64"]):
            raise ValidationError("No instance types match the specified InstanceRequirements")


def check(ec2: Moto, template: dict[str, Any] | None, policy: dict[str, Any] | None) -> None:
    """Refuse what could not be launched. Raises ValidationError."""
    chosen = (policy or {}).get("LaunchTemplate") or {}
    overrides = chosen.get("Overrides") or []
    types = [override["InstanceType"] for override in overrides if "InstanceType" in override]
    twice = sorted({name for name in types if types.count(name) > 1})
    if twice:
        raise ValidationError(f"Duplicate instance types in the overrides: {', '.join(twice)}")
    unknown = sorted(name for name in types if name not in INSTANCE_TYPES)
    if unknown:
        raise ValidationError(f"The following supplied instance types do not exist: [{', '.join(unknown)}]")
    _check_overrides(ec2, overrides)
    distribution = {**_defaults(policy), **((policy or {}).get("InstancesDistribution") or {})}
    _check_distribution(distribution)
    if any("InstanceRequirements" in each for each in overrides) and (
        distribution["OnDemandAllocationStrategy"] == "prioritized"
    ):
        raise ValidationError("The prioritized strategy cannot be used with InstanceRequirements")
    spec = template or chosen.get("LaunchTemplateSpecification")
    if spec:
        try:
            _check_template(ec2, spec, types)
        except ServiceException as error:
            raise ValidationError(f"You must use a valid fully-formed launch template. {error.message}") from None


def _check_distribution(asked: dict[str, Any]) -> None:
    given = asked
    if int(given["OnDemandBaseCapacity"]) < 0:
        raise ValidationError("OnDemandBaseCapacity must be at least 0")
    if not 0 <= int(given["OnDemandPercentageAboveBaseCapacity"]) <= 100:
        raise ValidationError("OnDemandPercentageAboveBaseCapacity must be between 0 and 100")
    for key, known in (("OnDemandAllocationStrategy", _ON_DEMAND), ("SpotAllocationStrategy", _SPOT)):
        if given[key] not in known:
            raise ValidationError(f"{key} must be one of {', '.join(sorted(known))}, not {given[key]}")


def _check_template(ec2: Moto, spec: dict[str, Any], types: list[str]) -> None:
    named = spec.get("LaunchTemplateName")
    found = (
        ec2.get_launch_template_by_name(named) if named else ec2.get_launch_template(spec.get("LaunchTemplateId", ""))
    )
    data = found.get_version(spec.get("Version") or "$Default").data
    image = launch.image_of(ec2, data.get("ImageId"))
    for name in types or [data["InstanceType"]] if types or data.get("InstanceType") else []:
        launch.check_type(name, image)
        hardware.check_cpu_options(name, data.get("CpuOptions"))
    launch.devices(ec2, image, data.get("BlockDeviceMappings", []), [])
