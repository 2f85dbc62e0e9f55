"""What earlier updates of this stack left in its state: the outputs, and the regions with resources.

A stack's outputs are written when an update succeeds as a whole. With several regions one rollout can end before
another one fails, and then only its own resource says so: the ledger that it reached is in its inputs, for the next
update.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.runtime import get_root_resource
from pulumi.runtime.sync_await import _sync_await

from fleetswap.domain.release.ledger import from_plain, to_plain
from fleetswap.domain.release.plan import served

HOME = ""
"""The region of resources that are in no component of a region."""

REGION = re.compile(r"fleetswap:regions/([a-z0-9-]+):Region$")
ROLLOUT = "pulumi-python:dynamic/fleetswap:Rollout"


@dataclass(frozen=True)
class StackState:
    """The outputs of the last successful update, and the outputs of each region's rollout as the state has them."""

    outputs: Mapping[str, Any]
    rollouts: Mapping[str, Mapping[str, Any]]
    """By region; `HOME` is that of the home region."""
    regions: frozenset[str]
    """The further regions with resources."""

    def of(self, region: str) -> Mapping[str, Any]:
        """The outputs of a region's fleet, with the ledger that its last rollout reached. Empty if it has none."""
        outputs = self.outputs if region == HOME else (self.outputs.get("regions") or {}).get(region) or {}
        ledger = reached(outputs.get("ledger"), self.rollouts.get(region, {}))
        return outputs if ledger is outputs.get("ledger") else {**outputs, "ledger": ledger}


def reached(written: Mapping[str, Any] | None, rollout: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The ledger of a region: `written`, unless the update failed elsewhere after the `rollout` had moved the traffic.

    Without it, the next update would take the release before for the live one, and delete the one that is live.
    """
    before, planned = from_plain(written), from_plain(rollout.get("ledger"))
    if planned.live is None or (planned.live, planned.standby) == (before.live, before.standby):
        return written
    now = served(before, planned, rollout.get("serving"), rollout.get("left") or None)
    return written if now is before else to_plain(now)


def read_state() -> StackState:
    """Read both; of a new stack, both are empty.

    `readStackOutputs` and `readStackResourceOutputs` return synchronously, even in a preview, so the plan can be made
    before anything is declared.
    """
    # The engine writes the state when it registers the stack itself. Who reads a file backend meanwhile meets
    # half a file ("failed to load checkpoint: EOF"), so the stack must be registered first.
    root = get_root_resource()
    if root is not None:
        _sync_await(root.urn.future())
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    resources = _invoke("readStackResourceOutputs", {"stackName": name})
    chains = {str(urn): str(urn).split("::")[2].split("$") for urn in resources}
    of = {urn: found.group(1) if (found := REGION.fullmatch(chain[0])) else HOME for urn, chain in chains.items()}
    return StackState(
        _invoke("readStackOutputs", {"name": name}),
        {of[urn]: resources[urn].get("outputs") or {} for urn, chain in chains.items() if chain[-1] == ROLLOUT},
        frozenset(of.values()) - {HOME},
    )


def _invoke(function: str, args: Mapping[str, str]) -> Mapping[str, Any]:
    answer: dict[str, Any] = pulumi.runtime.invoke(f"pulumi:pulumi:{function}", dict(args)).value or {}
    outputs: Mapping[str, Any] = answer.get("outputs") or {}
    return outputs
