"""Which image each release of a service has, by the tags of its AMI: also of those without machines.

A snapshot cannot say so: two releases that differ in their machines alone share one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fleetswap.aws.errors import explained
from fleetswap.domain import tags

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def identities(ec2: EC2Client, stack: str, service: str) -> Mapping[str, str]:
    """The identity of the image of each release, by release. Raises `CloudError`."""
    wanted = {tags.STACK: stack, tags.SERVICE: service}
    found: dict[str, str] = {}
    with explained("ec2:DescribeImages", "*"):
        pages = ec2.get_paginator("describe_images").paginate(
            Owners=["self"], Filters=[{"Name": f"tag:{key}", "Values": [value]} for key, value in wanted.items()]
        )
        for page in pages:
            for each in page["Images"]:
                its = {tag["Key"]: tag["Value"] for tag in each.get("Tags", ())}
                if tags.RELEASE in its and tags.IMAGE in its:
                    found[its[tags.RELEASE]] = its[tags.IMAGE]
    return dict(sorted(found.items()))
