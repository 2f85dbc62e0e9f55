"""The requests that NitroTPM takes in a message buffer, and its answers: CBOR, in the words of the Nitro Secure Module.

Decides which request is answered how. Pure but for who signs. Source: the API of aws-nitro-enclaves-nsm-api (Request,
Response, ErrorCode), which nitro-tpm-attest uses; NitroTPM takes `Attestation` alone.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import cbor2

from localcloud.attestation.documents import MOST_OPTIONAL

if TYPE_CHECKING:
    from collections.abc import Callable

    Sign = Callable[..., bytes]
    """Takes `public_key`, `user_data` and `nonce`, bytes or None; answers a signed document."""

INVALID_ARGUMENT, INVALID_OPERATION, INPUT_TOO_LARGE = "InvalidArgument", "InvalidOperation", "InputTooLarge"


def answer(request: bytes, sign: Sign) -> bytes:
    """The answer to the request at the beginning of a message buffer; what follows it is not read."""
    try:
        asked = cbor2.load(BytesIO(request))
    except (cbor2.CBORError, ValueError, EOFError):
        return _error(INVALID_ARGUMENT)
    match asked:
        case {"Attestation": dict(parameters)}:
            return _attest(parameters, sign)
        case dict() | str():
            return _error(INVALID_OPERATION)
        case _:
            return _error(INVALID_ARGUMENT)


def _attest(parameters: dict[Any, Any], sign: Sign) -> bytes:
    given = {name: parameters.get(name) for name in ("public_key", "user_data", "nonce")}
    for value in given.values():
        if value is not None and not isinstance(value, bytes):
            return _error(INVALID_ARGUMENT)
        if value is not None and len(value) > MOST_OPTIONAL:
            return _error(INPUT_TOO_LARGE)
    return cbor2.dumps({"Attestation": {"document": sign(**given)}})


def _error(code: str) -> bytes:
    return cbor2.dumps({"Error": code})


TOO_SMALL = _error("BufferTooSmall")
