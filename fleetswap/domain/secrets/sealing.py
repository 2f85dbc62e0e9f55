"""How the secrets of a release are sealed: with which KMS key, and in which encryption context.

It decides no permission and asks KMS nothing. Sources: KMS developer guide ("Encryption context", "Aliases in AWS
KMS").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

STACK = "stack"
"""In place of a key's ARN: the key that the stack itself makes, whose ARN no preview of a new stack can know."""

ENVIRONMENT = "Environment"
"""The only key of the encryption context. CloudTrail logs it, so it says which environment a ciphertext is of."""


@dataclass(frozen=True)
class Sealing:
    """`key` is a key's ARN, or `STACK`. `attested`: KMS answers only machines whose measurements its policy names."""

    key: str
    attested: bool = False


def encryption_context(stack: str) -> dict[str, str]:
    """The encryption context of all secrets of `stack` (`PROJECT/STACK`): what was sealed in one cannot be opened in
    another, and a request that names none is refused.
    """
    return {ENVIRONMENT: stack}


def alias(stack: str) -> str:
    """The alias of the stack's own key. An alias has letters, digits, `/`, `_` and `-` only, so other characters become
    `-`: it is for people, and nothing is found by it.
    """
    return f"alias/fleetswap/{re.sub('[^A-Za-z0-9/_-]', '-', stack)}"
