"""What AWS accepts as a name, a number of seconds or an ARN, as types of the settings.

AWS would refuse a name halfway through a deploy, when other resources already exist. Each limit has its source; what
AWS does not document is not checked here.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

FIRST_WORDS = {
    "internal": 'a load balancer\'s name must not begin with "internal-" (ELBv2, CreateLoadBalancer)',
    "sg": 'a security group\'s name must not begin with "sg-" (EC2, CreateSecurityGroup)',
}
"""What no name of a service may begin with: Pulumi puts a hyphen and more behind it."""


def _service(value: str) -> str:
    if "--" in value:
        raise ValueError(f"{value!r} has two hyphens in a row")
    refused = FIRST_WORDS.get(value.split("-", 1)[0])
    if refused:
        raise ValueError(f"{value!r} cannot be used: {refused}")
    return value


def _codes(value: str) -> str:
    for part in value.split(","):
        first, _, last = part.partition("-")
        if last and int(last) < int(first):
            raise ValueError(f"{part} is not a range: it starts after its end")
    return value


def _instance_type(value: str) -> str:
    if re.match(r"[a-z]+\d+g|a1\.", value):
        raise ValueError(f"{value} has an Arm processor, and images are registered for x86-64")
    return value


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """The values. A duplicate is an error: AWS would refuse it, or Pulumi would declare it twice."""
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"names {', '.join(twice)} twice")
    return values


Service = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,13}[a-z0-9]$"), AfterValidator(_service)]
"""A service's name. ELBv2 allows 32 characters (CreateTargetGroup); 15 leave room for `-` and the release's 8 hex
digits, and for the `-` and 7 hex digits that Pulumi puts behind a generated name."""

Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,6}(-[a-z]+)+-\d+$")]
"""How every region's name is made, in all of AWS's partitions (botocore, partitions.json): eusc-de-east-1, too."""

Zone = Annotated[str, StringConstraints(pattern=r"^[a-z]$")]
"""An availability zone's letter, which follows the region in its name."""

_HEX = "([0-9a-f]{8}|[0-9a-f]{17})$"
"""How an ID of EC2 ends (EC2 user guide, "Resource IDs"): older ones are short."""

VpcId = Annotated[str, StringConstraints(pattern=f"^vpc-{_HEX}")]
SubnetId = Annotated[str, StringConstraints(pattern=f"^subnet-{_HEX}")]
SecurityGroupId = Annotated[str, StringConstraints(pattern=f"^sg-{_HEX}")]
PrefixListId = Annotated[str, StringConstraints(pattern=f"^pl-{_HEX}")]

AccountId = Annotated[str, StringConstraints(pattern=r"^\d{12}$")]

InstanceType = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$"), AfterValidator(_instance_type)
]
"""Behind the generation, `g` names AWS's own Arm processor (EC2 instance types, Naming conventions); a1 is older."""

IamPath = Annotated[str, StringConstraints(pattern=r"^/([!-~]+/)?$", max_length=512)]
"""IAM, CreateRole, Path."""

PolicyArn = Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:iam::(aws|\d{12}):policy/\S+$")]

CertificateArn = Annotated[
    str,
    StringConstraints(
        pattern=r"^arn:aws[a-z-]*:(acm:[a-z0-9-]+:\d{12}:certificate/[\w-]+|iam::\d{12}:server-certificate/\S+)$"
    ),
]
"""A certificate of ACM, or one uploaded to IAM (CreateListener, CertificateArn)."""

KeyArn = Annotated[
    str,
    StringConstraints(
        pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$"
    ),
]
"""The ARN of a KMS key, not of an alias, which may be pointed at another key under a release."""

TopicArn = Annotated[
    str, StringConstraints(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$")
]

StatusCodes = Annotated[
    str,
    StringConstraints(pattern=r"^\d{1,3}(-\d{1,3})?(,\d{1,3}(-\d{1,3})?)*$"),
    AfterValidator(_codes),
]
"""ELBv2's Matcher: single codes and ranges. Which ones depends on the protocol version: see `HealthSettings`."""

ListenerArn = Annotated[
    str,
    StringConstraints(
        pattern=r"^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:listener/app/[A-Za-z0-9-]+/[0-9a-f]+/[0-9a-f]+$"
    ),
]
"""A listener of an Application Load Balancer: of a Network Load Balancer it is `listener/net/…`."""

WebAclArn = Annotated[
    str, StringConstraints(pattern=r"^arn:aws[a-z-]*:wafv2:[a-z0-9-]+:\d{12}:regional/webacl/[\w-]+/[\w-]+$")
]
"""A web ACL of AWS WAF: a load balancer takes regional ones (AssociateWebACL, WebACLArn)."""

HostPattern = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9.*?-]*\.[A-Za-z*?]+$", max_length=128),
]
"""A value of a host-header condition: at least one dot, and only letters after the last (HostHeaderConditionConfig);
its wildcards may stand there too."""

PathPattern = Annotated[str, StringConstraints(pattern=r"""^[/*][A-Za-z0-9_.$/~"'@:+&*?-]*$""", max_length=128)]
"""A value of a path-pattern condition (RuleCondition, Values). A path begins with a slash, so others match nothing."""

DomainName = Annotated[str, StringConstraints(pattern=r"^(?:[a-z0-9_-]{1,63}\.)+[a-z]{2,63}$", max_length=253)]
"""Lower case, without the dot at the end: as Route 53 keeps it."""

HostedZoneId = Annotated[str, StringConstraints(pattern=r"^Z[A-Z0-9]{1,31}$")]
"""At most 32 characters (Route 53, ResourceId)."""

BucketName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
"""A bucket's name (S3 user guide, Bucket naming rules)."""


def _cidr(value: str) -> str:
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"{error}: write a CIDR block, such as 203.0.113.0/24") from error
    return str(network)  # as EC2 and ELBv2 tell it, so that it is no change


Cidr = Annotated[str, AfterValidator(_cidr)]
"""A block of IPv4 or IPv6 addresses, without host bits: EC2 takes them away, and the next preview would show it."""

Path = Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=1024)]
"""A path in a URL: what is not ASCII stands there in percent signs."""

HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,253}(:\d{1,5})?$")]

DAY = 86_400
MONTH = 30 * DAY
"""Longest times that a setting takes, in seconds: a typing error is told here, and not by a date that cannot be."""

Wait = Annotated[float, Field(ge=0, le=DAY)]
Deadline = Annotated[float, Field(gt=0, le=DAY)]


def is_of_region(arn: str, region: str) -> bool:
    """Whether an ARN's resource is in the region. A global resource (IAM) is in every region."""
    found = re.match(r"arn:[^:]+:[^:]+:([^:]*):", arn)
    return found is not None and found.group(1) in {"", region}
