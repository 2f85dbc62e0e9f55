"""The only reader of `pulumi.Config`: reads all settings of a stack once, and validates them together.

Invalid settings are reported with their keys before anything is changed. This module does not know the settings itself:
`fleetswap_pulumi.settings` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env, get_config_secret_keys_env, is_config_secret

from fleetswap.domain.access import REFUSED
from fleetswap.domain.errors import InputError
from fleetswap_pulumi.parse import settings_of
from fleetswap_pulumi.settings import NAMESPACE, Settings


def read() -> Settings:
    """Read and validate the settings of the current stack. One `InputError` reports all that is invalid."""
    # Pulumi has no public way to list a namespace's keys, and without one a misspelt key cannot be refused.
    every = {**get_config_env(), **CONFIG.get()}
    _refuse_secrets(every)
    _refuse_other_namespaces(every)
    return settings_of(every)


def _refuse_secrets(keys: Iterable[str]) -> None:
    """What a reviewer must see in a preview cannot be hidden, and a secret must not be in a state."""
    told = get_config_secret_keys_env()
    ours = (key for key in keys if key.startswith((f"{NAMESPACE}:", "aws:")) and key.partition(":")[2] not in REFUSED)
    secret = sorted(key for key in ours if is_config_secret(key) or key in told)
    if secret:
        raise InputError(
            f"{', '.join(secret)} was set with --secret, but no setting is secret: previews, tags and the state"
            " would show it: set it without --secret"
        )


def _refuse_other_namespaces(keys: Iterable[str]) -> None:
    """A misspelled namespace, or the project's own, which `pulumi config set KEY` uses if none is given."""
    wrong = sorted(key for key in keys if _is_misplaced(key.partition(":")[0]))
    if wrong:
        raise InputError(f"not settings of this program: {', '.join(wrong)}: its settings begin with {NAMESPACE}:")


def _is_misplaced(namespace: str) -> bool:
    near = get_close_matches(namespace.lower(), [NAMESPACE], cutoff=0.75)
    return namespace != NAMESPACE and (namespace == pulumi.get_project() or bool(near))
