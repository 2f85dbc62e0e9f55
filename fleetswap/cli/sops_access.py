"""Connects sops to AWS as the other commands are: the credentials, the endpoint and the certificates of the settings.

sops knows only the environment, so it gets one. What sops or a shell has of its own there stays out of it: a recipient
in SOPS_AGE_RECIPIENTS, say, could open every file that is sealed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from botocore.credentials import Credentials

from fleetswap.aws.errors import explaining, refusal
from fleetswap.cli.connect import joining
from fleetswap.cli.way import Way
from fleetswap.domain.errors import CloudError, FleetswapError
from fleetswap.sops import program
from fleetswap.sops.program import KeyRefused, Sops, SopsError

KMS = "kms"

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

WHOSE = (
    *CREDENTIALS,
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
)
"""What says whose credentials are taken, in the AWS SDK for Go (`config/env_config.go`)."""

REMEDIES = {
    "InvalidCiphertextException": (
        "KMS cannot open its data key",
        "it was sealed in another environment, or its metadata was changed: restore it from version control",
    ),
    "IncorrectKeyException": (
        "its data key is not of the KMS key that it names",
        "its metadata was changed: restore it from version control",
    ),
    "DisabledException": ("the KMS key is disabled", "enable it with `aws kms enable-key`"),
    "KMSInvalidStateException": (
        "the KMS key cannot be used",
        "if it is scheduled for deletion, keep it with `aws kms cancel-key-deletion`, then `aws kms enable-key`",
    ),
    "NotFoundException": (
        "the KMS key does not exist",
        "check that the credentials are of its account; if the stack has a new key, run `fleetswap secrets init`",
    ),
}
"""What errors of KMS mean for a sealed file (KMS API reference, Decrypt and Encrypt), and what to do."""

DENIED = {
    "Decrypt": "add your role to `editors` of fleetswap:secrets and run `pulumi up`",
    "Encrypt": "allow kms:Encrypt on the key in your IAM policy (`fleetswap permissions` prints it)",
}
"""What to do about a denial, by the operation."""


@contextmanager
def connected(way: Way, rules: Path, region: str | None) -> Iterator[Sops]:
    """The sops on PATH, with access to KMS. `InputError` if there is no sops, no credentials, or another account's.

    `region` is that of the key, for where no setting names one.
    """
    found = program.find()
    with joining(Way(way.region or region, way.endpoint, way.access)) as cloud:
        with explaining("reading the AWS credentials"):
            credentials = cloud.credentials()()
            frozen = credentials.get_frozen_credentials() if isinstance(credentials, Credentials) else None
        given = tuple(frozen or ())[:3]
    yield Sops(found, environment(os.environ, way, dict(zip(CREDENTIALS, given, strict=False))), rules)


def environment(given: Mapping[str, str], way: Way, credentials: Mapping[str, str | None]) -> dict[str, str]:
    """What sops is started with. Keys in the environment go before a profile there, which may still say endpoints."""
    made = {name: value for name, value in given.items() if not name.startswith("SOPS_") and name not in WHOSE}
    if profile := way.access.profile or given.get("AWS_PROFILE"):
        made["AWS_PROFILE"] = profile
    access = way.access
    settings = {
        **credentials,
        "AWS_ENDPOINT_URL_KMS": access.endpoints.get(KMS, way.endpoint),
        "AWS_CONFIG_FILE": next(iter(access.shared_config_files), None),
        "AWS_SHARED_CREDENTIALS_FILE": next(iter(access.shared_credentials_files), None),
        "AWS_CA_BUNDLE": access.custom_ca_bundle,
        "AWS_USE_FIPS_ENDPOINT": "true" if access.use_fips_endpoint else None,
        "AWS_USE_DUALSTACK_ENDPOINT": "true" if access.use_dualstack_endpoint else None,
    }
    made |= {name: value for name, value in settings.items() if value}
    return made


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Say of which file an error of sops is, and what to do about what KMS answered."""
    try:
        yield
    except KeyRefused as error:
        raise _meant(error, name) from error
    except SopsError as error:
        raise SopsError(f"{name}: {error}") from error


def _meant(error: KeyRefused, name: str) -> FleetswapError:
    doing = f"{'opening' if error.operation == 'Decrypt' else 'sealing'} {name}"
    told = ": ".join(each for each in (error.code, error.words) if each)
    if not error.code:
        return CloudError(f"{doing}: no answer from KMS: check the network and the endpoint, then try again")
    if error.code in REMEDIES:
        what, remedy = REMEDIES[error.code]
        return CloudError(f"{doing}: {what}: {remedy} ({told})")
    if error.code == "AccessDeniedException" and error.operation in DENIED:
        return CloudError(f"{doing}: KMS denies access: {DENIED[error.operation]} ({told})")
    permission = f"kms:{error.operation}"
    return refusal(doing, (permission,), code=error.code, message=error.words, status=error.status)
