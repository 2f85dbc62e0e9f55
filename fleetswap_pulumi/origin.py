"""Where a rollout comes from, as an input of its resource: the commit, and what this update did before the rollout.

Another commit starts no rollout, and the times are of one update: `Rollout.diff` ignores this input. A preview shows
the commit alone. `fleetswap_pulumi.timeline` reads it, in the provider.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pulumi

from fleetswap_pulumi.commit import Commit
from fleetswap_pulumi.disk_image import DiskImage
from fleetswap_pulumi.settings import Settings
from fleetswap_pulumi.wanted_release import ImageOnce


@dataclass(frozen=True)
class Update:
    """What the regions of one update have in common: when it began, its commit, its image, and who sends it."""

    commit: Commit | None
    image: ImageOnce
    started: datetime = field(default_factory=lambda: datetime.now(UTC))


def origin_of(
    update: Update,
    settings: Settings,
    *,
    disks: Sequence[DiskImage],
    made: Sequence[pulumi.Input[Any]],
) -> dict[str, Any]:
    """The input. `disks` are the image's, the region's own first; `made` is what the release is, if it is new."""
    commit = update.commit
    told: dict[str, Any] = {
        "kind": "deploy" if settings.release is None else "rollback",
        "commit": None if commit is None else commit.hash,
        "commit_time": None if commit is None else commit.time,
        "subject": None if commit is None else commit.subject,
    }
    told = {key: value for key, value in told.items() if value is not None}
    if pulumi.runtime.is_dry_run():
        return told
    evaluated = update.image.evaluated
    return {
        **told,
        "started": _now(update.started),
        "evaluation": None if evaluated is None else [_now(evaluated[0]), evaluated[1]],
        "images": [
            {
                "finished": disk.finished,
                "build": disk.build_seconds,
                "trial": disk.trial_seconds,
                "upload": disk.upload_seconds,
            }
            for disk in disks
        ],
        "registered": pulumi.Output.all(*made).apply(lambda _: _now(datetime.now(UTC))) if made else None,
        "budgets": {} if settings.budgets is None else dict(settings.budgets.seconds),
    }


def _now(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
