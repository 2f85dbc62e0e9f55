"""botocore sessions with the credentials and endpoints of an `Access`: a profile's, a token's, a chain of roles'.

It decides nothing and makes no call: a session assumes its roles when a client first signs, and again before they
expire, as botocore does it for a role in a profile.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    AssumeRoleWithWebIdentityCredentialFetcher,
    CredentialProvider,
    Credentials,
    DeferredRefreshableCredentials,
)
from botocore.utils import FileWebIdentityTokenLoader

from fleetswap.domain.access import Access, AssumedRole, WebIdentity

SESSION_NAME = "fleetswap"
"""Of an assumed role, unless the settings name it: CloudTrail shows it with each call."""

ALIASES = {"elbv2": ("elbv2", "elasticloadbalancingv2")}
"""Names of a service among the provider's endpoints, where they are not boto3's."""


def session(region: str, endpoint: str | None, access: Access, *, anew: bool = False) -> botocore.session.Session:
    """A session whose clients have these credentials. Roles that this process has assumed are not assumed again.

    Unless `anew`: then they are, because AWS says that what was kept has expired.
    """
    made = _plain_session(access)
    if access.assume_roles or access.assume_role_with_web_identity:
        key = json.dumps(access.plain(), sort_keys=True)
        find = _chain.__wrapped__ if anew else _chain
        made.get_component("credential_provider").providers.insert(0, _Assumed(lambda: find(region, endpoint, key)))
    return made


def client_options(service: str, endpoint: str | None, access: Access, config: Config) -> dict[str, Any]:
    """What a client is made with besides its region. AWS has no FIPS or dual-stack variant of an endpoint of one's own
    (botocore refuses both together), as with the provider.
    """
    names = ALIASES.get(service, (service,))
    url = next((access.endpoints[name] for name in names if name in access.endpoints), endpoint)
    if url is None:
        variants = {
            name: True
            for name, wanted in (
                ("use_fips_endpoint", access.use_fips_endpoint),
                ("use_dualstack_endpoint", access.use_dualstack_endpoint),
            )
            if wanted
        }
        config = config.merge(Config(**variants)) if variants else config  # type: ignore[arg-type] # two flags
    return {"endpoint_url": url, "config": config}


class _Assumed(CredentialProvider):
    """Stands first in a session's chain of credentials."""

    METHOD = "fleetswap-assumed-role"

    def __init__(self, find: Callable[[], Credentials | None]) -> None:
        super().__init__()
        self._find = find

    def load(self) -> Credentials | None:
        return self._find()


def _plain_session(access: Access) -> botocore.session.Session:
    """A session without the roles. A profile that is named here goes before keys in the environment, as in Go's SDK."""
    made = botocore.session.Session(profile=access.profile)
    variables = {
        "config_file": next(iter(access.shared_config_files), None),
        "credentials_file": next(iter(access.shared_credentials_files), None),
        "ca_bundle": access.custom_ca_bundle,
        "ec2_metadata_service_endpoint": access.ec2_metadata_service_endpoint,
        "ec2_metadata_service_endpoint_mode": access.ec2_metadata_service_endpoint_mode,
    }
    for name, value in variables.items():
        if value is not None:
            made.set_config_variable(name, value)
    if access.skip_metadata_api_check:
        made.get_component("credential_provider").remove("iam-role")
    return made


@lru_cache(maxsize=16)
def _chain(region: str, endpoint: str | None, plain: str) -> Credentials | None:
    """The credentials of the last role; None if there are none to assume the first one with."""
    access = Access.of(json.loads(plain))
    base = _plain_session(access)

    def sts(service: str, **given: Any) -> Any:  # noqa: ANN401 - botocore's own signature
        config = given.pop("config", None) or Config()
        options = client_options("sts", endpoint, access, config)
        return base.create_client(service, region_name=access.sts_region or region, **options, **given)

    web = access.assume_role_with_web_identity
    source = base.get_credentials() if web is None else _with_token(web, sts)
    for role in access.assume_roles:
        if source is None:
            return None
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=sts, source_credentials=source, role_arn=role.role_arn, extra_args=_arguments(role)
        )
        source = DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)
    return source


def _with_token(web: WebIdentity, sts: Callable[..., Any]) -> Credentials:
    fetcher = AssumeRoleWithWebIdentityCredentialFetcher(
        client_creator=sts,
        web_identity_token_loader=FileWebIdentityTokenLoader(web.web_identity_token_file),
        role_arn=web.role_arn,
        extra_args=_arguments(web),
    )
    return DeferredRefreshableCredentials(
        method="assume-role-with-web-identity", refresh_using=fetcher.fetch_credentials
    )


def _arguments(role: AssumedRole | WebIdentity) -> dict[str, Any]:
    """The parameters of AssumeRole and of AssumeRoleWithWebIdentity, besides the role."""
    given: dict[str, Any] = {
        "RoleSessionName": role.session_name or SESSION_NAME,
        "DurationSeconds": role.duration,
        "Policy": role.policy,
        "PolicyArns": [{"arn": arn} for arn in role.policy_arns],
    }
    if isinstance(role, AssumedRole):
        given |= {
            "ExternalId": role.external_id,
            "SourceIdentity": role.source_identity,
            "Tags": [{"Key": key, "Value": value} for key, value in role.tags.items()],
            "TransitiveTagKeys": list(role.transitive_tag_keys),
        }
    return {name: value for name, value in given.items() if value}
