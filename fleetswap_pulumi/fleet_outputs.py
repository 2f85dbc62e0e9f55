"""The outputs of a region's fleet: what the rollout has reached. An update that leaves it out keeps what was there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from fleetswap.domain.release.ledger import Ledger, to_plain
from fleetswap.domain.release.plan import Plan, served
from fleetswap_pulumi.release import Release
from fleetswap_pulumi.rollout import Rollout


def outputs_of(
    rollout: Rollout,
    read: Ledger,
    decided: Plan,
    before: Mapping[str, Any],
    releases: Mapping[str, Release],
) -> dict[str, pulumi.Output[Any]]:
    """What the rollout has reached; what an update without it (`--target`, `--exclude`) leaves is as it was.

    What was measured of an image is written down with it: the image never changes, so it is true whatever is reached.
    """

    def told(values: Sequence[Any]) -> Ledger:
        serving, left = values
        return served(read, decided.ledger, serving, left or None)

    # Not together with the times: those of an image that is left out are unknown, what the rollout has reached is not.
    reached = pulumi.Output.all(rollout.serving, rollout.left).apply(told)
    images = [entry.release for entry in decided.ledger.entries if entry.machine.attested]
    measured = {name: known(releases[name].disk.measured, None) for name in images if name in releases}
    disk = releases[decided.wanted.release].disk
    seconds = {"build": disk.build_seconds, "upload": disk.upload_seconds, "rollout": rollout.seconds}
    spent = pulumi.Output.all(reached, seconds).apply(
        lambda both: before.get("seconds", {}) if both[0] is read else both[1]
    )
    outputs: dict[str, pulumi.Output[Any]] = {
        "live": rollout.serving,
        "standby": reached.apply(lambda ledger: ledger.standby or ""),
        "seconds": spent,
        "ledger": pulumi.Output.all(reached, measured).apply(lambda both: to_plain(both[0].measuring(both[1]))),
    }
    headers = {name: release.preview for name, release in releases.items() if release.preview is not None}
    return {
        **{name: known(output, before.get(name)) for name, output in outputs.items()},
        "boots": _settled(rollout.boots, before.get("boots")),
        "preview": _secret(pulumi.Output.all(**headers), before.get("preview")),
    }


def known(output: pulumi.Output[Any], otherwise: object) -> pulumi.Output[Any]:
    """An output of this update or, if the update leaves out what makes it, `otherwise`: the engine keeps "unknown"."""
    return output if pulumi.runtime.is_dry_run() else _settled(output, otherwise)


def _settled(output: pulumi.Output[Any], otherwise: object) -> pulumi.Output[Any]:
    """The same, and also in a preview `otherwise`: a rollout of an older version has no such output, and none would be
    shown as one that is to come.
    """

    async def settled() -> object:
        return await output.future() if await output.is_known() else otherwise

    return pulumi.Output.from_input(settled())


def record_of(rollout: Rollout) -> pulumi.Output[Any]:
    """The record of the last rollout, unknown only if there will be another one: the state of an older version has no
    record, which a preview would show as one that is to come, each time.
    """

    async def record() -> pulumi.Output[Any] | None:
        is_to_come = not await rollout.seconds.is_known()
        return rollout.record if is_to_come or await rollout.record.is_known() else None

    return pulumi.Output.from_input(record())


def _secret(headers: pulumi.Output[dict[str, Any]], before: object) -> pulumi.Output[Any]:
    """The headers as a secret output or, if the update leaves out a rule that has no header yet, those of `before`."""

    async def settled() -> object:
        found = await headers.future() if await headers.is_known() else None
        whole = found if found and None not in found.values() else before
        return None if whole is None else pulumi.Output.secret(whole)

    return pulumi.Output.secret(headers) if pulumi.runtime.is_dry_run() else pulumi.Output.from_input(settled())
