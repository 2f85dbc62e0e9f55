"""The stack's own key for secrets: when there is one, and what would take it from under a release. Asks KMS nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from fleetswap.domain.release.ledger import Entry, Ledger
from fleetswap.domain.secrets.sealing import STACK

MULTI_REGION = ":key/mrk-"
"""In the ARN of a multi-Region key and of no other (KMS developer guide, "How multi-Region keys work": the key ID
"begins with `mrk-`"). So the stack output with the ARN says what the key is, which can never change."""


def is_sealed_with_it(entry: Entry) -> bool:
    """Whether the secrets of a release can only be opened with the stack's own key."""
    return entry.machine.secrets is not None and entry.machine.secrets.key == STACK


def is_needed(entries: Iterable[Entry]) -> bool:
    """Whether a release, also one that is only retained, needs the key."""
    return any(is_sealed_with_it(entry) for entry in entries)


def is_multi_region(key: str) -> bool:
    """Whether a key's ARN is that of a multi-Region key, of which there can be replicas."""
    return MULTI_REGION in key


def replica(key: str, region: str) -> str:
    """The ARN of the replica in another region: the same but for the region (the same page)."""
    parts = key.split(":")
    return ":".join([*parts[:3], region, *parts[4:]])


def lost(ledger: Ledger, *, wanted: bool, retiring: bool, secrets: bool) -> Iterator[str]:
    """What would delete the key while a release of the ledger needs it; it could never be started again.

    `wanted`: new releases use the key. `retiring`: it is kept while a release needs it. `secrets`: the stack has
    secrets at all.
    """
    holders = [f"{entry.release} ({_role(entry, ledger)})" for entry in ledger.entries if is_sealed_with_it(entry)]
    if not holders or wanted or retiring:
        return
    need = f"{', '.join(holders)} {'needs' if len(holders) == 1 else 'need'} the stack's key, which this would delete"
    if secrets:
        yield f"fleetswap:secrets.kms_key: {need}: set secrets.retire as well, which keeps it as long as it is needed"
    else:
        yield f"fleetswap:secrets: {need}: restore the setting, and set secrets.retire, until the key is gone"


def taken_for_anothers(settings: Mapping[str, str | None], own: Collection[str]) -> Iterator[str]:
    """Settings that name a key of the stack's own by its ARN: it would go although a release needs it.

    `own` are their ARNs. The ledger knows a release that needs such a key by the word `sealing.STACK` alone.
    """
    for setting, key in settings.items():
        if key in own:
            yield (
                f"fleetswap:{setting}: {key} is a key that this stack makes, and deletes when no release names it"
                f" `stack`: {'remove the setting' if setting.startswith('secrets') else 'set it to `stack`'}"
            )


def _role(entry: Entry, ledger: Ledger) -> str:
    return {ledger.live: "live", ledger.standby: "standby"}.get(entry.release, "retained")


def unattestable(entry: Entry) -> Iterator[str]:
    """Why the machines of a release that is to be attested could not be."""
    sealing, info = entry.machine.secrets, entry.image.info
    if sealing is None or not sealing.attested:
        return
    missing = [
        setting
        for setting, there in (("tpm_support: v2.0", info.tpm), ("boot_mode: uefi", info.boot_mode == "uefi"))
        if not there
    ]
    if missing:
        yield (
            f"fleetswap:secrets.attested: {entry.release} has no NitroTPM: set {' and '.join(missing)} in image.ami, or"
            " have the image say so"
        )


def unreplicable(key: str | None, regions: Iterable[str]) -> Iterator[str]:
    """Why a key that was made cannot have replicas in these regions. None: it is not made yet."""
    if key is not None and not is_multi_region(key) and list(regions):
        yield (
            f"fleetswap:secrets.replica_regions: {key} was made as a single-Region key, which KMS cannot replicate:"
            " remove the setting, or deploy a new stack"
        )
