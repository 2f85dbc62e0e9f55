"""What every component of a stack needs: the stack, the place of its resources, and the one tag policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import pulumi

from fleetswap.domain import access, tags
from fleetswap.domain.rollout import rollout_tags

if TYPE_CHECKING:
    import pulumi_aws

ENDPOINT_SERVICES = ("autoscaling", "ec2", "elbv2", "iam", "sts")
"""The services that the AWS provider speaks to for this program, by the provider's names."""


@dataclass(frozen=True)
class Context:
    """The identity of one stack. `endpoint` is a local cloud's address, or None for AWS itself.

    `account` is the only one that may be worked in, and `aws` says how it is reached.
    """

    stack: str
    service: str
    region: str
    endpoint: str | None = None
    account: str | None = None
    extra_tags: Mapping[str, str] = field(default_factory=dict)
    aws: access.Settings = field(default_factory=access.Settings)
    boundary: str | None = None
    """ARN of the permissions boundary of every role."""
    path: str = "/"
    """Of the roles that are not a release's, whose own entry says it."""
    more_services: tuple[str, ...] = ()
    """What the AWS provider speaks to besides `ENDPOINT_SERVICES`."""
    parents: tuple[str, ...] = ()
    """The types above every component: none, or that of a further region's component."""

    @property
    def access(self) -> access.Access:
        """How all that talks to AWS for this stack does so."""
        return self.aws.access if self.account is None else self.aws.access.only(self.account)

    @property
    def reach(self) -> dict[str, Any] | None:
        """The same as the input `access` of a dynamic resource."""
        return self.access.plain() or None

    def tags(self, name: str, *, release: str | None = None, image: str | None = None) -> dict[str, str]:
        """The tags of one resource, according to the tag policy."""
        return tags.policy(self.stack, self.service, name=name, release=release, image=image, extra=self.extra_tags)

    def provider(self, parent: pulumi.Resource | None = None) -> pulumi_aws.Provider:
        """The AWS provider of all resources of the region: explicit, so that no default provider is used.

        It has no default tags: every resource has all of them by the tag policy, also those that are not the
        provider's, and a group's machines.
        """
        import pulumi_aws  # noqa: PLC0415 (the dynamic providers import this module, and make no such resource)

        opts = pulumi.ResourceOptions(parent=parent)
        return pulumi_aws.Provider("aws", pulumi_aws.ProviderArgs(**self._provider_arguments()), opts)

    def _provider_arguments(self) -> dict[str, Any]:
        import pulumi_aws  # noqa: PLC0415 (as above)

        # A refresh must not take the tags by which rollouts speak to each other for drift, nor an update remove them.
        keys = [*rollout_tags.ALL_KEYS, *self.aws.ignored_keys]
        ignored = pulumi_aws.ProviderIgnoreTagsArgs(keys=keys, key_prefixes=list(self.aws.ignored_prefixes) or None)
        # With another account's credentials a refresh would find nothing, and a destroy forget what still runs. On a
        # local cloud the provider does not ask for its account.
        way = self.access if self.endpoint is None else self.aws.access
        arguments = _arguments(way)
        web, roles = way.assume_role_with_web_identity, way.assume_roles
        if web is not None:
            arguments["assume_role_with_web_identity"] = pulumi_aws.ProviderAssumeRoleWithWebIdentityArgs(
                **_arguments(web)
            )
        if roles:
            arguments["assume_roles"] = [pulumi_aws.ProviderAssumeRoleArgs(**_arguments(role)) for role in roles]
        arguments |= dict(self.aws.provider) | {"region": self.region, "ignore_tags": ignored}
        endpoints = dict(way.endpoints)
        if self.endpoint is not None:
            endpoints = dict.fromkeys((*ENDPOINT_SERVICES, *self.more_services), self.endpoint) | endpoints
            arguments |= {"skip_credentials_validation": True, "skip_metadata_api_check": True}
        return arguments | ({"endpoints": [endpoints]} if endpoints else {})


def _arguments(of: access.Access | access.AssumedRole | access.WebIdentity) -> dict[str, Any]:
    """What is set, as the provider's classes take it: lists, and durations in Go's form."""
    given = ((each.name, getattr(of, each.name)) for each in fields(of))
    return {
        name: f"{value}s" if name == "duration" else list(value) if isinstance(value, tuple) else value
        for name, value in given
        if value not in (None, (), {}, False)
    }
