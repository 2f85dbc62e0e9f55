"""boto3 sessions with the credentials of a provider's configuration: keys, a profile, a token, roles to assume.

As the official plugin finds them (aws-sdk-go-base): a profile that is given goes before keys in the environment, a
token before both, and each role is assumed with the session of the one before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.aws_plugin.wire import Props

if TYPE_CHECKING:
    import boto3

_FILES = {"sharedConfigFiles": "config_file", "sharedCredentialsFiles": "credentials_file"}
_TEXTS = {
    "customCaBundle": "ca_bundle",
    "ec2MetadataServiceEndpoint": "ec2_metadata_service_endpoint",
    "ec2MetadataServiceEndpointMode": "ec2_metadata_service_endpoint_mode",
}
_ROLE = {
    "sessionName": "RoleSessionName",
    "externalId": "ExternalId",
    "policy": "Policy",
    "sourceIdentity": "SourceIdentity",
    "transitiveTagKeys": "TransitiveTagKeys",
}


def session(config: Props, sts: Callable[[Any], dict[str, Any]]) -> boto3.Session:
    """The session. `sts` says with what arguments an STS client of these settings is made."""
    import boto3  # noqa: PLC0415 - 0.2 s of CPU that no preview pays, nor an update without changes
    import botocore.session  # noqa: PLC0415 - the same
    from botocore import credentials  # noqa: PLC0415 - the same
    from botocore.utils import FileWebIdentityTokenLoader  # noqa: PLC0415 - the same

    plain = _plain(config)
    web, roles = config.get("assumeRoleWithWebIdentity") or {}, config.get("assumeRoles") or []
    if not web and not roles:
        return boto3.Session(botocore_session=plain)

    def client(service: str, **given: Any) -> Any:  # noqa: ANN401 - as botocore calls it
        return plain.create_client(service, **sts(given.pop("config", None)), **given)

    source = plain.get_credentials() if not web else None
    fetcher: Any
    if web:
        fetcher = credentials.AssumeRoleWithWebIdentityCredentialFetcher(
            client_creator=client,
            web_identity_token_loader=FileWebIdentityTokenLoader(web["webIdentityTokenFile"]),
            role_arn=web["roleArn"],
            extra_args=_arguments(web),
        )
        source = _refreshed("web-identity", fetcher)
    for role in roles:
        fetcher = credentials.AssumeRoleCredentialFetcher(
            client_creator=client, source_credentials=source, role_arn=role["roleArn"], extra_args=_arguments(role)
        )
        source = _refreshed("assume-role", fetcher)
    made = botocore.session.Session()
    made.get_component("credential_provider").providers.insert(0, _Given(source))
    return boto3.Session(botocore_session=made)


def _plain(config: Props) -> Any:  # noqa: ANN401 - botocore's own
    """A botocore session without the roles."""
    import botocore.session  # noqa: PLC0415 - as above

    plain = botocore.session.Session(profile=config.get("profile") or None)
    for name, there in _FILES.items():
        if config.get(name):
            plain.set_config_variable(there, config[name][0])
    for name, there in _TEXTS.items():
        if config.get(name):
            plain.set_config_variable(there, config[name])
    if config.get("accessKey"):
        plain.set_credentials(config["accessKey"], config["secretKey"], config.get("token") or None)
    if config.get("skipMetadataApiCheck"):
        plain.get_component("credential_provider").remove("iam-role")
    return plain


def _refreshed(method: str, fetcher: Any) -> Any:  # noqa: ANN401 - botocore's own
    from botocore.credentials import DeferredRefreshableCredentials  # noqa: PLC0415 - as above

    return DeferredRefreshableCredentials(method=method, refresh_using=fetcher.fetch_credentials)


class _Given:
    """Stands first in a chain of credentials."""

    METHOD = "given"
    CANONICAL_NAME = None

    def __init__(self, credentials: Any) -> None:  # noqa: ANN401 - botocore's own
        self._credentials = credentials

    def load(self) -> Any:  # noqa: ANN401 - the same
        """The credentials."""
        return self._credentials


def _arguments(role: dict[str, Any]) -> dict[str, Any]:
    """The parameters of AssumeRole besides the role."""
    given = {there: role[name] for name, there in _ROLE.items() if role.get(name)}
    if role.get("duration"):
        given["DurationSeconds"] = seconds(role["duration"])
    if role.get("policyArns"):
        given["PolicyArns"] = [{"arn": arn} for arn in role["policyArns"]]
    if role.get("tags"):
        given["Tags"] = [{"Key": key, "Value": value} for key, value in role["tags"].items()]
    return given


def seconds(duration: str) -> int:
    """A duration as Go writes it, such as `1h30m`. ValueError for any other text."""
    parts = re.findall(r"(\d+)(h|m|s)", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        message = f"{duration!r} is not a duration"
        raise ValueError(message)
    return sum(int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)
