"""Reads the state of KMS keys. Changes nothing, and decides nothing: see `fleetswap.domain.secrets.key_state`.

Asked only about keys that the settings or a release name.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from fleetswap.aws.account import Account
from fleetswap.aws.errors import Meaning, code, explained, meaning
from fleetswap.domain.errors import CloudError, NotFound, TryAgain
from fleetswap.domain.release.default_key import EbsDefault, KeyAccess, may_launch
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
            manager=str(found.get("KeyManager", "CUSTOMER")),
        )

    def ebs_default(self) -> EbsDefault:
        """How EBS encrypts in the region what names no key; unknown if that may not be asked, or is not answered."""
        try:
            return Account(self._cloud).ebs_default()
        except CloudError as error:
            return EbsDefault(told=_no_answer(error))

    def access(self, arn: str, role: str) -> KeyAccess:
        """What a key's policy says (GetKeyPolicy) and, if the policy may not be enough, which grants the role has.

        What may not be read, or is not answered, is unknown. KMS shows the policy to the key's own account alone.
        """
        kms = self._cloud.kms(region_of(arn))
        policy, told = None, []
        try:
            with explained("kms:GetKeyPolicy", arn):
                policy = str(kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"])
        except CloudError as error:
            told.append(_no_answer(error))
        if policy is not None and may_launch(KeyAccess(policy), role):
            return KeyAccess(policy)
        try:
            with explained("kms:ListGrants", arn):
                pages = kms.get_paginator("list_grants").paginate(KeyId=arn, GranteePrincipal=role)
                granted = frozenset(
                    operation for page in pages for grant in page["Grants"] for operation in grant["Operations"]
                )
        except CloudError as error:
            return KeyAccess(policy, told="; ".join((*told, _no_answer(error))))
        return KeyAccess(policy, granted, "; ".join(told))


def _no_answer(error: CloudError) -> str:
    """Why a question has no answer. Raises the error if, with such credentials, nothing else would work either."""
    if isinstance(error, (NotFound, TryAgain)):
        return str(error)
    if (words := _denial(error.__cause__)) is None:
        raise error
    return words


def _denial(error: BaseException | None) -> str | None:
    """KMS's own words, which say whose policy denies it; None of anything else than a denial."""
    if not isinstance(error, ClientError) or meaning(code(error)) is not Meaning.DENIED:
        return None
    return one_line(f"{code(error)}: {error.response.get('Error', {}).get('Message', '')}")
