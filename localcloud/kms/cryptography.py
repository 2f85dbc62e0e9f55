"""Cryptographic operations with symmetric keys. Signatures and MACs are left to moto, once the key may be used.

Decides what a ciphertext is answered with. With `LOCK` held. Source: KMS API reference, Encrypt, Decrypt, ReEncrypt,
GenerateDataKey, GenerateDataKeyWithoutPlaintext, GenerateRandom; the errors' words as users met them.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from localcloud.attestation import recipients
from localcloud.attestation.documents import Invalid
from localcloud.kms import keys, material
from localcloud.kms.refusals import Refused, invalid, unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric import rsa

    from localcloud.kms.request import Request
    from localcloud.moto_state import Moto

_ALGORITHM: Final = "SYMMETRIC_DEFAULT"
_DATA_KEYS: Final = {"AES_128": 16, "AES_256": 32}
_NO_KEY: Final = (
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not"
    " allowed to access."
)
_WRONG_KEY: Final = "The key ID in the request does not identify a CMK that can perform this operation."
_EITHER: Final = "Please specify either number of bytes or key spec."


def usable(request: Request, name: str, usages: tuple[str, ...] = ("ENCRYPT_DECRYPT",)) -> Moto:
    """The key of a cryptographic operation. Raises `Refused`."""
    key = keys.checked(request, name, alias=True)
    if keys.managed_by_aws(key):
        raise keys.not_allowed(request, key)
    if key.key_usage not in usages:
        raise Refused(
            "InvalidKeyUsageException",
            f"{key.arn} key usage is {key.key_usage} which is not valid for {request.operation}.",
        )
    return key


def _symmetric(request: Request, name: str, algorithm: str = "EncryptionAlgorithm") -> Moto:
    key = usable(request, name)
    if key.key_spec != _ALGORITHM:
        raise unsupported(f"The local cloud encrypts with keys of KeySpec {_ALGORITHM} only, not with {key.arn}.")
    if (request.parameters.get(algorithm) or _ALGORITHM) != _ALGORITHM:
        raise Refused(
            "InvalidKeyUsageException",
            f"{key.arn} does not support {algorithm} {request.parameters[algorithm]}.",
        )
    return key


def _context(request: Request, member: str = "EncryptionContext") -> Mapping[str, str]:
    context: Mapping[str, str] = request.parameters.get(member) or {}
    return context


def _run(request: Request) -> None:
    """A dry run ends here, where everything was checked."""
    if request.parameters.get("DryRun") is True:
        raise Refused("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")


def encrypt(request: Request) -> dict[str, Any]:
    """Encrypt."""
    key = _symmetric(request, request.parameters["KeyId"])
    _run(request)
    blob = material.encrypt(key.id, key.materials[-1], request.parameters["Plaintext"], _context(request))
    return {"CiphertextBlob": blob, "KeyId": key.arn, "EncryptionAlgorithm": _ALGORITHM}


def decrypt(request: Request) -> dict[str, Any]:
    """Decrypt: a ciphertext names its key, and a request may say which key it expects."""
    recipient = _recipient(request)
    key, plaintext, used = _opened(request, "KeyId", _context(request))
    _run(request)
    told = {"KeyId": key.arn, "EncryptionAlgorithm": _ALGORITHM, "KeyMaterialId": used}
    return {**told, **_handed_out(recipient, plaintext)}


def _opened(request: Request, member: str, context: Mapping[str, str]) -> tuple[Moto, bytes, str]:
    blob = request.parameters.get("CiphertextBlob")
    if blob is None:  # the model has it as optional, for dry runs alone
        raise invalid("ciphertextBlob", "Member must not be null")
    named = request.parameters.get(member)
    expected = _symmetric(request, named) if named else None
    try:
        key_id = material.key_of(blob)
    except material.NotOurs:
        raise Refused("InvalidCiphertextException") from None
    if expected is not None and expected.id != key_id:
        raise Refused("IncorrectKeyException", _WRONG_KEY)
    if key_id not in request.kms.keys:
        raise Refused("AccessDeniedException", _NO_KEY)
    key = expected or _symmetric(request, key_id)
    try:
        plaintext, used = material.decrypt(blob, key.materials, context)
    except material.NotOurs:
        raise Refused("InvalidCiphertextException") from None
    return key, plaintext, used.id


def _recipient(request: Request) -> rsa.RSAPublicKey | None:
    """The key of the attested machine that alone may read the answer; None if everybody may. Raises `Refused`."""
    recipient = request.parameters.get("Recipient")
    try:
        return recipients.key_of(request.kms, recipient) if recipient is not None else None
    except Invalid as reason:
        raise Refused("ValidationException", f"The attestation document is not valid: {reason}.") from None


def _handed_out(recipient: rsa.RSAPublicKey | None, plaintext: bytes) -> dict[str, Any]:
    """The plaintext as the caller gets it."""
    if recipient is None:
        return {"Plaintext": plaintext}
    return {"CiphertextForRecipient": recipients.envelope(plaintext, recipient)}


def re_encrypt(request: Request) -> dict[str, Any]:
    """ReEncrypt."""
    source, plaintext, used = _opened(request, "SourceKeyId", _context(request, "SourceEncryptionContext"))
    key = _symmetric(request, request.parameters["DestinationKeyId"], "DestinationEncryptionAlgorithm")
    _run(request)
    context = _context(request, "DestinationEncryptionContext")
    return {
        "CiphertextBlob": material.encrypt(key.id, key.materials[-1], plaintext, context),
        "KeyId": key.arn,
        "SourceKeyId": source.arn,
        "SourceEncryptionAlgorithm": _ALGORITHM,
        "DestinationEncryptionAlgorithm": _ALGORITHM,
        "SourceKeyMaterialId": used,
        "DestinationKeyMaterialId": key.materials[-1].id,
    }


def generate_data_key(request: Request) -> dict[str, Any]:
    """GenerateDataKey."""
    recipient = _recipient(request)
    told, plaintext = _data_key(request)
    return {**told, **_handed_out(recipient, plaintext)}


def generate_data_key_without_plaintext(request: Request) -> dict[str, Any]:
    """GenerateDataKeyWithoutPlaintext."""
    return _data_key(request)[0]


def _data_key(request: Request) -> tuple[dict[str, Any], bytes]:
    spec, size = request.parameters.get("KeySpec"), request.parameters.get("NumberOfBytes")
    if (spec is None) == (size is None):
        raise Refused("ValidationException", _EITHER)
    key = _symmetric(request, request.parameters["KeyId"])
    _run(request)
    plaintext, used = secrets.token_bytes(_DATA_KEYS[spec] if spec else int(size or 0)), key.materials[-1]
    blob = material.encrypt(key.id, used, plaintext, _context(request))
    return {"CiphertextBlob": blob, "KeyId": key.arn, "KeyMaterialId": used.id}, plaintext


def generate_random(request: Request) -> dict[str, Any]:
    """GenerateRandom, which uses no key."""
    size = request.parameters.get("NumberOfBytes")
    if size is None:
        raise Refused("ValidationException", "NumberOfBytes is required.")
    return _handed_out(_recipient(request), secrets.token_bytes(int(size)))


OTHERS: Final = {
    "Sign": ("SIGN_VERIFY",),
    "Verify": ("SIGN_VERIFY",),
    "GenerateMac": ("GENERATE_VERIFY_MAC",),
    "VerifyMac": ("GENERATE_VERIFY_MAC",),
    "GetPublicKey": ("ENCRYPT_DECRYPT", "SIGN_VERIFY", "KEY_AGREEMENT"),
}
"""What moto does, and the key usages that it needs."""


def check_other(request: Request) -> None:
    """Whether a key may be used for one of `OTHERS`. Raises `Refused`."""
    key = usable(request, request.parameters["KeyId"], OTHERS[request.operation])
    if request.operation == "GetPublicKey" and key.key_spec == _ALGORITHM:
        raise unsupported(f"{key.arn} is not an asymmetric key.")
