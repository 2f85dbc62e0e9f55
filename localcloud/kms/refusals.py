"""What KMS refuses with: a code of its model and AWS's words. Decides nothing."""

from __future__ import annotations

from typing import Final

STATUS: Final = {"KMSInternalException": 500, "DependencyTimeoutException": 503}
"""Of every other code it is 400 (API reference, the errors of each operation)."""


class Refused(Exception):
    """A request that KMS refuses. Without a message the answer has none, as that of InvalidCiphertextException."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code
        self.message = message


def invalid(member: str, rule: str) -> Refused:
    """A value that breaks a rule of the model, in AWS's words."""
    return Refused(
        "ValidationException", f"1 validation error detected: Value at '{member}' failed to satisfy constraint: {rule}"
    )


def not_found(message: str) -> Refused:
    """A key, an alias or a grant that there is not."""
    return Refused("NotFoundException", message)


def unsupported(message: str) -> Refused:
    """What a key cannot do, or the local cloud does not have."""
    return Refused("UnsupportedOperationException", message)
