"""Freezes, as the program sees them: a preview warns, and an update is refused before anything is built.

It is not the last word: a freeze that is written later counts as well, for the rollout looks again
(`fleetswap.domain.rollout.look`). What cannot be read here is left to it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pulumi

from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.rollout import freeze
from fleetswap.domain.rollout.freeze import Judged
from fleetswap.domain.rollout.rollout_tags import ROLLED_BACK, RolledBack
from fleetswap_pulumi.region_plan import Decided
from fleetswap_pulumi.rollout import tags_of_rule
from fleetswap_pulumi.stack_state import StackState


def check_freezes(decided: Mapping[str, Decided], state: StackState) -> None:
    """Refuse a new release while its service is frozen in any region; in a preview, warn.

    Of a region where the wanted release is live already, or that has no rollout yet, nothing is read.
    """
    refused = []
    for region, each in decided.items():
        where = f"{region or each.settings.region}: " if len(decided) > 1 else ""
        judged = _judge(each, state.rollouts.get(region, {}), where)
        if judged.noted:
            pulumi.log.info(f"{where}{judged.noted}")
        if judged.refused:
            refused.append(f"{where}{judged.refused}")
    if not refused:
        return
    if not pulumi.runtime.is_dry_run():
        raise InputError("; ".join(refused))
    for line in refused:
        pulumi.log.warn(f"this update would be refused: {line}")


def _judge(decided: Decided, rollout: Mapping[str, Any], where: str) -> Judged:
    release = decided.plan.wanted.release
    if release == decided.ledger.live or not rollout.get("listener"):
        return Judged()
    try:
        tags = tags_of_rule(rollout)
    except FleetswapError as error:
        what = "whether the service is frozen could not be read, and is read again before traffic moves"
        pulumi.log.warn(f"{where}{what}: {error}")
        return Judged()
    settings = decided.settings
    left = RolledBack.read(tags.get(ROLLED_BACK, "")).release
    trusted = decided.ledger.trusts(release, settings.rollout.trusted) and left != release
    passes = freeze.was_live(release) if trusted else ""
    return freeze.judge(tags, time.time(), service=settings.service, release=release, passes=passes)
