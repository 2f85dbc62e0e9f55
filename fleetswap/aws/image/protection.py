"""The protection of an AMI from deregistration. The client retries passing errors; every call is safe to repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from fleetswap.aws.errors import code, explained

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ABSENT = frozenset({"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"})
"""What EC2 says of an AMI that does not exist, or that was just deregistered (EC2 API reference, Error codes)."""


def protect(ec2: EC2Client, image: str) -> None:
    """Let EC2 refuse to deregister it. Without a cooldown, which would delay its retirement by 24 hours."""
    with explained("ec2:EnableImageDeregistrationProtection", image):
        ec2.enable_image_deregistration_protection(ImageId=image)


def lift(ec2: EC2Client, image: str) -> None:
    """Let it be deregistered, or find it gone. One that somebody protected with a cooldown stays so for 24 hours."""
    with explained("ec2:DisableImageDeregistrationProtection", image):
        try:
            ec2.disable_image_deregistration_protection(ImageId=image)
        except ClientError as error:
            if code(error) not in ABSENT:
                raise


def is_protected(ec2: EC2Client, image: str) -> bool:
    """Whether EC2 refuses to deregister it; False for one that is gone."""
    with explained("ec2:DescribeImages", image):
        try:
            found = ec2.describe_images(ImageIds=[image])["Images"]
        except ClientError as error:
            if code(error) in ABSENT:
                return False
            raise
    return any(each.get("DeregistrationProtection", "disabled").startswith("enabled") for each in found)
