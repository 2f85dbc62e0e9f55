"""What AWS accepts as a name, a number of seconds or an ARN, as types of the settings.

AWS would refuse a name halfway through a deploy, when other resources already exist. Each limit has its source; what
AWS does not document is not checked here.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

FORMS: dict[str, str] = {}
"""What a pattern of this module asks for, in words: an error says "must be …"."""


def _form(pattern: str, words: str, max_length: int | None = None) -> StringConstraints:
    FORMS[pattern] = words
    return StringConstraints(pattern=pattern, max_length=max_length)


MAX_PORT = 65_535

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


def _ports(value: str) -> str:
    first, _, last = value.partition("-")
    if not 0 <= int(first) <= int(last or first) <= MAX_PORT:
        raise ValueError(f"{value} is not a port or a range of ports from 0 to {MAX_PORT}")
    # One spelling of each, or AWS and Pulumi would find the same rule twice where we do not.
    return str(int(first)) if int(first) == int(last or first) else f"{int(first)}-{int(last)}"


def _number(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """The values. A duplicate is an error: AWS would refuse it, or Pulumi would declare it twice."""
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"names {', '.join(twice)} twice")
    return values


Service = Annotated[
    str,
    _form(
        r"^[a-z][a-z0-9-]{0,13}[a-z0-9]$",
        "2 to 15 lowercase letters, digits and hyphens that begin with a letter and do not end with a hyphen",
    ),
    AfterValidator(_service),
]
"""A service's name. ELBv2 allows 32 characters (CreateTargetGroup); 15 leave room for `-` and the release's 8 hex
digits, and for the `-` and 7 hex digits that Pulumi puts behind a generated name."""

Region = Annotated[str, _form(r"^[a-z]{2,6}(-[a-z]+)+-\d+$", "an AWS Region such as us-east-1")]
"""How every region's name is made, in all of AWS's partitions (botocore, partitions.json): eusc-de-east-1, too."""

Zone = Annotated[str, _form(r"^[a-z]$", "the letter of an Availability Zone, such as a for us-east-1a")]
"""An availability zone's letter, which follows the region in its name."""

_HEX = "([0-9a-f]{8}|[0-9a-f]{17})$"
"""How an ID of EC2 ends (EC2 user guide, "Resource IDs"): older ones are short."""

VpcId = Annotated[str, _form(f"^vpc-{_HEX}", "the ID of a VPC, such as vpc-0a1b2c3d4e5f60718")]
SubnetId = Annotated[str, _form(f"^subnet-{_HEX}", "the ID of a subnet, such as subnet-0a1b2c3d4e5f60718")]
SecurityGroupId = Annotated[str, _form(f"^sg-{_HEX}", "the ID of a security group, such as sg-0a1b2c3d4e5f60718")]
EndpointName = Annotated[
    str,
    _form(r"^[a-z0-9][a-z0-9.-]{0,254}$", "the name of an AWS service in lowercase, such as kms, s3 or ecr.api"),
]
"""The end of the name of an endpoint service, or all of it."""
PrefixListId = Annotated[str, _form(f"^pl-{_HEX}", "the ID of a prefix list, such as pl-0a1b2c3d4e5f60718")]

Ports = Annotated[
    str,
    BeforeValidator(_number),
    _form(r"^\d{1,5}(-\d{1,5})?$", "a port or a range of ports, such as 5432 or 8000-8010"),
    AfterValidator(_ports),
]
"""A port, or a range such as 8000-8010. In YAML, a port may be a number."""

AccountId = Annotated[str, _form(r"^\d{12}$", "the 12 digits of an account ID, in quotes")]

OrganizationArn = Annotated[
    str,
    _form(
        r"^arn:aws[a-z-]*:organizations::\d{12}:organization/o-[a-z0-9]{10,32}$",
        "the ARN of an organization (arn:aws:organizations::ACCOUNT:organization/o-…)",
    ),
]
"""An organization of AWS Organizations (API reference, Organization, Arn)."""

OrganizationalUnitArn = Annotated[
    str,
    _form(
        r"^arn:aws[a-z-]*:organizations::\d{12}:ou/o-[a-z0-9]{10,32}/ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}$",
        "the ARN of an organizational unit (arn:aws:organizations::ACCOUNT:ou/o-…/ou-…)",
    ),
]
"""An organizational unit (API reference, OrganizationalUnit, Arn)."""

InstanceType = Annotated[
    str,
    _form(r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$", "an instance type such as c7i.large"),
]

InstanceTypes = Annotated[
    str,
    _form(
        r"^[a-z0-9.*-]{1,30}$",
        "an instance type, with * for any characters, such as c7i.large, c7* or *.metal",
    ),
]
"""EC2 Auto Scaling API reference, InstanceRequirements, ExcludedInstanceTypes."""

PlacementGroup = Annotated[str, _form(r"^[ -~]{1,255}$", "the name of a placement group: 1 to 255 characters of ASCII")]
"""EC2, CreatePlacementGroup, GroupName."""

IamPath = Annotated[
    str, _form(r"^/([!-~]+/)?$", "a path that begins and ends with a slash, such as /shop/", max_length=512)
]
"""IAM, CreateRole, Path."""

PolicyArn = Annotated[
    str,
    _form(
        r"^arn:aws[a-z-]*:iam::(aws|\d{12}):policy/\S+$",
        "the ARN of a managed policy, such as arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore",
    ),
]

CertificateArn = Annotated[
    str,
    _form(
        r"^arn:aws[a-z-]*:(acm:[a-z0-9-]+:\d{12}:certificate/[\w-]+|iam::\d{12}:server-certificate/\S+)$",
        "the ARN of a certificate (arn:aws:acm:REGION:ACCOUNT:certificate/ID)",
    ),
]
"""A certificate of ACM, or one uploaded to IAM (CreateListener, CertificateArn)."""

_KEY = r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"

KeyArn = Annotated[
    str, _form(rf"^{_KEY}$", "the ARN of a KMS key (arn:aws:kms:REGION:ACCOUNT:key/ID), and not an alias or an ID")
]
"""The ARN of a KMS key, not of an alias, which may be pointed at another key under a release."""

KeyOrStack = Annotated[
    str,
    _form(
        rf"^(stack|{_KEY})$",
        "the ARN of a KMS key (arn:aws:kms:REGION:ACCOUNT:key/ID), not an alias or an ID, or `stack`",
    ),
]
"""The same, or the key that the stack makes (`fleetswap.domain.secrets.sealing.STACK`)."""

PrincipalArn = Annotated[
    str,
    _form(
        r"^arn:aws[a-z-]*:iam::\d{12}:(root|(role|user)/[!-)+-~]+)$",
        "the ARN of an IAM role, a user or an account's root user (arn:aws:iam::ACCOUNT:role/NAME)",
        max_length=2048,
    ),
]
"""A principal of a policy, which takes no wildcard within an ARN (IAM user guide, "AWS JSON policy elements:
Principal")."""

TopicArn = Annotated[
    str,
    _form(
        r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$",
        "the ARN of an SNS topic (arn:aws:sns:REGION:ACCOUNT:NAME)",
    ),
]


def _variable(value: str) -> str:
    # The value is not in the message: it may be the secret that belongs into the variable.
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", value):
        raise ValueError("must be the name of an environment variable, such as FLEETSWAP_WEBHOOK, and not its value")
    return value


EnvironmentVariable = Annotated[str, AfterValidator(_variable)]
"""The name of an environment variable (POSIX, "Environment Variable Definition")."""

StatusCodes = Annotated[
    str,
    _form(r"^\d{1,3}(-\d{1,3})?(,\d{1,3}(-\d{1,3})?)*$", "status codes such as 200, 200,204 or 200-299"),
    AfterValidator(_codes),
]
"""ELBv2's Matcher: single codes and ranges. Which ones depends on the protocol version: see `HealthSettings`."""

ListenerArn = Annotated[
    str,
    _form(
        r"^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:listener/app/[A-Za-z0-9-]+/[0-9a-f]+/[0-9a-f]+$",
        "the ARN of a listener of an Application Load Balancer (…:listener/app/NAME/ID/ID)",
    ),
]
"""A listener of an Application Load Balancer: of a Network Load Balancer it is `listener/net/…`."""

WebAclArn = Annotated[
    str,
    _form(
        r"^arn:aws[a-z-]*:wafv2:[a-z0-9-]+:\d{12}:regional/webacl/[\w-]+/[\w-]+$",
        "the ARN of a regional web ACL of AWS WAF (…:regional/webacl/NAME/ID)",
    ),
]
"""A web ACL of AWS WAF: a load balancer takes regional ones (AssociateWebACL, WebACLArn)."""

HostPattern = Annotated[
    str,
    _form(
        r"^[A-Za-z0-9.*?-]*\.[A-Za-z*?]+$",
        "a host name with a dot, without scheme and port, such as shop.example.com or *.example.com",
        max_length=128,
    ),
]
"""A value of a host-header condition: at least one dot, and only letters after the last (HostHeaderConditionConfig);
its wildcards may stand there too."""

PathPattern = Annotated[
    str,
    _form(
        r"""^[/*][A-Za-z0-9_.$/~"'@:+&*?-]*$""",
        "a path of the characters that ELBv2 allows, which begins with / or *, such as /api/*",
        max_length=128,
    ),
]
"""A value of a path-pattern condition (RuleCondition, Values). A path begins with a slash, so others match nothing."""

DomainName = Annotated[
    str,
    _form(
        r"^(?:[a-z0-9_-]{1,63}\.)+[a-z]{2,63}$",
        "a domain name in lowercase, without a wildcard and without a dot at the end, such as shop.example.com",
        max_length=253,
    ),
]
"""Lower case, without the dot at the end: as Route 53 keeps it."""

HostedZoneId = Annotated[
    str, _form(r"^Z[A-Z0-9]{1,31}$", "the ID of a hosted zone, without /hostedzone/, such as Z0123456789ABCDEFGHIJ")
]
"""At most 32 characters (Route 53, ResourceId)."""

BucketName = Annotated[
    str, _form(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", "the name of an S3 bucket, without s3://, such as example-logs")
]
"""A bucket's name (S3 user guide, Bucket naming rules)."""


def _cidr(value: str) -> str:
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        if str(error).endswith("has host bits set"):
            whole = ipaddress.ip_network(value, strict=False)
            raise ValueError(f"{value} is not the first address of its CIDR block: write {whole}") from error
        raise ValueError(f"must be a CIDR block such as 203.0.113.0/24, not {value!r}") from error
    return str(network)  # as EC2 and ELBv2 tell it, so that it is no change


Cidr = Annotated[str, AfterValidator(_cidr)]
"""A block of IPv4 or IPv6 addresses, without host bits: EC2 takes them away, and the next preview would show it."""

Path = Annotated[str, _form(r"^/[!-~]*$", "a path that begins with a slash, in ASCII without spaces", max_length=1024)]
"""A path in a URL: what is not ASCII stands there in percent signs."""

HostName = Annotated[
    str, _form(r"^[A-Za-z0-9.-]{1,253}(:\d{1,5})?$", "a host name without a scheme, such as shop.example.com")
]

DAY = 86_400
MONTH = 30 * DAY
"""Longest times that a setting takes, in seconds: a typing error is told here, and not by a date that cannot be."""

FunctionName = Annotated[
    str,
    _form(
        r"^(arn:aws[a-z-]*:lambda:[a-z]{2,6}(-[a-z]+)+-\d+:\d{12}:function:)?[A-Za-z0-9_-]{1,64}(:[A-Za-z0-9$_-]{1,128})?$",
        "the name or the ARN of a Lambda function, with or without a version or alias",
    ),
]
"""A function as InvokeFunction takes it, but for partial ARNs (Lambda API reference, Invoke, FunctionName)."""

Wait = Annotated[float, Field(ge=0, le=DAY)]
Deadline = Annotated[float, Field(gt=0, le=DAY)]


def is_of_region(arn: str, region: str) -> bool:
    """Whether an ARN's resource is in the region. A global resource (IAM) is in every region."""
    found = re.match(r"arn:[^:]+:[^:]+:([^:]*):", arn)
    return found is not None and found.group(1) in {"", region}


SealedFile = Annotated[
    str,
    _form(
        r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f/]\.(yaml|yml|json)$", "the path of a file that ends in .yaml, .yml or .json"
    ),
]
"""sops takes another name for text without structure, and seals it as one value (`cmd/sops/formats/formats.go`)."""
