"""What every component of a stack needs: the stack, the place of its resources, and the one tag policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi_aws as aws

from fleetswap.domain import tags
from fleetswap.domain.rollout import rollout_tags

ENDPOINT_SERVICES = ("autoscaling", "ec2", "elbv2", "iam", "sts")
"""The services that the AWS provider speaks to for this program, by the provider's names."""


@dataclass(frozen=True)
class Context:
    """The identity of one stack. `endpoint` is a local cloud's address, or None for AWS itself.

    `account` is the only one that the provider may work in.
    """

    stack: str
    service: str
    region: str
    endpoint: str | None = None
    account: str | None = None
    extra_tags: Mapping[str, str] = field(default_factory=dict)

    def tags(self, name: str, *, release: str | None = None, image: str | None = None) -> dict[str, str]:
        """The tags of one resource, according to the tag policy."""
        return tags.policy(self.stack, self.service, name=name, release=release, image=image, extra=self.extra_tags)

    def provider(self) -> aws.Provider:
        """The AWS provider of all resources of the stack: explicit, so that no default provider is used."""
        # A refresh must not take the tags by which rollouts speak to each other for drift, nor an update remove them.
        ignored = aws.ProviderIgnoreTagsArgs(keys=list(rollout_tags.ALL_KEYS))
        if self.endpoint is None:
            # With another account's credentials a refresh would find nothing, and a destroy forget what still runs.
            accounts = None if self.account is None else [self.account]
            return aws.Provider("aws", region=self.region, ignore_tags=ignored, allowed_account_ids=accounts)
        return aws.Provider(
            "aws",
            region=self.region,
            ignore_tags=ignored,
            endpoints=[dict.fromkeys(ENDPOINT_SERVICES, self.endpoint)],
            skip_credentials_validation=True,
            skip_metadata_api_check=True,
        )
