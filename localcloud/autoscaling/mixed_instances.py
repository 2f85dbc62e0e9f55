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

from localcloud.ec2 import launch

if TYPE_CHECKING:
    from localcloud.moto_state import Moto

_DISTRIBUTION = {
    "OnDemandAllocationStrategy": "prioritized",
    "OnDemandBaseCapacity": 0,
    "OnDemandPercentageAboveBaseCapacity": 100,
    "SpotAllocationStrategy": "lowest-price",
}
"""What InstancesDistribution is where nothing is asked for; SpotInstancePools, 2, goes with `lowest-price` only."""

_ON_DEMAND = {"lowest-price", "prioritized"}
_SPOT = {"capacity-optimized", "capacity-optimized-prioritized", "lowest-price", "price-capacity-optimized"}


def whole(policy: dict[str, Any] | None) -> dict[str, Any] | None:
    """AWS tells the whole distribution; moto what was asked for."""
    if not policy:
        return policy
    distribution = {**_DISTRIBUTION, **(policy.get("InstancesDistribution") or {})}
    if distribution["SpotAllocationStrategy"] == "lowest-price":
        distribution.setdefault("SpotInstancePools", 2)
    return {**policy, "InstancesDistribution": distribution}


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
    _check_distribution((policy or {}).get("InstancesDistribution") or {})
    spec = template or chosen.get("LaunchTemplateSpecification")
    if spec:
        try:
            _check_template(ec2, spec, types)
        except ServiceException as error:
            raise ValidationError(f"You must use a valid fully-formed launch template. {error.message}") from None


def _check_distribution(asked: dict[str, Any]) -> None:
    given = {**_DISTRIBUTION, **asked}
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
