"""Reads the state of KMS keys. Changes nothing, and decides nothing: see `fleetswap.domain.secrets.key_state`.

Asked only about keys that the settings or a release name.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from fleetswap.aws.errors import Meaning, code, explained, meaning
from fleetswap.domain.errors import CloudError, NotFound, TryAgain
from fleetswap.domain.secrets.key_state import DENIED, MISSING, SYMMETRIC, UNANSWERED, KeyState, region_of
from fleetswap.domain.text import one_line

if TYPE_CHECKING:
    from fleetswap.aws.session import Cloud


class Keys:
    """The keys of a `Cloud`. Safe to share between threads."""

    def __init__(self, cloud: Cloud) -> None:
        """No call is made, and no client, before something is asked."""
        self._cloud = cloud

    def state(self, arn: str) -> KeyState:
        """The state of a key (DescribeKey), asked in the key's own region.

        A key that does not exist, one that may not be described, and one about which KMS does not answer after
        botocore's retries are states as well, as no deploy should end in an error about a question. KMS says
        "access denied" of another account's key that does not exist. Any other refusal is a `CloudError`: with such
        credentials, nothing else would work either.
        """
        try:
            with explained("kms:DescribeKey", arn):
                found = self._cloud.kms(region_of(arn)).describe_key(KeyId=arn)["KeyMetadata"]
        except NotFound:
            return KeyState(arn, MISSING)
        except TryAgain as error:
            return KeyState(arn, UNANSWERED, told=str(error))
        except CloudError as error:
            if (words := _denial(error.__cause__)) is None:
                raise
            return KeyState(arn, DENIED, told=words)
        deletion = found.get("DeletionDate")
        return KeyState(
            arn,
            str(found["KeyState"]),
            deletion=f"{deletion.astimezone(UTC):%Y-%m-%d}" if deletion is not None else "",
            spec=str(found.get("KeySpec", SYMMETRIC)),
        )


def _denial(error: BaseException | None) -> str | None:
    """KMS's own words, which say whose policy denies it; None of anything else than a denial."""
    if not isinstance(error, ClientError) or meaning(code(error)) is not Meaning.DENIED:
        return None
    return one_line(f"{code(error)}: {error.response.get('Error', {}).get('Message', '')}")
