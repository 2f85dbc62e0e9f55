"""Which metrics a group reports: EnableMetricsCollection and DisableMetricsCollection. None is ever reported here.

Moto forgets what was enabled before, takes any name, and cannot disable one. Source: EC2 Auto Scaling API reference
(EnableMetricsCollection, DisableMetricsCollection: without names, all of them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import EmptyResult

from localcloud.autoscaling import groups

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

_OF_GROUP = ("Desired", "InService", "Pending", "Standby", "Terminating", "Total")
_OF_POOL = ("Desired", "Warmed", "Pending", "Terminating", "Total")

METRICS = frozenset(
    {"GroupMinSize", "GroupMaxSize", "GroupAndWarmPoolDesiredCapacity", "GroupAndWarmPoolTotalCapacity"}
    | {f"Group{each}Capacity" for each in _OF_GROUP}
    | {f"Group{each}Instances" for each in _OF_GROUP[1:]}
    | {f"WarmPool{each}Capacity" for each in _OF_POOL}
)


def patch(patches: Patches) -> None:
    """Make both calls as AWS has them."""
    patches.methods(AutoScalingResponse, enable_metrics_collection, disable_metrics_collection)


def enable_metrics_collection(self: Moto) -> Moto:
    """Add the named metrics, or all."""
    asked = self._get_params()
    if asked.get("Granularity") != "1Minute":
        raise ValidationError("Granularity must be 1Minute.")
    group, named = _asked(self, asked)
    group.metrics = sorted({*group.metrics, *named})
    return EmptyResult()


def disable_metrics_collection(self: Moto) -> Moto:
    """Take the named metrics away, or all."""
    group, named = _asked(self, self._get_params())
    group.metrics = sorted({*group.metrics} - named)
    return EmptyResult()


def _asked(self: Moto, asked: dict[str, Any]) -> tuple[Moto, frozenset[str]]:
    named, group = frozenset(asked.get("Metrics") or METRICS), groups.named(self)
    if named - METRICS:
        raise ValidationError(f"{', '.join(sorted(named - METRICS))}: not a metric of Auto Scaling")
    return group, named
