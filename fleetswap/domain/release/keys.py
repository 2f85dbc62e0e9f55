"""Which KMS keys the releases of a ledger need, and what for. Asks KMS nothing (`fleetswap.domain.secrets.key_state`).

A release names a key by its ARN, or as `sealing.STACK` the stack's own: one for secrets, another one for volumes and
snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fleetswap.domain.release.ledger import Entry
from fleetswap.domain.secrets.key_state import Need, Use
from fleetswap.domain.secrets.sealing import STACK


def used_by(entry: Entry) -> tuple[tuple[Use, str], ...]:
    """The keys without which no machine of a release can start: of the secrets first."""
    keys = {
        Use.SECRETS: entry.machine.secrets.key if entry.machine.secrets is not None else None,
        Use.VOLUMES: entry.machine.kms_key,
        Use.SNAPSHOTS: entry.image.kms_key,
    }
    return tuple((use, key) for use, key in keys.items() if key is not None)


def needs(entries: Iterable[Entry], own: Mapping[Use, str | None]) -> Iterator[Need]:
    """The same of several releases, by ARN. `own` are the stack's own keys; one that is not made yet needs no look."""
    for entry in entries:
        for use, key in used_by(entry):
            arn = own.get(use) if key == STACK else key
            if arn is not None:
                yield Need(arn, use, entry.release)


def needs_volume_key(entries: Iterable[Entry], *settings: str | None) -> bool:
    """Whether the stack makes its key for volumes: a setting asks for it, or the volumes or the snapshot of a release.

    So the key outlives the setting that asked for it, and goes with the last release that needs it.
    """
    return STACK in settings or any(STACK in (entry.machine.kms_key, entry.image.kms_key) for entry in entries)
