"""Whose credentials these are: whoever is about to work in AWS has their account compared with the one that is meant.

Reads only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetswap.aws.errors import explained
from fleetswap.domain.access import Access

if TYPE_CHECKING:
    from fleetswap.aws.session import Cloud

_accounts: dict[tuple[str, str | None], str] = {}
"""The accounts of access keys, at an endpoint. Those of a key never change, and each operation asks."""


def admitted(cloud: Cloud, account: str | None = None) -> Cloud:
    """The same cloud, if its credentials belong to an account that its access allows, and to `account` if it is given.

    AWS is asked once per process and access key. Raises `InputError` for another account, `TryAgain` or `CloudError` if
    it cannot be asked.
    """
    if account is not None or cloud.access.limits_accounts:
        found = _account_of(cloud)
        cloud.access.check(found)
        if account is not None:
            Access().only(account).check(found)
    return cloud


def _account_of(cloud: Cloud) -> str:
    with explained("sts:GetCallerIdentity", cloud.region):
        credentials = cloud.credentials()()
        key = credentials.get_frozen_credentials().access_key if credentials is not None else ""
    known = (str(key), cloud.endpoint)
    if known not in _accounts:
        _accounts[known] = account_id(cloud)
    return _accounts[known]


def account_id(cloud: Cloud) -> str:
    """The 12 digits of the account. Needs no permission (STS, GetCallerIdentity). Raises `TryAgain` or `CloudError`."""
    with explained("sts:GetCallerIdentity", cloud.region):
        return str(cloud.sts().get_caller_identity()["Account"])


def caller_arn(cloud: Cloud) -> str:
    """Who the credentials are, as an ARN. Needs no permission. Raises `TryAgain` or `CloudError`."""
    with explained("sts:GetCallerIdentity", cloud.region):
        return str(cloud.sts().get_caller_identity()["Arn"])
