"""The policy of one KMS key. `fleetswap.workflows.key_policy` changes it. The client retries passing errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from fleetswap.aws.errors import code, explained
from fleetswap.domain.errors import Invalid, NotFound
from fleetswap.domain.secrets.key_state import DOOMED

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

PENDING = "KMSInvalidStateException"
"""Of a key that is not ready to be changed (KMS API reference, PutKeyPolicy). One that waits for its deletion still
takes a policy, by the developer guide ("Key states of AWS KMS keys")."""

MALFORMED = "MalformedPolicyDocumentException"
"""Also for a principal that KMS does not know (yet)."""


class KeyPolicy:
    """Implements `fleetswap.workflows.key_policy.Policies`."""

    def __init__(self, kms: KMSClient, key: str) -> None:
        """`key` is the key's ARN."""
        self._kms = kms
        self._key = key

    def read(self) -> str:
        """The policy, as JSON."""
        with explained("kms:GetKeyPolicy", self._key):
            return str(self._kms.get_key_policy(KeyId=self._key, PolicyName="default")["Policy"])

    def is_doomed(self) -> bool:
        """Whether the key waits for its deletion (KMS API reference, KeyMetadata)."""
        with explained("kms:DescribeKey", self._key):
            return self._kms.describe_key(KeyId=self._key)["KeyMetadata"]["KeyState"] in DOOMED

    def write(self, policy: str) -> None:
        """Replace the policy."""
        with explained("kms:PutKeyPolicy", self._key):
            try:
                self._kms.put_key_policy(KeyId=self._key, PolicyName="default", Policy=policy)
            except ClientError as error:
                told = f"kms:PutKeyPolicy on {self._key}: {error.response['Error'].get('Message', '').rstrip('.')}"
                if code(error) == PENDING:
                    raise NotFound(told) from error
                if code(error) == MALFORMED:
                    raise Invalid(told) from error
                raise
