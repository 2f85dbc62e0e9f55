"""Of what sops prints, only KMS's own answer is taken; as sops 3.11 printed it, against AWS's texts."""

from __future__ import annotations

import pytest

from fleetswap.sops.program import KeyRefused, SopsError, fail

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
SECRET = "hunter2-very-secret"

DECRYPT = f"""Failed to get the data key required to decrypt the SOPS file.

Group 0: FAILED
  {KEY}|Environment:shop/prod: FAILED
    - | failed to decrypt sops data key with AWS KMS: operation
      | error KMS: Decrypt, https response error StatusCode: 400,
      | RequestID: 5f2ad3c5-8c7d-4bd1-a6b9-1b2a0f3e7d11,
      | {{}}

Recovery failed because no master key was able to decrypt the file. In
order for SOPS to recover the file, at least one key has to be successful,
but none were."""
ENCRYPT = (
    f'Could not generate data key: [failed to encrypt new data key with master key "{KEY}|Environment:shop/prod":'
    " failed to encrypt sops data key with AWS KMS: operation error KMS: Encrypt, {}]"
)
DENIAL = (
    "User: arn:aws:sts::111122223333:assumed-role/dev/ann is not\n      | authorized to perform: kms:Decrypt on"
    " resource: KEY because\n      | no identity-based policy allows the kms:Decrypt action"
)


@pytest.mark.parametrize(
    ("status", "text", "operation", "code", "words"),
    [
        (128, DECRYPT.format("InvalidCiphertextException:"), "Decrypt", "InvalidCiphertextException", ""),
        (
            128,
            DECRYPT.format("DisabledException: key is disabled."),
            "Decrypt",
            "DisabledException",
            "key is disabled.",
        ),
        (
            128,
            DECRYPT.format(f"api error AccessDeniedException: {DENIAL}"),
            "Decrypt",
            "AccessDeniedException",
            "User: arn:aws:sts::111122223333:assumed-role/dev/ann is not authorized to perform: kms:Decrypt on"
            " resource: KEY because no identity-based policy allows the kms:Decrypt action",
        ),
        (
            1,
            ENCRYPT.format(
                "https response error StatusCode: 400, RequestID: 5f2a, NotFoundException: Key 'x' does not exist"
            ),
            "Encrypt",
            "NotFoundException",
            "Key 'x' does not exist",
        ),
        (
            1,
            ENCRYPT.format(
                "exceeded maximum number of attempts, 3, https response error StatusCode: 0, RequestID: , request send"
                ' failed, Post "https://kms.eu-central-1.amazonaws.com/": dial tcp: i/o timeout'
            ),
            "Encrypt",
            "",
            "",
        ),
        (
            128,
            DECRYPT.format("exceeded maximum number of attempts, 3").replace("400", "0"),
            "Decrypt",
            "",
            "",
        ),
    ],
)
def test_the_answer_of_kms_is_found(status: int, text: str, operation: str, code: str, words: str) -> None:
    """A missing permission would look like a broken file, and nobody know which one is missing."""
    with pytest.raises(KeyRefused) as refused:
        fail(status, text)
    assert (refused.value.operation, refused.value.code, refused.value.words) == (operation, code, words)


@pytest.mark.parametrize("status", [1, 2, 4, 21, 23, 25, 51, 52, 128, 200, 203, -9])
def test_nothing_else_is_taken(status: int) -> None:
    """A secret in another error would be printed, also one that looks like an answer of KMS."""
    answer = f"operation error KMS: Decrypt, https response error StatusCode: 400, RequestID: x, {SECRET}: {SECRET}"
    with pytest.raises(SopsError) as failed:
        fail(status, f"Error unmarshalling file: {SECRET}\n{SECRET if status == 128 else answer}")
    assert SECRET not in str(failed.value)
    assert not isinstance(failed.value, KeyRefused)
