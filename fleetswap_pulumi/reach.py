"""How a dynamic provider reaches AWS: what its inputs say of it, and the account that they may be used in.

The inputs are what the last update stored. A refresh and a destroy use them, as they use those of the AWS provider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import field_validator

from fleetswap.aws.caller import admitted
from fleetswap.aws.session import Cloud
from fleetswap.domain.access import Access, account_of
from fleetswap.domain.errors import InputError
from fleetswap_pulumi.checks import ProviderInputs

ACCESS = "access"
"""The input that says how to reach AWS. To change it is no reason for an upload or a rollout."""


class ReachInputs(ProviderInputs):
    """Inputs with a place in AWS. Without `access`, which older versions did not write, the environment decides."""

    region: str
    endpoint: str | None = None
    access: dict[str, Any] | None = None

    @field_validator("access")
    @classmethod
    def _is_known(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            Access.of(value or {})
        except InputError as error:
            raise ValueError(str(error)) from error
        return value

    def cloud(self) -> Cloud:
        """AWS as the inputs say, whoever the credentials belong to."""
        return Cloud(self.region, self.endpoint, Access.of(self.access or {}))

    def admitted(self, arn: str = "") -> Cloud:
        """The same, if the credentials belong to the account of the inputs and of `arn`, something that they name.

        Raises `InputError` for another account, which would find nothing: what runs would be forgotten. `TryAgain` or
        `CloudError` if that cannot be asked.
        """
        return admitted(self.cloud(), account_of(arn))


def is_reached_otherwise(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Whether the way to AWS has changed, and is to be stored.

    The account alone is no change: the program derives it, and a state of an older version has none.
    """
    before, after = (
        replace(Access.of(each.get(ACCESS) or {}), allowed_account_ids=(), forbidden_account_ids=())
        for each in (olds, news)
    )
    return before != after


def differences(
    inputs: type[ReachInputs], replacing: Sequence[str], olds: Mapping[str, Any], news: Mapping[str, Any]
) -> tuple[bool, list[str]]:
    """Whether any of the inputs has changed, and which of `replacing`, whose other value is another resource."""
    changed = [key for key in inputs.model_fields if key != ACCESS and olds.get(key) != news.get(key)]
    return bool(changed) or is_reached_otherwise(olds, news), [key for key in replacing if key in changed]
