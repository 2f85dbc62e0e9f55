"""Connects the commands to AWS: the region, the credentials, and a check that there are any before anything is read.

It makes no call to EBS or EC2.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import botocore.session
from botocore.exceptions import BotoCoreError

from fleetswap.aws import credentials
from fleetswap.aws.caller import admitted
from fleetswap.aws.errors import NO_CREDENTIALS, meant
from fleetswap.aws.image.block_writer import BlockPuts
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.session import Cloud
from fleetswap.cli.way import Way
from fleetswap.domain.errors import CloudError, InputError
from fleetswap.domain.text import one_line

_REGION = re.compile(r"[a-z]{2,6}(-[a-z]+)+-[0-9]+")
"""How every region's name is made, also those that this botocore does not know yet."""


@dataclass(frozen=True)
class Joined:
    """The ports on AWS."""

    region: str
    port: DirectSnapshots
    puts: BlockPuts


def join(way: Way, *, connections: int) -> Joined:
    """The ports of a region. `InputError` if there is no region, no credentials, or an invalid AWS setting."""
    with joining(way) as cloud:
        ebs, ec2 = cloud.ebs_and_ec2(connections)
        return Joined(cloud.region, DirectSnapshots(ebs, ec2), BlockPuts.of(cloud, ebs))


@contextmanager
def joining(way: Way) -> Iterator[Cloud]:
    """AWS in a region, to create clients in this context. `InputError` as from `join`, or for another account."""
    endpoint = way.endpoint
    if endpoint is not None and (urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).netloc):
        raise InputError(
            f"--endpoint-url {endpoint} is not a URL: it must start with https:// or http:// and name a host"
        )
    with configured():
        cloud = Cloud(region_of(way), endpoint, way.access)
        if cloud.credentials()() is None:
            raise InputError(_local_credentials(endpoint) or NO_CREDENTIALS)
        yield admitted(cloud)


@contextmanager
def configured() -> Iterator[None]:
    """Raise as `InputError` what botocore refuses in the AWS configuration while clients are created."""
    try:
        yield
    except BotoCoreError as error:
        raise InputError(str(meant(error, "connecting to AWS"))) from error
    except ValueError as error:  # botocore's, for an endpoint that is no URL
        raise InputError(f"the AWS configuration is not valid: {one_line(error)}") from error


@contextmanager
def in_region(region: str, endpoint: str | None) -> Iterator[None]:
    """Add to an error of AWS that the region may be the cause, if botocore does not know that region."""
    try:
        yield
    except CloudError as error:
        if endpoint is None and not _known(region):
            error.args = (f"{error} (check the region's name: this version of botocore does not know {region})",)
        raise


def _local_credentials(endpoint: str | None) -> str:
    """What the local cloud wants; nothing if this is not it: no login helps there."""
    if endpoint is not None and urlsplit(endpoint).hostname in ("127.0.0.1", "localhost"):
        return "no AWS credentials: the local cloud accepts any (AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local)"
    return ""


def region_of(way: Way) -> str:
    """The region that is meant, by an option, the settings, or the environment. `InputError` if there is none."""
    # AWS_REGION is what the other SDKs read, and what Lambda and CI systems set; botocore reads AWS_DEFAULT_REGION.
    name = way.region or os.environ.get("AWS_REGION")
    if not name:
        name = credentials.session("", way.endpoint, way.access).get_config_variable("region")
    if not name:
        raise InputError("no AWS region: use --region, or set AWS_REGION")
    if not _REGION.fullmatch(name):
        raise InputError(f"{name!r} is not the name of an AWS region, such as us-east-1")
    return str(name)


def _known(region: str) -> bool:
    session = botocore.session.Session()
    return any(region in session.get_available_regions("ebs", each) for each in session.get_available_partitions())
