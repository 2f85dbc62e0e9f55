"""What an update does about sealed secrets: whether there is a key and a role, and what it refuses before it begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetswap.domain.errors import InputError
from fleetswap.domain.release import own_key
from fleetswap.domain.release.ledger import Entry, Ledger
from fleetswap.domain.release.plan import Plan
from fleetswap.domain.secrets.sealing import encryption_context
from fleetswap.sops import sealed
from fleetswap.sops.sealed import Unreadable
from fleetswap_pulumi.project import root
from fleetswap_pulumi.secrets_settings import SecretsSettings
from fleetswap_pulumi.settings import Settings
from fleetswap_pulumi.volume_key import OUTPUT as VOLUME_KEY

OUTPUT = "secrets"
"""The stack output of `fleetswap_pulumi.sealed_secrets`."""

OFF = SecretsSettings(retire=True)
"""Of a stack without the setting: no new release has secrets, and what older ones need stays."""


@dataclass(frozen=True)
class SecretsPlan:
    """What to declare; see `SealedSecretsArgs`."""

    settings: SecretsSettings
    own_key: bool
    multi_region: bool


def before_there_is_a_key(settings: Settings, outputs: Mapping[str, Any]) -> bool:
    """Whether this update makes the key and no new release: no image can have what is sealed with it yet.

    That is known only of a stack that names its sealed file. `outputs` are those of the last update.
    """
    secrets = settings.secrets
    return (
        secrets is not None
        and secrets.own_key
        and secrets.file is not None
        and settings.release is None
        and _stack_key(outputs) is None
    )


def only_the_key(settings: Settings) -> str:
    """What such an update tells."""
    file = settings.secrets.file if settings.secrets is not None else None
    return (
        f"this update only makes the KMS key for secrets and deploys no new image: once {file} is sealed with that key"
        " (`fleetswap secrets init`), the next update deploys"
    )


def plan_secrets(
    settings: Settings, ledger: Ledger, decided: Plan | None, outputs: Mapping[str, Any]
) -> SecretsPlan | None:
    """What to declare; None for a stack without secrets. `decided` is None before there is any release.

    `outputs` are those of the last update, `ledger` is what it left. Raises `InputError` with all that is wrong.
    """
    secrets = settings.secrets or OFF
    declared = () if decided is None else (*decided.running, *decided.kept)
    running = () if decided is None else decided.running
    # Also while this update deletes the last release that needs it: the update may fail, and the release stay.
    own = secrets.own_key or own_key.is_needed((*ledger.entries, *declared))
    key = _stack_key(outputs)
    problems = list(own_key.taken_for_anothers(_named(settings), _own_keys(outputs))) or [
        *own_key.lost(
            ledger, wanted=secrets.own_key, retiring=_retires(settings), secrets=settings.secrets is not None
        ),
        *own_key.unreplicable(key, secrets.replica_regions),
        *(own_key.unattestable(decided.wanted) if decided is not None and _is_new(decided.wanted, ledger) else ()),
    ]
    if problems:
        raise InputError(f"nothing was changed: {'; '.join(problems)}")
    if settings.secrets is None and not own and all(entry.machine.secrets is None for entry in running):
        return None
    return SecretsPlan(secrets, own, own_key.is_multi_region(key) if key is not None else bool(secrets.replica_regions))


def _named(settings: Settings) -> Mapping[str, str | None]:
    """The keys of the settings, by the settings."""
    return {
        "secrets.kms_key": settings.secrets.kms_key if settings.secrets is not None else None,
        "machine.kms_key": settings.machine.kms_key,
        "upload.kms_key": settings.upload.kms_key,
    }


def _own_keys(outputs: Mapping[str, Any]) -> Sequence[str]:
    return [key for key in (_stack_key(outputs), outputs.get(VOLUME_KEY)) if key is not None]


def _retires(settings: Settings) -> bool:
    return settings.secrets is not None and settings.secrets.retire


def _is_new(entry: Entry, ledger: Ledger) -> bool:
    return entry.release not in {each.release for each in ledger.entries}


def _stack_key(outputs: Mapping[str, Any]) -> str | None:
    key: str | None = (outputs.get(OUTPUT) or {}).get("stack_key")
    return key


def check_sealed_file(settings: Settings, outputs: Mapping[str, Any]) -> None:
    """Refuse a stack's file that is not sealed, with all that is wrong with it.

    It comes before the image is evaluated: Nix copies what it evaluates into its store, which everybody can read.
    """
    problems = [] if settings.secrets is None else list(_sealed_file(settings, settings.secrets, outputs))
    if problems:
        raise InputError(f"nothing was changed: {'; '.join(problems)}")


def _sealed_file(settings: Settings, secrets: SecretsSettings, outputs: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with it. A rollback by the setting `release` does not depend on it."""
    if secrets.file is None or secrets.sealing is None or settings.release is not None:
        return
    key = secrets.kms_key or _stack_key(outputs)
    if key is None:
        return
    try:
        content = sealed.read(root() / secrets.file)
    except Unreadable as error:
        yield f"fleetswap:secrets.file: {secrets.file} {error}: correct the setting, or run `fleetswap secrets init`"
        return
    for each in _problems(content, key, secrets, outputs, settings.stack):
        yield f"fleetswap:secrets.file: {secrets.file}: {each}"


def _problems(
    content: bytes, key: str, secrets: SecretsSettings, outputs: Mapping[str, Any], stack: str
) -> Sequence[str]:
    """A replica counts from when it is made, and until it is no longer in the settings: the file follows in between."""
    made = (outputs.get(OUTPUT) or {}).get("replicas", ()) if secrets.own_key else ()
    wanted = [own_key.replica(key, region) for region in secrets.replica_regions]
    context = encryption_context(stack)
    found = [sealed.inspect(content, str(secrets.file), [key, *replicas], context) for replicas in (made, wanted)]
    return () if () in found else found[0]
