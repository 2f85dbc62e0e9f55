"""A region that an update leaves as it is, because it cannot be reached.

The program cannot look at it, so it declares nothing of it, and what is not declared is deleted, unless the engine
excludes it (`pulumi up --exclude`), which the program cannot see. So it declares a resource there whose
check never passes: of a resource that is excluded, the engine checks nothing and creates nothing (Pulumi 3.259,
pkg/resource/deploy/step_generator.go). A check that fails ends the update, and nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CheckFailure, CheckResult, Resource, ResourceProvider
from pulumi.runtime.sync_await import _sync_await

from fleetswap.domain.rollout.waves import resources
from fleetswap_pulumi.region import Region
from fleetswap_pulumi.stack_state import StackState


def exclude(region: str) -> str:
    """The option of `pulumi` that leaves the resources of a region as they are."""
    return f"--exclude '{resources(region)}'"


def remedy(region: str) -> str:
    """How the other regions are updated while this one cannot be reached."""
    wanted = f"fleetswap:regions.{region}.skip to true"
    return f"to deploy to the other regions without it, set {wanted} and run `pulumi up {exclude(region)}`"


class SkippedProvider(ResourceProvider):
    """Refuses to be there."""

    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Say what is missing: whoever excludes the region is never asked."""
        region = news["region"]
        return CheckResult(
            news,
            [
                CheckFailure(
                    "region",
                    f"fleetswap:regions.{region}.skip leaves {region} as it is, and without {exclude(region)} this"
                    " command would delete it: add that, or remove the setting",
                )
            ],
        )


class _Skipped(Resource, module="fleetswap", name="Skipped"):
    def __init__(self, region: str, parent: pulumi.Resource) -> None:
        super().__init__(SkippedProvider(), region, {"region": region}, pulumi.ResourceOptions(parent=parent))


def skip(regions: list[str], state: StackState) -> dict[str, Mapping[str, Any]]:
    """Leave the regions as they are; their outputs, which are those of the update before.

    Call it before anything else is declared: an update that does not exclude them ends here.
    """
    outputs: dict[str, Mapping[str, Any]] = {}
    for region in regions:
        if region not in state.regions:
            pulumi.log.warn(f"{region} is skipped: it has no fleet, and gets none")
            continue
        pulumi.log.warn(f"{region} is skipped: its fleet stays as it is")
        component = Region(region)
        _sync_await(_Skipped(region, component).urn.future())
        before = dict(state.of(region))
        component.register_outputs({"url": before.get("url"), "live": before.get("live")})
        if before.get("preview"):
            before["preview"] = pulumi.Output.secret(before["preview"])
        outputs[region] = before
    return outputs
