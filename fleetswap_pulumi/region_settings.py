"""The settings of further AWS Regions: when their rollouts come, and what is set otherwise there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from fleetswap_pulumi.checks import Strict, wrong, wrong_together

SAME_EVERYWHERE = ("service", "image", "release", "regions", "region", "elsewhere")
"""What makes the fleets of all regions one service with one image."""

OF_A_REGION = ("wave", "retire", "skip", "aws")
"""What is not laid over the settings of the stack: `aws` goes over those of the provider."""


class RegionSettings(Strict):
    """A further AWS Region with a fleet of its own (docs/how-to/regions.md). Takes the settings of the stack but for
    `service`, `image`, `release` and `regions`, each in place of the stack's or, for an object, key by key; and `aws`
    for those of the AWS provider.
    """

    model_config = ConfigDict(extra="allow")

    wave: int | None = Field(default=None, ge=1, le=100, examples=[2])
    """Wave of the region's rollout. Unset: the one after the home region's."""
    retire: bool = False
    """Deletes the region's fleet and everything that the stack made there. Remove the region from the settings once
    that is done, not before."""
    skip: bool = False
    """Leaves the region's fleet as it is, without a look at it, because it cannot be reached. The command must exclude
    the region as well: `pulumi up --exclude '**regions/eu-west-1:Region**'`."""

    @model_validator(mode="after")
    def _stays_or_goes(self) -> RegionSettings:
        if self.skip and self.retire:
            raise wrong("skip", "leaves the region as it is, and `retire` deletes it: remove one of them")
        return self

    @model_validator(mode="before")
    @classmethod
    def _overrides(cls, value: object) -> object:
        """A region with nothing of its own may be empty: `eu-west-1:` is null in YAML."""
        if value is None:
            return {}
        if isinstance(value, Mapping):
            problems = [
                (key, "is the same in all regions: set it for the stack") for key in SAME_EVERYWHERE if key in value
            ]
            if not isinstance(value.get("aws") or {}, Mapping):
                problems.append(("aws", "must be an object"))
            if problems:
                raise wrong_together(problems)
        return value


def laid_over(stack: Mapping[str, Any], region: Mapping[str, Any]) -> dict[str, Any]:
    """The raw settings of a stack with those of a region in their places. Objects are merged key by key, at any depth;
    everything else, lists too, is replaced.
    """
    merged = dict(stack)
    for key, value in region.items():
        had = merged.get(key)
        merged[key] = laid_over(had, value) if isinstance(had, Mapping) and isinstance(value, Mapping) else value
    return merged


def overrides(region: Mapping[str, Any]) -> dict[str, Any]:
    """What of a region's raw settings is laid over those of the stack."""
    return {key: value for key, value in region.items() if key not in OF_A_REGION}
