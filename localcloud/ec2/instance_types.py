"""Instance types are those of the region, as EC2 describes them; moto knows the same ones everywhere.

Source: EC2 API reference, DescribeInstanceTypes ("for the current Region"). The facts are moto's, which has them from
EC2.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from moto.ec2.exceptions import InvalidInstanceTypeError
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, InstanceTypeBackend

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

_describe = InstanceTypeBackend.describe_instance_types


def patch(patches: Patches) -> None:
    """Make DescribeInstanceTypes one of a region."""
    patches.methods(InstanceTypeBackend, describe_instance_types)


def describe_instance_types(self: Moto, instance_types: list[str] | None = None, filters: Moto = None) -> list[Any]:
    """AWS does not know a type that the region does not offer."""
    there = of_region(self.region_name)
    unknown = set(instance_types or ()) - there
    if unknown:
        raise InvalidInstanceTypeError(unknown, error_type="InvalidInstanceType")
    return [each for each in _describe(self, instance_types, filters) if each["InstanceType"] in there]


@cache
def of_region(region: str) -> frozenset[str]:
    """The names of the types that a region offers."""
    return frozenset(offer["InstanceType"] for offer in INSTANCE_TYPE_OFFERINGS["region"].get(region, ()))
